#ifndef GRAMD_DAEMON_SESSION_QUEUE_H
#define GRAMD_DAEMON_SESSION_QUEUE_H

/*
 * Makes an open session's next job. Loop thread only.
 *
 * One job is under way at a time. When it is back, the next one takes the leading reads of every lane, then
 * the writes that follow them, a thousand of all lanes together. All writes of a job are one transaction:
 * that is the group commit. A read that follows a write of its own lane waits for the next job.
 */

#include "op.h"

/*
 * Makes the next job. False: nothing is left to do; the session is at rest. The session is OPEN, not busy,
 * and not in doubt.
 */
bool queue_run(struct session *session);

/* Before the session closes: the same, with the row times that only the cache has. */
bool queue_run_dirty(struct session *session);
/* And with a sync of what is committed. */
bool queue_run_sync(struct session *session);

/*
 * Answers what waits in the job under way and in lanes, because the job has missed its deadline. False: more
 * waits in others.
 */
bool queue_overdue(struct session *session);

/* cache.h's cache_dirty_fn; `arg` is the session. */
void queue_dirty(void *arg, bool is_names, struct row_time time);

#endif
