/* Replaces the C library's functions, for this program and for the libraries that it uses. */

#include "clocks.h"

#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BEGIN_S = 1700000000, BEGIN_MS = 1000000 };

static struct {
        int64_t passed_ms, unix_ms; /* since the start */
        volatile bool stand;
        void (*on_alarm)(int number, siginfo_t *info, void *context);
} clocks;

void clocks_stand(bool stand)
{
        clocks.stand = stand;
}

void clock_pass_ms(int64_t ms)
{
        clocks.passed_ms += ms;
        clocks.unix_ms += ms;
}

void clock_tick(void)
{
        clocks.passed_ms++;
}

void clock_set_back_ms(int64_t ms)
{
        clocks.unix_ms -= ms;
}

/* By its alarm the fuzzer looks how long an input has taken. For that the clocks do not stand. */
static void on_alarm(int number, siginfo_t *info, void *context)
{
        const bool stood = clocks.stand;

        clocks.stand = false;
        clocks.on_alarm(number, info, context);
        clocks.stand = stood;
}

static void know_alarm(void)
{
        struct sigaction action;

        if (sigaction(SIGALRM, NULL, &action) < 0 || !(action.sa_flags & SA_SIGINFO) ||
            action.sa_sigaction == on_alarm)
                return;
        clocks.on_alarm = action.sa_sigaction;
        action.sa_sigaction = on_alarm;
        sigaction(SIGALRM, &action, NULL);
}

void clocks_reset(void)
{
        clocks.passed_ms = clocks.unix_ms = 0;
        know_alarm();
}

int64_t clock_unix_ms(void)
{
        return (int64_t)BEGIN_S * 1000 + clocks.unix_ms;
}

int64_t clock_unix(void)
{
        return clock_unix_ms() / 1000;
}

int64_t clock_passed_ms(void)
{
        return clocks.passed_ms;
}

time_t time(time_t *into)
{
        struct timespec now;
        time_t seconds;

        clock_gettime(CLOCK_REALTIME, &now);
        seconds = now.tv_sec;
        if (into)
                *into = seconds;
        return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
        const int64_t ms = clock == CLOCK_REALTIME ? clock_unix_ms() : BEGIN_MS + clocks.passed_ms;

        if (!clocks.stand)
                return (int)syscall(SYS_clock_gettime, clock, now);
        *now = (struct timespec){ ms / 1000, ms % 1000 * 1000000 };
        return 0;
}
