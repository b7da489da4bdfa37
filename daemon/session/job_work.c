/*
 * The job on its worker, in this order: row times that the cache had to give up, what has expired, reads,
 * writes (one transaction), a sync, tidying, a deletion. What the backend's callbacks hand over is borrowed
 * for the call, so it is copied.
 */

#include "job.h"

#include <stdlib.h>

#include "../base/hidden.h"

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
        struct noted *grown;

        if (effect->kind == EFFECT_KV_SWAP || effect->kind == EFFECT_KV_REFUSED)
                return session_job_note_kv(job, effect);
        grown = array_grow(job->effects, job->n_effects, &job->effects_cap, sizeof(struct noted));
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

static void store_dirty(struct session_job *job)
{
        struct change changes[2];
        size_t n = 0;

        for (int names = 0; names < 2; names++)
                if (job->n_dirty[names])
                        changes[n++] = (struct change){
                                .kind = names ? CHANGE_NAME_TIMES : CHANGE_PEER_TIMES,
                                .times = job->dirty[names],
                                .n = job->n_dirty[names],
                        };
        if (n > 0)
                job->dirty_error = job->backend->apply(job->task.stored, changes, n, DURABLE_SYSTEM, NULL,
                                                       NULL, &job->dirty_fault);
}

static int scan(struct session_job *job, struct op *op)
{
        struct fault *fault = &job->read_fault;
        int error;

        switch (op->kind) {
        case OP_SCAN_PEERS:
                op->first_match = job->n_matches;
                error = job->backend->scan_peers(job->task.stored,
                                                 op->scan.from_start ? NULL : &op->scan.after_id,
                                                 op->scan.limit, on_peer, job, fault);
                op->n_found = job->n_matches - op->first_match;
                return error;
        case OP_SCAN_USERNAMES:
                op->first_match = job->n_usernames;
                error = job->backend->scan_usernames(job->task.stored, op->scan.after_name, op->scan.after_id,
                                                     op->scan.limit, on_username, job, fault);
                op->n_found = job->n_usernames - op->first_match;
                return error;
        case OP_KV_GET:
        case OP_KV_SCAN: session_job_read_kv(job, op); return 0;
        case OP_LOOK:
                message_begin_result(&op->look.message, op->request.id);
                op->look.run(op);
                return 0;
        case OP_COUNT: return job->backend->count(job->task.stored, &op->counts, fault);
        default: return 0;
        }
}

static void read_all(struct session_job *job)
{
        if (job->n_lookups > 0) {
                job->read_error = job->backend->find(job->task.stored, job->lookups, job->n_lookups, on_match,
                                                     job, &job->read_fault);
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

static bool stores_key(const struct session_job *job)
{
        for (size_t i = 0; i < job->n_changes; i++) {
                const struct change *change = &job->changes[i];

                if (change->kind == CHANGE_SEALING ||
                    (change->kind == CHANGE_IDENTITY && change->fields & FIELD_BIT(FIELD_AUTH_KEY)))
                        return true;
        }
        return false;
}

void session_job_run(struct job *base)
{
        struct session_job *job = (struct session_job *)base;
        struct fault ignored;

        store_dirty(job);
        session_job_expire(job);
        read_all(job);
        if (job->n_changes > 0) {
                job->no_memory = false;
                if (stores_key(job))
                        hidden_take(&job->next);
                job->write_error = job->backend->apply(job->task.stored, job->changes, job->n_changes,
                                                       job->durability, on_effect, job, &job->write_fault);
                hidden_put(&job->next);
                if (job->n_effects > 1)
                        qsort(job->effects, job->n_effects, sizeof(struct noted), by_change);
        }
        if (job->sync)
                job->sync_error = job->backend->sync(job->task.stored, &job->sync_fault);
        if (job->tidy)
                job->backend->tidy(job->task.stored, &ignored);
        if (job->delete)
                job->delete_error =
                        job->backend->remove(job->task.stored, job->delete->remove_peers, &job->delete_fault);
}
