/* The growing buffer: what it holds, when it fails, and that it wipes what it gives up. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/buffer.h"

static void fill(struct buffer *buffer, size_t len)
{
        for (size_t i = 0; i < len; i++) {
                uint8_t byte = (uint8_t)(i * 7 + 1);

                buffer_append(buffer, &byte, 1);
        }
}

static void check_fill(const struct buffer *buffer, size_t from, size_t len)
{
        size_t same = 0;

        while (same < len && buffer->data[same] == (uint8_t)((from + same) * 7 + 1))
                same++;
        ck_assert_uint_eq(same, len);
}

START_TEST(keeps_what_was_written_while_it_grows)
{
        struct buffer buffer = { 0 };

        fill(&buffer, 100000);
        ck_assert(!buffer.failed);
        ck_assert_uint_eq(buffer.len, 100000);
        check_fill(&buffer, 0, 100000);
        ck_assert_uint_lt(buffer.cap, 300000);
        buffer_deinit(&buffer);
        ck_assert_ptr_null(buffer.data);
        ck_assert_uint_eq(buffer.len, 0);
}
END_TEST

START_TEST(fails_at_its_limit_and_stays_as_it_was)
{
        struct buffer buffer = { .limit = 1000 };

        fill(&buffer, 990);
        buffer_append(&buffer, "0123456789A", 11);
        ck_assert(buffer.failed);
        ck_assert_uint_eq(buffer.len, 990);
        buffer_append(&buffer, "x", 1);
        ck_assert_uint_eq(buffer.len, 990);
        ck_assert_ptr_null(buffer_reserve(&buffer, 1));
        check_fill(&buffer, 0, 990);
        buffer_truncate(&buffer, 990);
        buffer_append(&buffer, "0123456789", 10);
        ck_assert(!buffer.failed);
        ck_assert_uint_eq(buffer.len, 1000);
        ck_assert_uint_le(buffer.cap, 1000);
        buffer_deinit(&buffer);
}
END_TEST

START_TEST(a_limit_holds_below_the_capacity_too)
{
        struct buffer buffer = { 0 };

        fill(&buffer, 600);
        buffer.limit = 700;
        ck_assert_uint_gt(buffer.cap, 700);
        ck_assert_ptr_nonnull(buffer_reserve(&buffer, 100));
        ck_assert_ptr_null(buffer_reserve(&buffer, 101));
        ck_assert(buffer.failed);
        buffer_deinit(&buffer);
}
END_TEST

START_TEST(an_impossible_size_fails)
{
        struct buffer buffer = { 0 };

        buffer_append(&buffer, "abc", 3);
        ck_assert_ptr_null(buffer_reserve(&buffer, SIZE_MAX));
        ck_assert(buffer.failed);
        ck_assert_uint_eq(buffer.len, 3);
        buffer_deinit(&buffer);
}
END_TEST

START_TEST(consume_keeps_the_rest)
{
        struct buffer buffer = { 0 };

        fill(&buffer, 5000);
        buffer_consume(&buffer, 0);
        buffer_consume(&buffer, 4000);
        ck_assert_uint_eq(buffer.len, 1000);
        check_fill(&buffer, 4000, 1000);
        buffer_consume(&buffer, 1000);
        ck_assert_uint_eq(buffer.len, 0);
        buffer_consume(&buffer, 1);
        ck_assert_uint_eq(buffer.len, 0);
        buffer_deinit(&buffer);
}
END_TEST

START_TEST(wipes_what_consume_and_truncate_let_go)
{
        struct buffer buffer = { 0 };

        fill(&buffer, 400);
        buffer_consume(&buffer, 150);
        for (size_t i = 250; i < 400; i++)
                ck_assert_uint_eq(buffer.data[i], 0);
        buffer_truncate(&buffer, 100);
        for (size_t i = 100; i < 250; i++)
                ck_assert_uint_eq(buffer.data[i], 0);
        check_fill(&buffer, 150, 100);
        buffer_deinit(&buffer);
}
END_TEST

START_TEST(truncate_to_more_is_nothing)
{
        struct buffer buffer = { 0 };

        fill(&buffer, 10);
        buffer_truncate(&buffer, 20);
        ck_assert_uint_eq(buffer.len, 10);
        buffer_deinit(&buffer);
}
END_TEST

START_TEST(shrink_frees_an_empty_buffer_only)
{
        struct buffer buffer = { 0 };

        fill(&buffer, 5000);
        buffer_shrink(&buffer);
        ck_assert_uint_eq(buffer.len, 5000);
        buffer_consume(&buffer, 5000);
        buffer_shrink(&buffer);
        ck_assert_uint_eq(buffer.cap, 0);
        fill(&buffer, 10);
        check_fill(&buffer, 0, 10);
        buffer_deinit(&buffer);
}
END_TEST

START_TEST(a_reserve_of_nothing_gives_a_place)
{
        struct buffer buffer = { 0 };

        ck_assert_ptr_nonnull(buffer_reserve(&buffer, 0));
        buffer_append(&buffer, NULL, 0);
        ck_assert(!buffer.failed);
        ck_assert_uint_eq(buffer.len, 0);
        buffer_deinit(&buffer);
}
END_TEST

START_TEST(deinit_keeps_the_limit)
{
        struct buffer buffer = { .limit = 3 };

        buffer_append(&buffer, "abcd", 4);
        buffer_deinit(&buffer);
        ck_assert(!buffer.failed);
        ck_assert_uint_eq(buffer.limit, 3);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("buffer");
        TCase *tcase = tcase_create("buffer");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tcase, keeps_what_was_written_while_it_grows);
        tcase_add_test(tcase, fails_at_its_limit_and_stays_as_it_was);
        tcase_add_test(tcase, a_limit_holds_below_the_capacity_too);
        tcase_add_test(tcase, an_impossible_size_fails);
        tcase_add_test(tcase, consume_keeps_the_rest);
        tcase_add_test(tcase, wipes_what_consume_and_truncate_let_go);
        tcase_add_test(tcase, truncate_to_more_is_nothing);
        tcase_add_test(tcase, shrink_frees_an_empty_buffer_only);
        tcase_add_test(tcase, a_reserve_of_nothing_gives_a_place);
        tcase_add_test(tcase, deinit_keeps_the_limit);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
