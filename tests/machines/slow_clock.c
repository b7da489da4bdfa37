/* Preloaded into one daemon: its CLOCK_BOOTTIME runs at half the speed. Breaks Rule O of OWNERSHIP.md. */

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NS = 1000000000 };

int clock_gettime(clockid_t clock, struct timespec *now)
{
        int result = (int)syscall(SYS_clock_gettime, clock, now);
        long long ns = now->tv_sec * (long long)NS + now->tv_nsec;

        if (result || clock != CLOCK_BOOTTIME)
                return result;
        now->tv_sec = ns / 2 / NS;
        now->tv_nsec = ns / 2 % NS;
        return 0;
}
