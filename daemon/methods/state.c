/* Update states. All states of an open session are in memory, so reads are answered at once. */

#include <stdlib.h>

#include "methods.h"

/* ---- update_states ---- */

struct numbered {
        struct state state;
        uint32_t row;
};

static int by_id(const void *a, const void *b)
{
        const struct numbered *left = a, *right = b;

        if (left->state.id != right->state.id)
                return left->state.id < right->state.id ? -1 : 1;
        return left->row < right->row ? -1 : 1;
}

/*
 * Leaves the last row of each id and returns how many rows are left. With `keep`, its nil parts come from the
 * earlier rows of that id. `rows` are sorted by id, then by place in the list.
 */
static size_t fold(const struct numbered *rows, size_t n, bool keep, struct state *states)
{
        size_t folded = 0;

        for (size_t i = 0; i < n; i++) {
                struct state state = rows[i].state;
                bool again = folded > 0 && states[folded - 1].id == state.id;

                if (again && keep)
                        state_keep(&state, &states[folded - 1]);
                states[again ? folded - 1 : folded++] = state;
        }
        return folded;
}

static unsigned prepare_states(struct op *op, struct identity *next)
{
        struct session *session = op->lane->session;
        struct state *states = op_extra(op);
        size_t n = op->write.change.n, n_new = 0;

        (void)next;
        for (size_t i = 0; i < n; i++) {
                const struct state *stored = states_find(&session->states, states[i].id);

                n_new += !stored;
                if (stored && op->write.keep)
                        state_keep(&states[i], stored);
        }
        if (session->states.n + n_new > BACKEND_STATES_MAX) {
                answer_error(&op->request, WIRE_TOO_LARGE, "a session holds at most %d update states",
                             BACKEND_STATES_MAX);
                return OP_ANSWERED;
        }
        if (!states_reserve(&session->states, n_new)) {
                answer_no_memory(&op->request);
                return OP_ANSWERED;
        }
        return 0;
}

static bool read_states(struct call *call, struct numbered *rows)
{
        struct param *list = &call->params[0];

        for (uint32_t i = 0; i < list->count; i++) {
                rows[i].row = i;
                if (state_read(&list->cursor, &rows[i].state))
                        continue;
                answer_error(&call->request, WIRE_BAD_REQUEST,
                             "update_states: row %u is not [id, pts, qts, date, seq]", i);
                return false;
        }
        qsort(rows, list->count, sizeof(*rows), by_id);
        return true;
}

static void start_states(struct call *call, const struct numbered *rows)
{
        uint32_t n = call->params[0].count;
        bool keep = call->params[1].boolean;
        struct op *op = call_defer(call, OP_WRITE, n * sizeof(struct state), 0);

        if (!op)
                return;
        op->write.change = (struct change){ .kind = CHANGE_STATES, .states = op_extra(op) };
        op->write.change.n = fold(rows, n, keep, op_extra(op));
        op->write.has_change = n > 0;
        op->write.keep = keep;
        op->write.prepare = prepare_states;
        op_start(op);
}

void method_update_states(struct call *call)
{
        struct numbered few[8];
        uint32_t n = call->params[0].count;
        struct numbered *rows = n <= 8 ? few : calloc(n, sizeof(*rows));

        if (!rows) {
                answer_no_memory(&call->request);
                return;
        }
        if (read_states(call, rows))
                start_states(call, rows);
        if (rows != few)
                free(rows);
}

/* ---- ids ---- */

static int by_number(const void *a, const void *b)
{
        int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

        return (left > right) - (left < right);
}

/* Sorts the ids and drops repeated ones. False: one is no integer, and the request is answered. */
static bool read_ids(struct call *call, int64_t *ids, size_t *n)
{
        struct param *list = &call->params[0];
        size_t kept = 0;

        for (uint32_t i = 0; i < list->count; i++) {
                if (!cursor_int(&list->cursor, &ids[i])) {
                        answer_error(&call->request, WIRE_BAD_REQUEST, "%s: the ids must be integers",
                                     call->request.method->name);
                        return false;
                }
        }
        qsort(ids, list->count, sizeof(*ids), by_number);
        for (uint32_t i = 0; i < list->count; i++)
                if (kept == 0 || ids[kept - 1] != ids[i])
                        ids[kept++] = ids[i];
        *n = kept;
        return true;
}

static void start_remove(struct call *call, const int64_t *ids, size_t n)
{
        struct op *op = call_defer(call, OP_WRITE, n * sizeof(*ids), 0);

        if (!op)
                return;
        memcpy(op_extra(op), ids, n * sizeof(*ids));
        op->write.change = (struct change){ .kind = CHANGE_STATES_GONE, .ids = op_extra(op), .n = n };
        op->write.has_change = n > 0;
        op_start(op);
}

/* ---- get_states ---- */

enum { STATE_BYTES = 46 }; /* upper bound of one state in an answer */

static void pack_states(struct buffer *out, struct state *states, size_t n)
{
        qsort(states, n, sizeof(*states), state_by_date);
        pack_array(out, (uint32_t)n);
        for (size_t i = 0; i < n; i++)
                state_write(out, &states[i]);
}

/* `ids` NULL: all states. */
static void answer_states(struct call *call, const int64_t *ids, size_t n_ids)
{
        const struct session *session = call->session;
        size_t most = ids ? n_ids : session->states.n, n = 0;
        struct state *states = malloc(most * sizeof(*states) + 1);

        if (!states) {
                answer_no_memory(&call->request);
                return;
        }
        for (size_t i = 0; i < most; i++) {
                const struct state *state =
                        ids ? states_find(&session->states, ids[i]) : &session->states.rows[i];

                if (state)
                        states[n++] = *state;
        }
        request_use(&call->request, most, 0);
        pack_states(answer_begin(&call->request), states, n);
        answer_end(&call->request);
        free(states);
}

/* Reads the list of ids and calls `then` with it. */
static void with_ids(struct call *call, void (*then)(struct call *, const int64_t *, size_t))
{
        int64_t few[16];
        uint32_t count = call->params[0].count;
        int64_t *ids = count <= 16 ? few : malloc(count * sizeof(*ids));
        size_t n;

        if (!ids) {
                answer_no_memory(&call->request);
                return;
        }
        if (read_ids(call, ids, &n))
                then(call, ids, n);
        if (ids != few)
                free(ids);
}

void method_remove_states(struct call *call)
{
        with_ids(call, start_remove);
}

void method_get_states(struct call *call)
{
        const struct param *ids = &call->params[0];
        size_t most = ids->given && ids->count < BACKEND_STATES_MAX ? ids->count : BACKEND_STATES_MAX;

        if (!call_is_next(call, most * STATE_BYTES))
                return;
        if (ids->given)
                with_ids(call, answer_states);
        else
                answer_states(call, NULL, 0);
}
