#ifndef GRAMD_CLIENT_LIB_CLIENT_H
#define GRAMD_CLIENT_LIB_CLIENT_H

/*
 * The inside of libgram. The way of a request:
 *
 *     gram_NAME() (gram.c) → gram_async_NAME() (gram_async.c) → call_submit() → a lane (request.c)
 *       → sent over the socket (connection.c) → its answer (answer.c, methods.c) → callback
 *
 * A request stands in the lane of its session, or of the client where it concerns none: first `waiting`,
 * then `sent` until its answer. When the connection is lost, what was sent waits again, in front; it goes
 * out when the session has been opened again (session.c).
 *
 * The program's callbacks run at a few places only, all below client_step() and gram_client_free(), with
 * `depth` above 0. Functions that the program may call from a callback queue, and neither send, receive
 * nor free: so whoever calls back need only look at `doomed` afterwards.
 *
 * All of it belongs to the thread that uses the client.
 */

#include "../proto/buffer.h"
#include "../proto/contract.h"
#include "../proto/frame.h"
#include "../proto/link.h"
#include "failure.h"
#include "gram.h"

#define NEVER_MS INT64_MAX

enum {
        TIMEOUT_DEFAULT_MS = 30000,
        OUT_HIGH_BYTES = 256 * 1024, /* written ahead of the socket; the rest waits in its lane */
        HANDLE_BUCKETS = 256,
        SLOT_BITS = 20, /* of a message id: its slot; the rest tells the slot's uses apart */
        SLOTS_MAX = (1 << SLOT_BITS) - 1,
        VERDICT_RETRY = 1, /* nothing ends with it: what was not answered is repeated */
};

/* Requests in order: those on their way, then those still to be sent. */
struct lane {
        struct link waiting;
        struct link sent;
};

/* A request that is being put together, on the stack: pack the parameters into `bytes`, then submit. */
struct call {
        struct gram_client *client;
        struct gram_session *session; /* NULL: on none */
        enum method_number method;
        struct buffer bytes;
        size_t handle_at; /* where the handle's four bytes are; 0: nowhere */
        int64_t expect;   /* what the answer is checked against: see methods.c */
        char *sought;     /* the name or number, where the session has a cache; owned */
        bool on;          /* watch, monitor */
        int64_t extra_ms; /* added to the timeout */
};

static inline bool call_has(const struct call *call, enum method_trait trait)
{
        return methods[call->method].traits & trait;
}

struct request {
        struct link lane;
        struct link by_deadline; /* in client->by_deadline, ordered by deadline */
        struct link to_call;     /* in client->to_call: its callback is owed */
        struct call call;
        gram_callback *callback;
        void *arg;
        uint32_t id;     /* of the message; 0: not sent */
        bool internal;   /* the library's own: no deadline, not repeated after a reconnection */
        bool overtaken;  /* a later write has been acknowledged: repeating this one could undo it */
        bool completed;  /* the program has its outcome, or will from the finished list */
        int outcome;     /* then */
        void *ready;     /* its result, from the cache */
        uint64_t epoch;  /* of the cache, when it was asked */
        int64_t sent_ms; /* of a `lease` */
        int64_t timeout_ms;
        int64_t deadline_ms;
};

/* A sent request by its message id: the slot's number in the low bits, how often it was used above them. */
struct slot {
        struct request *request;
        uint32_t uses;
        uint32_t next_free;
};

struct gram_client {
        /* options */
        char *paths[3]; /* of sockets, in the order of preference; the last is NULL or the one that is left */
        char *name;
        int64_t timeout_ms; /* NEVER_MS: none */
        gram_event_fn *on_event;
        void *event_arg;

