#ifndef GRAMD_DAEMON_SESSION_USER_H
#define GRAMD_DAEMON_SESSION_USER_H

/*
 * The uids that have clients, and what each of them holds. A user lives as long as one of its clients, and as
 * one of their requests. Loop thread only.
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
        struct account account; /* of its connections */
};

struct users {
        struct wire *wire;
        struct link list;
        size_t n;
};

void users_init(struct users *users, struct wire *wire);

/* The user with this uid, made if it is new, with one more client. NULL: no memory. */
struct user *user_ref(struct users *users, uid_t uid);
/* One client less. */
void user_unref(struct user *user);

#endif
