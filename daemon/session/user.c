/* There are few uids beside their clients, and one is looked for at connect only: a list does. */

#include "user.h"

#include <assert.h>
#include <stdlib.h>

void users_init(struct users *users, struct wire *wire)
{
        users->wire = wire;
        link_init(&users->list);
        users->n = 0;
}

static void free_unused(struct user *user)
{
        if (user->n_clients > 0 || user->account.n_orphans > 0)
                return;
        link_remove(&user->link);
        user->users->n--;
        account_deinit(&user->account);
        free(user);
}

static void on_unused(struct account *account)
{
        free_unused(LINK_OF(account, struct user, account));
}

struct user *user_ref(struct users *users, uid_t uid)
{
        struct user *user;

        for (struct link *at = users->list.next; at != &users->list; at = at->next) {
                user = LINK_OF(at, struct user, link);
                if (user->uid == uid) {
                        user->n_clients++;
                        return user;
                }
        }
        user = calloc(1, sizeof(*user));
        if (!user)
                return NULL;
        user->users = users;
        user->uid = uid;
        user->n_clients = 1;
        account_init(&user->account, users->wire, on_unused);
        link_append(&users->list, &user->link);
        users->n++;
        return user;
}

void user_unref(struct user *user)
{
        assert(user->n_clients > 0 && user->users->n > 0);
        user->n_clients--;
        free_unused(user);
}
