/* Update states. */

#include "../proto/records.h"
#include "method.h"

/* ---- update_states ---- */

RESULT_NIL(update_states)

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

GRAM_API int gram_update_states(struct gram_session *session, const struct gram_state *rows, size_t n,
                                bool keep)
{
        BLOCKING(session->client, gram_async_update_states(session, rows, n, keep, waiter_done, &waiter));
}

/* ---- get_states ---- */

/* A row has at least six bytes: bounds the memory that a false count can claim. */
static int read_states(struct cursor *cursor, struct gram_reply *reply)
{
        struct gram_states *states;
        struct state state;
        uint32_t count;

        if (!cursor_array(cursor, &count) || count > bytes_left(cursor) / 6)
                return GRAM_E_PROTOCOL;
        reply->states = states = block_new(sizeof(*states), count * sizeof(*states->rows));
        if (!states)
                return GRAM_E_NOMEM;
        states->n = count;
        states->rows = block_array(states, count, sizeof(*states->rows));
        if (!states->rows)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count; i++) {
                if (!state_read(cursor, &state))
                        return GRAM_E_PROTOCOL;
                states->rows[i] = (struct gram_state){
                        .id = state.id,
                        .has = state.present, /* parts and bits are in the same order */
                        .pts = state.part[STATE_PTS],
                        .qts = state.part[STATE_QTS],
                        .date = state.part[STATE_DATE],
                        .seq = state.part[STATE_SEQ],
                };
        }
        return 0;
}

RESULT(get_states, read_states(cursor, reply))

GRAM_API int gram_async_get_states(struct gram_session *session, const int64_t *ids, size_t n,
                                   gram_callback *callback, void *arg)
{
        struct call call = call_begin(session->client, session, METHOD_GET_STATES, ids ? 1 : 0);

        if (ids)
                pack_ids(&call.bytes, ids, n);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_get_states(struct gram_session *session, const int64_t *ids, size_t n,
                             struct gram_states **states)
{
        BLOCKING_RESULT(session->client, gram_async_get_states(session, ids, n, waiter_done, &waiter),
                        states);
}

/* ---- remove_states ---- */

RESULT_NIL(remove_states)

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

GRAM_API int gram_remove_states(struct gram_session *session, const int64_t *ids, size_t n)
{
        BLOCKING(session->client, gram_async_remove_states(session, ids, n, waiter_done, &waiter));
}
