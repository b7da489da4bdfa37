/*
 * An open that cannot be answered at once is an `opening` in its session's list. What it waits for is told by
 * the session's phase: OPENING (loading, or a file that another program holds), OPEN (handles that do not
 * go with it), CLOSING (it will be loaded again).
 */

#include "opening.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../server.h"
#include "../wire/connection.h"
#include "queue.h"

enum { BUSY_RETRY_MS = 100 }; /* how often a file that another program holds is tried again */

struct opening {
        struct link link;          /* session->openings */
        struct link of_connection; /* connection->openings */
        struct session *session;
        struct request request;
        struct opening_options options;
        char dialect[PEER_TYPE_MAX_BYTES];
        uint64_t deadline_ms; /* of the loop's clock */
        struct timer timer;
        bool may_create;
};

/* ---- answers ---- */

void ownership_pack_holder(const struct handle *holder, struct buffer *out)
{
        const struct connection *connection = holder->connection;
        char host[256] = "";

        gethostname(host, sizeof(host) - 1);
        pack_map(out, 5);
        pack_cstr(out, "pid");
        pack_int(out, connection->credentials.pid);
        pack_cstr(out, "uid");
        pack_int(out, connection->credentials.uid);
        pack_cstr(out, "client");
        pack_str(out, slice_of(connection->client));
        pack_cstr(out, "host");
        pack_cstr(out, host);
        pack_cstr(out, "since");
        pack_int(out, holder->since);
}

struct handle *ownership_holder(const struct session *session)
{
        struct handle *first;

        if (link_empty(&session->handles))
                return NULL;
        first = LINK_OF(session->handles.next, struct handle, link);
        return first->exclusive ? first : NULL;
}

static bool held_against(const struct session *session, bool exclusive)
{
        return ownership_holder(session) || (exclusive && session->n_handles > 0);
}

static bool fits(const struct session *session, bool exclusive)
{
        if (held_against(session, exclusive))
                return false;
        /* The last writes of those who left come before anything of an exclusive holder's: a moment's wait.
         */
        return !exclusive || (!session->busy && queue_is_empty(session));
}

static void answer_busy(struct request *request, const struct session *session)
{
        struct handle *holder = ownership_holder(session);
        struct buffer detail = { 0 };
        char text[256], who[160];

        if (!holder && !link_empty(&session->handles))
                holder = LINK_OF(session->handles.next, struct handle, link);
        if (!holder) {
                answer_error(request, WIRE_BUSY, "the session is being opened or closed by others");
                return;
        }
        pack_map(&detail, 1);
        pack_cstr(&detail, "holder");
        ownership_pack_holder(holder, &detail);
        snprintf(text, sizeof(text), "the session is held%s by %s", holder->exclusive ? " exclusively" : "",
                 connection_describe(holder->connection, who, sizeof(who)));
        answer_detail(request, WIRE_BUSY, (struct slice){ (const char *)detail.data, detail.len }, text);
        buffer_deinit(&detail);
}

static void answer_open(struct request *request, const struct handle *handle, bool created)
{
        const struct session *session = handle->session;
        struct buffer *out = answer_begin(request);

        pack_map(out, 6);
        pack_cstr(out, "session");
        pack_int(out, handle->number);
        pack_cstr(out, "created");
        pack_bool(out, created);
        pack_cstr(out, "backend");
        pack_cstr(out, backends[session->backend]->name);
        pack_cstr(out, "dialect");
        pack_cstr(out, session->dialect);
        pack_cstr(out, "version");
        pack_int(out, session->version);
        pack_cstr(out, "fence");
        pack_int(out, session->fence);
        answer_end(request);
}

/* The session is OPEN and the open fits. */
static void grant(struct session *session, struct request *request, const struct opening_options *options,
                  bool created)
{
        struct handle *handle = request->connection ? handle_new(session, request->connection) : NULL;

        if (!handle) {
                answer_error(request, WIRE_STORAGE, "no memory for another session handle");
                return;
        }
        if (!(handle->rights & RIGHT_READ)) {
                answer_error(request, WIRE_DENIED, "uid %u has no rights on this session",
                             (unsigned)request->connection->credentials.uid);
                handle_close(handle);
                return;
        }
        handle->exclusive = options->exclusive;
        if (options->linger_ms > session->linger_ms)
                session->linger_ms = options->linger_ms;
        answer_open(request, handle, created);
        if (handle->connection->ending)
                handle_close(handle);
}

