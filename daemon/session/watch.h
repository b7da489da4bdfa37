#ifndef GRAMD_DAEMON_SESSION_WATCH_H
#define GRAMD_DAEMON_SESSION_WATCH_H

/*
 * `changed` notifications: what the watchers are told of a change, after its commit and before its writer's
 * answer. A watcher that does not read its socket gets no further ones. When it has read everything, it gets
 * a single one with `all`. Loop thread only.
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
        const struct kv_row *kv;
        size_t n_kv;
        bool all; /* more has changed than is listed here */
};

enum { WATCH_LISTED = 4096 }; /* more than this in one change: `all` */

/*
 * Tells every watching handle but the writer's, which may be closed by now. Keys of the key-value area are
 * told only to those that may read it. Each call goes on where the last one since watch_begin() has ended,
 * and takes from `left` for each handle that it looks at. True: all have been told.
 */
void watch_begin(struct session *session);
bool watch_tell(struct session *session, const struct lane *writer_lane, int64_t writer_number,
                const struct changed *changed, size_t *left);

/* The same for all of them: they are to forget everything. */
bool watch_tell_all(struct session *session, size_t *left);

/* The client has read everything: its handles that are owed an `all` get it. */
void watch_catch_up(struct client *client);

#endif
