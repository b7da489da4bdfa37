#ifndef GRAMD_TESTS_SUPPORT_STEPPED_CLOCK_H
#define GRAMD_TESTS_SUPPORT_STEPPED_CLOCK_H

/*
 * Daemons whose CLOCK_REALTIME the test sets: forward and back, also while they run. A preloaded library adds
 * what a file says.
 */

#include "daemon.h"

/* For the daemons that start from now on. */
void stepped_clock_begin(void);
void stepped_clock_end(void);
/* From now on the clock of a running daemon is off by so many milliseconds. */
void stepped_clock_set(const struct daemon *daemon, long long ms);

#endif
