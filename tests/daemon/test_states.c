/* The update states of a session against a plain array. */

#include <check.h>
#include <stdlib.h>

#include "../../daemon/session/states.h"
#include "../support/program.h"

enum { IDS = 60 };

/* What should be there: pts by id, 0 for none. */
struct model {
        int64_t pts[IDS];
};

static void expect_same(const struct states *states, const struct model *model)
{
        size_t n = 0;

        for (int64_t id = 0; id < IDS; id++) {
                const struct state *state = states_find(states, id - IDS / 2);

                ck_assert_int_eq(state != NULL, model->pts[id] != 0);
                if (!state)
                        continue;
                ck_assert_int_eq(state->part[STATE_PTS], model->pts[id]);
                n++;
        }
        ck_assert_uint_eq(states->n, n);
        for (size_t i = 1; i < states->n; i++)
                ck_assert_int_lt(states->rows[i - 1].id, states->rows[i].id);
}

/* Every `stride`th id, from `first`, gets `pts`, or goes where that is 0. */
static void change(struct states *states, struct model *model, int64_t first, int64_t stride, int64_t pts)
{
        struct state rows[IDS];
        int64_t ids[IDS];
        size_t n = 0;

        for (int64_t id = first; id < IDS; id += stride) {
                rows[n] = (struct state){ .id = id - IDS / 2, .present = 1u << STATE_PTS };
                rows[n].part[STATE_PTS] = pts;
                ids[n++] = id - IDS / 2;
                model->pts[id] = pts;
        }
        ck_assert(states_reserve(states, n));
        if (pts)
                states_put(states, rows, n);
        else
                states_drop(states, ids, n);
}

START_TEST(any_mix_of_changes_is_like_the_plain_array)
{
        struct states states = { 0 };
        struct model model = { { 0 } };
        unsigned seed = 20261121;

        for (int i = 1; i <= 3000; i++) {
                seed = seed * 1103515245 + 12345;
                change(&states, &model, seed >> 8 & 63, 1 + (seed >> 16 & 15), seed >> 24 & 1 ? i : 0);
                expect_same(&states, &model);
        }
        states_clear(&states);
        ck_assert_ptr_null(states.rows);
        ck_assert_uint_eq(states.n, 0);
}
END_TEST

START_TEST(nothing_is_a_change_too)
{
        struct states states = { 0 };

        states_put(&states, NULL, 0);
        states_drop(&states, NULL, 0);
        ck_assert_ptr_null(states_find(&states, 1));
        ck_assert_uint_eq(states.n, 0);
        states_clear(&states);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { any_mix_of_changes_is_like_the_plain_array, nothing_is_a_change_too,
                                       NULL };

        return test_program("states", tests);
}
