#ifndef GRAMD_DAEMON_WIRE_WIRE_H
#define GRAMD_DAEMON_WIRE_WIRE_H

/*
 * What all connections share, and the events that tell the floors above of them. Loop thread only. Lives as
 * long as the loop.
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
         * A whole message. `next` is the message after it if that has arrived too, else absent. False: it is
         * neither a request nor a notification; the error has been sent, and the connection ends.
         */
        bool (*message)(struct connection *connection, struct slice frame, struct slice next);
        /* Bytes that are no message, or a message over a limit. The connection ends. */
        void (*violation)(struct connection *connection, uint32_t id, int frame_error);
        /* All messages of one read have been given to `message`. */
        void (*read)(struct wire *wire);
        /* The kernel has taken every answer. */
        void (*written)(struct connection *connection);
        /* It takes no more messages. */
        void (*ending)(struct connection *connection);
        /* While it is ending: some of its requests may have been answered since the last call. */
        void (*emptying)(struct connection *connection);
        /* Its deferred requests have no connection any more. The object lives until `closed`. */
        void (*dropped)(struct connection *connection);
        /* Nothing refers to it any more: its owner frees it. */
        void (*closed)(struct connection *connection);
        /* A request that arrived while `monitored` was set has been answered. `error` is NULL or a code. */
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
        struct buffer sink;    /* for answers that are dropped */
        /* Reads go here. Bytes that are not dispatched at once are copied to their connection. */
        char read_buffer[WIRE_READ_BYTES];
};

void wire_init(struct wire *wire);
void wire_deinit(struct wire *wire);

/* Sends all answers. Called when the loop's turn ends. */
void wire_flush(struct wire *wire);

#endif
