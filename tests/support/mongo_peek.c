/* A plain client of the driver. */

#include "mongo_peek.h"

#include <mongoc/mongoc.h>

#include "program.h"

struct mongo_peek {
        mongoc_client_t *client;
};

struct mongo_peek *mongo_peek_new(const struct mongo_server *server)
{
        struct mongo_peek *peek = calloc(1, sizeof(*peek));

        ck_assert_ptr_nonnull(peek);
        mongoc_init();
        peek->client = mongoc_client_new(server->uri);
        ck_assert_ptr_nonnull(peek->client);
        return peek;
}

void mongo_peek_end(struct mongo_peek **pointer)
{
        if (*pointer)
                mongoc_client_destroy((*pointer)->client);
        free(*pointer);
        *pointer = NULL;
}

/* Takes the filter. */
static struct mongo_peer read_peer(struct mongo_peek *peek, const char *database, bson_t *filter)
{
        mongoc_collection_t *peers = mongoc_client_get_collection(peek->client, database, "peers");
        mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(peers, filter, NULL, NULL);
        struct mongo_peer found = { 0 };
        const bson_t *document;
        bson_iter_t iter;
        bson_error_t error;

        if (mongoc_cursor_next(cursor, &document)) {
                found.exists = true;
                if (bson_iter_init_find(&iter, document, "access_hash"))
                        found.access_hash = bson_iter_as_int64(&iter);
                if (bson_iter_init_find(&iter, document, "gramd_fence"))
                        found.fence = bson_iter_as_int64(&iter);
        } else if (mongoc_cursor_error(cursor, &error)) {
                ck_abort_msg("reading past the daemons: %s", error.message);
        }
        mongoc_cursor_destroy(cursor);
        bson_destroy(filter);
        mongoc_collection_destroy(peers);
        return found;
}

struct mongo_peer mongo_peek_peer(struct mongo_peek *peek, const char *name, int64_t id)
{
        TEST_FREED char *key = test_format("%s/%016llx", name, (unsigned long long)id ^ 1ull << 63);
        struct mongo_peer found = read_peer(peek, name, BCON_NEW("_id", BCON_INT64(id)));

        return found.exists ? found : read_peer(peek, "gramd", BCON_NEW("_id", BCON_UTF8(key)));
}

void mongo_peek_command(struct mongo_peek *peek, const char *json)
{
        bson_error_t error;
        bson_t *command = bson_new_from_json((const uint8_t *)json, -1, &error);

        ck_assert_msg(command != NULL, "%s", error.message);
        ck_assert_msg(mongoc_client_command_simple(peek->client, "admin", command, NULL, NULL, &error), "%s",
                      error.message);
        bson_destroy(command);
}
