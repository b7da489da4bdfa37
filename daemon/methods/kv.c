/*
 * The key-value area: any keys and values that clients keep in a session. Nothing of it is in memory: each
 * request is an op.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../session/audit.h"
#include "methods.h"

enum { TTL_MAX_S = INT32_MAX, VALUE_BYTES = KV_VALUE_MAX_BYTES + 8 };

#define WRONG_KEY "a key is a str of 1 to 255 bytes"
#define WRONG_TTL "ttl must be 1 to 2147483647 seconds, or nil"
#define LONG_VALUE "a value has at most 65536 bytes"

/* False: the session's backend has no such area, and the request is answered. */
static bool has_area(struct call *call)
{
        const struct backend *backend = call->session->storage->backend;

        if (backend->kv_get)
                return true;
        answer_error(&call->request, WIRE_BAD_REQUEST, "%s: the backend %s has no key-value area",
                     call->request.method->name, backend->name);
        return false;
}

/* Always false. */
static bool refuse(struct call *call, enum wire_error error, const char *why)
{
        answer_error(&call->request, error, "%s: %s", call->request.method->name, why);
        return false;
}

static bool is_key(struct slice text)
{
        return text.len >= 1 && text.len <= KV_KEY_MAX_BYTES;
}

/* About how many bytes an answer with so many values takes at most. */
static size_t answer_bytes(const struct call *call, size_t n, size_t max)
{
        size_t message = call->context->config->max_message_bytes;

        if (max > message)
                max = message;
        return n > max / VALUE_BYTES ? max : n * VALUE_BYTES;
}

/* True: the op's read has failed, and the request is answered. */
static bool has_failed(struct op *op)
{
        if (op->kv.error)
                answer_error(&op->request, wire_error_of(op->kv.error), "%s",
                             op->kv.why ? op->kv.why : "the daemon is out of memory");
        return op->kv.error;
}

/* A value that is there. An empty one may have no memory. */
static void pack_value(struct buffer *out, const struct buffer *bytes, size_t at, size_t len)
{
        pack_bin(out, len > 0 ? (struct slice){ (const char *)bytes->data + at, len } : slice_of(""));
}

static void pack_place(struct buffer *out, const struct op *op, const struct kv_place *place)
{
        if (place->is_there)
                pack_value(out, &op->kv.bytes, place->at, place->len);
        else
                pack_nil(out);
}

/* A value may be a key: that the client asks for some is audited, once for each session that it has open. */
static void end_values(struct op *op)
{
        if (!op->lane->reads_kv)
                op->request.audited.action = AUDIT_READ_KV;
        answer_end(&op->request);
        op->lane->reads_kv |= op->request.outcome == 0;
}

/* ---- kv_get ---- */

static void answer_get(struct op *op, const struct found *found)
{
        struct buffer *out;

        (void)found;
        if (has_failed(op))
                return;
        out = answer_begin(&op->request);
        pack_array(out, (uint32_t)op->kv.n);
        for (size_t i = 0; i < op->kv.n; i++)
                pack_place(out, op, &op->kv.places[i]);
        end_values(op);
}

void method_kv_get(struct call *call)
{
        struct param *list = &call->params[0];
        size_t n = list->count;
        struct slice keys[LIST_MAX];
        struct slice *copies;
        struct op *op;

        if (!has_area(call))
                return;
        if (n > LIST_MAX) {
                refuse(call, WIRE_TOO_LARGE, "at most 1000 keys at once");
                return;
        }
        for (size_t i = 0; i < n; i++) {
                if (!cursor_str(&list->cursor, KV_KEY_MAX_BYTES, &keys[i]) || !is_key(keys[i])) {
                        refuse(call, WIRE_BAD_REQUEST, WRONG_KEY);
                        return;
                }
        }
        op = call_defer(call, OP_KV_GET, n * (sizeof(struct slice) + sizeof(struct kv_place)),
                        answer_bytes(call, n, SIZE_MAX));
        if (!op)
                return;
        copies = op_extra(op);
        for (size_t i = 0; i < n; i++)
                copies[i] = op_slice(op, call->frame, keys[i]);
        op->kv.keys = copies;
        op->kv.places = (struct kv_place *)(copies + n);
        op->kv.n = n;
        memset(op->kv.places, 0, n * sizeof(struct kv_place));
        op->kv.bytes.limit = call->context->config->max_message_bytes;
        op->answer = answer_get;
        op_start(op);
}

/* ---- kv_scan ---- */

