/*
 * The cache: what it remembers, what it forgets, what it costs. Its correctness as a whole is
 * test_cache_model.c's.
 */

#include <check.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/cache/cache.h"

enum { NOW = 1700000000, DIRTY_LOG = 64 };

static struct cache_pool *pool;
static struct cache *cache;
static struct {
        bool names;
        struct row_time time;
} dirty[DIRTY_LOG];
static size_t n_dirty;

static void on_dirty(void *arg, bool is_names, struct row_time time)
{
        ck_assert_ptr_eq(arg, &n_dirty);
        if (n_dirty < DIRTY_LOG) {
                dirty[n_dirty].names = is_names;
                dirty[n_dirty].time = time;
        }
        n_dirty++;
}

static void setup(void)
{
        n_dirty = 0;
        pool = cache_pool_new(1 << 20);
        ck_assert_ptr_nonnull(pool);
        cache = cache_new(pool, on_dirty, &n_dirty);
        ck_assert_ptr_nonnull(cache);
}

static void teardown(void)
{
        cache_drop(cache);
        cache_pool_free(pool);
}

static struct peer peer_of(int64_t id, const char *username, const char *phone, int64_t time)
{
        return (struct peer){ .id = id,
                              .has_access_hash = true,
                              .access_hash = id * 7919,
                              .type = slice_of("user"),
                              .username = slice_of(username),
                              .phone_number = slice_of(phone),
                              .last_update_on = time };
}

static void store(int64_t id, const char *username, const char *phone, int64_t time)
{
        struct peer peer = peer_of(id, username, phone, time);

        cache_stored_peer(cache, &peer);
}

/* The id of the peer in a hit, its time in `time`. */
static int64_t id_of(const struct cache_hit *hit, int64_t *time)
{
        struct peer peer;

        peer_unpack(hit->packed, &peer);
        if (time)
                *time = peer.last_update_on;
        return peer.id;
}

/* The id that a name leads to; 0: known to be nobody's; -1: not known. */
static int64_t by_name(const char *name)
{
        struct cache_hit hit;
        enum cache_answer answer = cache_by_username(cache, slice_of(name), &hit);

        return answer == CACHE_HIT ? id_of(&hit, NULL) : answer == CACHE_ABSENT ? 0 : -1;
}

static int64_t by_phone(const char *phone)
{
        struct cache_hit hit;
        enum cache_answer answer = cache_by_phone(cache, slice_of(phone), &hit);

        return answer == CACHE_HIT ? id_of(&hit, NULL) : answer == CACHE_ABSENT ? 0 : -1;
}

static enum cache_answer by_id(int64_t id)
{
        struct cache_hit hit;

        return cache_by_id(cache, id, &hit);
}

/* Tells the cache what the backend found for a name; the id that it answers with. */
static int64_t found_name(const char *name, const struct match *matches, size_t n)
{
        struct lookup lookup = { .kind = LOOKUP_USERNAME, .text = slice_of(name) };
        struct cache_hit hit;
        enum cache_answer answer = cache_found(cache, &lookup, matches, n, &hit);

        return answer == CACHE_HIT ? id_of(&hit, NULL) : answer == CACHE_ABSENT ? 0 : -1;
}

static int64_t found_phone(const char *phone, const struct match *matches, size_t n)
{
        struct lookup lookup = { .kind = LOOKUP_PHONE, .text = slice_of(phone) };
        struct cache_hit hit;
        enum cache_answer answer = cache_found(cache, &lookup, matches, n, &hit);

        return answer == CACHE_HIT ? id_of(&hit, NULL) : answer == CACHE_ABSENT ? 0 : -1;
}

static enum cache_answer found_id(int64_t id, const struct peer *peer)
{
        struct lookup lookup = { .kind = LOOKUP_ID, .id = id };
        struct match match = { .peer = peer ? *peer : (struct peer){ 0 } };
        struct cache_hit hit;

        return cache_found(cache, &lookup, &match, peer != NULL, &hit);
}

static enum cache_repeat repeats(int64_t id, const char *username, const char *phone, int64_t time)
{
        struct peer peer = peer_of(id, username, phone, time);

        return cache_repeats_peer(cache, &peer);
}

