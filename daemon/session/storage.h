#ifndef GRAMD_DAEMON_SESSION_STORAGE_H
#define GRAMD_DAEMON_SESSION_STORAGE_H

/* The backends of list.c as this daemon runs them. Loop thread only, and before and after the loop. */

#include "../../backends/backend.h"
#include "../base/store.h"

struct config;
struct log;

struct storage {
        const struct backend *backend;
        struct backend_env *env; /* NULL: not set up */
        struct gate gate;
};

/* Zero-initialised: none. */
struct storages {
        struct storage *all; /* in the order of backends[] */
        size_t n;
};

/*
 * Starts every backend. `*workers` grows by the threads that slow ones need of their own. 0, or -1 and the
 * reason has been logged; either way they are to be stopped.
 */
int storages_start(struct storages *storages, const struct config *config,
                   const struct backend_config *backend_config, struct log *log, unsigned *workers);
void storages_stop(struct storages *storages);

/* One that is set up, or NULL. */
struct storage *storages_find(const struct storages *storages, struct slice name);

#endif
