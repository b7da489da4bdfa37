/*
 * The cache against a model: a backend of a few arrays, an owner that does what a session does, and long
 * random runs of stores, repetitions, lookups and evictions over few peers and fewer names, so that
 * all combinations occur. After every step the cache answers what the model says, and no time that has to be
 * stored is lost.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/cache/cache.h"

enum { PEERS = 9, NAMES = 6, PHONES = 4, SESSIONS = 2, USERS = 3, NOW = 1700000000 };

/* One session: what its backend has stored, and its true values, with the times of dirty rows. */
struct model {
        struct cache *cache;
        bool has_row_times; /* of the usernames table */
        bool one_owner;     /* a name has one row, as in some dialects */
        struct model_peer {
                bool exists;
                bool has_hash;
                int64_t hash;
                const char *type, *username, *phone; /* from the tables below: compared by address */
                int64_t stored_time, time;
        } peers[PEERS];
        struct model_names {
                bool has[NAMES];
                int64_t stored_time, time;
        } names[PEERS];
        /* A touch that waits for its request's answer. */
        bool pending, pending_names;
        struct row_time pending_time;
};

static const char *const types[] = { "user", "bot", "channel" };
static const char *const name_texts[NAMES] = { "a", "bb", "ccc", "name_of_some_length", "", "\xc3\xa4" };
static const char *const phone_texts[PHONES] = { "1", "15550001", "15550002", "" };

/*
 * The cache allocates with calloc(). This one is linked in front of the C library's, and fails every so many
 * calls.
 */
static unsigned fail_in;
static volatile uint64_t callocs, failures; /* compilers know that calloc() changes neither */

void *calloc(size_t n, size_t size)
{
        void *block;

        callocs++;
        if (fail_in && (unsigned)random() % fail_in == 0) {
                failures++;
                return NULL;
        }
        block = malloc(n * size);
        if (block)
                explicit_bzero(block, n * size); /* no compiler makes a calloc() of this */
        return block;
}

static struct cache_pool *pool;
static struct model models[SESSIONS];
static struct {
        uint64_t hits, absences, misses, repeats, lates;
} seen;

static int64_t id_of(size_t peer)
{
        static const int64_t bases[] = { 1, -1001234567890, INT64_MAX - 20, INT64_MIN + 5, 1000 };

        return bases[peer % 5] + (int64_t)(peer / 5);
}

static size_t peer_of(int64_t id)
{
        for (size_t i = 0; i < PEERS; i++) {
                if (id_of(i) == id)
                        return i;
        }
        ck_abort_msg("an id that nobody has");
}

static bool chance(unsigned in)
{
        return (unsigned)random() % in == 0;
}

static size_t below(size_t n)
{
        return (size_t)random() % n;
}

static struct peer row_of(const struct model *model, size_t i, bool stored)
{
        const struct model_peer *peer = &model->peers[i];

        return (struct peer){ .id = id_of(i),
                              .has_access_hash = peer->has_hash,
                              .access_hash = peer->hash,
                              .type = slice_of(peer->type),
                              .username = slice_of(peer->username),
                              .phone_number = slice_of(peer->phone),
                              .last_update_on = stored ? peer->stored_time : peer->time };
}

/* ---- what is dirty ---- */

static bool has_rows(const struct model *model, size_t peer)
{
        for (size_t k = 0; k < NAMES; k++) {
                if (model->names[peer].has[k])
                        return true;
        }
        return false;
}

static void store_dirty(struct model *model, bool names, struct row_time time)
{
        size_t i = peer_of(time.id);
        int64_t *stored = names ? &model->names[i].stored_time : &model->peers[i].stored_time;
        int64_t now = names ? model->names[i].time : model->peers[i].time;

        seen.lates++;
        if (names && !has_rows(model, i))
                return; /* no rows, no times */
        ck_assert_int_eq(time.last_update_on, now);
        *stored = now;
}

static void on_dirty(void *arg, bool names, struct row_time time)
{
        store_dirty(arg, names, time);
}

