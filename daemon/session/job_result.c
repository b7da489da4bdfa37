/*
 * The outcome of a job goes into the cache and the session first, then to the watchers, then to the writers.
 * When a writer has its answer, all watchers have been told.
 *
 * The loop works off a slice a turn. Until the last one the session is `settling`: what comes for it waits,
 * so nobody sees a part of a write.
 */

#include "job.h"

#include <assert.h>
#include <stdio.h>

#include "audit.h"
#include "ending.h"
#include "tidy.h"
#include "unsynced.h"
#include "watch.h"

static void fail_ops(struct link *ops, const char *text)
{
        for (struct link *at = ops->next; at != ops; at = at->next) {
                struct request *request = &LINK_OF(at, struct op, link)->request;

                if (request->is_open)
                        answer_error(request, WIRE_UNAVAILABLE, "%s", text);
        }
}

void session_job_overdue(struct session_job *job, const char *text)
{
        fail_ops(&job->reads, text);
        fail_ops(&job->writes, text);
        if (job->delete &&job->delete->request.is_open)
                answer_error(&job->delete->request, WIRE_UNAVAILABLE, "%s", text);
}

/* ---- slices ---- */

/* Rows that the loop works off in one turn: much less than a millisecond. */
enum { SLICE_ROWS = 256, BYTES_A_ROW = 4096 /* of what an op holds: it is copied or freed */ };

/* Takes up to `wanted` of what is left of a slice. */
static size_t take_slice(size_t *left, size_t wanted)
{
        size_t n = wanted < *left ? wanted : *left;

        *left -= n;
        return n;
}

/* An op that has been answered costs more than its rows. `bytes`: what it held. */
static void end_op(size_t *left, size_t rows, size_t bytes)
{
        take_slice(left, 1 + rows + bytes / BYTES_A_ROW);
}

static void answer_read(struct session_job *job, struct op *op, struct found *found)
{
        if (op->kind == OP_FIND) {
                size_t end = op->first_match + op->find.n_lookups;
                size_t *match = &job->n_settled;

                cache_count_for(job->task.session->cache, op->lane->uid);
                found->matches = job->matches ? &job->matches[*match] : NULL;
                for (; *match < job->n_found && job->matches[*match].lookup < end; ++*match, found->n++)
                        job->matches[*match].lookup -= op->first_match;
        } else if (op->kind == OP_SCAN_PEERS) {
                found->matches = job->matches ? &job->matches[op->first_match] : NULL;
                found->n = op->n_found;
        } else if (op->kind == OP_SCAN_USERNAMES) {
                found->usernames = job->usernames ? &job->usernames[op->first_match] : NULL;
                found->n = op->n_found;
        }
        op->answer(op, found);
}

static void answer_reads(struct session_job *job, size_t *left)
{
        while (!link_empty(&job->reads) && *left > 0) {
                struct op *op = LINK_OF(job->reads.next, struct op, link);
                struct found found = { .counts = op->counts };
                size_t lookups = op->kind == OP_FIND ? op->find.n_lookups : 0;
                size_t bytes = op_bytes(op);

                if (op->request.is_open && job->read_error)
                        answer_fault(&op->request, job->read_error, &job->read_fault);
                else if (op->request.is_open)
                        answer_read(job, op, &found);
                end_op(left, found.n > lookups ? found.n : lookups, bytes);
                op_free(op);
        }
}

/* Room to list the names and numbers of the op's change for the watchers, and where its effects end. */
static void begin_effects(struct session_job *job, const struct op *op)
{
        struct settling *settling = &job->settling;
        size_t n, end = job->n_effects_taken;
        struct slice *texts;

        if (end < job->n_effects && job->effects[job->n_effects - 1].effect.change == op->first_match)
                end = job->n_effects; /* mostly: without a look at each */
        while (end < job->n_effects && job->effects[end].effect.change == op->first_match)
                end++;
        settling->n_effects = end;
        n = end - job->n_effects_taken;
        texts = n <= WATCH_LISTED ? arena_alloc(&job->arena, 2 * n * sizeof(struct slice) + 1) : NULL;
        settling->changed.all = !texts;
        settling->changed.usernames = texts;
        settling->changed.phones = texts ? texts + n : NULL;
}

/* Lists a text for the watchers. */
static void note(const struct slice *texts, size_t *n, struct slice text)
{
        if (texts)
                ((struct slice *)texts)[(*n)++] = text;
}

