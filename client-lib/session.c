/*
 * The life of a session in libgram. For the program it is open from gram_open() to gram_close(). For the
 * daemon it is a handle, which ends with the connection. This file opens the session again on each
 * connection, watches it again, and ends it.
 *
 * A session is opened again with `create: false`. If it is busy, the `open` waits, as long as a request
 * would: the daemon may not have noticed that the former connection is gone. After a restart of the daemon
 * its clients come back in any order. So an `open` that was still waiting for a busy session when the
 * connection broke is sent a moment later, to let the former holder have the session first.
 */

#include "../proto/message.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "client.h"

enum {
        STAND_BACK_MS = 1000, /* before an `open` that waited is sent again */
        RETRY_FIRST_MS = 20,
        RETRY_MAX_MS = 1000,
        PATIENCE_MAX_MS = 30000, /* how long to try to open a busy session again; or the timeout if shorter */
        WAIT_MAX_MS = 1000 * 1000 * 1000,
};

static void session_move(struct gram_session *session, enum session_state to)
{
        static const unsigned allowed[] = {
                [SESSION_WANTED] = 1u << SESSION_OPENING | 1u << SESSION_ENDED,
                [SESSION_OPENING] = 1u << SESSION_OPEN | 1u << SESSION_WANTED,
                [SESSION_OPEN] = 1u << SESSION_WANTED | 1u << SESSION_ENDED,
                [SESSION_ENDED] = 0,
        };

        assert(allowed[session->state] & 1u << to);
        session->state = to;
}

/* ---- handles ---- */

/*
 * The bound is what a request has room for: four bytes. Daemons give handles from 1 to LIMIT_HANDLE - 1, but
 * older ones also give larger ones after a session has been closed on the connection.
 */
static bool handle_is_possible(int64_t handle)
{
        return handle >= 1 && handle <= UINT32_MAX;
}

static struct link *bucket_of(struct gram_client *client, uint32_t handle)
{
        return &client->by_handle[handle % HANDLE_BUCKETS];
}

static void handle_store(struct gram_session *session, uint32_t handle)
{
        assert(link_empty(&session->same_bucket));
        session->handle = handle;
        link_append(bucket_of(session->client, handle), &session->same_bucket);
}

static void handle_forget(struct gram_session *session)
{
        link_remove(&session->same_bucket);
}

struct gram_session *session_by_handle(struct gram_client *client, int64_t handle)
{
        struct link *bucket;

        if (!handle_is_possible(handle))
                return NULL;
        bucket = bucket_of(client, (uint32_t)handle);
        for (struct link *link = bucket->next; link != bucket; link = link->next) {
                struct gram_session *session = LINK_OF(link, struct gram_session, same_bucket);

                if (session->handle == handle)
                        return session;
        }
        return NULL;
}

/* ---- opening ---- */

static bool text_copy(char **to, const char *from)
{
        *to = from ? strdup(from) : NULL;
        return !from || *to;
}

static void session_free(struct gram_session *session)
{
        link_remove(&session->all);
        link_remove(&session->ready);
        handle_forget(session);
        if (session->cache)
                session->client->n_caches--;
        cache_free(session->cache);
        free(session->name);
        free(session->backend);
        free(session->wanted_dialect);
        free(session);
}

static struct gram_session *session_new(struct gram_client *client, const char *name,
                                        const struct gram_open_options *options)
{
        struct gram_session *session = calloc(1, sizeof(*session));

        if (!session)
                return NULL;
        session->refs = 1;
        session->client = client;
        session->exclusive = options->mode & GRAM_EXCLUSIVE;
        session->must_exist = options->must_exist;
        session->seal = options->mode & GRAM_SEAL;
        session->linger_s = options->linger_s;
        session->data = options->data;
        session->wait_until_ms = later_ms(now_ms(), options->wait_ms);
        session->opened.backend = session->opened_backend;
        session->opened.dialect = session->opened_dialect;
        link_init(&session->all);
        link_init(&session->ready);
        link_init(&session->same_bucket);
        lane_init(&session->lane);
        if (!text_copy(&session->name, name) || !text_copy(&session->backend, options->backend) ||
            !text_copy(&session->wanted_dialect, options->dialect)) {
                session_free(session);
                return NULL;
        }
        return session;
}