START_TEST(peers_by_id)
{
        struct cache_hit hit;
        struct buffer expected = { 0 };
        struct peer peer = peer_of(-1001234567890, "somebody", "15550001", NOW);

        ck_assert_int_eq(by_id(peer.id), CACHE_MISS);
        cache_stored_peer(cache, &peer);
        ck_assert_int_eq(cache_by_id(cache, peer.id, &hit), CACHE_HIT);
        peer_write(&expected, &peer);
        ck_assert(slice_equal(hit.packed, (struct slice){ (char *)expected.data, expected.len }));
        ck_assert(!hit.from_table && !hit.has_row_time);
        buffer_deinit(&expected);
        ck_assert_int_eq(by_id(-peer.id), CACHE_MISS);

        ck_assert_int_eq(found_id(5, NULL), CACHE_ABSENT);
        ck_assert_int_eq(by_id(5), CACHE_ABSENT);
        store(5, NULL, NULL, NOW);
        ck_assert_int_eq(by_id(5), CACHE_HIT);
        peer = peer_of(6, NULL, NULL, NOW);
        ck_assert_int_eq(found_id(6, &peer), CACHE_HIT);
        ck_assert_int_eq(by_id(6), CACHE_HIT);
}
END_TEST

/* A stored row shows that it has the name, but not that nobody else has. */
START_TEST(names_need_a_lookup)
{
        struct match match = { .peer = peer_of(1, "a", "15", NOW) };

        store(1, "a", "15", NOW);
        ck_assert_int_eq(by_name("a"), -1);
        ck_assert_int_eq(by_phone("15"), -1);
        ck_assert_int_eq(found_name("a", &match, 1), 1);
        ck_assert_int_eq(by_name("a"), 1);
        ck_assert_int_eq(by_phone("15"), -1);
        ck_assert_int_eq(found_phone("15", &match, 1), 1);
        ck_assert_int_eq(by_phone("15"), 1);
        ck_assert_int_eq(by_name("A"), -1);
        ck_assert_int_eq(by_name("15"), -1);

        /* Stored again with the same names it keeps them; with others it loses them. */
        store(1, "a", "15", NOW + 1000);
        ck_assert_int_eq(by_name("a"), 1);
        ck_assert_int_eq(by_phone("15"), 1);
        store(1, "b", "15", NOW + 1000);
        ck_assert_int_eq(by_name("a"), -1);
        ck_assert_int_eq(by_name("b"), -1);
        ck_assert_int_eq(by_phone("15"), 1);
        store(2, NULL, "15", NOW);
        ck_assert_int_eq(by_phone("15"), -1);
        ck_assert_int_eq(found_name("c", NULL, 0), 0);
        store(1, "c", "15", NOW + 1000);
        ck_assert_int_eq(by_name("c"), -1);
}
END_TEST

START_TEST(names_that_are_nobodys)
{
        ck_assert_int_eq(found_name("a", NULL, 0), 0);
        ck_assert_int_eq(found_phone("15", NULL, 0), 0);
        ck_assert_int_eq(by_name("a"), 0);
        ck_assert_int_eq(by_phone("15"), 0);
        store(1, "a", "15", NOW);
        ck_assert_int_eq(by_name("a"), -1);
        ck_assert_int_eq(by_phone("15"), -1);

        ck_assert_int_eq(found_name("c", NULL, 0), 0);
        ck_assert_int_eq(found_phone("16", NULL, 0), 0);
        cache_forget_username(cache, slice_of("c"));
        cache_forget_phone(cache, slice_of("16"));
        ck_assert_int_eq(by_name("c"), -1);
        ck_assert_int_eq(by_phone("16"), -1);
}
END_TEST

START_TEST(several_owners)
{
        struct match matches[] = {
                { .peer = peer_of(1, "x", NULL, NOW),
                  .from_table = true,
                  .has_row_time = true,
                  .row_time = 77 },
                { .peer = peer_of(3, "a", NULL, NOW) },
                { .peer = peer_of(2, "a", NULL, NOW) },
                { .peer = peer_of(4, "a", NULL, NOW - 1) },
        };
        struct cache_hit hit;

        /* Of equals its own name first, then the lowest id. */
        ck_assert_int_eq(found_name("a", matches, 4), 2);
        ck_assert_int_eq(by_name("a"), 2);
        cache_touch_peer(cache, 4, NOW + 1);
        ck_assert_int_eq(by_name("a"), 4);
        cache_touch_peer(cache, 1, NOW + 2);
        ck_assert_int_eq(cache_by_username(cache, slice_of("a"), &hit), CACHE_HIT);
        ck_assert_int_eq(id_of(&hit, NULL), 1);
        ck_assert(hit.from_table && hit.has_row_time);
        ck_assert_int_eq(hit.row_time, 77);
        store(3, "a", NULL, NOW + 3);
        ck_assert_int_eq(by_name("a"), 3);
        cache_forget_username(cache, slice_of("a"));
        ck_assert_int_eq(by_name("a"), -1);

        /* A dirty time counts in the backend's answer too. */
        ck_assert_int_eq(found_name("a", matches, 4), 3);
}
END_TEST

