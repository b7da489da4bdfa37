/*
 * Bytes of one client. A read fills the server's shared buffer; whole messages in it are dispatched in
 * place, and only what is left over (a message that has not all come, or messages that must wait because
 * the client does not read its answers) is copied into the connection. Answers gather in `out` and leave
 * when the loop's turn ends; what the kernel does not take at once waits in an `outgoing`.
 */

#include "connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../methods/dispatch.h"
#include "../server.h"
#include "../session/opening.h"
#include "../session/queue.h"
#include "../session/watch.h"

enum { IN_STEP = 16 * 1024, ACCEPT_RETRY_MS = 100 };

/* Bytes that the kernel did not take at once; one at a time, later answers gather behind it. */
struct outgoing {
        uv_write_t request;
        struct connection *connection;
        struct buffer bytes;
        bool secret;
};

static void wipe(bool secret, struct buffer *buffer)
{
        if (secret && buffer->data)
                explicit_bzero(buffer->data, buffer->cap);
}

const char *connection_describe(const struct connection *connection, char *text, size_t size)
{
        snprintf(text, size, "client %s (id %llu, pid %d, uid %u)",
                 connection->client ? connection->client : "without a name",
                 (unsigned long long)connection->id, (int)connection->credentials.pid,
                 (unsigned)connection->credentials.uid);
        return text;
}

/* ---- its end ---- */

static void on_closed(uv_handle_t *uv)
{
        struct connection *connection = uv->data;
        struct server *server = connection->server;

        wipe(connection->secret_in, &connection->in);
        wipe(connection->secret_out, &connection->out);
        buffer_deinit(&connection->in);
        buffer_deinit(&connection->out);
        credentials_deinit(&connection->credentials);
        free(connection->client);
        free(connection->handles);
        free(connection);
        server_check_stopped(server);
}

/* `all`: also those on whose sessions requests of this connection are still to be answered. */
static void close_handles(struct connection *connection, bool all)
{
        for (size_t i = 0; i < connection->handles_cap && connection->n_handles > 0; i++)
                if (connection->handles[i] && (all || connection->handles[i]->lane->n_ops == 0))
                        handle_close(connection->handles[i]);
}

void connection_drop(struct connection *connection)
{
        if (connection->closing)
                return;
        connection_end(connection);
        connection->closing = true;
        while (!link_empty(&connection->deferred))
                request_orphan(LINK_OF(connection->deferred.next, struct request, link));
        ownership_abandon(connection);
        close_handles(connection, true);
        link_remove(&connection->link);
        link_remove(&connection->unflushed);
        connection->server->n_connections--;
        connection->server->n_monitors -= connection->monitoring;
        uv_close((uv_handle_t *)&connection->pipe, on_closed);
}

static void close_when_done(struct connection *connection)
{
        if (connection->ending && !connection->closing && connection->n_deferred == 0 &&
            connection->out.len == 0 && !connection->writing)
                connection_drop(connection);
}

void connection_end(struct connection *connection)
{
        if (connection->ending)
                return;
        connection->ending = true;
        uv_read_stop((uv_stream_t *)&connection->pipe);
        connection->reading = false;
        ownership_forget(connection);
        connection_out(connection); /* so that the turn's end sees it */
}

/* ---- out ---- */

struct buffer *connection_out(struct connection *connection)
{
        if (link_empty(&connection->unflushed) && !connection->closing)
                link_append(&connection->server->unflushed, &connection->unflushed);
        return &connection->out;
}

static size_t unread(const struct connection *connection)
{
        return connection->out.len + (connection->writing ? connection->writing->bytes.len : 0);
}

bool connection_is_behind(const struct connection *connection)
{
        return unread(connection) > connection->server->config->client_buffer_bytes;
}

static void on_written(uv_write_t *request, int status)
{
        struct outgoing *outgoing = request->data;
        struct connection *connection = outgoing->connection;

        if (status == 0)
                connection->server->metrics.counters[METRIC_BYTES_OUT] += outgoing->bytes.len;
        connection->writing = NULL;
        wipe(outgoing->secret, &outgoing->bytes);
        buffer_deinit(&outgoing->bytes);
        free(outgoing);
        if (status < 0)
                connection_drop(connection);
        else
                connection_flush(connection);
}

/* What try_write left waits for the socket to take it. */
static void write_later(struct connection *connection)
{
        struct outgoing *outgoing = calloc(1, sizeof(*outgoing));
        uv_buf_t bytes;

        if (!outgoing) {
                connection_drop(connection);
                return;
        }
        outgoing->connection = connection;
        outgoing->bytes = connection->out;
        outgoing->secret = connection->secret_out;
        outgoing->request.data = outgoing;
        connection->out = (struct buffer){ 0 };
        connection->secret_out = false;
        connection->writing = outgoing;
        bytes = uv_buf_init((char *)outgoing->bytes.data, (unsigned)outgoing->bytes.len);
        if (uv_write(&outgoing->request, (uv_stream_t *)&connection->pipe, &bytes, 1, on_written) < 0) {
                connection->writing = NULL;
                wipe(outgoing->secret, &outgoing->bytes);
                buffer_deinit(&outgoing->bytes);
                free(outgoing);
                connection_drop(connection);
        }
}

