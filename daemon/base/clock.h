#ifndef GRAMD_DAEMON_BASE_CLOCK_H
#define GRAMD_DAEMON_BASE_CLOCK_H

/* Unix time, for clients and files. Timers use the clock of the loop: timers_now(). */

#include <stdint.h>
#include <time.h>

/* In seconds. */
static inline int64_t unix_now(void)
{
        return (int64_t)time(NULL);
}

#endif
