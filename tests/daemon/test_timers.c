/* Timers fire in the order they are due, and not once they are stopped. */

#include <check.h>
#include <stdlib.h>

#include "../../daemon/base/timers.h"
#include "../../proto/link.h"
#include "../support/program.h"

enum { MANY = 500 };

struct probe {
        struct timer timer;
        int number;
        struct record *record;
};

struct record {
        int fired[MANY * 2];
        size_t n;
        struct timers *timers;
        struct probe *starts; /* started by the first that fires */
        struct probe *stops;  /* stopped by it */
};

static void on_fire(struct timer *timer)
{
        struct probe *probe = LINK_OF(timer, struct probe, timer);
        struct record *record = probe->record;

        record->fired[record->n++] = probe->number;
        if (record->starts)
                timer_start(record->timers, &record->starts->timer, 1, on_fire);
        if (record->stops)
                timer_stop(record->timers, &record->stops->timer);
        record->starts = record->stops = NULL;
}

struct clock {
        uv_loop_t loop;
        struct timers timers;
        struct record record;
        struct probe probes[MANY];
};

static struct clock *clock_new(void)
{
        struct clock *clock = calloc(1, sizeof(*clock));

        ck_assert_int_eq(uv_loop_init(&clock->loop), 0);
        timers_init(&clock->timers, &clock->loop);
        ck_assert(timers_reserve(&clock->timers, MANY));
        clock->record.timers = &clock->timers;
        for (int i = 0; i < MANY; i++) {
                clock->probes[i].number = i;
                clock->probes[i].record = &clock->record;
        }
        return clock;
}

/* Runs until no timer is left, and ends the clock. */
static void clock_run(struct clock *clock)
{
        uv_run(&clock->loop, UV_RUN_DEFAULT);
}

static void clock_free(struct clock *clock)
{
        uv_close((uv_handle_t *)&clock->timers.uv, NULL);
        uv_run(&clock->loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&clock->loop), 0);
        timers_deinit(&clock->timers);
        free(clock);
}

static void start(struct clock *clock, int number, uint64_t after_ms)
{
        timer_start(&clock->timers, &clock->probes[number].timer, after_ms, on_fire);
}

START_TEST(they_fire_in_the_order_they_are_due)
{
        struct clock *clock = clock_new();

        /* Two strides through the numbers: due times come neither ascending nor descending. */
        for (int i = 0; i < MANY; i++)
                start(clock, i * 7 % MANY, (uint64_t)(i * 7 % MANY) / 10);
        clock_run(clock);
        ck_assert_uint_eq(clock->record.n, MANY);
        for (int i = 1; i < MANY; i++)
                ck_assert_int_le(clock->record.fired[i - 1] / 10, clock->record.fired[i] / 10);
        clock_free(clock);
}
END_TEST

START_TEST(stopped_ones_do_not_fire)
{
        struct clock *clock = clock_new();

        for (int i = 0; i < MANY; i++)
                start(clock, i, (uint64_t)(i % 13));
        for (int i = 0; i < MANY; i += 2)
                timer_stop(&clock->timers, &clock->probes[i].timer);
        timer_stop(&clock->timers, &clock->probes[0].timer); /* a second time is nothing */
        clock_run(clock);
        ck_assert_uint_eq(clock->record.n, MANY / 2);
        for (size_t i = 0; i < clock->record.n; i++)
                ck_assert_int_eq(clock->record.fired[i] % 2, 1);
        clock_free(clock);
}
END_TEST

START_TEST(starting_again_moves_it)
{
        struct clock *clock = clock_new();

        start(clock, 1, 0);
        start(clock, 2, 10);
        start(clock, 1, 20);
        clock_run(clock);
        ck_assert_uint_eq(clock->record.n, 2);
        ck_assert_int_eq(clock->record.fired[0], 2);
        ck_assert_int_eq(clock->record.fired[1], 1);
        clock_free(clock);
}
END_TEST

START_TEST(they_may_be_started_and_stopped_while_one_fires)
{
        struct clock *clock = clock_new();

        start(clock, 1, 1);
        start(clock, 2, 1);
        clock->record.starts = &clock->probes[3];
        clock->record.stops = &clock->probes[2];
        clock_run(clock);
        ck_assert_uint_eq(clock->record.n, 2);
        ck_assert_int_eq(clock->record.fired[0], 1);
        ck_assert_int_eq(clock->record.fired[1], 3);
        clock_free(clock);
}
END_TEST

static void on_turn(uv_prepare_t *turn)
{
        size_t *most = turn->data, fired = LINK_OF(turn->loop, struct clock, loop)->record.n;

        if (fired - most[0] > most[1])
                most[1] = fired - most[0];
        most[0] = fired;
        uv_unref((uv_handle_t *)turn);
}

START_TEST(timers_that_are_due_together_do_not_hold_the_loop)
{
        struct clock *clock = clock_new();
        size_t most[2] = { 0 }; /* fired before, and at most in one turn */
        uv_prepare_t turn;

        uv_prepare_init(&clock->loop, &turn);
        turn.data = most;
        uv_prepare_start(&turn, on_turn);
        for (int i = 0; i < MANY; i++)
                start(clock, i, 5);
        clock_run(clock);
        ck_assert_uint_eq(clock->record.n, MANY);
        ck_assert_uint_le(most[1], 64);
        uv_close((uv_handle_t *)&turn, NULL);
        clock_free(clock);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                they_fire_in_the_order_they_are_due,
                stopped_ones_do_not_fire,
                starting_again_moves_it,
                they_may_be_started_and_stopped_while_one_fires,
                timers_that_are_due_together_do_not_hold_the_loop,
                NULL,
        };

        return test_program("timers", tests);
}
