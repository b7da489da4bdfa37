/* Gates: how many jobs of one kind run at a time, and which of them count. */

#include <check.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../daemon/base/store.h"
#include "../support/program.h"

enum { JOBS = 12 };

struct stage {
        uv_loop_t loop;
        struct store store;
        struct gate gate;
        struct probe {
                struct job job;
                struct stage *stage;
                unsigned sleep_us;
        } probes[JOBS];
        int running, most; /* by workers */
        unsigned done;
};

static void run(struct job *job)
{
        struct probe *probe = LINK_OF(job, struct probe, job);
        struct stage *stage = probe->stage;
        int running = __atomic_add_fetch(&stage->running, 1, __ATOMIC_SEQ_CST);
        int most = __atomic_load_n(&stage->most, __ATOMIC_SEQ_CST);

        while (running > most && !__atomic_compare_exchange_n(&stage->most, &most, running, false,
                                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                ;
        if (probe->sleep_us)
                usleep(probe->sleep_us);
        __atomic_sub_fetch(&stage->running, 1, __ATOMIC_SEQ_CST);
}

static void done(struct job *job)
{
        LINK_OF(job, struct probe, job)->stage->done++;
}

/* Runs all jobs; returns how many ran at the same time at most. */
static int most_at_a_time(unsigned max, unsigned brisk, unsigned sleep_us)
{
        struct stage *stage = calloc(1, sizeof(*stage));
        int most;

        ck_assert_int_eq(uv_loop_init(&stage->loop), 0);
        store_init(&stage->store, &stage->loop);
        store_gate(&stage->gate, max, brisk);
        for (int i = 0; i < JOBS; i++) {
                stage->probes[i].stage = stage;
                stage->probes[i].sleep_us = sleep_us;
                store_submit(&stage->store, &stage->gate, &stage->probes[i].job, run, done);
        }
        uv_run(&stage->loop, UV_RUN_DEFAULT);
        ck_assert_uint_eq(stage->done, JOBS);
        ck_assert_uint_eq(stage->store.pending, 0);
        ck_assert_uint_eq(stage->gate.n, 0);
        store_gate_deinit(&stage->gate);
        ck_assert_int_eq(uv_loop_close(&stage->loop), 0);
        most = stage->most;
        free(stage);
        return most;
}

START_TEST(no_more_than_the_gate_allows)
{
        ck_assert_int_eq(most_at_a_time(3, 0, 20000), 3);
        ck_assert_int_eq(most_at_a_time(1, 0, 1000), 1);
}
END_TEST

START_TEST(quick_jobs_of_a_brisk_gate_run_one_at_a_time)
{
        ck_assert_int_eq(most_at_a_time(JOBS, 1, 0), 1);
}
END_TEST

START_TEST(a_job_that_waits_lets_the_next_one_begin)
{
        ck_assert_int_eq(most_at_a_time(JOBS, 1, 300000), JOBS);
        ck_assert_int_eq(most_at_a_time(4, 1, 50000), 4);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                no_more_than_the_gate_allows,
                quick_jobs_of_a_brisk_gate_run_one_at_a_time,
                a_job_that_waits_lets_the_next_one_begin,
                NULL,
        };

        store_set_workers(JOBS);
        return test_program("store", tests);
}
