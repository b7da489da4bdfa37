#ifndef GRAMD_DAEMON_SESSION_GRANTING_H
#define GRAMD_DAEMON_SESSION_GRANTING_H

/*
 * Who gets a handle, shared or exclusive. Loop thread only.
 *
 * Openings of one session are looked at in the order they came. One that fits the open handles is granted
 * even if an earlier one keeps waiting.
 *
 * Handles with the right `read` alone do not hold off an exclusive open for long: when its wait is over,
 * after five seconds at most, they are ended with `busy`.
 */

#include "opening.h"

/* Takes the client's request. It is answered when the open is granted or refused. */
void granting_start(struct client *client, struct request *request, struct sessions *sessions,
                    struct storage *storage, struct slice name, const struct opening_options *options);

/*
 * Grants every open that fits; refuses those whose wait has run out. If the daemon ends, none gets an answer.
 * The session is OPEN.
 */
void granting_go_on(struct session *session);

/* Loads a CLOSED session for the first open that waits. False: none waits. */
bool granting_load(struct session *session);

/*
 * The client's connection is ending: those of its openings that wait for other handles are refused; those
 * that wait for a load go on.
 */
void granting_end_of_client(struct client *client);

#endif
