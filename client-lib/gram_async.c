/*
 * The asynchronous functions: each packs its parameters and submits the request. Optional parameters are left
 * out where they have their default.
 */

#include "../proto/message.h"
#include "../proto/records.h"

#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "client.h"

/* gram.h's bits and identities are the protocol's fields in the same order. */
_Static_assert((unsigned)GRAM_ALL_FIELDS == FIELD_ALL, "every field has its bit");
_Static_assert((unsigned)GRAM_TAKEOUT_ID == FIELD_BIT(FIELD_TAKEOUT_ID), "in the same order");
_Static_assert((unsigned)GRAM_AUTH_KEY == FIELD_BIT(FIELD_AUTH_KEY), "in the same order");

static int refuse(struct gram_client *client, enum method_number method, const char *why)
{
        return client_fail(client, GRAM_E_BAD_REQUEST, "%s: %s", methods[method].name, why);
}

/* A request with no parameter but the session. */
static int submit_bare(struct gram_client *client, struct gram_session *session, enum method_number method,
                       gram_callback *callback, void *arg)
{
        struct call call = call_begin(client, session, method, 0);

        return call_submit(&call, callback, arg);
}

/* A write of no rows: nothing is sent. The callback is called later, as for every request. */
static int submit_nothing(struct gram_session *session, enum method_number method, gram_callback *callback,
                          void *arg)
{
        struct call call = call_begin(session->client, session, method, 0);
        struct request *request;
        int error = call_hold(&call, callback, arg, &request);

        if (!error)
                request_complete(request, 0);
        return error;
}

static int submit_switch(struct gram_client *client, struct gram_session *session, enum method_number method,
                         bool on, gram_callback *callback, void *arg)
{
        struct call call = call_begin(client, session, method, 1);

        call.on = on;
        pack_bool(&call.bytes, on);
        return call_submit(&call, callback, arg);
}

static void pack_ids(struct buffer *out, const int64_t *ids, size_t n)
{
        pack_array(out, (uint32_t)n);
        for (size_t i = 0; i < n; i++)
                pack_int(out, ids[i]);
}

static void pack_nullable(struct buffer *out, bool has, int64_t value)
{
        if (has)
                pack_int(out, value);
        else
                pack_nil(out);
}

/* ---- sessions; gram_async_open() is in session.c ---- */

GRAM_API int gram_async_close(struct gram_session *session, gram_callback *callback, void *arg)
{
        return submit_bare(session->client, session, METHOD_CLOSE, callback, arg);
}

GRAM_API int gram_async_lease(struct gram_session *session, gram_callback *callback, void *arg)
{
        return submit_bare(session->client, session, METHOD_LEASE, callback, arg);
}

GRAM_API int gram_async_save(struct gram_session *session, gram_callback *callback, void *arg)
{
        if (session->cache)
                cache_wrote_identity(session->cache); /* `save` sets its date */
        return submit_bare(session->client, session, METHOD_SAVE, callback, arg);
}

GRAM_API int gram_async_delete(struct gram_session *session, bool remove_peers, gram_callback *callback,
                               void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_DELETE, 1);

        pack_map(&call.bytes, 1);
        pack_cstr(&call.bytes, "remove_peers");
        pack_bool(&call.bytes, remove_peers);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_info(struct gram_session *session, gram_callback *callback, void *arg)
{
        return submit_bare(session->client, session, METHOD_INFO, callback, arg);
}

GRAM_API int gram_async_watch(struct gram_session *session, bool on, gram_callback *callback, void *arg)
{
        return submit_switch(session->client, session, METHOD_WATCH, on, callback, arg);
}

GRAM_API int gram_async_cache_enable(struct gram_session *session, size_t max_bytes, gram_callback *callback,
                                     void *arg)
{
        if (!session->cache) {
                session->cache = cache_new(max_bytes);
                if (!session->cache)
                        return client_fail(session->client, GRAM_E_NOMEM, "cache: no memory");
                session->client->n_caches++;
        }
        return gram_async_watch(session, true, callback, arg);
}

