#ifndef GRAMD_DAEMON_WIRE_ACCOUNT_H
#define GRAMD_DAEMON_WIRE_ACCOUNT_H

/*
 * The bytes that one user's connections hold: received messages, answers, requests that wait, and handles.
 * All accounts together hold `client-memory`, each its share (base/share.h). Loop thread only. An account
 * lives as long as one of its connections is not closed, or a request of one that has gone is worked on.
 *
 * Near its bound nothing is read for the user. Messages that are not whole take at most half of its share:
 * then only the oldest of them is read on. Who sends none of a message's bytes, or too few, loses the
 * connection after ACCOUNT_PARTIAL_MS.
 *
 * Where the bound is exceeded, or nothing gets free for ACCOUNT_STUCK_S, a connection ends: the one with most
 * bytes. It is one of this account, or, if this one holds no more than an equal part, of the account that
 * holds most.
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
        struct link turn;        /* wire->waiting, while `waiting` is not empty */
        struct link waiting;  /* connection->waiting: those that wait for a turn; the first is served next */
        struct link partials; /* connection->partial: those whose message is not whole, the oldest first */
        struct link stalled;  /* the same, but congested: others do not wait for them */
        struct link paused;   /* connection->paused: not read, because there is no room */
        struct link paused_partials; /* the same: those that wait for older messages to become whole */
        uint64_t held;               /* bytes of its connections */
        uint64_t partial;            /* of these, those of messages that are not whole */
        size_t n_orphans;            /* requests whose connection has gone */
        void (*unused)(struct account *account); /* the last orphan has gone; may free the account */
        unsigned stuck_s;
        bool exceeded; /* a connection ends for it when the turn ends */
};

void accounts_init(struct wire *wire);
/* Ends the connections that hold more than the bounds allow. When the turn ends. */
void accounts_end_exceeding(struct wire *wire);

void account_init(struct account *account, struct wire *wire, void (*unused)(struct account *account));
void account_deinit(struct account *account); /* no connection and no orphan is left */

/* A request of `bytes` has lost its connection; or such a one is answered. */
void account_add_orphan(struct account *account, size_t bytes);
void account_remove_orphan(struct account *account, size_t bytes);

/* ---- for connection.c. A connection that has no account is not bounded. ---- */

void account_join(struct account *account, struct connection *connection);
void account_leave(struct connection *connection);
/* What it holds may have changed: counts it. */
void account_weigh(struct connection *connection);
/* A message of it is whole: the bytes after that are of another one. */
void account_message_is_whole(struct connection *connection);
/* Whether more of it may be read. */
bool account_lets_read(const struct connection *connection);
/* Whether its messages may be dispatched, which may take more bytes. */
bool account_lets_dispatch(const struct connection *connection);
/*
 * False: it is paused. It gets a turn when it may go on. `congested`: it is not read anyway, because its
 * client does not read; then the messages of others that are not whole do not wait for it.
 */
bool account_lets_go_on(struct connection *connection, bool congested);

#endif
