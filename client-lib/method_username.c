/* The usernames table: names that lead to a peer besides its own username. */

#include "cache.h"
#include "method.h"

/* ---- update_usernames ---- */

RESULT_NIL(update_usernames)

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

GRAM_API int gram_update_usernames(struct gram_session *session, const struct gram_names *rows, size_t n)
{
        BLOCKING(session->client, gram_async_update_usernames(session, rows, n, waiter_done, &waiter));
}

/* ---- scan_usernames ---- */

static int read_username(struct cursor *cursor, void *result, struct gram_username *row)
{
        uint32_t parts;
        int error;

        if (!cursor_array(cursor, &parts) || parts != 3)
                return GRAM_E_PROTOCOL;
        error = read_text(cursor, result, &row->username);
        if (error)
                return error;
        if (!cursor_int(cursor, &row->peer_id))
                return GRAM_E_PROTOCOL;
        row->has_last_update_on = !cursor_nil(cursor);
        return !row->has_last_update_on || cursor_int(cursor, &row->last_update_on) ? 0 : GRAM_E_PROTOCOL;
}

static int read_usernames(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        struct gram_usernames *usernames;
        uint32_t count;
        int error = 0;

        if (!cursor_array(cursor, &count) || count > call->expect)
                return GRAM_E_PROTOCOL;
        usernames = block_new(sizeof(*usernames), count * sizeof(*usernames->rows) + 2 * bytes_left(cursor));
        reply->usernames = usernames;
        if (!usernames)
                return GRAM_E_NOMEM;
        usernames->n = count;
        usernames->rows = block_array(usernames, count, sizeof(*usernames->rows));
        if (!usernames->rows)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++)
                error = read_username(cursor, usernames, &usernames->rows[i]);
        return error;
}

RESULT(scan_usernames, read_usernames(cursor, call, reply))

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

GRAM_API int gram_scan_usernames(struct gram_session *session, const char *after, int64_t after_id,
                                 size_t limit, struct gram_usernames **usernames)
{
        BLOCKING_RESULT(session->client,
                        gram_async_scan_usernames(session, after, after_id, limit, waiter_done, &waiter),
                        usernames);
}
