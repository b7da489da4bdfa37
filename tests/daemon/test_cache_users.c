/* Whose peers are evicted: what one user brings does not push out what others have brought. */

#include "cache_test.h"

enum { OTHER = 1001, THIRD = 1002, BUDGET = 1 << 20 };

static struct cache *fresh(uid_t uid)
{
        struct cache *made = cache_new(pool, uid, on_dirty, &n_dirty);

        ck_assert_ptr_nonnull(made);
        return made;
}

static void fill(struct cache *into, int64_t first, int64_t n)
{
        for (int64_t id = first; id < first + n; id++) {
                struct peer peer = peer_of(id, NULL, NULL, NOW);

                cache_stored_peer(into, &peer);
        }
}

/* How many of them are cached. */
static int64_t cached(struct cache *in, int64_t first, int64_t n)
{
        int64_t found = 0;

        for (int64_t id = first; id < first + n; id++) {
                struct cache_hit hit;

                found += cache_by_id(in, id, &hit) == CACHE_HIT;
        }
        return found;
}

static struct cache_stats figures(void)
{
        struct cache_stats stats;

        cache_pool_stats(pool, &stats);
        return stats;
}

/* The first user's peers are never used between, so only their user protects them. */
START_TEST(a_flood_costs_nobody_else_a_peer)
{
        struct cache *flood = fresh(OTHER);

        fill(cache, 1, 1000);
        fill(flood, 1, 100000);
        ck_assert_uint_gt(figures().evictions, 90000);
        ck_assert_uint_le(figures().bytes, BUDGET);
        ck_assert_int_eq(cached(cache, 1, 1000), 1000);
        ck_assert_uint_eq(figures().misses, 0);
        cache_drop(flood);
}
END_TEST

/* Absent ids are cached, too. */
START_TEST(a_flood_on_a_shared_session_costs_nobody_else_a_peer)
{
        fill(cache, 1, 1000);
        cache_count_for(cache, OTHER);
        for (int64_t id = -1; id > -100000; id--)
                found_id(id, NULL);
        ck_assert_uint_gt(figures().evictions, 80000);
        ck_assert_int_eq(cached(cache, 1, 1000), 1000);
        cache_count_for(cache, USER);
        fill(cache, 2000, 1000);
        ck_assert_int_eq(cached(cache, 1, 1000), 1000);
        ck_assert_int_eq(cached(cache, 2000, 1000), 1000);
}
END_TEST

START_TEST(a_user_alone_has_all)
{
        fill(cache, 1, 100000);
        ck_assert_uint_gt(figures().bytes, BUDGET - 1024);
}
END_TEST

/* Who comes later takes from who has more, until both have the same. */
START_TEST(who_comes_later_gets_an_equal_part)
{
        struct cache *later = fresh(OTHER);
        int64_t former, gained;

        fill(cache, 1, 100000);
        fill(later, 1, 1000);
        ck_assert_int_eq(cached(later, 1, 1000), 1000);
        fill(later, 1, 100000);
        former = cached(cache, 1, 100000);
        gained = cached(later, 1, 100000);
        ck_assert_int_ge(former, gained - 10);
        ck_assert_int_le(former, gained + 10);
        cache_drop(later);
}
END_TEST

/* What one user does not need is for those who do. */
START_TEST(the_rest_is_for_those_who_use_it)
{
        struct cache *second = fresh(OTHER), *third = fresh(THIRD);
        int64_t n;

        fill(cache, 1, 100);
        for (int64_t id = 1; id < 50000; id += 50) {
                fill(second, id, 50);
                fill(third, id, 50);
        }
        ck_assert_int_eq(cached(cache, 1, 100), 100);
        n = cached(second, 1, 50000);
        ck_assert_int_gt(n, 2000);
        ck_assert_int_ge(cached(third, 1, 50000), n - 100);
        ck_assert_int_le(cached(third, 1, 50000), n + 100);
        ck_assert_uint_gt(figures().bytes, BUDGET - 1024);
        cache_drop(second);
        cache_drop(third);
}
END_TEST

/* When the sessions of the user who had most are closed, the others get the room, each its part. */
START_TEST(the_room_of_who_has_gone_is_for_the_others)
{
        struct cache *gone = fresh(OTHER), *third = fresh(THIRD);

        fill(third, 1, 1000);
        fill(gone, 1, 100000);
        cache_drop(gone);
        while (cache_pool_reap(pool, 1000))
                continue;
        fill(cache, 1, 100000);
        ck_assert_uint_gt(figures().bytes, BUDGET - 1024);
        ck_assert_int_eq(cached(third, 1, 1000), 1000);
        cache_drop(third);
}
END_TEST

/* Each of very many users has brought one peer. The one who floods is found all the same. */
START_TEST(among_very_many_users)
{
        enum { USERS = 1000 };
        struct cache *flood = fresh(USER + USERS);

        for (uid_t n = 0; n < USERS; n++) {
                cache_count_for(cache, USER + n);
                fill(cache, n, 1);
        }
        fill(flood, 1, 100000);
        ck_assert_int_eq(cached(cache, 0, USERS), USERS);
        cache_drop(flood);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                a_flood_costs_nobody_else_a_peer,
                a_flood_on_a_shared_session_costs_nobody_else_a_peer,
                a_user_alone_has_all,
                who_comes_later_gets_an_equal_part,
                the_rest_is_for_those_who_use_it,
                the_room_of_who_has_gone_is_for_the_others,
                among_very_many_users,
                NULL,
        };

        return cache_test_program("cache_users", tests);
}
