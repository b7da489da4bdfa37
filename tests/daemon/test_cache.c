/* What ids, usernames and phone numbers lead to in the cache. test_cache_model.c checks all of it. */

#include "cache_test.h"

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

/* A stored row shows that the peer has the name, not that no other peer has it. */
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

        /* Of equals, the one with its own name first, then the lowest id. */
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

/* More owners than an alias holds: answered, not cached. */
START_TEST(a_crowd)
{
        struct match matches[40];

        for (int i = 0; i < 40; i++)
                matches[i] = (struct match){ .peer = peer_of(i + 1, "a", NULL, NOW + i % 39) };
        ck_assert_int_eq(found_name("a", matches, 40), 39);
        ck_assert_int_eq(by_name("a"), -1);
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

START_TEST(caches_are_apart)
{
        struct cache *other = cache_new(pool, USER, on_dirty, &n_dirty);
        struct cache_hit hit;

        store(1, "a", NULL, NOW);
        found_name("b", NULL, 0);
        ck_assert_int_eq(cache_by_id(other, 1, &hit), CACHE_MISS);
        ck_assert_int_eq(cache_by_username(other, slice_of("b"), &hit), CACHE_MISS);
        cache_drop(other);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                peers_by_id, names_need_a_lookup, names_that_are_nobodys, several_owners, phones_of_several,
                a_crowd,     names_lead_to_peers, caches_are_apart,       NULL,
        };

        return cache_test_program("cache", tests);
}
