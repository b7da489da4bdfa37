#ifndef GRAMD_DAEMON_SERVER_H
#define GRAMD_DAEMON_SERVER_H

/* The daemon: its loop, listening socket, signals and watchdog, from the start to an orderly end. */

#include "base/log.h"
#include "config/config.h"

/*
 * Runs until SIGTERM or SIGINT, then ends in order. 0, or -1 where it could not start: the reason has been
 * logged. `config` and `log` are borrowed.
 */
int server_run(struct config *config, struct log *log, int argc, char **argv);

#endif
