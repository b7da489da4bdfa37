/*
 * A read fills the wire's shared buffer. Whole messages in it are dispatched in place. Only the rest is
 * copied into the connection: an incomplete message, or messages that must wait because the client does not
 * read its answers, or because the connection has used up its turn. Answers collect in `out`. What the kernel
 * does not take at once waits in an `outgoing`. What all of that takes is counted in account.c.
 */

#include "connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../proto/message.h"
#include "answer.h"
#include "turn.h"

enum {
        IN_STEP = 16 * 1024,
        FLUSHED_AT_ONCE = 256, /* connections a turn: writing to one, or closing it, takes long */
        POLLED_WAITING = 8,    /* times that one that waits is found readable; then it is not polled */
        POLLED_AT_ONCE = 256,  /* such times in a turn, of all; then the others are not polled either: where
                                  1,024 are readable, libuv does not end the turn, but polls again */
};

/* One at a time: later answers collect in `out` until it has been written. */
struct outgoing {
        uv_write_t request;
        struct connection *connection;
        struct buffer bytes;
        size_t n_before; /* that the kernel took at once: megabytes are not moved for their sake */
        bool secret;
};

static void wipe(bool secret, struct buffer *buffer)
{
        if (secret && buffer->data)
                explicit_bzero(buffer->data, buffer->cap);
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *uv)
{
        struct connection *connection = uv->data;

        wipe(connection->secret_in, &connection->in);
        wipe(connection->secret_out, &connection->out);
        buffer_deinit(&connection->in);
        buffer_deinit(&connection->out);
        connection->wire->events->closed(connection);
}

static void close_now(struct connection *connection)
{
        assert(!connection->closing);
        connection->ending = connection->closing = true;
        link_remove(&connection->unflushed);
        turn_leave(connection);
        account_leave(connection);
        uv_close((uv_handle_t *)&connection->pipe, on_closed);
}

void connection_drop(struct connection *connection)
{
        if (connection->closing)
                return;
        connection_end(connection);
        while (!link_empty(&connection->deferred))
                request_orphan(LINK_OF(connection->deferred.next, struct request, link));
        close_now(connection);
        connection->wire->events->dropped(connection);
}

static void close_when_done(struct connection *connection)
{
        if (connection->n_deferred == 0 && connection->out.len == 0 && !connection->writing)
                connection_drop(connection);
}

void connection_end(struct connection *connection)
{
        if (connection->ending)
                return;
        connection->ending = true;
        uv_read_stop((uv_stream_t *)&connection->pipe);
        connection->reading = false;
        connection->wire->events->ending(connection);
        connection_out(connection); /* so that wire_flush() looks at it, and closes it if nothing is left */
}

/* ---- out ---- */

struct buffer *connection_out(struct connection *connection)
{
        if (link_empty(&connection->unflushed) && !connection->closing)
                link_append(&connection->wire->unflushed, &connection->unflushed);
        return &connection->out;
}

static size_t left_of(const struct outgoing *outgoing)
{
        return outgoing->bytes.len - outgoing->n_before;
}

size_t connection_writing(const struct connection *connection)
{
        return connection->writing ? connection->writing->bytes.cap : 0;
}

static size_t unread(const struct connection *connection)
{
        return connection->out.len + (connection->writing ? left_of(connection->writing) : 0);
}

bool connection_is_congested(const struct connection *connection)
{
        return unread(connection) > connection->wire->config->client_buffer_bytes;
}

static void flush(struct connection *connection);

static void on_written(uv_write_t *request, int status)
{
        struct outgoing *outgoing = request->data;
        struct connection *connection = outgoing->connection;

        if (status == 0)
                counters_add(connection->wire->counters, COUNT_BYTES_OUT, left_of(outgoing));
        connection->writing = NULL;
        wipe(outgoing->secret, &outgoing->bytes);
        buffer_deinit(&outgoing->bytes);
        free(outgoing);
        if (status < 0)
                connection_drop(connection);
        else
                flush(connection);
}