static void take_dirty(struct model *model, bool names)
{
        struct row_time times[3];
        size_t n = cache_take_dirty(model->cache, names, times, 1 + below(3));

        for (size_t i = 0; i < n; i++)
                store_dirty(model, names, times[i]);
}

/* Stores all dirty times: then the backend has the true values. */
static void store_all(struct model *model)
{
        for (int names = 0; names < 2; names++) {
                struct row_time time;

                while (cache_take_dirty(model->cache, names, &time, 1))
                        store_dirty(model, names, time);
        }
        for (size_t i = 0; i < PEERS; i++) {
                ck_assert_int_eq(model->peers[i].time, model->peers[i].stored_time);
                if (has_rows(model, i))
                        ck_assert_int_eq(model->names[i].time, model->names[i].stored_time);
        }
}

/* ---- the backend's and the owner's part ---- */

/* The matches of a lookup, as stored or as true; returns how many. */
static size_t matches_of(const struct model *model, const struct lookup *lookup, bool stored,
                         struct match *matches)
{
        size_t n = 0;

        for (size_t i = 0; i < PEERS; i++) {
                const struct model_peer *peer = &model->peers[i];
                const struct model_names *names = &model->names[i];
                struct match match = { .peer = row_of(model, i, stored) };

                if (!peer->exists)
                        match.peer = (struct peer){ .id = id_of(i) }; /* its names wait for it */
                if (!peer->exists && !stored)
                        continue;
                if ((lookup->kind == LOOKUP_ID && peer->exists && lookup->id == id_of(i)) ||
                    (lookup->kind == LOOKUP_USERNAME && slice_equal(match.peer.username, lookup->text)) ||
                    (lookup->kind == LOOKUP_PHONE && slice_equal(match.peer.phone_number, lookup->text)))
                        matches[n++] = match;
                match.from_table = true;
                match.has_row_time = model->has_row_times;
                match.row_time = !match.has_row_time ? 0 : stored ? names->stored_time : names->time;
                for (size_t k = 0; lookup->kind == LOOKUP_USERNAME && k < NAMES; k++) {
                        if (names->has[k] && slice_is(lookup->text, name_texts[k]))
                                matches[n++] = match;
                }
        }
        return n;
}

static const struct match *winner(const struct match *matches, size_t n)
{
        const struct match *best = NULL;

        for (const struct match *match = matches; match < matches + n; match++) {
                int64_t time = match->peer.last_update_on;

                if (!best || time > best->peer.last_update_on ||
                    (time == best->peer.last_update_on &&
                     (match->from_table < best->from_table ||
                      (match->from_table == best->from_table && match->peer.id < best->peer.id))))
                        best = match;
        }
        return best;
}

static void check_hit(const struct cache_hit *hit, const struct match *expected)
{
        struct buffer bytes = { 0 };

        peer_write(&bytes, &expected->peer);
        ck_assert(slice_equal(hit->packed, (struct slice){ (char *)bytes.data, bytes.len }));
        ck_assert(hit->from_table == expected->from_table);
        ck_assert(hit->has_row_time == expected->has_row_time);
        if (hit->has_row_time)
                ck_assert_int_eq(hit->row_time, expected->row_time);
        buffer_deinit(&bytes);
}