GRAM_API int gram_async_open(struct gram_client *client, const char *name,
                             const struct gram_open_options *options, gram_callback *callback, void *arg)
{
        static const struct gram_open_options defaults = { 0 };
        struct gram_session *session;
        struct call call;
        int error;

        options = options ? options : &defaults;
        if (!name || !callback || options->wait_ms < 0 || options->linger_s < 0)
                return client_fail(client, GRAM_E_BAD_REQUEST,
                                   "open: needs a name and a callback, and no negative times");
        session = session_new(client, name, options);
        if (!session)
                return client_fail(client, GRAM_E_NOMEM, "open: no memory");
        call = (struct call){ .client = client, .session = session, .method = METHOD_OPEN };
        call.extra_ms = options->wait_ms;
        error = call_hold(&call, callback, arg, &session->opener);
        if (error) {
                session_unref(session);
                return error;
        }
        link_append(&client->sessions, &session->all);
        session->lease_ask_ms = session->lease_until_ms = NEVER_MS;
        client->sessions_next_ms = 0;
        return 0;
}

void session_unref(struct gram_session *session)
{
        assert(session->refs > 0);
        if (--session->refs == 0)
                session_free(session);
}

static int64_t patience_ms(const struct gram_session *session)
{
        return session->client->timeout_ms < PATIENCE_MAX_MS ? session->client->timeout_ms : PATIENCE_MAX_MS;
}

static int64_t wait_left_ms(const struct gram_session *session, int64_t now)
{
        int64_t until = session->ever_open ? session->lost_ms + patience_ms(session) : session->wait_until_ms;
        int64_t left = until > now ? until - now : 0;

        return left < WAIT_MAX_MS ? left : WAIT_MAX_MS;
}

static void session_opened(struct gram_session *session, const struct open_result *result);
static void session_refused(struct gram_session *session, const struct gram_error *error);

static void open_answered(void *arg, struct gram_reply *reply)
{
        if (reply->error)
                session_refused(arg, reply->error);
        else
                session_opened(arg, reply->result);
}

static void pack_option(struct buffer *out, const char *name, const char *value)
{
        pack_cstr(out, name);
        pack_cstr(out, value);
}

static void session_ask(struct gram_session *session, int64_t now)
{
        struct call call = call_begin(session->client, NULL, METHOD_OPEN, 2);
        struct buffer *out = &call.bytes;
        bool linger = session->linger_s > 0;

        call.session = session;
        pack_cstr(out, session->name);
        pack_map(out, 3u + (session->backend ? 1 : 0) + (session->wanted_dialect ? 1 : 0) + (linger ? 1 : 0) +
                              (session->seal ? 1 : 0));
        pack_cstr(out, "create");
        pack_bool(out, !session->must_exist && !session->ever_open);
        pack_option(out, "mode", session->exclusive ? "exclusive" : "shared");
        pack_cstr(out, "wait");
        pack_int(out, wait_left_ms(session, now));
        if (session->backend)
                pack_option(out, "backend", session->backend);
        if (session->wanted_dialect)
                pack_option(out, "dialect", session->wanted_dialect);
        if (linger) {
                pack_cstr(out, "linger");
                pack_int(out, session->linger_s);
        }
        if (session->seal) {
                pack_cstr(out, "seal");
                pack_bool(out, true);
        }
        session_move(session, SESSION_OPENING);
        session->asked = true;
        session->asked_ms = now;
        session->open_at_ms = NEVER_MS;
        if (call_send_internal(&call, open_answered, session))
                return;
        session_move(session, SESSION_WANTED); /* no memory: try again later */
        session->open_at_ms = now + RETRY_MAX_MS;
}

static void send_close(struct gram_session *session)
{
        struct call call = call_begin(session->client, session, METHOD_CLOSE, 0);

        assert(session->state == SESSION_OPEN);
        call_send_internal(&call, NULL, NULL);
}

static void text_fix(char *to, size_t size, const char *from)
{
        size_t len = from ? strnlen(from, size - 1) : 0;

        if (len)
                memcpy(to, from, len);
        to[len] = '\0';
}

/* The session is watched again. Anything may have changed while it was not: the program is told so. */
static void watched_again(void *arg, struct gram_reply *reply)
{
        struct gram_session *session = arg;
        const struct changed_result all = { .changed.all = true };
        struct gram_event event = { .type = GRAM_EVENT_CHANGED, .session = session, .changed = &all.changed };

        if (reply->error)
                session_end(session, reply->error, true);
        else if (!session->released && session->state == SESSION_OPEN)
                client_event(session->client, &event);
}

