#ifndef GRAMD_DAEMON_SESSION_SESSION_H
#define GRAMD_DAEMON_SESSION_SESSION_H

/*
 * A session in memory: what was loaded of it, its state, and the table of all sessions. Loop thread only. It
 * lives from the first `open` until its storage is closed: `idle-close` (in memory: `linger`) after the last
 * handle.
 *
 *              load job         loaded        idle, fenced       close job
 *     CLOSED ───────────► LOADING ─────► OPEN ────────────► ENDING ──────────► CLOSING
 *       ▲                    │               deleted          │                   │
 *       │             failed │                        deleted │            closed │
 *       └────────────────────┴────────────────────────────────┴───────────────────┘
 *
 * A CLOSED session that no opening waits for is freed. One job is under way at a time (`busy`): always in
 * LOADING and CLOSING, never in CLOSED and ENDING.
 *
 * All other code only wakes a session, when what it waits for may have changed. advance.c then decides what
 * comes next: when the messages of one read have been dispatched, when a job has come back, when the loop's
 * turn ends, and before an `open` of a session that has been woken. Sessions are freed only there: a pointer
 * to one is valid until the next sessions_advance().
 */

#include <stdatomic.h>

#include "../../backends/backend.h"
#include "../../proto/contract.h"
#include "../../proto/link.h"
#include "../base/counters.h"
#include "../base/log.h"
#include "../base/store.h"
#include "../base/timers.h"
#include "../cache/cache.h"
#include "../config/config.h"
#include "../config/owner.h"
#include "remembered.h"
#include "states.h"
#include "storage.h"
#include "user.h"

struct session_job;
struct session_task;
struct sessions;

enum session_state {
        SESSION_CLOSED,  /* nothing is loaded */
        SESSION_LOADING, /* the load job is under way */
        SESSION_OPEN,
        SESSION_ENDING,  /* grants no handles, and ends those it has; then its storage is to be closed */
        SESSION_CLOSING, /* the close job is under way */
        SESSION_STATES,
};

/* Why an ENDING session ends its handles. */
struct ending {
        bool is_told;               /* to the clients; else it has no handles */
        enum wire_error of_ops;     /* the answer to what waits in its lanes */
        enum wire_error of_handles; /* in `ended` */
        char *text;                 /* for both; NULL: no memory */
};

/* A session of the same name on another backend. */
struct twin {
        const char *backend; /* static */
        struct owner owner;
};

struct session {
        struct sessions *sessions;
        struct link link;  /* sessions->list */
        struct link woken; /* sessions->woken */
        struct link turn;  /* sessions->turns */
        struct storage *storage;
        struct slice name; /* owned */
        struct user *user; /* for whom it counts as open: who has its oldest handle, or had its last one */
        enum session_state state;

        struct backend_session *stored; /* a worker's while `busy` */
        bool busy;
        bool settling; /* busy: the job is back, and the loop works off its outcome in slices. What is cached
                          is committed, but only in part the newest: nothing is answered from it */
        bool close_wanted;   /* it has no handles: it is closed when nothing is left to do */
        bool in_doubt;       /* content and owner must be confirmed before the next use */
        bool confirm_wanted; /* confirm now, even if no request waits for it */
        bool tidying;        /* tidy.c's: tidy it in the next job */
        bool overdue;        /* the job under way has missed its deadline */
        bool overdue_told;   /* and all that waited for it have been answered */
        bool sync_wanted;    /* sync in the next job */
        bool created_untold; /* the load created it, and no answer to an `open` has said so yet */

        /* Committed values. */
        struct identity identity;
        struct states states;
        struct owner owner;
        bool owner_known;  /* not only while it is loaded: also if a load has failed after it was read */
        unsigned n_owners; /* counts the changes of what is known of the owner */
        bool owner_is_new; /* not all handles have been looked at since: renew.c */
        uid_t uid;         /* of the client for whom it was loaded: whose lines in the log its own are */
        const char *dialect;
        int version;
        int64_t fence;
        bool keeps_address;
        struct cache *cache;
        struct remembered *remembered; /* remembered.c's; NULL: nothing yet */

