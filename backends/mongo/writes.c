/*
 * Writes of one kind on one collection, MONGO_BATCH_MAX documents in a command. The driver splits commands
 * that are too large for the server. Their order does not matter: a batch writes each document once.
 */

#include <assert.h>

#include "mongo.h"

static void start_bulk(struct mongo_writes *writes)
{
        const struct mongo_batch *batch = writes->batch;
        MONGO_COLLECTION collection = NULL;
        MONGO_BSON options = BCON_NEW("ordered", BCON_BOOL(false));

        if (writes->bulk)
                return;
        collection = mongo_place_collection(batch->client, &batch->session->place, writes->collection);
        writes->bulk = mongoc_collection_create_bulk_operation_with_opts(collection, options);
}

int mongo_writes_flush(struct mongo_writes *writes)
{
        const struct mongo_batch *batch = writes->batch;
        struct backend_session *session = batch->session;
        bson_error_t error = { 0 };
        bson_t reply;
        int64_t met;
        int result = 0;

        if (!writes->bulk)
                return 0;
        if (!mongoc_bulk_operation_execute(writes->bulk, &reply, &error)) {
                result = mongo_is_duplicate(&error)
                                 ? mongo_session_check_owner(session, batch->client, batch->fault)
                                 : mongo_fault(session->env, session->name, &error, batch->fault);
        } else {
                met = mongo_number_of(&reply, "nInserted", 0) + mongo_number_of(&reply, "nMatched", 0) +
                      mongo_number_of(&reply, "nUpserted", 0);
                if (met < writes->expected)
                        result = mongo_session_check_owner(session, batch->client, batch->fault);
        }
        bson_destroy(&reply);
        mongoc_bulk_operation_destroy(writes->bulk);
        writes->bulk = NULL;
        writes->n = 0;
        writes->expected = 0;
        return result;
}

static int added(struct mongo_writes *writes, bool done, const bson_error_t *error, bool must_match)
{
        const struct mongo_batch *batch = writes->batch;

        if (!done)
                return mongo_fault(batch->session->env, batch->session->name, error, batch->fault);
        assert(writes->n < MONGO_BATCH_MAX);
        writes->expected += must_match;
        return ++writes->n == MONGO_BATCH_MAX ? mongo_writes_flush(writes) : 0;
}

int mongo_writes_insert(struct mongo_writes *writes, const bson_t *document)
{
        bson_error_t error;

        start_bulk(writes);
        return added(writes, mongoc_bulk_operation_insert_with_opts(writes->bulk, document, NULL, &error),
                     &error, true);
}

int mongo_writes_update(struct mongo_writes *writes, const bson_t *filter, const bson_t *update,
                        bool must_match)
{
        bson_error_t error;

        start_bulk(writes);
        return added(writes,
                     mongoc_bulk_operation_update_one_with_opts(writes->bulk, filter, update, NULL, &error),
                     &error, must_match);
}

int mongo_writes_update_many(struct mongo_writes *writes, const bson_t *filter, const bson_t *update)
{
        bson_error_t error;

        start_bulk(writes);
        return added(writes,
                     mongoc_bulk_operation_update_many_with_opts(writes->bulk, filter, update, NULL, &error),
                     &error, false);
}

int mongo_writes_upsert(struct mongo_writes *writes, const bson_t *filter, const bson_t *update)
{
        MONGO_BSON options = BCON_NEW("upsert", BCON_BOOL(true));
        bson_error_t error;

        start_bulk(writes);
        return added(
                writes,
                mongoc_bulk_operation_update_one_with_opts(writes->bulk, filter, update, options, &error),
                &error, true);
}

int mongo_writes_delete(struct mongo_writes *writes, const bson_t *filter)
{
        bson_error_t error;

        start_bulk(writes);
        return added(writes, mongoc_bulk_operation_remove_one_with_opts(writes->bulk, filter, NULL, &error),
                     &error, false);
}

/* 1: all errors are of documents that exist already. */
static int only_duplicates(const bson_t *reply, size_t n, mongo_duplicate_fn on_duplicate, void *arg)
{
        bson_iter_t errors, iter, field;
        int result = 0;

        if (!bson_iter_init_find(&errors, reply, "writeErrors") || !bson_iter_recurse(&errors, &iter))
                return 0;
        while (bson_iter_next(&iter)) {
                int64_t index = -1, code = 0;

                if (bson_iter_recurse(&iter, &field) && bson_iter_find(&field, "index"))
                        mongo_read_number(&field, &index);
                if (bson_iter_recurse(&iter, &field) && bson_iter_find(&field, "code"))
                        mongo_read_number(&field, &code);
                if (code != MONGOC_ERROR_DUPLICATE_KEY || index < 0 || (size_t)index >= n)
                        return 0;
                on_duplicate(arg, (size_t)index);
                result = 1;
        }
        return result;
}

int mongo_insert_new(const struct mongo_batch *batch, const char *collection, bson_t *const *documents,
                     size_t n, mongo_duplicate_fn on_duplicate, void *arg)
{
        struct backend_session *session = batch->session;
        MONGO_WRITES writes = { .batch = batch, .collection = collection };
        bson_error_t error;
        bson_t reply;
        int result = 0;

        assert(n > 0 && n <= MONGO_BATCH_MAX);
        start_bulk(&writes);
        for (size_t i = 0; i < n; i++)
                if (!mongoc_bulk_operation_insert_with_opts(writes.bulk, documents[i], NULL, &error))
                        return mongo_fault(session->env, session->name, &error, batch->fault);
        if (!mongoc_bulk_operation_execute(writes.bulk, &reply, &error) &&
            !only_duplicates(&reply, n, on_duplicate, arg))
                result = mongo_fault(session->env, session->name, &error, batch->fault);
        bson_destroy(&reply);
        return result;
}

void mongo_writes_end(struct mongo_writes *writes)
{
        if (writes->bulk)
                mongoc_bulk_operation_destroy(writes->bulk);
}
