/* Allocations of an arena do not overlap, are aligned, and keep their contents. */

#include <check.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#include "../../daemon/base/arena.h"
#include "../support/program.h"

START_TEST(what_is_put_there_stays)
{
        enum { N = 3000 };
        struct arena arena = { 0 };
        unsigned char *pieces[N];

        for (size_t i = 0; i < N; i++) {
                pieces[i] = arena_alloc(&arena, i);
                ck_assert_ptr_nonnull(pieces[i]);
                ck_assert_uint_eq((uintptr_t)pieces[i] % alignof(max_align_t), 0);
                memset(pieces[i], (int)(i % 251), i);
        }
        for (size_t i = 0; i < N; i++)
                for (size_t k = 0; k < i; k++)
                        ck_assert_uint_eq(pieces[i][k], i % 251);
        arena_deinit(&arena);
        ck_assert_ptr_null(arena.blocks);
}
END_TEST

START_TEST(more_than_there_is_fails)
{
        struct arena arena = { 0 };

        ck_assert_ptr_null(arena_alloc(&arena, SIZE_MAX));
        ck_assert_ptr_nonnull(arena_alloc(&arena, 1));
        arena_deinit(&arena);
}
END_TEST

START_TEST(copies_are_copies)
{
        struct arena arena = { 0 };
        char text[] = "anna";
        bool failed = false;
        struct slice copy = arena_copy(&arena, slice_of(text), &failed);
        struct slice empty = arena_copy(&arena, slice_of(""), &failed);
        struct slice absent = arena_copy(&arena, SLICE_NONE, &failed);

        memset(text, 'x', 4);
        ck_assert(slice_is(copy, "anna"));
        ck_assert(slice_is(empty, ""));
        ck_assert_ptr_null(absent.data);
        ck_assert(!failed);
        arena_deinit(&arena);
}
END_TEST

START_TEST(arrays_grow)
{
        size_t cap = 0;
        int *numbers = NULL;

        for (size_t n = 0; n < 1000; n++) {
                numbers = array_grow(numbers, n, &cap, sizeof(*numbers));
                ck_assert_ptr_nonnull(numbers);
                ck_assert_uint_gt(cap, n);
                numbers[n] = (int)n;
        }
        for (int n = 0; n < 1000; n++)
                ck_assert_int_eq(numbers[n], n);
        free(numbers);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                what_is_put_there_stays, more_than_there_is_fails, copies_are_copies, arrays_grow, NULL,
        };

        return test_program("arena", tests);
}
