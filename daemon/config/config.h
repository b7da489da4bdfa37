#ifndef GRAMD_DAEMON_CONFIG_CONFIG_H
#define GRAMD_DAEMON_CONFIG_CONFIG_H

/*
 * The configuration. One table of options (option.c) has the type, default, bounds and help of each; the
 * configuration file, the flags, --print-config, --help and the manual page are made from it. A flag replaces
 * a value of the environment, that one of the file, that the default. ($STATE_DIRECTORY is a default, since
 * systemd sets it anyway. $GRAMD_SOCKET is a value of the environment.)
 *
 * The file has lines `option = value`, then `[access]` and its rules (access.h). A line that begins with `#`
 * or
 * `;` is a comment; ` ;` after a value begins one. Spaces around names and values are ignored. An option
 * given twice in the file is an error; of a flag given twice the last counts.
 *
 * Reading may block (files, the system's user database). It uses only its parameters and the environment, so
 * a reload can run on a worker while the loop uses the running configuration.
 */

#include "option.h"

enum config_action {
        CONFIG_RUN,
        CONFIG_CHECK,   /* --check-config: say so, exit 0 */
        CONFIG_PRINT,   /* --print-config */
        CONFIG_VERSION, /* --version */
        CONFIG_HELP,    /* --help */
};

/* 0, or -1 and the error. The caller calls config_deinit() in either case. */
int config_init(struct config *config, int argc, char **argv, enum config_action *action,
                struct config_error *error);
void config_deinit(struct config *config);

/*
 * Reads the same file and flags again, into `fresh`; the caller calls config_deinit() in either case.
 * fresh->restart names the options that differ from `running` and need a restart. It may run on a worker, if
 * config_adopt() is not called meanwhile.
 */
int config_reload(const struct config *running, int argc, char **argv, struct config *fresh,
                  struct config_error *error);

/* Swaps log level, limits and access rules. The caller still has to call config_deinit(fresh). */
void config_adopt(struct config *running, struct config *fresh);

/*
 * --print-config, to stdout: a configuration file with every option and its help, which reads back as the
 * same configuration. A MongoDB URI with a password is masked and commented out.
 */
void config_print(const struct config *config);
void config_help(void); /* --help, to stdout */

#endif
