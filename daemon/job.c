/*
 * A job carries, in this order: times that the cache could not keep, reads, writes (one transaction), a sync.
 * The worker fills in what was found and what changed; the loop then makes it known.
 */

#include "job.h"

#include <stdlib.h>

#include "arena.h"
#include "connection.h"
#include "server.h"
#include "watch.h"

/* An effect as the backend told it, with a text of our own. */
struct noted {
        struct effect effect;
        struct slice text;
};

struct session_job {
        struct job job;
        struct session *session;
        struct backend_session *stored;
        const struct backend *backend;
        struct arena arena;

        struct row_time *late[2];
        size_t n_late[2];

        struct link reads; /* ops */
        struct link writes;
        struct op *delete;

        struct lookup *lookups;
        size_t n_lookups, lookups_cap;
        struct match *matches;
        size_t n_matches, matches_cap;
        size_t n_found; /* of the matches, those of lookups; scans' lie behind */
        struct found_username *usernames;
        size_t n_usernames, usernames_cap;
        bool no_memory;

        struct change *changes;
        size_t n_changes, changes_cap;
        struct noted *effects;
        size_t n_effects, effects_cap;
        struct identity next;
        unsigned fields;   /* that differ from the session's */
        bool has_identity; /* `next` is a copy of the session's identity */
        bool keeps;        /* has states: a write that keeps what is stored waits */
        enum durability durability;
        bool sync;

        int late_error, read_error, write_error, sync_error, delete_error;
        struct fault late_fault, read_fault, write_fault, sync_fault;
};

/* ---- on the loop: making it ---- */

struct session_job *session_job_new(struct session *session)
{
        struct session_job *job = calloc(1, sizeof(*job));

        if (!job)
                return NULL;
        job->session = session;
        job->stored = session->stored;
        job->backend = backends[session->backend];
        link_init(&job->reads);
        link_init(&job->writes);
        identity_init(&job->next);
        if (session->server->config->fsync == FSYNC_ALWAYS)
                job->durability = DURABLE_DISK;
        return job;
}

static void session_job_free(struct session_job *job)
{
        identity_wipe(&job->next);
        free(job->late[0]);
        free(job->late[1]);
        free(job->lookups);
        free(job->matches);
        free(job->usernames);
        free(job->changes);
        free(job->effects);
        arena_deinit(&job->arena);
        free(job);
}

static void move_op(struct op *op, struct link *list)
{
        link_remove(&op->link);
        link_append(list, &op->link);
}

bool session_job_add_read(struct session_job *job, struct op *op)
{
        if (job->delete)
                return false;
        if (op->kind == OP_FIND) {
                op->first_match = job->n_lookups; /* until the matches are there: its first lookup */
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
        }
        move_op(op, &job->reads);
        return true;
}

static bool is_nothing_yet(const struct session_job *job)
{
        return link_empty(&job->reads) && link_empty(&job->writes) && !job->delete;
}

/* What the write means now that all before it is known. False: it was answered, and is gone. */
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
        struct change *grown;

        if (op->kind == OP_DELETE) {
                if (!is_nothing_yet(job))
                        return false;
                link_remove(&op->link);
                job->delete = op;
                return true;
        }
        /* A write of states looks at the stored ones while it is prepared: one such write a job. */
        if (job->delete || (is_states && job->keeps))
                return false;
        grown = array_grow(job->changes, job->n_changes + 1, &job->changes_cap, sizeof(struct change));
        if (!grown)
                return false;
        job->changes = grown;
        if (!job->has_identity && !identity_copy(&job->next, &job->session->identity))
                return false;
        job->has_identity = true;
        if (!prepare(job, op))
                return true;
        move_op(op, &job->writes);
        job->keeps |= is_states;
        op->first_match = job->n_changes; /* a write's place among the changes */
        if (op->write.has_change)
                job->changes[job->n_changes++] = op->write.change;
        if (op->write.to_disk)
                job->durability = DURABLE_DISK;
        return true;
}

