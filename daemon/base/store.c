/*
 * The worker threads. They take jobs from one queue; completions arrive on the loop through an eventfd.
 * libuv's pool may stop the loop: pthread_cond_signal() of glibc before 2.41 can wait for threads that were
 * woken earlier, and the receiver of a uv_async (libuv 1.44) waits for a sender that has lost its processor.
 */

#include "store.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* ---- jobs that wait ---- */

static void queue_init(struct job_queue *queue)
{
        link_init(&queue->turns);
        for (size_t i = 0; i < STORE_TURNS; i++) {
                link_init(&queue->turn[i].link);
                link_init(&queue->turn[i].jobs);
        }
}

static void queue_add(struct job_queue *queue, struct job *job)
{
        struct turn *turn = &queue->turn[job->key % STORE_TURNS];

        if (link_empty(&turn->jobs))
                link_append(&queue->turns, &turn->link);
        link_append(&turn->jobs, &job->link);
}

/* NULL: it is empty. */
static struct job *queue_take(struct job_queue *queue)
{
        if (link_empty(&queue->turns))
                return NULL;

        struct turn *turn = LINK_OF(queue->turns.next, struct turn, link);
        struct job *job = LINK_OF(turn->jobs.next, struct job, link);

        link_remove(&turn->link);
        link_remove(&job->link);
        if (!link_empty(&turn->jobs))
                link_append(&queue->turns, &turn->link);
        return job;
}

/* ---- on a worker ---- */

/* Leaves one processor to others. `*before` is what to go back to. False: nothing has changed. */
static bool step_aside(cpu_set_t *before)
{
        cpu_set_t fewer;
        size_t cpu = 0;

        if (sched_getaffinity(0, sizeof(*before), before) < 0 || CPU_COUNT(before) < 2)
                return false;
        fewer = *before;
        while (!CPU_ISSET(cpu, &fewer))
                cpu++;
        CPU_CLR(cpu, &fewer);
        return sched_setaffinity(0, sizeof(fewer), &fewer) == 0;
}

static void run_job(struct job *job)
{
        cpu_set_t before;
        bool aside = job->gate && job->gate->aside && step_aside(&before);

        job->run(job);
        if (aside)
                sched_setaffinity(0, sizeof(before), &before);
}

static void give_back(struct store *store, struct job *job)
{
        uv_mutex_lock(&store->mutex);
        link_append(&store->ended, &job->link);
        uv_mutex_unlock(&store->mutex);
        /* Also if the list was not empty: the worker that has to tell may have lost its processor. */
        eventfd_write(store->ended_fd, 1);
}

static void work(void *arg)
{
        struct store *store = arg;

        for (;;) {
                struct job *job;

                uv_sem_wait(&store->todo);
                uv_mutex_lock(&store->mutex);
                job = queue_take(&store->queue);
                assert(job || store->stopping);
                uv_mutex_unlock(&store->mutex);
                if (!job)
                        return;
                run_job(job);
                give_back(store, job);
        }
}

/* ---- on the loop ---- */

static void hand_over(struct job *job)
{
        struct store *store = job->store;

        job->begun_ms = uv_now(store->loop);
        uv_mutex_lock(&store->mutex);
        queue_add(&store->queue, job);
        uv_mutex_unlock(&store->mutex);
        uv_sem_post(&store->todo);
}

static void leave(struct gate *gate)
{
        struct job *next;

        if (!gate)
                return;
        assert(gate->n > 0 && gate->n <= gate->max);
        next = queue_take(&gate->waiting);
        if (next)
                hand_over(next);
        else
                gate->n--;
}

static void on_ended(uv_poll_t *polled, int status, int events)
{
        struct store *store = polled->data;
        struct link ended;
        eventfd_t n;

        (void)status;
        (void)events;
        link_init(&ended);
        eventfd_read(store->ended_fd, &n); /* before the list: what is added later is told again */
        uv_mutex_lock(&store->mutex);
        link_move_all(&ended, &store->ended);
        uv_mutex_unlock(&store->mutex);
        while (!link_empty(&ended)) {
                struct job *job = LINK_OF(ended.next, struct job, link);

                link_remove(&job->link);
                assert(store->pending > 0);
                if (--store->pending == 0)
                        uv_unref((uv_handle_t *)&store->polled);
                leave(job->gate);
                job->done(job);
        }
}

static void join(struct store *store)
{
        uv_mutex_lock(&store->mutex);
        store->stopping = true;
        uv_mutex_unlock(&store->mutex);
        for (unsigned i = 0; i < store->n_threads; i++)
                uv_sem_post(&store->todo);
        for (unsigned i = 0; i < store->n_threads; i++)
                uv_thread_join(&store->threads[i]);
        free(store->threads);
        close(store->ended_fd);
        uv_sem_destroy(&store->todo);
        uv_mutex_destroy(&store->mutex);
        store->loop = NULL;
}

int store_start(struct store *store, uv_loop_t *loop, unsigned workers)
{
        int error = 0;

        assert(!store->loop && workers > 0);
        *store = (struct store){ .loop = loop, .ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
        if (store->ended_fd < 0)
                error = uv_translate_sys_error(errno);
        store->threads = calloc(workers, sizeof(*store->threads));
        if (!store->threads)
                error = UV_ENOMEM;
        queue_init(&store->queue);
        link_init(&store->ended);
        if (uv_sem_init(&store->todo, 0) < 0 || uv_mutex_init(&store->mutex) < 0)
                abort(); /* neither fails on Linux */
        while (error == 0 && store->n_threads < workers) {
                error = uv_thread_create(&store->threads[store->n_threads], work, store);
                if (error == 0)
                        store->n_threads++;
        }
        if (error == 0)
                error = uv_poll_init(loop, &store->polled, store->ended_fd);
        if (error < 0) {
                join(store);
                return error;
        }
        store->polled.data = store;
        uv_poll_start(&store->polled, UV_READABLE, on_ended);
        uv_unref((uv_handle_t *)&store->polled);
        return 0;
}

void store_stop(struct store *store)
{
        assert(store->pending == 0);
        if (!store->loop)
                return;
        if (!uv_is_closing((uv_handle_t *)&store->polled))
                uv_close((uv_handle_t *)&store->polled, NULL);
        join(store);
}

void store_gate(struct gate *gate, unsigned max, bool aside)
{
        assert(!aside || max);
        *gate = (struct gate){ .max = max, .aside = aside };
        queue_init(&gate->waiting);
}

void store_submit(struct store *store, struct gate *gate, uint64_t key, struct job *job, job_fn run,
                  job_fn done)
{
        assert(store->loop && run && done);
        *job = (struct job){
                .store = store,
                .gate = gate && gate->max ? gate : NULL,
                .key = key,
                .run = run,
                .done = done,
        };
        if (store->pending++ == 0)
                uv_ref((uv_handle_t *)&store->polled);
        if (job->gate && job->gate->n == job->gate->max) {
                queue_add(&job->gate->waiting, job);
                return;
        }
        if (job->gate)
                job->gate->n++;
        hand_over(job);
}
