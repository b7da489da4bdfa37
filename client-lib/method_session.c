/* A session as a whole: open, close, lease, save, delete, info, watch (and the cache, which watches). */

#include "cache.h"
#include "method.h"

/* ---- open; gram_async_open() is in session.c, which opens the session again on each connection ---- */

static const struct key open_keys[] = {
        { "session", KEY_INT, offsetof(struct open_result, handle), 0 },
        { "created", KEY_BOOL, offsetof(struct open_result, opened.created), 0 },
        { "backend", KEY_TEXT, offsetof(struct open_result, opened.backend), 0 },
        { "dialect", KEY_TEXT, offsetof(struct open_result, opened.dialect), 0 },
        { "version", KEY_INT, offsetof(struct open_result, opened.version), 0 },
        { "fence", KEY_INT, offsetof(struct open_result, opened.fence), 0 },
        { "lease", KEY_INT, offsetof(struct open_result, lease_ms), 0 },
        KEYS_END,
};

RESULT(open, read_map_result(cursor, reply, sizeof(struct open_result), open_keys))

GRAM_API int gram_open(struct gram_client *client, const char *name, const struct gram_open_options *options,
                       struct gram_session **session)
{
        BLOCKING_RESULT(client, gram_async_open(client, name, options, waiter_done, &waiter), session);
}

/* ---- close ---- */

RESULT_NIL(close)

GRAM_API int gram_async_close(struct gram_session *session, gram_callback *callback, void *arg)
{
        return submit_bare(session->client, session, METHOD_CLOSE, callback, arg);
}

GRAM_API int gram_close(struct gram_session *session)
{
        BLOCKING(session->client, gram_async_close(session, waiter_done, &waiter));
}

/* ---- lease ---- */

static int read_lease(struct cursor *cursor, struct gram_reply *reply)
{
        reply->number = -1;
        if (cursor_nil(cursor))
                return 0;
        return cursor_int_in(cursor, 0, INT64_MAX, &reply->number) ? 0 : GRAM_E_PROTOCOL;
}

RESULT(lease, read_lease(cursor, reply))

GRAM_API int gram_async_lease(struct gram_session *session, gram_callback *callback, void *arg)
{
        return submit_bare(session->client, session, METHOD_LEASE, callback, arg);
}

GRAM_API int gram_lease(struct gram_session *session, int64_t *lease_ms)
{
        struct waiter waiter;
        int code = waiter_begin(&waiter, session->client);

        if (code)
                return code;
        code = waiter_finish(&waiter, gram_async_lease(session, waiter_done, &waiter));
        if (!code)
                *lease_ms = waiter.number;
        return code;
}

/* ---- save ---- */

RESULT_NIL(save)

GRAM_API int gram_async_save(struct gram_session *session, gram_callback *callback, void *arg)
{
        if (session->cache)
                cache_wrote_identity(session->cache); /* `save` sets its date */
        return submit_bare(session->client, session, METHOD_SAVE, callback, arg);
}

GRAM_API int gram_save(struct gram_session *session)
{
        BLOCKING(session->client, gram_async_save(session, waiter_done, &waiter));
}

/* ---- sealing ---- */

RESULT_NIL(seal)

GRAM_API int gram_async_seal(struct gram_session *session, gram_callback *callback, void *arg)
{
        return submit_bare(session->client, session, METHOD_SEAL, callback, arg);
}

GRAM_API int gram_seal(struct gram_session *session)
{
        BLOCKING(session->client, gram_async_seal(session, waiter_done, &waiter));
}

RESULT_NIL(unseal)

GRAM_API int gram_async_unseal(struct gram_session *session, gram_callback *callback, void *arg)
{
        return submit_bare(session->client, session, METHOD_UNSEAL, callback, arg);
}

GRAM_API int gram_unseal(struct gram_session *session)
{
        BLOCKING(session->client, gram_async_unseal(session, waiter_done, &waiter));
}

RESULT_NIL(rotate)

GRAM_API int gram_async_rotate(struct gram_session *session, gram_callback *callback, void *arg)
{
        return submit_bare(session->client, session, METHOD_ROTATE, callback, arg);
}

GRAM_API int gram_rotate(struct gram_session *session)
{
        BLOCKING(session->client, gram_async_rotate(session, waiter_done, &waiter));
}

/* ---- chown ---- */

RESULT_NIL(chown)

GRAM_API int gram_async_chown(struct gram_session *session, const char *owner, gram_callback *callback,
                              void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_CHOWN, 1);

        pack_cstr(&call.bytes, owner);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_chown(struct gram_session *session, const char *owner)
{
        BLOCKING(session->client, gram_async_chown(session, owner, waiter_done, &waiter));
}