/* ---- on a worker ---- */

static bool on_match(void *arg, const struct match *match)
{
        struct session_job *job = arg;
        struct match *grown =
                array_grow(job->matches, job->n_matches, &job->matches_cap, sizeof(struct match));
        struct match *copy;

        if (!grown) {
                job->no_memory = true;
                return false;
        }
        job->matches = grown;
        copy = &job->matches[job->n_matches];
        *copy = *match;
        copy->peer.type = arena_copy(&job->arena, match->peer.type, &job->no_memory);
        copy->peer.username = arena_copy(&job->arena, match->peer.username, &job->no_memory);
        copy->peer.phone_number = arena_copy(&job->arena, match->peer.phone_number, &job->no_memory);
        job->n_matches += !job->no_memory;
        return !job->no_memory;
}

static bool on_peer(void *arg, const struct peer *peer)
{
        const struct match match = { .peer = *peer };

        return on_match(arg, &match);
}

static bool on_username(void *arg, struct slice username, int64_t peer_id, const int64_t *last_update_on)
{
        struct session_job *job = arg;
        struct found_username *grown = array_grow(job->usernames, job->n_usernames, &job->usernames_cap,
                                                  sizeof(struct found_username));

        if (!grown) {
                job->no_memory = true;
                return false;
        }
        job->usernames = grown;
        job->usernames[job->n_usernames] = (struct found_username){
                .username = arena_copy(&job->arena, username, &job->no_memory),
                .peer_id = peer_id,
                .has_time = last_update_on,
                .last_update_on = last_update_on ? *last_update_on : 0,
        };
        job->n_usernames += !job->no_memory;
        return !job->no_memory;
}

static bool on_effect(void *arg, const struct effect *effect)
{
        struct session_job *job = arg;
        struct noted *grown =
                array_grow(job->effects, job->n_effects, &job->effects_cap, sizeof(struct noted));

        if (!grown)
                return false;
        job->effects = grown;
        job->effects[job->n_effects].effect = *effect;
        job->effects[job->n_effects].text = arena_copy(&job->arena, effect->text, &job->no_memory);
        job->n_effects += !job->no_memory;
        return !job->no_memory;
}

static int by_lookup(const void *a, const void *b)
{
        size_t left = ((const struct match *)a)->lookup, right = ((const struct match *)b)->lookup;

        return (left > right) - (left < right);
}

static int by_change(const void *a, const void *b)
{
        size_t left = ((const struct noted *)a)->effect.change,
               right = ((const struct noted *)b)->effect.change;

        return (left > right) - (left < right);
}

static void store_late(struct session_job *job)
{
        struct change changes[2];
        size_t n = 0;

        for (int names = 0; names < 2; names++)
                if (job->n_late[names])
                        changes[n++] = (struct change){
                                .kind = names ? CHANGE_NAME_TIMES : CHANGE_PEER_TIMES,
                                .times = job->late[names],
                                .n = job->n_late[names],
                        };
        if (n > 0)
                job->late_error = job->backend->apply(job->stored, changes, n, DURABLE_SYSTEM, NULL, NULL,
                                                      &job->late_fault);
}

static int scan(struct session_job *job, struct op *op)
{
        struct fault *fault = &job->read_fault;
        int error;

        switch (op->kind) {
        case OP_SCAN_PEERS:
                op->first_match = job->n_matches;
                error = job->backend->scan_peers(job->stored, op->scan.from_start ? NULL : &op->scan.after_id,
                                                 op->scan.limit, on_peer, job, fault);
                op->n_found = job->n_matches - op->first_match;
                return error;
        case OP_SCAN_USERNAMES:
                op->first_match = job->n_usernames;
                error = job->backend->scan_usernames(job->stored, op->scan.after_name, op->scan.after_id,
                                                     op->scan.limit, on_username, job, fault);
                op->n_found = job->n_usernames - op->first_match;
                return error;
        case OP_COUNT: return job->backend->count(job->stored, &op->counts, fault);
        default: return 0;
        }
}

