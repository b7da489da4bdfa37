#ifndef GRAMD_DAEMON_WIRE_WIRE_H
#define GRAMD_DAEMON_WIRE_WIRE_H

/*
 * What all connections share, and what the floors above are told of them. Loop thread only; lives as long as
 * the loop.
 */

#include <uv.h>

#include "../../proto/buffer.h"
#include "../../proto/link.h"
#include "../base/counters.h"
#include "../config/config.h"

struct connection;
struct request;
struct wire;

enum { WIRE_READ_BYTES = 64 * 1024 };

/* In the order of a connection's life. */
struct wire_events {
        /*
         * A whole message. `next` is the message behind it where that has come too, else absent. False: it is
         * no request and no notification; the connection has been told, and ends.
         */
        bool (*message)(struct connection *connection, struct slice frame, struct slice next);
        /* Bytes that are no message, or a message over a limit. The connection ends. */
        void (*violation)(struct connection *connection, uint32_t id, int frame_error);
        /* All messages of one read have been given to `message`. */
        void (*read)(struct wire *wire);
        /* The kernel has taken every answer. */
        void (*written)(struct connection *connection);
        /* It takes no more messages. */
        void (*ended)(struct connection *connection);
        /* It has ended, and some of its requests may have been answered since the last call. */
        void (*ending)(struct connection *connection);
        /* Its deferred requests have no connection any more. The object lives until `closed`. */
        void (*dropped)(struct connection *connection);
        /* Nothing refers to it any more: its owner frees it. */
        void (*closed)(struct connection *connection);
        /* A request was answered while `monitored` was set. `error` is NULL or a code. */
        void (*answered)(const struct request *request, const char *error);
};

struct wire {
        uv_loop_t *loop;
        const struct config *config;
        struct counters *counters;
        const struct wire_events *events;
        void *owner; /* for the events */
        bool monitored;
        struct link unflushed; /* connections with answers of this turn */
        struct buffer sink;    /* for answers that nobody waits for */
        /* Every read goes here. What is left of it moves to its connection. */
        char read_buffer[WIRE_READ_BYTES];
};

void wire_init(struct wire *wire);
void wire_deinit(struct wire *wire);

/* At the end of the loop's turn: all answers leave. */
void wire_flush(struct wire *wire);

#endif
