#ifndef GRAMD_DAEMON_SESSION_HELD_H
#define GRAMD_DAEMON_SESSION_HELD_H

/*
 * A CLOSED session that another program or host holds, while openings wait for it. It is not loaded again
 * before the backend says that this may succeed now. Loop thread only.
 */

#include "session.h"

/* The load has failed with BACKEND_E_BUSY. False: no memory. */
bool held_begin(struct session *session, const struct fault *fault);
/* The next advance loads it again. */
void held_end(struct session *session);

/* Why it is not loaded. NULL: it is not held. */
const struct fault *held_fault(const struct session *session);

/* A backend has news: ends the wait of the sessions that may be opened now. */
void sessions_news(struct sessions *sessions);

#endif
