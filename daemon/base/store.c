/* Jobs on libuv's thread pool, whose completions arrive on the loop. */

#include "store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* A job that does not wait for the disk takes less. */
#define BRISK_NS (UINT64_C(2) * 1000000)

void store_set_workers(unsigned workers)
{
        char text[16];

        snprintf(text, sizeof(text), "%u", workers);
        setenv("UV_THREADPOOL_SIZE", text, 1);
}

void store_init(struct store *store, uv_loop_t *loop)
{
        *store = (struct store){ .loop = loop };
}

void store_gate(struct gate *gate, unsigned max, unsigned brisk)
{
        assert(!brisk || max);
        *gate = (struct gate){ .max = max, .brisk = brisk };
        link_init(&gate->waiting);
        link_init(&gate->running);
        if (brisk && (uv_mutex_init(&gate->mutex) < 0 || uv_cond_init(&gate->ended) < 0))
                abort(); /* neither fails on Linux */
}

void store_gate_deinit(struct gate *gate)
{
        if (!gate->brisk)
                return;
        assert(gate->n == 0 && gate->n_running == 0);
        uv_cond_destroy(&gate->ended);
        uv_mutex_destroy(&gate->mutex);
}

/* ---- on a worker ---- */

static void stop_counting(struct gate *gate, struct job *job)
{
        if (link_empty(&job->running))
                return;
        assert(gate->n_running > 0);
        gate->n_running--;
        link_remove(&job->running);
        uv_cond_signal(&gate->ended);
}

/* Waits until fewer than `brisk` jobs use a processor, and counts this one. */
static void begin_running(struct gate *gate, struct job *job)
{
        uint64_t now;

        uv_mutex_lock(&gate->mutex);
        while (now = uv_hrtime(), gate->n_running >= gate->brisk) {
                struct job *oldest = LINK_OF(gate->running.next, struct job, running);

                if (now >= oldest->running_ns + BRISK_NS)
                        stop_counting(gate, oldest);
                else
                        uv_cond_timedwait(&gate->ended, &gate->mutex, oldest->running_ns + BRISK_NS - now);
        }
        job->running_ns = now;
        gate->n_running++;
        link_append(&gate->running, &job->running);
        uv_mutex_unlock(&gate->mutex);
}

static void end_running(struct gate *gate, struct job *job)
{
        uv_mutex_lock(&gate->mutex);
        stop_counting(gate, job);
        uv_mutex_unlock(&gate->mutex);
}

static void on_worker(uv_work_t *work)
{
        struct job *job = work->data;
        struct gate *brisk = job->gate && job->gate->brisk ? job->gate : NULL;

        if (brisk)
                begin_running(brisk, job);
        job->run(job);
        if (brisk)
                end_running(brisk, job);
}

/* ---- on the loop ---- */

static void on_loop(uv_work_t *work, int status);

static void hand_over(struct job *job)
{
        job->begun_ms = uv_now(job->store->loop);
        uv_queue_work(job->store->loop, &job->work, on_worker, on_loop);
}

static void leave(struct gate *gate)
{
        if (!gate)
                return;
        assert(gate->n > 0 && gate->n <= gate->max);
        if (link_empty(&gate->waiting)) {
                gate->n--;
                return;
        }
        struct job *next = LINK_OF(gate->waiting.next, struct job, link);

        link_remove(&next->link);
        hand_over(next);
}

static void on_loop(uv_work_t *work, int status)
{
        struct job *job = work->data;

        assert(status == 0); /* no job is cancelled */
        (void)status;
        assert(job->store->pending > 0);
        job->store->pending--;
        leave(job->gate);
        job->done(job);
}

void store_submit(struct store *store, struct gate *gate, struct job *job, job_fn run, job_fn done)
{
        assert(store->loop && run && done);
        job->store = store;
        job->run = run;
        job->done = done;
        job->work.data = job;
        job->gate = gate && gate->max ? gate : NULL;
        job->begun_ms = 0;
        store->pending++;
        if (job->gate && job->gate->n == job->gate->max) {
                link_append(&job->gate->waiting, &job->link);
                return;
        }
        if (job->gate)
                job->gate->n++;
        hand_over(job);
}