START_TEST(phones_of_several)
{
        struct match matches[] = {
                { .peer = peer_of(9, NULL, "15", NOW) },
                { .peer = peer_of(8, NULL, "15", NOW) },
        };

        ck_assert_int_eq(found_phone("15", matches, 2), 8);
        ck_assert_int_eq(by_phone("15"), 8);
        store(9, NULL, "15", NOW + 1);
        ck_assert_int_eq(by_phone("15"), 9);
        store(9, NULL, NULL, NOW + 1);
        ck_assert_int_eq(by_phone("15"), -1);
}
END_TEST

/* More owners than an alias holds: answered, not remembered. */
START_TEST(a_crowd)
{
        struct match matches[40];

        for (int i = 0; i < 40; i++)
                matches[i] = (struct match){ .peer = peer_of(i + 1, "a", NULL, NOW + i % 39) };
        ck_assert_int_eq(found_name("a", matches, 40), 39);
        ck_assert_int_eq(by_name("a"), -1);
}
END_TEST

START_TEST(repetitions_of_peers)
{
        struct row_time times[4];

        ck_assert_int_eq(repeats(1, "a", "15", NOW), CACHE_NEW);
        store(1, "a", "15", NOW);
        ck_assert_int_eq(repeats(1, "a", "15", NOW), CACHE_REPEAT);
        ck_assert_int_eq(repeats(1, "a", "15", NOW + CACHE_DIRTY_MAX_S), CACHE_REPEAT);
        ck_assert_int_eq(repeats(1, "a", "15", NOW + CACHE_DIRTY_MAX_S + 1), CACHE_REPEAT_STORE);
        ck_assert_int_eq(repeats(1, "a", "15", NOW - 1), CACHE_REPEAT_STORE);
        ck_assert_int_eq(repeats(1, "b", "15", NOW), CACHE_NEW);
        ck_assert_int_eq(repeats(1, "a", NULL, NOW), CACHE_NEW);
        ck_assert_int_eq(repeats(1, "a", "15", INT64_MAX), CACHE_REPEAT_STORE);
        ck_assert_int_eq(repeats(1, "a", "15", INT64_MIN), CACHE_REPEAT_STORE);

        /* The stored time counts, not the touched one. */
        cache_touch_peer(cache, 1, NOW + 400);
        ck_assert_int_eq(cache_peer_time(cache, 1, 5), NOW + 400);
        ck_assert_int_eq(repeats(1, "a", "15", NOW + CACHE_DIRTY_MAX_S), CACHE_REPEAT);
        ck_assert_int_eq(repeats(1, "a", "15", NOW + CACHE_DIRTY_MAX_S + 1), CACHE_REPEAT_STORE);
        cache_touch_peer(cache, 1, NOW + 300);
        ck_assert_int_eq(cache_peer_time(cache, 1, 5), NOW + 400);
        ck_assert_int_eq(cache_peer_time(cache, 2, 5), 5);

        ck_assert_uint_eq(cache_take_dirty(cache, true, times, 4), 0);
        ck_assert_uint_eq(cache_take_dirty(cache, false, times, 4), 1);
        ck_assert_int_eq(times[0].id, 1);
        ck_assert_int_eq(times[0].last_update_on, NOW + 400);
        ck_assert_uint_eq(cache_take_dirty(cache, false, times, 4), 0);
        ck_assert_int_eq(repeats(1, "a", "15", NOW + 400 + CACHE_DIRTY_MAX_S), CACHE_REPEAT);

        /* Stored with its time, it is not dirty any more. */
        cache_touch_peer(cache, 1, NOW + 500);
        store(1, "a", "15", NOW + 600);
        ck_assert_uint_eq(cache_take_dirty(cache, false, times, 4), 0);
        ck_assert_uint_eq(n_dirty, 0);
}
END_TEST

