#include "held.h"

#include <assert.h>
#include <stdlib.h>

enum {
        BLIND_MS = 100, /* until the next try, if nobody can tell when it is worth one */
        SIGHT_MS = 1000,
};

const struct fault *held_fault(const struct session *session)
{
        return session->held_by;
}

void held_end(struct session *session)
{
        if (!session->held_by)
                return;
        timer_stop(session->sessions->timers, &session->reload);
        link_remove(&session->held);
        free(session->held_by);
        session->held_by = NULL;
        session_wake(session);
}

static bool can_tell(const struct session *session)
{
        return session->storage->backend->may_open && session->held_by->wait.owner[0];
}

static bool may_open(const struct session *session)
{
        const struct storage *storage = session->storage;

        return storage->backend->may_open(storage->env, session->name, &session->held_by->wait);
}

static void on_reload(struct timer *timer)
{
        struct session *session = LINK_OF(timer, struct session, reload);

        if (!can_tell(session) || may_open(session))
                held_end(session);
        else
                timer_start(session->sessions->timers, timer, SIGHT_MS, on_reload);
}

static uint64_t next_look_ms(const struct session *session)
{
        if (!can_tell(session))
                return session->held_by->wait.in_ms > 0 ? (uint64_t)session->held_by->wait.in_ms : BLIND_MS;
        return may_open(session) ? 0 : SIGHT_MS; /* there may have been news since the load's last look */
}

bool held_begin(struct session *session, const struct fault *fault)
{
        assert(session->state == SESSION_CLOSED && !session->held_by);
        session->held_by = malloc(sizeof(*session->held_by));
        if (!session->held_by)
                return false;
        *session->held_by = *fault;
        link_append(&session->sessions->held, &session->held);
        timer_start(session->sessions->timers, &session->reload, next_look_ms(session), on_reload);
        return true;
}

void sessions_news(struct sessions *sessions)
{
        struct link *at = sessions->held.next;

        while (at != &sessions->held) {
                struct session *session = LINK_OF(at, struct session, held);

                at = at->next;
                if (can_tell(session) && may_open(session))
                        held_end(session);
        }
}
