/*
 * Makes a job. Ops leave their lanes for it. A write is prepared when it joins the job, because only then are
 * all writes before it known.
 */

#include "job.h"

#include <stdlib.h>

struct session_job *session_job_new(struct session *session)
{
        struct session_job *job = calloc(1, sizeof(*job));

        if (!job)
                return NULL;
        job->task.session = session;
        job->backend = session->storage->backend;
        link_init(&job->reads);
        link_init(&job->writes);
        identity_init(&job->next);
        job->since_ms = timers_now(session->sessions->timers);
        job->uid = session->job_uid;
        if (session->sessions->config->fsync == FSYNC_ALWAYS)
                job->durability = DURABLE_DISK;
        return job;
}

static void free_memory(void *memory)
{
        struct session_job *job = memory;

        identity_wipe(&job->next);
        free(job->dirty[0]);
        free(job->dirty[1]);
        free(job->lookups);
        free(job->matches);
        free(job->usernames);
        free(job->changes);
        free(job->effects);
        free(job->kv_writes);
        buffer_deinit(&job->remembered);
        arena_deinit(&job->arena);
        free(job);
}

enum {
        FREED_AT_ONCE = 4096, /* rows */
        MANY_ROWS = 1024,     /* a millisecond of a worker or more */
};

void session_job_free(struct session_job *job)
{
        size_t rows = job->n_dirty[0] + job->n_dirty[1] + job->n_lookups + job->n_matches + job->n_usernames +
                      job->n_effects;

        if (rows > FREED_AT_ONCE)
                store_discard(job->task.session->sessions->store, job, free_memory);
        else
                free_memory(job);
}

static bool is_empty(const struct session_job *job)
{
        return link_empty(&job->reads) && link_empty(&job->writes) && !job->delete;
}

static void take_op(struct session_job *job, struct op *op)
{
        link_remove(&op->link);
        if (is_empty(job) || op->arrived_ms < job->since_ms)
                job->uid = op->lane->uid;
        if (op->arrived_ms < job->since_ms)
                job->since_ms = op->arrived_ms;
}

static void move_op(struct session_job *job, struct op *op, struct link *list)
{
        take_op(job, op);
        link_append(list, &op->link);
}

static void count_rows(struct session_job *job, size_t n)
{
        job->n_rows += n;
        job->task.is_long = job->n_rows > MANY_ROWS;
}

bool session_job_add_read(struct session_job *job, struct op *op)
{
        if (job->delete)
                return false;
        if (op->kind == OP_FIND) {
                op->first_match = job->n_lookups; /* the op's first lookup, until the matches are there */
                for (size_t i = 0; i < op->find.n_lookups; i++) {
                        struct lookup *grown = array_grow(job->lookups, job->n_lookups, &job->lookups_cap,
                                                          sizeof(struct lookup));

                        if (!grown) {
                                job->n_lookups = op->first_match;
                                return false;
                        }
                        job->lookups = grown;
                        job->lookups[job->n_lookups++] = op->find.lookups[i];
                }
                count_rows(job, op->find.n_lookups);
        }
        job->has_kv |= op->kind == OP_KV_GET || op->kind == OP_KV_SCAN;
        job->looks |= op->kind == OP_LOOK;
        job->asks |= op->kind != OP_LOOK;
        move_op(job, op, &job->reads);
        return true;
}

/* Room for one more write of the key-value area. False: no memory. */
static bool grow_kv(struct session_job *job)
{
        struct op **grown = array_grow(job->kv_writes, job->n_kv_writes, &job->kv_writes_cap, sizeof(*grown));

        if (grown)
                job->kv_writes = grown;
        return grown;
}

/* False: the op was answered and freed. */
static bool prepare(struct session_job *job, struct op *op)
{
        unsigned fields;

        if (!op->write.prepare)
                return true;
        fields = op->write.prepare(op, &job->next);
        if (fields == OP_ANSWERED) {
                op_free(op);
                return false;
        }
        op->write.fields = fields;
        job->fields |= fields;
        return true;
}