/* What cannot be kept dirty is handed over at once. */
START_TEST(touches_that_cannot_wait)
{
        cache_touch_peer(cache, 1, NOW); /* evicted meanwhile */
        ck_assert_uint_eq(n_dirty, 1);
        ck_assert_int_eq(dirty[0].time.id, 1);
        ck_assert_int_eq(dirty[0].time.last_update_on, NOW);
        ck_assert(!dirty[0].names);
        store(1, "a", NULL, NOW);
        cache_touch_peer(cache, 1, NOW + 5000);
        ck_assert_uint_eq(n_dirty, 2);
        ck_assert_int_eq(dirty[1].time.last_update_on, NOW + 5000);
        ck_assert_int_eq(cache_peer_time(cache, 1, 0), NOW + 5000);
        cache_touch_peer(cache, 1, (int64_t)1 << 40); /* does not fit the packed row */
        ck_assert_uint_eq(n_dirty, 3);
        ck_assert_int_eq(by_id(1), CACHE_MISS);
        cache_touch_names(cache, 1, NOW);
        ck_assert_uint_eq(n_dirty, 4);
        ck_assert(dirty[3].names);

        store(2, NULL, NULL, (int64_t)1 << 40);
        ck_assert_int_eq(repeats(2, NULL, NULL, (int64_t)1 << 40), CACHE_REPEAT_STORE);
        store(2, NULL, NULL, -5);
        ck_assert_int_eq(repeats(2, NULL, NULL, -4), CACHE_REPEAT_STORE);
}
END_TEST

static enum cache_repeat repeats_names(int64_t id, const char *a, const char *b, int64_t time, bool stored)
{
        struct slice names[] = { slice_of(a), slice_of(b) };
        struct peer_names row = { id, names, (size_t)(a != NULL) + (b != NULL), time };

        if (stored)
                cache_stored_names(cache, &row);
        return cache_repeats_names(cache, &row);
}

START_TEST(repetitions_of_names)
{
        struct row_time times[4];

        ck_assert_int_eq(repeats_names(1, "a", "b", NOW, false), CACHE_NEW);
        ck_assert_int_eq(repeats_names(1, "a", "b", NOW, true), CACHE_REPEAT);
        ck_assert_int_eq(repeats_names(1, "b", "a", NOW + 600, false), CACHE_REPEAT);
        ck_assert_int_eq(repeats_names(1, "b", "a", NOW + 601, false), CACHE_REPEAT_STORE);
        ck_assert_int_eq(repeats_names(1, "b", "a", NOW - 1, false), CACHE_REPEAT_STORE);
        ck_assert_int_eq(repeats_names(1, "a", "c", NOW, false), CACHE_NEW);
        ck_assert_int_eq(repeats_names(1, "a", NULL, NOW, false), CACHE_NEW);
        ck_assert_int_eq(repeats_names(1, NULL, NULL, NOW, false), CACHE_NEW);
        ck_assert_int_eq(repeats_names(2, "a", "b", NOW, false), CACHE_NEW);
        cache_touch_names(cache, 1, NOW + 9);
        ck_assert_int_eq(cache_names_time(cache, 1, 0), NOW + 9);
        ck_assert_uint_eq(cache_take_dirty(cache, true, times, 4), 1);
        ck_assert_int_eq(times[0].last_update_on, NOW + 9);
        cache_touch_names(cache, 1, NOW + 10);
        repeats_names(1, "b", "a", NOW + 10, true); /* stored with its time, it is not dirty any more */
        ck_assert_uint_eq(cache_take_dirty(cache, true, times, 4), 0);
        cache_touch_names(cache, 1, NOW + 11);
        cache_forget_names(cache, 1);
        ck_assert_uint_eq(n_dirty, 1);
        ck_assert(dirty[0].names);
        ck_assert_int_eq(dirty[0].time.last_update_on, NOW + 11);
        ck_assert_int_eq(repeats_names(1, "a", "b", NOW, false), CACHE_NEW);

        /* No names: whatever the time, nothing is to be stored. */
        ck_assert_int_eq(repeats_names(3, NULL, NULL, NOW, true), CACHE_REPEAT);
        ck_assert_int_eq(repeats_names(3, NULL, NULL, NOW + 6000, false), CACHE_REPEAT);
        cache_touch_names(cache, 3, NOW + 6000);
        ck_assert_uint_eq(n_dirty, 1);
        ck_assert_uint_eq(cache_take_dirty(cache, true, times, 4), 0);
}
END_TEST

