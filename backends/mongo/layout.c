/*
 * The two layouts. In the shared one an `_id` is a text and not a document of session and id: every server
 * finds single texts, lists of them and ranges by its index on `_id`, and SecantusDB reads the whole
 * collection for documents. MongoDB compares texts byte by byte, so the rows of a session are next to each
 * other in that index, in the order of their ids. `session` leads the other indexes. A scan names both, the
 * range and `session`, because SecantusDB uses its index on `_id` for no range.
 */

#include "layout.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "mongo.h"

enum {
        DIGITS = 16,
        KEY_DIGITS_MAX = 2 * KV_KEY_MAX_BYTES,
        ID_MAX = MONGO_KEY_MAX + 1 + KEY_DIGITS_MAX + 1,
};

static const char hex_digits[] = "0123456789abcdef";

void mongo_place_init(struct mongo_place *place, enum mongo_layout layout, const char *prefix,
                      struct slice name)
{
        place->layout = layout;
        snprintf(place->key, sizeof(place->key), "%s%.*s", prefix, (int)name.len, name.data ? name.data : "");
}

static const char *database_name(const struct mongo_place *place)
{
        return place->layout == MONGO_SHARED ? MONGO_OWN_DATABASE : place->key;
}

mongoc_database_t *mongo_place_database(mongoc_client_t *client, const struct mongo_place *place)
{
        return mongoc_client_get_database(client, database_name(place));
}

mongoc_collection_t *mongo_place_collection(mongoc_client_t *client, const struct mongo_place *place,
                                            const char *name)
{
        return mongoc_client_get_collection(client, database_name(place), name);
}

/* ---- what a session's database may be ---- */

/* Can a database have the session's name? */
static int check_name(const struct backend_session *session, struct fault *fault)
{
        static const char *const reserved[] = { "admin", "local", "config", MONGO_OWN_DATABASE };

        if (strlen(session->place.key) > MONGO_NAME_MAX)
                return fault_session(fault, BACKEND_E_NAME, session->name,
                                     "a MongoDB database's name has at most %d bytes",
                                     MONGO_NAME_MAX - (int)strlen(session->env->prefix));
        if (strpbrk(session->name, "/\\. \"$*<>:|?"))
                return fault_session(fault, BACKEND_E_NAME, session->name,
                                     "MongoDB allows none of / \\ . \" $ * < > : | ? and no space "
                                     "in a database's name");
        for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
                if (strcasecmp(session->name, reserved[i]) == 0 ||
                    strcasecmp(session->place.key, reserved[i]) == 0)
                        return fault_session(fault, BACKEND_E_NAME, session->name,
                                             "a database of MongoDB's own or "
                                             "of gramd's own has this name");
        return 0;
}

/* Refuses a database that has collections, but is no session's. */
static int check_database(const struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        mongoc_database_t *database = mongo_place_database(client, &session->place);
        bson_error_t error;
        char **names = mongoc_database_get_collection_names_with_opts(database, NULL, &error);
        bool others = false, own = false;
        char key[FAULT_NAME_BYTES];
        int result = 0;

        for (size_t i = 0; names && names[i]; i++) {
                if (strcmp(names[i], "session") == 0)
                        own = true;
                else if (strncmp(names[i], "system.", 7) != 0)
                        others = true;
        }
        if (!names)
                result = mongo_fault(session->env, session->name, &error, fault);
        else if (others && !own)
                result = fault_session(fault, BACKEND_E_NAME, session->name,
                                       "the database '%s' is not a session's: it has collections, "
                                       "but no `session`",
                                       utf8_quote(slice_of(session->place.key), '\'', key, sizeof(key)));
        bson_strfreev(names);
        mongoc_database_destroy(database);
        return result;
}

bool mongo_place_can_be(const struct backend_session *session, enum mongo_layout layout)
{
        struct fault fault;

        return layout == MONGO_SHARED || check_name(session, &fault) == 0;
}

int mongo_place_check(const struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        int result = 0;

        if (session->place.layout == MONGO_OWN)
                result = check_name(session, fault);
        if (!result && session->place.layout == MONGO_OWN)
                result = check_database(session, client, fault);
        return result;
}

/* ---- ids ---- */

void mongo_place_append_session(bson_t *document, const struct mongo_place *place)
{
        if (place->layout == MONGO_SHARED)
                BSON_APPEND_UTF8(document, "_id", place->key);
        else
                BSON_APPEND_INT32(document, "_id", 0);
}

static void append_shared(bson_t *document, const char *key, const struct mongo_place *place, char separator,
                          struct slice id)
{
        char text[ID_MAX];
        size_t len = strlen(place->key);

        assert(len + 1 + id.len <= sizeof(text));
        memcpy(text, place->key, len);
        text[len++] = separator;
        if (id.len)
                memcpy(text + len, id.data, id.len);
        bson_append_utf8(document, key, -1, text, (int)(len + id.len));
}

void mongo_place_append_number(bson_t *document, const char *key, const struct mongo_place *place, int64_t id)
{
        char digits[DIGITS + 1];

        if (place->layout == MONGO_OWN) {
                BSON_APPEND_INT64(document, key, id);
                return;
        }
        /* Negative numbers come first. */
        snprintf(digits, sizeof(digits), "%016" PRIx64, (uint64_t)id ^ (uint64_t)1 << 63);
        append_shared(document, key, place, '/', slice_of(digits));
}

void mongo_place_append_text(bson_t *document, const char *key, const struct mongo_place *place,
                             struct slice id)
{
        if (place->layout == MONGO_OWN)
                mongo_append_text(document, key, id);
        else
                append_shared(document, key, place, '/', id);
}

