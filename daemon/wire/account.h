#ifndef GRAMD_DAEMON_WIRE_ACCOUNT_H
#define GRAMD_DAEMON_WIRE_ACCOUNT_H

/*
 * The bytes that one user's connections hold: received messages, answers, and requests that wait. All
 * accounts together hold `client-memory`, each its share (base/share.h). Loop thread only. An account lives
 * as long as one of its connections is not closed.
 *
 * Near its bound nothing is read for the user. Messages that are not whole take at most half of its share:
 * then only the oldest of them is read on. Who sends none of a message's bytes, or too few, loses the
 * connection after ACCOUNT_PARTIAL_MS. Where the bound is exceeded, or nothing gets free for ACCOUNT_STUCK_S,
 * the connection with most bytes ends.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../proto/link.h"

struct connection;
struct wire;

enum {
        ACCOUNT_PARTIAL_MS = 30000, /* from a message's first byte to its last, while the daemon reads */
        ACCOUNT_STUCK_S = 5,
};

struct account {
        struct wire *wire;
        struct link link;        /* wire->accounts */
        struct link connections; /* connection->of_account */
        struct link partials;    /* connection->partial: those whose message is not whole, the oldest first */
        struct link paused;      /* connection->paused: not read because of the bounds */
        uint64_t held;           /* bytes of its connections */
        uint64_t partial;        /* of these, those of messages that are not whole */
        unsigned stuck_s;
        bool exceeded; /* its largest connection ends when the turn ends */
};

void account_init(struct account *account, struct wire *wire);
void account_deinit(struct account *account); /* no connection is left */

/* Whether more may be read for it. */
bool account_has_room(const struct account *account);
/* Whether its messages are dispatched, which may take more bytes. */
bool account_is_within(const struct account *account);
/* Messages that are not whole take more than their half. */
bool account_is_half_partial(const struct account *account);

#endif