static void read_all(struct session_job *job)
{
        if (job->n_lookups > 0) {
                job->read_error = job->backend->find(job->stored, job->lookups, job->n_lookups, on_match, job,
                                                     &job->read_fault);
                if (job->n_matches > 1)
                        qsort(job->matches, job->n_matches, sizeof(struct match), by_lookup);
        }
        job->n_found = job->n_matches;
        for (struct link *at = job->reads.next; at != &job->reads && !job->read_error; at = at->next)
                job->read_error = scan(job, LINK_OF(at, struct op, link));
        if (!job->read_error && job->no_memory)
                job->read_error =
                        fault_set(&job->read_fault, BACKEND_E_STORAGE, "the daemon is out of memory");
}

static void session_job_run(struct job *base)
{
        struct session_job *job = (struct session_job *)base;

        store_late(job);
        read_all(job);
        if (job->n_changes > 0) {
                job->no_memory = false;
                job->write_error = job->backend->apply(job->stored, job->changes, job->n_changes,
                                                       job->durability, on_effect, job, &job->write_fault);
                if (job->n_effects > 1)
                        qsort(job->effects, job->n_effects, sizeof(struct noted), by_change);
        }
        if (job->sync)
                job->sync_error = job->backend->sync(job->stored, &job->sync_fault);
        if (job->delete)
                job->delete_error =
                        job->backend->remove(job->stored, job->delete->remove_peers, &job->write_fault);
}

/* ---- on the loop again: making it known ---- */

