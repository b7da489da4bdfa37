#ifndef GRAMD_DAEMON_SESSION_ADVANCE_H
#define GRAMD_DAEMON_SESSION_ADVANCE_H

/*
 * What a session does next. Everybody else wakes a session when something about it has changed; only here is
 * it decided whether it is loaded, grants handles, gets a job, is confirmed, closed or freed. Loop thread
 * only.
 */

#include "session.h"

/* Looks at every session that was woken, until none is. */
void sessions_advance(struct sessions *sessions);

/* Before the first session. The timer's place is reserved by the caller: one. */
void sessions_init(struct sessions *sessions);

/* Starts looking for sessions in doubt that nobody asks for. */
void sessions_watch_doubt(struct sessions *sessions);

/* From now on a session closes as soon as it has no handles. */
void sessions_stop(struct sessions *sessions);

/* All jobs are back. */
void sessions_deinit(struct sessions *sessions);

#endif