static bool write_now(struct connection *connection)
{
        struct buffer *out = &connection->out;

        while (out->len > 0) {
                uv_buf_t bytes = uv_buf_init((char *)out->data, (unsigned)out->len);
                int written = uv_try_write((uv_stream_t *)&connection->pipe, &bytes, 1);

                if (written == UV_EAGAIN)
                        return true;
                if (written < 0)
                        return false;
                connection->server->metrics.counters[METRIC_BYTES_OUT] += (uint64_t)written;
                if ((size_t)written == out->len) {
                        wipe(connection->secret_out, out);
                        connection->secret_out = false;
                        out->len = 0;
                } else {
                        buffer_consume(out, (size_t)written);
                }
        }
        return true;
}

void connection_flush(struct connection *connection)
{
        link_remove(&connection->unflushed);
        if (connection->closing)
                return;
        if (connection->out.failed) {
                connection_drop(connection);
                return;
        }
        if (!connection->writing && connection->out.len > 0) {
                if (!write_now(connection)) {
                        connection_drop(connection);
                        return;
                }
                if (connection->out.len > 0)
                        write_later(connection);
        }
        if (!connection->closing && !connection->writing && connection->out.len == 0) {
                buffer_shrink(&connection->out);
                if (connection->watcher_behind)
                        watch_catch_up(connection);
        }
        if (!connection->closing)
                connection_settle(connection);
}

/* ---- in ---- */

static bool too_much(const struct connection *connection)
{
        return unread(connection) + connection->deferred_bytes >
               connection->server->config->client_buffer_bytes;
}

static enum frame_result scan(struct connection *connection, const uint8_t *data, size_t len,
                              struct slice *frame)
{
        const struct config *config = connection->server->config;
        const struct frame_limits limits = { .bytes = (uint32_t)config->max_message_bytes,
                                             .depth = CONNECTION_DEPTH };

        frame->data = (const char *)data;
        return len ? frame_scan(&connection->frame, &limits, data, len, &frame->len) : FRAME_MORE;
}

/* Dispatches whole messages from `data`; returns how many bytes are done with. */
static size_t take_messages(struct connection *connection, const uint8_t *data, size_t len)
{
        struct slice frame, next;
        enum frame_result result = scan(connection, data, len, &frame);
        size_t done = 0;

        connection->dispatching = true;
        while (result != FRAME_MORE && !connection->ending) {
                if (result != FRAME_WHOLE) {
                        dispatch_violation(connection, message_peek_id(data + done, len - done), result);
                        connection_end(connection);
                        break;
                }
                if (too_much(connection))
                        break;
                done += frame.len;
                result = scan(connection, data + done, len - done, &next);
                if (result == FRAME_WHOLE)
                        dispatch_announce(connection, next);
                if (!dispatch(connection, frame))
                        connection_end(connection);
                frame = next;
        }
        queue_run_due(connection->server);
        connection->dispatching = false;
        return done;
}

static void take_held(struct connection *connection)
{
        size_t done = take_messages(connection, connection->in.data, connection->in.len);

        if (connection->secret_in && done > 0)
                explicit_bzero(connection->in.data, done);
        buffer_consume(&connection->in, done);
        if (connection->in.len == 0) {
                connection->secret_in = false;
                buffer_shrink(&connection->in);
        }
}

