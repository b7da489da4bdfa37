#ifndef GRAMD_DAEMON_SESSION_LOAD_H
#define GRAMD_DAEMON_SESSION_LOAD_H

/* The jobs that load, confirm and close a session. Loop thread only. */

#include "session.h"

/* Called when a load has ended: 0, or the backend's error with its fault. */
typedef void (*loaded_fn)(struct session *session, int error, const struct fault *fault);

/*
 * Loads a CLOSED session from its storage. `dialect` is for a new one, which belongs to the
 * user `uid`; with `seal` it is sealed. On success
 * it is OPEN when `loaded` is called, else CLOSED. False: no memory.
 */
bool load_start(struct session *session, bool create, struct slice dialect, uid_t uid, bool seal,
                loaded_fn loaded);

/*
 * Asks the backend whether this host still owns a session in doubt, and loads it again. If another host owns
 * it, it is fenced. If the backend cannot tell now, the ops in the lanes are answered with its error. The
 * session is OPEN and not busy.
 */
void confirm_start(struct session *session);

/* Closes the storage of a session that is ENDING. It is CLOSED afterwards. */
void close_start(struct session *session);

#endif
