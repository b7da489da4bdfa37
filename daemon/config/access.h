#ifndef GRAMD_DAEMON_CONFIG_ACCESS_H
#define GRAMD_DAEMON_CONFIG_ACCESS_H

/*
 * Who may do what: the socket peer's credentials against the `[access]` rules of the configuration.
 *
 *     [access]
 *     user alice = read,write on alice-*,shared-*
 *     group bots = read in file,memory
 *     everyone   = read on public-*
 *     group ops  = admin
 *
 * A rule is its rights (read, write, admin), then `on` and the names of sessions as globs, then `in` and
 * the names of backends; without them it holds for all. A comma or a space in a glob has a backslash
 * before it. `write` implies `read`. `admin` implies neither, and is a rule without `on` and `in`.
 *
 * Rights add up over the rules that match. Without any rule, everyone whom the socket's mode lets in
 * may read and write; the first rule ends that. The daemon's own uid and root may always do everything.
 * Names of users and groups are looked up once, when the configuration is read (which may block);
 * numbers are taken as they are.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "../../proto/contract.h"
#include "../../proto/slice.h"

struct access_rule;

struct access {
        struct access_rule *rules;
        size_t n_rules;
};

/* The peer of one connection. */
struct credentials {
        pid_t pid;
        uid_t uid;
        gid_t *gids; /* malloc'ed: its primary and supplementary groups, as the kernel tells them */
        size_t n_gids;
};

int credentials_init(struct credentials *credentials, int socket_fd); /* 0, or -errno */
void credentials_deinit(struct credentials *credentials);

/* Adds the rule `who = text`. False: `why` says what is wrong with it, naming the value. */
bool access_add(struct access *access, const char *who, const char *text, char *why, size_t why_size);
void access_deinit(struct access *access);

/* Every rule as access_add() got it, in order. */
void access_each(const struct access *access, void (*rule)(void *arg, const char *who, const char *text),
                 void *arg);

/* The rights on one session; `admin` does not depend on the session: it is asked with an absent name. */
unsigned access_rights(const struct access *access, const struct credentials *credentials,
                       struct slice session, const char *backend);

#endif
