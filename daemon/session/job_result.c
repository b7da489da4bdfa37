/*
 * The outcome of a job goes into the cache and the session first, then to the watchers, then to the writers.
 * When a writer has its answer, all watchers have been told.
 */

#include "job.h"

#include <assert.h>
#include <stdio.h>

#include "ending.h"
#include "tidy.h"
#include "unsynced.h"
#include "watch.h"

static void fail_ops(struct link *ops, const char *text)
{
        for (struct link *at = ops->next; at != ops; at = at->next)
                answer_error(&LINK_OF(at, struct op, link)->request, WIRE_UNAVAILABLE, "%s", text);
}

void session_job_overdue(struct session_job *job, const char *text)
{
        fail_ops(&job->reads, text);
        fail_ops(&job->writes, text);
        if (job->delete)
                answer_error(&job->delete->request, WIRE_UNAVAILABLE, "%s", text);
}

static void answer_reads(struct session_job *job)
{
        size_t match = 0;

        while (!link_empty(&job->reads)) {
                struct op *op = LINK_OF(job->reads.next, struct op, link);
                struct found found = { .counts = op->counts };

                if (!op->request.is_open || job->read_error) {
                        if (op->request.is_open)
                                answer_fault(&op->request, job->read_error, &job->read_fault);
                        op_free(op);
                        continue;
                }
                if (op->kind == OP_FIND) {
                        size_t end = op->first_match + op->find.n_lookups;

                        found.matches = &job->matches[match];
                        for (; match < job->n_found && job->matches[match].lookup < end; match++, found.n++)
                                job->matches[match].lookup -= op->first_match;
                } else if (op->kind == OP_SCAN_PEERS) {
                        found.matches = &job->matches[op->first_match];
                        found.n = op->n_found;
                } else if (op->kind == OP_SCAN_USERNAMES) {
                        found.usernames = &job->usernames[op->first_match];
                        found.n = op->n_found;
                }
                op->answer(op, &found);
                op_free(op);
        }
}

/* The effects of the op's change: drops names and numbers from the cache, and lists them for the watchers. */
static void take_effects(struct session_job *job, struct op *op, size_t *at, struct changed *changed)
{
        struct cache *cache = job->task.session->cache;
        struct slice *texts;
        size_t end = *at;

        while (end < job->n_effects && job->effects[end].effect.change == op->first_match)
                end++;
        texts = arena_alloc(&job->arena, (end - *at) * sizeof(struct slice) + 1);
        changed->all = !texts;
        for (int phones = 0; phones < 2; phones++) {
                size_t n = 0;

                for (size_t i = *at; i < end; i++) {
                        const struct noted *noted = &job->effects[i];

                        if (noted->effect.kind != (phones ? EFFECT_PHONE : EFFECT_USERNAME))
                                continue;
                        if (phones)
                                cache_forget_phone(cache, noted->text);
                        else
                                cache_forget_username(cache, noted->text);
                        if (texts)
                                texts[n++] = noted->text;
                }
                if (phones) {
                        changed->phones = texts;
                        changed->n_phones = n;
                } else {
                        changed->usernames = texts;
                        changed->n_usernames = n;
                        texts = texts ? texts + n : NULL;
                }
        }
        for (; *at < end; ++*at)
                if (job->effects[*at].effect.kind == EFFECT_OWNER)
                        cache_forget_names(cache, job->effects[*at].effect.peer_id);
}

/* The op's own rows: puts them into cache and states, and lists them for the watchers. */
static void take_change(struct session *session, const struct op *op, struct changed *changed)
{
        const struct change *change = &op->write.change;

        switch (change->kind) {
        case CHANGE_PEERS:
                for (size_t i = 0; i < change->n; i++)
                        cache_stored_peer(session->cache, &change->peers[i]);
                changed->peers = change->peers;
                changed->n_peers = op->write.n_told;
                break;
        case CHANGE_NAMES:
                for (size_t i = 0; i < change->n; i++)
                        cache_stored_names(session->cache, &change->names[i]);
                break;
        case CHANGE_STATES:
                states_put(&session->states, change->states, change->n);
                changed->states = change->states;
                changed->n_states = change->n;
                break;
        case CHANGE_STATES_GONE:
                states_drop(&session->states, change->ids, change->n);
                changed->states_gone = change->ids;
                changed->n_states = change->n;
                break;
        default: break;
        }
        counters_add(session->sessions->counters, COUNT_ROWS_STORED, change->n);
        for (size_t i = 0; i < op->write.n_repeats; i++)
                cache_touch_peer(session->cache, op->write.repeats[i].id,
                                 op->write.repeats[i].last_update_on);
        counters_add(session->sessions->counters, COUNT_ROWS_REPEATED, op->write.n_repeats);
}

