/*
 * A batch. Its changes are first merged in memory, so that each document is written once, with its last
 * value. Then they are written by collection and kind, one command for many documents: new documents are
 * inserted, others updated with a filter on their fence. There is no transaction: nothing is acknowledged
 * until everything has succeeded, and repeating the batch completes what was written in part.
 */

#include "mongo.h"

#include <assert.h>
#include <stdlib.h>

#include "instance.h"
#include "kv.h"

/* ---- peers ---- */

/* One document of the collection peers: as it is stored, and as the batch leaves it. */
struct row {
        int64_t id;
        bool exists;
        int64_t fence; /* the stored document's */
        struct peer before;
        char *text; /* the memory that `before` points into */
        const struct peer
                *put; /* its last value in the batch; NULL: the batch changes its time, or nothing */
        int64_t time; /* the new last_update_on */
        bool has_time;
        bool done; /* inserted by insert_unread() */
};

struct rows {
        const struct mongo_place *place;
        struct row *items; /* ascending by id */
        size_t n;
};

static int by_id(const void *a, const void *b)
{
        int64_t left = ((const struct row *)a)->id, right = ((const struct row *)b)->id;

        return (left > right) - (left < right);
}

static struct row *row_of(const struct rows *rows, int64_t id)
{
        const struct row key = { .id = id };

        return bsearch(&key, rows->items, rows->n, sizeof(key), by_id);
}

static void free_rows(struct rows *rows)
{
        for (size_t i = 0; i < rows->n; i++)
                free(rows->items[i].text);
        free(rows->items);
}
#define ROWS __attribute__((cleanup(free_rows))) struct rows

static bool collect_ids(const struct mongo_batch *batch, struct rows *rows)
{
        size_t n = 0, kept = 0;

        for (size_t i = 0; i < batch->n; i++)
                if (batch->changes[i].kind == CHANGE_PEERS || batch->changes[i].kind == CHANGE_PEER_TIMES)
                        n += batch->changes[i].n;
        rows->items = calloc(n + 1, sizeof(*rows->items));
        if (!rows->items)
                return false;
        for (size_t i = 0; i < batch->n; i++) {
                const struct change *change = &batch->changes[i];

                for (size_t j = 0; change->kind == CHANGE_PEERS && j < change->n; j++)
                        rows->items[rows->n++].id = change->peers[j].id;
                for (size_t j = 0; change->kind == CHANGE_PEER_TIMES && j < change->n; j++)
                        rows->items[rows->n++].id = change->times[j].id;
        }
        if (rows->n > 1)
                qsort(rows->items, rows->n, sizeof(*rows->items), by_id);
        for (size_t i = 0; i < rows->n; i++)
                if (kept == 0 || rows->items[kept - 1].id != rows->items[i].id)
                        rows->items[kept++] = rows->items[i];
        rows->n = kept;
        return true;
}

static struct slice keep(char **to, struct slice text)
{
        struct slice copy = { *to, text.len };

        if (!text.data)
                return SLICE_NONE;
        memcpy(*to, text.data, text.len);
        *to += text.len;
        return copy;
}

static bool on_stored(void *arg, const bson_t *document)
{
        struct rows *rows = arg;
        struct peer peer;
        struct row *row;
        char *at;

        mongo_peer_of(document, rows->place, &peer);
        row = row_of(rows, peer.id);
        if (!row || row->exists)
                return true;
        row->text = at = malloc(peer.type.len + peer.username.len + peer.phone_number.len + 1);
        if (!at)
                return false;
        row->exists = true;
        row->fence = mongo_number_of(document, MONGO_FENCE, 0);
        row->before = peer;
        row->before.type = keep(&at, peer.type);
        row->before.username = keep(&at, peer.username);
        row->before.phone_number = keep(&at, peer.phone_number);
        return true;
}

static void append_id(bson_t *array, const char *key, const struct mongo_place *place, const void *values,
                      size_t i)
{
        mongo_place_append_number(array, key, place, ((const struct row *)values)[i].id);
}

static bool tell(const struct mongo_batch *batch, size_t change, enum effect_kind kind, struct slice lost,
                 struct slice gained)
{
        struct effect effect = { .change = change, .kind = kind, .text = lost };

