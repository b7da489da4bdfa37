#ifndef GRAMD_DAEMON_CONFIG_NAMES_H
#define GRAMD_DAEMON_CONFIG_NAMES_H

/*
 * The names of a user and of the groups of one of his clients, for `%u` and `%g` of access rules and for the
 * log. They are looked up on a worker, because that may take long.
 */

#include "owner.h"

struct names {
        unsigned refs; /* the loop's */
        uid_t uid;
        char user[OWNER_TEXT_BYTES]; /* `#uid` if the system knows no name; empty: OVERFLOW_UID, or not known
                                      */
        size_t n_gids;
        struct group_name {
                gid_t gid;
                char *name; /* malloc'ed, `#gid` if the system knows no name; NULL: OVERFLOW_GID, or not known
                             */
        } groups[];
};

/* With one reference, and without names. NULL: no memory. */
struct names *names_new(const struct credentials *credentials);
/* Fills it in. May block: not on the loop. */
void names_look_up(struct names *names);

struct names *names_ref(struct names *names); /* NULL: NULL */
void names_unref(struct names *names);        /* the same */

bool names_are_of(const struct names *names, const struct credentials *credentials);

#endif
