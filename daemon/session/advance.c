/*
 * The one place that looks at a session as a whole. It calls granting.c (who gets a handle), queue.c (the
 * next job) and load.c (load, confirm, close); none of them calls it.
 */

#include "advance.h"

#include "denied.h"
#include "ending.h"
#include "granting.h"
#include "load.h"
#include "queue.h"
#include "tidy.h"
#include "unsynced.h"

enum { CONFIRM_MS = 250 };

/* ---- an open session ---- */

/* How long a session without handles stays open. */
static uint64_t idle_ms(const struct session *session)
{
        const struct backend *backend = session->storage->backend;

        if (session->sessions->stopping)
                return 0;
        if (backend->lease) /* other hosts and programs wait for it, and may change it next */
                return lent_left_ms(session);
        if (backend->ephemeral)
                return session->linger_ms;
        return user_nears_its_share(session->user) ? 0 : session->sessions->config->idle_close_ms;
}

static void on_idle(struct timer *timer)
{
        struct session *session = LINK_OF(timer, struct session, idle);

        session->close_wanted = true;
        session_wake(session);
}

/* Nothing is left to do. A session that has had no handle and no opening for `idle-close` is closed. */
static void rest(struct session *session)
{
        struct timers *timers = session->sessions->timers;

        if (session->n_handles > 0 || !link_empty(&session->openings)) {
                timer_stop(timers, &session->idle);
                session->close_wanted = false;
                return;
        }
        if (!session->close_wanted && idle_ms(session) > 0) {
                if (!session->idle.slot || session->storage->backend->lease) /* its loans may have changed */
                        timer_start(timers, &session->idle, idle_ms(session), on_idle);
                return;
        }
        session->close_wanted = true;
        /* In doubt, the times of known rows are not worth a wait. */
        if (session->in_doubt || (!queue_run_dirty(session) && !queue_run_sync(session)))
                session_move(session, SESSION_ENDING);
}

static void advance_open(struct session *session)
{
        granting_go_on(session);
        if (session->busy)
                return;
        if (session->outage_since && session->sessions->stopping && session->n_handles == 0)
                unsynced_end(session);
        if (session->in_doubt) {
                if (session->confirm_wanted || !lanes_empty(session)) {
                        confirm_start(session);
                        return;
                }
        } else if (queue_run(session)) {
                return;
        }
        granting_go_on(session); /* an exclusive one may have waited for the session to be at rest */
        rest(session);
}

/* ---- a session that ends ---- */

static void advance_ending(struct session *session)
{
        if (!link_empty(&session->turn))
                return; /* each slice has a turn of its own */
        if (!ending_slice(session))
                session_wait_turn(session);
        else if (session->stored)
                close_start(session);
        else
                session_move(session, SESSION_CLOSED);
}

/* ---- any session ---- */

/* Its job has missed the deadline: answers those that wait for it. */
static void tell_overdue(struct session *session)
{
        if (session->state != SESSION_OPEN) {
                openings_overdue(session);
                return;
        }
        if (!session->overdue_told)
                session->overdue_told = queue_overdue(session);
        if (!session->overdue_told)
                session_wait_turn(session);
}

static void advance(struct session *session)
{
        if (session->overdue)
                tell_overdue(session);
        switch (session->state) {
        case SESSION_CLOSED:
                lent_forget(session);
                tidy_end(session);
                if (!granting_load(session))
                        session_free(session);
                break;
        case SESSION_OPEN: advance_open(session); break;
        case SESSION_ENDING: advance_ending(session); break;
        default: break; /* the end of its job wakes it again */
        }
}

void sessions_advance(struct sessions *sessions)
{
        while (!link_empty(&sessions->woken)) {
                struct session *session = LINK_OF(sessions->woken.next, struct session, woken);

                link_remove(&session->woken);
                advance(session);
        }
}

/* ---- all sessions ---- */

static void on_confirming(struct timer *timer)
{
        struct sessions *sessions = LINK_OF(timer, struct sessions, confirming);

        for (struct link *at = sessions->list.next; at != &sessions->list; at = at->next) {
                struct session *session = LINK_OF(at, struct session, link);
                const struct backend *backend = session->storage->backend;

                if (session->state != SESSION_OPEN || session->busy || !backend->confirm)
                        continue;
                if (!link_empty(&session->openings)) /* they wait until it is ours again */
                        session_wake(session);
                if (backend->lease(session->stored) < 0)
                        session->in_doubt = true;
                session->confirm_wanted = session->in_doubt;
                if (session->in_doubt)
                        session_wake(session);
        }
        timer_start(sessions->timers, timer, CONFIRM_MS, on_confirming);
}

void sessions_init(struct sessions *sessions)
{
        link_init(&sessions->list);
        link_init(&sessions->woken);
        link_init(&sessions->turns);
        store_gate(&sessions->reads, SESSIONS_READS_MAX, true);
        store_gate(&sessions->looks, SESSIONS_LOOKS_MAX, true);
        store_gate(&sessions->names, SESSIONS_NAMES_MAX, false);
        link_init(&sessions->held);
        link_init(&sessions->unseen);
        link_init(&sessions->untidy);
        remembered_closed_init(&sessions->remembered);
        sessions->advance = sessions_advance;
}

void sessions_watch_doubt(struct sessions *sessions)
{
        for (size_t i = 0; i < sessions->storages->n; i++)
                if (sessions->storages->all[i].env && sessions->storages->all[i].backend->confirm)
                        timer_start(sessions->timers, &sessions->confirming, CONFIRM_MS, on_confirming);
}

void sessions_stop(struct sessions *sessions)
{
        atomic_store(&sessions->stopping, true);
        denied_stop(sessions);
        for (struct link *at = sessions->list.next; at != &sessions->list; at = at->next)
                session_wait_turn(LINK_OF(at, struct session, link)); /* they may be thousands */
}

void sessions_deinit(struct sessions *sessions)
{
        timer_stop(sessions->timers, &sessions->confirming);
        timer_stop(sessions->timers, &sessions->tidy);
        while (!link_empty(&sessions->list))
                session_free(LINK_OF(sessions->list.next, struct session, link));
        remembered_closed_deinit(&sessions->remembered);
}
