/* What a program may ask before it opens a session: hello, ping. */

#include "method.h"

/* ---- hello; connection.c sends the client's own ---- */

/* Programs know the size of the first part. */
struct hello_result {
        struct gram_hello hello;
        int64_t kv_max_value;
        int64_t kv_max;
};

GRAM_API int64_t gram_hello_kv_max_value(const struct gram_hello *hello)
{
        return ((const struct hello_result *)hello)->kv_max_value;
}

GRAM_API int64_t gram_hello_kv_max(const struct gram_hello *hello)
{
        return ((const struct hello_result *)hello)->kv_max;
}

static const struct key hello_keys[] = {
        { "server", KEY_TEXT, offsetof(struct gram_hello, server), 0 },
        { "version", KEY_TEXT, offsetof(struct gram_hello, version), 0 },
        { "protocol", KEY_INT, offsetof(struct gram_hello, protocol), 0 },
        { "max_message", KEY_INT, offsetof(struct gram_hello, max_message_bytes), 0 },
        { "max_depth", KEY_INT, offsetof(struct gram_hello, max_depth), 0 },
        { "max_in_flight", KEY_INT, offsetof(struct gram_hello, max_in_flight), 0 },
        { "max_sessions", KEY_INT, offsetof(struct gram_hello, max_sessions), 0 },
        { "backends", KEY_TEXTS, offsetof(struct gram_hello, backends),
          offsetof(struct gram_hello, n_backends) },
        { "default_backend", KEY_TEXT, offsetof(struct gram_hello, default_backend), 0 },
        { "features", KEY_TEXTS, offsetof(struct gram_hello, features),
          offsetof(struct gram_hello, n_features) },
        { "kv_max_value", KEY_INT, offsetof(struct hello_result, kv_max_value), 0 },
        { "kv_max", KEY_INT, offsetof(struct hello_result, kv_max), 0 },
        KEYS_END,
};

RESULT(hello, read_map_result(cursor, reply, sizeof(struct hello_result), hello_keys))

GRAM_API int gram_async_hello(struct gram_client *client, gram_callback *callback, void *arg)
{
        struct call call = call_begin(client, NULL, METHOD_HELLO, 1);

        pack_map(&call.bytes, 1);
        pack_cstr(&call.bytes, "client");
        pack_cstr(&call.bytes, client->name);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_hello(struct gram_client *client, struct gram_hello **hello)
{
        BLOCKING_RESULT(client, gram_async_hello(client, waiter_done, &waiter), hello);
}

/* ---- ping ---- */

/* The daemon must echo `expect`. */
static int read_ping(struct cursor *cursor, const struct call *call)
{
        int64_t echo;

        return cursor_int(cursor, &echo) && echo == call->expect ? 0 : GRAM_E_PROTOCOL;
}

RESULT(ping, read_ping(cursor, call))

GRAM_API int gram_async_ping(struct gram_client *client, gram_callback *callback, void *arg)
{
        struct call call = call_begin(client, NULL, METHOD_PING, 1);

        call.expect = now_ms();
        pack_int(&call.bytes, call.expect);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_ping(struct gram_client *client)
{
        BLOCKING(client, gram_async_ping(client, waiter_done, &waiter));
}
