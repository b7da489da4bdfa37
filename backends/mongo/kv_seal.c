/*
 * Sealing, unsealing and sealing anew what is in the key-value area, some documents at a time. Each says how
 * it is stored; while a change is under way MONGO_KV_MIXED of the session's document says that both kinds
 * are there. A change that was interrupted goes on when it is asked for again, or when the session is opened.
 */

#include <string.h>

#include "../wiping.h"
#include "keys.h"
#include "kv.h"
#include "sealed.h"

enum { CONVERTED_AT_ONCE = 50 };

struct converting {
        const struct mongo_batch *batch;
        struct mongo_writes *writes;
        const struct seal *as; /* how the values are to be stored */
        uint8_t *opened, *sealed;
        size_t n;
        int error;
};

static int convert(struct converting *converting, const struct mongo_kv_row *row)
{
        const struct mongo_batch *batch = converting->batch;
        struct backend_session *session = batch->session;
        MONGO_BSON filter = bson_new();
        MONGO_BSON update = bson_new();
        MONGO_BSON set = bson_new();
        MONGO_BSON unset = bson_new();
        struct slice value;
        int result = mongo_kv_open(session, row->key, row->stored, row->is_sealed, converting->opened, &value,
                                   batch->fault);

        if (!result)
                result = mongo_kv_append(session, converting->as, row->key, value, converting->sealed, set,
                                         unset, batch->fault);
        if (result)
                return result;
        BSON_APPEND_INT64(set, MONGO_FENCE, session->fence);
        mongo_place_append_key(filter, "_id", &session->place, row->key);
        mongo_append_fence(filter, session->fence);
        BSON_APPEND_DOCUMENT(update, "$set", set);
        BSON_APPEND_DOCUMENT(update, "$unset", unset);
        converting->n++;
        return mongo_writes_update(converting->writes, filter, update, true);
}

/* Of a document that is no key's. */
static int refuse_id(const struct mongo_batch *batch, const bson_t *document)
{
        char id[256];

        mongo_copy_text(document, "_id", id, sizeof(id));
        return fault_session(batch->fault, BACKEND_E_CORRUPT, batch->session->name,
                             "its collection %s has a document whose _id is not gramd's: %s", MONGO_KV,
                             id[0] ? id : "long, or no text");
}

static bool on_document(void *arg, const bson_t *document)
{
        struct converting *converting = arg;
        const struct mongo_batch *batch = converting->batch;
        struct mongo_kv_row row;

        if (mongo_kv_read(document, &batch->session->place, &row))
                converting->error = convert(converting, &row);
        else
                converting->error = refuse_id(batch, document);
        return !converting->error;
}

/* Those that a former key has sealed. */
static void append_former(bson_t *filter, const uint8_t current[KEY_ID_BYTES])
{
        char text[KEY_ID_TEXT_BYTES];

        key_id_text(current, text);
        BCON_APPEND(filter, "sealed_by", "{", "$exists", BCON_BOOL(true), "$ne", BCON_UTF8(text), "}");
}

static bson_t *those(const struct backend_session *session, enum sealing sealing)
{
        bson_t *filter = bson_new();
        uint8_t current[KEY_ID_BYTES];

        mongo_place_append_common(filter, &session->place);
        BSON_APPEND_NULL(filter, "gone"); /* it is missing */
        if (sealing == SEALING_ON)
                BCON_APPEND(filter, "value", "{", "$exists", BCON_BOOL(true), "}");
        else if (sealing == SEALING_OFF)
                BCON_APPEND(filter, "sealed", "{", "$exists", BCON_BOOL(true), "}");
        else if (keyring_id(session->env->config->keyring, 0, current))
                append_former(filter, current);
        return filter;
}

