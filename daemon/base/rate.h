#ifndef GRAMD_DAEMON_BASE_RATE_H
#define GRAMD_DAEMON_BASE_RATE_H

/*
 * How often each user may do something: RATE_AT_ONCE times at once, then once in RATE_EACH_MS. Counted for
 * each kind apart, so that many of one kind do not use up another. One thread at a time.
 *
 * There is room for a fixed number of users, which bounds what all of them do together. A user's room is
 * given to another one when nothing is counted in it any more. Users for whom there is no room share one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
        RATE_AT_ONCE = 1000,
        RATE_EACH_MS = 500,
        RATE_USERS = 64,
        RATE_KINDS = 24,
};

struct rate_count {
        uint64_t free_ms; /* when RATE_AT_ONCE may be taken at once again */
        uint64_t refused; /* since rates_next_refused() */
        const char *name; /* of the kind; static */
};

struct rate_user {
        bool used;
        bool kept; /* never given away */
        uid_t uid;
        struct rate_count kinds[RATE_KINDS];
};

/* Zero-initialised: nothing is counted. */
struct rates {
        struct rate_user users[RATE_USERS];
        struct rate_user others; /* those for whom there is no room */
};

/* Keeps a room for this user, however many others come before. There is one: few are kept. */
void rates_keep(struct rates *rates, uid_t uid);

/* Whether the user may do it now; counts it in either case. `now_ms` never goes back. */
bool rates_take(struct rates *rates, uint64_t now_ms, uid_t uid, unsigned kind, const char *name);

struct rate_refused {
        bool of_others; /* of users without a room; `uid` means nothing */
        uid_t uid;
        unsigned kind;
        const char *name;
        uint64_t n;
};

/* The next count of what was refused; it begins anew. False: there is none. */
bool rates_next_refused(struct rates *rates, struct rate_refused *refused);

#endif