START_TEST(names_lead_to_peers)
{
        struct match match = {
                .peer = peer_of(1, NULL, NULL, NOW), .from_table = true, .has_row_time = true, .row_time = NOW
        };
        struct cache_hit hit;

        repeats_names(1, "a", "b", NOW, true);
        ck_assert_int_eq(found_name("a", &match, 1), 1);
        cache_touch_names(cache, 1, NOW + 9);
        ck_assert_int_eq(cache_by_username(cache, slice_of("a"), &hit), CACHE_HIT);
        ck_assert(hit.from_table);
        ck_assert_int_eq(hit.row_time, NOW + 9);
        ck_assert_int_eq(found_name("b", &match, 1), 1); /* the backend has the older time */
        ck_assert_int_eq(cache_by_username(cache, slice_of("b"), &hit), CACHE_HIT);
        ck_assert_int_eq(hit.row_time, NOW + 9);
        repeats_names(1, "b", NULL, NOW, true);
        ck_assert_int_eq(by_name("a"), -1);
        ck_assert_int_eq(by_name("b"), -1);
        ck_assert_int_eq(found_name("c", NULL, 0), 0);
        repeats_names(2, "c", NULL, NOW, true);
        ck_assert_int_eq(by_name("c"), -1);
}
END_TEST

START_TEST(more_names_than_are_remembered)
{
        struct slice names[100];
        char text[100][16];
        struct peer_names row = { 1, names, 100, NOW };

        for (int i = 0; i < 100; i++) {
                snprintf(text[i], sizeof(text[i]), "n%d", i);
                names[i] = slice_of(text[i]);
        }
        repeats_names(1, "a", "b", NOW, true);
        cache_stored_names(cache, &row);
        ck_assert_int_eq(cache_repeats_names(cache, &row), CACHE_NEW);
        ck_assert_int_eq(repeats_names(1, "a", "b", NOW, false), CACHE_NEW);
}
END_TEST

START_TEST(oldest_use_goes_first)
{
        struct cache_stats stats;
        size_t empty, full;

        cache_pool_stats(pool, &stats);
        empty = stats.bytes;
        ck_assert_uint_eq(stats.entries, 0);
        for (int64_t id = 1; id <= 100; id++)
                store(id, NULL, NULL, NOW);
        cache_pool_stats(pool, &stats);
        ck_assert_uint_eq(stats.entries, 100);
        ck_assert_uint_eq(stats.evictions, 0);
        full = stats.bytes;
        ck_assert_uint_gt(full, empty + (size_t)100 * 80);
        cache_touch_peer(cache, 2, NOW + 1);
        ck_assert_int_eq(by_id(1), CACHE_HIT);
        ck_assert_int_eq(by_id(4), CACHE_HIT);
        cache_pool_set_budget(pool, full);
        for (int64_t id = 101; id <= 150; id++) {
                store(id, NULL, NULL, NOW);
                cache_pool_stats(pool, &stats);
                ck_assert_uint_le(stats.bytes, full);
        }
        ck_assert_int_eq(by_id(3), CACHE_MISS);
        ck_assert_int_eq(by_id(5), CACHE_MISS);
        ck_assert_int_eq(by_id(1), CACHE_HIT);
        ck_assert_int_eq(by_id(4), CACHE_HIT);
        ck_assert_int_eq(by_id(2), CACHE_HIT);
        ck_assert_int_eq(by_id(150), CACHE_HIT);
        ck_assert_uint_eq(n_dirty, 0);

        cache_pool_set_budget(pool, 0);
        cache_pool_stats(pool, &stats);
        ck_assert_uint_eq(stats.entries, 0);
        ck_assert_uint_eq(n_dirty, 1);
        ck_assert_int_eq(dirty[0].time.id, 2);
        ck_assert_int_eq(dirty[0].time.last_update_on, NOW + 1);
        ck_assert_uint_gt(stats.evictions, 100);
        ck_assert_uint_eq(stats.budget, 0);
}
END_TEST

