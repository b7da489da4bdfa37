#ifndef GRAMD_DAEMON_CONFIG_OWNER_H
#define GRAMD_DAEMON_CONFIG_OWNER_H

/*
 * The owner of a session, and what he may do: `user` or `user:group`. Stored by name, because a number of
 * another host means nothing here; a user without a name is `#uid`. The user, and the members of the group,
 * may read and write the session whatever the rules of [access] say.
 *
 * A session without an owner is one that an older version or a library has made: the rules alone say who may
 * use it, and without rules everyone may.
 */

#include "../../backends/backend.h"
#include "access.h"

struct owner {
        char text[OWNER_TEXT_BYTES]; /* empty: none */
        bool has_user, has_group;    /* of `text`, those that this system knows */
        uid_t uid;
        gid_t gid;
};

/* The owner that a session of this user gets. Empty: none. May block: not on the loop. */
void owner_name(uid_t uid, char text[OWNER_TEXT_BYTES]);

/* The name of a group, in the same way. */
void owner_group_name(gid_t gid, char text[OWNER_TEXT_BYTES]);

/* Whether the text has the form `user` or `user:group`, and is short enough. */
bool owner_text_valid(struct slice text);

/* Finds user and group of `text`. May block: not on the loop. */
void owner_look_up(struct owner *owner);

/* He is the user of `owner`, or one of its group. */
bool owner_is(const struct owner *owner, const struct credentials *credentials);
bool owner_is_user(const struct owner *owner, uid_t uid);

/* What the rules alone give, `by_rules`, and what the owner of the session makes of that. */
unsigned owner_adds(unsigned by_rules, bool has_rules, const struct credentials *credentials,
                    const struct owner *owner);

/* access_rights() on a session that has this owner, or none. */
unsigned owner_rights(const struct access *access, const struct credentials *credentials,
                      struct slice session, const char *backend, const struct owner *owner);

#endif
