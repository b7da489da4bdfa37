#ifndef GRAMD_DAEMON_CONFIG_GLOB_H
#define GRAMD_DAEMON_CONFIG_GLOB_H

/* Shell patterns for session names: `*`, `?`, `[a-z]`, `[!a-z]`, `\x`. The time is at most proportional to
 * the product of both lengths. */

#include <stdbool.h>

#include "../../proto/slice.h"

bool glob_match(struct slice pattern, struct slice text);

#endif
