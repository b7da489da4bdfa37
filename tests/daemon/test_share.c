/* What one user may hold of a common resource. */

#include <check.h>
#include <stdlib.h>

#include "../../daemon/base/share.h"

enum { MAX = 1000, USERS = 5 };

static uint64_t held[USERS];

static uint64_t sum(void)
{
        uint64_t all = 0;

        for (int i = 0; i < USERS; i++)
                all += held[i];
        return all;
}

/* As much as the share of `user` allows, one by one, while `n` users are there. Returns what it has then. */
static uint64_t fill(int user, size_t n)
{
        while (share_allows(MAX, n, sum(), held[user], 1))
                held[user]++;
        return held[user];
}

static void empty(void)
{
        for (int i = 0; i < USERS; i++)
                held[i] = 0;
}

START_TEST(a_user_alone_gets_all_but_a_sixteenth)
{
        empty();
        ck_assert_uint_eq(fill(0, 1), MAX - 63);
        ck_assert(!share_allows(MAX, 1, 0, 0, MAX - 62));
        ck_assert(share_allows(MAX, 1, 0, 0, MAX - 63));
}
END_TEST

START_TEST(each_next_user_gets_a_part_of_the_rest)
{
        empty();
        fill(0, 1);
        ck_assert_uint_eq(fill(1, 2), 59);
        ck_assert_uint_eq(fill(2, 3), 3);
        ck_assert_uint_eq(fill(3, 4), 1);
        ck_assert_uint_eq(fill(4, 5), 0);
        ck_assert_uint_eq(sum(), MAX);
}
END_TEST

/* What the first one gives back goes to those with less. */
START_TEST(shares_become_equal)
{
        empty();
        fill(0, 1);
        fill(1, 2);
        for (int i = 0; i < 600; i++) {
                held[0]--;
                fill(0, 2);
                fill(1, 2);
        }
        ck_assert_uint_ge(held[1], MAX / 2 - 63);
}
END_TEST

START_TEST(small_wholes_serve_everybody_who_comes_first)
{
        ck_assert(share_allows(1, 1, 0, 0, 1));
        ck_assert(!share_allows(1, 2, 1, 0, 1));
        ck_assert(share_allows(2, 1, 0, 0, 1));
        ck_assert(!share_allows(2, 1, 1, 1, 1));
        ck_assert(share_allows(2, 2, 1, 0, 1));
}
END_TEST

int main(void)
{
        TCase *tests = tcase_create("share");
        Suite *suite = suite_create("share");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tests, a_user_alone_gets_all_but_a_sixteenth);
        tcase_add_test(tests, each_next_user_gets_a_part_of_the_rest);
        tcase_add_test(tests, shares_become_equal);
        tcase_add_test(tests, small_wholes_serve_everybody_who_comes_first);
        suite_add_tcase(suite, tests);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
