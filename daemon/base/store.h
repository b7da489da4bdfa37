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

enum { STORE_TURNS = 64 };

struct job;
typedef void (*job_fn)(struct job *job);

/*
 * Jobs that wait. Their keys are served in turn: one job of each. The jobs of one key keep their order. Keys
 * that are equal modulo STORE_TURNS share a turn.
 */
struct job_queue {
        struct link turns; /* those that have jobs; the next one first */
        struct turn {
                struct link link; /* `turns` */
                struct link jobs;
        } turn[STORE_TURNS];
};

/*
 * Limits how many jobs run at a time: for a backend that may be slow. Zero-initialised: no limit. The jobs of
 * a gate with `aside` run on the threads that step aside.
 */
struct gate {
        unsigned max; /* 0: no limit */
        bool aside;
        unsigned n;
        struct job_queue waiting; /* initialised by store_gate() */
};

struct job {
        struct store *store;
        struct gate *gate; /* NULL: none */
        uint64_t key;
        struct link link;  /* in a queue, or store->ended */
        uint64_t begun_ms; /* of the loop's clock: when it left the gate; 0: it has not */
        job_fn run;
        job_fn done;
};

/* Threads that take jobs from one queue. */
struct crew {
        struct store *store;
        uv_thread_t *threads;
        unsigned n_threads;
        uv_sem_t todo;          /* one for each job in `queue` */
        struct job_queue queue; /* under the store's mutex */
};

struct store_threads {
        unsigned workers, aside;
};

/* Zero-initialised: not started. */
struct store {
        uv_loop_t *loop;
        size_t pending;      /* jobs whose `done` has not been called; they keep the loop running */
        unsigned n_discards; /* of these, those of store_discard() */
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
void store_submit(struct store *store, struct gate *gate, uint64_t key, struct job *job, job_fn run,
                  job_fn done);

/*
 * Has a worker call `discard`, which frees the memory and uses nothing else: the kernel takes milliseconds to
 * take back many megabytes. If workers have many of these to do already, it is called here, so that freed
 * memory cannot pile up.
 */
void store_discard(struct store *store, void *memory, void (*discard)(void *memory));

#endif
