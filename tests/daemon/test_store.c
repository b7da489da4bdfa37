/* Jobs on worker threads: where they run, how many at a time, in which order, and what is left at the end. */

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../daemon/base/store.h"
#include "../support/program.h"

enum { JOBS = 12 };

static struct stage {
        uv_loop_t loop;
        struct store store;
        struct gate gate;
        struct probe {
                struct job job;
                char name;
                int sleep_us, processors, niceness;
        } probes[JOBS];
        int running, most; /* by workers */
        sem_t go, others_go;
        pthread_barrier_t together;
        pthread_key_t key;
        int ended_threads;
        uv_thread_t main;
        char began[JOBS + 1], ended[JOBS + 1];
        size_t n_began, n_ended;
} stage;

static void set_up(unsigned workers, unsigned max, bool aside)
{
        memset(&stage, 0, sizeof(stage));
        ck_assert_int_eq(uv_loop_init(&stage.loop), 0);
        ck_assert_int_eq(
                store_start(&stage.store, &stage.loop, (struct store_threads){ workers, JOBS, JOBS }), 0);
        store_gate(&stage.gate, max, aside);
        ck_assert_int_eq(sem_init(&stage.go, 0, 0), 0);
        ck_assert_int_eq(sem_init(&stage.others_go, 0, 0), 0);
        stage.main = uv_thread_self();
        for (int i = 0; i < JOBS; i++)
                stage.probes[i].name = (char)('a' + i);
}

/* The store keeps the loop running until its last job is done, and no longer. */
static void run_all(size_t jobs)
{
        uv_run(&stage.loop, UV_RUN_DEFAULT);
        ck_assert_uint_eq(stage.n_ended, jobs);
        ck_assert_uint_eq(stage.store.pending, 0);
        ck_assert_uint_eq(stage.gate.n, 0);
}

static void tear_down(void)
{
        store_stop(&stage.store);
        uv_run(&stage.loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&stage.loop), 0);
        sem_destroy(&stage.go);
        sem_destroy(&stage.others_go);
}

static void done(struct job *job)
{
        uv_thread_t self = uv_thread_self();

        ck_assert(uv_thread_equal(&self, &stage.main));
        stage.ended[stage.n_ended++] = LINK_OF(job, struct probe, job)->name;
}

