#ifndef GRAMD_DAEMON_SESSION_DRAIN_H
#define GRAMD_DAEMON_SESSION_DRAIN_H

/*
 * A drain: this host hands its sessions over to other hosts, before it is stopped for longer. It concerns the
 * backends with leases; sessions of the others stay as they are. Loop thread only.
 *
 * The clients are asked to leave: each stops its use of the key, saves, and closes its handle. A session is
 * handed over when its last handle is closed and no loan of it is left (lent.h). So a drain takes a session
 * from no client: it only lets none in.
 */

#include "handle.h"

/* `who` wants it, for the log. Does nothing if a drain is on. The clients are asked in slices: renew.c. */
void drain_start(struct sessions *sessions, const char *who);
/* Sessions are opened here again. Those that clients have left already may be elsewhere. */
void drain_end(struct sessions *sessions, const char *who);

/* Asks the handle's client to leave, if a drain is on that has not asked it yet. False: it was not asked. */
bool drain_asks(struct handle *handle);

/* Sessions that this host owns, or is about to own or to release. */
size_t drain_left(const struct sessions *sessions);

/* The client has read everything: its handles that are owed a `leave` get it. */
void drain_catch_up(struct client *client);

#endif
