/* Counts of a session, and the list of stored sessions. */

#include <stdio.h>
#include <stdlib.h>

#include "kv.h"
#include "sealed.h"

/* ---- counts ---- */

/* 0: runs a command on the session's database; `reply` is to be destroyed. */
static int ask(struct backend_session *session, mongoc_client_t *client, const bson_t *command, bson_t *reply,
               struct fault *fault)
{
        mongoc_database_t *database = mongo_place_database(client, &session->place);
        bson_error_t error;
        bool done = mongoc_database_read_command_with_opts(database, command, NULL, NULL, reply, &error);

        mongoc_database_destroy(database);
        if (done)
                return 0;
        bson_destroy(reply);
        return mongo_fault(session->env, session->name, &error, fault);
}

/* The number of all documents is stored. Those of one session are counted by the entries of an index. */
static int count_rows(struct backend_session *session, mongoc_client_t *client, const char *name,
                      int64_t *count, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, name);
        MONGO_BSON filter = bson_new();
        bson_error_t error;

        mongo_place_append_common(filter, &session->place);
        *count = session->place.layout == MONGO_SHARED
                         ? mongoc_collection_count_documents(collection, filter, NULL, NULL, NULL, &error)
                         : mongoc_collection_estimated_document_count(collection, NULL, NULL, NULL, &error);
        return *count >= 0 ? 0 : mongo_fault(session->env, session->name, &error, fault);
}

/* Of a collection that the session shares: so many rows of average size, with their part of the indexes. */
static int add_share(struct backend_session *session, mongoc_client_t *client, const char *name, int64_t rows,
                     int64_t *bytes, struct fault *fault)
{
        MONGO_BSON command = BCON_NEW("collStats", BCON_UTF8(name));
        int64_t all;
        bson_t reply;
        int result = ask(session, client, command, &reply, fault);

        if (result)
                return result;
        all = mongo_number_of(&reply, "count", 0);
        if (all > 0)
                *bytes += (int64_t)((double)(mongo_number_of(&reply, "size", 0) +
                                             mongo_number_of(&reply, "totalIndexSize", 0)) *
                                    (double)rows / (double)all);
        bson_destroy(&reply);
        return 0;
}

static int shared_bytes(struct backend_session *session, mongoc_client_t *client, struct counts *counts,
                        struct fault *fault)
{
        int64_t values;
        int result = add_share(session, client, "peers", counts->peers, &counts->bytes, fault);

        if (!result)
                result = add_share(session, client, "usernames", counts->usernames, &counts->bytes, fault);
        if (!result)
                result = count_rows(session, client, MONGO_KV, &values, fault);
        if (!result)
                result = add_share(session, client, MONGO_KV, values, &counts->bytes, fault);
        return result;
}

static int own_bytes(struct backend_session *session, mongoc_client_t *client, struct counts *counts,
                     struct fault *fault)
{
        MONGO_BSON command = BCON_NEW("dbStats", BCON_INT32(1));
        bson_t reply;
        int result = ask(session, client, command, &reply, fault);

        if (result)
                return result;
        counts->bytes = mongo_number_of(&reply, "dataSize", 0) + mongo_number_of(&reply, "indexSize", 0);
        bson_destroy(&reply);
        return 0;
}

int mongo_count(struct backend_session *session, struct counts *counts, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(session->env, fault);
        int result;

        if (!use.client)
                return BACKEND_E_UNAVAILABLE;
        counts->bytes = 0;
        mongo_seal_describe(session, counts->sealed);
        result = mongo_kv_former(session, use.client, counts->sealed, fault);
        if (!result)
                result = count_rows(session, use.client, "peers", &counts->peers, fault);
        if (!result)
                result = count_rows(session, use.client, "usernames", &counts->usernames, fault);
        if (result)
                return result;
        return session->place.layout == MONGO_SHARED ? shared_bytes(session, use.client, counts, fault)
                                                     : own_bytes(session, use.client, counts, fault);
}

/* ---- the own layout: databases ---- */

