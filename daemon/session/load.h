#ifndef GRAMD_DAEMON_SESSION_LOAD_H
#define GRAMD_DAEMON_SESSION_LOAD_H

/* The jobs at which a session's right and content change hands: load, confirm, close. Loop thread only. */

#include "session.h"

/* How a load has ended: 0, or the backend's error with its fault. */
typedef void (*loaded_fn)(struct session *session, int error, const struct fault *fault);

/*
 * Loads a CLOSED session from its storage. `dialect` is for a new one. On success it is OPEN when `loaded` is
 * called, else CLOSED. False: no memory.
 */
bool load_start(struct session *session, bool create, struct slice dialect, loaded_fn loaded);

/*
 * Asks the backend whether a session in doubt is still this host's, and loads it again. If it is another's,
 * it is fenced. If that cannot be told now, what waits in the lanes is answered so. The session is OPEN and
 * not busy.
 */
void confirm_start(struct session *session);

/* Closes the storage of a session that is ENDING. It is CLOSED afterwards. */
void close_start(struct session *session);

#endif
