/* The state of a session tells what its openings wait for: see opening.h. */

#include "granting.h"

#include <assert.h>

#include "../base/clock.h"
#include "audit.h"
#include "denied.h"
#include "elsewhere.h"
#include "held.h"
#include "load.h"
#include "opening.h"

enum { READERS_ENDED = 512 }; /* in one turn of the loop */

static const char unconfirmed_text[] = "ownership of the session is being confirmed";
static const char outranked_text[] = "a client with the right `write` opens the session exclusively";

/* ---- handles ---- */

static bool held_against(const struct session *session, bool exclusive)
{
        return session_holder(session) || (exclusive && session->n_handles > 0);
}

static bool fits(const struct session *session, bool exclusive)
{
        if (held_against(session, exclusive) || !elsewhere_is_over(session))
                return false;
        /* An exclusive handle is granted only after the last writes of the handles before it. */
        return !exclusive || (!session->busy && lanes_empty(session));
}

/*
 * The session is OPEN, and the open fits. It has waited for `waited_ms`: the lease that is told includes
 * that, because clients count it from when they sent the `open`.
 */
static void grant(struct session *session, struct client *client, struct request *request,
                  const struct opening_options *options, int64_t waited_ms)
{
        struct handle *handle = client ? handle_new(session, client) : NULL;
        int64_t lease_ms = -1;

        if (!handle) {
                answer_error(request, WIRE_STORAGE, "no memory for another session handle");
                return;
        }
        if (!open_suffices(handle->rights, options->exclusive)) {
                deny_open(request, session->sessions, &client->credentials, handle->rights,
                          boot_now_ms() - waited_ms, options->create);
                handle_close(handle);
                return;
        }
        handle->exclusive = options->exclusive;
        if (options->linger_ms > session->linger_ms)
                session->linger_ms = options->linger_ms;
        if (session->storage->backend->lease) {
                lease_ms = session_lease_ms(session);
                handle_lend(handle, lease_ms);
                lease_ms += waited_ms;
        }
        if (session->created_untold)
                request->audited.action = AUDIT_CREATE;
        answer_open(request, handle, session->created_untold, lease_ms);
        session->created_untold = false;
        if (client->connection.ending)
                handle_abandon(handle);
}

/*
 * It is exclusive, and has waited long enough for handles that have the right `read` alone: from now on none
 * of them is granted before it.
 */
static bool presses(const struct opening *opening)
{
        const struct sessions *sessions = opening->session->sessions;

        return opening->options.exclusive && opening->client && !opening->client->connection.ending &&
               !sessions->stopping && opening->press_ms <= timers_now(sessions->timers);
}

static bool is_pressed(const struct session *session)
{
        for (const struct link *at = session->openings.next; at != &session->openings; at = at->next)
                if (presses(opening_of(at)))
                        return true;
        return false;
}

/*
 * Handles with the right `read` alone are ended if they are all that the opening still waits for. True: in
 * the next turn of the loop it goes on with those that are left.
 */
static bool end_readers(struct session *session, const struct opening *opening)
{
        size_t left = READERS_ENDED;

        if (!presses(opening) || session->n_handles == 0 || session_first_writer(session))
                return false;
        if (link_empty(&session->turn) &&
            handles_end_of_session(session, wire_error_names[WIRE_BUSY], outranked_text, &left))
                return false;
        session_wait_turn(session);
        return true;
}

/* `pressed`: is_pressed(), which matters to readers alone. */
static void look_at(struct session *session, struct opening *opening, bool pressed)
{
        bool is_held_off; /* it has to wait for handles, or for another opening */

        if (!opening_is_permitted(opening))
                return;
        if (!session_is_ours(session)) { /* the term ran out: another host may have taken it */
                if (!opening_goes_on(opening))
                        opening_refuse(opening, WIRE_UNAVAILABLE, unconfirmed_text);
                return;
        }
        if (end_readers(session, opening))
                return;
        is_held_off = held_against(session, opening->options.exclusive) ||
                      (pressed && !(opening->rights & RIGHT_WRITE));
        if (!is_held_off && fits(session, opening->options.exclusive)) {
                grant(session, opening->client, &opening->request, &opening->options,
                      boot_now_ms() - opening->begun_ms);
                opening_free(opening);
        } else if (is_held_off && !opening_goes_on(opening)) {
                answer_busy(&opening->request, session);
                opening_free(opening);
        } /* else if no handle excludes it: it is granted when the session is at rest */
}

