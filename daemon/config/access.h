#ifndef GRAMD_DAEMON_CONFIG_ACCESS_H
#define GRAMD_DAEMON_CONFIG_ACCESS_H

/*
 * Who may do what: the credentials of a connection, and the `[access]` rules of the configuration.
 *
 *     [access]
 *     user alice = read,write on alice-*,shared-*
 *     group bots = read in file,memory
 *     everyone   = read on public-*
 *     group ops  = admin
 *
 * A rule has rights (read, write, admin), then `on` and patterns of session names, then `in` and names of
 * backends. Without `on` or `in` it is for all of them. A comma or space in a pattern has a backslash before
 * it. `write` implies `read`. `admin` implies neither, and its rule has no `on` and `in`.
 *
 * In a pattern `%u` is the name of the client's user, `%g` that of each of his groups, and `%%` one `%`. What
 * the name has of `*`, `?`, `[` and `\` stands for itself. While the names are not known, such a pattern
 * matches nothing.
 *
 * The rights of all rules that match add up. Without any rule, everyone whom the socket's mode admits may
 * read and write; with the first rule that ends. A session's owner changes both: owner.h. The daemon's own
 * uid and root may always do everything. Names of users and groups are looked up once, when the configuration
 * is read, which may block.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "../../proto/contract.h"
#include "../../proto/slice.h"

struct names;

/*
 * What all users and groups are that the daemon's user namespace does not map. They are different people: the
 * uid owns nothing, and only rules for everyone are for it.
 */
enum { OVERFLOW_UID = 65534, OVERFLOW_GID = 65534 };

struct access_rule;

struct access {
        struct access_rule *rules;
        size_t n_rules;
        bool has_names; /* a pattern has `%u` or `%g` */
};

/* The peer of one connection. */
struct credentials {
        pid_t pid;
        uid_t uid;
        gid_t *gids; /* malloc'ed: its primary group, and the supplementary ones unless they are too many */
        size_t n_gids;
        bool has_all;        /* access_has_all() */
        struct names *names; /* a reference; NULL: not known yet, or no memory */
};

/* The daemon's own uid, if it is not OVERFLOW_UID, and root. */
bool access_has_all(uid_t uid);

int credentials_init(struct credentials *credentials, int socket_fd); /* 0, or -errno */
void credentials_deinit(struct credentials *credentials);

/* Adds the rule `who = text`. False: `why` says what is wrong, and names the value. */
bool access_add(struct access *access, const char *who, const char *text, char *why, size_t why_size);
void access_deinit(struct access *access);

/* Calls `rule` for each rule, in order, with the texts that access_add() got. */
void access_each(const struct access *access, void (*rule)(void *arg, const char *who, const char *text),
                 void *arg);

/*
 * Whether the session is outside of what the rules show him: all rules that are for him have patterns, one of
 * them with `%u` or `%g`, and none matches. Unless he owns it, for him no such session exists, whether there
 * is one or not.
 */
bool access_hides(const struct access *access, const struct credentials *credentials, struct slice session,
                  const char *backend);

/* About how much longer checks of an `open` take than others, in rows of a turn: names are compared for each
 * group. */
size_t access_cost(const struct access *access, const struct credentials *credentials);

/* The rights that the rules give on a session. For `admin`, which does not depend on a session, `session` may
 * be absent. */
unsigned access_rights(const struct access *access, const struct credentials *credentials,
                       struct slice session, const char *backend);

#endif
