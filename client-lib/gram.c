/*
 * The blocking functions. Each calls its gram_async_ counterpart and runs the client until the answer is
 * there. Other callbacks and events are called meanwhile.
 */

#include "gram.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "client.h"

struct waiter {
        struct gram_client *client;
        bool done;
        int code;
        void *result; /* taken */
        int64_t number;
};

static void waiter_done(void *arg, struct gram_reply *reply)
{
        struct waiter *waiter = arg;

        waiter->done = true;
        waiter->number = reply->number;
        if (reply->error) {
                waiter->code = reply->error->code;
                failure_copy(&waiter->client->last, reply->error);
        } else {
                waiter->result = gram_reply_take(reply);
        }
}

GRAM_API void *gram_reply_take(struct gram_reply *reply)
{
        void *result = reply->result;

        reply->result = NULL;
        return result;
}

/* Sleeps until there is something to do. Returns LOOK_… bits for client_step(). */
static unsigned wait_ready(struct gram_client *client)
{
        struct epoll_event events[2];
        int n = epoll_wait(client->epoll_fd, events, 2, -1);
        unsigned look = 0;

        for (int i = 0; i < n; i++)
                look |= events[i].data.fd == client->socket_fd ? LOOK_SOCKET : LOOK_TIME;
        return look;
}

/* A callback may free the client. The waiter is completed before that, with GRAM_E_CANCELLED. */
static void wait_done(struct waiter *waiter)
{
        /* Before the cache answers: read what the daemon has told of changes, and check deadlines. */
        unsigned look = waiter->client->n_caches > 0 ? LOOK_SOCKET | LOOK_TIME : 0;

        while (!waiter->done) {
                client_step(waiter->client, look);
                if (!waiter->done)
                        look = wait_ready(waiter->client);
        }
        if (waiter->code != GRAM_E_CANCELLED)
                waiter->client->blocking = false;
}

static int begin(struct waiter *waiter, struct gram_client *client)
{
        *waiter = (struct waiter){ .client = client };
        if (client->depth)
                return client_fail(client, GRAM_E_MISUSE, "a blocking call inside a callback");
        client->blocking = true;
        return 0;
}

/* `submitted`: what the gram_async_ function returned. */
static int finish(struct waiter *waiter, int submitted)
{
        if (submitted) {
                waiter->client->blocking = false;
                return submitted;
        }
        wait_done(waiter);
        return waiter->code;
}

static int finish_result(struct waiter *waiter, int submitted, void *result)
{
        int code = finish(waiter, submitted);

        if (!code)
                memcpy(result, &waiter->result, sizeof(waiter->result));
        return code;
}

/* The body of a blocking function: `call` calls the gram_async_ function with waiter_done and &waiter. */
#define BLOCKING(client, call)                                                                               \
        struct waiter waiter;                                                                                \
        return begin(&waiter, client) ? GRAM_E_MISUSE : finish(&waiter, call)
#define BLOCKING_RESULT(client, call, result)                                                                \
        struct waiter waiter;                                                                                \
        return begin(&waiter, client) ? GRAM_E_MISUSE : finish_result(&waiter, call, result)

/* ---- the client ---- */

GRAM_API int gram_connect(struct gram_client *client)
{
        struct waiter waiter;

        if (begin(&waiter, client))
                return GRAM_E_MISUSE;
        client->retry_at_ms = 0;
        client->connect_wanted = true;
        if (!connection_up(client))
                connection_try(client, now_ms());
        client->connect_wanted = false;
        if (client->connect_error && client->connect_error != EAGAIN) {
                client->blocking = false;
                return client_fail(client, GRAM_E_UNREACHABLE, "%s", client->trouble);
        }
        return finish(&waiter, gram_async_ping(client, waiter_done, &waiter));
}

GRAM_API int gram_hello(struct gram_client *client, struct gram_hello **hello)
{
        BLOCKING_RESULT(client, gram_async_hello(client, waiter_done, &waiter), hello);
}

GRAM_API int gram_ping(struct gram_client *client)
{
        BLOCKING(client, gram_async_ping(client, waiter_done, &waiter));
}

GRAM_API int gram_sessions(struct gram_client *client, const char *glob, const char *after, size_t limit,
                           struct gram_stored_sessions **sessions)
{
        BLOCKING_RESULT(client, gram_async_sessions(client, glob, after, limit, waiter_done, &waiter),
                        sessions);
}

GRAM_API int gram_clients(struct gram_client *client, struct gram_connected_clients **clients)
{
        BLOCKING_RESULT(client, gram_async_clients(client, waiter_done, &waiter), clients);
}

GRAM_API int gram_disconnect(struct gram_client *client, int64_t id)
{
        BLOCKING(client, gram_async_disconnect(client, id, waiter_done, &waiter));
}

GRAM_API int gram_stats(struct gram_client *client, struct gram_stats **stats)
{
        BLOCKING_RESULT(client, gram_async_stats(client, waiter_done, &waiter), stats);
}

GRAM_API int gram_monitor(struct gram_client *client, bool on)
{
        BLOCKING(client, gram_async_monitor(client, on, waiter_done, &waiter));
}

/* ---- sessions ---- */

GRAM_API int gram_open(struct gram_client *client, const char *name, const struct gram_open_options *options,
                       struct gram_session **session)
{
        BLOCKING_RESULT(client, gram_async_open(client, name, options, waiter_done, &waiter), session);
}

GRAM_API int gram_close(struct gram_session *session)
{
        BLOCKING(session->client, gram_async_close(session, waiter_done, &waiter));
}