struct listed {
        char name[MONGO_NAME_MAX + 1]; /* without the prefix */
        int64_t bytes;
};

struct listing {
        struct listed *items;
        size_t n, cap;
};

static int by_name(const void *a, const void *b)
{
        return strcmp(((const struct listed *)a)->name, ((const struct listed *)b)->name);
}

static bool add_database(struct listing *listing, const bson_iter_t *iter, const char *prefix,
                         struct slice after)
{
        bson_iter_t field;
        struct listed listed = { 0 };
        struct slice name = SLICE_NONE;

        if (bson_iter_recurse(iter, &field) && bson_iter_find(&field, "name"))
                name = mongo_read_text(&field, MONGO_NAME_MAX);
        if (!name.data || slice_is(name, MONGO_OWN_DATABASE) || name.len <= strlen(prefix) ||
            memcmp(name.data, prefix, strlen(prefix)) != 0)
                return true;
        name = (struct slice){ name.data + strlen(prefix), name.len - strlen(prefix) };
        if (after.data && slice_compare(name, after) <= 0)
                return true;
        memcpy(listed.name, name.data, name.len);
        if (bson_iter_recurse(iter, &field) && bson_iter_find(&field, "sizeOnDisk"))
                mongo_read_number(&field, &listed.bytes);
        if (listing->n == listing->cap) {
                size_t cap = listing->cap ? listing->cap * 2 : 64;
                struct listed *grown = reallocarray(listing->items, cap, sizeof(*grown));

                if (!grown)
                        return false;
                listing->items = grown;
                listing->cap = cap;
        }
        listing->items[listing->n++] = listed;
        return true;
}

static int list_databases(struct backend_env *env, mongoc_client_t *client, struct slice after,
                          struct listing *listing, struct fault *fault)
{
        MONGO_BSON command = BCON_NEW("listDatabases", BCON_INT32(1));
        const char *prefix = env->prefix;
        bson_error_t error;
        bson_iter_t iter, database;
        bson_t reply;
        int result = 0;

        if (!mongoc_client_read_command_with_opts(client, "admin", command, NULL, NULL, &reply, &error))
                result = mongo_fault(env, NULL, &error, fault);
        if (!result && bson_iter_init_find(&iter, &reply, "databases") && bson_iter_recurse(&iter, &database))
                while (!result && bson_iter_next(&database))
                        if (!add_database(listing, &database, prefix, after))
                                result = mongo_no_memory(fault);
        bson_destroy(&reply);
        if (listing->n > 1)
                qsort(listing->items, listing->n, sizeof(*listing->items), by_name);
        return result;
}

/* A database is a session if it has the session's document. 1: it is none. */
static int stored_of(struct backend_env *env, mongoc_client_t *client, const struct listed *listed,
                     struct stored_session *stored, struct fault *fault)
{
        struct mongo_place place;
        MONGO_COLLECTION collection = NULL;
        MONGO_BSON filter = bson_new();
        MONGO_BSON options =
                BCON_NEW("projection", "{", "date", BCON_INT32(1), MONGO_USER, BCON_INT32(1), "}");
        mongoc_cursor_t *cursor;
        const bson_t *document;
        bson_error_t error;
        int result = 1;

        mongo_place_init(&place, MONGO_OWN, env->prefix, slice_of(listed->name));
        collection = mongo_place_collection(client, &place, "session");
        mongo_place_append_session(filter, &place);
        cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
        if (mongoc_cursor_next(cursor, &document)) {
                *stored =
                        (struct stored_session){ slice_of(listed->name), listed->bytes,
                                                 mongo_number_of(document, "date", 0), .owner_known = true };
                mongo_user_of(document, stored->owner);
                result = 0;
        } else if (mongoc_cursor_error(cursor, &error)) {
                result = mongo_fault(env, listed->name, &error, fault);
        }
        mongoc_cursor_destroy(cursor);
        return result;
}

/* ---- the shared layout: documents ---- */

