/* Counts of a session, and the list of databases that are sessions. */

#include <stdio.h>
#include <stdlib.h>

#include "mongo.h"

/* ---- counts ---- */

static int count_of(struct backend_session *session, mongoc_client_t *client, const char *name,
                    int64_t *count, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, name);
        bson_error_t error;

        *count = mongoc_collection_estimated_document_count(collection, NULL, NULL, NULL, &error);
        return *count >= 0 ? 0 : mongo_fault(session->env, session->name, &error, fault);
}

int mongo_count(struct backend_session *session, struct counts *counts, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(session->env, fault);
        MONGO_BSON command = BCON_NEW("dbStats", BCON_INT32(1));
        mongoc_database_t *database;
        bson_error_t error;
        bson_t reply;
        int result;

        if (!use.client)
                return BACKEND_E_UNAVAILABLE;
        result = count_of(session, use.client, "peers", &counts->peers, fault);
        if (!result)
                result = count_of(session, use.client, "usernames", &counts->usernames, fault);
        if (result)
                return result;
        database = mongo_place_database(use.client, &session->place);
        if (!mongoc_database_read_command_with_opts(database, command, NULL, NULL, &reply, &error))
                result = mongo_fault(session->env, session->name, &error, fault);
        counts->bytes = mongo_number_of(&reply, "dataSize", 0) + mongo_number_of(&reply, "indexSize", 0);
        bson_destroy(&reply);
        mongoc_database_destroy(database);
        return result;
}

/* ---- the list ---- */

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
        if (!name.data || name.len <= strlen(prefix) || memcmp(name.data, prefix, strlen(prefix)) != 0)
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
        MONGO_BSON options = BCON_NEW("projection", "{", "date", BCON_INT32(1), "}");
        mongoc_cursor_t *cursor;
        const bson_t *document;
        bson_error_t error;
        int result = 1;

        snprintf(place.key, sizeof(place.key), "%s%s", env->prefix, listed->name);
        collection = mongo_place_collection(client, &place, "session");
        mongo_place_append_session(filter, &place);
        cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
        if (mongoc_cursor_next(cursor, &document)) {
                *stored = (struct stored_session){ slice_of(listed->name), listed->bytes,
                                                   mongo_number_of(document, "date", 0) };
                result = 0;
        } else if (mongoc_cursor_error(cursor, &error)) {
                result = mongo_fault(env, listed->name, &error, fault);
        }
        mongoc_cursor_destroy(cursor);
        return result;
}

int mongo_list(struct backend_env *env, struct slice after, stored_fn found, void *arg, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(env, fault);
        struct listing listing = { 0 };
        int result;

        if (!use.client)
                return BACKEND_E_UNAVAILABLE;
        result = list_databases(env, use.client, after, &listing, fault);
        for (size_t i = 0; result >= 0 && i < listing.n; i++) {
                struct stored_session stored;

                result = stored_of(env, use.client, &listing.items[i], &stored, fault);
                if (result == 0 && !found(arg, &stored))
                        break;
        }
        free(listing.items);
        return result < 0 ? result : 0;
}
