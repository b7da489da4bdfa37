/*
 * An open that cannot be answered at once becomes an `opening` in its session's list. The session's state
 * tells what it waits for: a load (CLOSED, LOADING), handles that exclude it (OPEN), or the storage to be
 * closed before it is loaded again (ENDING, CLOSING).
 */

#include "opening.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../config/names.h"
#include "audit.h"
#include "denied.h"
#include "elsewhere.h"
#include "held.h"
#include "load.h"

enum {
        READERS_MAX_MS = 5000, /* so long a handle without `write` holds off an exclusive one with it */
        READERS_ENDED = 512,   /* in one turn of the loop */
        OPENINGS_MAX = 1024,   /* of one uid for one session: each new one looks at all */
};

static const char unconfirmed_text[] = "ownership of the session is being confirmed";
static const char overdue_text[] = "the backend has not answered in time";
static const char no_memory_text[] = "no memory to open the session";
static const char outranked_text[] = "a client with the right `write` opens the session exclusively";
static const char draining_text[] = "this host is draining: its sessions go to other hosts. Open the session "
                                    "there, or end the drain with "
                                    "`gramctl drain --off`";

struct opening {
        struct link link;      /* session->openings */
        struct link of_client; /* client->openings */
        struct session *session;
        struct client *client; /* NULL: it has gone */
        struct request request;
        struct opening_options options;
        char dialect[PEER_TYPE_MAX_BYTES];
        uint64_t deadline_ms; /* of the loop's clock */
        uint64_t press_ms;    /* the same: from then on it ends handles of readers, see presses() */
        int64_t begun_ms;     /* of CLOCK_BOOTTIME, like the lease of its client */
        struct timer timer;
        unsigned rights;                /* before the session is loaded: without those of an owner */
        struct credentials credentials; /* the client's, who may go before the session is loaded */
        gid_t gids[];
};

static struct opening *opening_of(const struct link *link)
{
        return LINK_OF(link, struct opening, link);
}

/* ---- answers ---- */

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

/* ---- openings ---- */

static void opening_free(struct opening *opening)
{
        struct timers *timers = opening->session->sessions->timers;

        assert(!opening->request.is_open);
        timer_stop(timers, &opening->timer);
        timers_release(timers, 1);
        link_remove(&opening->link);
        link_remove(&opening->of_client);
        if (opening->client)
                opening->client->n_openings--;
        opening->session->is_crowded = false;
        session_wake(opening->session);
        names_unref(opening->credentials.names);
        free(opening);
}

static uint64_t remaining_ms(const struct opening *opening)
{
        uint64_t now = timers_now(opening->session->sessions->timers);

        return opening->deadline_ms > now ? opening->deadline_ms - now : 0;
}

static void on_deadline(struct timer *timer)
{
        session_wake(LINK_OF(timer, struct opening, timer)->session);
}

/* False: its wait is over, and it is to be answered now. */
static bool goes_on(struct opening *opening)
{
        struct sessions *sessions = opening->session->sessions;
        uint64_t now = timers_now(sessions->timers), left_ms = remaining_ms(opening);

        if (left_ms == 0)
                return false;
        if (opening->press_ms > now && opening->press_ms - now < left_ms)
                left_ms = opening->press_ms - now;
        if (!opening->timer.slot)
                timer_start(sessions->timers, &opening->timer, left_ms, on_deadline);
        return true;
}

static void refuse(struct opening *opening, enum wire_error error, const char *text)
{
        answer_error(&opening->request, error, "%s", text);
        opening_free(opening);
}

static void refuse_all(struct session *session, enum wire_error error, const char *text)
{
        while (!link_empty(&session->openings))
                refuse(opening_of(session->openings.next), error, text);
}

/*
 * The daemon ends, and they have no answer: their clients repeat them, as all that a lost connection leaves
 * unanswered, and the next daemon may grant them.
 */
static void leave_all(struct session *session)
{
        while (!link_empty(&session->openings)) {
                struct opening *opening = opening_of(session->openings.next);

                if (opening->request.connection)
                        request_orphan(&opening->request);
                refuse(opening, WIRE_UNAVAILABLE, "the daemon is ending");
        }
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
        counters_add(session->sessions->counters, COUNT_SLICES, link_empty(&session->turn));
        session_wait_turn(session);
        return true;
}

/* Whether it has to wait for handles, or for another opening. */
static bool is_held_off(const struct session *session, const struct opening *opening)
{
        return held_against(session, opening->options.exclusive) ||
               (!(opening->rights & RIGHT_WRITE) && is_pressed(session));
}

