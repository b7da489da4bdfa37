#ifndef GRAMD_DAEMON_SESSION_READING_H
#define GRAMD_DAEMON_SESSION_READING_H

/*
 * Reads, checks and sorts the long list of a write on a worker, before the write joins a job. Until then the
 * op waits in its lane, and what follows it waits behind it. If the list is wrong, the request is answered
 * and nothing of it is done. Loop thread only, but for `read`.
 */

#include "op.h"

struct op_reading {
        struct job job;
        struct op *op;
        struct cursor list; /* n elements; in the op's copy of the frame, up to its end */
        uint32_t n;
        struct account *account; /* of the client */
        size_t bytes;            /* of the request, counted there; once it is abandoned, as an orphan */
        /* Set by `read` if the list is wrong: */
        enum wire_error error;
        char wrong[200];
        bool no_memory;
        bool (*read)(struct op_reading *reading);
        bool is_right;
        bool abandoned; /* the loop's: the op has been answered meanwhile */
};

/*
 * Instead of op_start(). `read` runs on a worker, through the gate: it completes op->write, whose `values`
 * own what it allocates. False: nothing is done.
 */
void reading_start(struct op *op, struct gate *gate, struct cursor list, uint32_t n,
                   bool (*read)(struct op_reading *reading));

/* The op is being freed: its memory lives until the worker has done with it. */
void reading_abandon(struct op *op);

#endif
