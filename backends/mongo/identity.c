/*
 * The identity fields in the session's document. The library has no fields for
 * address, port and takeout id: gramd's have names that the library ignores. A nil key is an empty binary.
 * Like the library, gramd creates a document with user_id and is_bot 0. They are not set: gramd_fresh is true
 * until one of them is.
 */

#include "mongo.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const keys[FIELD_COUNT] = {
        [FIELD_DC_ID] = "dc_id",         [FIELD_API_ID] = "api_id",
        [FIELD_TEST_MODE] = "test_mode", [FIELD_AUTH_KEY] = "auth_key",
        [FIELD_DATE] = "date",           [FIELD_USER_ID] = "user_id",
        [FIELD_IS_BOT] = "is_bot",       [FIELD_SERVER_ADDRESS] = "gramd_server_address",
        [FIELD_PORT] = "gramd_port",     [FIELD_TAKEOUT_ID] = "gramd_takeout_id",
};

static const unsigned zero_when_fresh = FIELD_BIT(FIELD_USER_ID) | FIELD_BIT(FIELD_IS_BOT);

/* ---- reading ---- */

static void read_key(struct identity *identity, const bson_iter_t *iter)
{
        bson_subtype_t subtype;
        uint32_t len = 0;
        const uint8_t *bytes = NULL;

        if (bson_iter_type(iter) == BSON_TYPE_BINARY)
                bson_iter_binary(iter, &subtype, &len, &bytes);
        if (len == AUTH_KEY_BYTES)
                identity_set_key(identity, bytes);
}

static void read_field(struct identity *identity, enum field field, const bson_iter_t *iter, bool fresh)
{
        const struct field_info *info = &field_infos[field];
        int64_t number;
        struct slice text;

        if (info->type == FIELD_KEY) {
                read_key(identity, iter);
        } else if (info->type == FIELD_TEXT) {
                text = mongo_read_text(iter, TEXT_MAX_BYTES);
                if (text.data)
                        identity_set_address(identity, text);
        } else if (mongo_read_number(iter, &number)) {
                if (fresh && (zero_when_fresh & FIELD_BIT(field)) && number == 0 &&
                    bson_iter_type(iter) != BSON_TYPE_BOOL)
                        return;
                if (info->type == FIELD_BOOL)
                        number = number != 0;
                if (number >= info->min && number <= info->max)
                        identity_set_number(identity, field, number);
        }
}

void mongo_identity_read(const bson_t *document, struct identity *identity, bool *fresh)
{
        bson_iter_t iter;

        *fresh = mongo_number_of(document, MONGO_FRESH, 0) != 0;
        identity_wipe(identity);
        for (enum field field = 0; field < FIELD_COUNT; field++)
                if (bson_iter_init_find(&iter, document, keys[field]))
                        read_field(identity, field, &iter, *fresh);
}

void mongo_user_of(const bson_t *document, char text[OWNER_TEXT_BYTES])
{
        struct slice user;
        bson_iter_t iter;

        text[0] = '\0';
        if (!bson_iter_init_find(&iter, document, MONGO_USER) || bson_iter_type(&iter) == BSON_TYPE_NULL)
                return;
        user = mongo_read_text(&iter, OWNER_TEXT_BYTES - 1);
        if (!user.data || !user.len ||
            memchr(user.data, '\0', user.len)) /* it cannot be read: it is nobody */
                user = slice_of(":");
        memcpy(text, user.data, user.len);
        text[user.len] = '\0';
}

/* ---- writing ---- */

static void append_field(bson_t *set, const struct identity *identity, enum field field)
{
        const char *key = keys[field];
        bool present = identity_has(identity, field);

        switch (field_infos[field].type) {
        case FIELD_KEY: return;
        case FIELD_TEXT:
                mongo_append_text(set, key, present ? slice_of(identity->server_address) : SLICE_NONE);
                return;
        case FIELD_NUMBER:
        case FIELD_BOOL: break;
        }
        if (!present)
                bson_append_null(set, key, -1);
        else if (field_infos[field].type == FIELD_BOOL)
                bson_append_bool(set, key, -1, identity->number[field] != 0);
        else
                bson_append_int64(set, key, -1, identity->number[field]);
}

void mongo_identity_append(bson_t *set, const struct identity *identity, unsigned fields)
{
        for (enum field field = 0; field < FIELD_COUNT; field++)
                if (fields & FIELD_BIT(field) && field != FIELD_AUTH_KEY) /* mongo_seal_append() does that */
                        append_field(set, identity, field);
}

void mongo_identity_append_new(bson_t *document)
{
        BCON_APPEND(document, "dc_id", BCON_INT32(2), "api_id", BCON_NULL, "test_mode", BCON_NULL);
        bson_append_binary(document, "auth_key", -1, BSON_SUBTYPE_BINARY, NULL, 0);
        BCON_APPEND(document, "date", BCON_INT32(0), "user_id", BCON_INT32(0), "is_bot", BCON_INT32(0),
                    MONGO_FRESH, BCON_BOOL(true));
}