/* The effects of the op's change: drops names and numbers from the cache, and lists them for the watchers. */
static void take_effects(struct session_job *job, size_t *left)
{
        struct cache *cache = job->task.session->cache;
        struct settling *settling = &job->settling;
        struct changed *changed = &settling->changed;
        size_t n = take_slice(left, settling->n_effects - job->n_effects_taken);

        for (; n > 0; n--) {
                const struct noted *noted = &job->effects[job->n_effects_taken++];

                switch (noted->effect.kind) {
                case EFFECT_USERNAME:
                        cache_forget_username(cache, noted->text);
                        note(changed->usernames, &changed->n_usernames, noted->text);
                        break;
                case EFFECT_PHONE:
                        cache_forget_phone(cache, noted->text);
                        note(changed->phones, &changed->n_phones, noted->text);
                        break;
                case EFFECT_OWNER: cache_forget_names(cache, noted->effect.peer_id); break;
                case EFFECT_KV_SWAP:
                case EFFECT_KV_REFUSED: break;
                }
        }
}

/* Rows `from` up to `to` of the op's change: puts them into cache and states. */
static void take_rows(struct session *session, const struct change *change, size_t from, size_t to)
{
        switch (change->kind) {
        case CHANGE_PEERS:
                for (size_t i = from; i < to; i++)
                        cache_stored_peer(session->cache, &change->peers[i]);
                break;
        case CHANGE_NAMES:
                for (size_t i = from; i < to; i++)
                        cache_stored_names(session->cache, &change->names[i]);
                break;
        case CHANGE_STATES: states_put(&session->states, change->states, change->n); break;
        case CHANGE_STATES_GONE: states_drop(&session->states, change->ids + from, to - from); break;
        default: break; /* nothing of it is in memory */
        }
}

/* States are put at once: each moves the others. Gone ones are found by halves: many are a slice. */
enum { IDS_A_ROW = 64 };

static void take_change(struct session_job *job, const struct op *op, size_t *left)
{
        struct session *session = job->task.session;
        struct settling *settling = &job->settling;
        const struct change *change = &op->write.change;
        size_t rows = change->n - settling->n_rows, n = rows;

        if (change->kind == CHANGE_STATES)
                take_slice(left, rows / IDS_A_ROW);
        else if (change->kind == CHANGE_STATES_GONE)
                n = take_slice(left, rows / IDS_A_ROW + 1) * IDS_A_ROW;
        else if (change->kind != CHANGE_KV)
                n = take_slice(left, rows);
        if (n > rows)
                n = rows;
        cache_count_for(session->cache, op->lane->uid);
        if (n > 0)
                take_rows(session, change, settling->n_rows, settling->n_rows + n);
        settling->n_rows += n;
        for (n = take_slice(left, op->write.n_repeats - settling->n_repeats); n > 0; n--) {
                const struct row_time *row = &op->write.repeats[settling->n_repeats++];

                cache_touch_peer(session->cache, row->id, row->last_update_on);
        }
}

/* Lists the op's own rows for the watchers. */
static void list_change(const struct op *op, struct changed *changed)
{
        const struct change *change = &op->write.change;

        if (change->kind == CHANGE_PEERS) {
                changed->peers = change->peers;
                changed->n_peers = op->write.n_told;
        } else if (change->kind == CHANGE_STATES) {
                changed->states = change->states;
                changed->n_states = change->n;
        } else if (change->kind == CHANGE_STATES_GONE) {
                changed->states_gone = change->ids;
                changed->n_states = change->n;
        } else if (change->kind == CHANGE_KV) {
                changed->kv = change->kv;
                changed->n_kv = change->n;
        } else if (change->kind == CHANGE_KV_SWAP && op->write.kv->done) {
                changed->kv = &change->swap->row;
                changed->n_kv = 1;
        }
}

static void take_identity(struct session_job *job)
{
        struct identity former = job->task.session->identity;

        if (!job->fields)
                return;
        job->task.session->identity = job->next;
        job->next = former; /* wiped with the job */
}

/* Before anybody is answered: whose right has gone sees nothing any more. */
static void take_owner(const struct session_job *job)
{
        struct session *session = job->task.session;
        struct op *op = job->chown;

        if (!op)
                return;
        audit_target(&op->request, session->sessions->log,
                     op->write.owner->text[0] ? op->write.owner->text : "-");
        session_set_owner(session, op->write.owner);
}

/* Its session is gone, whether that is on the disk or not. */
static bool is_deleted(const struct session_job *job)
{
        return !job->delete_error || job->delete_error == BACKEND_E_UNSYNCED;
}

