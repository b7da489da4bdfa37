#ifndef GRAMD_TESTS_DAEMON_CACHE_TEST_H
#define GRAMD_TESTS_DAEMON_CACHE_TEST_H

/* What the tests of the cache share: a pool with one cache, and short ways to fill and ask it. */

#include <check.h>

#include "../../daemon/cache/cache.h"

enum { NOW = 1700000000, DIRTY_LOG = 64, USER = 1000 };

static struct cache_pool *pool;
static struct cache *cache;
static struct {
        bool names;
        struct row_time time;
} dirty[DIRTY_LOG];
static size_t n_dirty;

static inline void on_dirty(void *arg, bool is_names, struct row_time time)
{
        ck_assert_ptr_eq(arg, &n_dirty);
        if (n_dirty < DIRTY_LOG) {
                dirty[n_dirty].names = is_names;
                dirty[n_dirty].time = time;
        }
        n_dirty++;
}

static inline void setup(void)
{
        n_dirty = 0;
        pool = cache_pool_new(1 << 20);
        ck_assert_ptr_nonnull(pool);
        cache = cache_new(pool, USER, on_dirty, &n_dirty);
        ck_assert_ptr_nonnull(cache);
}

static inline void teardown(void)
{
        cache_drop(cache);
        cache_pool_free(pool);
}

static inline struct peer peer_of(int64_t id, const char *username, const char *phone, int64_t time)
{
        return (struct peer){ .id = id,
                              .has_access_hash = true,
                              .access_hash = id * 7919,
                              .type = slice_of("user"),
                              .username = slice_of(username),
                              .phone_number = slice_of(phone),
                              .last_update_on = time };
}

static inline void store(int64_t id, const char *username, const char *phone, int64_t time)
{
        struct peer peer = peer_of(id, username, phone, time);

        cache_stored_peer(cache, &peer);
}

/* The id of the peer in a hit, its time in `time`. */
static inline int64_t id_of(const struct cache_hit *hit, int64_t *time)
{
        struct peer peer;

        peer_unpack(hit->packed, &peer);
        if (time)
                *time = peer.last_update_on;
        return peer.id;
}

/* The id that a name leads to; 0: it is known that no peer has it; -1: not known. */
static inline int64_t by_name(const char *name)
{
        struct cache_hit hit;
        enum cache_answer answer = cache_by_username(cache, slice_of(name), &hit);

        return answer == CACHE_HIT ? id_of(&hit, NULL) : answer == CACHE_ABSENT ? 0 : -1;
}

static inline int64_t by_phone(const char *phone)
{
        struct cache_hit hit;
        enum cache_answer answer = cache_by_phone(cache, slice_of(phone), &hit);

        return answer == CACHE_HIT ? id_of(&hit, NULL) : answer == CACHE_ABSENT ? 0 : -1;
}

static inline enum cache_answer by_id(int64_t id)
{
        struct cache_hit hit;

        return cache_by_id(cache, id, &hit);
}

/* Tells the cache what the backend found for a name; the id that it answers with. */
static inline int64_t found_name(const char *name, const struct match *matches, size_t n)
{
        struct lookup lookup = { .kind = LOOKUP_USERNAME, .text = slice_of(name) };
        struct cache_hit hit;
        enum cache_answer answer = cache_found(cache, &lookup, matches, n, &hit);

        return answer == CACHE_HIT ? id_of(&hit, NULL) : answer == CACHE_ABSENT ? 0 : -1;
}

static inline int64_t found_phone(const char *phone, const struct match *matches, size_t n)
{
        struct lookup lookup = { .kind = LOOKUP_PHONE, .text = slice_of(phone) };
        struct cache_hit hit;
        enum cache_answer answer = cache_found(cache, &lookup, matches, n, &hit);

        return answer == CACHE_HIT ? id_of(&hit, NULL) : answer == CACHE_ABSENT ? 0 : -1;
}

static inline enum cache_answer found_id(int64_t id, const struct peer *peer)
{
        struct lookup lookup = { .kind = LOOKUP_ID, .id = id };
        struct match match = { .peer = peer ? *peer : (struct peer){ 0 } };
        struct cache_hit hit;

        return cache_found(cache, &lookup, &match, peer != NULL, &hit);
}

static inline enum cache_repeat repeats(int64_t id, const char *username, const char *phone, int64_t time)
{
        struct peer peer = peer_of(id, username, phone, time);

        return cache_repeats_peer(cache, &peer);
}

/* A peer with up to two names: does it repeat what is stored? `stored`: it is then stored. */
static inline enum cache_repeat repeats_names(int64_t id, const char *a, const char *b, int64_t time,
                                              bool stored)
{
        struct slice names[] = { slice_of(a), slice_of(b) };
        struct peer_names row = { id, names, (size_t)(a != NULL) + (b != NULL), time };

        if (stored)
                cache_stored_names(cache, &row);
        return cache_repeats_names(cache, &row);
}

/* The main of such a program; `tests` ends with NULL. */
static inline int cache_test_program(const char *name, const TTest *const *tests)
{
        Suite *suite = suite_create(name);
        TCase *tcase = tcase_create(name);
        SRunner *runner;
        int failed;

        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_set_timeout(tcase, 60);
        for (; *tests; tests++)
                tcase_add_test(tcase, *tests);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}

#endif