/* The documents' ids are the keys. MongoDB sorts texts byte by byte. */
static mongoc_cursor_t *find_shared(struct backend_env *env, mongoc_client_t *client, struct slice after)
{
        struct mongo_place place;
        MONGO_COLLECTION collection = NULL;
        MONGO_BSON filter = bson_new();
        MONGO_BSON options =
                BCON_NEW("sort", "{", "_id", BCON_INT32(1), "}", "projection", "{", "date", BCON_INT32(1),
                         MONGO_USER, BCON_INT32(1), "}", "batchSize", BCON_INT32(1001));
        bson_t condition;

        mongo_place_init(&place, MONGO_SHARED, env->prefix, after);
        collection = mongo_place_collection(client, &place, "session");
        bson_append_document_begin(filter, "_id", -1, &condition);
        BSON_APPEND_UTF8(&condition, after.data ? "$gt" : "$gte", place.key);
        bson_append_document_end(filter, &condition);
        return mongoc_collection_find_with_opts(collection, filter, options, NULL);
}

/* The next session, borrowed from the cursor. 1: there is none. */
static int next_shared(struct backend_env *env, mongoc_cursor_t *cursor, struct stored_session *stored,
                       struct fault *fault)
{
        size_t skipped = strlen(env->prefix);
        const bson_t *document;
        bson_error_t error;
        bson_iter_t iter;

        while (mongoc_cursor_next(cursor, &document)) {
                struct slice key = SLICE_NONE;

                if (bson_iter_init_find(&iter, document, "_id"))
                        key = mongo_read_text(&iter, MONGO_KEY_MAX);
                if (!key.data)
                        continue;
                if (key.len < skipped || memcmp(key.data, env->prefix, skipped) != 0)
                        return 1; /* beyond the keys with the prefix */
                *stored = (struct stored_session){ { key.data + skipped, key.len - skipped },
                                                   0,
                                                   mongo_number_of(document, "date", 0),
                                                   .owner_known = true };
                mongo_user_of(document, stored->owner);
                if (session_name_valid(stored->name))
                        return 0;
        }
        return mongoc_cursor_error(cursor, &error) ? mongo_fault(env, NULL, &error, fault) : 1;
}

/* ---- both ---- */

struct both {
        struct backend_env *env;
        mongoc_client_t *client;
        struct listing own;
        size_t i; /* the next of `own` */
        mongoc_cursor_t *shared;
};

/* The next session of the own layout. 1: there is none. */
static int next_own(struct both *both, struct stored_session *stored, struct fault *fault)
{
        int result = 1;

        while (result == 1 && both->i < both->own.n)
                result = stored_of(both->env, both->client, &both->own.items[both->i++], stored, fault);
        return result;
}

/* Reports the sessions of both in their order. */
static int merge(struct both *both, stored_fn found, void *arg, struct fault *fault)
{
        struct stored_session own, shared;
        int own_end = next_own(both, &own, fault);
        int shared_end = own_end < 0 ? own_end : next_shared(both->env, both->shared, &shared, fault);

        while (own_end >= 0 && shared_end >= 0 && (own_end == 0 || shared_end == 0)) {
                int order = own_end ? 1 : shared_end ? -1 : slice_compare(own.name, shared.name);

                /* One that is in both is reported once. */
                if (!found(arg, order <= 0 ? &own : &shared))
                        return 0;
                if (order <= 0)
                        own_end = next_own(both, &own, fault);
                if (order >= 0 && own_end >= 0)
                        shared_end = next_shared(both->env, both->shared, &shared, fault);
        }
        return own_end < 0 ? own_end : shared_end < 0 ? shared_end : 0;
}

int mongo_list(struct backend_env *env, struct slice after, stored_fn found, void *arg, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(env, fault);
        struct both both = { .env = env, .client = use.client };
        int result;

        if (!use.client)
                return BACKEND_E_UNAVAILABLE;
        result = list_databases(env, use.client, after, &both.own, fault);
        if (!result) {
                both.shared = find_shared(env, use.client, after);
                result = merge(&both, found, arg, fault);
                mongoc_cursor_destroy(both.shared);
        }
        free(both.own.items);
        return result;
}
