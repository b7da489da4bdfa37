#ifndef GRAMD_DAEMON_SESSION_LOAD_H
#define GRAMD_DAEMON_SESSION_LOAD_H

/* The jobs that load, confirm and close a session. Loop thread only. */

#include "session.h"

/* Called when a load has ended: 0, or the backend's error with its fault. */
typedef void (*loaded_fn)(struct session *session, int error, const struct fault *fault);

/* For whom a session is loaded. All is copied. */
struct load_asker {
        const struct credentials *credentials;
        unsigned by_rules; /* his rights, without those of an owner */
        bool has_rules;    /* there are rules */
        unsigned needs;    /* rights without which a stored session is not taken: BACKEND_E_DENIED */
        bool create;       /* a new session is his */
        bool seal;
        struct slice dialect; /* of a new session */
};

/*
 * Loads a CLOSED session from its storage. On success it is OPEN when `loaded` is called, else CLOSED; then
 * its owner may be known nevertheless. BACKEND_E_UNAVAILABLE if no worker has begun it when the daemon ends.
 * False: no memory.
 */
bool load_start(struct session *session, const struct load_asker *asker, loaded_fn loaded);

/*
 * Asks the backend whether this host still owns a session in doubt, and loads it again. If another host owns
 * it, it is fenced. If the backend cannot tell now, the ops in the lanes are answered with its error. The
 * session is OPEN and not busy.
 */
void confirm_start(struct session *session);

/* Closes the storage of a session that is ENDING. It is CLOSED afterwards. */
void close_start(struct session *session);

#endif
