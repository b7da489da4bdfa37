/* Update states. All states of an open session are in memory, so reads are answered at once. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        struct state *states = (struct state *)op->write.change.states; /* the op's own */
        size_t n = op->write.change.n, n_new = 0, at = 0;

        (void)next;
        for (size_t i = 0; i < n; i++) {
                const struct state *stored = states_find_next(&session->states, &at, states[i].id);

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

/* Returns the place of the first row that is wrong; `n`: none. */
static uint32_t read_states(struct cursor *list, uint32_t n, struct numbered *rows)
{
        for (uint32_t i = 0; i < n; i++) {
                rows[i].row = i;
                if (!state_read(list, &rows[i].state))
                        return i;
        }
        qsort(rows, n, sizeof(*rows), by_id);
        return n;
}

#define WRONG_STATE "row %u is not [id, pts, qts, date, seq]%s"

static void set_states(struct op *op, struct state *states, size_t n, bool keep)
{
        op->write.change = (struct change){ .kind = CHANGE_STATES, .states = states, .n = n };
        op->write.has_change = n > 0;
        op->write.keep = keep;
        op->write.prepare = prepare_states;
}

static void start_states(struct call *call, const struct numbered *rows)
{
        uint32_t n = call->params[0].count;
        bool keep = call->params[1].boolean;
        struct op *op = call_defer(call, OP_WRITE, n * sizeof(struct state), 0);

        if (!op)
                return;
        set_states(op, op_extra(op), fold(rows, n, keep, op_extra(op)), keep);
        op_start(op);
}

/* ---- a long list, on a worker ---- */

/* The parameter that follows the list. */
static bool read_keep(struct op_reading *reading, bool *keep)
{
        const uint8_t *end = (const uint8_t *)reading->op->bytes + reading->op->n_bytes;

        if (reading->list.at == end || cursor_nil(&reading->list) || cursor_bool(&reading->list, keep))
                return true;
        reading->error = WIRE_BAD_REQUEST;
        snprintf(reading->wrong, sizeof(reading->wrong), "parameter 3 must be a bool or nil");
        return false;
}

static bool fold_long(struct op_reading *reading, const struct numbered *rows, bool keep)
{
        struct op *op = reading->op;
        struct state *states = malloc(reading->n * sizeof(*states));
        size_t n;

        if (!states) {
                reading->no_memory = true;
                return false;
        }
        n = fold(rows, reading->n, keep, states);
        if (n > BACKEND_STATES_MAX) {
                free(states);
                reading->error = WIRE_TOO_LARGE;
                snprintf(reading->wrong, sizeof(reading->wrong), "a session holds at most %d update states",
                         BACKEND_STATES_MAX);
                return false;
        }
        op->write.values = states;
        op->write.free_values = free;
        set_states(op, states, n, keep);
        return true;
}

static bool read_long_states(struct op_reading *reading)
{
        struct numbered *rows = calloc(reading->n, sizeof(*rows));
        uint32_t wrong;
        bool keep = false, right = false;

        if (!rows) {
                reading->no_memory = true;
                return false;
        }
        wrong = read_states(&reading->list, reading->n, rows);
        if (wrong < reading->n) {
                reading->error = WIRE_BAD_REQUEST;
                snprintf(reading->wrong, sizeof(reading->wrong), WRONG_STATE, wrong,
                         float_came(reading->list));
        } else if (read_keep(reading, &keep)) {
                right = fold_long(reading, rows, keep);
        }
        free(rows);
        return right;
}

void method_update_states(struct call *call)
{
        struct numbered few[8];
        struct param *list = &call->params[0];
        uint32_t n = list->count, wrong;
        struct numbered *rows;

        if (n > LIST_MAX || call->n_unread > 0) {
                call_read_later(call, list, n * (sizeof(struct numbered) + sizeof(struct state)),
                                read_long_states);
                return;
        }
        rows = n <= 8 ? few : calloc(n, sizeof(*rows));
        if (!rows) {
                answer_no_memory(&call->request);
                return;
        }
        wrong = read_states(&list->cursor, n, rows);
        if (wrong < n)
                answer_error(&call->request, WIRE_BAD_REQUEST, "update_states: " WRONG_STATE, wrong,
                             float_came(list->cursor));
        else
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

/* Sorts the ids, drops repeated ones and returns how many are left. */
static size_t sort_ids(int64_t *ids, size_t n)
{
        size_t kept = 0;

        qsort(ids, n, sizeof(*ids), by_number);
        for (size_t i = 0; i < n; i++)
                if (kept == 0 || ids[kept - 1] != ids[i])
                        ids[kept++] = ids[i];
        return kept;
}

static const char *wrong_ids(struct cursor at)
{
        return cursor_has_float(at) ? "the ids must be integers" FLOAT_CAME : "the ids must be integers";
}

static bool read_ids(struct cursor *list, uint32_t n, int64_t *ids)
{
        for (uint32_t i = 0; i < n; i++)
                if (!cursor_int(list, &ids[i]))
                        return false;
        return true;
}

/* Reads a list that is not long. False: the request is answered. */
static bool take_ids(struct call *call, int64_t ids[LIST_MAX], size_t *n)
{
        struct param *list = &call->params[0];

        if (!read_ids(&list->cursor, list->count, ids)) {
                answer_error(&call->request, WIRE_BAD_REQUEST, "%s: %s", call->request.method->name,
                             wrong_ids(list->cursor));
                return false;
        }
        *n = sort_ids(ids, list->count);
        return true;
}

/* ---- remove_states ---- */

static void set_gone(struct op *op, const int64_t *ids, size_t n)
{
        op->write.change = (struct change){ .kind = CHANGE_STATES_GONE, .ids = ids, .n = n };
        op->write.has_change = n > 0;
}

static bool read_long_ids(struct op_reading *reading)
{
        struct op *op = reading->op;
        int64_t *ids = malloc(reading->n * sizeof(*ids));

        if (!ids) {
                reading->no_memory = true;
                return false;
        }
        op->write.values = ids;
        op->write.free_values = free;
        if (!read_ids(&reading->list, reading->n, ids)) {
                reading->error = WIRE_BAD_REQUEST;
                snprintf(reading->wrong, sizeof(reading->wrong), "%s", wrong_ids(reading->list));
                return false;
        }
        set_gone(op, ids, sort_ids(ids, reading->n));
        return true;
}

void method_remove_states(struct call *call)
{
        const struct param *list = &call->params[0];
        int64_t ids[LIST_MAX];
        struct op *op;
        size_t n;

        if (list->count > LIST_MAX) {
                call_read_later(call, list, list->count * sizeof(int64_t), read_long_ids);
                return;
        }
        if (!take_ids(call, ids, &n))
                return;
        op = call_defer(call, OP_WRITE, n * sizeof(*ids), 0);
        if (!op)
                return;
        memcpy(op_extra(op), ids, n * sizeof(*ids));
        set_gone(op, op_extra(op), n);
        op_start(op);
}

/* ---- get_states ---- */

enum {
        STATE_BYTES = 46,     /* upper bound of one state in an answer */
        STATES_AT_ONCE = 256, /* more are looked at on a worker */
};

static void pack_states(struct buffer *out, struct state *states, size_t n)
{
        /* cppcheck-suppress uninitvar ; the first n are initialised */
        qsort(states, n, sizeof(*states), state_by_date);
        pack_array(out, (uint32_t)n);
        for (size_t i = 0; i < n; i++)
                state_write(out, &states[i]);
}

/* Copies the states of these ids, each once: `seen` has a bit for every stored state. False: one is no
 * integer. */
static bool pick_states(const struct states *stored, struct cursor *list, uint32_t n_ids, uint8_t *seen,
                        struct state *states, size_t *n)
{
        for (uint32_t i = 0; i < n_ids; i++) {
                const struct state *state;
                size_t place;
                int64_t id;

                if (!cursor_int(list, &id))
                        return false;
                state = states_find(stored, id);
                place = state ? (size_t)(state - stored->rows) : 0;
                if (!state || seen[place / 8] & 1u << place % 8)
                        continue;
                seen[place / 8] |= (uint8_t)(1u << place % 8);
                states[(*n)++] = *state;
        }
        return true;
}

/* On a worker. */
static void look_at_states(struct op *op)
{
        const struct states *stored = &op->lane->session->states;
        struct state *states = malloc(stored->n * sizeof(*states) + 1);
        uint8_t *seen = calloc(1, stored->n / 8 + 1);
        size_t n = 0;

        if (!states || !seen) {
                op->look.message.failed = true;
        } else if (op->look.all) {
                n = stored->n;
                if (n > 0)
                        memcpy(states, stored->rows, n * sizeof(*states));
                pack_states(&op->look.message, states, n);
        } else if (pick_states(stored, &op->look.list, op->look.n, seen, states, &n)) {
                pack_states(&op->look.message, states, n);
        } else {
                op->look.error = WIRE_BAD_REQUEST;
                op->look.wrong = wrong_ids(op->look.list);
        }
        free(states);
        free(seen);
}

static void answer_states(struct call *call, const int64_t *ids, size_t n_ids)
{
        const struct states *stored = &call->session->states;
        struct state states[STATES_AT_ONCE];
        size_t n = 0;

        for (size_t i = 0; i < (ids ? n_ids : stored->n); i++) {
                const struct state *state = ids ? states_find(stored, ids[i]) : &stored->rows[i];

                if (state)
                        states[n++] = *state;
        }
        request_use(&call->request, n, 0);
        pack_states(answer_begin(&call->request), states, n);
        answer_end(&call->request);
}

void method_get_states(struct call *call)
{
        const struct param *list = &call->params[0];
        const struct states *stored = &call->session->states;
        size_t most = list->given && list->count < BACKEND_STATES_MAX ? list->count : BACKEND_STATES_MAX;
        int64_t ids[LIST_MAX];
        size_t n;

        if (!call_is_next(call, most * STATE_BYTES))
                return;
        if (list->given ? list->count > STATES_AT_ONCE : stored->n > STATES_AT_ONCE)
                call_look_later(call, list, (stored->n < most ? stored->n : most) * STATE_BYTES,
                                look_at_states);
        else if (!list->given)
                answer_states(call, NULL, 0);
        else if (take_ids(call, ids, &n))
                answer_states(call, ids, n);
}