/* ---- update states ---- */

int mongo_read_states(struct backend_session *session, mongoc_client_t *client, struct opened *opened,
                      struct fault *fault)
{
        static const char *const parts[STATE_PARTS] = { "pts", "qts", "date", "seq" };
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, "update_state");
        MONGO_BSON filter = bson_new();
        MONGO_BSON options = BCON_NEW("sort", "{", "_id", BCON_INT32(1), "}", "batchSize", BCON_INT32(1000));
        mongoc_cursor_t *cursor;
        const bson_t *document;
        bson_error_t error;
        int result = 0;
        size_t cap = 0;

        mongo_place_append_after(filter, &session->place, NULL);
        cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
        while (!result && mongoc_cursor_next(cursor, &document)) {
                struct state state = { 0 };
                bson_iter_t iter;

                if (!bson_iter_init_find(&iter, document, "_id") ||
                    !mongo_place_read_number(&iter, &session->place, &state.id))
                        continue;
                for (int part = 0; part < STATE_PARTS; part++)
                        if (bson_iter_init_find(&iter, document, parts[part]) &&
                            mongo_read_number(&iter, &state.part[part]))
                                state.present |= 1u << part;
                if (opened->n_states == BACKEND_STATES_MAX) {
                        result = fault_session(fault, BACKEND_E_TOO_LARGE, session->name,
                                               "more than %d update states", BACKEND_STATES_MAX);
                        continue;
                }
                if (opened->n_states == cap) {
                        struct state *grown;

                        cap = cap ? cap * 2 : 64;
                        grown = reallocarray(opened->states, cap, sizeof(*grown));
                        if (!grown) {
                                result = mongo_no_memory(fault);
                                continue;
                        }
                        opened->states = grown;
                }
                opened->states[opened->n_states++] = state;
        }
        if (!result && mongoc_cursor_error(cursor, &error))
                result = mongo_fault(session->env, session->name, &error, fault);
        mongoc_cursor_destroy(cursor);
        return result;
}

/* ---- indexes ---- */

/* In the shared layout an index of rows begins with the session. `key` NULL: and nothing follows it. */
static int make_index(struct backend_session *session, mongoc_client_t *client, const char *collection,
                      const char *key, struct fault *fault)
{
        enum { OPTIONS_CONFLICT = 85, KEY_SPECS_CONFLICT = 86 };
        bool shared = session->place.layout == MONGO_SHARED && strcmp(collection, "session") != 0;
        mongoc_database_t *database = mongo_place_database(client, &session->place);
        MONGO_BSON fields = bson_new();
        char name[64];
        bson_error_t error;
        bool done;

        if (shared)
                BSON_APPEND_INT32(fields, "session", 1);
        if (key)
                BSON_APPEND_INT32(fields, key, 1);
        snprintf(name, sizeof(name), "%s%s%s%s", shared ? "session_1" : "", shared && key ? "_" : "",
                 key ? key : "", key ? "_1" : "");
        MONGO_BSON command = BCON_NEW("createIndexes", BCON_UTF8(collection), "indexes", "[", "{", "key",
                                      BCON_DOCUMENT(fields), "name", BCON_UTF8(name), "}", "]");
        done = mongoc_database_write_command_with_opts(database, command, NULL, NULL, &error);
        mongoc_database_destroy(database);
        /* An index on the same key with another name or other options is as good. */
        if (done || error.code == OPTIONS_CONFLICT || error.code == KEY_SPECS_CONFLICT)
                return 0;
        return mongo_fault(session->env, session->name, &error, fault);
}

int mongo_make_kv_index(struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        return make_index(session, client, MONGO_KV, "expires", fault);
}

int mongo_make_indexes(struct backend_session *session, mongoc_client_t *client, bool indexed,
                       struct fault *fault)
{
        bool shared = session->place.layout == MONGO_SHARED;
        int result;

        if (shared ? atomic_load(&session->env->shared_indexed) : indexed)
                return 0;
        result = make_index(session, client, "peers", "username", fault);
        if (!result)
                result = make_index(session, client, "peers", "phone_number", fault);
        if (!result)
                result = make_index(session, client, "usernames", "peer_id", fault);
        if (!result && shared)
                result = make_index(session, client, "update_state", NULL, fault);
        if (!result && shared)
                result = mongo_make_kv_index(session, client, fault);
        if (!result && shared) /* for stray.c */
                result = make_index(session, client, "session", MONGO_OWNER, fault);
        if (!result && shared)
                atomic_store(&session->env->shared_indexed, true);
        return result;
}
