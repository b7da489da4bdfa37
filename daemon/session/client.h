#ifndef GRAMD_DAEMON_SESSION_CLIENT_H
#define GRAMD_DAEMON_SESSION_CLIENT_H

/*
 * Who is connected: one client's connection, credentials, handles and openings, and the list of all clients.
 * Loop thread only. A client lives from accept to the close of its socket.
 */

#include <stdatomic.h>

#include "../base/store.h"
#include "../base/timers.h"
#include "../config/access.h"
#include "../wire/connection.h"
#include "remembered.h"
#include "user.h"

struct handle;
struct log;

/*
 * The handles of one client, by number: slot i is handle i + 1. A closed number is not used again for a
 * while, so that a request on it by mistake is refused and not executed on another session.
 */
struct handle_table {
        struct handle_slot {
                struct handle *handle; /* NULL: closed */
                uint32_t next_free;    /* a number; 0: none */
        } * slots;
        size_t n_slots, cap;
        size_t n; /* open */
        uint32_t first_free, last_free;
};

struct client {
        struct connection connection;
        struct clients *clients;
        struct link link;    /* clients->list */
        struct link monitor; /* clients->monitors */
        int pidfd;           /* of its process; -1: not asked for, or none */
        uint64_t id;
        int64_t since;
        struct credentials credentials;
        struct user *user;     /* NULL until it is admitted, and after client_leave() */
        struct naming *naming; /* naming.c's: its names are being looked up */
        char *name;            /* from `hello`, or NULL */
        uint64_t n_requests;

        struct handle_table handles;
        struct link openings; /* not yet answered; opening.c's */
        size_t n_openings;

        struct caller caller; /* as whom it repeats writes */
        bool leaves;          /* it has announced the feature `leave` */
        bool takes_lease;     /* the feature `lease`: the answer to its `open` has the lease */
        bool takes_owner;     /* the feature `owner`: answers to its `info` and `sessions` have owners */
        bool is_owed_changes; /* one of its handles is; watch.c's */
        bool is_owed_leave;   /* the same; drain.c's */
};

struct clients {
        struct wire *wire;
        struct log *log;
        struct timers *timers;
        uv_poll_t listening;
        uv_check_t accepting; /* active: clients wait */
        int listening_fd;
        int accepted; /* the socket of a client that waits, because memory is short; -1: there is none */
        bool failing; /* no client can be accepted, which was logged */
        struct link list;
        size_t n;
        struct link monitors;
        struct users users;
        uint64_t last_id;
        struct timer retry;   /* descriptors or memory are short: clients wait to be accepted */
        atomic_bool stopping; /* workers look at it */
        struct store *store;
        struct gate *naming; /* for naming.c's jobs */
};

static inline struct client *client_of(struct connection *connection)
{
        return LINK_OF(connection, struct client, connection);
}

/*
 * Clients are accepted from `fd`, a listening socket, which is taken. Beyond `max-clients`, and beyond their
 * user's share of it, they get an error and are closed. If descriptors or memory are short they wait. Returns
 * 0 or a negative code of libuv, and then has not taken it.
 */
int clients_listen(struct clients *clients, int fd);
void clients_stop_listening(struct clients *clients);

/* Before the rules are asked: if its names were not known, they may be by now. naming.c's. */
void client_take_names(struct client *client);

/* Whether it gets a `request` notification for each request of all clients. */
void client_set_monitoring(struct client *client, bool on);
/* The access rules have changed: who has no right `admin` any more is no monitor any more. */
void clients_renew_rights(struct clients *clients);

/*
 * Takes the client off the list. Its connection has gone, its handles are closed, and no opening refers to
 * it.
 */
void client_leave(struct client *client);
/* Frees the client. Its socket is closed. */
void client_free(struct client *client);

/* For logs and errors: client "NAME" (id N, pid N, uid N). A quote or backslash in the name has a backslash.
 */
enum { CLIENT_TEXT_BYTES = 640 };
const char *client_describe(const struct client *client, char text[CLIENT_TEXT_BYTES]);

#endif
