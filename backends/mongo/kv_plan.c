/*
 * What a batch does to the key-value area. The stored documents of its keys are read; the changes are played
 * through in memory, in order; then each key that was written is written once.
 */

#include <stdlib.h>
#include <string.h>

#include "../wiping.h"
#include "kv.h"
#include "sealed.h"

/* ---- the keys ---- */

static int by_key(const void *a, const void *b)
{
        return slice_compare(((const struct mongo_kv_item *)a)->key, ((const struct mongo_kv_item *)b)->key);
}

static struct mongo_kv_item *item_of(const struct mongo_kv_plan *plan, struct slice key)
{
        const struct mongo_kv_item wanted = { .key = key };

        return bsearch(&wanted, plan->items, plan->n, sizeof(wanted), by_key);
}

static bool is_of_rows(const struct change *change)
{
        return change->kind == CHANGE_KV || change->kind == CHANGE_KV_SWAP;
}

static const struct kv_row *row_of(const struct change *change, size_t i)
{
        return change->kind == CHANGE_KV ? &change->kv[i] : &change->swap[i].row;
}

static bool collect(struct mongo_kv_plan *plan)
{
        const struct mongo_batch *batch = plan->batch;
        size_t n = 0, kept = 0;

        for (size_t i = 0; i < batch->n; i++)
                n += is_of_rows(&batch->changes[i]) ? batch->changes[i].n : 0;
        plan->items = calloc(n + 1, sizeof(*plan->items));
        if (!plan->items)
                return false;
        n = 0;
        for (size_t i = 0; i < batch->n; i++) {
                const struct change *change = &batch->changes[i];

                for (size_t j = 0; is_of_rows(change) && j < change->n; j++)
                        plan->items[n++] =
                                (struct mongo_kv_item){ .key = row_of(change, j)->key,
                                                        .is_compared = change->kind == CHANGE_KV_SWAP };
        }
        if (n > 1)
                qsort(plan->items, n, sizeof(*plan->items), by_key);
        for (size_t i = 0; i < n; i++) {
                if (kept > 0 && slice_equal(plan->items[kept - 1].key, plan->items[i].key))
                        plan->items[kept - 1].is_compared |= plan->items[i].is_compared;
                else
                        plan->items[kept++] = plan->items[i];
        }
        plan->n = kept;
        return true;
}

static void end_plan(struct mongo_kv_plan *plan)
{
        for (size_t i = 0; i < plan->n; i++) {
                wiping_free(plan->items[i].stored);
                free(plan->items[i].swaps.bytes);
        }
        free(plan->items);
}

/* ---- reading what is stored ---- */

static bool on_stored(void *arg, const bson_t *document)
{
        struct mongo_kv_plan *plan = arg;
        struct mongo_kv_row row;
        struct mongo_kv_item *item;

        if (!mongo_kv_read(document, &plan->batch->session->place, &row))
                return true;
        item = item_of(plan, row.key);
        if (!item)
                return true;
        item->is_there = !row.is_gone;
        item->size_before = item->size = row.size;
        item->expires_before_ms = item->expires_ms = row.expires_ms;
        item->fence_before = row.fence;
        if (!item->is_compared)
                return true;
        if (row.stored.data) {
                item->stored = wiping_malloc(row.stored.len + 1);
                if (!item->stored)
                        return false;
                memcpy(item->stored, row.stored.data, row.stored.len);
                item->stored_len = row.stored.len;
                item->is_sealed = row.is_sealed;
        }
        return mongo_kv_swaps_copy(&item->swaps, row.swaps);
}

static void append_key(bson_t *array, const char *key, const struct mongo_place *place, const void *values,
                       size_t i)
{
        mongo_place_append_key(array, key, place, ((const struct mongo_kv_item *)values)[i].key);
}

static int read_stored(struct mongo_kv_plan *plan)
{
        const struct mongo_batch *batch = plan->batch;

        if (!collect(plan))
                return mongo_no_memory(batch->fault);
        return mongo_find_in(batch->session, batch->client, MONGO_KV, "_id", append_key, plan->items, plan->n,
                             on_stored, plan, batch->fault);
}

/* ---- playing the changes ---- */

static int tell(const struct mongo_batch *batch, struct effect effect)
{
        return !batch->effect || batch->effect(batch->arg, &effect) ? 0 : mongo_no_memory(batch->fault);
}

static int refuse(const struct mongo_batch *batch, size_t change, int error, const struct fault *why)
{
        return tell(batch, (struct effect){ .change = change,
                                            .kind = EFFECT_KV_REFUSED,
                                            .error = error,
                                            .text = slice_of(why->text) });
}

static int64_t size_of(const struct kv_row *row)
{
        return row->value.data ? (int64_t)(row->key.len + row->value.len) : 0;
}

static int64_t growth(const struct mongo_kv_plan *plan, const struct change *change)
{
        int64_t bytes = 0;

        for (size_t i = 0; i < change->n; i++) {
                const struct kv_row *row = row_of(change, i);

                bytes += size_of(row) - item_of(plan, row->key)->size;
        }
        return bytes;
}

/* What has expired is deleted now: it takes no room. */
static int expire(struct mongo_kv_plan *plan, int64_t now_ms)
{
        int result = mongo_kv_expire(plan->batch, now_ms);

        for (size_t i = 0; !result && i < plan->n; i++) {
                struct mongo_kv_item *item = &plan->items[i];

                if (item->expires_before_ms > now_ms)
                        continue;
                if (item->is_written)
                        plan->grown += item->size_before;
                else
                        item->size = 0;
                item->size_before = 0;
                item->expires_before_ms = INT64_MAX;
        }
        return result;
}

