#ifndef GRAMD_BACKENDS_MONGO_LAYOUT_H
#define GRAMD_BACKENDS_MONGO_LAYOUT_H

/*
 * Where the documents of a session are, and what their ids are. There are two layouts, with the same
 * collections, fields and filters.
 *
 *               own (Pyrofork's MongoStorage)            shared
 *     database  the key: the prefix, and the name        `gramd`, for all sessions
 *     session   _id: 0                                   _id: KEY
 *     a row     _id: ID, a number or a text              _id: "KEY/ID", session: KEY
 *
 * In the shared layout a number is written as 16 hexadecimal digits, so that the order of the texts is that
 * of the numbers. A key of the key-value area is written in hexadecimal digits in both layouts: so it may
 * have any bytes, and the order of the texts is that of the bytes. No prefix and no session's name has a `/`:
 * so no id can be another session's.
 */

#include <mongoc/mongoc.h>

#include "../../proto/records.h"

enum {
        MONGO_NAME_MAX = 63,   /* bytes of a database's name */
        MONGO_PREFIX_MAX = 40, /* leaves 23 bytes of the database's name for the session's name */
        MONGO_KEY_MAX = MONGO_PREFIX_MAX + NAME_MAX_BYTES,
};

struct backend_session;
struct fault;

enum mongo_layout { MONGO_OWN, MONGO_SHARED };

struct mongo_place {
        enum mongo_layout layout;
        char key[MONGO_KEY_MAX + 1]; /* the prefix and the session's name */
};

void mongo_place_init(struct mongo_place *place, enum mongo_layout layout, const char *prefix,
                      struct slice name);
/* The caller destroys what these return. */
mongoc_database_t *mongo_place_database(mongoc_client_t *client, const struct mongo_place *place);
mongoc_collection_t *mongo_place_collection(mongoc_client_t *client, const struct mongo_place *place,
                                            const char *name);

/* Can the session be in this layout? */
bool mongo_place_can_be(const struct backend_session *session, enum mongo_layout layout);
/* Can it be created there? BACKEND_E_NAME: no database can have its name, or the one of that name is not
 * gramd's. */
int mongo_place_check(const struct backend_session *session, mongoc_client_t *client, struct fault *fault);

/* ---- ids ---- */

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

/* The same for a key of the key-value area. Reading: `bytes` has the key if it is one. */
void mongo_place_append_key(bson_t *document, const char *key, const struct mongo_place *place,
                            struct slice id);
struct slice mongo_place_read_key(const bson_iter_t *iter, const struct mongo_place *place,
                                  char bytes[KV_KEY_MAX_BYTES]);

/* ---- rows ---- */

/* Appends what every row of the session has besides its `_id`: to a filter, or to a new row. */
void mongo_place_append_common(bson_t *document, const struct mongo_place *place);
/* The same for an update that may insert the row. */
void mongo_place_append_on_insert(bson_t *update, const struct mongo_place *place);

/* Append what selects all rows from this id on (not this one, if it is a number), for a scan in the order of
 * `_id`. `after` NULL, or `from` absent: all rows. */
void mongo_place_append_after(bson_t *filter, const struct mongo_place *place, const int64_t *after);
void mongo_place_append_from(bson_t *filter, const struct mongo_place *place, struct slice from);
/* The same for keys that begin with `prefix` and come after `after` (absent: from the first). */
void mongo_place_append_keys(bson_t *filter, const struct mongo_place *place, struct slice prefix,
                             struct slice after);

#endif
