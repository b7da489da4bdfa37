/* The list of sessions, stored and open ones. */

#include "method.h"

/* Programs know the size of the first parts. */
struct sessions_result {
        struct gram_stored_sessions sessions;
        const char **owners; /* of the rows */
};

static const struct key stored_keys[] = {
        { "name", KEY_TEXT, offsetof(struct gram_stored_session, name), 0 },
        { "backend", KEY_TEXT, offsetof(struct gram_stored_session, backend), 0 },
        { "bytes", KEY_INT, offsetof(struct gram_stored_session, bytes), 0 },
        { "modified", KEY_INT, offsetof(struct gram_stored_session, modified), 0 },
        { "handles", KEY_INT, offsetof(struct gram_stored_session, handles), 0 },
        { "holder", KEY_HOLDER, offsetof(struct gram_stored_session, holder), 0 },
        KEYS_END,
};

/* They are read in a second pass over the row, because a row has no room for them. */
static const struct key owner_keys[] = {
        { "owner", KEY_TEXT, 0, 0 },
        KEYS_END,
};

static int read_sessions(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        struct gram_stored_sessions *sessions;
        struct sessions_result *result;
        uint32_t count;
        int error = 0;

        if (!cursor_array(cursor, &count) || count > call->expect)
                return GRAM_E_PROTOCOL;
        result = block_new(sizeof(*result),
                           count * (sizeof(*sessions->rows) + sizeof(*result->owners)) + bytes_left(cursor));
        reply->sessions = sessions = result ? &result->sessions : NULL;
        if (!sessions)
                return GRAM_E_NOMEM;
        sessions->n = count;
        sessions->rows = block_array(sessions, count, sizeof(*sessions->rows));
        result->owners = block_array(sessions, count, sizeof(*result->owners));
        if (!sessions->rows || !result->owners)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++) {
                struct cursor row = *cursor;

                error = read_map(cursor, sessions, &sessions->rows[i], stored_keys);
                if (!error)
                        error = read_map(&row, sessions, &result->owners[i], owner_keys);
        }
        return error;
}

GRAM_API const char *gram_stored_session_owner(const struct gram_stored_sessions *sessions, size_t i)
{
        return ((const struct sessions_result *)sessions)->owners[i];
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
