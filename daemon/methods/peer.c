/* Peers: lookups, scans, upserts. A lookup is answered from the cache, or by an op that asks the backend. */

#include <stdio.h>
#include <stdlib.h>

#include "../base/clock.h"
#include "methods.h"

enum { MAX_AGE_DEFAULT_S = 8 * 60 * 60 };

/* ---- lookups ---- */

static void answer_missing(struct request *request, const struct lookup *lookup)
{
        char text[QUOTE_BYTES];

        switch (lookup->kind) {
        case LOOKUP_ID:
                answer_error(request, WIRE_NOT_FOUND, "ID not found: %lld", (long long)lookup->id);
                break;
        case LOOKUP_USERNAME:
                answer_error(request, WIRE_NOT_FOUND, "Username not found: %s", quote(lookup->text, text));
                break;
        case LOOKUP_PHONE:
                answer_error(request, WIRE_NOT_FOUND, "Phone number not found: %s",
                             quote(lookup->text, text));
                break;
        }
}

/*
 * More than `max_age` seconds away from now, in the past or the future. A difference that does not fit 64
 * bits is more, too.
 */
static bool too_old(int64_t time, int64_t max_age)
{
        int64_t away;

        return __builtin_sub_overflow(unix_now(), time, &away) || away > max_age || away < -max_age;
}

static bool is_expired(const struct cache_hit *hit, int64_t max_age)
{
        struct peer peer;

        if (max_age == 0)
                return false;
        peer_unpack(hit->packed, &peer);
        return too_old(peer.last_update_on, max_age) ||
               (hit->from_table && hit->has_row_time && too_old(hit->row_time, max_age));
}

/* CACHE_HIT or CACHE_ABSENT. */
static void answer_lookup(struct request *request, const struct lookup *lookup, enum cache_answer answer,
                          const struct cache_hit *hit, int64_t max_age)
{
        char text[QUOTE_BYTES];

        if (answer == CACHE_ABSENT) {
                answer_missing(request, lookup);
        } else if (lookup->kind == LOOKUP_USERNAME && is_expired(hit, max_age)) {
                answer_error(request, WIRE_EXPIRED, "Username expired: %s", quote(lookup->text, text));
        } else {
                buffer_append(answer_begin(request), hit->packed.data, hit->packed.len);
                answer_end(request);
        }
}

static void answer_find(struct op *op, const struct found *found)
{
        struct cache_hit hit;
        enum cache_answer answer =
                cache_found(op->lane->session->cache, op->find.lookups, found->matches, found->n, &hit);

        if (answer == CACHE_MISS)
                answer_no_memory(&op->request);
        else
                answer_lookup(&op->request, op->find.lookups, answer, &hit, op->find.max_age);
}

static enum cache_answer ask_cache(struct cache *cache, const struct lookup *lookup, struct cache_hit *hit)
{
        switch (lookup->kind) {
        case LOOKUP_ID: return cache_by_id(cache, lookup->id, hit);
        case LOOKUP_USERNAME: return cache_by_username(cache, lookup->text, hit);
        case LOOKUP_PHONE: return cache_by_phone(cache, lookup->text, hit);
        }
        return CACHE_MISS;
}

static void look_up(struct call *call, const struct lookup *lookup, int64_t max_age)
{
        struct cache_hit hit;
        enum cache_answer answer;
        struct op *op;

        if (!call_is_next(call, ROW_BYTES))
                return;
        answer = ask_cache(call->session->cache, lookup, &hit);
        if (answer != CACHE_MISS) {
                answer_lookup(&call->request, lookup, answer, &hit, max_age);
                return;
        }
        op = call_defer(call, OP_FIND, sizeof(*lookup), ROW_BYTES);
        if (!op)
                return;
        op->find.lookups = op_extra(op);
        op->find.n_lookups = 1;
        op->find.max_age = max_age;
        op->find.lookups[0] = *lookup;
        op->find.lookups[0].text = op_slice(op, call->frame, lookup->text);
        op->answer = answer_find;
        op_start(op);
}

void method_get_peer_by_id(struct call *call)
{
        look_up(call, &(struct lookup){ .kind = LOOKUP_ID, .id = call->params[0].integer }, 0);
}

