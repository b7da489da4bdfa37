/* Counts what connections hold, pauses them, and ends those for which there is no room. */

#include "account.h"

#include <assert.h>

#include "../base/share.h"
#include "connection.h"
#include "turn.h"

enum {
        MARGIN = 32, /* reading stops when less than one part of so many of the share is left */
        TICK_MS = 1000,
};

/* ---- the bounds ---- */

static uint64_t whole(const struct account *account)
{
        return account->wire->config->client_memory_bytes;
}

/*
 * What it may always hold. A request is begun before it is known what it takes: one may take its user above
 * his share, and all together above the whole, until it is answered. The others go on meanwhile.
 */
static uint64_t own_part(const struct account *account)
{
        return whole(account) / SHARE_KEPT / account->wire->n_accounts;
}

/* What it may hold while others hold what they do. */
static uint64_t share(const struct account *account)
{
        uint64_t others = account->wire->held - account->held;
        uint64_t left = others < whole(account) ? share_of(whole(account) - others) : 0;

        return left > own_part(account) ? left : own_part(account);
}

static bool allows(const struct account *account, uint64_t more)
{
        return account->held + more <= own_part(account) ||
               share_allows(whole(account), account->wire->n_accounts, account->wire->held, account->held,
                            more);
}

static bool has_room(const struct account *account)
{
        return allows(account, share(account) / MARGIN + 1);
}

static bool is_within(const struct account *account)
{
        return account->held == 0 || allows(account, 0);
}

/* Its message is not whole, and must wait for older ones. */
static bool is_beyond_half(const struct connection *connection)
{
        const struct account *account = connection->account;

        return !link_empty(&connection->partial) && account->partials.next != &connection->partial &&
               account->partial > share(account) / 2;
}

bool account_lets_read(const struct connection *connection)
{
        return !connection->account || (has_room(connection->account) && !is_beyond_half(connection));
}

bool account_lets_dispatch(const struct connection *connection)
{
        return !connection->account || is_within(connection->account);
}

/* ---- pauses ---- */

static void on_tick(uv_timer_t *tick);

static void start_tick(struct wire *wire)
{
        if (!uv_is_active((uv_handle_t *)&wire->tick))
                uv_timer_start(&wire->tick, on_tick, TICK_MS, TICK_MS);
}

static void resume(struct connection *connection)
{
        link_remove(&connection->paused);
        turn_wait(connection);
}

/* Bytes have got free: a connection of each list tries again. When it goes on, so does the next one. */
static void wake(struct account *account)
{
        struct link *oldest = account->partials.next;

        if ((link_empty(&account->paused) && link_empty(&account->paused_partials)) || !is_within(account))
                return;
        if (!link_empty(&account->paused))
                resume(LINK_OF(account->paused.next, struct connection, paused));
        if (link_empty(&account->paused_partials))
                return;
        if (account->partial <= share(account) / 2)
                resume(LINK_OF(account->paused_partials.next, struct connection, paused));
        else if (oldest != &account->partials &&
                 !link_empty(&LINK_OF(oldest, struct connection, partial)->paused))
                resume(LINK_OF(oldest, struct connection, partial));
}

bool account_lets_go_on(struct connection *connection, bool congested)
{
        struct account *account = connection->account;

        if (!account)
                return true;
        if (connection->stalled != congested && !link_empty(&connection->partial)) {
                link_remove(&connection->partial);
                link_append(congested ? &account->stalled : &account->partials, &connection->partial);
                connection->stalled = congested;
                start_tick(connection->wire);
        }
        link_remove(&connection->paused);
        if (!has_room(account) || !is_within(account)) {
                link_append(&account->paused, &connection->paused);
                start_tick(connection->wire);
                return false;
        }
        wake(account);
        if (is_beyond_half(connection)) {
                link_append(&account->paused_partials, &connection->paused);
                return false;
        }
        return true;
}

/* ---- counting ---- */

static void count(struct connection *connection, size_t held, size_t partial)
{
        struct account *account = connection->account;
        bool grows = held > connection->held, frees = held < connection->held;

        account->held = account->held - connection->held + held;
        account->wire->held = account->wire->held - connection->held + held;
        account->partial = account->partial - connection->held_partial + partial;
        connection->held = held;
        connection->held_partial = partial;
        if (grows && !is_within(account))
                account->exceeded = account->wire->exceeded = true;
        if (frees)
                wake(account);
}

void account_weigh(struct connection *connection)
{
        const size_t out = connection->out.cap + connection_writing(connection);
        const size_t held = connection->in.cap + out + connection->deferred_bytes + connection->owner_bytes;
        const bool partial = connection->dispatching
                                     ? !link_empty(&connection->partial)
                                     : connection->in.len > 0 && !connection->whole && !connection->ending;

        if (!connection->account)
                return;
        if (partial && link_empty(&connection->partial)) {
                link_append(&connection->account->partials, &connection->partial);
                connection->stalled = false;
                connection->partial_ms = connection->stopped_ms = uv_now(connection->wire->loop);
                start_tick(connection->wire);
        } else if (!partial && !link_empty(&connection->partial)) {
                link_remove(&connection->partial);
                wake(connection->account);
        }
        if (held != connection->held || partial != (connection->held_partial > 0))
                count(connection, held, partial ? connection->in.cap : 0);
}

void account_message_is_whole(struct connection *connection)
{
        link_remove(&connection->partial);
}

