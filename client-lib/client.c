/*
 * The client: its options, its step (read, deadlines, callbacks, write), and the public functions that are
 * not methods of the protocol.
 */

#include "client.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "waiter.h"

#define SYSTEM_SOCKET "/run/gramd/gramd.sock"

GRAM_API const char *gram_version(void)
{
        return GRAMD_VERSION;
}

int64_t now_ms(void)
{
        struct timespec now;

        clock_gettime(CLOCK_BOOTTIME, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t later_ms(int64_t from, int64_t delay_ms)
{
        return delay_ms > NEVER_MS - from ? NEVER_MS : from + delay_ms;
}

int client_fail(struct gram_client *client, int code, const char *format, ...)
{
        char text[sizeof(client->last.message)];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        return failure_set(&client->last, code, "%s", text);
}

void client_event(struct gram_client *client, const struct gram_event *event)
{
        assert(client->depth);
        if (client->on_event && !client->doomed)
                client->on_event(client->event_arg, event);
}

/* ---- life ---- */

/* The option alone, else $GRAMD_SOCKET alone, else the user's and the system's socket. False: no memory. */
static bool paths_init(struct gram_client *client, const char *socket)
{
        const char *from_environment = secure_getenv("GRAMD_SOCKET");
        const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
        size_t n = 0;

        if (!socket && from_environment && *from_environment)
                socket = from_environment;
        if (socket) {
                client->paths[0] = strdup(socket);
                return client->paths[0];
        }
        if (runtime && *runtime && asprintf(&client->paths[n++], "%s/gramd.sock", runtime) < 0) {
                client->paths[0] = NULL;
                return false;
        }
        client->paths[n] = strdup(SYSTEM_SOCKET);
        return client->paths[n];
}

static bool descriptors_init(struct gram_client *client)
{
        struct epoll_event event = { .events = EPOLLIN };

        client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        client->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
        if (client->epoll_fd < 0 || client->timer_fd < 0)
                return false;
        event.data.fd = client->timer_fd;
        return epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->timer_fd, &event) == 0;
}

static void client_destroy(struct gram_client *client)
{
        int error = errno;

        assert(link_empty(&client->sessions) && !client->pending && !connection_up(client));
        if (client->epoll_fd >= 0)
                close(client->epoll_fd);
        if (client->timer_fd >= 0)
                close(client->timer_fd);
        for (size_t i = 0; i < sizeof(client->paths) / sizeof(*client->paths); i++)
                free(client->paths[i]);
        free(client->name);
        free(client->awaited);
        buffer_deinit(&client->in);
        buffer_deinit(&client->out);
        free(client);
        errno = error;
}

GRAM_API struct gram_client *gram_client_new(const struct gram_options *options)
{
        static const struct gram_options defaults = { 0 };
        struct gram_client *client = calloc(1, sizeof(*client));

        if (!client)
                return NULL;
        options = options ? options : &defaults;
        client->epoll_fd = client->timer_fd = client->socket_fd = -1;
        client->on_event = options->on_event;
        client->event_arg = options->event_arg;
        client->limits = (struct frame_limits){ LIMIT_MESSAGE_BYTES, LIMIT_DEPTH };
        client->max_message = LIMIT_MESSAGE_BYTES;
        client->max_in_flight = LIMIT_IN_FLIGHT;
        client->timer_ms = client->sessions_next_ms = NEVER_MS;
        lane_init(&client->lane);
        link_init(&client->by_deadline);
        link_init(&client->to_call);
        link_init(&client->sessions);
        link_init(&client->ready);
        for (size_t i = 0; i < HANDLE_BUCKETS; i++)
                link_init(&client->by_handle[i]);
        gram_client_set_timeout(client, options->timeout_ms);
        failure_set(&client->last, GRAM_OK, "no error");
        client->name = strdup(options->client ? options->client : program_invocation_short_name);
        if (!client->name || !client_take_id(client) || !paths_init(client, options->socket) ||
            !descriptors_init(client)) {
                client_destroy(client);
                return NULL;
        }
        connection_choose_path(client);
        return client;
}

static void client_free_now(struct gram_client *client)
{
        client->doomed = true;
        client->depth++;
        requests_cancel(client);
        requests_call_back(client);
        requests_lost(client, GRAM_E_CANCELLED);
        while (!link_empty(&client->sessions))
                session_release(LINK_OF(client->sessions.next, struct gram_session, all));
        requests_lost(client, GRAM_E_CANCELLED);
        connection_close(client);
        client_destroy(client);
}

GRAM_API void gram_client_free(struct gram_client *client)
{
        if (client && client->depth)
                client->doomed = true; /* called in a callback: freed at the end of the step */
        else if (client)
                client_free_now(client);
}

GRAM_API void gram_client_trust(struct gram_client *client, int64_t uid)
{
        client->server_uid = uid;
}

GRAM_API void gram_client_set_timeout(struct gram_client *client, int64_t timeout_ms)
{
        client->timeout_ms = timeout_ms < 0 ? NEVER_MS : timeout_ms ? timeout_ms : TIMEOUT_DEFAULT_MS;
}

GRAM_API void gram_client_set_leaves(struct gram_client *client, bool leaves)
{
        client->leaves = leaves;
}

GRAM_API const char *gram_client_socket(struct gram_client *client)
{
        connection_choose_path(client);
        return client->path;
}

GRAM_API const struct gram_error *gram_client_error(struct gram_client *client)
{
        return &client->last.error;
}

GRAM_API int gram_fd(struct gram_client *client)
{
        return client->epoll_fd;
}

GRAM_API size_t gram_pending(struct gram_client *client)
{
        return client->pending;
}

GRAM_API int gram_connect(struct gram_client *client)
{
        struct waiter waiter;

        if (waiter_begin(&waiter, client))
                return GRAM_E_MISUSE;
        client->retry_at_ms = 0;
        client->connect_wanted = true;
        if (!connection_up(client))
                connection_try(client, now_ms());
        client->connect_wanted = false;
        if (client->untrusted || (client->connect_error && client->connect_error != EAGAIN)) {
                client->blocking = false;
                return client_fail(client, client->untrusted ? GRAM_E_UNTRUSTED : GRAM_E_UNREACHABLE, "%s",
                                   client->trouble);
        }
        return waiter_finish(&waiter, gram_async_ping(client, waiter_done, &waiter));
}

GRAM_API void *gram_reply_take(struct gram_reply *reply)
{
        void *result = reply->result;

        reply->result = NULL;
        return result;
}

/* ---- the step ---- */

static int64_t run_timers(struct gram_client *client)
{
        int64_t now = now_ms();

        if (!connection_up(client))
                connection_try(client, now);
        if (client->untrusted)
                requests_refuse(client);
        sessions_tick(client, now);
        requests_expire(client, now);
        return now;
}

void client_step(struct gram_client *client, unsigned look)
{
        int64_t now = 0;

        client->depth++;
        if (look & LOOK_SOCKET)
                connection_read(client);
        if (look & LOOK_TIME || !connection_up(client))
                now = run_timers(client);
        requests_call_back(client);
        if (!client->doomed) {
                connection_flush(client);
                requests_call_back(client);
                connection_rearm(client, now);
        }
        client->depth--;
        if (client->doomed && !client->depth)
                client_free_now(client);
}

GRAM_API void gram_process(struct gram_client *client)
{
        if (!client->depth)
                client_step(client, LOOK_SOCKET | LOOK_TIME);
}
