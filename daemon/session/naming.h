#ifndef GRAMD_DAEMON_SESSION_NAMING_H
#define GRAMD_DAEMON_SESSION_NAMING_H

/*
 * Finds the names of a client's user and groups on a worker (config/names.h). What one client of a uid has
 * found is kept for the others as long as the uid has clients. Loop thread only.
 */

#include "client.h"

/*
 * For a client that has been admitted: takes names that are known, or begins to look them up. True: they are
 * being looked up, the rules need them, and `named` will be called; client_leave() must not come before.
 */
bool naming_start(struct client *client, void (*named)(struct client *client));

/* The client leaves: a lookup under way goes on without it. */
void naming_end(struct client *client);

#endif