bool session_job_add_write(struct session_job *job, struct op *op)
{
        bool is_states = op->write.has_change && (op->write.change.kind == CHANGE_STATES ||
                                                  op->write.change.kind == CHANGE_STATES_GONE);
        bool is_owner = op->write.has_change && op->write.change.kind == CHANGE_OWNER;
        bool is_sealing = op->write.has_change && op->write.change.kind == CHANGE_SEALING;
        struct change *grown;

        if (op->kind == OP_DELETE) {
                if (!is_empty(job) || !remembered_begin(op))
                        return false;
                take_op(job, op);
                job->delete = op;
                return true;
        }
        /* They are prepared from the stored states, or the stored owner: a job has one such write at most. */
        if (job->delete || (is_states && job->has_states) || (is_owner && job->chown))
                return false;
        if (is_owner && job->task.session->owner_is_new) /* each change has its effect, also on handles */
                return false;
        /* The backend may refuse it, with all that is in its transaction. */
        if (job->has_sealing || (is_sealing && !link_empty(&job->writes)))
                return false;
        grown = array_grow(job->changes, job->n_changes + 2, &job->changes_cap, sizeof(struct change));
        if (!grown)
                return false;
        job->changes = grown;
        if (op->write.kv && !grow_kv(job))
                return false;
        if (!job->has_identity && !identity_copy(&job->next, &job->task.session->identity))
                return false;
        job->has_identity = true;
        if (!remembered_begin(op))
                return false;
        if (!prepare(job, op))
                return true;
        move_op(job, op, &job->writes);
        job->has_states |= is_states;
        job->has_sealing = is_sealing;
        if (is_owner)
                job->chown = op;
        if (op->write.kv && op->write.has_change) {
                job->kv_writes[job->n_kv_writes++] = op;
                job->has_kv = true;
        }
        op->first_match = job->n_changes; /* a write's place among the changes */
        if (op->write.has_change) {
                count_rows(job, op->write.change.n);
                job->changes[job->n_changes] = op->write.change;
                if (op->write.change.kind == CHANGE_SEALING)
                        job->changes[job->n_changes].identity = &job->next;
                job->n_changes++;
        }
        if (op->write.to_disk)
                job->durability = DURABLE_DISK;
        return true;
}

bool session_job_submit(struct session_job *job)
{
        struct session *session = job->task.session;

        if (job->fields)
                job->changes[job->n_changes++] = (struct change){
                        .kind = CHANGE_IDENTITY, .fields = job->fields, .identity = &job->next, .n = 1
                };
        if (job->n_changes > 0 && job->backend->remembers)
                remembered_pack(&job->writes, &job->remembered);
        if (job->remembered.len > 0 && !job->remembered.failed)
                job->changes[job->n_changes++] = (struct change){
                        .kind = CHANGE_REMEMBERED,
                        .remembered = { (const char *)job->remembered.data, job->remembered.len },
                        .n = 1,
                };
        for (int names = 0; names < 2 && !session->outage_since; names++) {
                job->dirty[names] = session->dirty[names];
                job->n_dirty[names] = session->n_dirty[names];
                session->dirty[names] = NULL;
                session->n_dirty[names] = session->dirty_cap[names] = 0;
        }
        if (session->sync_wanted) {
                job->sync = session->n_unsynced > 0 || session->outage_since;
                session->sync_wanted = false;
        }
        if (is_empty(job) && job->n_dirty[0] + job->n_dirty[1] == 0 && !job->sync && !session->tidying) {
                session_job_free(job);
                return false;
        }
        job->tidy = session->tidying && !job->delete;
        session->job = job;
        session->job_uid = job->uid;
        job->task.writes = job->n_changes > 0 || job->n_dirty[0] + job->n_dirty[1] > 0 || job->sync ||
                           job->tidy || job->delete ||
                           (job->has_kv && job->durability == DURABLE_DISK); /* it may delete what expired */
        /* A server may keep those waiting that ask it: they stay with the threads of its backend. */
        job->task.looks = job->looks && !job->task.writes && !(job->asks && session->storage->jobs.max > 0);
        job->task.settle = session_job_settle;
        job->task.deletes = job->delete;
        session_start_task(session, &job->task, session_job_run, session_job_finish, job->since_ms);
        if (job->delete)
                session->stored = NULL; /* the worker is about to free it */
        return true;
}
