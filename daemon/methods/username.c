/* The usernames table: further names that lead to a peer. */

#include <stdio.h>
#include <stdlib.h>

#include "../base/clock.h"
#include "methods.h"

/* ---- update_usernames ---- */

#define WRONG_ROW "row %u is not [peer_id, [username, ...](, last_update_on)]%s"

/*
 * Checks the list and counts its names. Returns the place of the first row that is wrong, and `why` gets
 * what float_came() says of it; `n`: none.
 */
static uint32_t check(struct cursor cursor, uint32_t n, size_t *n_names, const char **why)
{
        *n_names = 0;
        for (uint32_t i = 0; i < n; i++) {
                uint32_t parts, names;
                int64_t number;
                struct slice name;
                const struct cursor row = cursor;
                bool valid = cursor_array(&cursor, &parts) && (parts == 2 || parts == 3) &&
                             cursor_int(&cursor, &number) && cursor_array(&cursor, &names);

                for (uint32_t k = 0; valid && k < names; k++)
                        valid = cursor_str(&cursor, TEXT_MAX_BYTES, &name);
                if (valid && parts == 3)
                        valid = cursor_nil(&cursor) || cursor_int(&cursor, &number);
                if (!valid) {
                        *why = float_came(row);
                        return i;
                }
                *n_names += names;
        }
        return n;
}

