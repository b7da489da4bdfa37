/*
 * Lanes and ops, and when a job is made. job.c is the job itself.
 */

#include "queue.h"

#include <assert.h>
#include <stdlib.h>

#include "../base/arena.h"
#include "../server.h"
#include "../wire/connection.h"
#include "job.h"
#include "opening.h"

enum { NO_MEMORY_RETRY_MS = 100 };

/* ---- lanes ---- */

struct lane *lane_of(struct session *session, struct connection *connection)
{
        struct lane *lane;

        for (struct link *at = session->lanes.next; at != &session->lanes; at = at->next) {
                lane = LINK_OF(at, struct lane, link);
                if (lane->connection == connection)
                        return lane;
        }
        lane = calloc(1, sizeof(*lane));
        if (!lane)
                return NULL;
        lane->session = session;
        lane->connection = connection;
        link_init(&lane->ops);
        link_append(&session->lanes, &lane->link);
        return lane;
}

void lane_release(struct lane *lane)
{
        if (lane->n_handles == 0)
                lane->connection = NULL; /* a new handle of the same client starts a lane of its own */
        if (lane->n_handles > 0 || lane->n_ops > 0 || lane->n_holds > 0)
                return;
        link_remove(&lane->link);
        free(lane);
}

/* ---- ops ---- */

static const char overdue_text[] =
        "the backend has not answered in time; a write may or may not have happened";

static bool changes(const struct op *op)
{
        return op->kind == OP_WRITE || op->kind == OP_DELETE;
}

struct op *op_new(struct call *call, enum op_kind kind, size_t extra, size_t answer)
{
        /* What lies behind the copy is aligned for whatever the handler puts there. */
        size_t copied = (call->frame.len + 15) & ~(size_t)15;
        size_t size = sizeof(struct op) + copied + extra;
        struct op *op = size > extra ? malloc(size) : NULL;

        if (!op) {
                answer_error(&call->request, WIRE_STORAGE, "the daemon is out of memory for this request");
                return NULL;
        }
        memset(op, 0, sizeof(*op));
        memcpy(op->bytes, call->frame.data, call->frame.len);
        op->n_bytes = call->frame.len;
        op->kind = kind;
        op->lane = call->lane;
        op->handle_number = call->handle->number;
        op->arrived_ms = uv_now(&call->server->loop);
        link_init(&op->link);
        request_defer(&call->request, &op->request, size + answer);
        op->lane->n_ops++;
        op->lane->n_writes += changes(op);
        return op;
}

void *op_extra(struct op *op)
{
        return op->bytes + ((op->n_bytes + 15) & ~(size_t)15);
}

struct slice op_slice(const struct call *call, struct op *op, struct slice slice)
{
        if (!slice.data)
                return slice;
        return (struct slice){ op->bytes + (slice.data - call->frame.data), slice.len };
}

void op_free(struct op *op)
{
        struct lane *lane = op->lane;

        assert(!op->request.is_open);
        link_remove(&op->link);
        lane->n_ops--;
        lane->n_writes -= changes(op);
        if (op->kind == OP_WRITE && op->write.free_values)
                op->write.free_values(op->write.values);
        if (op->request.method->traits & METHOD_SECRET)
                explicit_bzero(op->bytes, op->n_bytes);
        free(op);
        lane_release(lane);
}

void op_start(struct op *op)
{
        struct session *session = op->lane->session;

        if (session->overdue) {
                answer_error(&op->request, WIRE_UNAVAILABLE, overdue_text);
                op_free(op);
                return;
        }
        link_append(&op->lane->ops, &op->link);
        if (!session->busy && link_empty(&session->due)) /* else the job under way is followed by the next */
                link_append(&session->server->due, &session->due);
}

bool call_is_next(struct call *call, size_t answer)
{
        struct op *op;

        if ((call->lane->n_writes == 0 && !call->session->in_doubt) || call->lane->at_front)
                return true;
        op = op_new(call, OP_AGAIN, 0, answer);
        if (op)
                op_start(op);
        return false;
}

static void confirm_start(struct session *session);

/* ---- making a job ---- */

/*
 * The first op's turn has come: it goes through its method again, with nothing before it in the lane. What
 * the method defers takes its place.
 */
static void run_again(struct lane *lane)
{
        struct op *op = LINK_OF(lane->ops.next, struct op, link);
        struct link rest;

        link_remove(&op->link);
        link_init(&rest);
        link_move_all(&rest, &lane->ops);
        lane->at_front = true;
        dispatch_again(&op->request, (struct slice){ op->bytes, op->n_bytes });
        lane->at_front = false;
        link_move_all(&lane->ops, &rest);
        op_free(op);
}

/* From the front of the lane: its reads, then its writes. */
static void take_from_lane(struct lane *lane, struct session_job *job)
{
        bool wrote = false;

        while (!link_empty(&lane->ops)) {
                struct op *op = LINK_OF(lane->ops.next, struct op, link);
                bool is_change;

                if (op->kind == OP_AGAIN) {
                        if (wrote)
                                return;
                        run_again(lane);
                        continue;
                }
                is_change = changes(op); /* a write that is refused at once is gone when it has been added */
                if (is_change ? !session_job_add_write(job, op) : wrote || !session_job_add_read(job, op))
                        return;
                wrote |= is_change;
        }
}

