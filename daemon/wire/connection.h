#ifndef GRAMD_DAEMON_WIRE_CONNECTION_H
#define GRAMD_DAEMON_WIRE_CONNECTION_H

/*
 * The bytes of one client: messages in, answers out. Loop thread only. It is embedded in its owner, who is
 * told by the events of wire.h what happens to it.
 *
 * Memory is bounded whatever the client does: while its unread answers and its unanswered requests exceed
 * `client-buffer`, nothing more is read from it, and what has been received already is not looked at.
 *
 * All answers of one turn of the loop leave in one write, when the turn ends.
 *
 *     started ──► ending (takes no messages; answers what it has) ──► closing (uv_close) ──► closed
 */

#include "../../proto/contract.h"
#include "../../proto/frame.h"
#include "wire.h"

struct connection {
        uv_pipe_t pipe;
        struct wire *wire;
        struct link unflushed; /* wire->unflushed */

        struct frame frame;
        struct buffer in;         /* received and not yet dispatched; mostly empty */
        struct buffer out;        /* answers not yet given to the kernel */
        struct outgoing *writing; /* what the kernel did not take at once */

        struct link deferred; /* requests that will be answered later */
        size_t n_deferred;
        size_t deferred_bytes;

        bool reading;
        bool dispatching;
        bool ending;
        bool closing;
        bool secret_in; /* `in` has held key material: wipe what is freed */
        bool secret_out;
};

/* 0, or a libuv error. After success it ends with the event `closed`, also where it was never started. */
int connection_init(struct connection *connection, struct wire *wire);

/* The socket is accepted: reads. */
void connection_start(struct connection *connection);

/* Instead of starting it: tells the client why, as far as the socket takes it at once, and closes. */
void connection_refuse(struct connection *connection, enum wire_error error, const char *text);

/* The buffer for answers and notifications. It leaves at the turn's end. */
struct buffer *connection_out(struct connection *connection);

/* The client leaves more unread than it should: notifications are held back. */
bool connection_is_behind(const struct connection *connection);

/* Takes no more messages, answers those it has, closes. */
void connection_end(struct connection *connection);

/* Closes at once, whether all is answered or not. */
void connection_drop(struct connection *connection);

#endif
