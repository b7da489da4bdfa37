/* The key-value area. */

#include "method.h"

#include <string.h>

static void pack_value(struct buffer *out, const void *value, size_t size)
{
        if (value)
                pack_bin(out, (struct slice){ value, size });
        else
                pack_nil(out);
}

static void pack_key(struct buffer *out, const struct gram_kv *row)
{
        if (row->key_size)
                pack_str(out, (struct slice){ row->key, row->key_size });
        else
                pack_cstr(out, row->key);
}

/* The value may be nil. 0, GRAM_E_PROTOCOL or GRAM_E_NOMEM. */
static int read_value(struct cursor *cursor, void *result, struct gram_kv *row)
{
        struct slice bytes;

        if (cursor_nil(cursor))
                return 0;
        if (!cursor_bin(cursor, SIZE_MAX, &bytes))
                return GRAM_E_PROTOCOL;
        row->value = block_text(result, bytes);
        row->size = bytes.len;
        return row->value ? 0 : GRAM_E_NOMEM;
}

static int read_key(struct cursor *cursor, void *result, struct gram_kv *row)
{
        struct slice key;

        if (!cursor_str(cursor, SIZE_MAX, &key) || !key.len)
                return GRAM_E_PROTOCOL;
        row->key = block_text(result, key);
        row->key_size = key.len;
        return row->key ? 0 : GRAM_E_NOMEM;
}

/* A list of `count` rows, empty yet. NULL: no memory. */
static struct gram_kvs *rows_new(const struct cursor *cursor, uint32_t count)
{
        struct gram_kvs *kvs =
                block_new(sizeof(*kvs), count * (sizeof(*kvs->rows) + 16) + bytes_left(cursor));

        if (!kvs)
                return NULL;
        kvs->n = count;
        kvs->rows = block_array(kvs, count, sizeof(*kvs->rows));
        if (kvs->rows)
                return kvs;
        gram_free(kvs);
        return NULL;
}

/* ---- kv_get: the daemon answers values alone; `sought` has the keys, each with its NUL ---- */

static int read_get(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        const char *key = call->sought;
        uint32_t count;
        int error = 0;

        if (!cursor_array(cursor, &count) || count != call->expect)
                return GRAM_E_PROTOCOL;
        reply->kvs = rows_new(cursor, count);
        if (!reply->kvs)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++) {
                struct gram_kv *row = &reply->kvs->rows[i];

                row->key_size = strlen(key);
                row->key = block_text(reply->kvs, (struct slice){ key, row->key_size });
                key += row->key_size + 1;
                error = row->key ? read_value(cursor, reply->kvs, row) : GRAM_E_NOMEM;
        }
        return error;
}

RESULT(kv_get, read_get(cursor, call, reply))

/* One text after the other, each with its NUL. malloc'ed; NULL: no memory. */
static char *join(const char *const *keys, size_t n)
{
        struct buffer all = { 0 };

        for (size_t i = 0; i < n; i++)
                buffer_append(&all, keys[i], strlen(keys[i]) + 1);
        if (!all.failed)
                return (char *)all.data;
        buffer_deinit(&all);
        return NULL;
}

GRAM_API int gram_async_kv_get(struct gram_session *session, const char *const *keys, size_t n,
                               gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_KV_GET, 1);

        call.expect = (int64_t)n;
        call.sought = join(keys, n);
        if (n && !call.sought)
                call.bytes.failed = true;
        pack_array(&call.bytes, (uint32_t)n);
        for (size_t i = 0; i < n; i++)
                pack_cstr(&call.bytes, keys[i]);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_kv_get(struct gram_session *session, const char *const *keys, size_t n,
                         struct gram_kvs **kvs)
{
        BLOCKING_RESULT(session->client, gram_async_kv_get(session, keys, n, waiter_done, &waiter), kvs);
}

/* ---- kv_set ---- */

RESULT_NIL(kv_set)