GRAM_API int gram_lease(struct gram_session *session, int64_t *lease_ms)
{
        struct waiter waiter;
        int code = begin(&waiter, session->client);

        if (code)
                return code;
        code = finish(&waiter, gram_async_lease(session, waiter_done, &waiter));
        if (!code)
                *lease_ms = waiter.number;
        return code;
}

GRAM_API int gram_save(struct gram_session *session)
{
        BLOCKING(session->client, gram_async_save(session, waiter_done, &waiter));
}

GRAM_API int gram_delete(struct gram_session *session, bool remove_peers)
{
        BLOCKING(session->client, gram_async_delete(session, remove_peers, waiter_done, &waiter));
}

GRAM_API int gram_info(struct gram_session *session, struct gram_info **info)
{
        BLOCKING_RESULT(session->client, gram_async_info(session, waiter_done, &waiter), info);
}

GRAM_API int gram_watch(struct gram_session *session, bool on)
{
        BLOCKING(session->client, gram_async_watch(session, on, waiter_done, &waiter));
}

GRAM_API int gram_cache_enable(struct gram_session *session, size_t max_bytes)
{
        BLOCKING(session->client, gram_async_cache_enable(session, max_bytes, waiter_done, &waiter));
}

/* ---- identity ---- */

GRAM_API int gram_get(struct gram_session *session, unsigned fields, struct gram_identity *identity)
{
        struct waiter waiter;
        int code = begin(&waiter, session->client);

        if (code)
                return code;
        code = finish(&waiter, gram_async_get(session, fields, waiter_done, &waiter));
        if (!code)
                *identity = *(struct gram_identity *)waiter.result;
        gram_free(waiter.result);
        return code;
}

GRAM_API int gram_set(struct gram_session *session, const struct gram_identity *identity)
{
        BLOCKING(session->client, gram_async_set(session, identity, waiter_done, &waiter));
}

GRAM_API int gram_export_string(struct gram_session *session, const char *format, char **text)
{
        BLOCKING_RESULT(session->client, gram_async_export_string(session, format, waiter_done, &waiter),
                        text);
}

GRAM_API int gram_import_string(struct gram_session *session, const char *text,
                                const struct gram_import_options *options, unsigned *fields)
{
        struct waiter waiter;
        int code = begin(&waiter, session->client);

        if (code)
                return code;
        code = finish(&waiter, gram_async_import_string(session, text, options, waiter_done, &waiter));
        if (!code && fields)
                *fields = (unsigned)waiter.number;
        return code;
}

/* ---- peers and usernames ---- */

GRAM_API int gram_update_peers(struct gram_session *session, const struct gram_peer *rows, size_t n)
{
        BLOCKING(session->client, gram_async_update_peers(session, rows, n, waiter_done, &waiter));
}

GRAM_API int gram_update_usernames(struct gram_session *session, const struct gram_names *rows, size_t n)
{
        BLOCKING(session->client, gram_async_update_usernames(session, rows, n, waiter_done, &waiter));
}

GRAM_API int gram_get_peer_by_id(struct gram_session *session, int64_t id, struct gram_peer **peer)
{
        BLOCKING_RESULT(session->client, gram_async_get_peer_by_id(session, id, waiter_done, &waiter), peer);
}

GRAM_API int gram_get_peer_by_username(struct gram_session *session, const char *username, int64_t max_age_s,
                                       struct gram_peer **peer)
{
        BLOCKING_RESULT(session->client,
                        gram_async_get_peer_by_username(session, username, max_age_s, waiter_done, &waiter),
                        peer);
}

GRAM_API int gram_get_peer_by_phone_number(struct gram_session *session, const char *phone_number,
                                           struct gram_peer **peer)
{
        BLOCKING_RESULT(session->client,
                        gram_async_get_peer_by_phone_number(session, phone_number, waiter_done, &waiter),
                        peer);
}

GRAM_API int gram_get_peers(struct gram_session *session, const int64_t *ids, size_t n,
                            struct gram_peers **peers)
{
        BLOCKING_RESULT(session->client, gram_async_get_peers(session, ids, n, waiter_done, &waiter), peers);
}

GRAM_API int gram_scan_peers(struct gram_session *session, const int64_t *after, size_t limit,
                             struct gram_peers **peers)
{
        BLOCKING_RESULT(session->client, gram_async_scan_peers(session, after, limit, waiter_done, &waiter),
                        peers);
}

GRAM_API int gram_scan_usernames(struct gram_session *session, const char *after, int64_t after_id,
                                 size_t limit, struct gram_usernames **usernames)
{
        BLOCKING_RESULT(session->client,
                        gram_async_scan_usernames(session, after, after_id, limit, waiter_done, &waiter),
                        usernames);
}

/* ---- update states ---- */

GRAM_API int gram_update_states(struct gram_session *session, const struct gram_state *rows, size_t n,
                                bool keep)
{
        BLOCKING(session->client, gram_async_update_states(session, rows, n, keep, waiter_done, &waiter));
}

GRAM_API int gram_get_states(struct gram_session *session, const int64_t *ids, size_t n,
                             struct gram_states **states)
{
        BLOCKING_RESULT(session->client, gram_async_get_states(session, ids, n, waiter_done, &waiter),
                        states);
}

GRAM_API int gram_remove_states(struct gram_session *session, const int64_t *ids, size_t n)
{
        BLOCKING(session->client, gram_async_remove_states(session, ids, n, waiter_done, &waiter));
}
