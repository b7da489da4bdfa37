#ifndef GRAMD_DAEMON_OWNERLESS_H
#define GRAMD_DAEMON_OWNERLESS_H

/*
 * At the start, once: how many stored sessions have no owner. Workers count them, one of each backend; the
 * log tells the numbers, and how these sessions get owners. Loop thread only.
 */

#include <stdatomic.h>

#include "base/log.h"
#include "session/storage.h"

struct ownerless {
        struct log *log;
        struct store *store;
        const struct storages *storages;
        atomic_bool stopping; /* the daemon ends: what is not counted yet is not */
};

/* Without memory nothing is counted. */
void ownerless_count(struct ownerless *ownerless);

#endif
