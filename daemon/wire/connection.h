#ifndef GRAMD_DAEMON_WIRE_CONNECTION_H
#define GRAMD_DAEMON_WIRE_CONNECTION_H

/*
 * The bytes of one client: messages in, answers out. Loop thread only. A connection is embedded in its owner
 * (session/client.h), who learns by the events of wire.h what happens to it.
 *
 * Memory is bounded whatever the client does: while its unread answers and unanswered requests exceed
 * `client-buffer`, the daemon reads nothing from it, and dispatches no message that it has already received.
 *
 * What all connections of one user hold together is bounded, too: account.h.
 *
 * All answers of one turn of the loop leave in one write, when the turn ends.
 *
 * A connection has a budget for each turn (turn.h). When it is used up, nothing more is read or
 * dispatched; the connection waits in a queue for its next turn, so that every other one is served in
 * between.
 *
 *     started ──► ending (takes no messages; answers what it has) ──► closing (uv_close) ──► closed
 */

#include "../../proto/contract.h"
#include "../../proto/frame.h"
#include "account.h"
#include "wire.h"

struct connection {
        uv_pipe_t pipe;
        struct wire *wire;
        struct link unflushed; /* wire->unflushed */
        struct link waiting;   /* account->waiting */
        struct turn_use used;
        unsigned polled; /* how often it was readable since it has waited */

        struct frame frame;
        struct buffer in;  /* received and not yet dispatched; mostly empty */
        size_t whole;      /* bytes of the first message in `in`; 0: it has not been scanned to its end */
        struct buffer out; /* answers not yet given to the kernel */
        struct outgoing *writing; /* what the kernel did not take at once */

        struct account *account; /* NULL: not started, or closing */
        struct link of_account;
        struct link partial; /* account->partials, or ->stalled */
        struct link paused;  /* account->paused, or ->paused_partials */
        size_t held;         /* counted in the account */
        size_t held_partial; /* the same */
        uint64_t partial_ms; /* when its message began that is not whole, without the time when it was not
                                read */
        uint64_t stopped_ms; /* since when it is not read */

        struct link deferred; /* requests that will be answered later */
        size_t n_deferred;
        size_t deferred_bytes;
        size_t owner_bytes; /* that its owner has for it and that count, too */

        bool stalled; /* `partial` is in account->stalled, if it is in a list */
        bool reading;
        bool dispatching;
        bool ending;
        bool closing;
        bool secret_in; /* `in` has held key material: wipe what is freed */
        bool secret_out;
};

/*
 * 0, or a libuv error. After success the event `closed` comes in the end, even if the connection was never
 * started.
 */
int connection_init(struct connection *connection, struct wire *wire);

/* Starts reading. The socket has been accepted. What the connection holds counts in `account`. */
void connection_start(struct connection *connection, struct account *account);

/*
 * Instead of connection_start(): sends the error (`text` NULL: none), as much of it as the socket takes at
 * once, and closes.
 */
void connection_refuse(struct connection *connection, enum wire_error error, const char *text);

/* The buffer for answers and notifications. It leaves at the turn's end. */
struct buffer *connection_out(struct connection *connection);

/* Whether the client leaves more than `client-buffer` unread: then it gets no notifications. */
bool connection_is_congested(const struct connection *connection);

/* Takes no more messages, answers those it has dispatched, then closes. */
void connection_end(struct connection *connection);

/* Closes at once. Answers that are left are dropped. */
void connection_drop(struct connection *connection);

/* Closes at once, with the error `overloaded` if the client has read all answers. */
void connection_end_overloaded(struct connection *connection, const char *why);

/* It waits no more: dispatches what is held, reads, and sends the answers. */
void connection_take_turn(struct connection *connection);

/* Bytes of the answers that the kernel did not take at once. */
size_t connection_writing(const struct connection *connection);

#endif