/* May the rows of this change be stored? 1: they may not, which has been told. */
static int check(struct mongo_kv_plan *plan, size_t number)
{
        const struct mongo_batch *batch = plan->batch;
        const struct change *change = &batch->changes[number];
        const struct backend_session *session = batch->session;
        int64_t max = session->env->config->kv_max;
        struct fault why;
        const struct seal_terms terms = mongo_seal_terms(session, &why);
        int64_t grown = growth(plan, change);
        bool has_values = false;
        int result = 0;

        for (size_t i = 0; i < change->n; i++)
                has_values |= row_of(change, i)->value.data != NULL;
        if (has_values && session->seal.on && seal_check_current(&terms)) {
                result = refuse(batch, number, BACKEND_E_STORAGE, &why);
                return result ? result : 1;
        }
        if (grown > 0 && session->kv.bytes + plan->grown + grown > max) {
                result = expire(plan, change->now_ms);
                grown = growth(plan, change);
        }
        if (result || grown <= 0 || session->kv.bytes + plan->grown + grown <= max)
                return result;
        result = fault_session(&why, BACKEND_E_TOO_LARGE, session->name,
                               "its key-value area has at most %lld bytes (kv-max)", (long long)max);
        result = refuse(batch, number, result, &why);
        return result ? result : 1;
}

static void put(struct mongo_kv_plan *plan, const struct kv_row *row, int64_t now_ms)
{
        struct mongo_kv_item *item = item_of(plan, row->key);
        int64_t size = size_of(row);

        plan->grown += size - item->size;
        item->size = size;
        item->value = row->value;
        item->expires_ms = row->value.data && row->ttl_s ? now_ms + row->ttl_s * 1000 : INT64_MAX;
        item->is_written = true;
}

static int play_rows(struct mongo_kv_plan *plan, size_t number)
{
        const struct change *change = &plan->batch->changes[number];
        int result = check(plan, number);

        for (size_t i = 0; !result && i < change->n; i++)
                put(plan, &change->kv[i], change->now_ms);
        return result < 0 ? result : 0;
}

/* What stands now. It may be in `scratch`. */
static int value_of(const struct mongo_kv_plan *plan, const struct mongo_kv_item *item, int64_t now_ms,
                    uint8_t *scratch, struct slice *value, struct fault *fault)
{
        *value = SLICE_NONE;
        if (item->expires_ms <= now_ms)
                return 0;
        *value = item->value;
        if (item->is_written || !item->is_there)
                return 0;
        return mongo_kv_open(plan->batch->session, item->key,
                             (struct slice){ (const char *)item->stored, item->stored_len }, item->is_sealed,
                             scratch, value, fault);
}

static int play_swap(struct mongo_kv_plan *plan, size_t number, uint8_t *scratch)
{
        const struct mongo_batch *batch = plan->batch;
        const struct change *change = &batch->changes[number];
        const struct kv_swap *swap = change->swap;
        struct mongo_kv_item *item = item_of(plan, swap->row.key);
        struct effect effect = { .change = number, .kind = EFFECT_KV_SWAP, .done = true };
        struct slice value;
        struct fault why;
        int result;

        if (mongo_kv_swaps_has(&item->swaps, swap)) { /* a repetition */
                item->is_kept = item->fence_before < batch->session->fence;
                return tell(batch, effect);
        }
        result = value_of(plan, item, change->now_ms, scratch, &value, &why);
        if (result)
                return refuse(batch, number, result, &why);
        if (!slice_equal(value, swap->expected)) {
                effect.done = false;
                effect.text = value;
                return tell(batch, effect);
        }
        result = check(plan, number);
        if (result)
                return result < 0 ? result : 0;
        put(plan, &swap->row, change->now_ms);
        if (!mongo_kv_swaps_add(&item->swaps, swap))
                return mongo_no_memory(batch->fault);
        return tell(batch, effect);
}

static int play(struct mongo_kv_plan *plan)
{
        MONGO_SCRATCH scratch = wiping_malloc(KV_STORED_MAX);
        const struct mongo_batch *batch = plan->batch;
        int result = scratch ? 0 : mongo_no_memory(batch->fault);

        for (size_t i = 0; !result && i < batch->n; i++) {
                const struct change *change = &batch->changes[i];

                if (change->kind == CHANGE_KV)
                        result = play_rows(plan, i);
                else if (change->kind == CHANGE_KV_SWAP)
                        result = play_swap(plan, i, scratch);
                else if (change->kind == CHANGE_KV_EXPIRED)
                        result = expire(plan, change->now_ms);
        }
        return result;
}

int mongo_kv_apply(const struct mongo_batch *batch)
{
        struct backend_session *session = batch->session;
        struct mongo_kv_plan plan = { .batch = batch };
        int result = mongo_kv_know(session, batch->client, batch->fault);

        if (!result)
                result = read_stored(&plan);
        if (!result)
                result = play(&plan);
        if (!result)
                result = mongo_kv_write(&plan);
        if (result)
                session->kv.is_known = false;
        else
                session->kv.bytes += plan.grown;
        end_plan(&plan);
        return result;
}
