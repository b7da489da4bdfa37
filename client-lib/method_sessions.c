/* The list of sessions, stored and open ones. */

#include "method.h"

static const struct key stored_keys[] = {
        { "name", KEY_TEXT, offsetof(struct gram_stored_session, name), 0 },
        { "backend", KEY_TEXT, offsetof(struct gram_stored_session, backend), 0 },
        { "bytes", KEY_INT, offsetof(struct gram_stored_session, bytes), 0 },
        { "modified", KEY_INT, offsetof(struct gram_stored_session, modified), 0 },
        { "handles", KEY_INT, offsetof(struct gram_stored_session, handles), 0 },
        { "holder", KEY_HOLDER, offsetof(struct gram_stored_session, holder), 0 },
        KEYS_END,
};

static int read_sessions(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        struct gram_stored_sessions *sessions;
        uint32_t count;
        int error = 0;

        if (!cursor_array(cursor, &count) || count > call->expect)
                return GRAM_E_PROTOCOL;
        sessions = block_new(sizeof(*sessions), count * sizeof(*sessions->rows) + bytes_left(cursor));
        reply->sessions = sessions;
        if (!sessions)
                return GRAM_E_NOMEM;
        sessions->n = count;
        sessions->rows = block_array(sessions, count, sizeof(*sessions->rows));
        if (!sessions->rows)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++)
                error = read_map(cursor, sessions, &sessions->rows[i], stored_keys);
        return error;
}

RESULT(sessions, read_sessions(cursor, call, reply))

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

GRAM_API int gram_sessions(struct gram_client *client, const char *glob, const char *after, size_t limit,
                           struct gram_stored_sessions **sessions)
{
        BLOCKING_RESULT(client, gram_async_sessions(client, glob, after, limit, waiter_done, &waiter),
                        sessions);
}