        if (slice_equal(lost, gained))
                return true;
        if (lost.data && !batch->effect(batch->arg, &effect))
                return false;
        effect.text = gained;
        return !gained.data || batch->effect(batch->arg, &effect);
}

static bool put(const struct mongo_batch *batch, size_t change, struct row *row, const struct peer *peer)
{
        const struct peer *before = row->put ? row->put : &row->before;
        bool told = tell(batch, change, EFFECT_USERNAME, before->username, peer->username) &&
                    tell(batch, change, EFFECT_PHONE, before->phone_number, peer->phone_number);

        assert(row->id == peer->id);
        row->put = peer;
        row->time = peer->last_update_on;
        row->has_time = false;
        return told;
}

static void touch(struct row *row, int64_t time)
{
        int64_t now = row->put || row->has_time ? row->time : row->before.last_update_on;

        if ((!row->exists && !row->put) || now >= time)
                return;
        row->time = time;
        row->has_time = true;
}

/* Plays the changes through in memory, and reports their effects. */
static bool merge_changes(const struct mongo_batch *batch, struct rows *rows)
{
        for (size_t i = 0; i < batch->n; i++) {
                const struct change *change = &batch->changes[i];

                for (size_t j = 0; change->kind == CHANGE_PEERS && j < change->n; j++)
                        if (!put(batch, i, row_of(rows, change->peers[j].id), &change->peers[j]))
                                return false;
                for (size_t j = 0; change->kind == CHANGE_PEER_TIMES && j < change->n; j++)
                        touch(row_of(rows, change->times[j].id), change->times[j].last_update_on);
        }
        return true;
}

static void append_peer(bson_t *set, const struct row *row, int64_t fence)
{
        const struct peer *peer = row->put;

        if (peer && peer->has_access_hash)
                BSON_APPEND_INT64(set, "access_hash", peer->access_hash);
        else if (peer)
                BSON_APPEND_NULL(set, "access_hash");
        if (peer) {
                mongo_append_text(set, "type", peer->type);
                mongo_append_text(set, "username", peer->username);
                mongo_append_text(set, "phone_number", peer->phone_number);
        }
        BSON_APPEND_INT64(set, "last_update_on", row->time);
        BSON_APPEND_INT64(set, MONGO_FENCE, fence);
}

static bson_t *new_document(const struct backend_session *session, const struct row *row)
{
        bson_t *document = bson_new();

        mongo_place_append_number(document, "_id", &session->place, row->id);
        mongo_place_append_common(document, &session->place);
        append_peer(document, row, session->fence);
        return document;
}

static void on_there(void *arg, size_t i)
{
        ((struct row *)arg)[i].done = false;
}

/*
 * Most peers that reach the backend are new: inserting them without reading first saves a round trip. A peer
 * that turns out to be stored is then read and updated like any other.
 */
static int insert_unread(const struct mongo_batch *batch, struct row *rows, size_t n)
{
        bson_t *documents[MONGO_BATCH_MAX] = { NULL };
        int result;

        assert(n <= MONGO_BATCH_MAX);
        for (size_t i = 0; i < n; i++) {
                documents[i] = new_document(batch->session, &rows[i]);
                rows[i].done = true;
        }
        result = mongo_insert_new(batch, "peers", documents, n, on_there, rows);
        for (size_t i = 0; i < n; i++)
                bson_destroy(documents[i]);
        return result;
}

/* Finds each row's last value in the batch, before anything is read. */
static void find_last(const struct mongo_batch *batch, const struct rows *rows)
{
        for (size_t i = 0; i < batch->n; i++)
                for (size_t j = 0; batch->changes[i].kind == CHANGE_PEERS && j < batch->changes[i].n; j++) {
                        const struct peer *peer = &batch->changes[i].peers[j];
                        struct row *row = row_of(rows, peer->id);

                        row->put = peer;
                        row->time = peer->last_update_on;
                }
}

static bool has_times(const struct mongo_batch *batch)
{
        for (size_t i = 0; i < batch->n; i++)
                if (batch->changes[i].kind == CHANGE_PEER_TIMES)
                        return true;
        return false;
}

