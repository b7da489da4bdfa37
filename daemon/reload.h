#ifndef GRAMD_DAEMON_RELOAD_H
#define GRAMD_DAEMON_RELOAD_H

/*
 * SIGHUP: reads the configuration again on a worker and adopts the options that may change while running.
 * Loop thread only.
 */

#include "../backends/keyring.h"
#include "base/log.h"
#include "base/store.h"
#include "config/config.h"

struct reload {
        struct config *config;   /* the running configuration: changed in place */
        struct keyring *keyring; /* its file is read again, too */
        const char *data_dir;    /* where that must not be */
        struct log *log;
        struct store *store;
        int argc; /* the flags: part of the configuration */
        char **argv;
        void (*adopted)(struct reload *reload); /* `config` has changed */
        bool running;
        bool again;    /* a SIGHUP came while a reload was running */
        bool stopping; /* the daemon ends: the manager is not told that it is ready again */
};

void reload_start(struct reload *reload);

#endif
