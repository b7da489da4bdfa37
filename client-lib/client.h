#ifndef GRAMD_CLIENT_LIB_CLIENT_H
#define GRAMD_CLIENT_LIB_CLIENT_H

/*
 * The inside of libgram: its structures, and what its files offer one another. The path of a request:
 *
 *     gram_NAME() → gram_async_NAME() (method_SUBJECT.c) → call_submit() → a lane (request.c)
 *       → sent over the socket (connection.c) → its answer (answer.c, method_SUBJECT.c) → callback
 *
 * A request is in the lane of its session, or in the client's lane if it is on no session: first in
 * `waiting`, then in `sent` until it is answered. When the connection is lost, the sent requests go back to
 * the front of `waiting`. They are sent again when the session is open again (session.c).
 *
 * The program's callbacks run only inside client_step() and gram_client_free(), while `depth` is above 0. A
 * function that the program may call from a callback only queues: it does not send, receive or free. So code
 * that has called back has only `doomed` to check.
 *
 * All of this belongs to the thread that uses the client.
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
        OUT_HIGH_BYTES = 256 * 1024, /* of client->out; further requests wait in their lanes */
        HANDLE_BUCKETS = 256,
        VERDICT_RETRY = 1, /* disconnect, and repeat the requests that were not answered */
};

/* Requests in order: all of `sent` come before all of `waiting`. */
struct lane {
        struct link waiting;
        struct link sent;
};

/* A request while it is built, on the stack: pack the parameters into `bytes`, then submit it. */
struct call {
        struct gram_client *client;
        struct gram_session *session; /* NULL: on none */
        enum method_number method;
        struct buffer bytes;
        size_t handle_at; /* offset of the handle's four bytes; 0: there is no handle */
        int64_t expect;   /* what the method's reader checks the answer against */
        char *sought;     /* what the method's reader or the cache needs of the parameters; owned */
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
        uint32_t id;  /* of the message, on every connection; 0: it has not been sent yet */
        bool awaited; /* it has been sent on this connection: in client->awaited */
        struct request *next_awaited;
        bool internal;   /* of the library itself: no deadline, not repeated after a reconnection */
        bool overtaken;  /* a later write has been acknowledged: repeating this one could undo it */
        bool completed;  /* the callback has been called, or the request is in client->to_call */
        int outcome;     /* for the callback, if it is in client->to_call */
        void *ready;     /* the result, if the cache had it */
        uint64_t epoch;  /* of the cache, at submission */
        int64_t sent_ms; /* of a `lease` */
        int64_t timeout_ms;
        int64_t deadline_ms;
};

struct gram_client {
        /* options */
        char *paths[3]; /* of sockets, the preferred one first; ends with NULL */
        char *name;
        int64_t timeout_ms; /* NEVER_MS: none */
        gram_event_fn *on_event;
        void *event_arg;
        bool leaves; /* the program acts on GRAM_EVENT_LEAVE */

        /* connection.c */
        int epoll_fd;
        int timer_fd;
        int socket_fd;    /* -1: not connected */
        const char *path; /* of the socket tried last; `path_chosen`: it has answered and is kept */
        bool path_chosen;
        bool without_features; /* the daemon refused a `hello` with features on this connection */
        bool greeted;          /* `hello` has been answered on this connection */
        bool ever_greeted;     /* on any */
        int64_t server_uid;    /* trusted too; 0: $GRAMD_SERVER_UID */
        bool untrusted;        /* who listened at the last try to connect */
        int connect_error;     /* errno of the last try to connect; 0: it succeeded */
        int verdict;           /* why to disconnect after this message: a code or VERDICT_RETRY; 0: stay */
        bool connect_wanted;   /* by gram_connect(), though no request needs a connection */
        bool waits_to_write;   /* epoll watches for EPOLLOUT */
        int64_t retry_at_ms;
        int64_t backoff_ms;
        int64_t timer_ms; /* what the timer is set to */
        struct buffer in;
        struct buffer out;
        struct frame frame;
        struct frame_limits limits;
        size_t max_message;
        size_t max_in_flight;
        char trouble[256]; /* message of the last failure to connect or of the last disconnection */

        /* request.c */
        uint8_t id[LIMIT_ID_BYTES]; /* the daemon knows a repeated write by this and the message's id */
        uint32_t last_id;           /* of a message */
        size_t n_numbered;          /* requests that have an id */
        struct request **awaited;   /* by the id's low bits; a power of two of chains */
        size_t n_chains;
        size_t n_awaited;
        struct lane lane;
        struct link by_deadline;
        struct link to_call;
        size_t pending;

