/* There are few uids beside their clients, and one is looked for at connect only: a list does. */

#include "user.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/share.h"
#include "../config/names.h"
#include "../wire/wire.h"

void users_init(struct users *users, struct wire *wire)
{
        users->wire = wire;
        link_init(&users->list);
        users->n = 0;
        users->n_sessions = users->n_descriptors = 0;
        users->max_descriptors = SIZE_MAX;
        users->client_descriptors = 1;
}

static void count_descriptors(struct user *user, size_t more, size_t less)
{
        assert(user->n_descriptors + more >= less);
        user->n_descriptors += more - less;
        user->users->n_descriptors += more - less;
}

static void free_unused(struct user *user)
{
        if (user->n_clients > 0 || user->n_sessions > 0 || user->account.n_orphans > 0)
                return;
        assert(user->n_descriptors == 0);
        link_remove(&user->link);
        user->users->n--;
        account_deinit(&user->account);
        names_unref(user->names);
        free(user);
}

static void on_unused(struct account *account)
{
        free_unused(LINK_OF(account, struct user, account));
}

static struct user *add_client(struct user *user)
{
        user->n_clients++;
        count_descriptors(user, user->users->client_descriptors, 0);
        return user;
}

struct user *user_ref(struct users *users, uid_t uid)
{
        struct user *user;

        for (struct link *at = users->list.next; at != &users->list; at = at->next) {
                user = LINK_OF(at, struct user, link);
                if (user->uid == uid)
                        return add_client(user);
        }
        user = calloc(1, sizeof(*user));
        if (!user)
                return NULL;
        user->users = users;
        user->uid = uid;
        account_init(&user->account, users->wire, on_unused);
        link_append(&users->list, &user->link);
        users->n++;
        return add_client(user);
}

void user_unref(struct user *user)
{
        assert(user->n_clients > 0 && user->users->n > 0);
        user->n_clients--;
        count_descriptors(user, 0, user->users->client_descriptors);
        free_unused(user);
}

void user_add_session(struct user *user, size_t descriptors)
{
        user->n_sessions++;
        user->users->n_sessions++;
        count_descriptors(user, descriptors, 0);
}

void user_remove_session(struct user *user, size_t descriptors)
{
        assert(user->n_sessions > 0 && user->users->n_sessions > 0);
        user->n_sessions--;
        user->users->n_sessions--;
        count_descriptors(user, 0, descriptors);
        free_unused(user);
}

/* ---- shares ---- */

static uint64_t max_sessions(const struct users *users)
{
        return users->wire->config->max_open_sessions;
}

static bool allows(const struct users *users, bool has_all, uint64_t max, size_t held, size_t own,
                   size_t more)
{
        return has_all ? held <= max && more <= max - held : share_allows(max, users->n, held, own, more);
}

static const char used_up[] =
        "your user has %zu of the %zu descriptors that the daemon has for connections and "
        "open sessions, %zu are in use: close some, or give the daemon more "
        "(LimitNOFILE= of its unit)";

static bool has_descriptors(const struct user *user, bool has_all, size_t counted, size_t more,
                            char why[USER_WHY_BYTES])
{
        const struct users *users = user->users;

        if (allows(users, has_all, users->max_descriptors, users->n_descriptors - counted,
                   user->n_descriptors - counted, more))
                return true;
        snprintf(why, USER_WHY_BYTES, used_up, user->n_descriptors - counted, users->max_descriptors,
                 users->n_descriptors - counted);
        return false;
}

bool user_may_connect(const struct user *user, char why[USER_WHY_BYTES])
{
        const size_t n = user->users->client_descriptors;

        return has_descriptors(user, false, n, n, why);
}

bool user_may_open(const struct user *user, bool has_all, size_t descriptors, char why[USER_WHY_BYTES])
{
        const struct users *users = user->users;

        if (allows(users, has_all, max_sessions(users), users->n_sessions, user->n_sessions, 1))
                return has_descriptors(user, has_all, 0, descriptors, why);
        snprintf(why, USER_WHY_BYTES,
                 "your user has %zu of the %llu sessions that max-open-sessions allows, %zu are open: close "
                 "some",
                 user->n_sessions, (unsigned long long)max_sessions(users), users->n_sessions);
        return false;
}

static bool is_half(uint64_t max, size_t held, size_t own)
{
        uint64_t others = held - own;

        return own > (others < max ? share_of(max - others) : 0) / 2;
}

bool user_nears_its_share(const struct user *user)
{
        const struct users *users = user->users;

        return is_half(max_sessions(users), users->n_sessions, user->n_sessions) ||
               is_half(users->max_descriptors, users->n_descriptors, user->n_descriptors);
}
