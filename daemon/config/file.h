#ifndef GRAMD_DAEMON_CONFIG_FILE_H
#define GRAMD_DAEMON_CONFIG_FILE_H

/* The configuration file: what it says goes into the config, what is wrong with it into one line. */

#include "option.h"

/*
 * 0, or -1 and the error, which names file, line and value. `optional`: a file that is not there is an
 * empty one, and config->config_file stays NULL.
 */
int config_file_read(struct config *config, const char *path, bool optional, struct config_error *error);

#endif
