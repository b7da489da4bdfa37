#ifndef GRAMD_DAEMON_CONFIG_FILE_H
#define GRAMD_DAEMON_CONFIG_FILE_H

/* Reads the configuration file into a struct config. */

#include "option.h"

/*
 * 0, or -1 and the error, which names file, line and value. `optional`: a missing file is no error, and
 * config->config_file stays NULL.
 */
int config_file_read(struct config *config, const char *path, bool optional, struct config_error *error);

#endif
