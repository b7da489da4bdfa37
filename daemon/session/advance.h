#ifndef GRAMD_DAEMON_SESSION_ADVANCE_H
#define GRAMD_DAEMON_SESSION_ADVANCE_H

/*
 * Decides what a session does next: load, grant handles, run a job, confirm, close, free. All other code only
 * wakes a session when something about it has changed. Loop thread only.
 */

#include "session.h"

/* Advances every session that was woken, until none is left. */
void sessions_advance(struct sessions *sessions);

/* Called before the first session. The caller reserves one timer for it. */
void sessions_init(struct sessions *sessions);

/* Starts the timer that confirms sessions in doubt even if no request waits for them. */
void sessions_watch_doubt(struct sessions *sessions);

/* From now on a session closes as soon as it has no handles. */
void sessions_stop(struct sessions *sessions);

/* All jobs are back. */
void sessions_deinit(struct sessions *sessions);

#endif
