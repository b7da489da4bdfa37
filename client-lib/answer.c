/*
 * Answers: finds the request, reads the result or the error, updates the session, and calls the program back.
 */

#include "cache.h"
#include "client.h"

/* Updates client and session after a successful request. */
static void request_succeeded(struct request *request, const struct gram_reply *reply)
{
        struct gram_client *client = request->call.client;
        struct gram_session *session = request->call.session;
        struct failure deleted;

        switch (request->call.method) {
        case METHOD_WATCH:
                session->watching = request->call.on;
                if (session->cache)
                        (request->call.on ? cache_start : cache_stop)(session->cache);
                break;
        case METHOD_MONITOR: client->monitoring = request->call.on; break;
        case METHOD_LEASE: lease_take(session, request->sent_ms, reply->number); break;
        case METHOD_DELETE:
                failure_set(&deleted, GRAM_E_NOT_FOUND, "%s: deleted by this program", session->name);
                session_end(session, &deleted.error, false);
                break;
        default: break;
        }
}

/*
 * Requests of one session take effect in order. So when a write is acknowledged, the earlier writes have been
 * executed, even if their answers have not come. If those answers get lost, repeating the writes would undo
 * this one.
 */
static void mark_overtaken(struct request *request)
{
        struct link *head = &request->call.session->lane.sent;

        for (struct link *link = request->lane.prev; link != head; link = link->prev) {
                struct request *earlier = LINK_OF(link, struct request, lane);

                earlier->overtaken = call_has(&earlier->call, METHOD_CHANGES);
        }
}

/*
 * Whether the request has failed. An error is success for a request that wanted the session to end: `close`,
 * or `delete` of a session that is gone. The daemon's `bad_session` may be replaced by the reason why the
 * session has ended.
 */
static bool has_failed(const struct request *request, struct failure *failure)
{
        struct gram_session *session = request->call.session;
        enum method_number method = request->call.method;
        bool gone = failure->error.code == GRAM_E_BAD_SESSION;

        if (!session || request->internal)
                return true;
        if (failure->error.code == GRAM_E_FENCED)
                session_end(session, &failure->error, true);
        if (gone && method == METHOD_CLOSE)
                return false;
        if (gone && session->state == SESSION_ENDED) {
                failure_copy(failure, &session->failure.error);
                return method != METHOD_DELETE || failure->error.code != GRAM_E_NOT_FOUND;
        }
        return true;
}

static void request_read(struct request *request, struct cursor *cursor, struct failure *failure,
                         struct gram_reply *reply)
{
        const char *method = methods[request->call.method].name;
        int error;

        if (!cursor_nil(cursor)) {
                if (!failure_read(failure, cursor))
                        failure_set(failure, GRAM_E_PROTOCOL, "%s: the answer is malformed", method);
                if (has_failed(request, failure))
                        reply->error = &failure->error;
                return;
        }
        error = result_read(cursor, &request->call, reply);
        if (!error)
                return;
        gram_free(reply->result);
        reply->result = NULL;
        failure_set(failure, error, error == GRAM_E_NOMEM ? "%s: no memory" : "%s: the answer is malformed",
                    method);
        reply->error = &failure->error;
}

void request_answered(struct gram_client *client, uint32_t id, struct cursor *cursor)
{
        struct request *request = request_by_id(client, id);
        struct gram_session *session;
        struct gram_reply reply = { 0 };
        struct failure failure;

        if (!request)
                return;
        session = request->call.session;
        request_forget(request);
        if (request->completed) {
                if (link_empty(&request->to_call))
                        request_free(request);
                return;
        }
        if (session)
                session->refs++;
        request_read(request, cursor, &failure, &reply);
        if (!reply.error) {
                if (session && call_has(&request->call, METHOD_CHANGES))
                        mark_overtaken(request);
                if (session && session->cache)
                        cache_learn(session->cache, request->epoch, &request->call, &reply);
                request_succeeded(request, &reply);
        }
        request_deliver(request, &reply);
        if (!session)
                return;
        if (session->state == SESSION_OPEN && !link_empty(&session->lane.waiting) &&
            link_empty(&session->ready))
                link_append(&client->ready, &session->ready);
        session_complete_waiting(session);
        session_unref(session);
}