/* ---- delete ---- */

RESULT_NIL(delete)

GRAM_API int gram_async_delete(struct gram_session *session, bool remove_peers, gram_callback *callback,
                               void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_DELETE, 1);

        pack_map(&call.bytes, 1);
        pack_cstr(&call.bytes, "remove_peers");
        pack_bool(&call.bytes, remove_peers);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_delete(struct gram_session *session, bool remove_peers)
{
        BLOCKING(session->client, gram_async_delete(session, remove_peers, waiter_done, &waiter));
}

/* ---- info ---- */

/* Programs know the size of the first part. */
struct info_result {
        struct gram_info info;
        const char *owner;
};

static const struct key info_keys[] = {
        { "name", KEY_TEXT, offsetof(struct gram_info, name), 0 },
        { "backend", KEY_TEXT, offsetof(struct gram_info, backend), 0 },
        { "dialect", KEY_TEXT, offsetof(struct gram_info, dialect), 0 },
        { "version", KEY_INT, offsetof(struct gram_info, version), 0 },
        { "peers", KEY_INT, offsetof(struct gram_info, peers), 0 },
        { "usernames", KEY_INT, offsetof(struct gram_info, usernames), 0 },
        { "states", KEY_INT, offsetof(struct gram_info, states), 0 },
        { "bytes", KEY_INT, offsetof(struct gram_info, bytes), 0 },
        { "handles", KEY_INT, offsetof(struct gram_info, handles), 0 },
        { "fence", KEY_INT, offsetof(struct gram_info, fence), 0 },
        { "unsynced_since", KEY_INT, offsetof(struct gram_info, unsynced_since), 0 },
        { "sealed", KEY_TEXT, offsetof(struct gram_info, sealed), 0 },
        { "owner", KEY_TEXT, offsetof(struct info_result, owner), 0 },
        KEYS_END,
};

RESULT(info, read_map_result(cursor, reply, sizeof(struct info_result), info_keys))

GRAM_API const char *gram_info_owner(const struct gram_info *info)
{
        return ((const struct info_result *)info)->owner;
}

GRAM_API int gram_async_info(struct gram_session *session, gram_callback *callback, void *arg)
{
        return submit_bare(session->client, session, METHOD_INFO, callback, arg);
}

GRAM_API int gram_info(struct gram_session *session, struct gram_info **info)
{
        BLOCKING_RESULT(session->client, gram_async_info(session, waiter_done, &waiter), info);
}

/* ---- watch; answer.c keeps `on` for the next connection ---- */

RESULT_NIL(watch)

GRAM_API int gram_async_watch(struct gram_session *session, bool on, gram_callback *callback, void *arg)
{
        return submit_switch(session->client, session, METHOD_WATCH, on, callback, arg);
}

GRAM_API int gram_watch(struct gram_session *session, bool on)
{
        BLOCKING(session->client, gram_async_watch(session, on, waiter_done, &waiter));
}

GRAM_API const char *const *gram_changed_kv(const struct gram_changed *changed, size_t *n)
{
        const struct changed_result *result = (const struct changed_result *)changed;

        *n = result->n_kv;
        return result->kv;
}

static const struct key changed_keys[] = {
        { "peers", KEY_INTS, offsetof(struct gram_changed, peers), offsetof(struct gram_changed, n_peers) },
        { "usernames", KEY_TEXTS, offsetof(struct gram_changed, usernames),
          offsetof(struct gram_changed, n_usernames) },
        { "phones", KEY_TEXTS, offsetof(struct gram_changed, phones),
          offsetof(struct gram_changed, n_phones) },
        { "fields", KEY_FIELDS, offsetof(struct gram_changed, fields), 0 },
        { "states", KEY_INTS, offsetof(struct gram_changed, states),
          offsetof(struct gram_changed, n_states) },
        { "all", KEY_BOOL, offsetof(struct gram_changed, all), 0 },
        { "kv", KEY_TEXTS, offsetof(struct changed_result, kv), offsetof(struct changed_result, n_kv) },
        KEYS_END,
};

struct gram_changed *changed_read(struct cursor *cursor)
{
        return notification_read(cursor, sizeof(struct changed_result), changed_keys);
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

GRAM_API int gram_cache_enable(struct gram_session *session, size_t max_bytes)
{
        BLOCKING(session->client, gram_async_cache_enable(session, max_bytes, waiter_done, &waiter));
}