static void answer_reads(struct session_job *job)
{
        size_t match = 0;

        while (!link_empty(&job->reads)) {
                struct op *op = LINK_OF(job->reads.next, struct op, link);
                struct found found = { .counts = op->counts };

                if (job->read_error) {
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

/* What the op's change did besides, as texts: forgotten in the cache, and kept for the watchers. */
static void take_effects(struct session_job *job, struct op *op, size_t *at, struct changed *changed)
{
        struct cache *cache = job->session->cache;
        struct slice *texts;
        size_t end = *at;

        while (end < job->n_effects && job->effects[end].effect.change == op->first_match)
                end++;
        texts = arena_alloc(&job->arena, (end - *at) * sizeof(struct slice) + 1);
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

/* The op's own rows: into memory, and for the watchers. */
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
                session_put_states(session, change->states, change->n);
                changed->states = change->states;
                changed->n_states = change->n;
                break;
        case CHANGE_STATES_GONE:
                session_drop_states(session, change->ids, change->n);
                changed->states_gone = change->ids;
                changed->n_states = change->n;
                break;
        default: break;
        }
        session->server->metrics.counters[METRIC_ROWS_STORED] += change->n;
        for (size_t i = 0; i < op->write.n_repeats; i++)
                cache_touch_peer(session->cache, op->write.repeats[i].id,
                                 op->write.repeats[i].last_update_on);
        session->server->metrics.counters[METRIC_ROWS_REPEATED] += op->write.n_repeats;
}

static void take_identity(struct session_job *job)
{
        struct identity former = job->session->identity;

        if (!job->fields)
                return;
        job->session->identity = job->next;
        job->next = former; /* wiped with the job */
}

static void answer_writes(struct session_job *job)
{
        struct session *session = job->session;
        size_t effect = 0;

        if (!job->write_error)
                take_identity(job);
        while (!link_empty(&job->writes)) {
                struct op *op = LINK_OF(job->writes.next, struct op, link);
                struct changed changed = { .fields = op->write.fields };

                session->server->metrics.counters[METRIC_WRITES]++;
                if (job->write_error) {
                        answer_fault(&op->request, job->write_error, &job->write_fault);
                        op_free(op);
                        continue;
                }
                if (op->write.has_change) {
                        take_effects(job, op, &effect, &changed);
                        take_change(session, op, &changed);
                }
                watch_tell(session, op->lane, op->handle_number, &changed);
                if (op->answer)
                        op->answer(op, NULL);
                else
                        answer_nil(&op->request);
                op_free(op);
        }
}

static void log_fault(const struct session *session, enum log_level level, const char *what, const char *why)
{
        char who[300];

        log_write(session->server->log, level, "%s: %s: %s", session_describe(session, who, sizeof(who)),
                  what, why);
}

static void on_fsync(struct timer *timer)
{
        struct session *session = LINK_OF(timer, struct session, fsync);

        session->sync_due = true;
        queue_run(session);
}

/* What is committed and not on the disk will be within a second. */
static void plan_sync(struct session_job *job)
{
        struct session *session = job->session;
        struct server *server = session->server;

        if (job->sync_error) {
                log_fault(session, LOG_ERROR, "what was written last second may not survive a loss of power",
                          job->sync_fault.text);
                session->unsynced = true;
        }
        if (job->n_changes > 0 && !job->write_error && !job->sync)
                session->unsynced = job->durability == DURABLE_SYSTEM;
        if (session->unsynced && server->config->fsync == FSYNC_EVERYSEC && !session->fsync.slot)
                timer_start(&server->timers, &session->fsync, 1000, on_fsync);
}

static void finish_delete(struct session_job *job)
{
        struct session *session = job->session;
        struct op *op = job->delete;
        struct handle *deleter = NULL;

        if (job->delete_error) {
                answer_fault(&op->request, job->delete_error, &job->write_fault);
                op_free(op);
                queue_run(session);
                return;
        }
        log_fault(session, LOG_INFO, "deleted", "at its client's wish");
        if (op->request.connection)
                deleter = connection_handle(op->request.connection, op->handle_number);
        answer_nil(&op->request);
        op_free(op);
        queue_fail_all(session, WIRE_BAD_SESSION, "the session was deleted");
        session_removed(session, deleter);
}

static void session_job_done(struct job *base)
{
        struct session_job *job = (struct session_job *)base;
        struct session *session = job->session;

        session->server->metrics.counters[METRIC_JOBS]++;
        session->server->metrics.counters[METRIC_COMMITS] += job->n_changes > 0 && !job->write_error;
        session->server->metrics.counters[METRIC_SYNCS] += job->sync && !job->sync_error;
        if (job->late_error)
                log_fault(session, LOG_WARNING, "times of known peers were not stored", job->late_fault.text);
        if (job->write_error)
                log_fault(session, LOG_ERROR, "a write failed", job->write_fault.text);
        if (job->read_error)
                log_fault(session, LOG_ERROR, "a read failed", job->read_fault.text);
        answer_reads(job);
        answer_writes(job);
        plan_sync(job);
        session->busy = false;
        if (job->delete)
                finish_delete(job);
        else
                queue_run(session);
        session_job_free(job);
}

bool session_job_submit(struct session_job *job)
{
        struct session *session = job->session;

        if (job->fields)
                job->changes[job->n_changes++] = (struct change){
                        .kind = CHANGE_IDENTITY, .fields = job->fields, .identity = &job->next, .n = 1
                };
        for (int names = 0; names < 2; names++) {
                job->late[names] = session->late[names];
                job->n_late[names] = session->n_late[names];
                session->late[names] = NULL;
                session->n_late[names] = session->late_cap[names] = 0;
        }
        if (session->sync_due) {
                job->sync = session->unsynced;
                session->sync_due = session->unsynced = false;
        }
        if (is_nothing_yet(job) && job->n_late[0] + job->n_late[1] == 0 && !job->sync) {
                session_job_free(job);
                return false;
        }
        session->busy = true;
        store_submit(&session->server->store, &job->job, session_job_run, session_job_done);
        return true;
}
