/*
 * The socket: connecting, reading, writing, and its loss. The program has one descriptor for the client's
 * whole life: an epoll instance that holds the current socket and a timer.
 *
 * The timer is only ever moved forward. It may go off before anything is due; then it is set for what is due
 * next. So with equal timeouts it is set once per timeout, not once per request.
 */

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "../proto/message.h"
#include "cache.h"
#include "client.h"
#include "trust.h"

enum {
        READ_BYTES = 64 * 1024,
        READ_MAX_BYTES = 1024 * 1024, /* of one step: the program's event loop must go on */
        BACKOFF_FIRST_MS = 10,
        BACKOFF_MAX_MS = 250, /* must be below STAND_BACK_MS in session.c */
        IN_FLIGHT_MAX = 1 << 20,
        ANSWER_LIMIT_BYTES = 256 * 1024 * 1024, /* of a message, even if the daemon's limit is higher */
};

/* ---- what wakes the program ---- */

static void socket_interest(struct gram_client *client, bool write)
{
        struct epoll_event event = { .events = EPOLLIN | (write ? EPOLLOUT : 0),
                                     .data.fd = client->socket_fd };

        if (client->waits_to_write == write)
                return;
        client->waits_to_write = write;
        epoll_ctl(client->epoll_fd, EPOLL_CTL_MOD, client->socket_fd, &event);
}

