#ifndef GRAMD_DAEMON_WIRE_TURN_H
#define GRAMD_DAEMON_WIRE_TURN_H

/* How much of a turn of the loop connections may use, and who waits for the next one. Loop thread only. */

#include "connection.h"

/*
 * What one connection may use of a turn of the loop. The message that exceeds it is still executed; the
 * others wait for the connection's next turn.
 */
enum {
        TURN_MESSAGES = 256,
        TURN_BYTES = WIRE_READ_BYTES, /* received, or of answers, also of those that are dropped */
        TURN_ROWS = 512,              /* that its requests looked at */
};

/*
 * What all connections together may use of it, counted in work: one message that is answered from the cache
 * is 1, about 0.2 µs. Those that have waited are served first. The longer a turn, the longer a client waits
 * for its answer, and the fewer system calls a message costs.
 */
enum {
        TURN_WORK = 192,
        TURN_WORK_ALONE = 32 * TURN_WORK, /* while only one user has connections */
        WORK_CALL = 12,                   /* a read of a socket, or a write */
        WORK_RECEIVED = 512,              /* bytes received that are 1 */
        WORK_ANSWERED = 32,               /* bytes of an answer, or of a monitor's notification, that are 1 */
        WORK_ROWS = 2,                    /* rows that are 1 */
};

void turns_init(struct wire *wire);

/*
 * A new turn begins. Serves the connections that have waited longest. Called once a turn, after wire_flush().
 * True: answers are to be sent.
 */
bool wire_next_turn(struct wire *wire);

/* The loop does not sleep before the next turn. */
void wire_stay_awake(struct wire *wire);

/* Whatever the connection has used of former turns counts no more. */
void turn_begin(struct connection *connection);

/* Its requests have looked at so many rows, or their answers have so many bytes. */
void turn_use(struct connection *connection, size_t rows, size_t bytes);
void turn_use_read(struct connection *connection, size_t bytes);

/* Whether the connection has used up its turn. */
bool turn_is_used(const struct connection *connection);

/* Whether all together have used up the loop's turn: what arrives now waits for the next one. */
bool turn_is_over(const struct wire *wire);

/*
 * The connection gets a turn when those of its account that wait already have had theirs. Accounts are served
 * one after the other: a user with many connections is no sooner served than one with few.
 */
void turn_wait(struct connection *connection);
void turn_leave(struct connection *connection);

#endif