        /* connection.c */
        int epoll_fd;
        int timer_fd;
        int socket_fd; /* -1: not connected */
        const char
                *path; /* of the socket: the one chosen for good once it has answered, else the last tried */
        bool path_chosen;
        bool without_features; /* `hello` with them was refused on this connection */
        bool greeted;          /* `hello` has been answered on this connection */
        bool ever_greeted;     /* on any */
        int connect_error;     /* errno of the last try to connect; 0: it succeeded */
        int verdict;           /* this connection is over, because of a message: a code, or VERDICT_RETRY */
        bool connect_wanted;   /* gram_connect() asks for a connection, though nothing waits for one */
        bool waits_to_write;   /* epoll is told so */
        int64_t retry_at_ms;
        int64_t backoff_ms;
        int64_t timer_ms; /* when the timer goes off */
        struct buffer in;
        struct buffer out;
        struct frame frame;
        struct frame_limits limits;
        size_t max_message;
        size_t max_in_flight;
        char trouble[256]; /* the last failure to connect or to stay connected, for people */

        /* request.c */
        struct slot *slots;
        uint32_t n_slots;
        uint32_t free_slot; /* n_slots: none */
        struct lane lane;
        struct link by_deadline;
        struct link to_call;
        size_t pending;

        /* session.c */
        struct link sessions;
        struct link ready;                     /* those with something to send */
        struct link by_handle[HANDLE_BUCKETS]; /* open sessions, by the handle's low bits */
        int64_t sessions_next_ms;              /* when session.c wants to be called */
        bool monitoring;
        size_t n_caches;

        unsigned depth; /* inside client_step() or gram_client_free() */
        bool blocking;  /* inside a blocking call, which flushes by itself */
        bool doomed;    /* freed by the program in a callback */
        struct failure last;
};

/*
 *                 sent `open`             answered
 *      WANTED ───────────────▶ OPENING ─────────────▶ OPEN
 *        ▲ │                      │                   │ │
 *        │ │   refused, or lost   │                   │ │
 *        ├─┼──────────────────────┘  connection lost  │ │
 *        ├─┼──────────────────────────────────────────┘ │
 *        │ │ refused for good     ended, deleted, fenced│
 *        │ └────────▶ ENDED ◀───────────────────────────┘
 *
 * session_move() in session.c makes every transition and asserts that it is one of these. (A session that the
 * program has closed is not looked at any more: its state stays.)
 */
enum session_state {
        SESSION_WANTED,  /* to be opened, at `open_at_ms` */
        SESSION_OPENING, /* `open` has been sent on this connection */
        SESSION_OPEN,    /* has a handle on this connection */
        SESSION_ENDED,   /* for good; `failure` says why */
};

struct gram_session {
        unsigned refs; /* the program's, and each request's */
        struct gram_client *client;
        struct link all;         /* in client->sessions until released */
        struct link ready;       /* in client->ready */
        struct link same_bucket; /* in client->by_handle, while it has a handle */
        enum session_state state;
        uint32_t handle; /* while open */

        /* how it was asked for */
        char *name;
        char *backend;
        char *wanted_dialect;
        enum gram_mode mode;
        bool must_exist;
        int64_t wait_until_ms;
        int64_t linger_s;
        void *data;

        struct request *opener; /* the program's open, until it is answered */
        bool ever_open;
        bool asked;    /* an `open` has been sent before: the one that is sent now repeats it */
        bool watching; /* to be watched again after a reconnection */
        bool closing;  /* by the program: nothing more is taken */
        bool close_sent;
        bool released; /* the program knows it no longer */
        int64_t lost_ms;
        int64_t open_at_ms;
        int64_t backoff_ms;

        bool leased;
        bool lease_told; /* that it is over */
        int64_t lease_until_ms;
        int64_t lease_ask_ms;

        struct cache *cache; /* NULL: none */
        struct lane lane;
        size_t in_flight;
        struct gram_opened opened;
        char opened_backend[32];
        char opened_dialect[32];
        struct failure failure; /* why it ended; before that: why it could not be opened again, last */
};

/* ---- methods.c ---- */

/* Reads the result of a request without error. 0, GRAM_E_PROTOCOL or GRAM_E_NOMEM. */
int result_read(struct cursor *cursor, const struct call *call, struct gram_reply *reply);

/* What `open` answers: the result of METHOD_OPEN before session.c makes a session of it. */
struct open_result {
        struct gram_opened opened;
        int64_t handle;
};

