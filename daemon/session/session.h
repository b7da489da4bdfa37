#ifndef GRAMD_DAEMON_SESSION_SESSION_H
#define GRAMD_DAEMON_SESSION_SESSION_H

/*
 * An open session and the handles on it: from the first `open` until its file is closed, a little after the
 * last handle. Loop thread only.
 *
 *     OPENING → OPEN ⇄ (no handles: idle-close runs) → CLOSING → gone, or OPENING for who came meanwhile
 *
 * ownership.c decides who gets a handle, queue.c does the work on an open session.
 */

#include "../../backends/backend.h"
#include "../../proto/link.h"
#include "../base/store.h"
#include "../base/timers.h"
#include "../cache/cache.h"
#include "states.h"

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
        struct link due;   /* server->due */
        int backend;       /* index in backends[] */
        struct slice name; /* owned */
        enum session_phase phase;

        struct backend_session *stored; /* a worker's while `busy` */
        bool busy;                      /* a job is under way: one at a time */
        bool close_wanted;              /* no handles: close when nothing is left to do */
        bool in_doubt; /* a write's outcome, or whose it is: to be confirmed before its use */
        bool overdue;  /* the job under way has missed its deadline: nobody waits for it */
        bool unsynced; /* committed, and perhaps not on the disk */
        bool sync_due;

        struct identity identity; /* committed values */
        struct states states;     /* the same */
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

        uint64_t linger_ms;      /* of a memory session: the longest that its handles asked for */
        struct session_job *job; /* under way, if it is one of queue.c's */
        struct timer idle;
        struct timer fsync;
        struct timer deadline; /* of the job under way */
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

/*
 * A job of the session's goes off, or is back: in between `overdue` is set when those who asked for it cannot
 * be let wait any longer. `since_ms`, of the loop's clock: when the first of them came.
 */
void session_job_off(struct session *session, struct job *job, job_fn run, job_fn done, uint64_t since_ms);
void session_job_back(struct session *session);

/* Is it ours now? False: no request on it can be answered, it may be another host's. */
bool session_is_ours(const struct session *session);
/* Where its lease is lost, or a write is in doubt: starts finding out. */
void session_confirm(struct session *session);
/* What `open` loads was loaded again. */
void session_confirmed(struct session *session, struct opened *opened);
/* A write failed half-way, or may still happen. */
void session_doubt(struct session *session);
/* It is another host's: every handle is told, nothing more is written. */
void session_fenced(struct session *session, const char *text);

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

/* For logs and messages: "session NAME (backend)". */
const char *session_describe(const struct session *session, char *text, size_t size);

#endif