static int insert_all_unread(const struct mongo_batch *batch, const struct rows *rows)
{
        int result = 0;

        find_last(batch, rows);
        for (size_t i = 0; !result && i < rows->n; i += MONGO_BATCH_MAX)
                result = insert_unread(batch, &rows->items[i],
                                       rows->n - i < MONGO_BATCH_MAX ? rows->n - i : MONGO_BATCH_MAX);
        for (size_t i = 0; i < rows->n; i++)
                rows->items[i].put = NULL; /* merge_changes() sets it again, and reports effects */
        return result;
}

/* Reads the stored documents of the rows that have not been inserted. */
static int read_stored(const struct mongo_batch *batch, struct rows *rows)
{
        struct row *ids = calloc(rows->n + 1, sizeof(*ids));
        size_t n = 0, there = 0;
        int result;

        if (!ids)
                return mongo_no_memory(batch->fault);
        for (size_t i = 0; i < rows->n; i++)
                if (!rows->items[i].done)
                        ids[n++].id = rows->items[i].id;
        result = mongo_find_in(batch->session, batch->client, "peers", "_id", append_id, ids, n, on_stored,
                               rows, batch->fault);
        free(ids);
        for (size_t i = 0; i < rows->n; i++)
                there += rows->items[i].exists;
        batch->session->expect_new = there < rows->n - there;
        return result;
}

static int read_rows(const struct mongo_batch *batch, struct rows *rows)
{
        int result = 0;

        if (!collect_ids(batch, rows))
                return mongo_no_memory(batch->fault);
        if (batch->session->expect_new && !has_times(batch))
                result = insert_all_unread(batch, rows);
        if (!result)
                result = read_stored(batch, rows);
        if (!result && !merge_changes(batch, rows))
                result = mongo_no_memory(batch->fault);
        return result;
}

/* It is stored with these values and this fence: no delayed write of a former owner can replace it. */
static bool is_stored(const struct row *row, int64_t fence)
{
        return row->exists && row->fence == fence && row->put && peer_same(row->put, &row->before) &&
               row->time == row->before.last_update_on;
}

static int write_rows(const struct mongo_batch *batch, const struct rows *rows)
{
        MONGO_WRITES inserts = { .batch = batch, .collection = "peers" };
        MONGO_WRITES updates = { .batch = batch, .collection = "peers" };
        int64_t fence = batch->session->fence;
        int result = 0;

        for (size_t i = 0; !result && i < rows->n; i++) {
                const struct row *row = &rows->items[i];
                MONGO_BSON filter = NULL;
                MONGO_BSON document = NULL;

                if (row->done || (!row->put && !row->has_time) || is_stored(row, fence))
                        continue;
                if (!row->exists) {
                        document = new_document(batch->session, row);
                        result = mongo_writes_insert(&inserts, document);
                } else {
                        bson_t set;

                        document = bson_new();
                        filter = bson_new();
                        mongo_place_append_number(filter, "_id", &batch->session->place, row->id);
                        mongo_append_fence(filter, fence);
                        bson_append_document_begin(document, "$set", -1, &set);
                        append_peer(&set, row, fence);
                        bson_append_document_end(document, &set);
                        result = mongo_writes_update(&updates, filter, document, true);
                }
        }
        if (!result)
                result = mongo_writes_flush(&inserts);
        return result ? result : mongo_writes_flush(&updates);
}

/* ---- update states ---- */

struct last_state {
        int64_t id;
        size_t order;
        const struct state *state; /* NULL: deleted */
};

static int by_state(const void *a, const void *b)
{
        const struct last_state *left = a, *right = b;

        if (left->id != right->id)
                return left->id < right->id ? -1 : 1;
        return left->order < right->order ? -1 : 1;
}

static struct last_state *collect_states(const struct mongo_batch *batch, size_t *n)
{
        struct last_state *last;
        size_t room = 0, kept = 0;

        *n = 0;
        for (size_t i = 0; i < batch->n; i++)
                if (batch->changes[i].kind == CHANGE_STATES || batch->changes[i].kind == CHANGE_STATES_GONE)
                        room += batch->changes[i].n;
        last = calloc(room + 1, sizeof(*last));
        for (size_t i = 0; last && i < batch->n; i++) {
                const struct change *change = &batch->changes[i];

                for (size_t j = 0; change->kind == CHANGE_STATES && j < change->n; j++, ++*n)
                        last[*n] = (struct last_state){ change->states[j].id, *n, &change->states[j] };
                for (size_t j = 0; change->kind == CHANGE_STATES_GONE && j < change->n; j++, ++*n)
                        last[*n] = (struct last_state){ change->ids[j], *n, NULL };
        }
        if (last && *n > 1)
                qsort(last, *n, sizeof(*last), by_state);
        for (size_t i = 0; last && i < *n; i++)
                if (i + 1 == *n || last[i].id != last[i + 1].id)
                        last[kept++] = last[i];
        *n = kept;
        return last;
}

