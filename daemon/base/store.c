/*
 * The worker threads. They take jobs from one list; completions arrive on the loop through an eventfd. Which
 * job is next is decided on the loop: a job is handed to the threads when its gate has a place for it.
 *
 * libuv's pool may stop the loop: pthread_cond_signal() of glibc before 2.41 can wait for threads that were
 * woken earlier, and the receiver of a uv_async (libuv 1.44) waits for a sender that has lost its processor.
 */

#include "store.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "share.h"

/* ---- gates ---- */

static void waiting_add(struct gate *gate, struct job *job)
{
        link_init(&job->behind);
        for (struct link *at = gate->waiting.next; at != &gate->waiting; at = at->next) {
                struct job *first = LINK_OF(at, struct job, link);

                if (first->key == job->key) {
                        link_append(&first->behind, &job->link);
                        return;
                }
        }
        link_append(&gate->waiting, &job->link);
}

/* It is the first of its key. The next one of that key waits for the turns of the others. */
static void waiting_remove(struct gate *gate, struct job *job)
{
        struct job *next = LINK_OF(job->behind.next, struct job, link);

        link_remove(&job->link);
        if (link_empty(&job->behind))
                return;
        link_remove(&next->link);
        link_init(&next->behind);
        link_move_all(&next->behind, &job->behind);
        link_append(&gate->waiting, &next->link);
}

/* Whether this one is the first of its key that runs. */
static bool is_first(const struct gate *gate, const struct job *job)
{
        const struct link *at = gate->running.next;

        while (LINK_OF(at, const struct job, running)->key != job->key)
                at = at->next;
        return at == &job->running;
}

static bool allows(const struct gate *gate, int64_t key)
{
        uint64_t own = 0;
        size_t keys = 0;

        if (gate->n == gate->max)
                return false;
        for (const struct link *at = gate->running.next; at != &gate->running; at = at->next) {
                const struct job *job = LINK_OF(at, const struct job, running);

                own += job->key == key;
                keys += is_first(gate, job);
        }
        return share_allows(gate->max, keys + (own == 0), gate->n, own, 1);
}

/* The next job that may run now, or NULL. */
static struct job *next_allowed(const struct gate *gate)
{
        for (const struct link *at = gate->waiting.next; at != &gate->waiting; at = at->next) {
                struct job *job = LINK_OF(at, struct job, link);

                if (allows(gate, job->key))
                        return job;
        }
        return NULL;
}

/* ---- on a worker ---- */

enum { NICER = 10 }; /* a tenth of the weight of the others */

/* Of the calling thread. Where the system forbids it, the others wait longer. */
static void step_aside(void)
{
        cpu_set_t fewer;
        size_t cpu = 0;

        setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + NICER);
        if (sched_getaffinity(0, sizeof(fewer), &fewer) < 0 || CPU_COUNT(&fewer) < 2)
                return;
        while (!CPU_ISSET(cpu, &fewer))
                cpu++;
        CPU_CLR(cpu, &fewer);
        sched_setaffinity(0, sizeof(fewer), &fewer);
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
        struct crew *crew = arg;
        struct store *store = crew->store;

        if (crew == &store->aside)
                step_aside();
        for (;;) {
                struct job *job;

                uv_sem_wait(&crew->todo);
                uv_mutex_lock(&store->mutex);
                if (link_empty(&crew->handed)) {
                        assert(store->stopping);
                        uv_mutex_unlock(&store->mutex);
                        return;
                }
                job = LINK_OF(crew->handed.next, struct job, link);
                link_remove(&job->link);
                uv_mutex_unlock(&store->mutex);
                job->run(job);
                give_back(store, job);
        }
}

/* ---- on the loop ---- */

static void hand_over(struct job *job)
{
        struct store *store = job->store;
        struct crew *crew = job->gate->aside ? &store->aside : &store->workers;

        job->begun_ms = uv_now(store->loop);
        uv_mutex_lock(&store->mutex);
        link_append(&crew->handed, &job->link);
        uv_mutex_unlock(&store->mutex);
        uv_sem_post(&crew->todo);
}