        struct link handles;
        size_t n_handles;
        struct link writers;  /* of the handles: those with the right `write` */
        struct ending ending; /* ending.c's */
        size_t n_watching;
        struct link *told;    /* watch.c's: the handle that is told next */
        struct link openings; /* opening.c's */
        bool is_due;          /* time has passed for one of them, or not all have been looked at */
        uid_t crowd;          /* if `is_crowded`: it has as many openings as one uid may have */
        bool is_crowded;
        struct link looks;  /* elsewhere.c's: under way */
        struct twin *twins; /* elsewhere.c's: what they have found */
        size_t n_twins;
        struct link held;       /* sessions->held */
        struct link untidy;     /* sessions->untidy */
        struct fault *held_by;  /* held.c's */
        struct link loans;      /* lent.c */
        uint64_t lent_until_ms; /* lent.c: of the loop's clock. Until then, clients that are not watched may
                                   rely on it */
        struct link lanes;      /* op.h: those with ops that wait */
        void *lanes_of_clients; /* a tree: all lanes whose clients have handles */
        size_t n_ops;           /* in lanes or in the job */
        size_t n_unread;        /* of these, those whose lists are being read: reading.c */
        struct row_time *dirty[2]; /* times that the cache gave up, to be stored: of peers, of names */
        size_t n_dirty[2];
        size_t dirty_cap[2];

        /* unsynced.c's */
        size_t n_unsynced;    /* writes that are committed, and maybe not on the disk */
        uint64_t unsynced_ms; /* when the first of them was made, by the loop's clock */
        int64_t outage_since; /* unix seconds: since when they cannot be synced; 0: no outage */
        uint64_t outage_ms;   /* the same, by the loop's clock */
        char *outage_why;     /* NULL: no memory */
        bool suspended;       /* writes are refused */
        size_t n_refused;     /* for that */
        struct link late;     /* ops that are committed, and answered after the next sync */

        uint64_t linger_ms;        /* of a memory session: the longest `linger` of its opens */
        uid_t job_uid;             /* that has caused its last job */
        struct session_task *task; /* under way, while `busy` */
        struct session_job *job;   /* the same, if it is one of queue.c's */

        struct timer idle;     /* closes a session without handles */
        struct timer retry;    /* memory was short: wakes the session again */
        struct timer reload;   /* held.c's */
        struct timer looked;   /* elsewhere.c's: then nobody waits for `looks` any more */
        struct timer fsync;    /* until the next sync */
        struct timer suspend;  /* until an outage has lasted too long */
        struct timer deadline; /* of the job under way */
};

enum { SESSIONS_READS_MAX = 1, SESSIONS_LOOKS_MAX = 2, SESSIONS_NAMES_MAX = 1 };

/* All sessions that are not CLOSED, or that an opening waits for. */
struct sessions {
        const struct config *config;
        struct log *log;
        struct counters *counters;
        struct store *store;
        struct timers *timers;
        struct cache_pool *cache_pool;
        struct storages *storages;
        void (*advance)(struct sessions *sessions); /* advance.c's */
        void *tree;                                 /* by storage and name */
        struct link list;
        size_t count;
        size_t n_leased;                     /* of backends with leases, and not CLOSED */
        size_t n_outages;                    /* with an outage: unsynced.c */
        struct remembered_closed remembered; /* of sessions that are closed */
        struct link woken;                   /* sessions for sessions_advance() */
        struct link turns;                   /* sessions that go on in a later turn of the loop */
        struct gate reads;                   /* reading.c's: long lists, SESSIONS_READS_MAX at a time */
        struct gate looks;                   /* tasks that look at much */
        struct gate names;       /* names of users and groups: looking them up may take long. Of clients, too:
                                    naming.c */
        struct link held;        /* those that others hold: held.c */
        struct link unseen;      /* denied.c's: refusals that wait */
        struct link untidy;      /* those that the round of tidy.c has still to reach */
        size_t n_tidying;        /* sessions */
        bool tidy_wanted;        /* another round */
        struct timer tidy;       /* until the next round may begin */
        struct timer confirming; /* looks for sessions in doubt that nobody asks for */
        unsigned rules;          /* counts the reloads: which rules hold now */
        struct link *renewed;    /* renew.c's: the session that comes next; NULL: none does */
        struct link *renewed_handle; /* the same, of that session; NULL: its first one */
        atomic_bool stopping;        /* loads none, closes each without handles; workers look at it */
        bool draining;               /* drain.h */
        unsigned drains;             /* counts them: which one is on */
        size_t n_answered;           /* openings, in this turn of the loop */
};

