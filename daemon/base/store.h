#ifndef GRAMD_DAEMON_BASE_STORE_H
#define GRAMD_DAEMON_BASE_STORE_H

/*
 * The only room that knows threads. A job runs on a worker and comes back: `run` on the worker, `done` on
 * the loop, each once. A job owns all that `run` touches; nobody else touches it meanwhile.
 */

#include <stddef.h>
#include <uv.h>

#include "../../proto/link.h"

struct job;
typedef void (*job_fn)(struct job *job);

/* Through a gate so many jobs go at a time: those of a backend that may be slow. Zero-initialised: open. */
struct gate {
        unsigned max; /* 0: no limit */
        unsigned n;
        struct link waiting; /* jobs; made by store_gate() */
};

struct job {
        uv_work_t work;
        struct store *store;
        struct gate *gate; /* NULL: none */
        struct link link;  /* gate->waiting */
        job_fn run;
        job_fn done;
};

struct store {
        uv_loop_t *loop;
        size_t pending; /* jobs submitted and not done */
};

/* Before the first job of the process: how many workers libuv is to start. */
void store_set_workers(unsigned workers);

void store_init(struct store *store, uv_loop_t *loop);
void store_gate(struct gate *gate, unsigned max);
void store_submit(struct store *store, struct gate *gate, struct job *job, job_fn run, job_fn done);

#endif
