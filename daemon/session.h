#ifndef GRAMD_DAEMON_SESSION_H
#define GRAMD_DAEMON_SESSION_H

/*
 * An open session and the handles on it: from the first `open` until its file is closed, a little after the
 * last handle. Loop thread only.
 *
 *     OPENING → OPEN ⇄ (no handles: idle-close runs) → CLOSING → gone, or OPENING for who came meanwhile
 *
 * ownership.c decides who gets a handle, queue.c does the work on an open session.
 */

#include "../backends/backend.h"
#include "cache.h"
#include "link.h"
#include "timers.h"

struct connection;
struct server;
struct session_job;
struct lane;

/* All sessions that are open, opening or closing, by backend and name. */
struct sessions {
        void *tree;
        struct link list;
        size_t count;
};

enum session_phase {
        SESSION_OPENING,
        SESSION_OPEN,
        SESSION_CLOSING,
};

struct session {
        struct server *server;
        struct link link;  /* sessions.list */
        int backend;       /* index in backends[] */
        struct slice name; /* owned */
        enum session_phase phase;

        struct backend_session *stored; /* a worker's while `busy` */
        bool busy;                      /* a job is under way: one at a time */
        bool close_wanted;              /* no handles: close when nothing is left to do */
        bool unsynced;                  /* committed, and perhaps not on the disk */
        bool sync_due;

        struct identity identity; /* committed values */
        struct state *states;     /* the same, ascending by id */
        size_t n_states;
        size_t states_cap;
        const char *dialect;
        int version;
        int64_t fence;
        bool keeps_address;
        struct cache *cache;

        struct link handles;
        size_t n_handles;
        size_t n_watching;
        struct link openings;     /* opens that wait for it; ownership.c */
        struct link lanes;        /* queue.c */
        struct row_time *late[2]; /* evicted rows whose time is to be stored: peers, names */
        size_t n_late[2];
        size_t late_cap[2];

        uint64_t linger_ms; /* of a memory session: the longest that its handles asked for */
        struct timer idle;
        struct timer fsync;
};

/* One client's right to use a session. */
struct handle {
        struct session *session;
        struct connection *connection;
        struct lane *lane;
        struct link link; /* session->handles */
        int64_t number;   /* `s` on the wire */
        int64_t since;
        unsigned rights;
        bool exclusive;
        bool watching;
        bool behind; /* a watcher that did not read: owed one `changed` with `all` */
};

void sessions_init(struct sessions *sessions);
void sessions_deinit(struct sessions *sessions);
struct session *sessions_find(struct sessions *sessions, int backend, struct slice name);

/* A new one, in OPENING and without a job. NULL: no memory. */
struct session *session_new(struct server *server, int backend, struct slice name);
void session_free(struct session *session);

/* Starts reading it from the backend; ownership_opened() follows. */
bool session_load(struct session *session, bool create, struct slice dialect);

/* Handles. Their session must be OPEN. NULL: no memory or no room. */
struct handle *handle_new(struct session *session, struct connection *connection);
/* Ends it without a word; the session closes by and by if it was the last. */
void handle_close(struct handle *handle);
/* The same, told by an `ended` notification. */
void handle_end(struct handle *handle, const char *code, const char *text);

/* No handle is left: closes now, later, or when the work is done. queue.c calls it when it has run dry. */
void session_check_idle(struct session *session);
/* The stored session is gone: every handle but `deleter` is told, the session ends. */
void session_removed(struct session *session, struct handle *deleter);

/*
 * States, kept sorted by id. Rows and ids handed in are ascending and none comes twice; room for new rows is
 * made before they are committed.
 */
const struct state *session_state(const struct session *session, int64_t id);
bool session_reserve_states(struct session *session, size_t more); /* false: no memory */
void session_put_states(struct session *session, const struct state *states, size_t n);
void session_drop_states(struct session *session, const int64_t *ids, size_t n);

/* For logs and messages: "session NAME (backend)". */
const char *session_describe(const struct session *session, char *text, size_t size);

#endif