/* Hands what write_now() left to libuv, which writes it when the socket takes more. */
static void write_later(struct connection *connection, size_t n_written)
{
        struct outgoing *outgoing = calloc(1, sizeof(*outgoing));
        uv_buf_t bytes;

        if (!outgoing) {
                connection_drop(connection);
                return;
        }
        outgoing->connection = connection;
        outgoing->bytes = connection->out;
        outgoing->n_before = n_written;
        outgoing->secret = connection->secret_out;
        outgoing->request.data = outgoing;
        connection->out = (struct buffer){ 0 };
        connection->secret_out = false;
        connection->writing = outgoing;
        bytes = uv_buf_init((char *)outgoing->bytes.data + n_written, (unsigned)left_of(outgoing));
        if (uv_write(&outgoing->request, (uv_stream_t *)&connection->pipe, &bytes, 1, on_written) < 0) {
                connection->writing = NULL;
                wipe(outgoing->secret, &outgoing->bytes);
                buffer_deinit(&outgoing->bytes);
                free(outgoing);
                connection_drop(connection);
        }
}

/* Returns how many bytes of `out` the kernel took, or -1. If these are all, it is empty then. */
static ssize_t write_now(struct connection *connection)
{
        struct buffer *out = &connection->out;
        size_t done = 0;

        while (done < out->len) {
                uv_buf_t bytes = uv_buf_init((char *)out->data + done, (unsigned)(out->len - done));
                int n = uv_try_write((uv_stream_t *)&connection->pipe, &bytes, 1);

                if (n == UV_EAGAIN)
                        return (ssize_t)done;
                if (n < 0)
                        return -1;
                counters_add(connection->wire->counters, COUNT_BYTES_OUT, (uint64_t)n);
                done += (size_t)n;
        }
        wipe(connection->secret_out, out);
        connection->secret_out = false;
        out->len = 0;
        return (ssize_t)done;
}

static void go_on(struct connection *connection);

static void flush(struct connection *connection)
{
        link_remove(&connection->unflushed);
        if (connection->closing)
                return;
        if (connection->out.failed) {
                connection_drop(connection);
                return;
        }
        if (!connection->writing && connection->out.len > 0) {
                ssize_t n_written = write_now(connection);

                if (n_written < 0) {
                        connection_drop(connection);
                        return;
                }
                if (connection->out.len > 0)
                        write_later(connection, (size_t)n_written);
        }
        if (!connection->closing && !connection->writing && connection->out.len == 0) {
                buffer_shrink(&connection->out);
                connection->wire->events->written(connection);
        }
        if (!connection->closing)
                go_on(connection);
}

void connection_end_overloaded(struct connection *connection, const char *why)
{
        connection->wire->events->overfull(connection, why);
        if (connection->out.len == 0 && !connection->writing) {
                message_write_error(&connection->out, 0, wire_error_names[WIRE_OVERLOADED], slice_of(why),
                                    SLICE_NONE);
                write_now(connection);
        }
        connection_drop(connection);
}

/* ---- in ---- */

/* Its client has to read answers first. */
static bool is_congested(const struct connection *connection)
{
        return unread(connection) + connection->deferred_bytes >
               connection->wire->config->client_buffer_bytes;
}

static bool too_much(const struct connection *connection)
{
        return is_congested(connection) || !account_lets_dispatch(connection);
}

static enum frame_result scan(struct connection *connection, const uint8_t *data, size_t len,
                              struct slice *frame)
{
        const struct config *config = connection->wire->config;
        const struct frame_limits limits = { .bytes = (uint32_t)config->max_message_bytes,
                                             .depth = LIMIT_DEPTH };

        frame->data = (const char *)data;
        frame->len = 0;
        return len ? frame_scan(&connection->frame, &limits, data, len, &frame->len) : FRAME_MORE;
}

/* The first message of `data`, which may have been scanned before. */
static enum frame_result scan_first(struct connection *connection, const uint8_t *data, size_t len,
                                    struct slice *frame)
{
        if (!connection->whole)
                return scan(connection, data, len, frame);
        *frame = (struct slice){ (const char *)data, connection->whole };
        connection->whole = 0;
        return FRAME_WHOLE;
}

/*
 * Dispatches whole messages from `data`, as long as the connection's turn lasts, and returns how many bytes
 * they took. The rest is in `in` next time. The caller has seen that the loop's turn is not over: the first
 * message is dispatched even if the read and the write exceed it, so that each turn of a connection counts.
 */