/* A copy of what the cache looks for. NULL, also without memory: the cache does not answer. */
static char *copy_for_cache(const struct gram_session *session, const char *text)
{
        return session->cache && text ? strdup(text) : NULL;
}

/* ---- identity ---- */

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

GRAM_API int gram_async_export_string(struct gram_session *session, const char *format,
                                      gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_EXPORT_STRING, 1);

        pack_cstr(&call.bytes, format);
        return call_submit(&call, callback, arg);
}

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

/* ---- peers and usernames ---- */

GRAM_API int gram_async_update_peers(struct gram_session *session, const struct gram_peer *rows, size_t n,
                                     gram_callback *callback, void *arg)
{
        struct call call;

        if (!n)
                return submit_nothing(session, METHOD_UPDATE_PEERS, callback, arg);
        if (session->cache)
                cache_wrote_peers(session->cache, rows, n);
        call = call_begin(session->client, session, METHOD_UPDATE_PEERS, 1);
        pack_array(&call.bytes, (uint32_t)n);
        for (size_t i = 0; i < n; i++) {
                pack_array(&call.bytes, rows[i].has_last_update_on ? 6 : 5);
                pack_int(&call.bytes, rows[i].id);
                pack_nullable(&call.bytes, rows[i].has_access_hash, rows[i].access_hash);
                pack_cstr(&call.bytes, rows[i].type);
                pack_cstr(&call.bytes, rows[i].username);
                pack_cstr(&call.bytes, rows[i].phone_number);
                if (rows[i].has_last_update_on)
                        pack_int(&call.bytes, rows[i].last_update_on);
        }
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_update_usernames(struct gram_session *session, const struct gram_names *rows,
                                         size_t n, gram_callback *callback, void *arg)
{
        struct call call;

        if (!n)
                return submit_nothing(session, METHOD_UPDATE_USERNAMES, callback, arg);
        if (session->cache)
                cache_wrote_names(session->cache, rows, n);
        call = call_begin(session->client, session, METHOD_UPDATE_USERNAMES, 1);
        pack_array(&call.bytes, (uint32_t)n);
        for (size_t i = 0; i < n; i++) {
                pack_array(&call.bytes, rows[i].has_last_update_on ? 3 : 2);
                pack_int(&call.bytes, rows[i].peer_id);
                pack_array(&call.bytes, (uint32_t)rows[i].n_names);
                for (size_t k = 0; k < rows[i].n_names; k++)
                        pack_cstr(&call.bytes, rows[i].names[k]);
                if (rows[i].has_last_update_on)
                        pack_int(&call.bytes, rows[i].last_update_on);
        }
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_get_peer_by_id(struct gram_session *session, int64_t id, gram_callback *callback,
                                       void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_GET_PEER_BY_ID, 1);

        call.expect = id;
        pack_int(&call.bytes, id);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_get_peer_by_username(struct gram_session *session, const char *username,
                                             int64_t max_age_s, gram_callback *callback, void *arg)
{
        bool has_age = max_age_s != GRAM_MAX_AGE_DEFAULT_S;
        struct call call = call_begin(session->client, session, METHOD_GET_PEER_BY_USERNAME, has_age ? 2 : 1);

        call.expect = max_age_s;
        call.sought = copy_for_cache(session, username);
        pack_cstr(&call.bytes, username);
        if (has_age)
                pack_int(&call.bytes, max_age_s);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_get_peer_by_phone_number(struct gram_session *session, const char *phone_number,
                                                 gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_GET_PEER_BY_PHONE_NUMBER, 1);

        call.sought = copy_for_cache(session, phone_number);
        pack_cstr(&call.bytes, phone_number);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_get_peers(struct gram_session *session, const int64_t *ids, size_t n,
                                  gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_GET_PEERS, 1);

        call.expect = (int64_t)n;
        pack_ids(&call.bytes, ids, n);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_scan_peers(struct gram_session *session, const int64_t *after, size_t limit,
                                   gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_SCAN_PEERS, 2);

        call.expect = (int64_t)limit;
        pack_nullable(&call.bytes, after, after ? *after : 0);
        pack_int(&call.bytes, (int64_t)limit);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_scan_usernames(struct gram_session *session, const char *after, int64_t after_id,
                                       size_t limit, gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_SCAN_USERNAMES, 2);

        call.expect = (int64_t)limit;
        if (after) {
                pack_array(&call.bytes, 2);
                pack_cstr(&call.bytes, after);
                pack_int(&call.bytes, after_id);
        } else {
                pack_nil(&call.bytes);
        }
        pack_int(&call.bytes, (int64_t)limit);
        return call_submit(&call, callback, arg);
}

/* ---- update states ---- */

GRAM_API int gram_async_update_states(struct gram_session *session, const struct gram_state *rows, size_t n,
                                      bool keep, gram_callback *callback, void *arg)
{
        struct call call;

        if (!n)
                return submit_nothing(session, METHOD_UPDATE_STATES, callback, arg);
        call = call_begin(session->client, session, METHOD_UPDATE_STATES, keep ? 2 : 1);
        pack_array(&call.bytes, (uint32_t)n);
        for (size_t i = 0; i < n; i++) {
                pack_array(&call.bytes, 5);
                pack_int(&call.bytes, rows[i].id);
                pack_nullable(&call.bytes, rows[i].has & GRAM_STATE_PTS, rows[i].pts);
                pack_nullable(&call.bytes, rows[i].has & GRAM_STATE_QTS, rows[i].qts);
                pack_nullable(&call.bytes, rows[i].has & GRAM_STATE_DATE, rows[i].date);
                pack_nullable(&call.bytes, rows[i].has & GRAM_STATE_SEQ, rows[i].seq);
        }
        if (keep)
                pack_bool(&call.bytes, true);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_get_states(struct gram_session *session, const int64_t *ids, size_t n,
                                   gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_GET_STATES, ids ? 1 : 0);

        if (ids)
                pack_ids(&call.bytes, ids, n);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_remove_states(struct gram_session *session, const int64_t *ids, size_t n,
                                      gram_callback *callback, void *arg)
{
        struct call call;

        if (!n)
                return submit_nothing(session, METHOD_REMOVE_STATES, callback, arg);
        call = call_begin(session->client, session, METHOD_REMOVE_STATES, 1);
        pack_ids(&call.bytes, ids, n);
        return call_submit(&call, callback, arg);
}

/* ---- the daemon ---- */

GRAM_API int gram_async_hello(struct gram_client *client, gram_callback *callback, void *arg)
{
        struct call call = call_begin(client, NULL, METHOD_HELLO, 1);

        pack_map(&call.bytes, 1);
        pack_cstr(&call.bytes, "client");
        pack_cstr(&call.bytes, client->name);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_ping(struct gram_client *client, gram_callback *callback, void *arg)
{
        struct call call = call_begin(client, NULL, METHOD_PING, 1);

        call.expect = now_ms();
        pack_int(&call.bytes, call.expect);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_sessions(struct gram_client *client, const char *glob, const char *after,
                                 size_t limit, gram_callback *callback, void *arg)
{
        struct call call = call_begin(client, NULL, METHOD_SESSIONS, 2);
        struct buffer *out = &call.bytes;

        call.expect = (int64_t)limit;
        pack_cstr(out, glob);
        pack_map(out, after ? 2 : 1);
        if (after) {
                pack_cstr(out, "after");
                pack_cstr(out, after);
        }
        pack_cstr(out, "limit");
        pack_int(out, (int64_t)limit);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_clients(struct gram_client *client, gram_callback *callback, void *arg)
{
        return submit_bare(client, NULL, METHOD_CLIENTS, callback, arg);
}

GRAM_API int gram_async_disconnect(struct gram_client *client, int64_t id, gram_callback *callback, void *arg)
{
        struct call call = call_begin(client, NULL, METHOD_DISCONNECT, 1);

        pack_int(&call.bytes, id);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_async_stats(struct gram_client *client, gram_callback *callback, void *arg)
{
        return submit_bare(client, NULL, METHOD_STATS, callback, arg);
}

GRAM_API int gram_async_monitor(struct gram_client *client, bool on, gram_callback *callback, void *arg)
{
        return submit_switch(client, NULL, METHOD_MONITOR, on, callback, arg);
}
