#ifndef GRAMD_DAEMON_SESSION_QUEUE_H
#define GRAMD_DAEMON_SESSION_QUEUE_H

/*
 * When an open session's next job is made, and of what. Loop thread only.
 *
 * One job is under way at a time. When it is back, the next one takes from every lane its leading reads, then
 * the writes behind them. All writes of a job are one transaction: that is the group commit. A read behind a
 * write of its own lane waits for the job after.
 */

#include "op.h"

/*
 * Makes the next job. False: nothing is left to do, the session is at rest. The session is OPEN, not busy,
 * and not in doubt.
 */
bool queue_run(struct session *session);

/* The same for the times of rows that only the cache has: before the session closes. */
bool queue_run_late(struct session *session);

/* Answers what waits, in the lanes and in the job under way: it takes too long. */
void queue_overdue(struct session *session);

/* cache.h's cache_dirty_fn; `arg` is the session. */
void queue_late(void *arg, bool is_names, struct row_time time);

#endif
