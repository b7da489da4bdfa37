#ifndef GRAMD_DAEMON_CONFIG_H
#define GRAMD_DAEMON_CONFIG_H

/*
 * What the operator chose. One table of options (config.c) names each, with its type, default, bounds
 * and help; the configuration file, the flags, --print-config, --help and the manual page come from it.
 * A value's place in the order: flag, environment, file, default.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access.h"
#include "log.h"

enum fsync_policy { FSYNC_ALWAYS, FSYNC_EVERYSEC, FSYNC_NO };

struct config {
        char *config_file; /* what was read, or NULL */
        char *socket;      /* path; NULL only where a socket is inherited */
        char *data;
        char *backend; /* the default backend */
        char *mongo;
        enum log_level log_level;
        bool log_json;
        enum fsync_policy fsync;
        uint64_t idle_close_ms;
        uint64_t cache_bytes;
        uint64_t page_cache_bytes;
        uint64_t memory_max_bytes;
        uint64_t max_message_bytes;
        uint64_t max_in_flight; /* requests of one connection on one session */
        uint64_t max_sessions;  /* handles of one connection */
        uint64_t max_clients;
        uint64_t client_buffer_bytes; /* unread answers and queued requests of one connection; then reading
                                         stops */
        uint64_t workers;
        struct access access;
};

/* One line for people: file, line, value; or the flag and its value. */
struct config_error {
        char text[512];
};

enum config_action {
        CONFIG_RUN,
        CONFIG_CHECK,   /* --check-config: say so, exit 0 */
        CONFIG_PRINT,   /* --print-config */
        CONFIG_VERSION, /* --version */
        CONFIG_HELP,    /* --help */
};

/* Defaults, file, environment, flags. 0, or -1 and the error; `config` is deinitialised either way by the
 * caller. */
int config_init(struct config *config, int argc, char **argv, enum config_action *action,
                struct config_error *error);
void config_deinit(struct config *config);

/*
 * Reads the same file and flags again. What may change while running is taken over by the caller: see
 * config_option_reloads(); the rest needs a restart, and is logged where it differs.
 */
int config_reload(const struct config *running, int argc, char **argv, struct config *fresh,
                  struct config_error *error);

void config_print(const struct config *config); /* every option as a configuration file, to stdout */
void config_help(void);                         /* to stdout */

#endif