static void timer_set(struct gram_client *client, int64_t at_ms)
{
        struct itimerspec spec = { 0 };

        client->timer_ms = at_ms;
        if (at_ms != NEVER_MS) {
                spec.it_value.tv_sec = at_ms / 1000;
                spec.it_value.tv_nsec = at_ms % 1000 * 1000000 + 1; /* all zero would disarm it */
        }
        timerfd_settime(client->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static bool connection_wanted(const struct gram_client *client)
{
        return client->connect_wanted || client->monitoring || !link_empty(&client->lane.waiting) ||
               sessions_want_connection(client);
}

static int64_t next_ms(const struct gram_client *client)
{
        int64_t next = client->sessions_next_ms;

        if (!link_empty(&client->to_call))
                return 0;
        if (!link_empty(&client->by_deadline)) {
                int64_t deadline =
                        LINK_OF(client->by_deadline.next, struct request, by_deadline)->deadline_ms;

                next = deadline < next ? deadline : next;
        }
        if (!connection_up(client) && client->retry_at_ms < next && connection_wanted(client))
                next = client->retry_at_ms;
        return next;
}

/* At the end of every step. */
void connection_rearm(struct gram_client *client, int64_t now)
{
        int64_t next = next_ms(client);

        if (next < client->timer_ms || client->timer_ms <= now)
                timer_set(client, next);
        if (connection_up(client))
                socket_interest(client, client->out.len || requests_to_send(client));
}

void connection_wake(struct gram_client *client)
{
        if (client->depth || client->blocking)
                return;
        if (connection_up(client) && link_empty(&client->to_call) && client->sessions_next_ms > 0)
                socket_interest(client, true);
        else if (client->timer_ms > 0)
                timer_set(client, 0);
}

GRAM_API int64_t gram_timeout_ms(struct gram_client *client)
{
        int64_t next = next_ms(client);
        int64_t now = now_ms();

        if (next == NEVER_MS)
                return -1;
        return next > now ? next - now : 0;
}

/* ---- connecting ---- */

/* The first path that exists, else the last one. Fixed once a daemon has answered. */
void connection_choose_path(struct gram_client *client)
{
        struct stat status;
        size_t i = 0;

        if (client->path_chosen)
                return;
        while (client->paths[i + 1] && stat(client->paths[i], &status) != 0)
                i++;
        client->path = client->paths[i];
}

static void trouble_set(struct gram_client *client, const char *what, int error)
{
        char text[96];

        snprintf(client->trouble, sizeof(client->trouble), "%s at %.150s: %s", what, client->path,
                 strerror_r(error, text, sizeof(text)));
}

static void back_off(struct gram_client *client, int64_t now)
{
        client->retry_at_ms = now + client->backoff_ms;
        client->backoff_ms = client->backoff_ms ? client->backoff_ms * 2 : BACKOFF_FIRST_MS;
        if (client->backoff_ms > BACKOFF_MAX_MS)
                client->backoff_ms = BACKOFF_MAX_MS;
}

static int socket_connect(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        size_t len = strlen(path);
        int fd, error;

        if (len >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        memcpy(address.sun_path, path, len + 1);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
                return fd;
        error = errno;
        close(fd);
        return -error;
}

static void hello_answered(void *arg, struct gram_reply *reply);

static void pack_id(const struct gram_client *client, struct buffer *out)
{
        pack_cstr(out, "id");
        pack_bin(out, (struct slice){ (const char *)client->id, sizeof(client->id) });
}

void connection_tell_id(struct gram_client *client)
{
        struct call call = call_begin(client, NULL, METHOD_HELLO, 1);

        pack_map(&call.bytes, 1);
        pack_id(client, &call.bytes);
        call_send_internal(&call, NULL, NULL);
}

/*
 * The list of what this client understands beyond version 1 of the protocol. `leave` is in it only if the
 * program can act on it: a session that nobody closes is never handed over.
 */
static void say_hello(struct gram_client *client)
{
        struct call call = call_begin(client, NULL, METHOD_HELLO, 1);
        bool leaves = client->leaves && client->on_event;

        pack_map(&call.bytes, client->without_features ? 1 : 3);
        pack_cstr(&call.bytes, "client");
        pack_cstr(&call.bytes, client->name);
        if (!client->without_features) {
                pack_id(client, &call.bytes);
                pack_cstr(&call.bytes, "features");
                pack_array(&call.bytes, leaves ? 5 : 4);
                pack_cstr(&call.bytes, "lease");
                pack_cstr(&call.bytes, "id");
                pack_cstr(&call.bytes, "owner");
                pack_cstr(&call.bytes, "kv");
                if (leaves)
                        pack_cstr(&call.bytes, "leave");
        }
        call_send_internal(&call, hello_answered, client);
}

static void greet(struct gram_client *client)
{
        struct call call;

        client->without_features = false;
        say_hello(client);
        if (client->monitoring) {
                call = call_begin(client, NULL, METHOD_MONITOR, 1);
                call.on = true;
                pack_bool(&call.bytes, true);
                call_send_internal(&call, NULL, NULL);
        }
}

void connection_try(struct gram_client *client, int64_t now)
{
        struct epoll_event event = { .events = EPOLLIN };
        int fd;

        assert(!connection_up(client));
        if (!connection_wanted(client) || now < client->retry_at_ms)
                return;
        connection_choose_path(client);
        client->untrusted = false;
        client->connect_error = 0;
        fd = socket_connect(client->path);
        if (fd < 0) {
                trouble_set(client, "cannot connect to gramd", -fd);
                client->connect_error = -fd;
                back_off(client, now);
                return;
        }
        if (!trust_server(fd, client->server_uid, client->path, client->trouble, sizeof(client->trouble))) {
                close(fd);
                client->untrusted = true;
                back_off(client, now);
                return;
        }
        event.data.fd = fd;
        if (epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
                close(fd);
                back_off(client, now);
                return;
        }
        client->socket_fd = fd;
        client->waits_to_write = false;
        client->verdict = 0;
        client->frame = (struct frame){ 0 };
        greet(client);
        sessions_connected(client);
}

static bool has_feature(const struct gram_hello *hello, const char *feature)
{
        for (size_t i = 0; i < hello->n_features; i++)
                if (strcmp(hello->features[i], feature) == 0)
                        return true;
        return false;
}

static void hello_answered(void *arg, struct gram_reply *reply)
{
        struct gram_client *client = arg;
        const struct gram_hello *hello = reply->hello;
        struct gram_event event = { .type = GRAM_EVENT_RECONNECTED };

        if (reply->error && reply->error->code == GRAM_E_BAD_REQUEST && !client->without_features) {
                client->without_features = true; /* an older daemon refuses keys that it does not know */
                say_hello(client);
                return;
        }
        if (reply->error) {
                connection_fail(client, reply->error->code,
                                "the daemon at %.100s refuses the connection: %.100s", client->path,
                                reply->error->message);
                return;
        }
        if (hello->protocol != 1) {
                connection_fail(client, GRAM_E_PROTOCOL,
                                "the daemon at %.100s speaks protocol %lld, this library speaks 1",
                                client->path, (long long)hello->protocol);
                return;
        }
        if (hello->max_message_bytes > 0 && hello->max_message_bytes <= ANSWER_LIMIT_BYTES)
                client->max_message = client->limits.bytes = (uint32_t)hello->max_message_bytes;
        if (hello->max_in_flight > 0 && hello->max_in_flight <= IN_FLIGHT_MAX)
                client->max_in_flight = (size_t)hello->max_in_flight;
        if (has_feature(hello, "id") && client->max_in_flight > LIMIT_REMEMBERED)
                client->max_in_flight = LIMIT_REMEMBERED; /* a session remembers no more of them */
        if (hello->max_depth > 0 && hello->max_depth <= FRAME_DEPTH_LIMIT)
                client->limits.depth = (unsigned)hello->max_depth;
        client->greeted = true;
        client->path_chosen = true;
        client->connect_wanted = false;
        client->backoff_ms = 0;
        if (client->ever_greeted)
                client_event(client, &event);
        client->ever_greeted = true;
}

/* ---- losing it ---- */

void connection_close(struct gram_client *client)
{
        if (!connection_up(client))
                return;
        close(client->socket_fd);
        client->socket_fd = -1;
        client->waits_to_write = false;
        buffer_truncate(&client->in, 0);
        buffer_truncate(&client->out, 0);
        buffer_shrink(&client->in);
        buffer_shrink(&client->out);
}

/* `outcome` 0: unanswered requests are repeated on the next connection. Else they fail with that code. */
static void connection_lost(struct gram_client *client, int outcome)
{
        bool was_greeted = client->greeted;
        struct gram_event event = { .type = GRAM_EVENT_DISCONNECTED };
        struct failure failure;

        connection_close(client);
        client->greeted = false;
        back_off(client, now_ms());
        requests_lost(client, outcome);
        sessions_lost(client);
        if (was_greeted) {
                failure_set(&failure, outcome ? outcome : GRAM_E_UNREACHABLE, "%s", client->trouble);
                event.error = &failure.error;
                client_event(client, &event);
        }
}

void connection_fail(struct gram_client *client, int verdict, const char *format, ...)
{
        va_list args;

        assert(connection_up(client) && verdict);
        va_start(args, format);
        vsnprintf(client->trouble, sizeof(client->trouble), format, args);
        va_end(args);
        client->verdict = verdict;
}

/* ---- reading ---- */

static void on_changed(struct gram_client *client, struct cursor *params)
{
        static const struct changed_result all = { .changed.all = true };
        struct gram_event event = { .type = GRAM_EVENT_CHANGED };
        struct gram_changed *changed;
        int64_t handle;

        if (!cursor_int(params, &handle))
                return;
        event.session = session_by_handle(client, handle);
        if (!event.session)
                return;
        changed = changed_read(params);
        event.changed = changed ? changed : &all.changed; /* cannot be read: anything may have changed */
        if (event.session->cache)
                cache_changed(event.session->cache, event.changed);
        client_event(client, &event);
        gram_free(changed);
}

static void on_ended(struct gram_client *client, struct cursor *params, uint32_t n_params)
{
        struct gram_session *session;
        struct failure failure;
        int64_t handle;

        if (n_params < 3 || !cursor_int(params, &handle))
                return;
        session = session_by_handle(client, handle);
        if (!session || !failure_read_parts(&failure, params, n_params - 1))
                return;
        session_end(session, &failure.error, true);
}

static void on_leave(struct gram_client *client, struct cursor *params, uint32_t n_params)
{
        struct gram_event event = { .type = GRAM_EVENT_LEAVE };
        char reason[512] = "";
        struct slice text;
        int64_t handle;

        if (!cursor_int(params, &handle))
                return;
        event.session = session_by_handle(client, handle);
        if (!event.session || event.session->closing)
                return;
        if (n_params > 1 && cursor_str(params, sizeof(reason) - 1, &text))
                memcpy(reason, text.data, text.len);
        event.reason = reason;
        client_event(client, &event);
}

static void on_request(struct gram_client *client, struct cursor *params)
{
        struct gram_event event = { .type = GRAM_EVENT_REQUEST };
        struct gram_monitored *request = monitored_read(params);

        if (!request)
                return;
        event.request = request;
        client_event(client, &event);
        gram_free(request);
}

/* An answer to no request: the daemon refuses the connection, or could not read a request, and closes. */
static void on_refusal(struct gram_client *client, struct cursor *error)
{
        struct failure failure;

        if (!failure_read(&failure, error))
                failure_set(&failure, GRAM_E_PROTOCOL, "it sent an answer without a request");
        connection_fail(client,
                        failure.error.code == GRAM_E_OVERLOADED || failure.error.code == GRAM_E_UNAVAILABLE
                                ? VERDICT_RETRY
                                : failure.error.code,
                        "the daemon at %.100s refuses the connection: %.100s", client->path, failure.message);
}

static void message_handle(struct gram_client *client, struct slice frame)
{
        struct message message;

        if (!message_read(frame, &message) || message.kind == MESSAGE_REQUEST)
                connection_fail(client, GRAM_E_PROTOCOL,
                                "the daemon at %.150s sent a message that a client cannot receive",
                                client->path);
        else if (message.kind == MESSAGE_RESPONSE && message.id == 0)
                on_refusal(client, &message.params);
        else if (message.kind == MESSAGE_RESPONSE)
                request_answered(client, message.id, &message.params);
        else if (slice_is(message.method, "changed") && message.n_params > 1)
                on_changed(client, &message.params);
        else if (slice_is(message.method, "ended"))
                on_ended(client, &message.params, message.n_params);
        else if (slice_is(message.method, "leave") && message.n_params > 0)
                on_leave(client, &message.params, message.n_params);
        else if (slice_is(message.method, "request") && message.n_params > 0)
                on_request(client, &message.params);
}

/* Handles every whole message in client->in, until the program frees the client. */
static void messages_handle(struct gram_client *client)
{
        size_t off = 0, end;
        enum frame_result result = FRAME_WHOLE;

        while (!client->verdict && !client->doomed) {
                struct slice frame = { (const char *)client->in.data + off, 0 };

                result = frame_scan(&client->frame, &client->limits, client->in.data + off,
                                    client->in.len - off, &end);
                if (result != FRAME_WHOLE)
                        break;
                frame.len = end;
                message_handle(client, frame);
                off += end;
        }
        if (result < 0)
                connection_fail(client, GRAM_E_PROTOCOL, "the daemon at %.150s sent %s", client->path,
                                result == FRAME_E_INVALID ? "bytes that are not MessagePack"
                                                          : "a message over its own limits");
        buffer_consume(&client->in, off);
        if (client->verdict)
                connection_lost(client, client->verdict == VERDICT_RETRY ? 0 : client->verdict);
}

void connection_read(struct gram_client *client)
{
        size_t total = 0;

        while (connection_up(client) && total < READ_MAX_BYTES) {
                uint8_t *room = buffer_reserve(&client->in, READ_BYTES);
                ssize_t n;

                if (!room) {
                        snprintf(client->trouble, sizeof(client->trouble), "no memory to read an answer");
                        connection_lost(client, GRAM_E_NOMEM);
                        return;
                }
                n = recv(client->socket_fd, room, READ_BYTES, 0);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
                        return;
                if (n == 0)
                        snprintf(client->trouble, sizeof(client->trouble),
                                 "the daemon at %.150s closed the connection", client->path);
                else if (n < 0)
                        trouble_set(client, "lost the connection to gramd", errno);
                if (n <= 0) {
                        connection_lost(client, 0);
                        return;
                }
                client->in.len += (size_t)n;
                messages_handle(client);
                if (client->doomed || n < READ_BYTES)
                        return;
                total += (size_t)n;
        }
}

/* ---- writing ---- */

void connection_flush(struct gram_client *client)
{
        while (connection_up(client)) {
                ssize_t n;

                requests_pump(client);
                if (!client->out.len)
                        return;
                n = send(client->socket_fd, client->out.data, client->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
                        return;
                if (n < 0) {
                        /* The daemon's last message, perhaps why it closed, has not been read yet. */
                        int error = errno;

                        connection_read(client);
                        if (connection_up(client)) {
                                trouble_set(client, "lost the connection to gramd", error);
                                connection_lost(client, 0);
                        }
                        return;
                }
                buffer_consume(&client->out, (size_t)n);
        }
}