static void look_up(struct model *model)
{
        struct lookup lookup = { .kind = (enum lookup_kind)below(3) };
        struct match truth[PEERS * 2], stored[PEERS * 2];
        struct cache_hit hit;
        const struct match *best;
        enum cache_answer answer;
        size_t n;

        if (lookup.kind == LOOKUP_ID) {
                lookup.id = id_of(below(PEERS));
                answer = cache_by_id(model->cache, lookup.id, &hit);
        } else if (lookup.kind == LOOKUP_USERNAME) {
                lookup.text = slice_of(name_texts[below(NAMES)]);
                answer = cache_by_username(model->cache, lookup.text, &hit);
        } else {
                lookup.text = slice_of(phone_texts[below(PHONES)]);
                answer = cache_by_phone(model->cache, lookup.text, &hit);
        }
        n = matches_of(model, &lookup, false, truth);
        best = winner(truth, n);
        seen.hits += answer == CACHE_HIT;
        seen.absences += answer == CACHE_ABSENT;
        seen.misses += answer == CACHE_MISS;
        if (answer == CACHE_MISS) {
                answer = cache_found(model->cache, &lookup, stored, matches_of(model, &lookup, true, stored),
                                     &hit);
                ck_assert_int_ne(answer, CACHE_MISS);
        }
        ck_assert_int_eq(answer, best ? CACHE_HIT : CACHE_ABSENT);
        if (best)
                check_hit(&hit, best);
}

/* Names and numbers that a store moved; the owner forgets them, before or after it tells of the store. */
struct effects {
        bool names[NAMES], phones[PHONES], owners[PEERS];
};

static void forget(struct model *model, const struct effects *effects)
{
        for (size_t i = 0; i < NAMES; i++) {
                if (effects->names[i])
                        cache_forget_username(model->cache, slice_of(name_texts[i]));
        }
        for (size_t i = 0; i < PHONES; i++) {
                if (effects->phones[i])
                        cache_forget_phone(model->cache, slice_of(phone_texts[i]));
        }
        for (size_t i = 0; i < PEERS; i++) {
                if (effects->owners[i])
                        cache_forget_names(model->cache, id_of(i));
        }
}

static void mark(bool *marks, const char *const *texts, size_t n, const char *text)
{
        for (size_t i = 0; i < n; i++)
                marks[i] |= texts[i] == text;
}

static void touch(struct model *model, bool names, struct row_time time)
{
        size_t i = peer_of(time.id);
        int64_t *now = names ? &model->names[i].time : &model->peers[i].time;

        /* A touch that comes after a store with a newer time says nothing new. */
        if (time.last_update_on > *now)
                *now = time.last_update_on;
        else if (!names && cache_peer_time(model->cache, time.id, INT64_MIN) == INT64_MIN)
                return; /* it would be reported with an older time than the true one; a session checks that
                           first */
        else if (names && cache_names_time(model->cache, time.id, INT64_MIN) == INT64_MIN)
                return;
        if (names)
                cache_touch_names(model->cache, time.id, time.last_update_on);
        else
                cache_touch_peer(model->cache, time.id, time.last_update_on);
}

/* The request was a repetition: its time counts now, or a little later. */
static void touch_soon(struct model *model, bool names, struct row_time time)
{
        if (model->pending)
                touch(model, model->pending_names, model->pending_time);
        model->pending = chance(3);
        model->pending_names = names;
        model->pending_time = time;
        if (!model->pending)
                touch(model, names, time);
}

static int64_t some_time(int64_t base)
{
        static const int64_t strange[] = { 0, -1, INT64_MIN, INT64_MAX, UINT32_MAX, (int64_t)UINT32_MAX + 1 };

        if (chance(60))
                return strange[below(6)];
        if (chance(3))
                return base > NOW && base < NOW + 100000 ? base + (int64_t)below(900) - 150 : NOW;
        return NOW + (int64_t)below(4) * 300;
}

