#ifndef GRAMD_DAEMON_SESSION_USER_H
#define GRAMD_DAEMON_SESSION_USER_H

/*
 * The uids that have clients, and what each of them holds. A user lives while it has a client, an unanswered
 * request of one that has gone, or a session that counts for it. Loop thread only.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../proto/link.h"
#include "../wire/account.h"

struct user {
        struct users *users;
        struct link link; /* users->list */
        uid_t uid;
        size_t n_clients;
        size_t n_sessions;      /* that are open for it */
        size_t n_descriptors;   /* of its clients and sessions */
        struct account account; /* of its connections */
        struct names *names;    /* of one of its clients; NULL: not looked up yet */
        size_t n_namings;       /* lookups under way */
};

struct users {
        struct wire *wire;
        struct link list;
        size_t n;
        size_t n_sessions;
        size_t n_descriptors;
        size_t max_descriptors;    /* for clients and sessions */
        size_t client_descriptors; /* that a client takes */
};

void users_init(struct users *users, struct wire *wire);

/* The user with this uid, made if it is new, with one more client. NULL: no memory. */
struct user *user_ref(struct users *users, uid_t uid);
/* One client less. */
void user_unref(struct user *user);

void user_add_session(struct user *user, size_t descriptors);
/* May free the user. */
void user_remove_session(struct user *user, size_t descriptors);

/*
 * Whether the user's newest client, which is counted, is within its share of the descriptors; whether the
 * user may have one more session. Root and the daemon's own user (`has_all`) may have what is there. False:
 * the text, for the client, says what is used up.
 */
enum { USER_WHY_BYTES = 240 };
bool user_may_connect(const struct user *user, char why[USER_WHY_BYTES]);
bool user_may_open(const struct user *user, bool has_all, size_t descriptors, char why[USER_WHY_BYTES]);
/* It has more than half of what it may have: sessions that nobody uses are to be closed. */
bool user_nears_its_share(const struct user *user);

#endif
