#ifndef GRAMD_TESTS_SUPPORT_LONG_WRITE_H
#define GRAMD_TESTS_SUPPORT_LONG_WRITE_H

/* A long write, which the daemon works off in slices, and the daemon stopped in the middle of it. */

#include "daemon.h"
#include "wire.h"

struct long_write {
        struct daemon *daemon;
        struct wire *writer;
        struct wire *other;
        int s;    /* the writer's handle */
        int t;    /* the other's */
        int rows; /* peers 1 to this one */
        int hash; /* of the peers, in the round that was stopped */
};

/* So many slices the daemon has worked off. */
long long long_write_slices(struct wire *wire);

/*
 * Stops the daemon in the middle of a long write: slices have been worked off, and the writer has no answer
 * to its request 5. If this process was too slow to see that, it tries again.
 */
void long_write_stop_in_the_middle(struct long_write *write);

/* The session of the handle has all rows of the write. */
void long_write_expect_rows(const struct long_write *write, struct wire *wire, int handle);

#endif
