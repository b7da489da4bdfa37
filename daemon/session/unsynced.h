#ifndef GRAMD_DAEMON_SESSION_UNSYNCED_H
#define GRAMD_DAEMON_SESSION_UNSYNCED_H

/*
 * What a session has committed and not yet brought to the disk. Loop thread only.
 *
 * A failed sync begins an *outage* of the session. The sync is tried again every moment. Meanwhile reads are
 * answered, and writes wait: those that are committed already, for their answer, and all others in their
 * lanes. The first sync that succeeds ends the outage, and all of them go on. If none has for ten seconds,
 * the session is suspended: its writes are answered `unavailable` until the outage ends.
 */

#include "op.h"

struct session_job;

/* After each job that has committed or synced: plans the next sync, begins or ends an outage. */
void unsynced_take(struct session_job *job);

/* A committed write, whose sync has failed: it is answered when one has succeeded. Takes the op. */
void unsynced_add(struct session *session, struct op *op);

/* True: this write must wait in its lane. */
bool unsynced_holds(const struct session *session, const struct op *op);
/* True: this write is refused. It has been answered and freed. */
bool unsynced_refuses(struct session *session, struct op *op);

/* The session is deleted or the daemon stops: answers all writes that wait. */
void unsynced_end(struct session *session);

#endif
