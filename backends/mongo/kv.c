/* Reading the key-value area, and what is known of it. */

#include "kv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "../wiping.h"
#include "instance.h"
#include "sealed.h"

/* ---- a document ---- */

static struct slice binary_of(const bson_iter_t *iter, size_t max)
{
        bson_subtype_t subtype;
        const uint8_t *bytes = NULL;
        uint32_t len = 0;

        if (bson_iter_type(iter) != BSON_TYPE_BINARY)
                return SLICE_NONE;
        bson_iter_binary(iter, &subtype, &len, &bytes);
        if (len > max)
                return SLICE_NONE;
        return len > 0 ? (struct slice){ (const char *)bytes, len } : slice_of("");
}

/* Whatever a document says, it counts as what gramd would have written. */
static int64_t size_of(const bson_iter_t *iter)
{
        const int64_t most = KV_KEY_MAX_BYTES + KV_VALUE_MAX_BYTES;
        int64_t size = 0;

        mongo_read_number(iter, &size);
        return size < 0 ? 0 : size > most ? most : size;
}

bool mongo_kv_read(const bson_t *document, const struct mongo_place *place, struct mongo_kv_row *row)
{
        bson_iter_t iter;

        row->key = row->stored = row->swaps = SLICE_NONE;
        row->is_gone = row->is_sealed = false;
        row->size = 0;
        row->expires_ms = INT64_MAX;
        row->fence = 0;
        if (!bson_iter_init(&iter, document))
                return false;
        while (bson_iter_next(&iter)) {
                const char *name = bson_iter_key(&iter);

                if (strcmp(name, "_id") == 0)
                        row->key = mongo_place_read_key(&iter, place, row->bytes);
                else if (strcmp(name, "value") == 0)
                        row->stored = binary_of(&iter, KV_VALUE_MAX_BYTES);
                else if (strcmp(name, "sealed") == 0)
                        row->stored = binary_of(&iter, KV_STORED_MAX);
                else if (strcmp(name, "size") == 0)
                        row->size = size_of(&iter);
                else if (strcmp(name, "expires") == 0)
                        mongo_read_number(&iter, &row->expires_ms);
                else if (strcmp(name, MONGO_FENCE) == 0)
                        mongo_read_number(&iter, &row->fence);
                else if (strcmp(name, "swaps") == 0)
                        row->swaps = binary_of(&iter, UINT32_MAX);
                else if (strcmp(name, "gone") == 0)
                        row->is_gone = !BSON_ITER_HOLDS_NULL(&iter);
                row->is_sealed |= strcmp(name, "sealed") == 0;
        }
        if (row->is_gone) {
                row->stored = SLICE_NONE;
                row->size = 0;
        }
        return row->key.data;
}

int mongo_kv_open(const struct backend_session *session, struct slice key, struct slice stored,
                  bool is_sealed, uint8_t *scratch, struct slice *value, struct fault *fault)
{
        const struct seal_terms terms = mongo_seal_terms(session, fault);

        *value = stored;
        if (!stored.data)
                return fault_set_value(fault, BACKEND_E_CORRUPT, session->name, key, "is damaged");
        if (is_sealed != session->seal.on && !(session->seal.on && session->kv.is_mixed))
                return fault_set_value(fault, BACKEND_E_CORRUPT, session->name, key,
                                       is_sealed ? "is sealed" : "is not sealed");
        return is_sealed ? seal_open_kv(&terms, &session->seal, key, stored, scratch, value) : 0;
}

void mongo_scratch_free(uint8_t **scratch)
{
        wiping_free(*scratch);
}

/* ---- what is known ---- */

struct counting {
        struct backend_session *session;
        struct mongo_kv *kv;
};