/* True: the text is longer than any that can be stored, and the request is answered. */
static bool too_long(struct call *call, const struct lookup *lookup)
{
        if (lookup->text.len <= TEXT_MAX_BYTES)
                return false;
        answer_error(&call->request, WIRE_TOO_LARGE, "%s: names and numbers are at most 255 bytes",
                     call->request.method->name);
        return true;
}

void method_get_peer_by_username(struct call *call)
{
        const struct lookup lookup = { .kind = LOOKUP_USERNAME, .text = call->params[0].text };
        int64_t max_age = call->params[1].given ? call->params[1].integer : MAX_AGE_DEFAULT_S;

        if (too_long(call, &lookup))
                return;
        if (max_age < 0)
                answer_error(&call->request, WIRE_BAD_REQUEST,
                             "get_peer_by_username: max_age must not be negative");
        else
                look_up(call, &lookup, max_age);
}

void method_get_peer_by_phone_number(struct call *call)
{
        const struct lookup lookup = { .kind = LOOKUP_PHONE, .text = call->params[0].text };

        if (!too_long(call, &lookup))
                look_up(call, &lookup, 0);
}

/* ---- many at once ---- */

/* Each answer goes through the cache: a row that is already there is as new as the backend's, or newer. */
static void answer_find_many(struct op *op, const struct found *found)
{
        struct cache *cache = op->lane->session->cache;
        struct buffer *out = answer_begin(&op->request);
        size_t match = 0;

        pack_array(out, (uint32_t)op->find.n_lookups);
        for (size_t i = 0; i < op->find.n_lookups; i++) {
                size_t first = match;
                struct cache_hit hit;
                enum cache_answer answer;

                while (match < found->n && found->matches[match].lookup == i)
                        match++;
                answer = cache_found(cache, &op->find.lookups[i],
                                     match > first ? &found->matches[first] : NULL, match - first, &hit);
                if (answer == CACHE_HIT)
                        buffer_append(out, hit.packed.data, hit.packed.len);
                else
                        pack_nil(out);
        }
        answer_end(&op->request);
}

/* False: not all of them are cached, and the request is not answered. */
static bool answer_from_cache(struct call *call, const int64_t *ids, uint32_t n)
{
        struct cache *cache = call->session->cache;
        struct buffer *out = answer_begin(&call->request);

        pack_array(out, n);
        for (uint32_t i = 0; i < n; i++) {
                struct cache_hit hit;
                enum cache_answer answer = cache_by_id(cache, ids[i], &hit);

                if (answer == CACHE_MISS) {
                        answer_cancel(&call->request);
                        return false;
                }
                if (answer == CACHE_HIT)
                        buffer_append(out, hit.packed.data, hit.packed.len);
                else
                        pack_nil(out);
        }
        answer_end(&call->request);
        return true;
}

void method_get_peers(struct call *call)
{
        struct param *list = &call->params[0];
        int64_t ids[LIST_MAX];
        struct op *op;

        if (list->count > LIST_MAX) {
                answer_error(&call->request, WIRE_TOO_LARGE, "get_peers takes at most 1000 ids, not %u",
                             list->count);
                return;
        }
        for (uint32_t i = 0; i < list->count; i++) {
                if (!cursor_int(&list->cursor, &ids[i])) {
                        answer_error(&call->request, WIRE_BAD_REQUEST,
                                     "get_peers: the ids must be integers%s", float_came(list->cursor));
                        return;
                }
        }
        if (!call_is_next(call, list->count * ROW_BYTES) || answer_from_cache(call, ids, list->count))
                return;
        op = call_defer(call, OP_FIND, list->count * sizeof(struct lookup), list->count * ROW_BYTES);
        if (!op)
                return;
        op->find.lookups = op_extra(op);
        op->find.n_lookups = list->count;
        for (uint32_t i = 0; i < list->count; i++)
                op->find.lookups[i] = (struct lookup){ .kind = LOOKUP_ID, .id = ids[i] };
        op->answer = answer_find_many;
        op_start(op);
}

static void answer_scan(struct op *op, const struct found *found)
{
        struct cache *cache = op->lane->session->cache;
        struct buffer *out = answer_begin(&op->request);
        size_t at = pack_array_begin(out), n = 0;

        for (; n < found->n && answer_has_room(&op->request, out, n, ROW_BYTES); n++) {
                struct peer peer = found->matches[n].peer;

                peer.last_update_on = cache_peer_time(cache, peer.id, peer.last_update_on);
                peer_write(out, &peer);
        }
        pack_array_end(out, at, (uint32_t)n);
        answer_end(&op->request);
}

