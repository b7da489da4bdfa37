#ifndef GRAMD_DAEMON_SESSION_RENEW_H
#define GRAMD_DAEMON_SESSION_RENEW_H

/*
 * New rules after a reload, or a session's new owner. No request is executed by the former ones: dispatch.c
 * and watch.c look at a handle's rights before they use it. All handles and openings are then found in
 * slices, and those that are not allowed any more end. The same slices ask the clients to leave when a drain
 * begins. Loop thread only.
 */

#include "session.h"

/* The rules have changed. */
void renew_start(struct sessions *sessions);
/* A slice, in a turn of its own. False: nothing is left. */
bool renew_next(struct sessions *sessions);

#endif