static void look_at_one(struct session *session, struct opening *opening)
{
        look_at(session, opening, !(opening->rights & RIGHT_WRITE) && is_pressed(session));
}

static void look_at_all(struct session *session)
{
        struct link *at = session->openings.next;
        struct opening *opening;
        bool pressed;

        assert(session->state == SESSION_OPEN);
        /* Thousands may wait for one handle to end: they are not looked at each time that it has been used.
         */
        if (!session->is_due && session_holder(session) && session_is_ours(session))
                return;
        session->is_due = false;
        pressed = is_pressed(session); /* once for all: they may be thousands */
        while ((opening = openings_next(session, &at)))
                look_at(session, opening, pressed);
}

void granting_go_on(struct session *session)
{
        /* Also when the daemon ends: who has had it created is to know that. */
        if (session->sessions->stopping && !(session->created_untold && session_is_ours(session)))
                openings_leave_all(session);
        else
                look_at_all(session);
}

/* ---- loading for them ---- */

static bool may_create(const struct opening *opening)
{
        return opening->rights & RIGHT_WRITE;
}

static void fail_opening(struct opening *opening, int error, const struct fault *fault)
{
        /* What the error would tell of the session is not for him. */
        if (error != BACKEND_E_UNAVAILABLE && !(opening->rights & RIGHT_READ)) {
                opening_deny(opening);
                return;
        }
        if (error == BACKEND_E_BUSY && opening_goes_on(opening))
                return;
        if (error == BACKEND_E_NOT_FOUND && opening->options.create && !may_create(opening))
                deny_create(&opening->request);
        else
                answer_fault(&opening->request, error, fault);
        opening_free(opening);
}

/* The client of the opening for which it is loaded. */
static const char *asker(const struct session *session, char text[CLIENT_TEXT_BYTES])
{
        return link_empty(&session->openings) ? "a client that has gone"
                                              : audit_who(&opening_of(session->openings.next)->request, text);
}

static void load_failed(struct session *session, int error, const struct fault *fault)
{
        /* Other openings may still succeed: one that creates the session, or asks for another dialect. */
        bool all = error != BACKEND_E_NOT_FOUND && error != BACKEND_E_OPTION;
        bool first = true; /* the one for which it was loaded */
        struct link *at = session->openings.next;
        struct opening *opening;
        char what[SESSION_TEXT_BYTES], who[CLIENT_TEXT_BYTES];

        if (error == BACKEND_E_UNAVAILABLE && session->sessions->stopping)
                return; /* they are left when the session is advanced */
        if (error != BACKEND_E_NOT_FOUND && error != BACKEND_E_DENIED)
                log_write_for(session->sessions->log, session->uid, LOG_WARNING, "cannot open %s for %s: %s",
                              session_describe(session, what), asker(session, who), fault->text);
        while ((opening = openings_next(session, &at))) {
                /* What is denied is so for the first one; the others may be allowed. */
                if (opening_is_permitted(opening) && error != BACKEND_E_DENIED &&
                    (all || first || (error == BACKEND_E_NOT_FOUND && !opening->options.create)))
                        fail_opening(opening, error, fault);
                first = false;
        }
        if (error == BACKEND_E_BUSY && !link_empty(&session->openings) && !held_begin(session, fault))
                openings_refuse_all(session, WIRE_STORAGE, opening_no_memory_text);
}

static void log_load(const struct session *session)
{
        char what[SESSION_TEXT_BYTES], who[CLIENT_TEXT_BYTES];

        log_write_for(session->sessions->log, session->uid, LOG_INFO, "%s %s by %s: %s, version %d",
                      session_describe(session, what), session->created_untold ? "created" : "opened",
                      asker(session, who), session->dialect, session->version);
}

static void on_loaded(struct session *session, int error, const struct fault *fault)
{
        if (error) {
                load_failed(session, error, fault);
                return;
        }
        log_load(session);
        if (session->created_untold && !link_empty(&session->openings))
                elsewhere_start(session);
        look_at_all(session); /* also when the daemon ends: it was begun before */
}