static void session_opened(struct gram_session *session, const struct open_result *result)
{
        struct gram_client *client = session->client;
        struct request *opener = session->opener;
        struct gram_reply reply = { .session = session };

        if (!handle_is_possible(result->handle)) {
                connection_fail(client, GRAM_E_PROTOCOL, "the daemon gave a session handle out of range");
                return;
        }
        handle_store(session, (uint32_t)result->handle);
        session_move(session, SESSION_OPEN);
        session->backoff_ms = 0;
        if (session->released) { /* the program's `open` has timed out */
                send_close(session);
                handle_forget(session);
                return;
        }
        if (!session->ever_open)
                session->opened.created = result->opened.created;
        session->ever_open = true;
        session->opened.version = result->opened.version;
        session->opened.fence = result->opened.fence;
        text_fix(session->opened_backend, sizeof(session->opened_backend), result->opened.backend);
        text_fix(session->opened_dialect, sizeof(session->opened_dialect), result->opened.dialect);
        if (session->watching) {
                struct call call = call_begin(client, session, METHOD_WATCH, 1);

                call.on = true;
                pack_bool(&call.bytes, true);
                call_send_internal(&call, watched_again, session);
        }
        if (result->opened.fence > 0) /* only sessions with a fence have an owner and a lease */
                lease_begin(session, result->lease_ms);
        if (!link_empty(&session->lane.waiting))
                link_append(&client->ready, &session->ready);
        session->opener = NULL;
        if (opener)
                request_deliver(opener, &reply);
}

static bool worth_retrying(const struct gram_session *session, int code, int64_t now)
{
        switch (code) {
        case GRAM_E_BUSY: return now < session->lost_ms + patience_ms(session);
        case GRAM_E_UNAVAILABLE:
        case GRAM_E_STORAGE:
        case GRAM_E_OVERLOADED:
        case GRAM_E_NOMEM: return true;
        default: return false;
        }
}

static void session_refused(struct gram_session *session, const struct gram_error *error)
{
        struct request *opener = session->opener;
        struct gram_reply reply = { .error = error };
        int64_t now = now_ms();

        session_move(session, SESSION_WANTED);
        if (session->released)
                return;
        if (!session->ever_open) {
                session->opener = NULL;
                session->refs++;
                request_deliver(opener, &reply);
                session_release(session);
                session_unref(session);
                return;
        }
        failure_copy(&session->failure, error);
        if (!worth_retrying(session, error->code, now)) {
                session_end(session, error, true);
                return;
        }
        session->backoff_ms = session->backoff_ms ? session->backoff_ms * 2 : RETRY_FIRST_MS;
        if (session->backoff_ms > RETRY_MAX_MS)
                session->backoff_ms = RETRY_MAX_MS;
        session->open_at_ms = now + session->backoff_ms;
        session->client->sessions_next_ms = 0;
        session_complete_waiting(session);
}

void session_give_up_opening(struct gram_session *session)
{
        session->opener = NULL;
        session_release(session);
}

/* ---- the end ---- */

void session_release(struct gram_session *session)
{
        if (session->released)
                return;
        session->released = true;
        if (session->state == SESSION_OPEN && !session->close_sent)
                send_close(session);
        handle_forget(session);
        lane_end(&session->lane,
                 GRAM_E_UNAVAILABLE); /* its `close` was answered, or ran out of time, first */
        link_remove(&session->all);
        link_remove(&session->ready);
        session_unref(session);
}

void session_end(struct gram_session *session, const struct gram_error *error, bool tell)
{
        struct gram_event event = { .type = GRAM_EVENT_ENDED,
                                    .session = session,
                                    .error = &session->failure.error };

        if (session->state == SESSION_ENDED || session->released)
                return;
        if (error != &session->failure.error)
                failure_copy(&session->failure, error);
        session_move(session, SESSION_ENDED);
        session->leased = session->lease_unknown = false;
        if (session->cache)
                cache_stop(session->cache);
        handle_forget(session);
        link_remove(&session->ready);
        session_complete_waiting(session);
        if (tell && !session->closing)
                client_event(session->client, &event);
}

/* The outcome of a request that an ended session does not answer. */
static int outcome_of(const struct gram_session *session, const struct request *request)
{
        int code = session->failure.error.code;

        if (request->call.method == METHOD_CLOSE ||
            (request->call.method == METHOD_DELETE && code == GRAM_E_NOT_FOUND))
                return 0; /* what the request wanted is true */
        return code;
}

/* Completes the requests of a list; the last may be a `close`. */
static void list_complete(const struct gram_session *session, struct link *list, bool close_too)
{
        while (!link_empty(list)) {
                struct request *request = LINK_OF(list->next, struct request, lane);

                if (request->call.method == METHOD_CLOSE && !close_too)
                        return;
                request_complete(request, outcome_of(session, request));
        }
}