static void store_peer(struct model *model)
{
        size_t i = below(PEERS);
        struct model_peer *peer = &model->peers[i], next = *peer;
        struct effects effects = { 0 };
        struct peer row;
        enum cache_repeat repeat;

        if (!next.exists || chance(3)) {
                next.exists = true;
                next.has_hash = !chance(5);
                next.hash = next.has_hash ? (int64_t)below(3) * (INT64_MAX / 2) : 0;
                next.type = types[below(3)];
                next.username = chance(3) ? NULL : name_texts[below(NAMES)];
                next.phone = chance(3) ? NULL : phone_texts[below(PHONES)];
        }
        next.time = next.stored_time = some_time(peer->time);
        row = (struct peer){ id_of(i),
                             next.has_hash,
                             next.hash,
                             slice_of(next.type),
                             slice_of(next.username),
                             slice_of(next.phone),
                             next.time };
        repeat = cache_repeats_peer(model->cache, &row);
        if (repeat != CACHE_NEW) {
                struct peer known = row_of(model, i, false);

                ck_assert(peer->exists && peer_same(&known, &row));
        }
        if (repeat == CACHE_REPEAT) {
                ck_assert_int_ge(row.last_update_on, peer->time);
                ck_assert_int_le(row.last_update_on - peer->stored_time, CACHE_DIRTY_MAX_S);
                seen.repeats++;
                touch_soon(model, false, (struct row_time){ row.id, row.last_update_on });
                return;
        }
        if (peer->username != next.username) {
                mark(effects.names, name_texts, NAMES, peer->username);
                mark(effects.names, name_texts, NAMES, next.username);
        }
        if (peer->phone != next.phone) {
                mark(effects.phones, phone_texts, PHONES, peer->phone);
                mark(effects.phones, phone_texts, PHONES, next.phone);
        }
        *peer = next;
        if (chance(2)) {
                cache_stored_peer(model->cache, &row);
                forget(model, &effects);
        } else {
                forget(model, &effects);
                cache_stored_peer(model->cache, &row);
        }
}

static void store_names(struct model *model)
{
        size_t i = below(PEERS), n = 0;
        struct model_names *names = &model->names[i], next = *names;
        struct effects effects = { 0 };
        struct slice texts[NAMES];
        struct peer_names row = { id_of(i), texts, 0, 0 };
        enum cache_repeat repeat;

        for (size_t k = 0; chance(3) && k < NAMES; k++)
                next.has[k] = chance(3);
        next.time = next.stored_time = row.last_update_on = some_time(names->time);
        for (size_t k = 0, from = below(NAMES); k < NAMES; k++) {
                if (next.has[(k + from) % NAMES])
                        texts[n++] = slice_of(name_texts[(k + from) % NAMES]);
        }
        row.n_names = n;
        repeat = cache_repeats_names(model->cache, &row);
        if (repeat != CACHE_NEW)
                ck_assert_mem_eq(names->has, next.has, sizeof(next.has));
        if (repeat == CACHE_REPEAT && n == 0) {
                cache_touch_names(model->cache, row.peer_id, row.last_update_on);
                return;
        }
        if (repeat == CACHE_REPEAT) {
                ck_assert_int_ge(row.last_update_on, names->time);
                ck_assert_int_le(row.last_update_on - names->stored_time, CACHE_DIRTY_MAX_S);
                seen.repeats++;
                touch_soon(model, true, (struct row_time){ row.peer_id, row.last_update_on });
                return;
        }
        for (size_t k = 0; k < NAMES; k++) {
                effects.names[k] |= names->has[k] != next.has[k];
                for (size_t other = 0; model->one_owner && next.has[k] && other < PEERS; other++) {
                        if (other == i || !model->names[other].has[k])
                                continue;
                        model->names[other].has[k] = false;
                        effects.names[k] = effects.owners[other] = true;
                }
        }
        *names = next;
        if (chance(2)) {
                cache_stored_names(model->cache, &row);
                forget(model, &effects);
        } else {
                forget(model, &effects);
                cache_stored_names(model->cache, &row);
        }
}

/* ---- the runs ---- */

static struct cache *new_cache(struct model *model)
{
        struct cache *cache = cache_new(pool, (uid_t)below(USERS), on_dirty, model);

        while (!cache && fail_in)
                cache = cache_new(pool, (uid_t)below(USERS), on_dirty, model);
        ck_assert_ptr_nonnull(cache);
        return cache;
}

static void reopen(struct model *model)
{
        if (model->pending)
                touch(model, model->pending_names, model->pending_time);
        model->pending = false;
        store_all(model);
        cache_drop(model->cache);
        model->cache = new_cache(model);
}

