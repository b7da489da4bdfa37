#ifndef GRAMD_BACKENDS_MONGO_LAYOUT_H
#define GRAMD_BACKENDS_MONGO_LAYOUT_H

/*
 * Where the documents of a session are, and what their ids are. The layout is that of Pyrofork's
 * MongoStorage: a database for each session, in which the session's document has the `_id` 0, and each row
 * has its own id.
 */

#include <mongoc/mongoc.h>

#include "../../proto/slice.h"

enum { MONGO_NAME_MAX = 63 }; /* bytes of a database's name */

struct mongo_place {
        char key[MONGO_NAME_MAX + 1]; /* the prefix and the session's name: its database */
};

/* The caller destroys what these return. */
mongoc_database_t *mongo_place_database(mongoc_client_t *client, const struct mongo_place *place);
mongoc_collection_t *mongo_place_collection(mongoc_client_t *client, const struct mongo_place *place,
                                            const char *name);

/* Appends the `_id` of the session's document. */
void mongo_place_append_session(bson_t *document, const struct mongo_place *place);

/* Append the `_id` of a row as field `key`. */
void mongo_place_append_number(bson_t *document, const char *key, const struct mongo_place *place,
                               int64_t id);
void mongo_place_append_text(bson_t *document, const char *key, const struct mongo_place *place,
                             struct slice id);

/* Read the `_id` of a row. It is none of gramd's: false, or absent. */
bool mongo_place_read_number(const bson_iter_t *iter, const struct mongo_place *place, int64_t *id);
struct slice mongo_place_read_text(const bson_iter_t *iter, const struct mongo_place *place);

#endif
