/* Jobs on libuv's thread pool, whose completions arrive on the loop. */

#include "store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

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

void store_gate(struct gate *gate, unsigned max)
{
        *gate = (struct gate){ .max = max };
        link_init(&gate->waiting);
}

static void on_worker(uv_work_t *work)
{
        struct job *job = work->data;

        job->run(job);
}

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