        /* session.c */
        struct link sessions;
        struct link ready;                     /* open sessions with waiting requests */
        struct link by_handle[HANDLE_BUCKETS]; /* open sessions, by the handle's low bits */
        int64_t sessions_next_ms;              /* when sessions_tick() has something to do; 0: now */
        bool monitoring;
        size_t n_caches;

        unsigned depth; /* inside client_step() or gram_client_free() */
        bool blocking;  /* inside a blocking call, which sends without being woken */
        bool doomed;    /* the program freed it in a callback; freed at the end of the step */
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
        unsigned refs; /* one for the program, one for each request */
        struct gram_client *client;
        struct link all;         /* in client->sessions until released */
        struct link ready;       /* in client->ready */
        struct link same_bucket; /* in client->by_handle, while it has a handle */
        enum session_state state;
        uint32_t handle; /* while open */

        /* from gram_open() */
        char *name;
        char *backend;
        char *wanted_dialect;
        bool exclusive;
        bool must_exist;
        bool seal;
        int64_t wait_until_ms;
        int64_t linger_s;
        void *data;

        struct request *opener; /* the program's `open`, until it is answered */
        bool ever_open;
        bool asked;    /* `open` has been sent at least once */
        bool watching; /* to be watched again after a reconnection */
        bool closing;  /* the program has called gram_close(): further requests are refused */
        bool close_sent;
        bool released;    /* the program's reference is gone */
        int64_t asked_ms; /* when `open` was sent last */
        int64_t lost_ms;
        int64_t open_at_ms;
        int64_t backoff_ms;

        bool leased;
        bool lease_unknown; /* not told yet: `lease_until_ms` is when to stop waiting for it */
        bool lease_told;    /* the program knows that the lease is over */
        int64_t lease_until_ms;
        int64_t lease_ask_ms;

        struct cache *cache; /* NULL: none */
        struct lane lane;
        size_t in_flight;
        struct gram_opened opened;
        char opened_backend[32];
        char opened_dialect[32];
        struct failure failure; /* why it ended, or why the last try to open it again failed */
};

/* ---- method.c, and method_SUBJECT.c for each method ---- */

/* Reads the result of a request without error. 0, GRAM_E_PROTOCOL or GRAM_E_NOMEM. */
int result_read(struct cursor *cursor, const struct call *call, struct gram_reply *reply);

/* The result of METHOD_OPEN as result_read() gives it; session.c takes the session from it. */
struct open_result {
        struct gram_opened opened;
        int64_t handle;
        int64_t lease_ms; /* 0: not told, or no limit */
};

/* What a GRAM_EVENT_CHANGED points to. Programs know the size of the first part. */
struct changed_result {
        struct gram_changed changed;
        const char *const *kv;
        size_t n_kv;
};

/* Read a notification. The result is for gram_free(). NULL: malformed, or no memory. */
struct gram_changed *changed_read(struct cursor *cursor);
struct gram_monitored *monitored_read(struct cursor *cursor);

/* ---- request.c ---- */

/* `session` NULL: on none. `n_params` counts what follows the handle. */
struct call call_begin(struct gram_client *client, struct gram_session *session, enum method_number method,
                       uint32_t n_params);

/* Takes what the call owns, also on failure. 0, or a code with the client's last error set. */
int call_submit(struct call *call, gram_callback *callback, void *arg);

/*
 * Sends a request of the library itself, before all lanes. It is dropped without a callback when the
 * connection is lost. Needs a connection. Takes what the call owns. False: no memory.
 */
bool call_send_internal(struct call *call, gram_callback *callback, void *arg);

/* Like call_submit(), but the request goes into no lane: the caller completes it. Used for `open`. */
int call_hold(struct call *call, gram_callback *callback, void *arg, struct request **request);

void lane_init(struct lane *lane);
/* Completes all requests of the lane. */
void lane_end(struct lane *lane, int outcome);

/* Completes a request without an answer; 0 is success. requests_call_back() calls the callback later. */
void request_complete(struct request *request, int outcome);
/* Completes a request with this reply and calls the callback now: only inside a step. Frees the result. */
void request_deliver(struct request *request, struct gram_reply *reply);

