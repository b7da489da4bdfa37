#ifndef GRAMD_DAEMON_RELOAD_H
#define GRAMD_DAEMON_RELOAD_H

/* SIGHUP: the configuration is read again on a worker, and what may change while running is taken over. Loop
 * thread only. */

#include "base/log.h"
#include "base/store.h"
#include "config/config.h"

struct reload {
        struct config *config; /* what runs: changed in place */
        struct log *log;
        struct store *store;
        int argc; /* flags are part of the configuration */
        char **argv;
        void (*adopted)(struct reload *reload); /* `config` has changed */
        bool running;
        bool again; /* SIGHUP came meanwhile */
};

void reload_start(struct reload *reload);

#endif