int mongo_kv_take(const struct mongo_batch *batch)
{
        struct backend_session *session = batch->session;
        MONGO_COLLECTION collection = mongo_place_collection(batch->client, &session->place, MONGO_KV);
        MONGO_BSON filter = bson_new();
        MONGO_BSON update = BCON_NEW("$set", "{", MONGO_FENCE, BCON_INT64(session->fence), "}");
        bson_error_t error;

        mongo_place_append_common(filter, &session->place);
        BCON_APPEND(filter, MONGO_FENCE, "{", "$lt", BCON_INT64(session->fence), "}");
        BSON_APPEND_NULL(filter, "gone"); /* the time of a tombstone goes by the clock of its writer */
        if (mongoc_collection_update_many(collection, filter, update, NULL, NULL, &error))
                return 0;
        return mongo_fault(session->env, session->name, &error, batch->fault);
}

/* Those that were converted are not found again: all are sealed with one key. */
int mongo_kv_convert(const struct mongo_batch *batch, enum sealing sealing)
{
        struct backend_session *session = batch->session;
        MONGO_COLLECTION collection = mongo_place_collection(batch->client, &session->place, MONGO_KV);
        MONGO_SCRATCH opened = wiping_malloc(KV_STORED_MAX);
        MONGO_SCRATCH sealed = wiping_malloc(KV_STORED_MAX);
        MONGO_BSON filter = those(session, sealing);
        MONGO_BSON options = BCON_NEW("limit", BCON_INT64(CONVERTED_AT_ONCE));
        const struct seal off = { 0 };
        int result = opened && sealed ? 0 : mongo_no_memory(batch->fault);
        struct converting converting = { .batch = batch,
                                         .as = sealing == SEALING_OFF ? &off : &session->seal,
                                         .opened = opened,
                                         .sealed = sealed,
                                         .n = 1 };
        uint8_t asked[KEY_ID_BYTES] = { 0 };

        keyring_id(session->env->config->keyring, 0, asked);
        while (!result && converting.n > 0) {
                MONGO_WRITES writes = { .batch = batch, .collection = MONGO_KV };
                struct fault ignored;

                converting.writes = &writes;
                converting.n = 0;
                result = mongo_read_cursor(
                        session, mongoc_collection_find_with_opts(collection, filter, options, NULL),
                        on_document, &converting, &ignored);
                if (result && !converting.error)
                        *batch->fault = ignored;
                if (!result && sealing != SEALING_OFF)
                        result = mongo_keys_same(session, asked, batch->fault);
                if (!result)
                        result = mongo_writes_flush(&writes);
                result = converting.error ? converting.error : result;
        }
        return result;
}

struct former {
        char *text;
        bool is_there;
};

static bool on_former(void *arg, const bson_t *document)
{
        struct former *former = arg;
        char text[KEY_ID_TEXT_BYTES];

        mongo_copy_text(document, "sealed_by", text, sizeof(text));
        if (strspn(text, "0123456789abcdef") == sizeof(text) - 1)
                memcpy(former->text, text, sizeof(text));
        former->is_there = true;
        return true;
}

int mongo_kv_former(struct backend_session *session, mongoc_client_t *client, char text[KEY_ID_TEXT_BYTES],
                    struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, MONGO_KV);
        MONGO_BSON filter = bson_new();
        MONGO_BSON options =
                BCON_NEW("limit", BCON_INT64(1), "projection", "{", "sealed_by", BCON_INT32(1), "}");
        struct former former = { .text = text };
        uint8_t current[KEY_ID_BYTES];
        int result;

        if (!session->seal.on || !keyring_id(session->env->config->keyring, 0, current) ||
            memcmp(current, session->kv.values_by, sizeof(current)) == 0)
                return 0;
        mongo_place_append_common(filter, &session->place);
        append_former(filter, current);
        result = mongo_read_cursor(session,
                                   mongoc_collection_find_with_opts(collection, filter, options, NULL),
                                   on_former, &former, fault);
        if (!result && !former.is_there)
                memcpy(session->kv.values_by, current, sizeof(current));
        return result;
}
