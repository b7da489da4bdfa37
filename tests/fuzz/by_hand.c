/* Has the functions of store.h, and is linked in place of store.c. One daemon at a time. */

#include "by_hand.h"

#include <assert.h>

#include "../../daemon/base/store.h"

static struct queue {
        struct link jobs;
        size_t n;
} waiting = { .jobs = { &waiting.jobs, &waiting.jobs } }, back = { .jobs = { &back.jobs, &back.jobs } };

static void put(struct queue *queue, struct job *job)
{
        link_append(&queue->jobs, &job->link);
        queue->n++;
}

static struct job *take(struct queue *queue, size_t which)
{
        struct link *at = queue->jobs.next;

        assert(which < queue->n);
        while (which--)
                at = at->next;
        link_remove(at);
        queue->n--;
        return LINK_OF(at, struct job, link);
}

size_t jobs_waiting(void)
{
        return waiting.n;
}

size_t jobs_back(void)
{
        return back.n;
}

void job_run(size_t which)
{
        struct job *job = take(&waiting, which);

        job->run(job);
        put(&back, job);
}

void job_finish(size_t which)
{
        struct job *job = take(&back, which);

        assert(job->store->pending > 0);
        job->store->pending--;
        job->done(job);
}

int store_start(struct store *store, uv_loop_t *loop, struct store_threads threads)
{
        assert(!store->loop && threads.workers > 0 && waiting.n + back.n == 0);
        *store = (struct store){ .loop = loop };
        return 0;
}

void store_stop(struct store *store)
{
        assert(store->pending == 0);
        store->loop = NULL;
}

void store_gate(struct gate *gate, unsigned max, bool aside)
{
        *gate = (struct gate){ .max = max, .aside = aside };
        link_init(&gate->running);
        link_init(&gate->waiting);
}

/* Gates let all jobs through. */
void store_submit(struct store *store, struct gate *gate, int64_t key, struct job *job, job_fn run,
                  job_fn done)
{
        (void)gate;
        assert(store->loop && run && done);
        *job = (struct job){
                .store = store, .key = key, .begun_ms = uv_now(store->loop), .run = run, .done = done
        };
        store->pending++;
        put(&waiting, job);
}

void store_discard(struct store *store, void *memory, void (*discard)(void *memory))
{
        (void)store;
        discard(memory);
}

unsigned store_running(const struct store *store, int64_t key)
{
        unsigned n = 0;

        (void)store;
        for (const struct link *at = waiting.jobs.next; at != &waiting.jobs; at = at->next)
                n += LINK_OF(at, struct job, link)->key == key;
        return n;
}
