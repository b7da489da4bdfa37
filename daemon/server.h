#ifndef GRAMD_DAEMON_SERVER_H
#define GRAMD_DAEMON_SERVER_H

/* The daemon: its loop, listening socket, signals and watchdog, from the start to an orderly end. */

#include <uv.h>

#include "base/log.h"
#include "config/config.h"

/*
 * Runs until SIGTERM or SIGINT, then ends in order. 0, or -1 where it could not start: the reason has been
 * logged. `config` and `log` are borrowed.
 */
int server_run(struct config *config, struct log *log, int argc, char **argv);

/*
 * The same in steps, for programs that turn the loop themselves: the fuzzers. server_start() returns NULL
 * where the daemon could not start. After server_stop() the loop ends by itself; then comes server_free().
 */
struct server *server_start(struct config *config, struct log *log, int argc, char **argv);
uv_loop_t *server_loop(struct server *server);
void server_stop(struct server *server);
void server_free(struct server *server);

#endif