/* Others hold the session: refuses those whose wait is over. */
static void refuse_held(struct session *session)
{
        struct link *at = session->openings.next;
        struct opening *opening;

        while ((opening = openings_next(session, &at)))
                if (opening_is_permitted(opening))
                        fail_opening(opening, BACKEND_E_BUSY, held_fault(session));
}

bool granting_load(struct session *session)
{
        assert(session->state == SESSION_CLOSED);
        if (session->sessions->stopping || held_fault(session)) {
                if (session->sessions->stopping)
                        openings_leave_all(session);
                else
                        refuse_held(session);
                if (link_empty(&session->openings))
                        held_end(session);
                return !link_empty(&session->openings);
        }
        while (!link_empty(&session->openings)) {
                struct opening *first = opening_of(session->openings.next);
                const struct access *access = &session->sessions->config->access;
                const struct load_asker asker = {
                        .credentials = &first->credentials,
                        .by_rules = access_rights(access, &first->credentials, session->name,
                                                  session->storage->backend->name),
                        .has_rules = access->n_rules > 0,
                        .needs = first->options.exclusive ? RIGHT_READ | RIGHT_WRITE : RIGHT_READ,
                        .create = first->options.create && may_create(first),
                        .seal = first->options.seal,
                        .dialect = first->options.dialect,
                };

                if (load_start(session, &asker, on_loaded))
                        return true;
                opening_refuse(first, WIRE_STORAGE, opening_no_memory_text);
        }
        return false;
}

/* ---- their clients ---- */

void granting_end_of_client(struct client *client)
{
        struct link *at = client->openings.next;

        while (at != &client->openings) {
                struct opening *opening = LINK_OF(at, struct opening, of_client);
                struct session *session = opening->session;

                at = at->next;
                if (session->sessions->stopping)
                        continue; /* openings_leave_all() */
                opening->deadline_ms = 0;
                session_wake(session);
                if (session->state == SESSION_OPEN)
                        look_at_one(session, opening); /* before the handles close that exclude it */
        }
}

/* ---- a new open ---- */

/* A session that is not open yet. NULL: it is refused, and the request is answered. */
static struct session *begin(struct client *client, struct request *request, struct sessions *sessions,
                             struct storage *storage, struct slice name)
{
        struct session *session;

        if (!open_has_room(request, client, storage))
                return NULL;
        session = session_new(sessions, storage, name, client->user);
        if (!session)
                answer_error(request, WIRE_STORAGE, "%s", opening_no_memory_text);
        return session;
}

void granting_start(struct client *client, struct request *request, struct sessions *sessions,
                    struct storage *storage, struct slice name, const struct opening_options *options)
{
        struct session *session = sessions_find(sessions, storage, name);
        struct opening *opening;
        unsigned rights;

        request->session = name;
        request->backend = storage->backend->name;
        request_use(request, access_cost(&sessions->config->access, &client->credentials), 0);
        if (storage_is_drained(sessions, storage)) {
                answer_error(request, WIRE_UNAVAILABLE, "%s", opening_draining_text);
                return;
        }
        if (!open_is_permitted(client, request, sessions, storage, options->exclusive, options->create,
                               &rights))
                return;
        if (session && !link_empty(&session->woken)) { /* a `close` before this open, for example, counts */
                sessions->advance(sessions);
                session = sessions_find(sessions, storage, name);
        }
        if (session && !opening_may_wait(client, request, session))
                return;
        if (session && options->wait_ms == 0)
                held_end(session); /* it may be free for a moment now: it is answered by a look */
        if (session && session->overdue && (session->state == SESSION_OPEN || options->wait_ms == 0)) {
                answer_error(request, WIRE_UNAVAILABLE, "%s", opening_overdue_text);
                return;
        }
        if (session && session->state == SESSION_OPEN && !session_is_ours(session)) {
                answer_error(request, WIRE_UNAVAILABLE, "%s", unconfirmed_text);
                return;
        }
        if (session && session->state == SESSION_OPEN && link_empty(&session->openings) &&
            fits(session, options->exclusive)) {
                grant(session, client, request, options, 0);
                return;
        }
        if (!session)
                session = begin(client, request, sessions, storage, name);
        if (!session)
                return;
        opening = opening_new(session, client, request, options, rights);
        if (opening && session->state == SESSION_OPEN) /* now: a `close` after this open does not count */
                look_at_one(session, opening);
        else if (opening)
                session_wake(session);
}
