/*
 * Requests from submission to callback. A request is packed as a whole message when it is submitted. Message
 * id and session handle have fixed width: they are filled in when the request is sent, and again when it is
 * repeated on another connection, where the session has another handle.
 *
 * Every request is completed exactly once: by an answer (answer.c), or by request_complete(), which may be
 * called anywhere and leaves the callback to requests_call_back(). A sent request that times out is awaited
 * until its answer comes, which is dropped.
 */

#include "../proto/message.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "cache.h"
#include "client.h"

enum {
        ID_AT = 3, /* offset of a message's id, four bytes */
        HEAD_MAX_BYTES = 48,
        NAME_MAX_BYTES = 31, /* of a method, in a fixstr */
        PARAMS_MAX = 15,     /* in a fixarray, the handle included */
};

#define SHORT_NAME(constant, name, shape, right, traits)                                                     \
        _Static_assert(sizeof(#name) - 1 <= NAME_MAX_BYTES,                                                  \
                       "the head of a message has no room for this name");
CONTRACT_METHODS(SHORT_NAME)

void lane_init(struct lane *lane)
{
        link_init(&lane->waiting);
        link_init(&lane->sent);
}

static struct lane *request_lane(const struct request *request)
{
        return request->call.session ? &request->call.session->lane : &request->call.client->lane;
}

/* ---- submission ---- */

static void put_u32(uint8_t *at, uint32_t value)
{
        for (int i = 0; i < 4; i++)
                at[i] = (uint8_t)(value >> (24 - 8 * i));
}

struct call call_begin(struct gram_client *client, struct gram_session *session, enum method_number method,
                       uint32_t n_params)
{
        struct call call = { .client = client, .session = session, .method = method };
        const char *name = methods[method].name;
        /* [0, id as uint32, method, [handle as uint32, ... */
        uint8_t head[HEAD_MAX_BYTES] = { 0x94, 0x00, 0xce };
        size_t n = ID_AT + 4;

        assert(!session || session->client == client);
        assert(n_params < PARAMS_MAX);
        head[n++] = (uint8_t)(0xa0 | strlen(name));
        n = (size_t)(stpcpy((char *)head + n, name) - (char *)head);
        head[n++] = (uint8_t)(0x90 | (n_params + (session ? 1 : 0)));
        if (session) {
                head[n] = 0xce;
                call.handle_at = n + 1;
                n += 5;
        }
        buffer_append(&call.bytes, head, n);
        return call;
}

static void call_deinit(struct call *call)
{
        buffer_deinit(&call->bytes);
        free(call->sought);
}

static int call_refuse(struct call *call, int code, const char *why)
{
        call_deinit(call);
        return client_fail(call->client, code, "%s: %s", methods[call->method].name, why);
}

static int call_check(struct call *call)
{
        struct gram_session *session = call->session;

        if (call->client->doomed)
                return call_refuse(call, GRAM_E_CANCELLED, "the client has been freed");
        if (session && session->closing)
                return call_refuse(call, GRAM_E_MISUSE, "the session is being closed");
        if (call->bytes.failed)
                return call_refuse(call, GRAM_E_NOMEM, "no memory");
        if (call->bytes.len > call->client->max_message)
                return call_refuse(call, GRAM_E_TOO_LARGE, "the request is larger than a message may be");
        if (session && session->state == SESSION_ENDED && call->method != METHOD_CLOSE) {
                call_deinit(call);
                failure_copy(&call->client->last, &session->failure.error);
                return session->failure.error.code;
        }
        return 0;
}

/* Takes the call's bytes. NULL: no memory. */
static struct request *request_new(struct call *call, gram_callback *callback, void *arg)
{
        struct request *request = malloc(sizeof(*request)); /* calloc() is slower for this size */

        if (!request) {
                call_deinit(call);
                return NULL;
        }
        *request =
                (struct request){ .call = *call, .callback = callback, .arg = arg, .deadline_ms = NEVER_MS };
        link_init(&request->lane);
        link_init(&request->by_deadline);
        link_init(&request->to_call);
        if (call->session)
                call->session->refs++;
        if (call->session && call->session->cache)
                request->epoch = cache_epoch(call->session->cache);
        return request;
}

void request_free(struct request *request)
{
        assert(!request->awaited);
        if (request->id)
                request->call.client->n_numbered--;
        link_remove(&request->lane);
        link_remove(&request->by_deadline);
        link_remove(&request->to_call);
        call_deinit(&request->call);
        gram_free(request->ready);
        if (request->call.session)
                session_unref(request->call.session);
        free(request);
}

/* Searches from the end: most requests have the same timeout and belong there. */
static void request_set_deadline(struct request *request)
{
        struct gram_client *client = request->call.client;
        struct link *place = client->by_deadline.prev;

        if (client->timeout_ms == NEVER_MS)
                return;
        request->timeout_ms = later_ms(client->timeout_ms, request->call.extra_ms);
        request->deadline_ms = later_ms(now_ms(), request->timeout_ms);
        while (place != &client->by_deadline &&
               LINK_OF(place, struct request, by_deadline)->deadline_ms > request->deadline_ms)
                place = place->prev;
        link_insert_after(place, &request->by_deadline);
}

int call_hold(struct call *call, gram_callback *callback, void *arg, struct request **request)
{
        int error = call_check(call);

        if (error)
                return error;
        *request = request_new(call, callback, arg);
        if (!*request)
                return client_fail(call->client, GRAM_E_NOMEM, "no memory");
        request_set_deadline(*request);
        call->client->pending++;
        connection_wake(call->client);
        return 0;
}

int call_submit(struct call *call, gram_callback *callback, void *arg)
{
        struct gram_session *session = call->session;
        struct request *request;
        int error = call_hold(call, callback, arg, &request);

        if (error)
                return error;
        link_append(&request_lane(request)->waiting, &request->lane);
        if (session) {
                session->closing = call->method == METHOD_CLOSE;
                if (session->state == SESSION_OPEN && link_empty(&session->ready))
                        link_append(&call->client->ready, &session->ready);
                session_complete_waiting(session);
        }
        return 0;
}

/* ---- message ids ---- */

/*
 * An id is used once, also across connections: the daemon answers a repeated write by it. When they are
 * nearly used up, the client takes another id for itself, under which all of them are unused. It waits for a
 * moment when no request has an id; there is one, unless two billion requests follow one another without a
 * pause.
 */
enum { CHAINS_FIRST = 64 };
#define LAST_ID_TAKE UINT32_C(0x80000000)
#define LAST_ID_MUST UINT32_C(0xff000000) /* what client->out holds does not lead from here to the end */

bool client_take_id(struct gram_client *client)
{
        uint8_t id[LIMIT_ID_BYTES];

        if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
                return false;
        memcpy(client->id, id, sizeof(id));
        client->last_id = 0;
        return true;
}

static void renew_id(struct gram_client *client)
{
        bool must = client->last_id > LAST_ID_MUST;

        if (!must && (client->last_id < LAST_ID_TAKE || client->n_numbered > 0))
                return;
        if (client->greeted && !client->without_features && client_take_id(client))
                connection_tell_id(client);
}

static struct request **chain_of(const struct gram_client *client, uint32_t id)
{
        return &client->awaited[id & (client->n_chains - 1)];
}

static void chain_insert(struct gram_client *client, struct request *request)
{
        struct request **chain = chain_of(client, request->id);

        request->next_awaited = *chain;
        *chain = request;
}

/* Without memory the chains get longer. False: there are none yet. */
static bool chains_grow(struct gram_client *client)
{
        size_t former = client->n_chains, n = former ? former * 2 : CHAINS_FIRST;
        struct request **chains, **old = client->awaited;

        if (client->n_awaited < former)
                return true;
        chains = calloc(n, sizeof(struct request *));
        if (!chains)
                return former > 0;
        client->awaited = chains;
        client->n_chains = n;
        for (size_t i = 0; i < former; i++) {
                struct request *next;

                for (struct request *request = old[i]; request; request = next) {
                        next = request->next_awaited;
                        chain_insert(client, request);
                }
        }
        free(old);
        return true;
}

struct request *request_by_id(const struct gram_client *client, uint32_t id)
{
        struct request *request = client->n_chains > 0 ? *chain_of(client, id) : NULL;

        while (request && request->id != id)
                request = request->next_awaited;
        return request;
}

static bool request_await(struct gram_client *client, struct request *request)
{
        assert(!request->awaited);
        if (!chains_grow(client))
                return false;
        if (!request->id) {
                do
                        request->id = ++client->last_id;
                while (!request->id || request_by_id(client, request->id));
                client->n_numbered++;
        }
        request->awaited = true;
        client->n_awaited++;
        chain_insert(client, request);
        return true;
}

void request_forget(struct request *request)
{
        struct gram_client *client = request->call.client;
        struct request **at = chain_of(client, request->id);

        assert(request->awaited);
        while (*at != request)
                at = &(*at)->next_awaited;
        *at = request->next_awaited;
        request->awaited = false;
        client->n_awaited--;
        if (request->call.session)
                request->call.session->in_flight--;
}

/* ---- sending ---- */

/* Copies a request into client->out. 0, or the code that it fails with. */
static int request_send(struct request *request)
{
        struct gram_client *client = request->call.client;
        struct buffer *bytes = &request->call.bytes;
        size_t before = client->out.len;

        assert(!request->call.handle_at || request->call.session->state == SESSION_OPEN);
        if (bytes->len > client->max_message)
                return GRAM_E_TOO_LARGE;
        if (!request_await(client, request))
                return GRAM_E_NOMEM;
        if (request->call.session)
                request->call.session->in_flight++;
        put_u32(bytes->data + ID_AT, request->id);
        if (request->call.handle_at)
                put_u32(bytes->data + request->call.handle_at, request->call.session->handle);
        buffer_append(&client->out, bytes->data, bytes->len);
        if (client->out.failed) {
                buffer_truncate(&client->out, before);
                request_forget(request);
                return GRAM_E_NOMEM;
        }
        if (request->call.method == METHOD_LEASE)
                request->sent_ms = now_ms();
        if (request->call.method == METHOD_CLOSE)
                request->call.session->close_sent = true;
        return 0;
}

bool call_send_internal(struct call *call, gram_callback *callback, void *arg)
{
        struct request *request;

        assert(connection_up(call->client));
        if (call->bytes.failed) {
                call_deinit(call);
                return false;
        }
        request = request_new(call, callback, arg);
        if (!request)
                return false;
        request->internal = true;
        if (request_send(request)) {
                request_free(request);
                return false;
        }
        connection_wake(call->client);
        return true;
}

/* Moves waiting requests into client->out. False: client->out is full, and some still wait. */
static bool lane_pump(struct gram_client *client, struct lane *lane, struct gram_session *session)
{
        while (!link_empty(&lane->waiting) && client->out.len < OUT_HIGH_BYTES) {
                struct request *request = LINK_OF(lane->waiting.next, struct request, lane);
                int error;

                if (session && session->cache)
                        request->ready = cache_find(session->cache, &request->call, time(NULL));
                if (request->ready) {
                        request_complete(request, 0);
                        continue;
                }
                if (session && session->in_flight >= client->max_in_flight)
                        return true;
                error = request_send(request);
                if (error) {
                        request_complete(request, error);
                        continue;
                }
                link_remove(&request->lane);
                link_append(&lane->sent, &request->lane);
        }
        return link_empty(&lane->waiting);
}

void requests_pump(struct gram_client *client)
{
        if (!connection_up(client))
                return;
        renew_id(client);
        lane_pump(client, &client->lane, NULL);
        while (!link_empty(&client->ready) && client->out.len < OUT_HIGH_BYTES) {
                struct gram_session *session = LINK_OF(client->ready.next, struct gram_session, ready);

                /* Removed too: a session with too many requests in flight. Its next answer adds it again. */
                if (session->state != SESSION_OPEN || lane_pump(client, &session->lane, session))
                        link_remove(&session->ready);
        }
}

bool requests_to_send(const struct gram_client *client)
{
        return !link_empty(&client->lane.waiting) || !link_empty(&client->ready);
}

/* ---- completion ---- */

void request_complete(struct request *request, int outcome)
{
        struct gram_client *client = request->call.client;

        if (request->completed)
                return;
        request->completed = true;
        request->outcome = outcome;
        link_remove(&request->lane);
        link_remove(&request->by_deadline);
        link_append(&client->to_call, &request->to_call);
        connection_wake(client);
}

void request_deliver(struct request *request, struct gram_reply *reply)
{
        struct gram_client *client = request->call.client;
        struct gram_session *closed = request->call.method == METHOD_CLOSE ? request->call.session : NULL;
        gram_callback *callback = request->callback;

        assert(client->depth && (!request->completed || !link_empty(&request->to_call)));
        request->completed = true;
        request->callback = NULL;
        link_remove(&request->lane);
        link_remove(&request->by_deadline);
        link_remove(&request->to_call);
        if (!request->internal)
                client->pending--;
        if (callback)
                callback(request->arg, reply);
        if (request->call.method != METHOD_OPEN || request->internal)
                gram_free(reply->result);
        if (closed && !request->internal)
                session_release(closed);
        if (!request->awaited)
                request_free(request);
}

/* The message for a request that failed without an answer from the daemon. */
static void failure_of(const struct request *request, struct failure *failure)
{
        const struct gram_client *client = request->call.client;
        const struct gram_session *session = request->call.session;
        const char *method = methods[request->call.method].name;

        switch (request->outcome) {
        case GRAM_E_TIMEOUT:
                if (session && session->state != SESSION_OPEN && *session->failure.message)
                        failure_set(failure, GRAM_E_TIMEOUT,
                                    "%s: not done within %lld ms; the session could not be opened again: %s",
                                    method, (long long)request->timeout_ms, session->failure.message);
                else
                        failure_set(failure, GRAM_E_TIMEOUT, "%s: no answer within %lld ms", method,
                                    (long long)request->timeout_ms);
                return;
        case GRAM_E_NOMEM: failure_set(failure, GRAM_E_NOMEM, "%s: no memory", method); return;
        case GRAM_E_UNAVAILABLE:
                failure_set(failure, GRAM_E_UNAVAILABLE,
                            "%s: the %s before the answer; it may or may not have happened", method,
                            session && session->released ? "session was closed" : "connection was lost");
                return;
        case GRAM_E_TOO_LARGE:
                failure_set(failure, GRAM_E_TOO_LARGE, "%s: the request is larger than a message may be",
                            method);
                return;
        case GRAM_E_CANCELLED:
                failure_set(failure, GRAM_E_CANCELLED, "%s: the client has been freed", method);
                return;
        default: failure_set(failure, request->outcome, "%s", client->trouble);
        }
}

void requests_call_back(struct gram_client *client)
{
        while (!link_empty(&client->to_call)) {
                struct request *request = LINK_OF(client->to_call.next, struct request, to_call);
                struct gram_session *session = request->call.session;
                struct gram_reply reply = { .result = request->ready };
                struct failure failure;

                request->ready = NULL;
                if (request->outcome && session && session->state == SESSION_ENDED &&
                    session->failure.error.code == request->outcome)
                        reply.error = &session->failure.error;
                else if (request->outcome) {
                        failure_of(request, &failure);
                        reply.error = &failure.error;
                }
                request_deliver(request, &reply);
        }
}

/* ---- many at once ---- */

static void lane_lost(struct lane *lane, int outcome)
{
        struct link *place = &lane->waiting;

        while (!link_empty(&lane->sent)) {
                struct request *request = LINK_OF(lane->sent.next, struct request, lane);

                if (call_has(&request->call, METHOD_ONCE) || request->overtaken)
                        request_complete(request, outcome ? outcome : GRAM_E_UNAVAILABLE);
                else if (outcome)
                        request_complete(request, outcome);
                else {
                        link_remove(&request->lane);
                        link_insert_after(place, &request->lane);
                        place = &request->lane;
                }
        }
}

void requests_lost(struct gram_client *client, int outcome)
{
        for (size_t i = 0; i < client->n_chains; i++) {
                while (client->awaited[i]) {
                        struct request *request = client->awaited[i];

                        request_forget(request);
                        if (request->internal || (request->completed && link_empty(&request->to_call)))
                                request_free(request);
                }
        }
        lane_lost(&client->lane, outcome);
        for (struct link *link = client->sessions.next; link != &client->sessions; link = link->next)
                lane_lost(&LINK_OF(link, struct gram_session, all)->lane, outcome);
}

void requests_expire(struct gram_client *client, int64_t now)
{
        while (!link_empty(&client->by_deadline)) {
                struct request *request = LINK_OF(client->by_deadline.next, struct request, by_deadline);
                struct gram_session *session = request->call.session;

                if (request->deadline_ms > now)
                        return;
                request_complete(request, connection_up(client) ? GRAM_E_TIMEOUT : GRAM_E_UNREACHABLE);
                if (request->call.method == METHOD_OPEN)
                        session_give_up_opening(session);
                else if (session)
                        session_complete_waiting(session);
        }
}

void lane_end(struct lane *lane, int outcome)
{
        struct link *lists[] = { &lane->sent, &lane->waiting };

        for (size_t i = 0; i < 2; i++) {
                while (!link_empty(lists[i]))
                        request_complete(LINK_OF(lists[i]->next, struct request, lane), outcome);
        }
}

void requests_cancel(struct gram_client *client)
{
        lane_end(&client->lane, GRAM_E_CANCELLED);
        for (struct link *link = client->sessions.next; link != &client->sessions; link = link->next) {
                struct gram_session *session = LINK_OF(link, struct gram_session, all);

                lane_end(&session->lane, GRAM_E_CANCELLED);
                if (session->opener)
                        request_complete(session->opener, GRAM_E_CANCELLED);
        }
}

void requests_refuse(struct gram_client *client)
{
        struct link *link = client->sessions.next;

        lane_end(&client->lane, GRAM_E_UNTRUSTED);
        while (link != &client->sessions) {
                struct gram_session *session = LINK_OF(link, struct gram_session, all);

                link = link->next;
                lane_end(&session->lane, GRAM_E_UNTRUSTED);
                if (session->opener) {
                        request_complete(session->opener, GRAM_E_UNTRUSTED);
                        session_give_up_opening(session);
                } else
                        session_complete_waiting(session);
        }
}
