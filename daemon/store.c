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

static void on_worker(uv_work_t *work)
{
        struct job *job = work->data;

        job->run(job);
}

static void on_loop(uv_work_t *work, int status)
{
        struct job *job = work->data;

        assert(status == 0); /* nobody cancels */
        (void)status;
        job->store->pending--;
        job->done(job);
}

void store_submit(struct store *store, struct job *job, job_fn run, job_fn done)
{
        job->store = store;
        job->run = run;
        job->done = done;
        job->work.data = job;
        store->pending++;
        uv_queue_work(store->loop, &job->work, on_worker, on_loop);
}
