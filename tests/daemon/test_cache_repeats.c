/* Rows that repeat what is stored: only their time changes, and is dirty until it is stored. */

#include <stdio.h>

#include "cache_test.h"

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

/* A time that the cache cannot hold is reported at once. */
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

        /* Without names there is nothing to store, whatever the time. */
        ck_assert_int_eq(repeats_names(3, NULL, NULL, NOW, true), CACHE_REPEAT);
        ck_assert_int_eq(repeats_names(3, NULL, NULL, NOW + 6000, false), CACHE_REPEAT);
        cache_touch_names(cache, 3, NOW + 6000);
        ck_assert_uint_eq(n_dirty, 1);
        ck_assert_uint_eq(cache_take_dirty(cache, true, times, 4), 0);
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

int main(void)
{
        const TTest *const tests[] = {
                repetitions_of_peers,
                touches_that_cannot_wait,
                repetitions_of_names,
                more_names_than_are_remembered,
                NULL,
        };

        return cache_test_program("cache_repeats", tests);
}
