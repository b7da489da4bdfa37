/* Looks now and then how many sessions are left: a release may also come back on a thread of the backend. */

#include "handover.h"

#include <systemd/sd-daemon.h>

#include "session/drain.h"

enum {
        LOOK_MS = 100,
        END_MS = 30000, /* what systemd is asked for beyond the wait: for the end itself */
};

/* An operator may have ended the drain meanwhile. */
static bool is_done(const struct handover *handover, size_t left)
{
        const struct sessions *sessions = handover->sessions;

        return left == 0 || !sessions->draining || timers_now(sessions->timers) >= handover->until_ms;
}

static void on_look(struct timer *timer)
{
        struct handover *handover = LINK_OF(timer, struct handover, timer);
        size_t left = drain_left(handover->sessions);

        if (is_done(handover, left)) {
                handover->done(handover);
                return;
        }
        if (left != handover->told)
                sd_notifyf(0, "STATUS=Draining: %zu sessions are not handed over yet", left);
        handover->told = left;
        timer_start(handover->sessions->timers, timer, LOOK_MS, on_look);
}

void handover_start(struct handover *handover)
{
        const uint64_t wait_ms = handover->config->drain_timeout_ms;

        handover->started = true;
        handover->until_ms = timers_now(handover->sessions->timers) + wait_ms;
        sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu", (unsigned long long)(wait_ms + END_MS) * 1000);
        drain_start(handover->sessions, "the option drain-on-stop");
        on_look(&handover->timer);
}

void handover_end(struct handover *handover)
{
        size_t left = drain_left(handover->sessions);

        timer_stop(handover->sessions->timers, &handover->timer);
        if (handover->started && left > 0)
                log_write(handover->sessions->log, LOG_WARNING,
                          "%zu sessions are not handed over: the next start has them back", left);
}