static void look_at(struct session *session, struct opening *opening)
{
        if (session_is_ours(session) && end_readers(session, opening))
                return;
        if (!session_is_ours(session)) { /* the term ran out: another host may have taken it */
                if (!goes_on(opening))
                        refuse(opening, WIRE_UNAVAILABLE, unconfirmed_text);
        } else if (!is_held_off(session, opening) && fits(session, opening->options.exclusive)) {
                grant(session, opening->client, &opening->request, &opening->options,
                      boot_now_ms() - opening->begun_ms);
                opening_free(opening);
        } else if (!is_held_off(session, opening)) {
                return; /* no handle excludes it: it is granted when the session is at rest */
        } else if (!goes_on(opening)) {
                answer_busy(&opening->request, session);
                opening_free(opening);
        }
}

static void deny_opening(struct opening *opening)
{
        deny_open(&opening->request, opening->session->sessions, &opening->credentials, opening->rights,
                  opening->begun_ms, opening->options.create);
        opening_free(opening);
}

void openings_renew_rights(struct session *session)
{
        struct link *at = session->openings.next;

        while (at != &session->openings) {
                struct opening *opening = opening_of(at);

                at = at->next;
                opening->rights = open_rights(session, &opening->credentials);
                if (!open_suffices(opening->rights, opening->options.exclusive) && open_knows_owner(session))
                        deny_opening(opening);
        }
}

static void look_at_all(struct session *session)
{
        struct link *at;

        assert(session->state == SESSION_OPEN);
        if (session->owner_changed)
                openings_renew_rights(session);
        session->owner_changed = false;
        at = session->openings.next;
        while (at != &session->openings) {
                struct opening *opening = opening_of(at);

                at = at->next;
                look_at(session, opening);
        }
}

void openings_grant(struct session *session)
{
        if (session->sessions->stopping)
                leave_all(session);
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
                deny_opening(opening);
                return;
        }
        if (error == BACKEND_E_BUSY && goes_on(opening))
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
        struct link *at;
        char what[SESSION_TEXT_BYTES], who[CLIENT_TEXT_BYTES];

        if (error == BACKEND_E_UNAVAILABLE && session->sessions->stopping)
                return; /* they are left when the session is advanced */
        if (error != BACKEND_E_NOT_FOUND && error != BACKEND_E_DENIED)
                log_write_for(session->sessions->log, session->uid, LOG_WARNING, "cannot open %s for %s: %s",
                              session_describe(session, what), asker(session, who), fault->text);
        if (session->owner_known)
                openings_renew_rights(session);
        if (error == BACKEND_E_DENIED)
                return; /* for the first, which has been refused; the others may be allowed */
        at = session->openings.next;
        while (at != &session->openings) {
                struct opening *opening = opening_of(at);

                at = at->next;
                if (all || first || (error == BACKEND_E_NOT_FOUND && !opening->options.create))
                        fail_opening(opening, error, fault);
                first = false;
        }
        if (error == BACKEND_E_BUSY && !link_empty(&session->openings) && !held_begin(session, fault))
                refuse_all(session, WIRE_STORAGE, no_memory_text);
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
        openings_renew_rights(session);
        log_load(session);
        if (session->created_untold && !link_empty(&session->openings))
                elsewhere_start(session);
        look_at_all(session); /* also when the daemon ends: who has had it created is to know that */
}

/* Others hold the session: refuses those whose wait is over. */
static void refuse_held(struct session *session)
{
        struct link *at = session->openings.next;

        while (at != &session->openings) {
                struct opening *opening = opening_of(at);

                at = at->next;
                fail_opening(opening, BACKEND_E_BUSY, held_fault(session));
        }
}

bool openings_load(struct session *session)
{
        assert(session->state == SESSION_CLOSED);
        if (session->sessions->stopping)
                leave_all(session);
        if (held_fault(session)) {
                refuse_held(session);
                if (!link_empty(&session->openings))
                        return true;
                held_end(session);
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
                refuse(first, WIRE_STORAGE, no_memory_text);
        }
        return false;
}

void openings_overdue(struct session *session)
{
        struct link *at = session->openings.next;

        while (at != &session->openings) {
                struct opening *opening = opening_of(at);

                at = at->next;
                if (!goes_on(opening))
                        refuse(opening, WIRE_UNAVAILABLE, overdue_text);
        }
}

void openings_drained(struct session *session)
{
        refuse_all(session, WIRE_UNAVAILABLE, draining_text);
}

/* ---- their clients ---- */

void openings_end_of_client(struct client *client)
{
        struct link *at = client->openings.next;

        while (at != &client->openings) {
                struct opening *opening = LINK_OF(at, struct opening, of_client);
                struct session *session = opening->session;

                at = at->next;
                if (session->sessions->stopping)
                        continue; /* leave_all() */
                opening->deadline_ms = 0;
                session_wake(session);
                if (session->state == SESSION_OPEN)
                        look_at(session, opening); /* before the handles close that exclude it */
        }
}