/* Its writes are committed, whether they are on the disk or not. */
static bool is_stored(const struct session_job *job)
{
        return !job->write_error || job->write_error == BACKEND_E_UNSYNCED;
}

/* The line is caused by the first of the ops, or by whom the session was loaded for. */
static void log_fault(const struct session *session, const struct link *ops, enum log_level level,
                      const char *what, const char *why)
{
        uid_t uid = ops && !link_empty(ops) ? LINK_OF(ops->next, struct op, link)->request.audited.uid
                                            : session->uid;
        char who[SESSION_TEXT_BYTES];

        log_write_for(session->sessions->log, uid, level, "%s: %s: %s", session_describe(session, who), what,
                      why);
}

/* One line for the writes of one transaction: they fail together, and for the same reason. */
static void log_writes_failed(const struct session_job *job)
{
        char what[64];
        size_t n = 0;

        for (const struct link *at = job->writes.next; at != &job->writes; at = at->next)
                n++;
        snprintf(what, sizeof(what), "%zu write%s failed", n, n == 1 ? "" : "s");
        log_fault(job->task.session, &job->writes, LOG_ERROR, what, job->write_fault.text);
}

static void log_faults(const struct session_job *job)
{
        const struct session *session = job->task.session;

        if (job->dirty_error)
                log_fault(session, NULL, LOG_WARNING, "times of known peers were not stored",
                          job->dirty_fault.text);
        if (!is_stored(job))
                log_writes_failed(job);
        if (!is_deleted(job))
                log_fault(session, NULL, LOG_ERROR, "it was not deleted", job->delete_fault.text);
        if (job->read_error)
                log_fault(session, &job->reads, LOG_ERROR, "a read failed", job->read_fault.text);
        if (job->expire_error)
                log_fault(session, NULL, LOG_ERROR, "expired values were not deleted",
                          job->expire_fault.text);
        if (job->kv_error)
                log_fault(session, &job->reads, LOG_ERROR, "a read of the key-value area failed",
                          job->kv_fault.text);
}

static void count_job(const struct session_job *job)
{
        struct counters *counters = job->task.session->sessions->counters;

        counters_add(counters, COUNT_JOBS, 1);
        counters_add(counters, COUNT_COMMITS, job->n_changes > 0 && is_stored(job));
        counters_add(counters, COUNT_SYNCS, job->sync && !job->sync_error);
}

/* The transaction has not executed this write. */
static bool is_refused(const struct op *op)
{
        return op->write.kv && op->write.kv->refused;
}

static void refuse(struct op *op)
{
        const struct kv_outcome *outcome = op->write.kv;

        if (op->request.is_open)
                answer_error(&op->request, wire_error_of(outcome->refused), "%s",
                             outcome->why ? outcome->why : "it was refused");
        op_free(op);
}

static void begin_write(struct session_job *job, struct op *op)
{
        struct counters *counters = job->task.session->sessions->counters;

        job->settling = (struct settling){ .begun = true, .changed.fields = op->write.fields };
        counters_add(counters, COUNT_WRITES, 1);
        if (!is_stored(job) || is_refused(op))
                return;
        job->n_stored++;
        op->stored = true;
        if (!op->write.has_change)
                return;
        begin_effects(job, op);
        counters_add(counters, COUNT_ROWS_STORED, op->write.change.n);
        counters_add(counters, COUNT_ROWS_REPEATED, op->write.n_repeats);
}

/* Cache and states have the whole change. */
static bool is_taken(const struct session_job *job, const struct op *op)
{
        const struct settling *settling = &job->settling;

        return !op->write.has_change ||
               (job->n_effects_taken == settling->n_effects && settling->n_rows == op->write.change.n &&
                settling->n_repeats == op->write.n_repeats);
}

/* A slice of the first write. True: it is stored, and all watchers have been told. */
static bool settle_write(struct session_job *job, struct op *op, size_t *left)
{
        struct session *session = job->task.session;
        struct settling *settling = &job->settling;

        if (!is_taken(job, op)) {
                take_change(job, op, left);
                /* Behind all rows: one of them may have lost its name to another one. */
                if (settling->n_rows == op->write.change.n)
                        take_effects(job, left);
                if (!is_taken(job, op))
                        return false;
        }
        if (!settling->telling) {
                settling->telling = true;
                if (op->write.has_change)
                        list_change(op, &settling->changed);
                watch_begin(session);
        }
        return watch_tell(session, op->lane, op->handle_number, &settling->changed, left);
}