static void on_retry(struct timer *timer)
{
        queue_run(LINK_OF(timer, struct session, idle));
}

void queue_run_due(struct server *server)
{
        while (!link_empty(&server->due))
                queue_run(LINK_OF(server->due.next, struct session, due));
}

void queue_run(struct session *session)
{
        struct link *at;
        struct session_job *job;

        link_remove(&session->due);
        if (session->busy || session->phase != SESSION_OPEN)
                return;
        if (session->in_doubt) {
                confirm_start(session);
                return;
        }
        job = session_job_new(session);
        if (!job) {
                timer_start(&session->server->timers, &session->idle, NO_MEMORY_RETRY_MS, on_retry);
                return;
        }
        session->busy = true; /* what is dispatched again meanwhile only joins its lane */
        at = session->lanes.next;
        while (at != &session->lanes) {
                struct lane *lane = LINK_OF(at, struct lane, link);

                lane->n_holds++;
                take_from_lane(lane, job);
                at = at->next;
                lane->n_holds--;
                lane_release(lane);
        }
        session->busy = false;
        if (session_job_submit(job))
                return;
        if (!queue_is_empty(session)) { /* what is left could not be taken for want of memory */
                timer_start(&session->server->timers, &session->idle, NO_MEMORY_RETRY_MS, on_retry);
                return;
        }
        ownership_released(session);
        session_check_idle(session);
}

bool queue_is_empty(const struct session *session)
{
        for (const struct link *at = session->lanes.next; at != &session->lanes; at = at->next)
                if (LINK_OF(at, struct lane, link)->n_ops > 0)
                        return false;
        return true;
}

void queue_fail_all(struct session *session, enum wire_error error, const char *text)
{
        struct link *at = session->lanes.next;

        while (at != &session->lanes) {
                struct lane *lane = LINK_OF(at, struct lane, link);

                at = at->next;
                lane->n_holds++;
                while (!link_empty(&lane->ops)) {
                        struct op *op = LINK_OF(lane->ops.next, struct op, link);

                        answer_error(&op->request, error, "%s", text);
                        op_free(op);
                }
                lane->n_holds--;
                lane_release(lane);
        }
}

/* When the first of those came whose turn is next. */
static uint64_t oldest(const struct session *session)
{
        uint64_t oldest_ms = uv_now(&session->server->loop);

        for (const struct link *at = session->lanes.next; at != &session->lanes; at = at->next) {
                const struct lane *lane = LINK_OF(at, struct lane, link);
                const struct op *first = LINK_OF(lane->ops.next, struct op, link);

                if (!link_empty(&lane->ops) && first->arrived_ms < oldest_ms)
                        oldest_ms = first->arrived_ms;
        }
        return oldest_ms;
}

void queue_overdue(struct session *session)
{
        if (session->job)
                session_job_overdue(session->job, overdue_text);
        queue_fail_all(session, WIRE_UNAVAILABLE, overdue_text);
}

/* ---- in doubt ---- */

/* Nothing is asked of a session in doubt before the backend has said whose it is, and what it holds. */
struct confirm_job {
        struct job job;
        struct session *session;
        struct backend_session *stored;
        struct opened opened;
        int error;
        struct fault fault;
};

static void confirm_run(struct job *base)
{
        struct confirm_job *job = (struct confirm_job *)base;

        job->error = backends[job->session->backend]->confirm(job->stored, &job->opened, &job->fault);
}

static void confirm_done(struct job *base)
{
        struct confirm_job *job = (struct confirm_job *)base;
        struct session *session = job->session;

        session_job_back(session);
        if (job->error == 0)
                session_confirmed(session, &job->opened);
        else if (job->error != BACKEND_E_FENCED)
                queue_fail_all(session, wire_error_of(job->error), job->fault.text);
        if (job->error == BACKEND_E_FENCED)
                session_fenced(session, job->fault.text);
        else if (job->error == 0)
                queue_run(session);
        else
                session_check_idle(session);
        identity_wipe(&job->opened.identity);
        free(job->opened.states);
        free(job);
}

static void confirm_start(struct session *session)
{
        struct confirm_job *job = calloc(1, sizeof(*job));

        if (!job)
                return; /* tried again by and by */
        job->session = session;
        job->stored = session->stored;
        identity_init(&job->opened.identity);
        session_job_off(session, &job->job, confirm_run, confirm_done, oldest(session));
}

/* ---- rows whose time is late ---- */

void queue_late(void *arg, bool is_names, struct row_time time)
{
        struct session *session = arg;
        struct row_time *late = array_grow(session->late[is_names], session->n_late[is_names],
                                           &session->late_cap[is_names], sizeof(*late));

        if (!late)
                return; /* the stored time stays up to ten minutes behind: nothing that was asked for is lost
                         */
        session->late[is_names] = late;
        late[session->n_late[is_names]++] = time;
}

bool queue_flush_late(struct session *session)
{
        enum { AT_ONCE = 4096 };

        if (session->in_doubt)
                return false; /* times of what is known anyway */
        for (int names = 0; names < 2 && session->cache; names++) {
                struct row_time times[AT_ONCE];
                size_t n = cache_take_late(session->cache, names, times, AT_ONCE);

                for (size_t i = 0; i < n; i++)
                        queue_late(session, names, times[i]);
        }
        if (session->n_late[0] + session->n_late[1] == 0)
                return false;
        queue_run(session);
        return session->busy;
}
