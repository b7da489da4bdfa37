/* Writing the key-value area: values, and the tombstones of those that were deleted or have expired. */

#include <string.h>

#include "../wiping.h"
#include "instance.h"
#include "kv.h"
#include "sealed.h"

/* ---- documents ---- */

static void append_unset(bson_t *unset, const char *key)
{
        BSON_APPEND_UTF8(unset, key, "");
}

static void append_tombstone(bson_t *set, bson_t *unset)
{
        BSON_APPEND_INT64(set, "gone", mongo_boot_ms());
        append_unset(unset, "value");
        append_unset(unset, "sealed");
        append_unset(unset, "sealed_by");
        append_unset(unset, "size");
        append_unset(unset, "expires");
}

static void append_binary(bson_t *document, const char *key, struct slice bytes)
{
        bson_append_binary(document, key, -1, BSON_SUBTYPE_BINARY, (const uint8_t *)bytes.data,
                           (uint32_t)bytes.len);
}

int mongo_kv_append(struct backend_session *session, const struct seal *seal, struct slice key,
                    struct slice value, uint8_t *scratch, bson_t *set, bson_t *unset, struct fault *fault)
{
        const struct seal_terms terms = mongo_seal_terms(session, fault);
        uint8_t by[KEY_ID_BYTES];
        char text[KEY_ID_TEXT_BYTES];
        struct slice sealed;
        int result;

        if (!seal->on) {
                append_binary(set, "value", value);
                append_unset(unset, "sealed");
                append_unset(unset, "sealed_by");
                return 0;
        }
        result = seal_close_kv(&terms, seal, key, value, scratch, &sealed);
        if (result)
                return result;
        sealed_key_id(scratch, sealed.len, by);
        if (memcmp(by, session->kv.values_by, sizeof(by)) != 0)
                memset(session->kv.values_by, 0, sizeof(by));
        key_id_text(by, text);
        append_binary(set, "sealed", sealed);
        BSON_APPEND_UTF8(set, "sealed_by", text);
        append_unset(unset, "value");
        return 0;
}

static int append_item(struct backend_session *session, const struct mongo_kv_item *item, uint8_t *scratch,
                       bson_t *set, bson_t *unset, struct fault *fault)
{
        if (item->is_compared && item->swaps.len > 0)
                append_binary(set, "swaps",
                              (struct slice){ (const char *)item->swaps.bytes, item->swaps.len });
        if (!item->value.data) {
                append_tombstone(set, unset);
                return 0;
        }
        append_unset(unset, "gone");
        BSON_APPEND_INT64(set, "size", item->size);
        if (item->expires_ms == INT64_MAX)
                append_unset(unset, "expires");
        else
                BSON_APPEND_INT64(set, "expires", item->expires_ms);
        return mongo_kv_append(session, &session->seal, item->key, item->value, scratch, set, unset, fault);
}

static int write_item(struct mongo_writes *writes, const struct mongo_kv_item *item, uint8_t *scratch)
{
        const struct mongo_batch *batch = writes->batch;
        struct backend_session *session = batch->session;
        MONGO_BSON filter = bson_new();
        MONGO_BSON update = bson_new();
        MONGO_BSON set = bson_new();
        MONGO_BSON unset = bson_new();
        int result = item->is_written ? append_item(session, item, scratch, set, unset, batch->fault) : 0;

        if (result)
                return result;
        mongo_place_append_key(filter, "_id", &session->place, item->key);
        mongo_append_fence(filter, session->fence);
        BSON_APPEND_INT64(set, MONGO_FENCE, session->fence);
        BSON_APPEND_DOCUMENT(update, "$set", set);
        if (!item->is_written)
                return mongo_writes_update(writes, filter, update, true);
        BSON_APPEND_DOCUMENT(update, "$unset", unset);
        mongo_place_append_on_insert(update, &session->place);
        return mongo_writes_upsert(writes, filter, update);
}

/* What is known follows what was written. */
static void note(struct mongo_kv *kv, const struct mongo_kv_item *item)
{
        if (item->expires_before_ms == kv->due_ms && item->expires_ms != kv->due_ms)
                kv->is_due_known = false;
        if (item->expires_ms < kv->due_ms)
                kv->due_ms = item->expires_ms;
}

int mongo_kv_write(const struct mongo_kv_plan *plan)
{
        MONGO_SCRATCH scratch = wiping_malloc(KV_STORED_MAX);
        const struct mongo_batch *batch = plan->batch;
        struct backend_session *session = batch->session;
        struct mongo_kv *kv = &session->kv;
        MONGO_WRITES writes = { .batch = batch, .collection = MONGO_KV };
        int result = scratch ? 0 : mongo_no_memory(batch->fault);

        for (size_t i = 0; !result && i < plan->n; i++) {
                const struct mongo_kv_item *item = &plan->items[i];

                if (!item->is_written && !item->is_kept)
                        continue;
                if (item->expires_ms != INT64_MAX && !kv->is_indexed) {
                        result = mongo_make_kv_index(session, batch->client, batch->fault);
                        kv->is_indexed = !result;
                }
                if (!result)
                        result = write_item(&writes, item, scratch);
                note(kv, item);
                if (item->is_written && !item->value.data)
                        mongo_kv_buried(session);
        }
        return result ? result : mongo_writes_flush(&writes);
}

