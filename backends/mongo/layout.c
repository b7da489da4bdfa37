/* The layout of Pyrofork's MongoStorage: a session is a database. */

#include "layout.h"

#include "mongo.h"

mongoc_database_t *mongo_place_database(mongoc_client_t *client, const struct mongo_place *place)
{
        return mongoc_client_get_database(client, place->key);
}

mongoc_collection_t *mongo_place_collection(mongoc_client_t *client, const struct mongo_place *place,
                                            const char *name)
{
        return mongoc_client_get_collection(client, place->key, name);
}

/* ---- ids ---- */

void mongo_place_append_session(bson_t *document, const struct mongo_place *place)
{
        (void)place;
        BSON_APPEND_INT32(document, "_id", 0);
}

void mongo_place_append_number(bson_t *document, const char *key, const struct mongo_place *place, int64_t id)
{
        (void)place;
        BSON_APPEND_INT64(document, key, id);
}

void mongo_place_append_text(bson_t *document, const char *key, const struct mongo_place *place,
                             struct slice id)
{
        (void)place;
        mongo_append_text(document, key, id);
}

bool mongo_place_read_number(const bson_iter_t *iter, const struct mongo_place *place, int64_t *id)
{
        (void)place;
        return mongo_read_number(iter, id);
}

struct slice mongo_place_read_text(const bson_iter_t *iter, const struct mongo_place *place)
{
        (void)place;
        return mongo_read_text(iter, TEXT_MAX_BYTES);
}