/* Lets those run that may. */
static void admit(struct gate *gate)
{
        struct job *job;

        while ((job = next_allowed(gate))) {
                waiting_remove(gate, job);
                link_append(&gate->running, &job->running);
                link_append(&job->store->running, &job->with_all);
                gate->n++;
                hand_over(job);
        }
}

static void leave(struct job *job)
{
        struct gate *gate = job->gate;

        assert(gate->n > 0 && gate->n <= gate->max);
        link_remove(&job->running);
        link_remove(&job->with_all);
        gate->n--;
        admit(gate);
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
                leave(job);
                job->done(job);
        }
}

static int crew_start(struct crew *crew, struct store *store, unsigned threads)
{
        int error = 0;

        crew->store = store;
        link_init(&crew->handed);
        if (uv_sem_init(&crew->todo, 0) < 0)
                abort(); /* does not fail on Linux */
        crew->threads = calloc(threads, sizeof(*crew->threads));
        if (!crew->threads)
                return UV_ENOMEM;
        while (error == 0 && crew->n_threads < threads) {
                error = uv_thread_create(&crew->threads[crew->n_threads], work, crew);
                if (error == 0)
                        crew->n_threads++;
        }
        return error;
}

/* After `stopping`. */
static void crew_join(struct crew *crew)
{
        for (unsigned i = 0; i < crew->n_threads; i++)
                uv_sem_post(&crew->todo);
        for (unsigned i = 0; i < crew->n_threads; i++)
                uv_thread_join(&crew->threads[i]);
        free(crew->threads);
        if (crew->store)
                uv_sem_destroy(&crew->todo);
}

static void join(struct store *store)
{
        uv_mutex_lock(&store->mutex);
        store->stopping = true;
        uv_mutex_unlock(&store->mutex);
        crew_join(&store->workers);
        crew_join(&store->aside);
        close(store->ended_fd);
        uv_mutex_destroy(&store->mutex);
        store->loop = NULL;
}

int store_start(struct store *store, uv_loop_t *loop, struct store_threads threads)
{
        int error = 0;

        assert(!store->loop && threads.workers > 0 && threads.aside > 0);
        *store = (struct store){ .loop = loop, .ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
        store_gate(&store->gate, threads.workers, false);
        link_init(&store->running);
        link_init(&store->ended);
        if (uv_mutex_init(&store->mutex) < 0)
                abort(); /* does not fail on Linux */
        if (store->ended_fd < 0)
                error = uv_translate_sys_error(errno);
        if (error == 0)
                error = crew_start(&store->workers, store, threads.workers + threads.gated);
        if (error == 0)
                error = crew_start(&store->aside, store, threads.aside);
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
        link_init(&gate->running);
        link_init(&gate->waiting);
}

void store_submit(struct store *store, struct gate *gate, int64_t key, struct job *job, job_fn run,
                  job_fn done)
{
        assert(store->loop && run && done);
        *job = (struct job){
                .store = store,
                .gate = gate && gate->max ? gate : &store->gate,
                .key = key,
                .run = run,
                .done = done,
        };
        if (store->pending++ == 0)
                uv_ref((uv_handle_t *)&store->polled);
        waiting_add(job->gate, job);
        admit(job->gate);
}

unsigned store_running(const struct store *store, int64_t key)
{
        unsigned n = 0;

        for (const struct link *at = store->running.next; at != &store->running; at = at->next)
                n += LINK_OF(at, const struct job, with_all)->key == key;
        return n;
}

/* ---- memory that a worker frees ---- */

enum { DISCARDS_MAX = 8 };

struct discard {
        struct job job;
        void *memory;
        void (*discard)(void *memory);
};

static void run_discard(struct job *job)
{
        struct discard *discard = (struct discard *)job;

        discard->discard(discard->memory);
}

static void discarded(struct job *job)
{
        job->store->n_discards--;
        free(job);
}

void store_discard(struct store *store, void *memory, void (*discard)(void *memory))
{
        struct discard *job = store->loop && store->n_discards < DISCARDS_MAX ? malloc(sizeof(*job)) : NULL;

        if (!job) {
                discard(memory);
                return;
        }
        job->memory = memory;
        job->discard = discard;
        store->n_discards++;
        store_submit(store, NULL, JOB_OF_NOBODY, &job->job, run_discard, discarded);
}
