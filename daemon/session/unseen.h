#ifndef GRAMD_DAEMON_SESSION_UNSEEN_H
#define GRAMD_DAEMON_SESSION_UNSEEN_H

/*
 * The answer to an `open` outside of the patterns that confine the user (access_hides()), of a session that
 * he does not own: that there is none, and that he might make none. It is the same whether there is one or
 * not, and whatever its state is. It leaves a fixed time after the `open` came, so that neither its time nor
 * its place among other answers tells how long it took to find the owner. Loop thread only.
 */

#include "session.h"

struct request;

/* `begun_ms`: when the `open` came, of boot_now_ms(). `create`: its option. */
void unseen_refuse(struct request *request, struct sessions *sessions, int64_t begun_ms, bool create);
/* To any user: it is not there, and he may not create it. */
void deny_create(struct request *request);
/* The daemon ends: answers all that wait. */
void unseen_stop(struct sessions *sessions);

#endif
