#ifndef GRAMD_DAEMON_SESSION_LENT_H
#define GRAMD_DAEMON_SESSION_LENT_H

/*
 * Leases of clients that have gone. Loop thread only.
 *
 * The end of a connection is no `close`: the program behind it may go on using the session's key until the
 * lease that it was told of last is over. Until then this host keeps the session, so that no other host gets
 * it. The wait ends early if the process is seen to have ended.
 */

#include "session.h"

/* A pidfd of the process at the other end of a socket. -1: it has ended, or the kernel is too old. */
int lent_watch_peer(int socket_fd, pid_t pid);

/* The client of this process has gone. It may rely on the session until `until_ms`, of the loop's clock. */
void lent_keep(struct session *session, uv_loop_t *loop, pid_t pid, int pidfd, uint64_t until_ms);

/* Clients of this daemon's former start may rely on the session for so many milliseconds; which ones is not
 * known. */
void lent_keep_all(struct session *session, int64_t left_ms);

/* Milliseconds for which the session must be kept. */
uint64_t lent_left_ms(const struct session *session);

/* The session is closed: nothing is kept any more. */
void lent_forget(struct session *session);

#endif
