#ifndef GRAMD_DAEMON_BASE_STORE_H
#define GRAMD_DAEMON_BASE_STORE_H

/*
 * Jobs on worker threads; no other part of the daemon knows threads. `run` is called once on a worker, then
 * `done` once on the loop. A job owns everything that `run` uses; meanwhile no other code uses it.
 */

#include <stddef.h>
#include <uv.h>

#include "../../proto/link.h"

struct job;
typedef void (*job_fn)(struct job *job);

/*
 * Limits how many jobs run at a time: for a backend that may be slow. Zero-initialised: no limit. With
 * `brisk`, jobs that use a processor are limited further, so that the loop finds one free: a worker waits
 * before it runs the job. A job that has run for some milliseconds counts as waiting for the disk, and lets
 * the next one begin.
 */
struct gate {
        unsigned max;   /* 0: no limit */
        unsigned brisk; /* jobs in `running`; 0: no limit besides `max` */
        unsigned n;
        struct link waiting; /* jobs; initialised by store_gate() */

        /* Workers, if `brisk`. */
        uv_mutex_t mutex;
        uv_cond_t ended;
        struct link running; /* jobs that count against `brisk`, the oldest first */
        unsigned n_running;
};

struct job {
        uv_work_t work;
        struct store *store;
        struct gate *gate;   /* NULL: none */
        struct link link;    /* gate->waiting */
        struct link running; /* gate->running */
        uint64_t running_ns; /* since when */
        uint64_t begun_ms;   /* of the loop's clock: when it left the gate; 0: it has not */
        job_fn run;
        job_fn done;
};

struct store {
        uv_loop_t *loop;
        size_t pending; /* jobs whose `done` has not been called */
};

/* The number of threads that libuv starts. Called before the first job of the process. */
void store_set_workers(unsigned workers);

void store_init(struct store *store, uv_loop_t *loop);
void store_gate(struct gate *gate, unsigned max, unsigned brisk);
void store_gate_deinit(struct gate *gate); /* after the last job */
void store_submit(struct store *store, struct gate *gate, struct job *job, job_fn run, job_fn done);

#endif