void account_join(struct account *account, struct connection *connection)
{
        assert(!connection->account);
        connection->account = account;
        link_append(&account->connections, &connection->of_account);
}

void account_leave(struct connection *connection)
{
        struct account *account = connection->account;

        if (!account)
                return;
        link_remove(&connection->paused);
        link_remove(&connection->partial);
        link_remove(&connection->of_account);
        count(connection, 0, 0);
        wake(account);
        connection->account = NULL;
}

void account_add_orphan(struct account *account, size_t bytes)
{
        account->n_orphans++;
        account->held += bytes;
        account->wire->held += bytes;
}

void account_remove_orphan(struct account *account, size_t bytes)
{
        assert(account->n_orphans > 0 && account->held >= bytes);
        account->held -= bytes;
        account->wire->held -= bytes;
        wake(account);
        if (--account->n_orphans == 0)
                account->unused(account);
}

/* ---- ending connections ---- */

/* The one with most bytes. `idle`: that its client alone can set free. NULL: none has any. */
static struct connection *largest(const struct account *account, bool idle)
{
        struct connection *found = NULL;
        size_t most = 0;

        for (struct link *at = account->connections.next; at != &account->connections; at = at->next) {
                struct connection *connection = LINK_OF(at, struct connection, of_account);
                size_t bytes = connection->held - (idle ? connection->deferred_bytes : 0);

                if (bytes > most) {
                        most = bytes;
                        found = connection;
                }
        }
        return found;
}

/* The account that gives way if `account` has no room. */
static struct account *holder(struct account *account)
{
        const struct wire *wire = account->wire;
        struct account *found = account;

        if (account->held > whole(account) / wire->n_accounts)
                return account;
        for (struct link *at = wire->accounts.next; at != &wire->accounts; at = at->next) {
                struct account *other = LINK_OF(at, struct account, link);

                if (other->held > found->held)
                        found = other;
        }
        return found;
}

/* May free the account. False: there is none to end. */
static bool end_largest(struct account *account, bool idle)
{
        struct connection *connection = largest(holder(account), idle);

        if (connection)
                connection_end_overloaded(connection,
                                          "your user's share of client-memory is used up, and this "
                                          "connection holds most of it: read the answers, or send less at "
                                          "once");
        return connection;
}

static struct account *find_exceeded(const struct wire *wire)
{
        for (struct link *at = wire->accounts.next; at != &wire->accounts; at = at->next) {
                struct account *account = LINK_OF(at, struct account, link);

                if (account->exceeded)
                        return account;
        }
        return NULL;
}

void accounts_end_exceeding(struct wire *wire)
{
        while (wire->exceeded) {
                struct account *account = find_exceeded(wire);

                if (!account)
                        wire->exceeded = false;
                else if (is_within(account) || !end_largest(account, false))
                        account->exceeded = false;
        }
}

/* ---- each second ---- */

/* Ends those whose message has not become whole in time. The account may be freed with the last one. */
static void end_late(struct account *account, uint64_t now)
{
        struct link *next = account->partials.next;

        while (next != &account->partials) {
                struct connection *connection = LINK_OF(next, struct connection, partial);

                next = next->next;
                if (connection->reading && now - connection->partial_ms >= ACCOUNT_PARTIAL_MS)
                        connection_end_overloaded(connection,
                                                  "a message was not whole 30 s after its first byte");
        }
}

static void on_tick(uv_timer_t *tick)
{
        struct wire *wire = tick->data;
        struct account *stuck = NULL;
        struct link *next = wire->accounts.next;
        bool needed = false;

        while (next != &wire->accounts) {
                struct account *account = LINK_OF(next, struct account, link);

                next = next->next;
                end_late(account, uv_now(wire->loop));
        }
        for (struct link *at = wire->accounts.next; at != &wire->accounts; at = at->next) {
                struct account *account = LINK_OF(at, struct account, link);

                needed |= !link_empty(&account->partials) || !link_empty(&account->paused);
                account->stuck_s =
                        link_empty(&account->paused) || has_room(account) ? 0 : account->stuck_s + 1;
                if (account->stuck_s >= ACCOUNT_STUCK_S)
                        stuck = account;
                wake(account);
        }
        if (stuck) {
                stuck->stuck_s = 0;
                end_largest(stuck, true);
        }
        if (!needed)
                uv_timer_stop(tick);
}

void accounts_init(struct wire *wire)
{
        link_init(&wire->accounts);
        wire->tick.data = wire;
        uv_timer_init(wire->loop, &wire->tick);
}

void account_init(struct account *account, struct wire *wire, void (*unused)(struct account *account))
{
        *account = (struct account){ .wire = wire, .unused = unused };
        link_init(&account->link);
        link_init(&account->connections);
        link_init(&account->turn);
        link_init(&account->waiting);
        link_init(&account->partials);
        link_init(&account->stalled);
        link_init(&account->paused);
        link_init(&account->paused_partials);
        link_append(&wire->accounts, &account->link);
        wire->n_accounts++;
}

void account_deinit(struct account *account)
{
        assert(link_empty(&account->turn) && link_empty(&account->connections) && account->n_orphans == 0);
        assert(account->held == 0 && account->partial == 0);
        assert(account->wire->n_accounts > 0);
        link_remove(&account->link);
        account->wire->n_accounts--;
}