static void answer_scan(struct op *op, const struct found *found)
{
        struct buffer *out;

        (void)found;
        if (has_failed(op))
                return;
        request_use(&op->request, op->kv.n, 0);
        out = answer_begin(&op->request);
        pack_array(out, (uint32_t)op->kv.n);
        buffer_append(out, op->kv.bytes.data, op->kv.bytes.len);
        end_values(op);
}

void method_kv_scan(struct call *call)
{
        const struct param *prefix = &call->params[0], *after = &call->params[1], *limit = &call->params[2];
        struct op *op;

        if (!has_area(call) || !scan_limit(call, limit))
                return;
        if (prefix->text.len > KV_KEY_MAX_BYTES || (after->given && !is_key(after->text))) {
                refuse(call, WIRE_BAD_REQUEST, WRONG_KEY);
                return;
        }
        op = call_defer(call, OP_KV_SCAN, 0, answer_bytes(call, (size_t)limit->integer, KV_PAGE_BYTES));
        if (!op)
                return;
        op->kv.prefix = op_slice(op, call->frame, prefix->text);
        op->kv.after = op_slice(op, call->frame, after->text);
        op->kv.limit = (size_t)limit->integer;
        op->kv.bytes.limit = call->context->config->max_message_bytes;
        op->answer = answer_scan;
        op_start(op);
}

/* ---- kv_set ---- */

/* A short list is read at once. */
enum { FEW_ROWS = 64 };

enum row_error { ROW_WRONG = -1, ROW_KEY = -2, ROW_TTL = -3, ROW_TOO_LARGE = -4 };

static const struct {
        enum wire_error error;
        const char *text;
} row_errors[] = {
        [-ROW_WRONG] = { WIRE_BAD_REQUEST, "row %zu is not [key, bin or nil(, ttl or nil)]%s" },
        [-ROW_KEY] = { WIRE_BAD_REQUEST, "row %zu: " WRONG_KEY "%s" },
        [-ROW_TTL] = { WIRE_BAD_REQUEST, "row %zu: " WRONG_TTL "%s" },
        [-ROW_TOO_LARGE] = { WIRE_TOO_LARGE, "row %zu: " LONG_VALUE "%s" },
};

/* 0 or a ROW_…. */
static int read_row(struct cursor *list, struct kv_row *row)
{
        uint32_t parts;

        *row = (struct kv_row){ .value = SLICE_NONE };
        if (!cursor_array(list, &parts) || parts < 2 || parts > 3)
                return ROW_WRONG;
        if (!cursor_str(list, SIZE_MAX, &row->key) || !is_key(row->key))
                return ROW_KEY;
        if (!cursor_nil(list) && !cursor_bin(list, SIZE_MAX, &row->value))
                return ROW_WRONG;
        if (row->value.len > KV_VALUE_MAX_BYTES)
                return ROW_TOO_LARGE;
        if (parts == 3 && !cursor_nil(list) && !cursor_int_in(list, 1, TTL_MAX_S, &row->ttl_s))
                return ROW_TTL;
        return 0;
}

/* `*place`: of the row that is wrong. */
static int read_rows(struct cursor *list, size_t n, struct kv_row *rows, size_t *place)
{
        int error = 0;

        for (*place = 0; *place < n; ++*place) {
                error = read_row(list, &rows[*place]);
                if (error)
                        break;
        }
        return error;
}

/* Of equal keys the row that was sent later, and is later in the frame, comes last. */
static int by_key(const void *a, const void *b)
{
        const struct slice *left = &((const struct kv_row *)a)->key,
                           *right = &((const struct kv_row *)b)->key;
        int order = slice_compare(*left, *right);

        return order ? order : (left->data > right->data) - (left->data < right->data);
}

/* Sorts the rows, leaves the last one of each key, and returns how many are left. */
static size_t last_of_each(struct kv_row *rows, size_t n)
{
        size_t kept = 0;

        qsort(rows, n, sizeof(*rows), by_key);
        for (size_t i = 0; i < n; i++)
                if (i + 1 == n || !slice_equal(rows[i].key, rows[i + 1].key))
                        rows[kept++] = rows[i];
        return kept;
}

struct rows {
        struct kv_outcome outcome;
        struct kv_row rows[];
};

static void set_rows(struct op *op, struct rows *rows, size_t n)
{
        n = last_of_each(rows->rows, n);
        op->write.change = (struct change){ .kind = CHANGE_KV, .kv = rows->rows, .n = n };
        op->write.has_change = n > 0;
        op->write.kv = &rows->outcome;
}