bool scan_limit(struct call *call, const struct param *limit)
{
        if (limit->integer >= 1 && limit->integer <= LIST_MAX)
                return true;
        answer_error(&call->request, limit->integer > LIST_MAX ? WIRE_TOO_LARGE : WIRE_BAD_REQUEST,
                     "%s: the limit must be 1 to 1000", call->request.method->name);
        return false;
}

void method_scan_peers(struct call *call)
{
        const struct param *limit = &call->params[1];
        struct op *op;

        if (!scan_limit(call, limit) || !call_is_next(call, (size_t)limit->integer * ROW_BYTES))
                return;
        op = call_defer(call, OP_SCAN_PEERS, 0, (size_t)limit->integer * ROW_BYTES);
        if (!op)
                return;
        op->scan.from_start = !call->params[0].given;
        op->scan.after_id = call->params[0].integer;
        op->scan.limit = (size_t)limit->integer;
        op->answer = answer_scan;
        op_start(op);
}

/* ---- upserts ---- */

/* The rows of one update_peers. Small lists stay on the stack. */
enum { FEW_ROWS = 32 };

struct incoming {
        struct peer few[FEW_ROWS];
        struct peer *rows;
        uint32_t n;
        uint32_t n_new;   /* these are stored, and watchers are told */
        uint32_t n_timed; /* these repeat what is stored, but their time has to be stored */
};

#define WRONG_PEER                                                                                           \
        "row %u is not [id, access_hash, type, username, phone_number(, last_update_on)] or [id, "           \
        "access_hash, "                                                                                      \
        "type, phone_number]%s"

/* Returns the place of the first row that is wrong, and leaves `list` there; `n`: none. */
static uint32_t read_peers(struct cursor *list, uint32_t n, struct peer *rows)
{
        int64_t now = unix_now();
        uint32_t i = 0;

        while (i < n && peer_read(list, now, &rows[i]))
                i++;
        return i;
}

/* On a worker. Without a look at the cache: all rows count as new. */
static bool read_long_peers(struct op_reading *reading)
{
        struct op *op = reading->op;
        struct peer *rows = malloc(reading->n * sizeof(*rows));
        uint32_t wrong;

        if (!rows) {
                reading->no_memory = true;
                return false;
        }
        op->write.values = rows;
        op->write.free_values = free;
        wrong = read_peers(&reading->list, reading->n, rows);
        if (wrong < reading->n) {
                reading->error = WIRE_BAD_REQUEST;
                snprintf(reading->wrong, sizeof(reading->wrong), WRONG_PEER, wrong,
                         float_came(reading->list));
                return false;
        }
        op->write.change = (struct change){ .kind = CHANGE_PEERS, .peers = rows, .n = reading->n };
        op->write.has_change = true;
        op->write.n_told = reading->n;
        return true;
}

static bool read_rows(struct call *call, struct incoming *incoming)
{
        struct param *list = &call->params[0];
        uint32_t wrong;

        incoming->n = list->count;
        incoming->rows = list->count <= FEW_ROWS ? incoming->few : calloc(list->count, sizeof(struct peer));
        if (!incoming->rows) {
                answer_no_memory(&call->request);
                return false;
        }
        wrong = read_peers(&list->cursor, list->count, incoming->rows);
        if (wrong < list->count)
                answer_error(&call->request, WIRE_BAD_REQUEST, "update_peers: " WRONG_PEER, wrong,
                             float_came(list->cursor));
        return wrong == list->count;
}

static void incoming_deinit(struct incoming *incoming)
{
        if (incoming->rows != incoming->few)
                free(incoming->rows);
}

static int by_id(const void *a, const void *b)
{
        int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

        return (left > right) - (left < right);
}

/*
 * Finds the rows that repeat what is stored: `kinds` gets an enum cache_repeat for each. Where one row of a
 * peer is new, all rows of that peer count as new, because the list changes what is stored. False: no memory.
 */