static void count(struct job *job)
{
        int running = __atomic_add_fetch(&stage.running, 1, __ATOMIC_SEQ_CST);
        int most = __atomic_load_n(&stage.most, __ATOMIC_SEQ_CST);

        while (running > most && !__atomic_compare_exchange_n(&stage.most, &most, running, false,
                                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
                ;
        usleep((useconds_t)LINK_OF(job, struct probe, job)->sleep_us);
        __atomic_sub_fetch(&stage.running, 1, __ATOMIC_SEQ_CST);
}

/* Runs all jobs; returns how many ran at the same time at most. */
static int most_at_a_time(unsigned max, int sleep_us)
{
        set_up(JOBS, max, false);
        for (int i = 0; i < JOBS; i++) {
                stage.probes[i].sleep_us = sleep_us;
                store_submit(&stage.store, &stage.gate, i, &stage.probes[i].job, count, done);
        }
        run_all(JOBS);
        tear_down();
        return stage.most;
}

START_TEST(no_more_than_the_gate_allows)
{
        ck_assert_int_eq(most_at_a_time(3, 20000), 3);
        ck_assert_int_eq(most_at_a_time(1, 1000), 1);
}
END_TEST

static void meet(struct job *job)
{
        uv_thread_t self = uv_thread_self();

        (void)job;
        ck_assert(!uv_thread_equal(&self, &stage.main));
        pthread_setspecific(stage.key, &stage);
        pthread_barrier_wait(&stage.together);
}

static void on_thread_end(void *arg)
{
        (void)arg;
        __atomic_add_fetch(&stage.ended_threads, 1, __ATOMIC_SEQ_CST);
}

START_TEST(each_job_has_a_worker_and_all_workers_are_joined)
{
        set_up(JOBS, 0, false);
        ck_assert_int_eq(pthread_barrier_init(&stage.together, NULL, JOBS), 0);
        ck_assert_int_eq(pthread_key_create(&stage.key, on_thread_end), 0);
        for (int i = 0; i < JOBS; i++)
                store_submit(&stage.store, NULL, i, &stage.probes[i].job, meet, done);
        run_all(JOBS);
        tear_down();
        ck_assert_int_eq(__atomic_load_n(&stage.ended_threads, __ATOMIC_SEQ_CST), JOBS);
        pthread_key_delete(stage.key);
        pthread_barrier_destroy(&stage.together);
}
END_TEST

static void wait_for_go(struct job *job)
{
        (void)job;
        while (sem_wait(&stage.go) != 0)
                ;
}

/* One worker at a time. */
static void note(struct job *job)
{
        stage.began[stage.n_began++] = LINK_OF(job, struct probe, job)->name;
}

/* Job `a` runs until the others, b to g, wait; their keys are 1 1 1 2 2 66. */
static void expect_turns(struct gate *gate)
{
        static const int64_t keys[] = { JOB_OF_NOBODY, 1, 1, 1, 2, 2, 66 };

        store_submit(&stage.store, gate, keys[0], &stage.probes[0].job, wait_for_go, done);
        for (int i = 1; i < 7; i++)
                store_submit(&stage.store, gate, keys[i], &stage.probes[i].job, note, done);
        sem_post(&stage.go);
        run_all(7);
        ck_assert_str_eq(stage.began, "begcfd");
        ck_assert_str_eq(stage.ended, "abegcfd");
        tear_down();
}

START_TEST(keys_are_served_in_turn)
{
        set_up(1, 0, false);
        expect_turns(NULL);
}
END_TEST

START_TEST(keys_are_served_in_turn_by_a_gate)
{
        set_up(4, 1, false);
        expect_turns(&stage.gate);
}
END_TEST

static void let_go(struct job *job)
{
        (void)job;
        for (int i = 0; i < JOBS; i++)
                sem_post(&stage.go);
}

/* Of four places one user gets three, also if he has more to do; the job of another one runs at once. */
static void expect_share(struct gate *gate, const struct gate *counted)
{
        for (int i = 0; i < 6; i++)
                store_submit(&stage.store, gate, 1, &stage.probes[i].job, wait_for_go, done);
        ck_assert_uint_eq(counted->n, 3);
        store_submit(&stage.store, gate, 2, &stage.probes[6].job, let_go, done);
        ck_assert_uint_eq(counted->n, 4);
        run_all(7);
        ck_assert_uint_eq(counted->n, 0);
        tear_down();
}

START_TEST(a_user_leaves_places_to_others)
{
        set_up(JOBS, 4, false);
        expect_share(&stage.gate, &stage.gate);
}
END_TEST

START_TEST(a_user_leaves_workers_to_others)
{
        set_up(4, 0, false);
        expect_share(NULL, &stage.store.gate);
}
END_TEST

static int running(int64_t key)
{
        int n = 0;

        for (struct link *at = stage.gate.running.next; at != &stage.gate.running; at = at->next)
                n += LINK_OF(at, struct job, running)->key == key;
        return n;
}

/* Syncs fill their gate: a read of one who syncs does not wait for them. */
START_TEST(jobs_without_a_gate_do_not_wait_for_a_full_one)
{
        set_up(1, 4, false);
        for (int i = 0; i < 6; i++)
                store_submit(&stage.store, &stage.gate, i / 3, &stage.probes[i].job, wait_for_go, done);
        ck_assert_uint_eq(stage.gate.n, 4);
        store_submit(&stage.store, NULL, 0, &stage.probes[6].job, let_go, done);
        ck_assert_uint_eq(stage.store.gate.n, 1);
        run_all(7);
        tear_down();
}
END_TEST

static void wait_for_others_go(struct job *job)
{
        (void)job;
        while (sem_wait(&stage.others_go) != 0)
                ;
}

/* One user has all places that he may have, when another one comes who has as much to do. */
START_TEST(places_become_equal)
{
        set_up(JOBS, 5, false);
        for (int i = 0; i < 8; i++)
                store_submit(&stage.store, &stage.gate, 1, &stage.probes[i].job, wait_for_go, done);
        ck_assert_int_eq(running(1), 4);
        for (int i = 8; i < JOBS; i++)
                store_submit(&stage.store, &stage.gate, 2, &stage.probes[i].job, wait_for_others_go, done);
        ck_assert_int_eq(running(2), 1);
        for (size_t i = 1; i <= 3; i++) {
                sem_post(&stage.go);
                while (stage.n_ended < i)
                        uv_run(&stage.loop, UV_RUN_ONCE);
        }
        ck_assert_int_eq(running(1), 2);
        ck_assert_int_eq(running(2), 2);
        for (int i = 0; i < JOBS; i++) {
                sem_post(&stage.go);
                sem_post(&stage.others_go);
        }
        run_all(JOBS);
        tear_down();
}
END_TEST

static void submit_again(struct job *job)
{
        done(job);
        store_submit(&stage.store, &stage.gate, 0, job, note, done);
}

START_TEST(a_completion_may_submit_its_job_again)
{
        set_up(2, 1, false);
        store_submit(&stage.store, &stage.gate, 0, &stage.probes[0].job, note, submit_again);
        store_submit(&stage.store, &stage.gate, 0, &stage.probes[1].job, note, done);
        run_all(3);
        ck_assert_str_eq(stage.ended, "aba");
        tear_down();
}
END_TEST

static int processors(void)
{
        cpu_set_t set;

        ck_assert_int_eq(sched_getaffinity(0, sizeof(set), &set), 0);
        return CPU_COUNT(&set);
}

static void count_processors(struct job *job)
{
        struct probe *probe = LINK_OF(job, struct probe, job);

        probe->processors = processors();
        probe->niceness = getpriority(PRIO_PROCESS, 0);
}

START_TEST(jobs_aside_leave_a_processor_and_the_next_job_has_all)
{
        int all = processors(), niceness = getpriority(PRIO_PROCESS, 0);

        set_up(1, 1, true);
        store_submit(&stage.store, NULL, 0, &stage.probes[0].job, count_processors, done);
        store_submit(&stage.store, &stage.gate, 0, &stage.probes[1].job, count_processors, done);
        store_submit(&stage.store, NULL, 0, &stage.probes[2].job, count_processors, done);
        run_all(3);
        ck_assert_int_eq(stage.probes[0].processors, all);
        ck_assert_int_eq(stage.probes[1].processors, all > 1 ? all - 1 : 1);
        ck_assert_int_eq(stage.probes[2].processors, all);
        ck_assert_int_eq(stage.probes[0].niceness, niceness);
        ck_assert_int_eq(stage.probes[1].niceness, niceness < 9 ? niceness + 10 : 19);
        ck_assert_int_eq(stage.probes[2].niceness, niceness);
        tear_down();
}
END_TEST

static int freed_by_workers, freed_by_the_loop; /* one worker at a time */

static void discard(void *memory)
{
        uv_thread_t self = uv_thread_self();

        ck_assert_ptr_eq(memory, &stage);
        if (uv_thread_equal(&self, &stage.main))
                freed_by_the_loop++;
        else
                freed_by_workers++;
}

/* While no worker comes to it, only some discards wait. */
START_TEST(memory_is_freed_by_a_worker_but_does_not_pile_up)
{
        enum { DISCARDS = 100 };

        freed_by_workers = freed_by_the_loop = 0;
        set_up(1, 0, false);
        store_discard(&stage.store, &stage, discard);
        run_all(0);
        ck_assert_int_eq(freed_by_workers, 1);
        store_submit(&stage.store, NULL, 0, &stage.probes[0].job, wait_for_go, done);
        for (int i = 0; i < DISCARDS; i++)
                store_discard(&stage.store, &stage, discard);
        ck_assert_int_ge(freed_by_the_loop, DISCARDS - 10);
        ck_assert_int_lt(freed_by_the_loop, DISCARDS);
        sem_post(&stage.go);
        run_all(1);
        ck_assert_int_eq(freed_by_workers + freed_by_the_loop, 1 + DISCARDS);
        tear_down();
        freed_by_the_loop = 0;
        store_discard(&stage.store, &stage, discard); /* without workers */
        ck_assert_int_eq(freed_by_the_loop, 1);
}
END_TEST

/* No thread can have a stack as large as the whole address space. */
START_TEST(threads_that_cannot_be_started_are_an_error)
{
        struct rlimit limit;

        memset(&stage, 0, sizeof(stage));
        ck_assert_int_eq(getrlimit(RLIMIT_STACK, &limit), 0);
        ck_assert_msg(limit.rlim_max == RLIM_INFINITY, "needs a hard limit of stacks that is infinite");
        limit.rlim_cur = (rlim_t)1 << 56;
        ck_assert_int_eq(setrlimit(RLIMIT_STACK, &limit), 0);
        ck_assert_int_eq(uv_loop_init(&stage.loop), 0);
        ck_assert_int_lt(store_start(&stage.store, &stage.loop, (struct store_threads){ 3, 1, 1 }), 0);
        store_stop(&stage.store);
        ck_assert_int_eq(uv_loop_close(&stage.loop), 0); /* no handle is left */
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                no_more_than_the_gate_allows,
                each_job_has_a_worker_and_all_workers_are_joined,
                keys_are_served_in_turn,
                keys_are_served_in_turn_by_a_gate,
                a_user_leaves_places_to_others,
                a_user_leaves_workers_to_others,
                jobs_without_a_gate_do_not_wait_for_a_full_one,
                places_become_equal,
                a_completion_may_submit_its_job_again,
                jobs_aside_leave_a_processor_and_the_next_job_has_all,
                memory_is_freed_by_a_worker_but_does_not_pile_up,
                threads_that_cannot_be_started_are_an_error,
                NULL,
        };

        return test_program("store", tests);
}
