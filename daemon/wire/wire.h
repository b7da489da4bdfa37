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

/* What a connection has used of a turn (turn.h). */
struct turn_use {
        uint64_t number; /* wire->turn; if it is another one, nothing is used yet */
        size_t messages;
        size_t bytes;
        size_t rows;
};

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
        /* It ends with `overloaded`: `why` is for its client and for the log. */
        void (*overfull)(struct connection *connection, const char *why);
        /*
         * A request has been answered that arrived while `monitored` was set, that is audited, or that is
         * denied. `error` is NULL or a code.
         */
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
        struct link waiting;   /* accounts with connections that wait for a turn; the first is served next */
        uint64_t turn;         /* of the loop, counted */
        size_t work;           /* of this turn, by all connections */
        size_t flushed;        /* connections whose answers were sent in this turn */
        size_t refused;        /* times in this turn that a connection was readable, and had to wait */
        uv_idle_t awake;       /* active while connections wait: the loop does not sleep */
        struct link accounts;  /* account.h */
        size_t n_accounts;
        uint64_t held;      /* bytes of all accounts */
        bool exceeded;      /* one of the accounts has `exceeded` */
        uv_timer_t tick;    /* each second, while connections are paused or their message is not whole */
        struct buffer sink; /* for answers that are dropped */
        /* Reads go here. Bytes that are not dispatched at once are copied to their connection. */
        char read_buffer[WIRE_READ_BYTES];
};

void wire_init(struct wire *wire); /* `loop` is set */
void wire_deinit(struct wire *wire);

/*
 * Sends the answers. Called when the loop's turn ends. If very many connections have some, the rest is sent
 * in the next turns, in order; but at once where memory is short.
 */
void wire_flush(struct wire *wire);

#endif
