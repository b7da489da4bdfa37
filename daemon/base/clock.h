#ifndef GRAMD_DAEMON_BASE_CLOCK_H
#define GRAMD_DAEMON_BASE_CLOCK_H

/* The time that clients and files are told. What the loop waits for goes by its own clock: timers_now(). */

#include <stdint.h>
#include <time.h>

/* In seconds. */
static inline int64_t unix_now(void)
{
        return (int64_t)time(NULL);
}

#endif
