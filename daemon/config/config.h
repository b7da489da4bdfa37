#ifndef GRAMD_DAEMON_CONFIG_CONFIG_H
#define GRAMD_DAEMON_CONFIG_CONFIG_H

/*
 * What the operator chose. One table of options (config_option.c) names each, with its type, default,
 * bounds and help; the configuration file, the flags, --print-config, --help and the manual page come
 * from it. A value's place in the order: flag, environment, file, default. ($STATE_DIRECTORY is a default:
 * systemd sets it whether anybody chose it or not. $GRAMD_SOCKET is a choice.)
 *
 * The file: lines `option = value`, then `[access]` with its rules (access.h). `#` or `;` begins a
 * comment line, ` ;` ends a value. Spaces around names and values do not count. An option that is given
 * twice is an error; a flag that is given twice has its last value.
 *
 * Reading may block (files, the system's user database) and uses nothing but what it is given and the
 * environment: a reload can run on a worker while the loop uses the running configuration.
 */

#include "option.h"

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
 * Reads the same file and flags again, into `fresh`, which the caller deinitialises either way; names in
 * fresh->restart what differs from `running` and cannot be taken over. May run on a worker, as long as
 * nobody adopts meanwhile.
 */
int config_reload(const struct config *running, int argc, char **argv, struct config *fresh,
                  struct config_error *error);

/* Swaps what may change while running: log level, limits, access rules. `fresh` is then to be deinitialised.
 */
void config_adopt(struct config *running, struct config *fresh);

/*
 * --print-config, to stdout: every option with its help, as a configuration file that reads back to the same.
 * A MongoDB URI with a password is masked and commented out.
 */
void config_print(const struct config *config);
void config_help(void); /* --help, to stdout */

#endif
