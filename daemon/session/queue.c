/* Ops leave their lanes for jobs; job.c makes the job of them. */

#include "queue.h"

#include <assert.h>

#include "../base/arena.h"
#include "job.h"
#include "unsynced.h"

/*
 * Runs the method of the lane's first op again, now that nothing is before it. If the method starts another
 * op, that one takes its place.
 */
static void run_again(struct lane *lane)
{
        struct op *op = LINK_OF(lane->ops.next, struct op, link);
        struct link others;

        link_remove(&op->link);
        link_init(&others);
        link_move_all(&others, &lane->ops);
        lane->at_front = true;
        op->again.run(op->again.arg, &op->request, (struct slice){ op->bytes, op->n_bytes });
        lane->at_front = false;
        link_move_all(&lane->ops, &others);
        op_free(op);
}

enum {
        TAKEN_AT_ONCE = 1024, /* ops, from all lanes */
        AGAIN_BYTES = 8,      /* of the frame of a method that runs again: they cost as much as one op */
        OVERDUE_AT_ONCE = 512,
};

/* Takes the lane's leading reads, then the writes that follow them; as many as `left`. */
static void take_from_lane(struct lane *lane, struct session_job *job, size_t *left)
{
        bool wrote = false;

        while (!link_empty(&lane->ops) && *left > 0) {
                struct op *op = LINK_OF(lane->ops.next, struct op, link);
                size_t cost = 1 + (op->kind == OP_AGAIN ? op->n_bytes / AGAIN_BYTES : 0);
                bool is_change;

                if (op->reading || (op->kind == OP_AGAIN && wrote))
                        return;
                *left -= cost < *left ? cost : *left;
                if (op->kind == OP_AGAIN) {
                        run_again(lane);
                        continue;
                }
                if (unsynced_holds(lane->session, op))
                        return;
                if (unsynced_refuses(lane->session, op))
                        continue;
                if (op_changes(op)) {
                        enum repeat repeat = remembered_repeats(op);

                        if (repeat == REPEAT_UNDER_WAY)
                                return;
                        if (repeat == REPEAT_ANSWERED)
                                continue;
                }
                /* It may have become a read. */
                is_change = op_changes(op); /* before it is added: adding may answer and free it */
                if (is_change ? !session_job_add_write(job, op) : wrote || !session_job_add_read(job, op))
                        return;
                wrote |= is_change;
                if (job->task.is_long)
                        *left = 0;
        }
}

/* False: the turn was over before. The lanes that were not reached are first next time. */
static bool take_from_lanes(struct session *session, struct session_job *job)
{
        struct link *at = session->lanes.next;
        size_t left = TAKEN_AT_ONCE;

        while (at != &session->lanes && left > 0) {
                struct lane *lane = LINK_OF(at, struct lane, link);

                lane->n_holds++;
                take_from_lane(lane, job, &left);
                at = at->next;
                if (link_empty(&lane->ops))
                        link_remove(&lane->link);
                lane->n_holds--;
                lane_release(lane);
        }
        if (left > 0)
                return true;
        if (at != &session->lanes) {
                link_remove(&session->lanes);
                link_insert_after(at->prev, &session->lanes);
        }
        return false;
}

static bool has_work(const struct session *session)
{
        return !lanes_empty(session) || session->n_dirty[0] + session->n_dirty[1] > 0 ||
               session->sync_wanted || session->tidying;
}

bool queue_run(struct session *session)
{
        const size_t before = session->n_ops;
        struct session_job *job;
        bool took_all;

        assert(session->state == SESSION_OPEN && !session->busy && !session->in_doubt);
        if (!has_work(session))
                return session->outage_since;
        job = session_job_new(session);
        if (!job) {
                session_wake_later(session);
                return true;
        }
        session->busy = true; /* so that an op that starts now joins its lane and does not wake the session */
        took_all = take_from_lanes(session, job);
        session->busy = false;
        if (session_job_submit(job))
                return true;
        /* Or all writes were answered at once: what waited for them in their lanes is next. */
        if (!took_all || (session->n_ops < before && !lanes_empty(session))) {
                session_wait_turn(session);
                return true;
        }
        if (session->outage_since)
                return true; /* the next sync wakes it */
        if (lanes_empty(session))
                return false;
        if (session->n_unread > 0 || session->owner_is_new)
                return true;         /* the end of the reading, or renew.c, wakes it */
        session_wake_later(session); /* memory was short: some ops could not be taken */
        return true;
}

bool queue_overdue(struct session *session)
{
        size_t left = OVERDUE_AT_ONCE;

        if (session->job)
                session_job_overdue(session->job, op_overdue_text);
        return lanes_fail_some(session, WIRE_UNAVAILABLE, op_overdue_text, &left);
}

/* Before it is closed: a sync that fails is tried again only while the session is open. */
bool queue_run_sync(struct session *session)
{
        if (session->n_unsynced == 0 || session->sessions->stopping)
                return false;
        session->sync_wanted = true;
        return queue_run(session);
}

/* ---- dirty rows: their time is newer in the cache than in the backend ---- */

void queue_dirty(void *arg, bool is_names, struct row_time time)
{
        struct session *session = arg;
        struct row_time *dirty = array_grow(session->dirty[is_names], session->n_dirty[is_names],
                                            &session->dirty_cap[is_names], sizeof(*dirty));

        if (!dirty)
                return; /* no memory: the stored time stays up to ten minutes too old, and nothing else is
                           lost */
        session->dirty[is_names] = dirty;
        dirty[session->n_dirty[is_names]++] = time;
}

bool queue_run_dirty(struct session *session)
{
        enum { AT_ONCE = 4096 };

        for (int names = 0; names < 2 && session->cache; names++) {
                struct row_time times[AT_ONCE];
                size_t n = cache_take_dirty(session->cache, names, times, AT_ONCE);

                for (size_t i = 0; i < n; i++)
                        queue_dirty(session, names, times[i]);
        }
        return session->n_dirty[0] + session->n_dirty[1] > 0 && queue_run(session);
}