/* ---- openings ---- */

static void opening_free(struct opening *opening)
{
        timer_stop(&opening->session->server->timers, &opening->timer);
        timers_release(&opening->session->server->timers, 1);
        link_remove(&opening->link);
        if (!link_empty(&opening->of_connection)) {
                link_remove(&opening->of_connection);
                if (opening->request.connection)
                        opening->request.connection->n_openings--;
        }
        free(opening);
}

static uint64_t remaining_ms(const struct opening *opening)
{
        uint64_t now = uv_now(&opening->session->server->loop);

        return opening->deadline_ms > now ? opening->deadline_ms - now : 0;
}

static void on_deadline(struct timer *timer)
{
        struct opening *opening = LINK_OF(timer, struct opening, timer);
        struct session *session = opening->session;

        if (session->phase != SESSION_OPEN || !held_against(session, opening->options.exclusive))
                return; /* answered when it is open again, or cannot be had */
        answer_busy(&opening->request, session);
        opening_free(opening);
        session_check_idle(session);
}

static struct opening *opening_of(struct link *link)
{
        return LINK_OF(link, struct opening, link);
}

/* Whose turn it is gets it; who cannot wait any longer is told; the others wait. */
static void grant_openings(struct session *session, bool created)
{
        struct link *at = session->openings.next;

        while (at != &session->openings) {
                struct opening *opening = opening_of(at);

                at = at->next;
                if (fits(session, opening->options.exclusive)) {
                        struct opening_options options = opening->options;
                        struct request request;

                        /* Taken out of the list first: granting looks at the list again. */
                        request_take(&opening->request, &request);
                        opening_free(opening);
                        grant(session, &request, &options, created);
                        created = false;
                        at = session->openings.next;
                } else if (!held_against(session, opening->options.exclusive)) {
                        continue;
                } else if (remaining_ms(opening) == 0) {
                        answer_busy(&opening->request, session);
                        opening_free(opening);
                } else if (!opening->timer.slot) {
                        timer_start(&session->server->timers, &opening->timer, remaining_ms(opening),
                                    on_deadline);
                }
        }
}

void ownership_released(struct session *session)
{
        if (session->phase == SESSION_OPEN && !link_empty(&session->openings))
                grant_openings(session, false);
}

/* Loads it for the first in the list; without memory all are refused. True: it is being loaded. */
static bool load_for_first(struct session *session)
{
        while (!link_empty(&session->openings)) {
                struct opening *first = opening_of(session->openings.next);

                if (session_load(session, first->options.create && first->may_create, first->options.dialect))
                        return true;
                answer_error(&first->request, WIRE_STORAGE, "no memory to open the session");
                opening_free(first);
        }
        return false;
}

static void on_retry(struct timer *timer)
{
        struct session *session = LINK_OF(timer, struct session, idle);

        if (!load_for_first(session))
                session_free(session);
}

/* Answers one whose load has failed. False: it waits on. */
static bool fail_opening(struct opening *opening, int error, const struct fault *fault)
{
        if (error == BACKEND_E_BUSY && remaining_ms(opening) > 0 && !opening->session->server->stopping)
                return false;
        if (error == BACKEND_E_NOT_FOUND && opening->options.create && !opening->may_create)
                answer_error(&opening->request, WIRE_DENIED, "creating a session needs the right `write`");
        else
                answer_fault(&opening->request, error, fault);
        opening_free(opening);
        return true;
}

static void load_failed(struct session *session, int error, const struct fault *fault)
{
        /* What another open asked for may still succeed: creating it, or another dialect. */
        bool all = error != BACKEND_E_NOT_FOUND && error != BACKEND_E_OPTION;
        struct link *at = session->openings.next;
        bool first = true; /* the one that it was loaded for */

        while (at != &session->openings) {
                struct opening *opening = opening_of(at);

                at = at->next;
                if (all || first || (error == BACKEND_E_NOT_FOUND && !opening->options.create))
                        fail_opening(opening, error, fault);
                first = false;
        }
        if (link_empty(&session->openings))
                session_free(session);
        else if (error == BACKEND_E_BUSY)
                timer_start(&session->server->timers, &session->idle, BUSY_RETRY_MS, on_retry);
        else if (!load_for_first(session))
                session_free(session);
}