static void rare(struct model *model)
{
        cache_pool_reap(pool, 100);
        cache_count_for(model->cache, (uid_t)below(USERS));
        switch (below(7)) {
        case 0: reopen(model); break;
        case 1: cache_forget_all(model->cache); break;
        case 2: cache_forget_username(model->cache, slice_of(name_texts[below(NAMES)])); break;
        case 3: cache_forget_phone(model->cache, slice_of(phone_texts[below(PHONES)])); break;
        case 4: cache_forget_names(model->cache, id_of(below(PEERS))); break;
        default: take_dirty(model, chance(2)); break;
        }
}

static void step(struct model *model)
{
        size_t what = below(100);

        if (what < 40)
                store_peer(model);
        else if (what < 60)
                store_names(model);
        else if (what < 96)
                look_up(model);
        else
                rare(model);
}

/* A budget for so many entries, about; 0 entries: none. Every `failing`th allocation fails, 0: none. */
static void run(size_t entries, unsigned seed, int steps, unsigned failing)
{
        struct cache_stats stats;

        srandom(seed);
        memset(&seen, 0, sizeof(seen));
        fail_in = 0;
        failures = 0;
        pool = cache_pool_new(entries ? 4096 + entries * 200 : 0);
        fail_in = failing;
        for (size_t i = 0; i < SESSIONS; i++) {
                models[i] =
                        (struct model){ .has_row_times = (seed + i) % 2, .one_owner = (seed + i) / 2 % 2 };
                models[i].cache = new_cache(&models[i]);
        }
        for (int i = 0; i < steps; i++) {
                step(&models[below(SESSIONS)]);
                cache_pool_stats(pool, &stats);
                /* A cache that is empty has bytes too. */
                ck_assert(stats.bytes <= stats.budget + 2048 || stats.entries == 0);
        }
        for (size_t i = 0; i < SESSIONS; i++) {
                reopen(&models[i]);
                cache_drop(models[i].cache);
        }
        cache_pool_free(pool);
}

START_TEST(without_eviction)
{
        for (unsigned seed = 0; seed < 8; seed++) {
                run(10000, seed, 20000, 0);
                /* The run has reached all that it is meant to test. */
                ck_assert_uint_gt(seen.hits, 1000);
                ck_assert_uint_gt(seen.absences, 100);
                ck_assert_uint_gt(seen.misses, 100);
                ck_assert_uint_gt(seen.repeats, 1000);
                ck_assert_uint_gt(seen.lates, 100);
        }
}
END_TEST

START_TEST(with_tiny_budgets)
{
        for (unsigned seed = 100; seed < 116; seed++) {
                run(seed % 16, seed, 10000, 0);
                ck_assert_uint_gt(seen.misses, 1000);
                if (seed % 16 > 4) {
                        ck_assert_uint_gt(seen.hits, 100);
                        ck_assert_uint_gt(seen.lates, 10);
                }
        }
}
END_TEST

/* Without memory entries are forgotten: no answer is wrong, and no time is lost. */
START_TEST(without_memory)
{
        uint64_t before = callocs;
        void *volatile probe = calloc(1, 1);

        free(probe);
        if (callocs == before) {
                fprintf(stderr, "test_cache_model: calloc() is not ours here (valgrind?): without_memory not "
                                "tested\n");
                return;
        }
        for (unsigned seed = 200; seed < 212; seed++) {
                run(seed % 3 ? 10000 : seed % 16, seed, 10000, 2 + seed % 4);
                ck_assert_uint_gt(seen.misses, 100);
                ck_assert_uint_gt(failures, 100);
        }
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("cache_model");
        TCase *tcase = tcase_create("model");
        SRunner *runner;
        int failed;

        tcase_set_timeout(tcase, 120);
        tcase_add_test(tcase, without_eviction);
        tcase_add_test(tcase, with_tiny_budgets);
        tcase_add_test(tcase, without_memory);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