/* Notifications, into results to be freed. NULL: malformed, or no memory. */
struct gram_changed *changed_read(struct cursor *cursor);
struct gram_monitored *monitored_read(struct cursor *cursor);

/* ---- request.c ---- */

/* `session` NULL: on none. `n_params` counts what follows the handle. */
struct call call_begin(struct gram_client *client, struct gram_session *session, enum method_number method,
                       uint32_t n_params);

/* Takes what the call holds, whatever it returns: 0, or a code, which the client's last error explains. */
int call_submit(struct call *call, gram_callback *callback, void *arg);

/* The library's own requests, sent ahead of the lanes. Lost with the connection, without a callback. False:
 * no memory. */
bool call_send_internal(struct call *call, gram_callback *callback, void *arg);

/* A request of the program's that is not sent itself: `open`, until its session is there. */
int call_hold(struct call *call, gram_callback *callback, void *arg, struct request **request);

void lane_init(struct lane *lane);
bool lane_empty(const struct lane *lane);

/* Ends a request without an answer; its callback is called from requests_call_back(). Code 0 is success. */
void request_complete(struct request *request, int outcome);
/* The same at once, with this reply: only where callbacks may run. */
void request_deliver(struct request *request, struct gram_reply *reply);

bool requests_to_send(const struct gram_client *client);
void requests_pump(struct gram_client *client);              /* from the lanes into client->out */
void requests_lost(struct gram_client *client, int outcome); /* with the connection; 0: repeat them */
void requests_expire(struct gram_client *client, int64_t now);
void requests_call_back(struct gram_client *client);
void requests_cancel(struct gram_client *client);

/* For answer.c. */
struct request *request_by_id(const struct gram_client *client, uint32_t id); /* sent, or NULL */
void request_give_slot_back(struct request *request);
void request_free(struct request *request);

/* ---- answer.c ---- */

void request_answered(struct gram_client *client, uint32_t id, struct cursor *cursor);

/* ---- lease.c ---- */

/* Asks for the lease, and goes on asking every third of it. */
void lease_ask(struct gram_session *session);
void lease_take(struct gram_session *session, int64_t sent_ms, int64_t lease_ms); /* -1: no limit */
/* Asks, or tells that it is over, where that is due. */
void lease_check(struct gram_session *session, int64_t now);

/* ---- session.c ---- */

void session_unref(struct gram_session *session);
void session_release(struct gram_session *session);
/* With an event, where `tell`. */
void session_end(struct gram_session *session, const struct gram_error *error, bool tell);
/* After a change: lets go of what an ended or closing session need not wait for. */
void session_complete_waiting(struct gram_session *session);
/* The program's `open` has run out of time. */
void session_give_up_opening(struct gram_session *session);

void sessions_connected(struct gram_client *client);
void sessions_lost(struct gram_client *client);
void sessions_tick(struct gram_client *client, int64_t now);
bool sessions_want_connection(const struct gram_client *client);
struct gram_session *session_by_handle(struct gram_client *client, int64_t handle);

/* ---- connection.c ---- */

bool connection_try(struct gram_client *client, int64_t now);
void connection_read(struct gram_client *client);
void connection_flush(struct gram_client *client);
void connection_close(struct gram_client *client);
void connection_rearm(struct gram_client *client, int64_t now);
/* The daemon said what it may not: the connection ends once its message has been dealt with. */
void connection_condemn(struct gram_client *client, int verdict, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void connection_wake(struct gram_client *client); /* something is to be sent or called back */
void connection_choose_path(struct gram_client *client);
static inline bool connection_up(const struct gram_client *client)
{
        return client->socket_fd >= 0;
}

/* ---- client.c ---- */

int64_t now_ms(void);                             /* counts on while the machine sleeps */
int64_t later_ms(int64_t from, int64_t delay_ms); /* saturates at NEVER_MS */
/* What is to be looked at: bits. Where the time is left out, the timer tells of what becomes due. */
enum { LOOK_SOCKET = 1, LOOK_TIME = 2 };
void client_step(struct gram_client *client, unsigned look);
void client_event(struct gram_client *client, const struct gram_event *event);
int client_fail(struct gram_client *client, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

#endif