static bool sort_out(struct incoming *incoming, const struct cache *cache, uint8_t *kinds)
{
        int64_t few[FEW_ROWS];
        int64_t *ids = incoming->n <= FEW_ROWS ? few : malloc(incoming->n * sizeof(int64_t));
        size_t n = 0;

        if (!ids)
                return false;
        for (uint32_t i = 0; i < incoming->n; i++) {
                kinds[i] = (uint8_t)cache_repeats_peer(cache, &incoming->rows[i]);
                if (kinds[i] == CACHE_NEW)
                        ids[n++] = incoming->rows[i].id;
        }
        qsort(ids, n, sizeof(int64_t), by_id);
        for (uint32_t i = 0; i < incoming->n; i++) {
                if (kinds[i] != CACHE_NEW && n > 0 &&
                    bsearch(&incoming->rows[i].id, ids, n, sizeof(int64_t), by_id))
                        kinds[i] = CACHE_NEW;
                incoming->n_new += kinds[i] == CACHE_NEW;
                incoming->n_timed += kinds[i] == CACHE_REPEAT_STORE;
        }
        if (ids != few)
                free(ids);
        return true;
}

/* Every row repeats what is stored: only the times change, in the cache. No job is needed. */
static void answer_repeats(struct call *call, const struct incoming *incoming)
{
        for (uint32_t i = 0; i < incoming->n; i++)
                cache_touch_peer(call->session->cache, incoming->rows[i].id,
                                 incoming->rows[i].last_update_on);
        counters_add(call->context->counters, COUNT_ROWS_REPEATED, incoming->n);
        answer_nil(&call->request);
}

/* Copies the rows into the op: new ones first, then those whose time is to be stored. Of the others, only the
 * times. */
static void fill_op(struct call *call, struct op *op, const struct incoming *incoming, const uint8_t *kinds)
{
        struct peer *fresh = op_extra(op);
        struct peer *timed = fresh + incoming->n_new;
        struct row_time *repeats = (struct row_time *)(timed + incoming->n_timed);

        op->write.change = (struct change){ .kind = CHANGE_PEERS, .peers = fresh };
        op->write.change.n = incoming->n_new + incoming->n_timed;
        op->write.has_change = op->write.change.n > 0;
        op->write.n_told = incoming->n_new;
        op->write.repeats = repeats;
        for (uint32_t i = 0; i < incoming->n; i++) {
                struct peer row = incoming->rows[i];

                if (kinds[i] == CACHE_REPEAT) {
                        repeats[op->write.n_repeats++] = (struct row_time){ row.id, row.last_update_on };
                        continue;
                }
                row.type = op_slice(op, call->frame, row.type);
                row.username = op_slice(op, call->frame, row.username);
                row.phone_number = op_slice(op, call->frame, row.phone_number);
                *(kinds[i] == CACHE_NEW ? fresh++ : timed++) = row;
        }
}

static void store_rows(struct call *call, struct incoming *incoming, uint8_t *kinds)
{
        /* Else an op before it may change what is cached, or it may have been refused. */
        bool may_compare = call->lane->n_ops == 0 && !call->session->settling &&
                           !remembered_has(call->session, call->client, &call->request);
        struct op *op;

        if (!may_compare) {
                memset(kinds, CACHE_NEW, incoming->n);
                incoming->n_new = incoming->n;
        } else if (!sort_out(incoming, call->session->cache, kinds)) {
                answer_no_memory(&call->request);
                return;
        }
        if (incoming->n_new + incoming->n_timed == 0 && may_compare) {
                if (remembered_at_once(call->session, call->client, &call->request, call->frame))
                        answer_repeats(call, incoming);
                else
                        answer_no_memory(&call->request);
                return;
        }
        op = call_defer(call, OP_WRITE,
                        (incoming->n_new + incoming->n_timed) * sizeof(struct peer) +
                                (incoming->n - incoming->n_new - incoming->n_timed) * sizeof(struct row_time),
                        0);
        if (!op)
                return;
        fill_op(call, op, incoming, kinds);
        op_start(op);
}

void method_update_peers(struct call *call)
{
        struct incoming incoming;
        uint8_t few[FEW_ROWS];
        uint8_t *kinds = few;

        if (call->params[0].count > LIST_MAX) {
                call_read_later(call, &call->params[0], call->params[0].count * sizeof(struct peer),
                                read_long_peers);
                return;
        }
        incoming.n_new = incoming.n_timed = 0;
        if (read_rows(call, &incoming)) {
                if (incoming.n > FEW_ROWS)
                        kinds = malloc(incoming.n);
                if (kinds)
                        store_rows(call, &incoming, kinds);
                else
                        answer_no_memory(&call->request);
                if (kinds != few)
                        free(kinds);
        }
        incoming_deinit(&incoming);
}
