#ifndef GRAMD_DAEMON_SESSION_STORAGE_H
#define GRAMD_DAEMON_SESSION_STORAGE_H

/* The backends of list.c as this daemon runs them. Main thread only: before, in and after the loop. */

#include "../../backends/backend.h"
#include "../base/store.h"

struct config;
struct log;

struct storage {
        const struct backend *backend;
        struct backend_env *env; /* NULL: not set up */
        struct gate jobs;
        /*
         * Of its own: a thousand opens are not to delay requests on open sessions. If its jobs run aside,
         * sessions are closed and deleted through it too.
         */
        struct gate opens;
        struct gate writes; /* of its own: syncs are not to delay reads */
        struct gate lists;  /* aside: jobs with many rows, which keep a processor for seconds */
};

/* Zero-initialised: none. */
struct storages {
        struct storage *all; /* in the order of backends[] */
        size_t n;
};

/*
 * Starts every backend. `*threads` grows by those that slow backends need for themselves. 0, or -1: the
 * reason is logged. In both cases the caller calls storages_stop().
 */
int storages_start(struct storages *storages, const struct config *config,
                   const struct backend_config *backend_config, struct log *log,
                   struct store_threads *threads);
void storages_stop(struct storages *storages);

/* The owner of a session that its backend has listed; empty: none. False: it cannot be read. May block. */
bool storage_owner(const struct storage *storage, const struct stored_session *stored,
                   char text[OWNER_TEXT_BYTES]);

/* One that is set up, or NULL. */
struct storage *storages_find(const struct storages *storages, struct slice name);

#endif
