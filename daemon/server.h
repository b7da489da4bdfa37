#ifndef GRAMD_DAEMON_SERVER_H
#define GRAMD_DAEMON_SERVER_H

/*
 * The daemon: its loop, listening socket, signals, watchdog, and its orderly end. `struct server` is
 * what every other room is handed instead of globals. Loop thread only.
 */

#include <uv.h>

#include "../backends/backend.h"
#include "../proto/link.h"
#include "base/listener.h"
#include "base/log.h"
#include "base/store.h"
#include "base/timers.h"
#include "cache/cache.h"
#include "config/access.h"
#include "config/config.h"
#include "methods/dispatch.h"
#include "methods/metrics.h"
#include "session/session.h"

enum {
        SERVER_READ_BYTES = 64 * 1024,
        SERVER_BACKENDS_MAX = 8,
};

struct server {
        uv_loop_t loop;
        struct config *config; /* what runs now: a reload changes some of it in place */
        struct log *log;
        int argc; /* for reloading: the flags are part of the configuration */
        char **argv;

        struct store store;
        struct timers timers;
        struct cache_pool *cache_pool;
        struct method_index method_index;
        struct buffer sink; /* for answers that nobody waits for */
        struct metrics metrics;
        struct backend_config backend_config;
        struct backend_env *backend_envs[SERVER_BACKENDS_MAX]; /* beside backends[]; NULL: not set up */
        struct gate gates[SERVER_BACKENDS_MAX];                /* the same */
        struct timer confirming;                               /* looks for sessions in doubt */
        struct sessions sessions;

        struct link connections; /* struct connection */
        struct link due;         /* sessions with new work from the read that is looked at */
        struct link unflushed;   /* connections with answers of this turn */
        size_t n_connections;
        size_t n_monitors;
        uint64_t next_connection_id;
        int64_t started; /* unix seconds */

        uv_pipe_t listening;
        uv_prepare_t flush; /* before the loop sleeps: all answers of the turn leave */
        uv_idle_t reap;     /* frees dropped caches bit by bit */
        uv_signal_t signals[3];
        uv_timer_t watchdog;
        struct timer grace;  /* while stopping: for clients that do not read */
        struct timer accept; /* a client waits until there is memory for it */
        struct listener listener;
        int data_lock;
        char *data_dir;
        bool stopping;
        bool stopped;
        bool reloading;
        bool reload_again; /* SIGHUP came meanwhile */

        char read_buffer[SERVER_READ_BYTES]; /* shared: what is left of a read moves to its connection */
};

/*
 * Runs until SIGTERM or SIGINT, then ends in order. 0, or -1 where it could not start: the reason has been
 * logged. `config` and `log` are borrowed.
 */
int server_run(struct config *config, struct log *log, int argc, char **argv);

/* The index in backends[] of this name, or -1. */
int server_backend(struct slice name);

/* There are dropped cache entries to free. */
void server_reap(struct server *server);

/* Something has ended: while stopping, looks whether all has. */
void server_check_stopped(struct server *server);

int64_t unix_now(void);

#endif
