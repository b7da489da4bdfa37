#ifndef GRAMD_DAEMON_BASE_CLOCK_H
#define GRAMD_DAEMON_BASE_CLOCK_H

/* Clocks. Timers use that of the loop: timers_now(). */

#include <stdint.h>
#include <time.h>

/* Unix time in seconds, for clients and files. */
static inline int64_t unix_now(void)
{
        return (int64_t)time(NULL);
}

/* The same in milliseconds, for what expires. */
static inline int64_t unix_now_ms(void)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Also counts while the machine sleeps: for leases. Clients use the same clock. */
static inline int64_t boot_now_ms(void)
{
        struct timespec now;

        clock_gettime(CLOCK_BOOTTIME, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