bool requests_to_send(const struct gram_client *client);
/* Moves requests from the lanes into client->out. */
void requests_pump(struct gram_client *client);
/* The connection is lost: the sent requests wait again (`outcome` 0), or fail with this code. */
void requests_lost(struct gram_client *client, int outcome);
/* Completes the requests whose deadline has passed. */
void requests_expire(struct gram_client *client, int64_t now);
/* Calls the callbacks of completed requests. */
void requests_call_back(struct gram_client *client);
/* Completes all requests with GRAM_E_CANCELLED. */
void requests_cancel(struct gram_client *client);
/* Completes all requests with GRAM_E_UNTRUSTED. The sessions that have been open stay. */
void requests_refuse(struct gram_client *client);

/* Takes a random id. False: the system has none. */
bool client_take_id(struct gram_client *client);

/* For answer.c. */
struct request *request_by_id(const struct gram_client *client, uint32_t id); /* NULL: there is none */
/* Its answer is not awaited any more. */
void request_forget(struct request *request);
void request_free(struct request *request);

/* ---- answer.c ---- */

void request_answered(struct gram_client *client, uint32_t id, struct cursor *cursor);

/* ---- lease.c ---- */

/*
 * A session with a lease has been opened: asks for it. `lease_ms`, if it is not 0, came with the answer, to
 * an `open` that was sent at `session->asked_ms`.
 */
void lease_begin(struct gram_session *session, int64_t lease_ms);
/* A lease that is not known is over now; others run on. */
void lease_connection_lost(struct gram_session *session);
/* The daemon's answer to a question sent at `sent_ms`; -1: no limit. */
void lease_take(struct gram_session *session, int64_t sent_ms, int64_t lease_ms);
/* Asks for the lease if it is time to, and tells the program if it has run out. */
void lease_check(struct gram_session *session, int64_t now);

/* ---- session.c ---- */

void session_unref(struct gram_session *session);
/* Drops the program's reference, and closes the handle if no `close` has been sent. */
void session_release(struct gram_session *session);
/* Moves it to ENDED and fails its requests, if it has not ended yet. `tell`: with GRAM_EVENT_ENDED. */
void session_end(struct gram_session *session, const struct gram_error *error, bool tell);
/* Completes the waiting requests that an ended or closing session will not send. */
void session_complete_waiting(struct gram_session *session);
/* The time of the program's `open` is over. */
void session_give_up_opening(struct gram_session *session);

void sessions_connected(struct gram_client *client);
void sessions_lost(struct gram_client *client);
/* Opens sessions and asks for leases, if it is time to. */
void sessions_tick(struct gram_client *client, int64_t now);
bool sessions_want_connection(const struct gram_client *client);
struct gram_session *session_by_handle(struct gram_client *client, int64_t handle); /* NULL: there is none */

/* ---- connection.c ---- */

/* Tells the daemon the client's id, which has changed. */
void connection_tell_id(struct gram_client *client);
/* Connects, if a request needs it and the pause after the last failure is over. Must not be connected. */
void connection_try(struct gram_client *client, int64_t now);
void connection_read(struct gram_client *client);
void connection_flush(struct gram_client *client);
void connection_close(struct gram_client *client);
/* Sets timer and epoll for what is to come; at the end of each step. */
void connection_rearm(struct gram_client *client, int64_t now);
/*
 * Disconnects when the message at hand has been handled, because the daemon broke the protocol or refused.
 * `verdict` is the code that the sent requests fail with, or VERDICT_RETRY.
 */
void connection_fail(struct gram_client *client, int verdict, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void connection_wake(struct gram_client *client); /* makes gram_fd() readable: there is work for a step */
/* Sets client->path to where a daemon may listen now. */
void connection_choose_path(struct gram_client *client);

static inline bool connection_up(const struct gram_client *client)
{
        return client->socket_fd >= 0;
}

/* ---- client.c ---- */

int64_t now_ms(void);                             /* CLOCK_BOOTTIME: runs on while the machine sleeps */
int64_t later_ms(int64_t from, int64_t delay_ms); /* saturates at NEVER_MS */
/* What a step does beside callbacks and sending, as bits. Without LOOK_TIME it checks no deadline. */
enum { LOOK_SOCKET = 1, LOOK_TIME = 2 };
void client_step(struct gram_client *client, unsigned look);
/* Tells the program; only inside a step. */
void client_event(struct gram_client *client, const struct gram_event *event);
/* Sets the client's last error; returns `code`. */
int client_fail(struct gram_client *client, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

#endif