static size_t take_messages(struct connection *connection, const uint8_t *data, size_t len)
{
        const struct wire_events *events = connection->wire->events;
        struct slice frame, next;
        enum frame_result result = scan_first(connection, data, len, &frame);
        size_t done = 0;

        turn_begin(connection);
        connection->wire->work += WORK_CALL; /* the write of the answers */
        connection->dispatching = true;
        while (result != FRAME_MORE && !connection->ending) {
                if (result != FRAME_WHOLE) {
                        events->violation(connection, message_peek_id(data + done, len - done), result);
                        connection_end(connection);
                        break;
                }
                if (too_much(connection) || turn_is_used(connection) ||
                    (done > 0 && turn_is_over(connection->wire))) {
                        connection->whole = frame.len;
                        break;
                }
                done += frame.len;
                connection->used.messages++;
                connection->wire->work++;
                account_message_is_whole(connection);
                result = scan(connection, data + done, len - done, &next);
                if (!events->message(connection, frame, result == FRAME_WHOLE ? next : SLICE_NONE)) {
                        connection->secret_in = true; /* for all that is known of it */
                        connection_end(connection);
                }
                account_weigh(connection);
                frame = next;
        }
        events->read(connection->wire);
        connection->dispatching = false;
        return done;
}

static void take_held(struct connection *connection)
{
        size_t done = take_messages(connection, connection->in.data, connection->in.len);

        buffer_consume(&connection->in, done);
        if (connection->in.len == 0) {
                connection->secret_in = false;
                buffer_shrink(&connection->in);
        }
}

static void on_room(uv_handle_t *uv, size_t suggested, uv_buf_t *room)
{
        struct connection *connection = uv->data;
        struct wire *wire = connection->wire;

        (void)suggested;
        if (turn_is_over(wire))
                turn_wait(connection);
        if (!link_empty(&connection->waiting) || !account_lets_read(connection)) {
                *room = uv_buf_init(NULL, 0);
                return;
        }
        if (connection->in.len == 0) {
                *room = uv_buf_init(wire->read_buffer, sizeof(wire->read_buffer));
                return;
        }
        uint8_t *at = buffer_reserve(&connection->in, IN_STEP);
        size_t left = connection->in.cap - connection->in.len;

        *room = uv_buf_init((char *)at, at ? (unsigned)(left < WIRE_READ_BYTES ? left : WIRE_READ_BYTES) : 0);
}

static void set_reading(struct connection *connection, bool reading);

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
        struct connection *connection = stream->data;
        struct wire *wire = connection->wire;

        if (n == UV_ENOBUFS && !connection->in.failed) {
                connection->polled =
                        wire->refused++ < POLLED_AT_ONCE ? connection->polled + 1 : POLLED_WAITING;
                if (link_empty(&connection->waiting))
                        go_on(connection);
                else if (connection->polled >= POLLED_WAITING)
                        set_reading(connection, false); /* until its turn */
                return;
        }
        if (n < 0)
                wire->work += WORK_CALL; /* one that ends costs no less than one that is read */
        if (n == UV_EOF && !link_empty(&connection->waiting)) {
                set_reading(connection, false); /* what it holds is first; then the end is read again */
                return;
        }
        if (n == UV_EOF) {
                connection_end(connection);
                go_on(connection);
                return;
        }
        if (n < 0) {
                connection_drop(connection);
                return;
        }
        counters_add(wire->counters, COUNT_BYTES_IN, (uint64_t)n);
        turn_use_read(connection, (size_t)n);
        if (room->base == wire->read_buffer) {
                size_t done = take_messages(connection, (uint8_t *)room->base, (size_t)n);

                if (done < (size_t)n)
                        connection->secret_in = true; /* for all that is known of what is not dispatched */
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
                go_on(connection);
}

/* Whether it is left to the loop to poll it while it waits, as it is likely served soon. */
static bool is_polled(const struct connection *connection)
{
        return connection->reading && connection->polled < POLLED_WAITING;
}

static void set_reading(struct connection *connection, bool reading)
{
        if (connection->reading == reading)
                return;
        connection->reading = reading;
        if (reading) {
                connection->partial_ms += uv_now(connection->wire->loop) - connection->stopped_ms;
                uv_read_start((uv_stream_t *)&connection->pipe, on_room, on_read);
        } else {
                connection->stopped_ms = uv_now(connection->wire->loop);
                uv_read_stop((uv_stream_t *)&connection->pipe);
        }
}

