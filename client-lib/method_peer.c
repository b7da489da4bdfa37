/* Peers: upserts, look-ups, scans. */

#include "../proto/records.h"

#include <string.h>

#include "cache.h"
#include "method.h"

static int copy_peer(const struct peer *from, void *result, struct gram_peer *to)
{
        *to = (struct gram_peer){
                .id = from->id,
                .access_hash = from->has_access_hash ? from->access_hash : 0,
                .has_access_hash = from->has_access_hash,
                .last_update_on = from->last_update_on,
                .has_last_update_on = true,
                .type = block_text(result, from->type),
                .username = from->username.data ? block_text(result, from->username) : NULL,
                .phone_number = from->phone_number.data ? block_text(result, from->phone_number) : NULL,
        };
        return to->type && (to->username || !from->username.data) &&
                               (to->phone_number || !from->phone_number.data)
                       ? 0
                       : GRAM_E_NOMEM;
}

static int read_peer(struct cursor *cursor, struct gram_reply *reply)
{
        struct peer peer;

        reply->peer = block_new(sizeof(*reply->peer), bytes_left(cursor) + 32);
        if (!reply->peer)
                return GRAM_E_NOMEM;
        if (!peer_read(cursor, 0, &peer))
                return GRAM_E_PROTOCOL;
        return copy_peer(&peer, reply->peer, reply->peer);
}

/* At most `expect` rows: as many as the program asked for. */
static int read_peers(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        struct gram_peers *peers;
        uint32_t count;
        struct peer peer;
        int error = 0;

        if (!cursor_array(cursor, &count) || count > call->expect)
                return GRAM_E_PROTOCOL;
        reply->peers = peers = block_new(sizeof(*peers), count * sizeof(*peers->rows) + bytes_left(cursor));
        if (!peers)
                return GRAM_E_NOMEM;
        peers->n = count;
        peers->rows = block_array(peers, count, sizeof(*peers->rows));
        if (!peers->rows)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++) {
                if (cursor_nil(cursor))
                        continue;
                error = peer_read(cursor, 0, &peer) ? copy_peer(&peer, peers, &peers->rows[i])
                                                    : GRAM_E_PROTOCOL;
        }
        return error;
}

/* A copy of what the cache looks for. NULL, also without memory: the cache does not answer. */
static char *copy_for_cache(const struct gram_session *session, const char *text)
{
        return session->cache && text ? strdup(text) : NULL;
}

/* ---- update_peers ---- */

RESULT_NIL(update_peers)

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

GRAM_API int gram_update_peers(struct gram_session *session, const struct gram_peer *rows, size_t n)
{
        BLOCKING(session->client, gram_async_update_peers(session, rows, n, waiter_done, &waiter));
}

/* ---- get_peer_by_id ---- */

RESULT(get_peer_by_id, read_peer(cursor, reply))

GRAM_API int gram_async_get_peer_by_id(struct gram_session *session, int64_t id, gram_callback *callback,
                                       void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_GET_PEER_BY_ID, 1);

        call.expect = id;
        pack_int(&call.bytes, id);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_get_peer_by_id(struct gram_session *session, int64_t id, struct gram_peer **peer)
{
        BLOCKING_RESULT(session->client, gram_async_get_peer_by_id(session, id, waiter_done, &waiter), peer);
}

/* ---- get_peer_by_username ---- */

RESULT(get_peer_by_username, read_peer(cursor, reply))

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

GRAM_API int gram_get_peer_by_username(struct gram_session *session, const char *username, int64_t max_age_s,
                                       struct gram_peer **peer)
{
        BLOCKING_RESULT(session->client,
                        gram_async_get_peer_by_username(session, username, max_age_s, waiter_done, &waiter),
                        peer);
}

/* ---- get_peer_by_phone_number ---- */

RESULT(get_peer_by_phone_number, read_peer(cursor, reply))

GRAM_API int gram_async_get_peer_by_phone_number(struct gram_session *session, const char *phone_number,
                                                 gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_GET_PEER_BY_PHONE_NUMBER, 1);

        call.sought = copy_for_cache(session, phone_number);
        pack_cstr(&call.bytes, phone_number);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_get_peer_by_phone_number(struct gram_session *session, const char *phone_number,
                                           struct gram_peer **peer)
{
        BLOCKING_RESULT(session->client,
                        gram_async_get_peer_by_phone_number(session, phone_number, waiter_done, &waiter),
                        peer);
}

/* ---- get_peers ---- */

RESULT(get_peers, read_peers(cursor, call, reply))

GRAM_API int gram_async_get_peers(struct gram_session *session, const int64_t *ids, size_t n,
                                  gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_GET_PEERS, 1);

        call.expect = (int64_t)n;
        pack_ids(&call.bytes, ids, n);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_get_peers(struct gram_session *session, const int64_t *ids, size_t n,
                            struct gram_peers **peers)
{
        BLOCKING_RESULT(session->client, gram_async_get_peers(session, ids, n, waiter_done, &waiter), peers);
}

/* ---- scan_peers ---- */

RESULT(scan_peers, read_peers(cursor, call, reply))

GRAM_API int gram_async_scan_peers(struct gram_session *session, const int64_t *after, size_t limit,
                                   gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_SCAN_PEERS, 2);

        call.expect = (int64_t)limit;
        pack_nullable(&call.bytes, after, after ? *after : 0);
        pack_int(&call.bytes, (int64_t)limit);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_scan_peers(struct gram_session *session, const int64_t *after, size_t limit,
                             struct gram_peers **peers)
{
        BLOCKING_RESULT(session->client, gram_async_scan_peers(session, after, limit, waiter_done, &waiter),
                        peers);
}
