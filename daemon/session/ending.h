#ifndef GRAMD_DAEMON_SESSION_ENDING_H
#define GRAMD_DAEMON_SESSION_ENDING_H

/*
 * Ends an open session that clients still hold: they are told, and nothing more is written. They may be very
 * many: that is done in slices, while the session is ENDING. Loop thread only.
 */

#include "handle.h"

/* Another host owns it. `text` is the message for the clients. */
void session_fenced(struct session *session, const char *text);

/* It is no longer stored. The handle that deleted it (or NULL) is closed without an `ended`. */
void session_deleted(struct session *session, struct handle *deleter);

/* A slice, of an ENDING session. True: it has no handles and no requests any more. */
bool ending_slice(struct session *session);

#endif