static void on_room(uv_handle_t *uv, size_t suggested, uv_buf_t *room)
{
        struct connection *connection = uv->data;
        struct server *server = connection->server;

        (void)suggested;
        if (connection->in.len == 0) {
                *room = uv_buf_init(server->read_buffer, sizeof(server->read_buffer));
                return;
        }
        uint8_t *at = buffer_reserve(&connection->in, IN_STEP);
        *room = uv_buf_init((char *)at, at ? (unsigned)(connection->in.cap - connection->in.len) : 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
        struct connection *connection = stream->data;
        struct server *server = connection->server;

        if (n == UV_EOF) {
                connection_end(connection);
                connection_settle(connection);
                return;
        }
        if (n < 0) {
                connection_drop(connection);
                return;
        }
        server->metrics.counters[METRIC_BYTES_IN] += (uint64_t)n;
        if (room->base == server->read_buffer) {
                size_t done = take_messages(connection, (uint8_t *)room->base, (size_t)n);

                if (!connection->ending && done < (size_t)n) {
                        buffer_append(&connection->in, room->base + done, (size_t)n - done);
                        if (connection->in.failed)
                                connection_drop(connection);
                }
                if (connection->secret_in)
                        explicit_bzero(room->base, (size_t)n);
                if (connection->in.len == 0)
                        connection->secret_in = false;
        } else {
                connection->in.len += (size_t)n;
                take_held(connection);
        }
        if (!connection->closing)
                connection_settle(connection);
}

static void set_reading(struct connection *connection, bool reading)
{
        if (connection->reading == reading)
                return;
        connection->reading = reading;
        if (reading)
                uv_read_start((uv_stream_t *)&connection->pipe, on_room, on_read);
        else
                uv_read_stop((uv_stream_t *)&connection->pipe);
}

void connection_settle(struct connection *connection)
{
        if (connection->closing || connection->dispatching)
                return;
        if (!connection->ending && connection->in.len > 0 && !too_much(connection))
                take_held(connection);
        if (connection->ending) {
                close_handles(connection, false);
                close_when_done(connection);
        } else {
                set_reading(connection, !too_much(connection));
        }
}

/* ---- its beginning ---- */

static struct connection *connection_new(struct server *server)
{
        struct connection *connection = calloc(1, sizeof(*connection));

        if (!connection)
                return NULL;
        connection->server = server;
        link_init(&connection->link);
        link_init(&connection->unflushed);
        link_init(&connection->deferred);
        link_init(&connection->openings);
        if (uv_pipe_init(&server->loop, &connection->pipe, 0) < 0) {
                free(connection);
                return NULL;
        }
        connection->pipe.data = connection;
        return connection;
}

static bool refuse(struct connection *connection)
{
        struct server *server = connection->server;
        static const char full[] = "the daemon serves as many clients as max-clients allows; try again later";
        uv_os_fd_t fd;

        if (uv_fileno((uv_handle_t *)&connection->pipe, &fd) < 0 ||
            credentials_init(&connection->credentials, fd) < 0)
                return true;
        if (server->n_connections < server->config->max_clients)
                return false;
        server->metrics.counters[METRIC_CONNECTIONS_REFUSED]++;
        message_write_error(&connection->out, 0, wire_error_names[WIRE_OVERLOADED], slice_of(full),
                            SLICE_NONE);
        log_write(server->log, LOG_WARNING, "refused a client with pid %d: max-clients is %llu",
                  (int)connection->credentials.pid, (unsigned long long)server->config->max_clients);
        return true;
}

static void on_accept_retry(struct timer *timer)
{
        struct server *server = LINK_OF(timer, struct server, accept);

        if (!server->stopping)
                connection_accept(server);
}

void connection_accept(struct server *server)
{
        struct connection *connection = connection_new(server);

        if (!connection) { /* libuv tells of no further client until this one is accepted */
                timer_start(&server->timers, &server->accept, ACCEPT_RETRY_MS, on_accept_retry);
                return;
        }
        if (uv_accept((uv_stream_t *)&server->listening, (uv_stream_t *)&connection->pipe) < 0) {
                uv_close((uv_handle_t *)&connection->pipe, on_closed);
                return;
        }
        if (refuse(connection)) {
                write_now(connection);
                connection->ending = connection->closing = true;
                uv_close((uv_handle_t *)&connection->pipe, on_closed);
                return;
        }
        connection->id = ++server->next_connection_id;
        connection->since = unix_now();
        server->n_connections++;
        server->metrics.counters[METRIC_CONNECTIONS]++;
        link_append(&server->connections, &connection->link);
        set_reading(connection, true);
}

/* ---- handles ---- */

/*
 * A handle's number is its slot plus a multiple of STRIDE that grows with each use of the slot, so that a
 * number that was closed does not soon mean another session.
 */
enum { STRIDE = 1 << 20 };

int64_t connection_add_handle(struct connection *connection, struct handle *handle)
{
        size_t slot = connection->n_handles < connection->handles_cap ? 0 : connection->handles_cap;

        while (slot < connection->handles_cap && connection->handles[slot])
                slot++;
        if (slot == connection->handles_cap) {
                size_t cap = connection->handles_cap ? connection->handles_cap * 2 : 1;
                struct handle **handles = realloc(connection->handles, cap * sizeof(struct handle *));

                if (!handles)
                        return 0;
                memset(handles + connection->handles_cap, 0,
                       (cap - connection->handles_cap) * sizeof(struct handle *));
                connection->handles = handles;
                connection->handles_cap = cap;
        }
        connection->handles[slot] = handle;
        connection->n_handles++;
        /* The first use of each slot gives 1, 2, 3, …; afterwards a serial keeps numbers apart. */
        if (slot == connection->handle_serial) {
                connection->handle_serial++;
                return (int64_t)slot + 1;
        }
        return (int64_t)(connection->handle_serial++ * STRIDE + slot + 1);
}

struct handle *connection_handle(struct connection *connection, int64_t number)
{
        struct handle *handle;
        size_t slot;

        if (number < 1)
                return NULL;
        slot = (size_t)((number - 1) % STRIDE);
        handle = slot < connection->handles_cap ? connection->handles[slot] : NULL;
        return handle && handle->number == number ? handle : NULL;
}

void connection_remove_handle(struct connection *connection, int64_t number)
{
        connection->handles[(number - 1) % STRIDE] = NULL;
        connection->n_handles--;
}