static void answer_writes(struct session_job *job, size_t *left)
{
        struct session *session = job->task.session;

        while (!link_empty(&job->writes) && *left > 0) {
                struct op *op = LINK_OF(job->writes.next, struct op, link);
                size_t bytes = op_bytes(op);

                if (!job->settling.begun)
                        begin_write(job, op);
                if (!is_stored(job)) {
                        if (op->request.is_open)
                                answer_fault(&op->request, job->write_error, &job->write_fault);
                        op_free(op);
                } else if (is_refused(op)) {
                        refuse(op);
                } else if (!settle_write(job, op, left)) {
                        return;
                } else if (job->write_error) {
                        unsynced_add(session, op);
                } else {
                        op_answer_stored(op);
                }
                job->settling.begun = false;
                end_op(left, 0, bytes);
        }
}

/* The message of the fault if another host owns the session, else NULL. */
static const char *fenced(const struct session_job *job)
{
        if (job->write_error == BACKEND_E_FENCED)
                return job->write_fault.text;
        if (job->delete_error == BACKEND_E_FENCED)
                return job->delete_fault.text;
        if (job->expire_error == BACKEND_E_FENCED)
                return job->expire_fault.text;
        return job->dirty_error == BACKEND_E_FENCED ? job->dirty_fault.text : NULL;
}

/* A failed write may have happened in part, or may still happen: the cache cannot be trusted. */
static bool is_doubtful(const struct session_job *job)
{
        return job->backend->confirm && (job->write_error || !is_deleted(job) || job->dirty_error ||
                                         (job->expires && job->expire_error));
}

/* Then all watchers are told to forget everything, if their handles do not end anyway. True: they know. */
static bool tell_doubt(struct session_job *job, size_t *left)
{
        if (!is_doubtful(job) || fenced(job))
                return true;
        if (!job->telling_doubt)
                watch_begin(job->task.session);
        job->telling_doubt = true;
        return watch_tell_all(job->task.session, left);
}

bool session_job_settle(struct session_task *task)
{
        struct session_job *job = (struct session_job *)task;
        size_t left = SLICE_ROWS;

        assert(task->session->state == SESSION_OPEN && task->session->job == job);
        if (!job->is_settling) {
                job->is_settling = true;
                count_job(job);
                log_faults(job);
                if (is_stored(job)) {
                        take_identity(job);
                        take_owner(job);
                }
        }
        answer_reads(job, &left);
        answer_writes(job, &left);
        /* To free what a long list took is work, too: the job is freed in a turn of its own. */
        return link_empty(&job->reads) && link_empty(&job->writes) && tell_doubt(job, &left) && left > 0;
}

static void log_deleted(const struct session_job *job)
{
        const struct session *session = job->task.session;
        const struct request *request = &job->delete->request;
        char who[CLIENT_TEXT_BYTES], what[SESSION_TEXT_BYTES];

        log_write_for(session->sessions->log, request->audited.uid, job->delete_error ? LOG_ERROR : LOG_INFO,
                      "%s deleted by %s%s%s", session_describe(session, what), audit_who(request, who),
                      job->delete_error ? ": " : "", job->delete_error ? job->delete_fault.text : "");
}

/* The client that asked for it gets the answer. If that is success, there is no `ended` for its handle. */
static void finish_delete(struct session_job *job)
{
        struct session *session = job->task.session;
        struct op *op = job->delete;
        struct client *client = op->lane->client;
        struct handle *deleter = client ? handle_find(client, op->handle_number) : NULL;

        if (is_deleted(job))
                log_deleted(job);
        op->stored = !job->delete_error;
        if (job->delete_error && op->request.is_open)
                answer_fault(&op->request, job->delete_error, &job->delete_fault);
        else if (op->request.is_open)
                answer_nil(&op->request);
        op_free(op);
        if (is_deleted(job))
                session_deleted(session, job->delete_error ? NULL : deleter);
        else
                session->stored = job->task.stored;
}

void session_job_finish(struct session_task *task)
{
        struct session_job *job = (struct session_job *)task;
        struct session *session = task->session;

        assert(session->state == SESSION_OPEN && session->job == job);
        session->job = NULL;
        unsynced_take(job);
        if (job->tidy)
                tidy_end(session);
        if (is_doubtful(job)) {
                session->in_doubt = session->confirm_wanted = true;
                cache_forget_all(session->cache);
        }
        if (job->delete)
                finish_delete(job);
        if (session->state == SESSION_OPEN && fenced(job))
                session_fenced(session, fenced(job));
        session_job_free(job);
}
