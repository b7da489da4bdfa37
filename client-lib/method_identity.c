/* The fields of a session's identity, and session strings, which carry them all. */

#include "../proto/records.h"

#include <string.h>

#include "cache.h"
#include "method.h"

/* gram.h's bits and identities are the protocol's fields in the same order. */
_Static_assert((unsigned)GRAM_ALL_FIELDS == FIELD_ALL, "every field has its bit");
_Static_assert((unsigned)GRAM_TAKEOUT_ID == FIELD_BIT(FIELD_TAKEOUT_ID), "in the same order");
_Static_assert((unsigned)GRAM_AUTH_KEY == FIELD_BIT(FIELD_AUTH_KEY), "in the same order");

GRAM_API const char *gram_field_name(unsigned field)
{
        for (unsigned i = 0; i < FIELD_COUNT; i++) {
                if (field == FIELD_BIT(i))
                        return field_infos[i].name;
        }
        return NULL;
}

GRAM_API void gram_identity_wipe(struct gram_identity *identity)
{
        explicit_bzero(identity, sizeof(*identity));
}

static int refuse(struct gram_client *client, enum method_number method, const char *why)
{
        return client_fail(client, GRAM_E_BAD_REQUEST, "%s: %s", methods[method].name, why);
}

/* ---- get ---- */

static int read_identity_value(struct cursor *cursor, unsigned bit, struct gram_identity *identity)
{
        struct slice bytes;

        switch ((enum gram_field)bit) {
        case GRAM_DC_ID: return cursor_int(cursor, &identity->dc_id) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_API_ID: return cursor_int(cursor, &identity->api_id) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_DATE: return cursor_int(cursor, &identity->date) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_USER_ID: return cursor_int(cursor, &identity->user_id) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_PORT: return cursor_int(cursor, &identity->port) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_TAKEOUT_ID: return cursor_int(cursor, &identity->takeout_id) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_TEST_MODE: return cursor_bool(cursor, &identity->test_mode) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_IS_BOT: return cursor_bool(cursor, &identity->is_bot) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_AUTH_KEY:
                if (!cursor_bin(cursor, GRAM_AUTH_KEY_BYTES, &bytes) || bytes.len != GRAM_AUTH_KEY_BYTES)
                        return GRAM_E_PROTOCOL;
                memcpy(identity->auth_key, bytes.data, bytes.len);
                return 0;
        case GRAM_SERVER_ADDRESS:
                if (!cursor_str(cursor, GRAM_ADDRESS_SIZE - 1, &bytes))
                        return GRAM_E_PROTOCOL;
                memcpy(identity->server_address, bytes.data, bytes.len);
                return 0;
        case GRAM_ALL_FIELDS: break;
        }
        return GRAM_E_PROTOCOL;
}

/* `expect` has the bits of the fields that were asked for; the values come in the order of these bits. */
static int read_get(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        unsigned fields = (unsigned)call->expect;
        struct gram_identity *identity = block_new(sizeof(*identity), 0);
        uint32_t count;
        int error = 0;

        reply->identity = identity;
        if (!identity)
                return GRAM_E_NOMEM;
        if (!cursor_array(cursor, &count) || count != (uint32_t)__builtin_popcount(fields))
                return GRAM_E_PROTOCOL;
        identity->fields = fields;
        for (unsigned bit = 1; bit < GRAM_ALL_FIELDS && !error; bit <<= 1) {
                if (!(fields & bit))
                        continue;
                if (cursor_nil(cursor))
                        identity->nil |= bit;
                else
                        error = read_identity_value(cursor, bit, identity);
        }
        return error;
}

RESULT(get, read_get(cursor, call, reply))