void openings_abandon(struct client *client)
{
        while (!link_empty(&client->openings)) {
                struct opening *opening = LINK_OF(client->openings.next, struct opening, of_client);

                link_remove(&opening->of_client);
                opening->client = NULL;
        }
        client->n_openings = 0;
}

/* ---- a new open ---- */

static void wait_for(struct session *session, struct client *client, struct request *request,
                     const struct opening_options *options, unsigned rights)
{
        uint64_t press_after_ms = options->wait_ms < READERS_MAX_MS ? options->wait_ms : READERS_MAX_MS;
        const struct credentials *credentials = &client->credentials;
        size_t gids_bytes = credentials->n_gids * sizeof(gid_t);
        struct opening *opening = calloc(1, sizeof(*opening) + gids_bytes);

        if (!opening || !timers_reserve(session->sessions->timers, 1)) {
                free(opening);
                answer_error(request, WIRE_STORAGE, "%s", no_memory_text);
                return;
        }
        opening->session = session;
        opening->client = client;
        opening->options = *options;
        opening->rights = rights;
        memcpy(opening->gids, credentials->gids, gids_bytes);
        opening->credentials = *credentials;
        opening->credentials.gids = opening->gids;
        names_ref(opening->credentials.names);
        if (options->dialect.data) {
                memcpy(opening->dialect, options->dialect.data, options->dialect.len);
                opening->options.dialect.data = opening->dialect;
        }
        opening->deadline_ms = timers_now(session->sessions->timers) + options->wait_ms;
        opening->press_ms = timers_now(session->sessions->timers) + press_after_ms;
        opening->begun_ms = boot_now_ms();
        request->session = session->name;
        request_defer(request, &opening->request, sizeof(*opening) + gids_bytes);
        link_append(&session->openings, &opening->link);
        link_append(&client->openings, &opening->of_client);
        client->n_openings++;
        session_wake(session);
}

/*
 * Whether one more of the client's user may wait for the session. False: it is refused, and the request is
 * answered. The openings are looked at now and when the session advances, so they count as rows of the turn.
 */
static bool may_wait(struct client *client, struct request *request, struct session *session)
{
        const struct link *at = session->openings.next;
        bool is_crowd = session->is_crowded && session->crowd == client->credentials.uid;
        size_t n = 0, of_user = is_crowd ? OPENINGS_MAX : 0;

        for (; !is_crowd && at != &session->openings; at = at->next, n++)
                of_user += opening_of(at)->credentials.uid == client->credentials.uid;
        request_use(request, n, 0);
        if (of_user < OPENINGS_MAX)
                return true;
        session->is_crowded = true;
        session->crowd = client->credentials.uid;
        answer_error(request, WIRE_OVERLOADED, "%d opens of uid %u wait for this session", OPENINGS_MAX,
                     (unsigned)client->credentials.uid);
        return false;
}

/* A session that is not open yet. NULL: it is refused, and the request is answered. */
static struct session *begin(struct client *client, struct request *request, struct sessions *sessions,
                             struct storage *storage, struct slice name)
{
        struct session *session;

        if (!open_has_room(request, client, storage))
                return NULL;
        session = session_new(sessions, storage, name, client->user);
        if (!session)
                answer_error(request, WIRE_STORAGE, "%s", no_memory_text);
        return session;
}

void opening_start(struct client *client, struct request *request, struct sessions *sessions,
                   struct storage *storage, struct slice name, const struct opening_options *options)
{
        struct session *session = sessions_find(sessions, storage, name);
        unsigned rights;

        request->session = name;
        request->backend = storage->backend->name;
        if (storage_is_drained(sessions, storage)) {
                answer_error(request, WIRE_UNAVAILABLE, "%s", draining_text);
                return;
        }
        if (!open_is_permitted(client, request, sessions, storage, options->exclusive, options->create,
                               &rights))
                return;
        if (session && !link_empty(&session->woken)) { /* a `close` before this open, for example, counts */
                sessions->advance(sessions);
                session = sessions_find(sessions, storage, name);
        }
        if (session && !may_wait(client, request, session))
                return;
        if (session && options->wait_ms == 0)
                held_end(session); /* it may be free for a moment now: it is answered by a look */
        if (session && session->overdue && (session->state == SESSION_OPEN || options->wait_ms == 0)) {
                answer_error(request, WIRE_UNAVAILABLE, "%s", overdue_text);
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
        wait_for(session, client, request, options, rights);
        if (session->state == SESSION_OPEN)
                openings_grant(session); /* now: a `close` after this open does not count */
}