static void append_state(bson_t *update, const struct state *state, int64_t fence)
{
        static const char *const parts[STATE_PARTS] = { "pts", "qts", "date", "seq" };
        bson_t set;

        bson_append_document_begin(update, "$set", -1, &set);
        for (int part = 0; part < STATE_PARTS; part++)
                if (state->present & 1u << part)
                        bson_append_int64(&set, parts[part], -1, state->part[part]);
                else
                        bson_append_null(&set, parts[part], -1);
        BSON_APPEND_INT64(&set, MONGO_FENCE, fence);
        bson_append_document_end(update, &set);
}

static int write_states(const struct mongo_batch *batch)
{
        MONGO_WRITES puts = { .batch = batch, .collection = "update_state" };
        MONGO_WRITES deletes = { .batch = batch, .collection = "update_state" };
        size_t n;
        struct last_state *last = collect_states(batch, &n);
        int result = last ? 0 : mongo_no_memory(batch->fault);

        for (size_t i = 0; !result && i < n; i++) {
                MONGO_BSON filter = bson_new();
                MONGO_BSON update = bson_new();

                mongo_place_append_number(filter, "_id", &batch->session->place, last[i].id);
                mongo_append_fence(filter, batch->session->fence);
                if (last[i].state) {
                        append_state(update, last[i].state, batch->session->fence);
                        mongo_place_append_on_insert(update, &batch->session->place);
                }
                result = last[i].state ? mongo_writes_upsert(&puts, filter, update)
                                       : mongo_writes_delete(&deletes, filter);
        }
        free(last);
        if (!result)
                result = mongo_writes_flush(&puts);
        return result ? result : mongo_writes_flush(&deletes);
}

/* ---- the batch ---- */

static bool has(const struct mongo_batch *batch, enum change_kind one, enum change_kind other)
{
        for (size_t i = 0; i < batch->n; i++)
                if (batch->changes[i].n > 0 &&
                    (batch->changes[i].kind == one || batch->changes[i].kind == other))
                        return true;
        return false;
}

static int apply(const struct mongo_batch *batch)
{
        ROWS rows = { .place = &batch->session->place };
        void *names = NULL;
        int result = 0;

        if (has(batch, CHANGE_PEERS, CHANGE_PEER_TIMES))
                result = read_rows(batch, &rows);
        if (!result && has(batch, CHANGE_NAMES, CHANGE_NAME_TIMES))
                result = mongo_apply_names(batch, &names);
        /* So far only new peers have been written. */
        if (!result)
                result = write_rows(batch, &rows);
        if (!result && names)
                result = mongo_write_names(batch, names);
        if (!result && has(batch, CHANGE_STATES, CHANGE_STATES_GONE))
                result = write_states(batch);
        if (!result &&
            (has(batch, CHANGE_KV, CHANGE_KV_SWAP) || has(batch, CHANGE_KV_EXPIRED, CHANGE_KV_EXPIRED)))
                result = mongo_kv_apply(batch);
        for (size_t i = 0; !result && i < batch->n; i++)
                result = mongo_write_fields(batch, &batch->changes[i]);
        mongo_free_names(names);
        return result;
}

int mongo_apply(struct backend_session *session, const struct change *changes, size_t n,
                enum durability durability, effect_fn effect, void *arg, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(session->env, fault);
        const struct mongo_batch batch = { session, use.client, changes, n, effect, arg, fault };
        int result = use.client ? apply(&batch) : BACKEND_E_UNAVAILABLE;

        assert(session->phase == MONGO_OWNED);
        (void)durability; /* every write is on the disks of a majority */
        if (!result && mongo_instance_left(session->env->instance, atomic_load(&session->epoch)) <= 0)
                result = fault_session(fault, BACKEND_E_UNAVAILABLE, session->name,
                                       "ownership of it is being confirmed; repeat the write");
        return result;
}
