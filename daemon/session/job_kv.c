/*
 * The key-value area in a job, on its worker. What has expired is deleted before anything is read or written:
 * so it is never answered, and never comes back when the clock is set back. If that fails, a read that meets
 * such a value fails, and all others are answered.
 */

#include "job.h"

#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"

void session_job_expire(struct session_job *job)
{
        struct change expired = { .kind = CHANGE_KV_EXPIRED, .n = 1 };
        struct fault *fault = &job->expire_fault;
        int64_t due_ms = INT64_MAX;

        if (!job->has_kv)
                return;
        job->now_ms = unix_now_ms();
        for (size_t i = 0; i < job->n_kv_writes; i++)
                job->changes[job->kv_writes[i]->first_match].now_ms = job->now_ms;
        job->expire_error = job->backend->kv_due(job->task.stored, &due_ms, fault);
        job->expires = !job->expire_error && due_ms <= job->now_ms;
        if (!job->expires)
                return;
        expired.now_ms = job->now_ms;
        job->expire_error =
                job->backend->apply(job->task.stored, &expired, 1, job->durability, NULL, NULL, fault);
}

/* ---- reads ---- */

enum { HEAD_BYTES = 24 }; /* at most: of a row, beside key and value, and of the answer */

struct reader {
        struct session_job *job;
        struct op *op;
        bool met_expired;
};

static bool is_expired(struct reader *reader, const struct kv_value *value)
{
        reader->met_expired |= value->expires_ms <= reader->job->now_ms;
        return reader->met_expired;
}

static bool on_value(void *arg, const struct kv_value *value)
{
        struct reader *reader = arg;
        struct buffer *bytes = &reader->op->kv.bytes;

        if (is_expired(reader, value))
                return false;
        reader->op->kv.places[value->number] =
                (struct kv_place){ .is_there = true, .at = bytes->len, .len = value->value.len };
        buffer_append(bytes, value->value.data, value->value.len);
        return !bytes->failed;
}

static bool on_row(void *arg, const struct kv_value *value)
{
        struct reader *reader = arg;
        struct op *op = reader->op;
        struct buffer *bytes = &op->kv.bytes;
        size_t page = bytes->limit < KV_PAGE_BYTES ? bytes->limit : KV_PAGE_BYTES;

        if (is_expired(reader, value))
                return false;
        if (op->kv.n > 0 && bytes->len + value->key.len + value->value.len + HEAD_BYTES > page)
                return false;
        pack_array(bytes, 2);
        pack_str(bytes, value->key);
        pack_bin(bytes, value->value);
        op->kv.n++;
        return !bytes->failed && op->kv.n < op->kv.limit;
}

static int judge(const struct reader *reader, int error, struct fault *fault)
{
        const struct session_job *job = reader->job;
        const struct buffer *bytes = &reader->op->kv.bytes;

        if (bytes->full)
                return fault_set(fault, BACKEND_E_TOO_LARGE, "the answer would be larger than max-message");
        if (bytes->failed)
                return fault_set(fault, BACKEND_E_STORAGE, "the daemon is out of memory for this request");
        if (reader->op->kind == OP_KV_SCAN && reader->op->kv.n > 0)
                return 0; /* the next page begins with what could not be read */
        if (error || !reader->met_expired)
                return error;
        return fault_set(fault, job->expire_error ? job->expire_error : BACKEND_E_STORAGE,
                         "a value has expired, and could not be deleted: %s", job->expire_fault.text);
}

void session_job_read_kv(struct session_job *job, struct op *op)
{
        struct reader reader = { .job = job, .op = op };
        struct fault fault;
        int error;

        if (op->kind == OP_KV_GET)
                error = job->backend->kv_get(job->task.stored, op->kv.keys, op->kv.n, on_value, &reader,
                                             &fault);
        else
                error = job->backend->kv_scan(job->task.stored, op->kv.prefix, op->kv.after, on_row, &reader,
                                              &fault);
        error = judge(&reader, error, &fault);
        if (!error)
                return;
        op->kv.error = error;
        op->kv.why = strdup(fault.text);
        if (error == BACKEND_E_TOO_LARGE || reader.met_expired)
                return;
        job->kv_error = error;
        job->kv_fault = fault;
}

/* ---- writes ---- */

static int by_change(const void *key, const void *element)
{
        size_t change = *(const size_t *)key, other = (*(struct op *const *)element)->first_match;

        return (change > other) - (change < other);
}

/* It is told again, unchanged, if the backend tries the batch again. */
bool session_job_note_kv(struct session_job *job, const struct effect *effect)
{
        struct op **found =
                bsearch(&effect->change, job->kv_writes, job->n_kv_writes, sizeof(struct op *), by_change);
        struct kv_outcome *outcome = found ? (*found)->write.kv : NULL;

        if (!outcome)
                return true;
        remembered_note(&job->remembered, outcome->packed_at, effect->done,
                        effect->kind == EFFECT_KV_REFUSED);
        buffer_truncate(&outcome->stands, 0);
        free(outcome->why);
        outcome->why = NULL;
        outcome->done = effect->done;
        outcome->refused = effect->error;
        outcome->is_there = effect->kind == EFFECT_KV_SWAP && effect->text.data;
        if (effect->error)
                outcome->why = strndup(effect->text.data, effect->text.len);
        else if (outcome->is_there)
                buffer_append(&outcome->stands, effect->text.data, effect->text.len);
        return !outcome->stands.failed;
}
