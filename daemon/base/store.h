#ifndef GRAMD_DAEMON_BASE_STORE_H
#define GRAMD_DAEMON_BASE_STORE_H

/*
 * Jobs on worker threads; no other part of the daemon knows threads. `run` is called once on a worker, then
 * `done` once on the loop. A job owns everything that `run` uses; meanwhile no other code uses it. The
 * functions below belong to the loop's thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "../../proto/link.h"

struct job;
typedef void (*job_fn)(struct job *job);

/*
 * Lets so many jobs run at a time. Each has a key: the uid that caused it. A uid gets a share of them
 * (share.h), so that the job of another one finds a place at once. Those that wait are served in turn: one
 * job of each uid. The jobs of one uid keep their order. Zero-initialised: no limit.
 */
struct gate {
        unsigned max; /* 0: no limit */
        bool aside;   /* its jobs run on the threads that step aside */
        unsigned n;
        struct link running; /* job->running */
        struct link waiting; /* the first job of each key; the next one first */
};

enum { JOB_OF_NOBODY = -1 }; /* a key */

/* Without a gate of its own it goes through that of the workers. */
struct job {
        struct store *store;
        struct gate *gate;
        int64_t key;
        struct link link; /* gate->waiting, or another job's `behind`; then crew->handed; then store->ended */
        struct link behind;   /* while it is in gate->waiting: those of its key that wait behind it */
        struct link running;  /* gate->running */
        struct link with_all; /* store->running */
        uint64_t begun_ms;    /* of the loop's clock: when it went to the threads; 0: it has not */
        job_fn run;
        job_fn done;
};

/* Threads that take jobs from one list. */
struct crew {
        struct store *store;
        uv_thread_t *threads;
        unsigned n_threads;
        uv_sem_t todo;      /* one for each job in `handed` */
        struct link handed; /* under the store's mutex */
};

/* There is a thread for each place of each gate, so that no job waits for those of other gates. */
struct store_threads {
        unsigned workers; /* for jobs without a gate */
        unsigned gated;   /* for the places of gates */
        unsigned aside;   /* of gates with `aside` */
};

/* Zero-initialised: not started. */
struct store {
        uv_loop_t *loop;
        size_t pending;      /* jobs whose `done` has not been called; they keep the loop running */
        unsigned n_discards; /* of these, those of store_discard() */
        struct gate gate;    /* of jobs without one */
        struct link running; /* jobs of all gates */
        struct crew workers;
        struct crew aside; /* their priority is lower, and they leave one processor to the others, if there
                              are two */
        int ended_fd;      /* an eventfd: `ended` is not empty */
        uv_poll_t polled;  /* ended_fd */

        /* Loop and workers, under `mutex`, which is held for some instructions only. */
        uv_mutex_t mutex;
        struct link ended; /* jobs whose `run` has returned */
        bool stopping;
};

/* Starts the threads. Returns 0 or a negative code of libuv. */
int store_start(struct store *store, uv_loop_t *loop, struct store_threads threads);

/*
 * After the last job, also if it has not been started: joins the threads and closes the handle, if that is
 * still open. The loop has to run once more.
 */
void store_stop(struct store *store);

void store_gate(struct gate *gate, unsigned max, bool aside);
/* `key`: the uid that has caused the job, or JOB_OF_NOBODY. `gate` NULL: none. */
void store_submit(struct store *store, struct gate *gate, int64_t key, struct job *job, job_fn run,
                  job_fn done);

/* How many jobs of this key are with the threads. */
unsigned store_running(const struct store *store, int64_t key);

/*
 * Has a worker call `discard`, which frees the memory and uses nothing else: the kernel takes milliseconds to
 * take back many megabytes. If workers have many of these to do already, it is called here, so that freed
 * memory cannot pile up.
 */
void store_discard(struct store *store, void *memory, void (*discard)(void *memory));

#endif
