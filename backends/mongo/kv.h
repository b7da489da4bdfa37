#ifndef GRAMD_BACKENDS_MONGO_KV_H
#define GRAMD_BACKENDS_MONGO_KV_H

/*
 * The key-value area: the collection MONGO_KV. A document has
 *
 *     _id          the key: layout.h
 *     gramd_fence  of its writer
 *     value        or `sealed`, and in `sealed_by` the id of the key that has sealed it
 *     size         bytes of key and value
 *     expires      unix milliseconds; missing: never
 *     swaps        the last swaps that were done: kv_swaps.c
 *     gone         instead of value, size and expires: it is a tombstone since then, by the CLOCK_BOOTTIME
 *                  of its writer
 *
 * A tombstone is what a deletion leaves. Without it, an insert that a former owner has sent and that lands
 * late would bring the value back. It has been long enough after two terms: OWNERSHIP.md.
 */

#include "mongo.h"

enum { KV_STORED_MAX = KV_VALUE_MAX_BYTES + SEALED_EXTRA_BYTES };

/* What a document says. Slices borrow from it. */
struct mongo_kv_row {
        char bytes[KV_KEY_MAX_BYTES]; /* of the key */
        struct slice key;
        bool is_gone;        /* there is no value */
        struct slice stored; /* absent: there is none, or it is damaged */
        bool is_sealed;
        int64_t size; /* 0: there is no value */
        int64_t expires_ms;
        int64_t fence;
        struct slice swaps; /* absent: none */
};

/* False: it is no document of the area. */
bool mongo_kv_read(const bson_t *document, const struct mongo_place *place, struct mongo_kv_row *row);

/*
 * The value of a key that is not gone. Opens what is stored, if it is sealed, into `scratch`, which has
 * KV_STORED_MAX bytes.
 */
int mongo_kv_open(const struct backend_session *session, struct slice key, struct slice stored,
                  bool is_sealed, uint8_t *scratch, struct slice *value, struct fault *fault);

/* Memory that is wiped when its scope ends. NULL: there was none. */
#define MONGO_SCRATCH __attribute__((cleanup(mongo_scratch_free))) uint8_t *
void mongo_scratch_free(uint8_t **scratch);

/* Reads what there is, if it is not known. */
int mongo_kv_know(struct backend_session *session, mongoc_client_t *client, struct fault *fault);
/* A tombstone was written or found. */
void mongo_kv_buried(struct backend_session *session);

int mongo_kv_get(struct backend_session *session, const struct slice *keys, size_t n, kv_fn found, void *arg,
                 struct fault *fault);
int mongo_kv_scan(struct backend_session *session, struct slice prefix, struct slice after, kv_fn found,
                  void *arg, struct fault *fault);
int mongo_kv_due(struct backend_session *session, int64_t *due_ms, struct fault *fault);

/* ---- kv_swaps.c: the swaps of one key ---- */

struct mongo_kv_swaps {
        uint8_t *bytes; /* malloc'ed */
        size_t len;
};

bool mongo_kv_swaps_copy(struct mongo_kv_swaps *swaps, struct slice stored); /* false: no memory */
bool mongo_kv_swaps_has(const struct mongo_kv_swaps *swaps, const struct kv_swap *swap);
bool mongo_kv_swaps_add(struct mongo_kv_swaps *swaps, const struct kv_swap *swap); /* false: no memory */

/* ---- kv_plan.c ---- */

/* A key of a batch: as it is stored, then as the batch leaves it. */
struct mongo_kv_item {
        struct slice key;
        bool is_compared; /* by a swap: its stored value is read */
        bool is_there;    /* it has a value */
        uint8_t *stored;  /* wiped when it is freed. NULL: it is damaged, or was not read */
        size_t stored_len;
        bool is_sealed;
        int64_t size_before, size; /* of key and value; 0: there is no value */
        int64_t expires_before_ms, expires_ms;
        int64_t fence_before;
        struct slice value; /* if it is written; absent: it is deleted */
        bool is_written;
        bool is_kept; /* it stays as it is, and gets the session's fence */
        struct mongo_kv_swaps swaps;
};

struct mongo_kv_plan {
        const struct mongo_batch *batch;
        struct mongo_kv_item *items; /* ascending by key */
        size_t n;
        int64_t grown; /* by how many bytes the batch makes the area larger */
};

/* The part of a batch that changes the area. */
int mongo_kv_apply(const struct mongo_batch *batch);

/* ---- kv_write.c ---- */

int mongo_kv_write(const struct mongo_kv_plan *plan);
/* Appends to `set` and `unset` what makes a document this value, or a tombstone (absent). */
int mongo_kv_append(struct backend_session *session, const struct seal *seal, struct slice key,
                    struct slice value, uint8_t *scratch, bson_t *set, bson_t *unset, struct fault *fault);
/* Deletes what has expired. */
int mongo_kv_expire(const struct mongo_batch *batch, int64_t now_ms);
/* Deletes the tombstones that have been long enough. What fails is tried again. */
void mongo_kv_purge(struct backend_session *session, mongoc_client_t *client);

/* ---- kv_seal.c ---- */

/* Seals all values, opens them, or seals anew those that a former key has sealed. */
int mongo_kv_convert(const struct mongo_batch *batch, enum sealing sealing);
/* Gives all values the session's fence: a former owner's conversion that lands late matches none of them. */
int mongo_kv_take(const struct mongo_batch *batch);
/* The id of a former key that has sealed a value, as text; `text` stays if there is none. */
int mongo_kv_former(struct backend_session *session, mongoc_client_t *client, char text[KEY_ID_TEXT_BYTES],
                    struct fault *fault);

#endif
