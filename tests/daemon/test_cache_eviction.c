/* What the cache evicts and frees, what it counts, and what a peer costs. */

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache_test.h"

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

/* Nothing is cached, and every answer is right. */
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

/* The loop reports them in one go, so it does not report very many. */
START_TEST(forgetting_very_many)
{
        cache_pool_set_budget(pool, 64 << 20);
        for (int64_t id = 0; id < CACHE_KEPT_DIRTY + 1000; id++) {
                store(id, NULL, NULL, NOW);
                cache_touch_peer(cache, id, NOW + 1);
        }
        cache_forget_all(cache);
        ck_assert_uint_eq(n_dirty, CACHE_KEPT_DIRTY);
        ck_assert_int_eq(by_id(1), CACHE_MISS);
        while (cache_pool_reap(pool, 1000))
                continue;
        ck_assert_uint_eq(n_dirty, CACHE_KEPT_DIRTY);
}
END_TEST

/* A dropped cache is freed in steps, does not report dirty rows, and leaves nothing. */
START_TEST(dropping)
{
        struct cache *big = cache_new(pool, USER, on_dirty, &n_dirty);
        struct cache_stats before, stats;
        unsigned rounds = 0;

        store(-1, "own", NULL, NOW);
        cache_pool_set_budget(pool, 64 << 20);
        cache_drop(big);
        while (cache_pool_reap(pool, 100))
                continue;
        cache_pool_stats(pool, &before);
        big = cache_new(pool, USER, on_dirty, &n_dirty);
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
        cache = cache_new(pool, USER, on_dirty, &n_dirty);
        cache_pool_set_budget(pool, 1 << 20);
        store(1, NULL, NULL, NOW);
        ck_assert_int_eq(by_id(1), CACHE_HIT);
        ck_assert_uint_eq(n_dirty, 0);
}
END_TEST

/*
 * The promise: at most 120 bytes for a peer beside its own strings, in all, with 100,000 peers that are found
 * by id, name and number.
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
        const TTest *const tests[] = {
                oldest_use_goes_first,
                no_budget,
                statistics,
                forgetting_all,
                forgetting_very_many,
                dropping,
                evicting_what_is_dropped,
                bytes_of_a_peer,
                NULL,
        };

        return cache_test_program("cache_eviction", tests);
}
