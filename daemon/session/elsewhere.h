#ifndef GRAMD_DAEMON_SESSION_ELSEWHERE_H
#define GRAMD_DAEMON_SESSION_ELSEWHERE_H

/*
 * Sessions of the same name on other backends. The client whose `open` has made a new session may have meant
 * one of them, so its answer names those that it may open. Loop thread only.
 */

#include "session.h"

/*
 * Begins to look for them. The session has just been made and is OPEN; nobody has a handle on it before the
 * look is over. A backend that does not answer soon counts as having none.
 */
void elsewhere_start(struct session *session);
bool elsewhere_is_over(const struct session *session);

/* On how many other backends this client may open a session of this name. */
uint32_t elsewhere_count(const struct session *session, const struct credentials *credentials);
/* Appends their names as an array. */
void elsewhere_pack(const struct session *session, const struct credentials *credentials, struct buffer *out);

#endif
