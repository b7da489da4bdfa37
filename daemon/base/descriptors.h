#ifndef GRAMD_DAEMON_BASE_DESCRIPTORS_H
#define GRAMD_DAEMON_BASE_DESCRIPTORS_H

/* How many descriptors the daemon may have. Main thread, at the start. */

#include <stddef.h>

struct log;

/* Raises the limit as far as it goes. Returns how many clients and open sessions may take. */
size_t descriptors_raise(struct log *log);

#endif
