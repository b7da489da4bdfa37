/* The list of a session's openings. It is looked at anew whenever the session advances. */

#include "opening.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../config/names.h"
#include "denied.h"

enum {
        PRESS_MS = 5000,        /* so long a handle without `write` holds off an exclusive one with it */
        OPENINGS_MAX = 1024,    /* of one uid for one session: each new one counts all */
        ANSWERED_AT_ONCE = 256, /* openings of all sessions, in one turn of the loop */
        ANSWER_ROWS = 64, /* checks that take so many rows of a turn (access_cost()) count as one of them */
};

const char opening_overdue_text[] = "the backend has not answered in time";
const char opening_no_memory_text[] = "no memory to open the session";
const char opening_draining_text[] =
        "this host is draining: its sessions go to other hosts. Open the session "
        "there, or end the drain with "
        "`gramctl drain --off`";

/* ---- one opening ---- */

struct opening *opening_new(struct session *session, struct client *client, struct request *request,
                            const struct opening_options *options, unsigned rights)
{
        uint64_t press_after_ms = options->wait_ms < PRESS_MS ? options->wait_ms : PRESS_MS;
        const struct credentials *credentials = &client->credentials;
        size_t gids_bytes = credentials->n_gids * sizeof(gid_t);
        struct opening *opening = calloc(1, sizeof(*opening) + gids_bytes);

        if (!opening || !timers_reserve(session->sessions->timers, 1)) {
                free(opening);
                answer_error(request, WIRE_STORAGE, "%s", opening_no_memory_text);
                return NULL;
        }
        opening->session = session;
        opening->client = client;
        opening->options = *options;
        opening->rights = rights;
        opening->rules = session_rules(session);
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
        return opening;
}

void opening_free(struct opening *opening)
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
        opening->session->sessions->n_answered++;
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
        struct session *session = LINK_OF(timer, struct opening, timer)->session;

        session->is_due = true;
        session_wake(session);
}

/* Its rights are found. */
static void use_checks(const struct opening *opening)
{
        struct sessions *sessions = opening->session->sessions;

        sessions->n_answered += access_cost(&sessions->config->access, &opening->credentials) / ANSWER_ROWS;
}

bool opening_goes_on(struct opening *opening)
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

void opening_refuse(struct opening *opening, enum wire_error error, const char *text)
{
        answer_error(&opening->request, error, "%s", text);
        opening_free(opening);
}

void opening_deny(struct opening *opening)
{
        deny_open(&opening->request, opening->session->sessions, &opening->credentials, opening->rights,
                  opening->begun_ms, opening->options.create);
        opening_free(opening);
}

bool opening_is_permitted(struct opening *opening)
{
        const struct session *session = opening->session;

        if (storage_is_drained(session->sessions, session->storage)) {
                opening_refuse(opening, WIRE_UNAVAILABLE, opening_draining_text);
                return false;
        }
        if (opening->rules == session_rules(session))
                return true;
        opening->rules = session_rules(session);
        use_checks(opening);
        opening->rights = open_rights(session, &opening->credentials);
        if (open_suffices(opening->rights, opening->options.exclusive) || !open_knows_owner(session))
                return true;
        opening_deny(opening);
        return false;
}

bool opening_may_wait(struct client *client, struct request *request, struct session *session)
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

/* ---- all of a session ---- */

struct opening *openings_next(struct session *session, struct link **at)
{
        struct link *link = *at;

        if (link == &session->openings)
                return NULL;
        if (session->sessions->n_answered >= ANSWERED_AT_ONCE) {
                session->is_due = true;
                session_wait_turn(session);
                return NULL;
        }
        *at = link->next;
        return opening_of(link);
}

void openings_refuse_all(struct session *session, enum wire_error error, const char *text)
{
        struct link *at = session->openings.next;
        struct opening *opening;

        while ((opening = openings_next(session, &at)))
                opening_refuse(opening, error, text);
}

void openings_leave_all(struct session *session)
{
        struct link *at = session->openings.next;
        struct opening *opening;

        while ((opening = openings_next(session, &at))) {
                if (opening->request.connection)
                        request_orphan(&opening->request);
                opening_refuse(opening, WIRE_UNAVAILABLE, "the daemon is ending");
        }
}

void openings_overdue(struct session *session)
{
        struct link *at = session->openings.next;
        struct opening *opening;

        while ((opening = openings_next(session, &at)))
                if (!opening_goes_on(opening))
                        opening_refuse(opening, WIRE_UNAVAILABLE, opening_overdue_text);
}

bool openings_renew(struct session *session)
{
        struct link *at = session->openings.next;
        struct opening *opening;

        while ((opening = openings_next(session, &at)))
                opening_is_permitted(opening);
        return at == &session->openings;
}

/* ---- of a client ---- */

void openings_abandon(struct client *client)
{
        while (!link_empty(&client->openings)) {
                struct opening *opening = LINK_OF(client->openings.next, struct opening, of_client);

                link_remove(&opening->of_client);
                opening->client = NULL;
        }
        client->n_openings = 0;
}