GRAM_API int gram_async_kv_set(struct gram_session *session, const struct gram_kv *rows, size_t n,
                               gram_callback *callback, void *arg)
{
        struct call call;

        if (!n)
                return submit_nothing(session, METHOD_KV_SET, callback, arg);
        call = call_begin(session->client, session, METHOD_KV_SET, 1);
        pack_array(&call.bytes, (uint32_t)n);
        for (size_t i = 0; i < n; i++) {
                pack_array(&call.bytes, rows[i].ttl_s ? 3 : 2);
                pack_key(&call.bytes, &rows[i]);
                pack_value(&call.bytes, rows[i].value, rows[i].size);
                if (rows[i].ttl_s)
                        pack_int(&call.bytes, rows[i].ttl_s);
        }
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_kv_set(struct gram_session *session, const struct gram_kv *rows, size_t n)
{
        BLOCKING(session->client, gram_async_kv_set(session, rows, n, waiter_done, &waiter));
}

/* ---- kv_swap; `sought` has the key, `expect` its size ---- */

static int read_swap(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        const struct slice key = { call->sought, (size_t)call->expect };
        struct gram_kv *now = block_new(sizeof(*now), key.len + 16 + bytes_left(cursor));
        uint32_t count;
        bool done;

        reply->kv = now;
        if (!now)
                return GRAM_E_NOMEM;
        if (!cursor_array(cursor, &count) || count != 2 || !cursor_bool(cursor, &done))
                return GRAM_E_PROTOCOL;
        reply->number = done;
        now->key = block_text(now, key);
        now->key_size = key.len;
        return now->key ? read_value(cursor, now, now) : GRAM_E_NOMEM;
}

RESULT(kv_swap, read_swap(cursor, call, reply))

GRAM_API int gram_async_kv_swap(struct gram_session *session, const struct gram_kv *row, const void *expected,
                                size_t expected_size, gram_callback *callback, void *arg)
{
        size_t key_size = row->key_size ? row->key_size : strlen(row->key);
        struct call call = call_begin(session->client, session, METHOD_KV_SWAP, row->ttl_s ? 4 : 3);
        struct buffer key = { 0 };

        buffer_append(&key, row->key, key_size);
        call.sought = (char *)key.data;
        call.expect = (int64_t)key_size;
        if (key.failed)
                call.bytes.failed = true;
        pack_key(&call.bytes, row);
        pack_value(&call.bytes, expected, expected_size);
        pack_value(&call.bytes, row->value, row->size);
        if (row->ttl_s)
                pack_int(&call.bytes, row->ttl_s);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_kv_swap(struct gram_session *session, const struct gram_kv *row, const void *expected,
                          size_t expected_size, bool *done, struct gram_kv **now)
{
        struct waiter waiter;
        int code = waiter_begin(&waiter, session->client);

        if (code)
                return code;
        code = waiter_finish(&waiter,
                             gram_async_kv_swap(session, row, expected, expected_size, waiter_done, &waiter));
        if (!code)
                *done = waiter.number;
        if (!code && now)
                *now = waiter.result;
        else
                gram_free(waiter.result);
        return code;
}

/* ---- kv_scan ---- */

static int read_scan(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        uint32_t count, parts;
        int error = 0;

        if (!cursor_array(cursor, &count) || count > call->expect)
                return GRAM_E_PROTOCOL;
        reply->kvs = rows_new(cursor, count);
        if (!reply->kvs)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++) {
                struct gram_kv *row = &reply->kvs->rows[i];

                if (!cursor_array(cursor, &parts) || parts != 2)
                        return GRAM_E_PROTOCOL;
                error = read_key(cursor, reply->kvs, row);
                if (!error)
                        error = read_value(cursor, reply->kvs, row);
                if (!error && !row->value)
                        error = GRAM_E_PROTOCOL;
        }
        return error;
}

RESULT(kv_scan, read_scan(cursor, call, reply))

GRAM_API int gram_async_kv_scan(struct gram_session *session, const char *prefix, const struct gram_kv *after,
                                size_t limit, gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_KV_SCAN, 3);

        call.expect = (int64_t)limit;
        pack_cstr(&call.bytes, prefix ? prefix : "");
        if (after)
                pack_key(&call.bytes, after);
        else
                pack_nil(&call.bytes);
        pack_int(&call.bytes, (int64_t)limit);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_kv_scan(struct gram_session *session, const char *prefix, const struct gram_kv *after,
                          size_t limit, struct gram_kvs **kvs)
{
        BLOCKING_RESULT(session->client,
                        gram_async_kv_scan(session, prefix, after, limit, waiter_done, &waiter), kvs);
}