void ownership_opened(struct session *session, int error, const struct fault *fault, bool created)
{
        if (error) {
                load_failed(session, error, fault);
                return;
        }
        grant_openings(session, created);
        session_check_idle(session);
}

static const char overdue_text[] = "the backend does not answer in time";

void ownership_overdue(struct session *session)
{
        while (!link_empty(&session->openings)) {
                struct opening *opening = opening_of(session->openings.next);

                answer_error(&opening->request, WIRE_UNAVAILABLE, overdue_text);
                opening_free(opening);
        }
}

bool ownership_closed(struct session *session)
{
        return load_for_first(session);
}

void ownership_forget(struct connection *connection)
{
        struct link *at = connection->openings.next;

        while (at != &connection->openings) {
                struct opening *opening = LINK_OF(at, struct opening, of_connection);
                struct session *session = opening->session;

                at = at->next;
                opening->deadline_ms = 0;
                if (session->phase != SESSION_OPEN)
                        continue;
                answer_busy(&opening->request, session);
                opening_free(opening);
                session_check_idle(session);
        }
}

void ownership_abandon(struct connection *connection)
{
        while (!link_empty(&connection->openings)) {
                struct opening *opening = LINK_OF(connection->openings.next, struct opening, of_connection);

                link_remove(&opening->of_connection);
                connection->n_openings--;
        }
}

/* ---- the way in ---- */

static void wait_for(struct call *call, struct session *session, const struct opening_options *options,
                     bool may_create)
{
        struct opening *opening = calloc(1, sizeof(*opening));

        if (!opening || !timers_reserve(&call->server->timers, 1)) {
                free(opening);
                answer_error(&call->request, WIRE_STORAGE, "no memory to open the session");
                return;
        }
        opening->session = session;
        opening->options = *options;
        opening->may_create = may_create;
        if (options->dialect.data) {
                memcpy(opening->dialect, options->dialect.data, options->dialect.len);
                opening->options.dialect.data = opening->dialect;
        }
        opening->deadline_ms = uv_now(&call->server->loop) + options->wait_ms;
        request_defer(&call->request, &opening->request, sizeof(*opening));
        link_append(&session->openings, &opening->link);
        link_append(&call->connection->openings, &opening->of_connection);
        call->connection->n_openings++;
}

void ownership_open(struct call *call, int backend, struct slice name, const struct opening_options *options)
{
        struct server *server = call->server;
        struct session *session = sessions_find(&server->sessions, backend, name);
        unsigned rights = access_rights(&server->config->access, &call->connection->credentials, name,
                                        backends[backend]->name);

        if (!(rights & RIGHT_READ) || (options->exclusive && !(rights & RIGHT_WRITE))) {
                char text[QUOTE_BYTES];

                answer_error(&call->request, WIRE_DENIED, "uid %u may not open session %s%s",
                             (unsigned)call->connection->credentials.uid, quote(name, text),
                             rights & RIGHT_READ ? " exclusively: that needs the right `write`" : "");
                return;
        }
        if (session && (session->overdue || (session->phase == SESSION_OPEN && !session_is_ours(session)))) {
                answer_error(&call->request, WIRE_UNAVAILABLE,
                             session->overdue ? overdue_text : "the right to the session is being confirmed");
                return;
        }
        if (session && session->phase == SESSION_OPEN && link_empty(&session->openings) &&
            fits(session, options->exclusive)) {
                grant(session, &call->request, options, false);
                return;
        }
        if (!session) {
                session = session_new(server, backend, name);
                if (!session) {
                        answer_error(&call->request, WIRE_STORAGE, "no memory to open the session");
                        return;
                }
        }
        wait_for(call, session, options, rights & RIGHT_WRITE);
        if (session->phase == SESSION_OPEN) {
                grant_openings(session, false);
                session_check_idle(session);
        } else if (!session->busy && !session->idle.slot && !load_for_first(session)) {
                session_free(session);
        }
}