struct session *sessions_find(struct sessions *sessions, const struct storage *storage, struct slice name);

/* A new session, CLOSED and woken, which counts as one of the user's. NULL: no memory. */
struct session *session_new(struct sessions *sessions, struct storage *storage, struct slice name,
                            struct user *user);
void session_free(struct session *session);
/* It counts for this user instead. */
void session_count_for(struct session *session, struct user *user);

/* What clients of an ENDING session are told. */
const char *session_ending_text(const struct session *session);

/* Which rules and which owner hold now: another number if either has changed. */
static inline unsigned session_rules(const struct session *session)
{
        return session->sessions->rules + session->n_owners;
}

/* Its owner as its storage has it; NULL: not known. Whose rights have changed is found when he uses them. */
void session_know_owner(struct session *session, const struct owner *owner);
/* An open session has another owner. The handles that are not allowed any more end in slices: renew.c. */
void session_set_owner(struct session *session, const struct owner *owner);

/* All handles and openings are to be looked at, in slices: renew.c. */
void sessions_renew(struct sessions *sessions);

/* Moves it to another state, as the drawing allows. CLOSED drops what was loaded. */
void session_move(struct session *session, enum session_state state);

/* What it waits for may have changed. */
void session_wake(struct session *session);
/* Goes on in a later turn of the loop, so that others are served before. */
void session_wait_turn(struct session *session);
/*
 * Called once a turn: the session that has waited longest settles a slice of its job, or is woken. False:
 * none waits any more.
 */
bool sessions_next_turn(struct sessions *sessions);
/* Wakes it after a moment: memory was short. */
void session_wake_later(struct session *session);

/* Moves what `open` or `confirm` loaded out of `opened` into the session. */
void session_take(struct session *session, struct opened *opened);

/* True: this host certainly owns it. False: another host may own it, so requests on it cannot be answered. */
bool session_is_ours(const struct session *session);

/* True: a drain is on, and the sessions of this storage can have other owners: none is opened here. */
bool storage_is_drained(const struct sessions *sessions, const struct storage *storage);

/* Of a backend with leases: the milliseconds for which this host still owns it. 0: not now, or it is being
 * deleted. */
int64_t session_lease_ms(const struct session *session);

/*
 * A job of one session. `finish` is called on the loop, when the session is not busy any more, and frees the
 * task. Then the session is advanced.
 */
struct session_task {
        struct job job;
        struct session *session;
        struct backend_session *stored;
        bool writes; /* it may wait for the disk: reads of other sessions are not to wait behind it */
        bool deletes;
        bool looks;   /* at much, and writes nothing: its thread is not to take the loop's processor */
        bool is_long; /* it has many rows, and takes no more */
        /*
         * NULL, or: works off a slice of the outcome while the session is still busy. True: nothing is left;
         * `finish` is called. Else it is called again in a later turn.
         */
        bool (*settle)(struct session_task *task);
        void (*finish)(struct session_task *task);
};

/*
 * Sends it to a worker, for session->job_uid. If the backend has a deadline, `overdue` is set that long after
 * `since_ms`: the arrival, by the loop's clock, of the oldest request that waits for the job.
 */
void session_start_task(struct session *session, struct session_task *task, job_fn run,
                        void (*finish)(struct session_task *task), uint64_t since_ms);

/* For logs and messages: "session NAME (backend)". A name that is more than a plain word is in quotes. */
enum { SESSION_TEXT_BYTES = 450 };
const char *session_describe(const struct session *session, char text[SESSION_TEXT_BYTES]);

#endif
