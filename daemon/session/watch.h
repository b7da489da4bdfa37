#ifndef GRAMD_DAEMON_SESSION_WATCH_H
#define GRAMD_DAEMON_SESSION_WATCH_H

/*
 * `changed` notifications: what the watchers are told of a change, after its commit and before its writer's
 * answer. A watcher that does not read gets no further ones: it is owed a single `all` for when it has read.
 * Loop thread only.
 */

#include "handle.h"

/* What one request changed. Slices are borrowed for the call. */
struct changed {
        const struct peer *peers;
        size_t n_peers;
        const struct slice *usernames;
        size_t n_usernames;
        const struct slice *phones;
        size_t n_phones;
        unsigned fields; /* FIELD_BITs */
        const struct state *states;
        const int64_t *states_gone;
        size_t n_states; /* of either */
        bool all;        /* and more than is listed here */
};

/* To every watching handle but the writer's, which need not be open any more. */
void watch_tell(struct session *session, const struct lane *writer_lane, int64_t writer_number,
                const struct changed *changed);

/* To every watching handle: forget everything. */
void watch_tell_all(struct session *session);

/* The client has read everything: its handles that are owed an `all` get it. */
void watch_catch_up(struct client *client);

#endif