static struct slice read_id(const bson_iter_t *iter, const struct mongo_place *place, size_t max)
{
        size_t len = strlen(place->key);
        struct slice text;

        if (place->layout == MONGO_OWN)
                return mongo_read_text(iter, max);
        text = mongo_read_text(iter, ID_MAX);
        if (!text.data || text.len <= len || memcmp(text.data, place->key, len) != 0 || text.data[len] != '/')
                return SLICE_NONE;
        text = (struct slice){ text.data + len + 1, text.len - len - 1 };
        return text.len <= max ? text : SLICE_NONE;
}

struct slice mongo_place_read_text(const bson_iter_t *iter, const struct mongo_place *place)
{
        return read_id(iter, place, TEXT_MAX_BYTES);
}

/* -1: it is no digit. */
static int digit_value(char digit)
{
        const char *found = memchr(hex_digits, digit, sizeof(hex_digits) - 1);

        return found ? (int)(found - hex_digits) : -1;
}

bool mongo_place_read_number(const bson_iter_t *iter, const struct mongo_place *place, int64_t *id)
{
        struct slice text;
        uint64_t number = 0;

        if (place->layout == MONGO_OWN)
                return mongo_read_number(iter, id);
        text = mongo_place_read_text(iter, place);
        if (text.len != DIGITS)
                return false;
        for (size_t i = 0; i < DIGITS; i++) {
                int digit = digit_value(text.data[i]);

                if (digit < 0)
                        return false;
                number = number << 4 | (uint64_t)digit;
        }
        *id = (int64_t)(number ^ (uint64_t)1 << 63);
        return true;
}

/* `end`: the end of all keys that begin with `id`. */
static void append_key(bson_t *document, const char *key, const struct mongo_place *place, struct slice id,
                       bool end)
{
        char text[KEY_DIGITS_MAX + 1];
        size_t len = 0;

        assert(id.len <= KV_KEY_MAX_BYTES);
        for (size_t i = 0; i < id.len; i++) {
                uint8_t byte = (uint8_t)id.data[i];

                text[len++] = hex_digits[byte >> 4];
                text[len++] = hex_digits[byte & 15];
        }
        if (end)
                text[len++] = 'g'; /* after all digits */
        if (place->layout == MONGO_OWN)
                bson_append_utf8(document, key, -1, text, (int)len);
        else
                append_shared(document, key, place, '/', (struct slice){ text, len });
}

void mongo_place_append_key(bson_t *document, const char *key, const struct mongo_place *place,
                            struct slice id)
{
        append_key(document, key, place, id, false);
}

struct slice mongo_place_read_key(const bson_iter_t *iter, const struct mongo_place *place,
                                  char bytes[KV_KEY_MAX_BYTES])
{
        struct slice text = read_id(iter, place, KEY_DIGITS_MAX);

        if (!text.data || text.len == 0 || text.len % 2)
                return SLICE_NONE;
        for (size_t i = 0; i < text.len; i += 2) {
                int high = digit_value(text.data[i]), low = digit_value(text.data[i + 1]);

                if (high < 0 || low < 0)
                        return SLICE_NONE;
                bytes[i / 2] = (char)(high << 4 | low);
        }
        text = (struct slice){ bytes, text.len / 2 };
        return slice_is_utf8(text) ? text : SLICE_NONE;
}

/* ---- rows ---- */

void mongo_place_append_common(bson_t *document, const struct mongo_place *place)
{
        if (place->layout == MONGO_SHARED)
                BSON_APPEND_UTF8(document, "session", place->key);
}

void mongo_place_append_on_insert(bson_t *update, const struct mongo_place *place)
{
        bson_t fields;

        if (place->layout == MONGO_OWN)
                return;
        bson_append_document_begin(update, "$setOnInsert", -1, &fields);
        mongo_place_append_common(&fields, place);
        bson_append_document_end(update, &fields);
}

/* The end of the session's ids: `0` is the byte after `/`. */
static void append_end(bson_t *condition, const struct mongo_place *place)
{
        if (place->layout == MONGO_SHARED)
                append_shared(condition, "$lt", place, '/' + 1, SLICE_NONE);
}

void mongo_place_append_after(bson_t *filter, const struct mongo_place *place, const int64_t *after)
{
        bson_t condition;

        if (!after) {
                mongo_place_append_from(filter, place, SLICE_NONE);
                return;
        }
        mongo_place_append_common(filter, place);
        bson_append_document_begin(filter, "_id", -1, &condition);
        mongo_place_append_number(&condition, "$gt", place, *after);
        append_end(&condition, place);
        bson_append_document_end(filter, &condition);
}

void mongo_place_append_from(bson_t *filter, const struct mongo_place *place, struct slice from)
{
        bson_t condition;

        if (place->layout == MONGO_OWN && !from.data)
                return;
        mongo_place_append_common(filter, place);
        bson_append_document_begin(filter, "_id", -1, &condition);
        mongo_place_append_text(&condition, "$gte", place, from);
        append_end(&condition, place);
        bson_append_document_end(filter, &condition);
}

void mongo_place_append_keys(bson_t *filter, const struct mongo_place *place, struct slice prefix,
                             struct slice after)
{
        bool is_after = after.data && slice_compare(after, prefix) >= 0;
        bson_t condition;

        mongo_place_append_common(filter, place);
        bson_append_document_begin(filter, "_id", -1, &condition);
        append_key(&condition, is_after ? "$gt" : "$gte", place, is_after ? after : prefix, false);
        append_key(&condition, "$lt", place, prefix, true);
        bson_append_document_end(filter, &condition);
}