/*
 * Called after any change: dispatches held messages, starts or stops reading, has the connection wait for its
 * next turn, or closes it.
 */
static void go_on(struct connection *connection)
{
        if (connection->closing || connection->dispatching)
                return;
        account_weigh(connection);
        if (!connection->ending && connection->in.len > 0 && !too_much(connection) &&
            link_empty(&connection->waiting) && !turn_is_used(connection)) {
                if (turn_is_over(connection->wire))
                        turn_wait(connection);
                else
                        take_held(connection);
        }
        account_weigh(connection);
        if (connection->ending) {
                connection->wire->events->emptying(connection);
                close_when_done(connection);
                return;
        }
        if (turn_is_used(connection) && (connection->in.len > 0 || connection->used.bytes >= TURN_BYTES)) {
                if (link_empty(&connection->waiting))
                        counters_add(connection->wire->counters, COUNT_TURNS_USED_UP, 1);
                turn_wait(connection); /* else nothing is left to wait: one turn has one read */
        } else if (connection->whole && !too_much(connection) && turn_is_over(connection->wire)) {
                turn_wait(connection); /* its client may send nothing more */
        }
        set_reading(connection, account_lets_go_on(connection, is_congested(connection)) &&
                                        (link_empty(&connection->waiting) || is_polled(connection)) &&
                                        !too_much(connection));
}

/* ---- the beginning ---- */

int connection_init(struct connection *connection, struct wire *wire)
{
        connection->wire = wire;
        link_init(&connection->unflushed);
        link_init(&connection->waiting);
        link_init(&connection->of_account);
        link_init(&connection->partial);
        link_init(&connection->paused);
        link_init(&connection->deferred);
        connection->pipe.data = connection;
        return uv_pipe_init(wire->loop, &connection->pipe, 0);
}

void connection_start(struct connection *connection, struct account *account)
{
        assert(!connection->ending && !connection->reading);
        account_join(account, connection);
        set_reading(connection, true);
}

void connection_refuse(struct connection *connection, enum wire_error error, const char *text)
{
        if (text) {
                message_write_error(&connection->out, 0, wire_error_names[error], slice_of(text), SLICE_NONE);
                write_now(connection);
        }
        close_now(connection);
}

/* ---- all of them ---- */

void wire_init(struct wire *wire)
{
        link_init(&wire->unflushed);
        accounts_init(wire);
        turns_init(wire);
}

void wire_deinit(struct wire *wire)
{
        buffer_deinit(&wire->sink);
        explicit_bzero(wire->read_buffer, sizeof(wire->read_buffer));
}

void wire_flush(struct wire *wire)
{
        while (!link_empty(&wire->unflushed) && (wire->flushed < FLUSHED_AT_ONCE || wire->exceeded)) {
                wire->flushed++;
                flush(LINK_OF(wire->unflushed.next, struct connection, unflushed));
        }
        if (link_empty(&wire->unflushed)) {
                accounts_end_exceeding(wire);
        } else {
                counters_add(wire->counters, COUNT_SLICES, 1);
                wire_stay_awake(wire);
        }
}

/*
 * Reads it at once: its place in the queue counts, which the kernel does not know. If nothing has arrived, it
 * is read when something does.
 */
static void read_now(struct connection *connection)
{
        uv_stream_t *stream = (uv_stream_t *)&connection->pipe;
        uv_os_fd_t fd;
        uv_buf_t room;
        ssize_t n;

        on_room((uv_handle_t *)stream, 0, &room);
        if (room.len == 0 || uv_fileno((uv_handle_t *)stream, &fd) < 0)
                return;
        n = read(fd, room.base, room.len);
        if (n > 0)
                on_read(stream, n, &room);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
                on_read(stream, n == 0 ? UV_EOF : uv_translate_sys_error(errno), &room);
}

void connection_take_turn(struct connection *connection)
{
        go_on(connection);
        if (connection->reading && !turn_is_used(connection))
                read_now(connection);
        if (!link_empty(&connection->unflushed))
                flush(connection); /* the others that are served in this turn do not delay it */
}