static void take_identity(struct session_job *job)
{
        struct identity former = job->task.session->identity;

        if (!job->fields)
                return;
        job->task.session->identity = job->next;
        job->next = former; /* wiped with the job */
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

static void answer_writes(struct session_job *job)
{
        struct session *session = job->task.session;
        size_t effect = 0;

        if (is_stored(job))
                take_identity(job);
        while (!link_empty(&job->writes)) {
                struct op *op = LINK_OF(job->writes.next, struct op, link);
                struct changed changed = { .fields = op->write.fields };

                counters_add(session->sessions->counters, COUNT_WRITES, 1);
                if (!is_stored(job)) {
                        if (op->request.is_open)
                                answer_fault(&op->request, job->write_error, &job->write_fault);
                        op_free(op);
                        continue;
                }
                job->n_stored++;
                op->stored = true;
                if (op->write.has_change) {
                        take_effects(job, op, &effect, &changed);
                        take_change(session, op, &changed);
                }
                watch_tell(session, op->lane, op->handle_number, &changed);
                if (job->write_error)
                        unsynced_add(session, op);
                else
                        op_answer_stored(op);
        }
}

static void log_fault(const struct session *session, enum log_level level, const char *what, const char *why)
{
        char who[SESSION_TEXT_BYTES];

        log_write(session->sessions->log, level, "%s: %s: %s", session_describe(session, who), what, why);
}

/* One line for the writes of one transaction: they fail together, and for the same reason. */
static void log_writes_failed(const struct session_job *job)
{
        char what[64];
        size_t n = 0;

        for (const struct link *at = job->writes.next; at != &job->writes; at = at->next)
                n++;
        snprintf(what, sizeof(what), "%zu write%s failed", n, n == 1 ? "" : "s");
        log_fault(job->task.session, LOG_ERROR, what, job->write_fault.text);
}

static void log_faults(const struct session_job *job)
{
        const struct session *session = job->task.session;

        if (job->dirty_error)
                log_fault(session, LOG_WARNING, "times of known peers were not stored",
                          job->dirty_fault.text);
        if (!is_stored(job))
                log_writes_failed(job);
        if (!is_deleted(job))
                log_fault(session, LOG_ERROR, "it was not deleted", job->delete_fault.text);
        if (job->read_error)
                log_fault(session, LOG_ERROR, "a read failed", job->read_fault.text);
}

static void count_job(const struct session_job *job)
{
        struct counters *counters = job->task.session->sessions->counters;

        counters_add(counters, COUNT_JOBS, 1);
        counters_add(counters, COUNT_COMMITS, job->n_changes > 0 && is_stored(job));
        counters_add(counters, COUNT_SYNCS, job->sync && !job->sync_error);
}

/* A failed write may have happened in part, or may still happen: the cache cannot be trusted. */
static void doubt(struct session *session)
{
        if (!session->storage->backend->confirm)
                return;
        session->in_doubt = session->confirm_wanted = true;
        cache_forget_all(session->cache);
        watch_tell_all(session);
}

static void log_deleted(const struct session_job *job, const struct client *client)
{
        const struct session *session = job->task.session;
        char who[CLIENT_TEXT_BYTES], what[SESSION_TEXT_BYTES];

        log_write(session->sessions->log, job->delete_error ? LOG_ERROR : LOG_INFO, "%s deleted by %s%s%s",
                  session_describe(session, what),
                  client ? client_describe(client, who) : "a client that has gone",
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
                log_deleted(job, client);
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

/* The message of the fault if another host owns the session, else NULL. */
static const char *fenced(const struct session_job *job)
{
        if (job->write_error == BACKEND_E_FENCED)
                return job->write_fault.text;
        if (job->delete_error == BACKEND_E_FENCED)
                return job->delete_fault.text;
        return job->dirty_error == BACKEND_E_FENCED ? job->dirty_fault.text : NULL;
}

void session_job_finish(struct session_task *task)
{
        struct session_job *job = (struct session_job *)task;
        struct session *session = task->session;

        assert(session->state == SESSION_OPEN && session->job == job);
        session->job = NULL;
        count_job(job);
        log_faults(job);
        answer_reads(job);
        answer_writes(job);
        unsynced_take(job);
        if (job->tidy)
                tidy_end(session);
        if (job->write_error || !is_deleted(job) || job->dirty_error)
                doubt(session);
        if (job->delete)
                finish_delete(job);
        if (session->state == SESSION_OPEN && fenced(job))
                session_fenced(session, fenced(job));
        session_job_free(job);
}
