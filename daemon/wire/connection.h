#ifndef GRAMD_DAEMON_WIRE_CONNECTION_H
#define GRAMD_DAEMON_WIRE_CONNECTION_H

/*
 * One client: bytes in, requests to dispatch, answers out. Loop thread only; lives from accept to the
 * close of its socket. Memory is bounded whatever the client does: while its unread answers and its
 * unanswered requests exceed `client-buffer`, nothing more is read from it, not even out of what
 * has been received.
 *
 * Answers of one loop turn leave in one write, when the turn ends.
 */

#include <uv.h>

#include "../../proto/buffer.h"
#include "../../proto/frame.h"
#include "../../proto/link.h"
#include "../config/access.h"

struct server;
struct handle;
struct request;

enum { CONNECTION_DEPTH = 8 }; /* nesting of a message */

struct connection {
        uv_pipe_t pipe;
        struct server *server;
        struct link link;      /* server->connections */
        struct link unflushed; /* server->unflushed */
        uint64_t id;
        int64_t since;
        struct credentials credentials;
        char *client; /* its name from `hello`, or NULL */
        uint64_t n_requests;

        struct frame frame;
        struct buffer in;  /* received and not yet dispatched; mostly empty */
        struct buffer out; /* answers not yet handed to the kernel */
        struct outgoing *writing;

        struct link deferred; /* requests that will be answered later */
        size_t n_deferred;
        size_t deferred_bytes;

        struct handle **handles; /* by slot; see connection_add_handle() */
        size_t handles_cap;
        size_t n_handles;
        uint64_t handle_serial;
        struct link openings; /* opens not yet answered; ownership.c */
        size_t n_openings;

        bool reading;
        bool dispatching;
        bool ending;         /* takes no more requests; closes when all is answered and written */
        bool closing;        /* uv_close() has been called */
        bool watcher_behind; /* a handle of its is owed a `changed`; watch.c */
        bool monitoring;     /* gets `request` notifications */
        bool secret_in;      /* `in` has held key material: wipe what is freed */
        bool secret_out;
};

/* Accepts from the listener. Connections over `max-clients` are told so and closed. */
void connection_accept(struct server *server);

/* The buffer that answers and notifications are written into; flushed at the turn's end. */
struct buffer *connection_out(struct connection *connection);

/* More than the client should leave unread: notifications are held back. */
bool connection_is_behind(const struct connection *connection);

/* All that has been written this turn leaves. */
void connection_flush(struct connection *connection);

/* A deferred request was answered or dropped: reading may go on, or the connection may end. */
void connection_settle(struct connection *connection);

/*
 * Takes no more requests, answers those it has, releases each handle when those on its session are answered,
 * closes.
 */
void connection_end(struct connection *connection);

/* Closes it at once, answered or not. */
void connection_drop(struct connection *connection);

/* Handles: the connection keeps the table, session.c the meaning. 0: no room, or no memory. */
int64_t connection_add_handle(struct connection *connection, struct handle *handle);
struct handle *connection_handle(struct connection *connection, int64_t number);
void connection_remove_handle(struct connection *connection, int64_t number);

/* For logs: "client NAME (pid N, uid N)". */
const char *connection_describe(const struct connection *connection, char *text, size_t size);

#endif
