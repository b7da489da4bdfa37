/*
 * The usernames of a batch. A name is the `_id` of a document, so it has one owner, the last writer's peer.
 * The stored names of the batch's peers, and the batch's own names, are read; the changes are played through
 * in memory; then each name that differs from what is stored is written once.
 */

#include "mongo.h"

#include <assert.h>
#include <stdlib.h>

struct name {
        struct slice text;
        char *copy;   /* of a stored name: the memory that `text` points into */
        bool exists;  /* stored before the batch */
        bool present; /* after the batch */
        bool written; /* the batch stored it or changed its time */
        int64_t owner_before, owner;
        int64_t time;
};

struct plan {
        const struct mongo_place *place;
        struct name *items; /* ascending by text */
        size_t n, cap;
        int64_t *owners; /* the peers of the batch */
        size_t n_owners;
        bool no_memory;
};

static int by_text(const void *a, const void *b)
{
        return slice_compare(((const struct name *)a)->text, ((const struct name *)b)->text);
}

/* The first whose text is not less. */
static size_t place_of(const struct plan *plan, struct slice text)
{
        size_t low = 0, high = plan->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (slice_compare(plan->items[middle].text, text) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static struct name *name_of(const struct plan *plan, struct slice text)
{
        size_t place = place_of(plan, text);

        return place < plan->n && slice_equal(plan->items[place].text, text) ? &plan->items[place] : NULL;
}

static bool room_for(struct plan *plan, size_t more)
{
        struct name *grown;

        if (plan->n + more <= plan->cap)
                return true;
        grown = reallocarray(plan->items, plan->n + more + plan->cap, sizeof(*grown));
        if (!grown)
                return false;
        plan->items = grown;
        plan->cap += plan->n + more;
        return true;
}

void mongo_free_names(void *arg)
{
        struct plan *plan = arg;

        if (!plan)
                return;
        for (size_t i = 0; i < plan->n; i++)
                free(plan->items[i].copy);
        free(plan->items);
        free(plan->owners);
        free(plan);
}

/* ---- reading what is stored ---- */

static bool collect(const struct mongo_batch *batch, struct plan *plan)
{
        size_t n = 0, kept = 0, owners = 0;

        for (size_t i = 0; i < batch->n; i++) {
                const struct change *change = &batch->changes[i];

                if (change->kind == CHANGE_NAMES || change->kind == CHANGE_NAME_TIMES)
                        owners += change->n;
                for (size_t j = 0; change->kind == CHANGE_NAMES && j < change->n; j++)
                        n += change->names[j].n_names;
        }
        plan->owners = calloc(owners + 1, sizeof(*plan->owners));
        if (!plan->owners || !room_for(plan, n + 1))
                return false;
        for (size_t i = 0; i < batch->n; i++) {
                const struct change *change = &batch->changes[i];

                for (size_t j = 0; change->kind == CHANGE_NAME_TIMES && j < change->n; j++)
                        plan->owners[plan->n_owners++] = change->times[j].id;
                for (size_t j = 0; change->kind == CHANGE_NAMES && j < change->n; j++) {
                        const struct peer_names *names = &change->names[j];

                        plan->owners[plan->n_owners++] = names->peer_id;
                        for (size_t k = 0; k < names->n_names; k++)
                                plan->items[plan->n++] = (struct name){ .text = names->names[k] };
                }
        }
        if (plan->n > 1)
                qsort(plan->items, plan->n, sizeof(*plan->items), by_text);
        for (size_t i = 0; i < plan->n; i++)
                if (kept == 0 || !slice_equal(plan->items[kept - 1].text, plan->items[i].text))
                        plan->items[kept++] = plan->items[i];
        plan->n = kept;
        return true;
}

static bool on_stored(void *arg, const bson_t *document)
{
        struct plan *plan = arg;
        struct name *name;
        struct slice text = SLICE_NONE;
        bson_iter_t iter;
        size_t place;

        if (bson_iter_init_find(&iter, document, "_id"))
                text = mongo_place_read_text(&iter, plan->place);
        if (!text.data)
                return true;
        name = name_of(plan, text);
        if (!name) {
                char *copy = malloc(text.len + 1);

                if (!copy || !room_for(plan, 1)) {
                        free(copy);
                        plan->no_memory = true;
                        return false;
                }
                memcpy(copy, text.data, text.len);
                place = place_of(plan, text);
                memmove(&plan->items[place + 1], &plan->items[place], (plan->n++ - place) * sizeof(*name));
                name = &plan->items[place];
                *name = (struct name){ .text = { copy, text.len }, .copy = copy };
        }
        name->exists = name->present = true;
        name->owner_before = name->owner = mongo_number_of(document, "peer_id", 0);
        name->time = mongo_number_of(document, "last_update_on", 0);
        return true;
}

static void append_name(bson_t *array, const char *key, const struct mongo_place *place, const void *values,
                        size_t i)
{
        mongo_place_append_text(array, key, place, ((const struct slice *)values)[i]);
}

static void append_owner(bson_t *array, const char *key, const struct mongo_place *place, const void *values,
                         size_t i)
{
        (void)place;
        bson_append_int64(array, key, -1, ((const int64_t *)values)[i]);
}

static int read_stored(const struct mongo_batch *batch, struct plan *plan)
{
        struct slice *texts = calloc(plan->n + 1, sizeof(*texts));
        size_t n = plan->n;
        int result;

        if (!texts)
                return mongo_no_memory(batch->fault);
        for (size_t i = 0; i < n; i++)
                texts[i] = plan->items[i].text;
        result = mongo_find_in(batch->session, batch->client, "usernames", "_id", append_name, texts, n,
                               on_stored, plan, batch->fault);
        if (!result)
                result = mongo_find_in(batch->session, batch->client, "usernames", "peer_id", append_owner,
                                       plan->owners, plan->n_owners, on_stored, plan, batch->fault);
        free(texts);
        return result;
}

/* ---- playing the changes through ---- */

static bool tell(const struct mongo_batch *batch, size_t change, enum effect_kind kind, struct slice text,
                 int64_t peer_id)
{
        const struct effect effect = { .change = change, .kind = kind, .text = text, .peer_id = peer_id };

        return batch->effect(batch->arg, &effect);
}

static bool is_among(const struct peer_names *names, struct slice text)
{
        for (size_t i = 0; i < names->n_names; i++)
                if (slice_equal(names->names[i], text))
                        return true;
        return false;
}

static bool drop_others(const struct mongo_batch *batch, struct plan *plan, size_t change,
                        const struct peer_names *names)
{
        for (size_t i = 0; i < plan->n; i++) {
                struct name *name = &plan->items[i];

                if (!name->present || name->owner != names->peer_id || is_among(names, name->text))
                        continue;
                name->present = false;
                if (!tell(batch, change, EFFECT_USERNAME, name->text, 0))
                        return false;
        }
        return true;
}

static bool claim(const struct mongo_batch *batch, struct name *name, size_t change,
                  const struct peer_names *names)
{
        bool gained = !name->present || name->owner != names->peer_id;
        bool from_other = name->present && gained;
        int64_t former = name->owner;

        name->present = name->written = true;
        name->owner = names->peer_id;
        name->time = names->last_update_on;
        return (!from_other || tell(batch, change, EFFECT_OWNER, name->text, former)) &&
               (!gained || tell(batch, change, EFFECT_USERNAME, name->text, 0));
}

static void touch(struct plan *plan, const struct row_time *time)
{
        for (size_t i = 0; i < plan->n; i++) {
                struct name *name = &plan->items[i];

                if (!name->present || name->owner != time->id || name->time >= time->last_update_on)
                        continue;
                name->time = time->last_update_on;
                name->written = true;
        }
}

static bool play(const struct mongo_batch *batch, struct plan *plan)
{
        for (size_t i = 0; i < batch->n; i++) {
                const struct change *change = &batch->changes[i];

                for (size_t j = 0; change->kind == CHANGE_NAME_TIMES && j < change->n; j++)
                        touch(plan, &change->times[j]);
                for (size_t j = 0; change->kind == CHANGE_NAMES && j < change->n; j++) {
                        const struct peer_names *names = &change->names[j];

                        if (!drop_others(batch, plan, i, names))
                                return false;
                        for (size_t k = 0; k < names->n_names; k++)
                                if (!claim(batch, name_of(plan, names->names[k]), i, names))
                                        return false;
                }
        }
        return true;
}

int mongo_apply_names(const struct mongo_batch *batch, void **result)
{
        struct plan *plan = calloc(1, sizeof(*plan));
        int error;

        *result = plan;
        if (!plan || !collect(batch, plan))
                return mongo_no_memory(batch->fault);
        plan->place = &batch->session->place;
        error = read_stored(batch, plan);
        if (!error && !play(batch, plan))
                error = mongo_no_memory(batch->fault);
        return error;
}

/* ---- writing ---- */

int mongo_write_names(const struct mongo_batch *batch, void *arg)
{
        const struct plan *plan = arg;
        MONGO_WRITES puts = { .batch = batch, .collection = "usernames" };
        MONGO_WRITES deletes = { .batch = batch, .collection = "usernames" };
        int64_t fence = batch->session->fence;
        int result = 0;

        for (size_t i = 0; !result && i < plan->n; i++) {
                const struct name *name = &plan->items[i];
                MONGO_BSON filter = bson_new();
                MONGO_BSON update =
                        BCON_NEW("$set", "{", "peer_id", BCON_INT64(name->owner), "last_update_on",
                                 BCON_INT64(name->time), MONGO_FENCE, BCON_INT64(fence), "}");

                mongo_place_append_text(filter, "_id", &batch->session->place, name->text);
                mongo_append_fence(filter, fence);
                mongo_place_append_on_insert(update, &batch->session->place);
                if (name->present && name->written)
                        result = mongo_writes_upsert(&puts, filter, update);
                else if (name->exists && !name->present)
                        result = mongo_writes_delete(&deletes, filter);
        }
        if (!result)
                result = mongo_writes_flush(&deletes);
        return result ? result : mongo_writes_flush(&puts);
}