/* Nothing stays, and every answer is right all the same. */
START_TEST(no_budget)
{
        struct match match = { .peer = peer_of(1, "a", "15", NOW) };
        struct cache_stats stats;

        cache_pool_set_budget(pool, 0);
        ck_assert_int_eq(found_name("a", &match, 1), 1);
        ck_assert_int_eq(found_phone("15", &match, 1), 1);
        ck_assert_int_eq(found_id(1, &match.peer), CACHE_HIT);
        ck_assert_int_eq(found_id(1, NULL), CACHE_ABSENT);
        ck_assert_int_eq(found_name("a", NULL, 0), 0);
        store(1, "a", "15", NOW);
        repeats_names(1, "a", "b", NOW, true);
        ck_assert_int_eq(by_id(1), CACHE_MISS);
        ck_assert_int_eq(by_name("a"), -1);
        ck_assert_int_eq(by_phone("15"), -1);
        ck_assert_int_eq(repeats(1, "a", "15", NOW), CACHE_NEW);
        cache_pool_stats(pool, &stats);
        ck_assert_uint_eq(stats.entries, 0);
}
END_TEST

START_TEST(statistics)
{
        struct cache_stats stats;

        store(1, NULL, NULL, NOW);
        found_name("a", NULL, 0);
        by_id(1);
        by_name("a");
        by_id(2);
        by_name("b");
        by_phone("15");
        cache_pool_stats(pool, &stats);
        ck_assert_uint_eq(stats.hits, 2);
        ck_assert_uint_eq(stats.misses, 3);
        ck_assert_uint_eq(stats.entries, 2);
}
END_TEST

START_TEST(caches_are_apart)
{
        struct cache *other = cache_new(pool, on_dirty, &n_dirty);
        struct cache_hit hit;

        store(1, "a", NULL, NOW);
        found_name("b", NULL, 0);
        ck_assert_int_eq(cache_by_id(other, 1, &hit), CACHE_MISS);
        ck_assert_int_eq(cache_by_username(other, slice_of("b"), &hit), CACHE_MISS);
        cache_drop(other);
}
END_TEST

START_TEST(forgetting_all)
{
        store(1, "a", NULL, NOW);
        store(2, "a", NULL, NOW);
        repeats_names(1, "a", "b", NOW, true);
        cache_touch_peer(cache, 2, NOW + 1);
        cache_touch_names(cache, 1, NOW + 2);
        cache_forget_all(cache);
        ck_assert_int_eq(by_id(1), CACHE_MISS);
        ck_assert_int_eq(repeats_names(1, "a", "b", NOW, false), CACHE_NEW);
        ck_assert_uint_eq(n_dirty, 2);
        ck_assert(!dirty[0].names && dirty[0].time.id == 2 && dirty[0].time.last_update_on == NOW + 1);
        ck_assert(dirty[1].names && dirty[1].time.id == 1 && dirty[1].time.last_update_on == NOW + 2);
        store(1, "a", NULL, NOW);
        ck_assert_int_eq(by_id(1), CACHE_HIT);
}
END_TEST

/* A dropped cache goes bit by bit, says nothing of what was dirty, and leaves nothing behind. */
START_TEST(dropping)
{
        struct cache *big = cache_new(pool, on_dirty, &n_dirty);
        struct cache_stats before, stats;
        unsigned rounds = 0;

        store(-1, "own", NULL, NOW);
        cache_pool_set_budget(pool, 64 << 20);
        cache_drop(big);
        while (cache_pool_reap(pool, 100))
                continue;
        cache_pool_stats(pool, &before);
        big = cache_new(pool, on_dirty, &n_dirty);
        for (int64_t id = 0; id < 20000; id++) {
                char name[16];
                struct lookup lookup = { .kind = LOOKUP_USERNAME, .text = { name, 0 } };
                struct match match = { .peer = peer_of(id, NULL, NULL, NOW) };
                struct cache_hit hit;

                lookup.text.len = (size_t)snprintf(name, sizeof(name), "n%d", (int)id);
                match.peer.username = lookup.text;
                cache_found(big, &lookup, &match, id % 3 != 0, &hit);
                cache_touch_peer(big, id, NOW + 1);
        }
        n_dirty = 0;
        cache_drop(big);
        for (uint64_t last = UINT64_MAX; cache_pool_reap(pool, 100); rounds++) {
                cache_pool_stats(pool, &stats);
                ck_assert_uint_ge(stats.entries + 100, last == UINT64_MAX ? 0 : last);
                last = stats.entries;
        }
        ck_assert_uint_gt(rounds, 150);
        cache_pool_stats(pool, &stats);
        ck_assert_uint_eq(stats.entries, before.entries);
        ck_assert_uint_eq(stats.bytes, before.bytes);
        ck_assert_uint_eq(n_dirty, 0);
        ck_assert_int_eq(by_id(-1), CACHE_HIT);
}
END_TEST

