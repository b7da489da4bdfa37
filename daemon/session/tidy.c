#include "tidy.h"

#include <assert.h>

enum {
        AT_ONCE = 4, /* each takes a thread of those that write */
        ROUND_MS = 1000,
};

static void wake_next(struct sessions *sessions)
{
        while (sessions->n_tidying < AT_ONCE && !link_empty(&sessions->untidy)) {
                struct session *session = LINK_OF(sessions->untidy.next, struct session, untidy);

                link_remove(&session->untidy);
                session->tidying = true;
                sessions->n_tidying++;
                session_wake(session);
        }
}

static void on_round(struct timer *timer);

static void round_begin(struct sessions *sessions)
{
        sessions->tidy_wanted = false;
        for (struct link *at = sessions->list.next; at != &sessions->list; at = at->next) {
                struct session *session = LINK_OF(at, struct session, link);

                if (session->state == SESSION_OPEN && session->storage->backend->tidy && !session->tidying &&
                    link_empty(&session->untidy))
                        link_append(&sessions->untidy, &session->untidy);
        }
        timer_start(sessions->timers, &sessions->tidy, ROUND_MS, on_round);
        wake_next(sessions);
}

static void on_round(struct timer *timer)
{
        struct sessions *sessions = LINK_OF(timer, struct sessions, tidy);

        if (sessions->tidy_wanted)
                round_begin(sessions);
}

void sessions_tidy(struct sessions *sessions)
{
        sessions->tidy_wanted = true;
        if (!sessions->tidy.slot)
                round_begin(sessions);
}

void tidy_end(struct session *session)
{
        link_remove(&session->untidy);
        if (!session->tidying)
                return;
        assert(session->sessions->n_tidying > 0);
        session->tidying = false;
        session->sessions->n_tidying--;
        wake_next(session->sessions);
}