/*
 * The daemon still answers requests that were sent before the session ended, so a `close` waits until they
 * are answered. A session that is not open and waits only to be closed need not be opened for that.
 */
void session_complete_waiting(struct gram_session *session)
{
        struct lane *lane = &session->lane;
        bool ended = session->state == SESSION_ENDED;
        bool away = session->state == SESSION_WANTED || session->state == SESSION_OPENING;

        if (link_empty(&lane->sent) &&
            (ended || (away && session->closing && lane->waiting.next == lane->waiting.prev)))
                list_complete(session, &lane->waiting, true);
        else if (ended)
                list_complete(session, &lane->waiting, false);
}

/* ---- all sessions of a client ---- */

/* All its requests are completed, and it is not opened again; only the callback of its `close` is owed. */
static bool is_closed(const struct gram_session *session)
{
        return session->closing && link_empty(&session->lane.sent) && link_empty(&session->lane.waiting);
}

bool sessions_want_connection(const struct gram_client *client)
{
        for (const struct link *link = client->sessions.next; link != &client->sessions; link = link->next) {
                const struct gram_session *session = LINK_OF(link, const struct gram_session, all);

                if (session->state != SESSION_ENDED && !is_closed(session))
                        return true;
        }
        return false;
}

void sessions_connected(struct gram_client *client)
{
        int64_t now = now_ms();

        for (struct link *link = client->sessions.next; link != &client->sessions; link = link->next) {
                struct gram_session *session = LINK_OF(link, struct gram_session, all);
                int64_t wait = wait_left_ms(session, now);

                if (session->state != SESSION_WANTED)
                        continue;
                session->open_at_ms = now;
                if (!session->ever_open && session->asked && wait > 0)
                        session->open_at_ms += wait / 2 < STAND_BACK_MS ? wait / 2 : STAND_BACK_MS;
        }
        client->sessions_next_ms = 0;
}

void sessions_lost(struct gram_client *client)
{
        int64_t now = now_ms();

        for (struct link *link = client->sessions.next; link != &client->sessions; link = link->next) {
                struct gram_session *session = LINK_OF(link, struct gram_session, all);

                link_remove(&session->ready);
                handle_forget(session);
                if (session->state == SESSION_OPEN)
                        session->lost_ms = now;
                if (session->state == SESSION_OPENING || session->state == SESSION_OPEN)
                        session_move(session, SESSION_WANTED);
                session->close_sent = false;
                if (session->cache)
                        cache_stop(session->cache);
                session->open_at_ms = NEVER_MS;
                lease_connection_lost(session);
                session_complete_waiting(session);
        }
}

static bool may_open(const struct gram_session *session)
{
        return session->state == SESSION_WANTED && connection_up(session->client) && !is_closed(session);
}

static int64_t session_next_ms(const struct gram_session *session)
{
        int64_t next = NEVER_MS;

        if (may_open(session))
                next = session->open_at_ms;
        if (session->state == SESSION_OPEN)
                next = session->lease_ask_ms;
        if (session->leased && !session->lease_told && session->lease_until_ms < next)
                next = session->lease_until_ms;
        return next;
}

void sessions_tick(struct gram_client *client, int64_t now)
{
        if (client->sessions_next_ms > now)
                return;
        client->sessions_next_ms = NEVER_MS;
        for (struct link *link = client->sessions.next; link != &client->sessions; link = link->next) {
                struct gram_session *session = LINK_OF(link, struct gram_session, all);
                int64_t next;

                if (may_open(session) && session->open_at_ms <= now)
                        session_ask(session, now);
                lease_check(session, now);
                next = session_next_ms(session);
                if (next < client->sessions_next_ms)
                        client->sessions_next_ms = next;
        }
}

/* ---- accessors ---- */

GRAM_API const char *gram_session_name(const struct gram_session *session)
{
        return session->name;
}

GRAM_API const struct gram_opened *gram_session_opened(const struct gram_session *session)
{
        return &session->opened;
}

GRAM_API void *gram_session_data(const struct gram_session *session)
{
        return session->data;
}

GRAM_API struct gram_client *gram_session_client(const struct gram_session *session)
{
        return session->client;
}

GRAM_API const struct gram_error *gram_session_error(const struct gram_session *session)
{
        return session->state == SESSION_ENDED ? &session->failure.error : NULL;
}