/* What a dropped cache still holds is evicted like anything else. */
START_TEST(evicting_what_is_dropped)
{
        struct cache_stats stats;

        for (int64_t id = 0; id < 1000; id++)
                store(id, NULL, NULL, NOW);
        cache_touch_peer(cache, 7, NOW + 1);
        cache_drop(cache);
        cache_pool_reap(pool, 300);
        cache_pool_set_budget(pool, 0);
        cache_pool_stats(pool, &stats);
        ck_assert_uint_eq(stats.entries, 0);
        cache_pool_reap(pool, 300);
        cache = cache_new(pool, on_dirty, &n_dirty);
        cache_pool_set_budget(pool, 1 << 20);
        store(1, NULL, NULL, NOW);
        ck_assert_int_eq(by_id(1), CACHE_HIT);
        ck_assert_uint_eq(n_dirty, 0);
}
END_TEST

/*
 * The promise: at most 120 bytes beside a peer's own strings, everything included, with 100,000 peers that
 * are reachable by id, name and number.
 */
START_TEST(bytes_of_a_peer)
{
        enum { PEERS = 100000 };
        struct cache_stats empty, full;
        size_t own = 0;

        cache_pool_set_budget(pool, (size_t)1 << 30);
        cache_pool_stats(pool, &empty);
        for (int64_t i = 0; i < PEERS; i++) {
                char name[32], phone[32];
                struct match match = { .peer = peer_of(1000000000 + i * 37, NULL, NULL, NOW) };
                struct lookup lookup = { .kind = LOOKUP_USERNAME };
                struct cache_hit hit;

                snprintf(name, sizeof(name), "username_%d", (int)(i * 7));
                snprintf(phone, sizeof(phone), "4915%08d", (int)i);
                lookup.text = match.peer.username = slice_of(name);
                match.peer.phone_number = slice_of(phone);
                ck_assert_int_eq(cache_found(cache, &lookup, &match, 1, &hit), CACHE_HIT);
                own += hit.packed.len;
                lookup = (struct lookup){ .kind = LOOKUP_PHONE, .text = match.peer.phone_number };
                ck_assert_int_eq(cache_found(cache, &lookup, &match, 1, &hit), CACHE_HIT);
        }
        cache_pool_stats(pool, &full);
        ck_assert_uint_eq(full.entries, PEERS);
        ck_assert_int_eq(by_name("username_7"), 1000000037);
        ck_assert_int_eq(by_phone("491500000001"), 1000000037);
        printf("cache: %.1f bytes a peer, of which %.1f its own, %.1f overhead\n",
               (double)(full.bytes - empty.bytes) / PEERS, (double)own / PEERS,
               (double)(full.bytes - empty.bytes - own) / PEERS);
        ck_assert_uint_le(full.bytes - empty.bytes - own, PEERS * (size_t)120);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("cache");
        TCase *tcase = tcase_create("cache");
        SRunner *runner;
        int failed;

        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_set_timeout(tcase, 60);
        tcase_add_test(tcase, peers_by_id);
        tcase_add_test(tcase, names_need_a_lookup);
        tcase_add_test(tcase, names_that_are_nobodys);
        tcase_add_test(tcase, several_owners);
        tcase_add_test(tcase, phones_of_several);
        tcase_add_test(tcase, a_crowd);
        tcase_add_test(tcase, repetitions_of_peers);
        tcase_add_test(tcase, touches_that_cannot_wait);
        tcase_add_test(tcase, repetitions_of_names);
        tcase_add_test(tcase, names_lead_to_peers);
        tcase_add_test(tcase, more_names_than_are_remembered);
        tcase_add_test(tcase, oldest_use_goes_first);
        tcase_add_test(tcase, no_budget);
        tcase_add_test(tcase, statistics);
        tcase_add_test(tcase, caches_are_apart);
        tcase_add_test(tcase, forgetting_all);
        tcase_add_test(tcase, dropping);
        tcase_add_test(tcase, evicting_what_is_dropped);
        tcase_add_test(tcase, bytes_of_a_peer);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
