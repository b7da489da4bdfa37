#ifndef GRAMD_DAEMON_HANDOVER_H
#define GRAMD_DAEMON_HANDOVER_H

/*
 * The option drain-on-stop: before the daemon ends, it drains, and waits until its sessions are handed over.
 * Everything else goes on meanwhile. Loop thread only.
 */

#include "session/session.h"

struct handover {
        const struct config *config;
        struct sessions *sessions;
        void (*done)(struct handover *handover); /* there is nothing to wait for any more */
        bool started;
        struct timer timer;
        uint64_t until_ms; /* of the loop's clock */
        size_t told;       /* how many sessions are left, as systemd was told last */
};

/* `done` may be called at once. */
void handover_start(struct handover *handover);
/* Waits no longer, if it was started. What is left stays with this host, and that is logged. */
void handover_end(struct handover *handover);

#endif
