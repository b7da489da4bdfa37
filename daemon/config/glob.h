#ifndef GRAMD_DAEMON_CONFIG_GLOB_H
#define GRAMD_DAEMON_CONFIG_GLOB_H

/* Shell patterns over session names: `*`, `?`, `[a-z]`, `[!a-z]`, `\x`. Linear in both lengths' product at
 * worst. */

#include <stdbool.h>

#include "../../proto/slice.h"

bool glob_match(struct slice pattern, struct slice text);

#endif