static bool read_long_rows(struct op_reading *reading)
{
        struct op *op = reading->op;
        struct rows *rows = malloc(sizeof(*rows) + reading->n * sizeof(struct kv_row));
        size_t place;
        int error;

        if (!rows) {
                reading->no_memory = true;
                return false;
        }
        rows->outcome = (struct kv_outcome){ 0 };
        op->write.values = rows;
        op->write.free_values = free;
        error = read_rows(&reading->list, reading->n, rows->rows, &place);
        if (error) {
                reading->error = row_errors[-error].error;
                snprintf(reading->wrong, sizeof(reading->wrong), row_errors[-error].text, place,
                         float_came(reading->list));
                return false;
        }
        set_rows(op, rows, reading->n);
        return true;
}

void method_kv_set(struct call *call)
{
        const struct param *list = &call->params[0];
        struct cursor copy;
        struct rows *rows;
        struct op *op;
        size_t place;
        int error;

        if (!has_area(call))
                return;
        if (list->count > FEW_ROWS) {
                call_read_later(call, list, list->count * sizeof(struct kv_row), read_long_rows);
                return;
        }
        op = call_defer(call, OP_WRITE, sizeof(*rows) + list->count * sizeof(struct kv_row), 0);
        if (!op)
                return;
        rows = op_extra(op);
        rows->outcome = (struct kv_outcome){ 0 };
        copy = call_list(op, call, list);
        error = read_rows(&copy, list->count, rows->rows, &place);
        if (error) {
                char why[160];

                snprintf(why, sizeof(why), row_errors[-error].text, place, float_came(copy));
                answer_error(&op->request, row_errors[-error].error, "kv_set: %s", why);
                op_free(op);
                return;
        }
        set_rows(op, rows, list->count);
        op_start(op);
}

/* ---- kv_swap ---- */

/* Of the write; or of the read that a repetition has become. */
static void answer_swap(struct op *op, const struct found *found)
{
        const struct kv_swapping *swapping = op_extra(op);
        const struct kv_outcome *outcome = &swapping->outcome;
        struct buffer *out;

        (void)found;
        if (op->kind == OP_KV_GET && has_failed(op))
                return;
        out = answer_begin(&op->request);
        pack_array(out, 2);
        pack_bool(out, op->kind == OP_WRITE && outcome->done);
        if (op->kind == OP_KV_GET)
                pack_place(out, op, &swapping->place);
        else if (outcome->done)
                pack_bin(out, swapping->swap.row.value);
        else if (!outcome->is_there)
                pack_nil(out);
        else
                pack_value(out, &outcome->stands, 0, outcome->stands.len);
        end_values(op);
}

/* A backend that does not `remember` recognises a repetition by these. */
static void set_caller(struct kv_swap *swap, const struct op *op)
{
        swap->has_caller = op->caller.known;
        swap->msgid = op->request.id;
        for (int i = 0; i < 4; i++)
                swap->caller[i] = (uint8_t)(op->caller.uid >> 8 * i);
        memcpy(swap->caller + 4, op->caller.id, LIMIT_ID_BYTES);
}

static bool check_swap(struct call *call)
{
        const struct param *key = &call->params[0], *expected = &call->params[1], *value = &call->params[2],
                           *ttl = &call->params[3];

        if (!is_key(key->text))
                return refuse(call, WIRE_BAD_REQUEST, WRONG_KEY);
        if (ttl->given && (ttl->integer < 1 || ttl->integer > TTL_MAX_S))
                return refuse(call, WIRE_BAD_REQUEST, WRONG_TTL);
        if (expected->text.len > KV_VALUE_MAX_BYTES || value->text.len > KV_VALUE_MAX_BYTES)
                return refuse(call, WIRE_TOO_LARGE, LONG_VALUE);
        return true;
}

void method_kv_swap(struct call *call)
{
        struct kv_swapping *swapping;
        struct op *op;

        static_assert(KV_CALLER_BYTES == 4 + LIMIT_ID_BYTES, "a caller is a uid and an id");
        if (!has_area(call) || !check_swap(call))
                return;
        op = call_defer(call, OP_WRITE, sizeof(*swapping), VALUE_BYTES);
        if (!op)
                return;
        swapping = op_extra(op);
        *swapping = (struct kv_swapping){
                .swap.row.key = op_slice(op, call->frame, call->params[0].text),
                .swap.expected = op_slice(op, call->frame, call->params[1].text),
                .swap.row.value = op_slice(op, call->frame, call->params[2].text),
                .swap.row.ttl_s = call->params[3].integer,
        };
        set_caller(&swapping->swap, op);
        op->write.change = (struct change){ .kind = CHANGE_KV_SWAP, .swap = &swapping->swap, .n = 1 };
        op->write.has_change = true;
        op->write.kv = &swapping->outcome;
        op->answer = answer_swap;
        op_start(op);
}