static int by_name(const void *a, const void *b)
{
        return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* Sorts the names, drops repeated ones and returns how many are left. */
static size_t unique_names(struct slice *names, size_t n)
{
        size_t kept = 0;

        qsort(names, n, sizeof(struct slice), by_name);
        for (size_t i = 0; i < n; i++)
                if (kept == 0 || !slice_equal(names[kept - 1], names[i]))
                        names[kept++] = names[i];
        return kept;
}

/* Reads what check() has checked. */
static void read_names(struct cursor cursor, uint32_t n, struct peer_names *rows, struct slice *names)
{
        for (uint32_t i = 0; i < n; i++) {
                uint32_t parts, count;

                rows[i] = (struct peer_names){ .names = names, .last_update_on = unix_now() };
                cursor_array(&cursor, &parts);
                cursor_int(&cursor, &rows[i].peer_id);
                cursor_array(&cursor, &count);
                for (uint32_t k = 0; k < count; k++)
                        cursor_str(&cursor, TEXT_MAX_BYTES, &names[k]);
                rows[i].n_names = unique_names(names, count);
                names += count;
                if (parts == 3 && !cursor_nil(&cursor))
                        cursor_int(&cursor, &rows[i].last_update_on);
        }
}

struct numbered {
        int64_t peer_id;
        uint32_t row;
};

static int by_peer(const void *a, const void *b)
{
        const struct numbered *left = a, *right = b;

        if (left->peer_id != right->peer_id)
                return left->peer_id < right->peer_id ? -1 : 1;
        return left->row < right->row ? -1 : 1;
}

static int by_row(const void *a, const void *b)
{
        const struct numbered *left = a, *right = b;

        return left->row < right->row ? -1 : 1;
}

/* Drops all but the last row of each peer, keeps the order and returns how many are left. */
static size_t last_of_each(struct peer_names *rows, struct numbered *order, size_t n)
{
        size_t kept = 0;

        for (size_t i = 0; i < n; i++)
                order[i] = (struct numbered){ rows[i].peer_id, (uint32_t)i };
        qsort(order, n, sizeof(*order), by_peer);
        for (size_t i = 0; i < n; i++)
                if (i + 1 == n || order[i].peer_id != order[i + 1].peer_id)
                        order[kept++] = order[i];
        qsort(order, kept, sizeof(*order), by_row);
        for (size_t i = 0; i < kept; i++)
                rows[i] = rows[order[i].row];
        return kept;
}

/* What lies in the op's extra bytes or `values`, in this order. `order` is for sorting only. */
struct layout {
        struct peer_names *rows;
        struct slice *names;
        struct numbered *order;
};

static size_t layout_size(size_t n_rows, size_t n_names)
{
        return n_rows * (sizeof(struct peer_names) + sizeof(struct numbered)) +
               n_names * sizeof(struct slice);
}

static unsigned prepare_names(struct op *op, struct identity *next)
{
        struct cache *cache = op->lane->session->cache;
        const struct change *change = &op->write.change;

        (void)next;
        /*
         * The list may move a name from one peer to another: either all rows repeat what is stored, or all
         * count as new.
         */
        for (size_t i = 0; i < change->n; i++)
                if (cache_repeats_names(cache, &change->names[i]) != CACHE_REPEAT)
                        return 0;
        for (size_t i = 0; i < change->n; i++)
                cache_touch_names(cache, change->names[i].peer_id, change->names[i].last_update_on);
        answer_nil(&op->request);
        return OP_ANSWERED;
}

/* `list`: in the op's copy of the frame. */
static void set_names(struct op *op, struct cursor list, uint32_t n, size_t n_names, void *memory)
{
        struct layout layout = { .rows = memory };

        layout.names = (struct slice *)(layout.rows + n);
        layout.order = (struct numbered *)(layout.names + n_names);
        read_names(list, n, layout.rows, layout.names);
        op->write.change = (struct change){ .kind = CHANGE_NAMES, .names = layout.rows };
        op->write.change.n = last_of_each(layout.rows, layout.order, n);
        op->write.has_change = op->write.change.n > 0;
}

/* On a worker. Without a look at the cache: all rows count as new. */
static bool read_long_names(struct op_reading *reading)
{
        struct op *op = reading->op;
        const char *why;
        size_t n_names;
        uint32_t wrong = check(reading->list, reading->n, &n_names, &why);

        if (wrong < reading->n) {
                reading->error = WIRE_BAD_REQUEST;
                snprintf(reading->wrong, sizeof(reading->wrong), WRONG_ROW, wrong, why);
                return false;
        }
        op->write.values = malloc(layout_size(reading->n, n_names) + 1);
        if (!op->write.values) {
                reading->no_memory = true;
                return false;
        }
        op->write.free_values = free;
        set_names(op, reading->list, reading->n, n_names, op->write.values);
        return true;
}

void method_update_usernames(struct call *call)
{
        const struct param *list = &call->params[0];
        bool may_compare = call->lane->n_ops == 0; /* else an op before it may change what is cached */
        const char *why;
        uint32_t wrong;
        size_t n_names;
        struct op *op;

        if (call->frame.len > LONG_FRAME_BYTES) {
                call_read_later(call, list, call->frame.len / 2 * sizeof(struct slice), read_long_names);
                return;
        }
        wrong = check(list->cursor, list->count, &n_names, &why);
        if (wrong < list->count) {
                answer_error(&call->request, WIRE_BAD_REQUEST, "update_usernames: " WRONG_ROW, wrong, why);
                return;
        }
        op = call_defer(call, OP_WRITE, layout_size(list->count, n_names), 0);
        if (!op)
                return;
        set_names(op, call_list(op, call, list), list->count, n_names, op_extra(op));
        op->write.prepare = may_compare ? prepare_names : NULL;
        op_start(op);
}

/* ---- scan_usernames ---- */

static void answer_usernames(struct op *op, const struct found *found)
{
        struct cache *cache = op->lane->session->cache;
        struct buffer *out = answer_begin(&op->request);
        size_t at = pack_array_begin(out), n = 0;

        for (; n < found->n && answer_has_room(&op->request, out, n, ROW_BYTES); n++) {
                const struct found_username *row = &found->usernames[n];

                pack_array(out, 3);
                pack_str(out, row->username);
                pack_int(out, row->peer_id);
                if (row->has_time)
                        pack_int(out, cache_names_time(cache, row->peer_id, row->last_update_on));
                else
                        pack_nil(out);
        }
        pack_array_end(out, at, (uint32_t)n);
        answer_end(&op->request);
}

void method_scan_usernames(struct call *call)
{
        struct param *after = &call->params[0];
        const struct param *limit = &call->params[1];
        struct slice name = SLICE_NONE;
        int64_t id = 0;
        struct op *op;

        if (after->given &&
            (call->n_unread > 0 || after->count != 2 || !cursor_str(&after->cursor, TEXT_MAX_BYTES, &name) ||
             !cursor_int(&after->cursor, &id))) {
                answer_error(&call->request, WIRE_BAD_REQUEST,
                             "scan_usernames: the first parameter after the session must be [username, "
                             "peer_id] or nil%s",
                             float_came(after->cursor));
                return;
        }
        if (!scan_limit(call, limit) || !call_is_next(call, (size_t)limit->integer * ROW_BYTES))
                return;
        op = call_defer(call, OP_SCAN_USERNAMES, 0, (size_t)limit->integer * ROW_BYTES);
        if (!op)
                return;
        op->scan.after_name = op_slice(op, call->frame, name);
        op->scan.after_id = id;
        op->scan.limit = (size_t)limit->integer;
        op->answer = answer_usernames;
        op_start(op);
}
