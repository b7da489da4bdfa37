#ifndef GRAMD_DAEMON_SESSION_TIDY_H
#define GRAMD_DAEMON_SESSION_TIDY_H

/*
 * Rounds over all open sessions, in which each gives back what its backend holds for it. A backend asks for
 * them. A few sessions at a time take part, so that the others' writes need not wait for the whole round.
 * Loop thread only.
 */

#include "session.h"

/* A backend has asked. A round begins at once, or a second after the beginning of the last one. */
void sessions_tidy(struct sessions *sessions);

/* It has been tidied, or is CLOSED. */
void tidy_end(struct session *session);

#endif
