/*
 * Preloaded into a daemon: its wall clock is wrong, or the kernel has no descriptors. $FAULTS_OUTSIDE is a
 * file with the numbers of `struct outside`, which the test changes while the daemon runs (outside.py).
 */

#include "mapped.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static struct outside {
        _Atomic int64_t clock_s;      /* what CLOCK_REALTIME is off by */
        _Atomic int64_t accept_error; /* of accept(2); 0: none */
        _Atomic int64_t open_error;   /* of open(2) */
        _Atomic int64_t n_accepts;    /* how often accept(2) has failed */
} none, *outside = &none;

__attribute__((constructor)) static void start(void)
{
        void *at = mapped("FAULTS_OUTSIDE", sizeof(none));

        if (at)
                outside = at;
}

/* ---- the clock ---- */

int clock_gettime(clockid_t clock, struct timespec *now)
{
        int result = (int)syscall(SYS_clock_gettime, clock, now);

        if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
                now->tv_sec += outside->clock_s;
        return result;
}

time_t time(time_t *result)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        if (result)
                *result = now.tv_sec;
        return now.tv_sec;
}

int gettimeofday(struct timeval *result, void *zone)
{
        struct timespec now;

        (void)zone;
        clock_gettime(CLOCK_REALTIME, &now);
        result->tv_sec = now.tv_sec;
        result->tv_usec = now.tv_nsec / 1000;
        return 0;
}

/* ---- descriptors ---- */

static int accepted(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
        if (outside->accept_error) {
                outside->n_accepts++;
                errno = (int)outside->accept_error;
                return -1;
        }
        return (int)syscall(SYS_accept4, fd, address, len, flags);
}

int accept(int fd, struct sockaddr *address, socklen_t *len)
{
        return accepted(fd, address, len, 0);
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
        return accepted(fd, address, len, flags);
}

static int opened(int directory, const char *path, int flags, va_list args)
{
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;

        if (outside->open_error) {
                errno = (int)outside->open_error;
                return -1;
        }
        return (int)syscall(SYS_openat, directory, path, flags, mode);
}

#define OPEN(name)                                                                                           \
        int name(const char *path, int flags, ...)                                                           \
        {                                                                                                    \
                va_list args;                                                                                \
                int fd;                                                                                      \
                                                                                                             \
                va_start(args, flags);                                                                       \
                fd = opened(AT_FDCWD, path, flags, args);                                                    \
                va_end(args);                                                                                \
                return fd;                                                                                   \
        }
#define OPENAT(name)                                                                                         \
        int name(int directory, const char *path, int flags, ...)                                            \
        {                                                                                                    \
                va_list args;                                                                                \
                int fd;                                                                                      \
                                                                                                             \
                va_start(args, flags);                                                                       \
                fd = opened(directory, path, flags, args);                                                   \
                va_end(args);                                                                                \
                return fd;                                                                                   \
        }

#undef open64
#undef openat64
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
