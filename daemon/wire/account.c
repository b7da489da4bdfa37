/* The bounds of what a user's connections hold. connection.c acts on them. */

#include "account.h"

#include <assert.h>

#include "../base/share.h"
#include "wire.h"

enum { MARGIN = 32 }; /* reading stops when less than one part of so many is left */

void account_init(struct account *account, struct wire *wire)
{
        *account = (struct account){ .wire = wire };
        link_init(&account->link);
        link_init(&account->connections);
        link_init(&account->partials);
        link_init(&account->paused);
        link_append(&wire->accounts, &account->link);
        wire->n_accounts++;
}

void account_deinit(struct account *account)
{
        assert(link_empty(&account->connections) && account->held == 0 && account->partial == 0);
        assert(account->wire->n_accounts > 0);
        link_remove(&account->link);
        account->wire->n_accounts--;
}

static bool allows(const struct account *account, uint64_t more)
{
        const struct wire *wire = account->wire;

        return share_allows(wire->config->client_memory_bytes, wire->n_accounts, wire->held, account->held,
                            more);
}

bool account_has_room(const struct account *account)
{
        return allows(account, account->wire->config->client_memory_bytes / MARGIN);
}

bool account_is_within(const struct account *account)
{
        return account->held == 0 || allows(account, 0);
}

bool account_is_half_partial(const struct account *account)
{
        const uint64_t max = account->wire->config->client_memory_bytes;
        uint64_t others = account->wire->held - account->held;

        return others >= max || account->partial > share_of(max - others) / 2;
}