GRAM_API int gram_async_get(struct gram_session *session, unsigned fields, gram_callback *callback, void *arg)
{
        struct call call;

        if (fields & ~FIELD_ALL)
                return refuse(session->client, METHOD_GET, "unknown field");
        call = call_begin(session->client, session, METHOD_GET, 1);
        call.expect = fields;
        pack_array(&call.bytes, (uint32_t)__builtin_popcount(fields));
        for (unsigned i = 0; i < FIELD_COUNT; i++) {
                if (fields & FIELD_BIT(i))
                        pack_cstr(&call.bytes, field_infos[i].name);
        }
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_get(struct gram_session *session, unsigned fields, struct gram_identity *identity)
{
        struct waiter waiter;
        int code = waiter_begin(&waiter, session->client);

        if (code)
                return code;
        code = waiter_finish(&waiter, gram_async_get(session, fields, waiter_done, &waiter));
        if (!code)
                *identity = *(struct gram_identity *)waiter.result;
        gram_free(waiter.result);
        return code;
}

/* ---- set ---- */

RESULT_NIL(set)

static void pack_field(struct buffer *out, const struct gram_identity *identity, enum gram_field field)
{
        const struct slice key = { (const char *)identity->auth_key, GRAM_AUTH_KEY_BYTES };
        const struct slice address = { identity->server_address,
                                       strnlen(identity->server_address, GRAM_ADDRESS_SIZE) };

        if (identity->nil & field) {
                pack_nil(out);
                return;
        }
        switch (field) {
        case GRAM_DC_ID: pack_int(out, identity->dc_id); break;
        case GRAM_API_ID: pack_int(out, identity->api_id); break;
        case GRAM_TEST_MODE: pack_bool(out, identity->test_mode); break;
        case GRAM_AUTH_KEY: pack_bin(out, key); break;
        case GRAM_DATE: pack_int(out, identity->date); break;
        case GRAM_USER_ID: pack_int(out, identity->user_id); break;
        case GRAM_IS_BOT: pack_bool(out, identity->is_bot); break;
        case GRAM_SERVER_ADDRESS: pack_str(out, address); break;
        case GRAM_PORT: pack_int(out, identity->port); break;
        case GRAM_TAKEOUT_ID: pack_int(out, identity->takeout_id); break;
        case GRAM_ALL_FIELDS: break;
        }
}

GRAM_API int gram_async_set(struct gram_session *session, const struct gram_identity *identity,
                            gram_callback *callback, void *arg)
{
        struct call call;

        if (identity->fields & ~FIELD_ALL)
                return refuse(session->client, METHOD_SET, "unknown field");
        if (session->cache)
                cache_wrote_identity(session->cache);
        call = call_begin(session->client, session, METHOD_SET, 1);
        pack_map(&call.bytes, (uint32_t)__builtin_popcount(identity->fields));
        for (unsigned i = 0; i < FIELD_COUNT; i++) {
                if (identity->fields & FIELD_BIT(i)) {
                        pack_cstr(&call.bytes, field_infos[i].name);
                        pack_field(&call.bytes, identity, (enum gram_field)FIELD_BIT(i));
                }
        }
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_set(struct gram_session *session, const struct gram_identity *identity)
{
        BLOCKING(session->client, gram_async_set(session, identity, waiter_done, &waiter));
}

/* ---- export_string ---- */

static int read_string(struct cursor *cursor, struct gram_reply *reply)
{
        struct slice text;

        if (!cursor_str(cursor, SIZE_MAX, &text))
                return GRAM_E_PROTOCOL;
        reply->text = block_new(text.len + 1, 0);
        if (!reply->text)
                return GRAM_E_NOMEM;
        memcpy(reply->text, text.data, text.len);
        return 0;
}

RESULT(export_string, read_string(cursor, reply))

GRAM_API int gram_async_export_string(struct gram_session *session, const char *format,
                                      gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_EXPORT_STRING, 1);

        pack_cstr(&call.bytes, format);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_export_string(struct gram_session *session, const char *format, char **text)
{
        BLOCKING_RESULT(session->client, gram_async_export_string(session, format, waiter_done, &waiter),
                        text);
}

/* ---- import_string ---- */

static int read_import(struct cursor *cursor, struct gram_reply *reply)
{
        unsigned fields = 0;
        int error = read_fields(cursor, &fields);

        reply->number = fields;
        return error;
}

RESULT(import_string, read_import(cursor, reply))

GRAM_API int gram_async_import_string(struct gram_session *session, const char *text,
                                      const struct gram_import_options *options, gram_callback *callback,
                                      void *arg)
{
        static const struct gram_import_options defaults = { 0 };
        struct call call = call_begin(session->client, session, METHOD_IMPORT_STRING, 2);
        struct buffer *out = &call.bytes;

        if (session->cache)
                cache_wrote_identity(session->cache);
        options = options ? options : &defaults;
        pack_cstr(out, text);
        pack_map(out, 3);
        pack_cstr(out, "format");
        pack_cstr(out, options->format);
        pack_cstr(out, "overwrite");
        pack_bool(out, options->overwrite);
        pack_cstr(out, "api_id");
        pack_nullable(out, options->has_api_id, options->api_id);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_import_string(struct gram_session *session, const char *text,
                                const struct gram_import_options *options, unsigned *fields)
{
        struct waiter waiter;
        int code = waiter_begin(&waiter, session->client);

        if (code)
                return code;
        code = waiter_finish(&waiter, gram_async_import_string(session, text, options, waiter_done, &waiter));
        if (!code && fields)
                *fields = (unsigned)waiter.number;
        return code;
}