static bool on_counted(void *arg, const bson_t *document)
{
        struct counting *counting = arg;
        struct mongo_kv *kv = counting->kv;
        struct mongo_kv_row row;

        mongo_kv_read(document, &counting->session->place, &row);
        kv->bytes += row.size;
        if (row.is_gone)
                mongo_kv_buried(counting->session);
        else if (row.expires_ms < kv->due_ms)
                kv->due_ms = row.expires_ms;
        return true;
}

static int learn(struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, MONGO_KV);
        MONGO_BSON filter = bson_new();
        MONGO_BSON options =
                BCON_NEW("projection", "{", "size", BCON_INT32(1), "expires", BCON_INT32(1), "gone",
                         BCON_INT32(1), "_id", BCON_INT32(0), "}", "batchSize", BCON_INT32(10000));
        struct mongo_kv *kv = &session->kv;
        struct counting counting = { session, kv };
        int result;

        kv->bytes = 0;
        kv->due_ms = INT64_MAX;
        kv->is_due_known = true;
        kv->purge_ms = INT64_MAX;
        kv->since_ms = mongo_boot_ms();
        mongo_place_append_common(filter, &session->place);
        result = mongo_read_cursor(session,
                                   mongoc_collection_find_with_opts(collection, filter, options, NULL),
                                   on_counted, &counting, fault);
        kv->is_known = !result;
        return result;
}

int mongo_kv_know(struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        return session->kv.is_known ? 0 : learn(session, client, fault);
}

/* ---- kv_due ---- */

static int find_due(struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, MONGO_KV);
        MONGO_BSON filter = bson_new();
        MONGO_BSON options = BCON_NEW("projection", "{", "expires", BCON_INT32(1), "_id", BCON_INT32(0), "}",
                                      "sort", "{", "expires", BCON_INT32(1), "}", "limit", BCON_INT64(1));
        struct mongo_kv *kv = &session->kv;
        struct counting counting = { session, &(struct mongo_kv){ .due_ms = INT64_MAX } };
        int result;

        mongo_place_append_common(filter, &session->place);
        BCON_APPEND(filter, "expires", "{", "$gt", BCON_INT64(INT64_MIN), "}");
        result = mongo_read_cursor(session,
                                   mongoc_collection_find_with_opts(collection, filter, options, NULL),
                                   on_counted, &counting, fault);
        if (!result)
                kv->due_ms = counting.kv->due_ms;
        kv->is_due_known = !result;
        return result;
}

int mongo_kv_due(struct backend_session *session, int64_t *due_ms, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(session->env, fault);
        int result = use.client ? 0 : BACKEND_E_UNAVAILABLE;

        assert(session->phase == MONGO_OWNED);
        if (!result)
                result = mongo_kv_know(session, use.client, fault);
        if (!result && !session->kv.is_due_known)
                result = find_due(session, use.client, fault);
        if (!result)
                mongo_kv_purge(session, use.client);
        *due_ms = result ? INT64_MAX : session->kv.due_ms;
        return result;
}

/* ---- reading values ---- */

struct reading {
        struct backend_session *session;
        const struct slice **keys; /* kv_get: ascending */
        const struct slice *first; /* of them as they were asked */
        size_t n;
        kv_fn found;
        void *arg;
        uint8_t *scratch;
        bool ended; /* `found` has had enough, or there was an error */
        int error;
        struct fault *fault;
};

static int by_key(const void *a, const void *b)
{
        return slice_compare(**(const struct slice *const *)a, **(const struct slice *const *)b);
}

