#include "unsynced.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "job.h"

enum {
        EVERYSEC_MS = 1000,
        NOW_AND_THEN_MS = 30000, /* fsync = no: the kernel writes pages back after this time too */
        RETRY_MS = 250,
        SUSPEND_MS = 10000,
};

static const char *why(const struct session *session)
{
        return session->outage_why ? session->outage_why : "its file could not be written to disk";
}

/* ---- writes that wait ---- */

void unsynced_add(struct session *session, struct op *op)
{
        link_remove(&op->link);
        link_append(&session->late, &op->link);
}

static void refuse_late(struct session *session)
{
        while (!link_empty(&session->late)) {
                struct op *op = LINK_OF(session->late.next, struct op, link);

                if (op->request.is_open)
                        answer_error(&op->request, WIRE_UNAVAILABLE,
                                     "%s; this write is stored, but a power cut may undo it", why(session));
                op_free(op);
        }
}

bool unsynced_holds(const struct session *session, const struct op *op)
{
        return session->outage_since && !session->suspended && op->kind == OP_WRITE;
}

bool unsynced_refuses(struct session *session, struct op *op)
{
        if (!session->suspended || op->kind != OP_WRITE)
                return false;
        answer_error(&op->request, WIRE_UNAVAILABLE, "%s; no write is executed meanwhile", why(session));
        op_free(op);
        session->n_refused++;
        return true;
}

/* ---- outages ---- */

static void on_sync(struct timer *timer)
{
        struct session *session = LINK_OF(timer, struct session, fsync);

        session->sync_wanted = true;
        session_wake(session);
}

static void plan(struct session *session, uint64_t ms)
{
        if (!session->fsync.slot)
                timer_start(session->sessions->timers, &session->fsync, ms, on_sync);
}

static void on_suspend(struct timer *timer)
{
        struct session *session = LINK_OF(timer, struct session, suspend);
        char what[SESSION_TEXT_BYTES];

        log_write_for(session->sessions->log, session->uid, LOG_ERROR,
                      "%s is suspended: its writes are refused until its file can be written to disk again. "
                      "%zu of its writes may be lost in a power cut",
                      session_describe(session, what), session->n_unsynced);
        session->suspended = true;
        refuse_late(session);
        session_wake(session);
}

static void outage_begin(struct session *session, const struct fault *fault)
{
        char what[SESSION_TEXT_BYTES];

        session->outage_since = unix_now();
        session->sessions->n_outages++;
        session->outage_ms = timers_now(session->sessions->timers);
        session->outage_why = strdup(fault->text);
        log_write_for(session->sessions->log, session->uid, LOG_ERROR,
                      "%s: %s. Its writes wait until that succeeds, for %d s at most; reads go on",
                      session_describe(session, what), fault->text, SUSPEND_MS / 1000);
        timer_start(session->sessions->timers, &session->suspend, SUSPEND_MS, on_suspend);
}

static void forget(struct session *session)
{
        timer_stop(session->sessions->timers, &session->suspend);
        session->sessions->n_outages -= session->outage_since != 0;
        session->outage_since = 0;
        session->suspended = false;
        session->n_refused = 0;
        free(session->outage_why);
        session->outage_why = NULL;
}

static void outage_end(struct session *session)
{
        char what[SESSION_TEXT_BYTES];
        uint64_t lasted_ms = timers_now(session->sessions->timers) - session->outage_ms;

        log_write_for(
                session->sessions->log, session->uid, LOG_WARNING,
                "%s: its file is on the disk again after %llu s; nothing was lost, %zu writes were refused",
                session_describe(session, what), (unsigned long long)(lasted_ms / 1000), session->n_refused);
        forget(session);
        while (!link_empty(&session->late))
                op_answer_stored(LINK_OF(session->late.next, struct op, link));
}

void unsynced_end(struct session *session)
{
        refuse_late(session);
        lanes_fail(session, WIRE_UNAVAILABLE, why(session));
        forget(session);
}

/* ---- after each job ---- */

/* Of a batch: the disk has failed. */
static bool is_of_disk(const struct session_job *job, int error)
{
        return error == BACKEND_E_UNSYNCED || (error == BACKEND_E_UNAVAILABLE && !job->backend->confirm);
}

static const struct fault *sync_failure(const struct session_job *job)
{
        if (job->sync_error == BACKEND_E_UNSYNCED)
                return &job->sync_fault;
        if (is_of_disk(job, job->write_error))
                return &job->write_fault;
        if (job->expires && is_of_disk(job, job->expire_error))
                return &job->expire_fault;
        return NULL;
}

static bool has_synced(const struct session_job *job)
{
        return (job->sync && !job->sync_error) ||
               (job->n_changes > 0 && !job->write_error && job->durability == DURABLE_DISK);
}

static void plan_next(struct session *session)
{
        static const uint64_t after_ms[] = { [FSYNC_EVERYSEC] = EVERYSEC_MS, [FSYNC_NO] = NOW_AND_THEN_MS };
        uint64_t now = timers_now(session->sessions->timers);
        uint64_t due = session->unsynced_ms + after_ms[session->sessions->config->fsync];

        plan(session, due > now ? due - now : 0);
}

void unsynced_take(struct session_job *job)
{
        struct session *session = job->task.session;
        const struct fault *failure = sync_failure(job);

        if (job->expires &&
            (job->expire_error ? job->expire_error == BACKEND_E_UNSYNCED : job->durability != DURABLE_DISK))
                job->n_stored++;
        if (job->n_stored > 0 && session->n_unsynced == 0)
                session->unsynced_ms = job->task.job.begun_ms;
        session->n_unsynced += job->n_stored;
        if (failure) {
                if (!session->outage_since)
                        outage_begin(session, failure);
                timer_stop(session->sessions->timers, &session->fsync); /* it may be due much later */
                plan(session, RETRY_MS);
                return;
        }
        if (has_synced(job)) {
                session->n_unsynced = 0;
                timer_stop(session->sessions->timers, &session->fsync);
                if (session->outage_since)
                        outage_end(session);
        }
        if (session->n_unsynced > 0)
                plan_next(session);
}