/* ---- what has expired ---- */

struct expiring {
        const struct mongo_place *place;
        int64_t bytes;
};

static bool on_expired(void *arg, const bson_t *document)
{
        struct expiring *expiring = arg;
        struct mongo_kv_row row;

        mongo_kv_read(document, expiring->place, &row);
        expiring->bytes += row.size;
        return true;
}

static bson_t *expired(const struct backend_session *session, int64_t now_ms)
{
        bson_t *filter = bson_new();

        mongo_place_append_common(filter, &session->place);
        BCON_APPEND(filter, "expires", "{", "$lte", BCON_INT64(now_ms), "}");
        return filter;
}

static int expire(const struct mongo_batch *batch, int64_t now_ms)
{
        struct backend_session *session = batch->session;
        MONGO_COLLECTION collection = mongo_place_collection(batch->client, &session->place, MONGO_KV);
        MONGO_BSON filter = expired(session, now_ms);
        MONGO_BSON options = BCON_NEW("projection", "{", "size", BCON_INT32(1), "}");
        MONGO_BSON update = bson_new();
        MONGO_BSON set = bson_new();
        MONGO_BSON unset = bson_new();
        struct expiring expiring = { .place = &session->place };
        bson_error_t error;
        int result;

        mongo_append_fence(filter, session->fence);
        result = mongo_read_cursor(session,
                                   mongoc_collection_find_with_opts(collection, filter, options, NULL),
                                   on_expired, &expiring, batch->fault);
        if (result)
                return result;
        BSON_APPEND_INT64(set, MONGO_FENCE, session->fence);
        append_tombstone(set, unset);
        BSON_APPEND_DOCUMENT(update, "$set", set);
        BSON_APPEND_DOCUMENT(update, "$unset", unset);
        if (!mongoc_collection_update_many(collection, filter, update, NULL, NULL, &error))
                return mongo_fault(session->env, session->name, &error, batch->fault);
        session->kv.bytes -= expiring.bytes;
        session->kv.is_due_known = false;
        mongo_kv_buried(session);
        return 0;
}

int mongo_kv_expire(const struct mongo_batch *batch, int64_t now_ms)
{
        return batch->session->kv.due_ms > now_ms ? 0 : expire(batch, now_ms);
}

/* ---- tombstones ---- */

/* The last owner may have had a longer term. */
static int64_t two_terms_ms(const struct backend_session *session)
{
        int64_t own_ms = session->env->term_ms, former_ms = session->tried_from.term_ms;

        return 2 * (own_ms > former_ms ? own_ms : former_ms);
}

void mongo_kv_buried(struct backend_session *session)
{
        struct mongo_kv *kv = &session->kv;
        int64_t due_ms;

        kv->buried_ms = mongo_boot_ms();
        due_ms = kv->buried_ms + two_terms_ms(session);
        if (due_ms < kv->purge_ms)
                kv->purge_ms = due_ms;
}

/*
 * Two clocks are never compared: those with the session's fence have been written by this start of the
 * daemon. The others count from when they were found.
 */
void mongo_kv_purge(struct backend_session *session, mongoc_client_t *client)
{
        MONGO_COLLECTION collection = NULL;
        MONGO_BSON own = bson_new();
        MONGO_BSON former = bson_new();
        struct mongo_kv *kv = &session->kv;
        int64_t now = mongo_boot_ms(), before = now - two_terms_ms(session);
        bson_error_t error;

        if (now < kv->purge_ms)
                return;
        collection = mongo_place_collection(client, &session->place, MONGO_KV);
        mongo_place_append_common(own, &session->place);
        BCON_APPEND(own, MONGO_FENCE, BCON_INT64(session->fence), "gone", "{", "$lte", BCON_INT64(before),
                    "}");
        mongoc_collection_delete_many(collection, own, NULL, NULL, &error);
        mongo_place_append_common(former, &session->place);
        BCON_APPEND(former, MONGO_FENCE, "{", "$lt", BCON_INT64(session->fence), "}", "gone", "{", "$exists",
                    BCON_BOOL(true), "}");
        if (kv->since_ms <= before)
                mongoc_collection_delete_many(collection, former, NULL, NULL, &error);
        kv->purge_ms = kv->buried_ms > before ? kv->buried_ms + two_terms_ms(session) : INT64_MAX;
}
