#ifndef GRAMD_DAEMON_SESSION_SESSION_H
#define GRAMD_DAEMON_SESSION_SESSION_H

/*
 * A session in memory: what was loaded of it, its state, and the table of all sessions. Loop thread only. It
 * lives from the first `open` until its storage is closed, `idle-close` after the last handle.
 *
 *              load            idle, fenced          close job
 *     CLOSED ───────► LOADING ───────► OPEN ───────► ENDING ───────► CLOSING
 *      │  ▲              │  loaded      │                               │
 *      │  └──────────────┴──────────────┴───────────────────────────────┘
 *      │       failed          deleted               closed
 *      └─► freed, where no opening waits
 *
 * One job is under way at a time (`busy`): always in LOADING and CLOSING, never in CLOSED and ENDING.
 *
 * Whoever changes what a session waits for wakes it. advance.c alone decides what comes next, when the
 * messages of a read have been dispatched, when a job has come back, and at the end of the loop's turn. Only
 * there a session is freed: a pointer to one is good until the caller returns to the loop.
 */

#include "../../backends/backend.h"
#include "../../proto/link.h"
#include "../base/counters.h"
#include "../base/log.h"
#include "../base/store.h"
#include "../base/timers.h"
#include "../cache/cache.h"
#include "../config/config.h"
#include "states.h"
#include "storage.h"

struct session_job;
struct sessions;

enum session_state {
        SESSION_CLOSED,  /* nothing is loaded */
        SESSION_LOADING, /* the load job is under way */
        SESSION_OPEN,
        SESSION_ENDING,  /* grants no handles; its storage is to be closed */
        SESSION_CLOSING, /* the close job is under way */
        SESSION_STATES,
};

struct session {
        struct sessions *sessions;
        struct link link; /* sessions->list */
        struct link due;  /* sessions->due */
        struct storage *storage;
        struct slice name; /* owned */
        enum session_state state;

        struct backend_session *stored; /* a worker's while `busy` */
        bool busy;
        bool close_wanted;   /* it has no handles: close it when nothing is left to do */
        bool in_doubt;       /* what is stored, or whose it is, must be confirmed before its use */
        bool confirm_wanted; /* confirm now, though no request waits for it */
        bool overdue;        /* the job under way has missed its deadline */
        bool overdue_told;   /* and those who waited for it have been answered */
        bool unsynced;       /* something is committed and perhaps not on the disk */
        bool sync_due;       /* and it is time to sync */
        bool created_untold; /* the load created it, and no `open` has been answered with that */

        /* Committed values. */
        struct identity identity;
        struct states states;
        const char *dialect;
        int version;
        int64_t fence;
        bool keeps_address;
        struct cache *cache;

        struct link handles;
        size_t n_handles;
        size_t n_watching;
        struct link openings;     /* opening.c's */
        struct link lanes;        /* op.h */
        struct row_time *late[2]; /* evicted rows whose time is to be stored: peers, names */
        size_t n_late[2];
        size_t late_cap[2];

        uint64_t linger_ms;      /* of a memory session: the longest that its handles asked for */
        struct session_job *job; /* under way, if it is one of queue.c's */

        struct timer idle;     /* until it is closed for want of handles */
        struct timer retry;    /* memory was short: look again */
        struct timer reload;   /* another program holds its file: load again */
        struct timer fsync;    /* until the next sync */
        struct timer deadline; /* of the job under way */
};

/* All sessions that are not CLOSED, or that an opening waits for. */
struct sessions {
        const struct config *config;
        struct log *log;
        struct counters *counters;
        struct store *store;
        struct timers *timers;
        struct cache_pool *cache_pool;
        struct storages *storages;
        void (*advance)(struct sessions *sessions); /* advance.c's: called when a job has come back */
        void *tree;                                 /* by storage and name */
        struct link list;
        size_t count;
        struct link due;         /* those that were woken */
        struct timer confirming; /* looks for sessions in doubt that nobody asks for */
        bool stopping;           /* closes each as soon as it has no handles */
};

struct session *sessions_find(struct sessions *sessions, const struct storage *storage, struct slice name);

/* A new one, CLOSED and woken. NULL: no memory. */
struct session *session_new(struct sessions *sessions, struct storage *storage, struct slice name);
void session_free(struct session *session);

/* Moves it to another state, as the drawing allows. What was loaded is gone in CLOSED. */
void session_move(struct session *session, enum session_state state);

/* What it waits for may have changed. */
void session_wake(struct session *session);
/* Memory was short: wakes it in a moment. */
void session_wake_later(struct session *session);

/* What `open` or `confirm` loaded becomes the session's. `opened` keeps nothing of it. */
void session_take(struct session *session, struct opened *opened);

/* True: this host owns it for certain. False: no request on it can be answered, another host may own it. */
bool session_is_ours(const struct session *session);

/*
 * A job of one session. `finish` is called on the loop, when the session is not busy any more, and frees the
 * task. Then the session is advanced.
 */
struct session_task {
        struct job job;
        struct session *session;
        struct backend_session *stored;
        void (*finish)(struct session_task *task);
};

/*
 * Sends it to a worker. Where the backend has a deadline, `overdue` is set so long after `since_ms` (of the
 * loop's clock): when the first of those who wait for it came.
 */
void session_start_task(struct session *session, struct session_task *task, job_fn run,
                        void (*finish)(struct session_task *task), uint64_t since_ms);

/* For logs and messages: "session NAME (backend)". */
enum { SESSION_TEXT_BYTES = 300 };
const char *session_describe(const struct session *session, char text[SESSION_TEXT_BYTES]);

#endif