/* Of those keys the first that is not less. */
static size_t place_of(const struct reading *reading, struct slice key)
{
        size_t low = 0, high = reading->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (slice_compare(*reading->keys[middle], key) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* False: it is the end of the reading. */
static bool report(struct reading *reading, const struct mongo_kv_row *row)
{
        struct kv_value value = { .key = row->key, .expires_ms = row->expires_ms };
        struct mongo_kv *kv = &reading->session->kv;
        size_t at = place_of(reading, row->key);

        reading->error = mongo_kv_open(reading->session, row->key, row->stored, row->is_sealed,
                                       reading->scratch, &value.value, reading->fault);
        reading->ended = reading->error;
        /* A write of a former owner may have brought it: it is deleted in time, too. */
        if (row->expires_ms < kv->due_ms)
                kv->due_ms = row->expires_ms;
        if (!reading->keys && !reading->ended)
                reading->ended = !reading->found(reading->arg, &value);
        for (; !reading->ended && at < reading->n && slice_equal(*reading->keys[at], row->key); at++) {
                value.number = (size_t)(reading->keys[at] - reading->first);
                reading->ended = !reading->found(reading->arg, &value);
        }
        return !reading->ended;
}

static bool on_document(void *arg, const bson_t *document)
{
        struct reading *reading = arg;
        struct mongo_kv_row row;

        if (!mongo_kv_read(document, &reading->session->place, &row) || row.is_gone)
                return true;
        return report(reading, &row);
}

static void append_key(bson_t *array, const char *key, const struct mongo_place *place, const void *values,
                       size_t i)
{
        mongo_place_append_key(array, key, place, *((const struct slice *const *)values)[i]);
}

/* A callback that ends the reading looks like one without memory. */
static int outcome(const struct reading *reading, int result)
{
        return reading->ended ? reading->error : result;
}

int mongo_kv_get(struct backend_session *session, const struct slice *keys, size_t n, kv_fn found, void *arg,
                 struct fault *fault)
{
        MONGO_SCRATCH scratch = wiping_malloc(KV_STORED_MAX);
        MONGO_USE use = mongo_use_begin(session->env, fault);
        struct fault why;
        struct reading reading = { .session = session,
                                   .first = keys,
                                   .n = n,
                                   .found = found,
                                   .arg = arg,
                                   .scratch = scratch,
                                   .fault = &why };
        int result;

        if (!use.client)
                return BACKEND_E_UNAVAILABLE;
        reading.keys = calloc(n + 1, sizeof(*reading.keys));
        if (!reading.keys || !scratch) {
                free(reading.keys);
                return mongo_no_memory(fault);
        }
        for (size_t i = 0; i < n; i++)
                reading.keys[i] = &keys[i];
        if (n > 1)
                qsort(reading.keys, n, sizeof(*reading.keys), by_key);
        result = outcome(&reading, mongo_find_in(session, use.client, MONGO_KV, "_id", append_key,
                                                 reading.keys, n, on_document, &reading, fault));
        if (reading.error)
                *fault = why;
        free(reading.keys);
        return result;
}

int mongo_kv_scan(struct backend_session *session, struct slice prefix, struct slice after, kv_fn found,
                  void *arg, struct fault *fault)
{
        MONGO_SCRATCH scratch = wiping_malloc(KV_STORED_MAX);
        MONGO_USE use = mongo_use_begin(session->env, fault);
        MONGO_COLLECTION collection = NULL;
        MONGO_BSON filter = bson_new();
        MONGO_BSON options =
                BCON_NEW("sort", "{", "_id", BCON_INT32(1), "}", "batchSize", BCON_INT32(MONGO_BATCH_MAX),
                         "projection", "{", "swaps", BCON_INT32(0), "}");
        struct fault why;
        struct reading reading = {
                .session = session, .found = found, .arg = arg, .scratch = scratch, .fault = &why
        };
        int result;

        if (!use.client)
                return BACKEND_E_UNAVAILABLE;
        if (!scratch)
                return mongo_no_memory(fault);
        collection = mongo_place_collection(use.client, &session->place, MONGO_KV);
        mongo_place_append_keys(filter, &session->place, prefix, after);
        BSON_APPEND_NULL(filter, "gone"); /* it is missing */
        result = outcome(&reading,
                         mongo_read_cursor(
                                 session, mongoc_collection_find_with_opts(collection, filter, options, NULL),
                                 on_document, &reading, fault));
        if (reading.error)
                *fault = why;
        return result;
}
