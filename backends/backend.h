#ifndef GRAMD_BACKENDS_BACKEND_H
#define GRAMD_BACKENDS_BACKEND_H

/*
 * What a storage backend is: a table of functions and options, `struct backend`, and a line in list.c. The
 * daemon knows nothing else of it.
 *
 * Functions may block. Worker threads call them, except `start` and `stop`, which the main thread calls
 * before and after all others, and `lease`, which the loop calls. One session is used by one thread at a
 * time; functions on different sessions, `open` and `list` run at the same time.
 *
 * A function returns 0, or a negative BACKEND_E_… and fills in the fault. One that fails has changed nothing,
 * unless its comment says otherwise. Records that are passed in, or to a callback, are borrowed for the call.
 */

#include "../proto/records.h"
#include "keyring.h"
#include "log_level.h"
#include "option.h"

enum backend_error {
        BACKEND_E_NOT_FOUND = -1,   /* no such stored session, and `create` is false */
        BACKEND_E_BUSY = -2,        /* another program holds the file: fault.file names it */
        BACKEND_E_STORAGE = -3,     /* disk full, I/O, permissions, no memory; nothing was written */
        BACKEND_E_CORRUPT = -4,     /* damaged, or of an unknown dialect or version; it was not changed */
        BACKEND_E_UNAVAILABLE = -5, /* cannot be reached now; the write may or may not have happened */
        BACKEND_E_FENCED = -6,      /* another host owns the session now */
        BACKEND_E_NAME = -7,        /* the backend cannot store a session of this name */
        BACKEND_E_TOO_LARGE = -8,
        BACKEND_E_OPTION = -9,    /* an option of `open` has a value that this backend does not know */
        BACKEND_E_UNSYNCED = -10, /* it has happened, but a power cut may undo it */
        BACKEND_E_DENIED = -11,   /* `may` of `open` says no */
};

enum { BACKEND_REMEMBERED = 16 };    /* batches; see `remembers` */
enum { BACKEND_STATES_MAX = 65536 }; /* update states of one session; more is BACKEND_E_TOO_LARGE */

/* BACKEND_E_BUSY: the daemon on another machine that owns the session. */
struct fault_holder {
        char host[256]; /* empty: the holder is on this machine */
        int64_t pid;
        int64_t uid;
        int64_t since; /* unix seconds, of its clock */
};

/* BACKEND_E_BUSY: what an `open` has to wait for; the backend's own. `owner` empty: it does not know. */
struct backend_wait {
        char owner[40];
        int64_t seen;
        int64_t in_ms; /* not before; 0: it does not know */
};

/* `text` is for people: what happened, to which session, what to do. It never holds key material. */
struct fault {
        char text[512];
        size_t why_at;  /* in `text`, behind the session's name: what happened */
        char file[512]; /* BACKEND_E_BUSY: the file that is held; else empty */
        struct fault_holder holder;
        struct backend_wait wait;
};

/*
 * Fill the fault and return `error`, so that it can be returned at once. Characters that are not shown as
 * they are (utf8.h) are escaped. The arguments may be texts of the fault itself.
 *
 * fault_session: the text begins with "session 'NAME': ". Other names that strangers have chosen need quotes,
 * and utf8_quote(), too.
 */
int fault_set(struct fault *fault, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
int fault_session(struct fault *fault, int error, const char *session, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
enum { FAULT_NAME_BYTES = 256 }; /* of a name in quotes; a longer one is cut */
/* Of a value of the key-value area: `why` follows "the value of its key 'KEY'". */
int fault_set_value(struct fault *fault, int error, const char *session, struct slice key, const char *why);
/* Of an `open`: there is no such dialect. */
int fault_set_dialect(struct fault *fault, struct slice dialect);
/*
 * The text as one word of a shell's command, for a hint that somebody may paste: names of sessions are chosen
 * by strangers. One that is too long is cut. Characters that are not shown as they are become $'\u202e',
 * which bash and zsh read.
 */
enum { SHELL_WORD_BYTES = 1024 };
const char *fault_shell_word(const char *text, char word[SHELL_WORD_BYTES]);

struct backend_env;     /* one running backend: the backend's own */
struct backend_session; /* one open session: the backend's own */

/* The same for all backends. */
struct backend_config {
        const char *data_dir; /* resolved, exists, held by this daemon's lock */
        int data_lock;        /* the lock's file */
        /* May be called from any thread. */
        void (*log)(void *arg, enum log_level level, const char *text);
        void *log_arg;
        void (*news)(void *arg); /* `may_open` may answer otherwise now */
        void *news_arg;
        /* Asks for `tidy` of all open sessions of the backends that have it. May be called from any thread.
         * NULL: nobody can be asked */
        void (*tidy)(void *arg);
        void *tidy_arg;
        struct keyring
                *keyring;    /* seals the auth keys of stored sessions; NULL, or without keys: it cannot */
        bool require_sealed; /* stored sessions that are not sealed are refused */
        int64_t kv_max;      /* bytes of the keys and values of a session's key-value area */
};

/* Of the text that names a session's owner: `user` or `user:group`. */
enum { OWNER_TEXT_BYTES = 256 };

struct open_options {
        struct slice name; /* already session_name_valid() */
        bool create;
        struct slice dialect; /* for a new session; absent: the backend's default */
        struct slice owner;   /* of a new session, for a backend that `owns`; absent: none */
        bool seal;            /* seal it if it is not */
        /*
         * NULL, or: asked with the owner of a stored session (empty: it has none), before anything is taken
         * or changed for it. False: it is not opened. Of a backend that `owns`.
         */
        bool (*may)(void *arg, const char *owner);
        void *may_arg;
};

/* What the daemon keeps in memory while a session is open. Initialised and freed by the caller. */
struct opened {
        struct identity identity;
        struct state *states; /* malloc'ed, ascending by id */
        size_t n_states;
        bool created;
        const char *dialect; /* static; the group's name, as `open` reports it */
        int version;
        char owner[OWNER_TEXT_BYTES]; /* as it is stored; empty: none */
        int64_t fence;
        int64_t lent_ms; /* clients of this daemon's former start may rely on leases for so long; 0: there are
                            none */
        uint8_t *remembered; /* the bytes of CHANGE_REMEMBERED, one after the other, the oldest first;
                                malloc'ed */
        size_t n_remembered;
        bool keeps_address; /* the dialect has columns for address and port: they follow the data centre */
};

void opened_init(struct opened *opened);
/* Wipes and frees what it has. */
void opened_deinit(struct opened *opened);

struct lookup {
        enum lookup_kind { LOOKUP_ID, LOOKUP_USERNAME, LOOKUP_PHONE } kind;
        int64_t id;
        struct slice text;
};

/*
 * A peer that answers lookup number `lookup`. A lookup has any number of matches, in any order. A row of the
 * usernames table whose peer is not stored is reported too, with `peer.type` absent. It answers nothing now,
 * but will when that peer is stored: so the outcome of this lookup must not be cached.
 */
struct match {
        size_t lookup;
        struct peer peer;
        bool from_table; /* LOOKUP_USERNAME: found through the usernames table, not by its own username */
        bool has_row_time;
        int64_t row_time; /* of the row in the usernames table */
        bool is_former;   /* the peer's row has the fence of a former owner: a repetition of it must be stored
                           */
};

typedef bool (*match_fn)(void *arg, const struct match *match); /* false: no memory, stop */
typedef bool (*peer_fn)(void *arg, const struct peer *peer);
typedef bool (*username_fn)(void *arg, struct slice username, int64_t peer_id, const int64_t *last_update_on);

struct stored_session {
        struct slice name;
        int64_t bytes;
        int64_t modified;             /* unix seconds */
        bool owner_known;             /* else the backend's `owner` tells it */
        char owner[OWNER_TEXT_BYTES]; /* if it is known; empty: none */
};
typedef bool (*stored_fn)(void *arg, const struct stored_session *stored);

/* ---- the key-value area ---- */

enum { KV_CALLER_BYTES = 20 }; /* the uid, 4 bytes little-endian, and the id of a caller */

/* One key to be written. */
struct kv_row {
        struct slice key;   /* 1 to KV_KEY_MAX_BYTES of UTF-8 */
        struct slice value; /* absent: the key is deleted. Else 0 to KV_VALUE_MAX_BYTES */
        int64_t ttl_s;      /* it expires so long after the change's `now_ms`; 0: never */
};

/* The row is written if the key's value is `expected` (absent: if there is none). */
struct kv_swap {
        struct kv_row row;
        struct slice expected;
        /* A backend that does not `remember` knows a repetition by these. A caller without an id has none. */
        bool has_caller;
        uint8_t caller[KV_CALLER_BYTES];
        uint32_t msgid;
};

/* A stored value. It has expired if `expires_ms` <= now: the caller compares. */
struct kv_value {
        size_t number; /* kv_get: of its key */
        struct slice key, value;
        int64_t expires_ms; /* unix time; INT64_MAX: never */
};
typedef bool (*kv_fn)(void *arg, const struct kv_value *value); /* false: enough; that is no error */

struct counts {
        int64_t peers;
        int64_t usernames; /* rows of the usernames table */
        int64_t bytes;
        /*
         * The id of the key that its auth key is sealed with, or will be; of a former one that a value of its
         * key-value area is sealed with, if there is one. Empty: it is not sealed.
         */
        char sealed[KEY_ID_TEXT_BYTES];
};

enum sealing {
        SEALING_ON,   /* nothing is to do where it is sealed already */
        SEALING_OFF,  /* the same where it is not */
        SEALING_ANEW, /* with the current key, if it is sealed */
};

/* One change; a batch of them is one transaction, in order. */
struct change {
        enum change_kind {
                CHANGE_IDENTITY,    /* the fields in `fields` take their values from `identity` */
                CHANGE_PEERS,       /* upsert by id */
                CHANGE_NAMES,       /* replaces all rows of each named peer in the usernames table */
                CHANGE_STATES,      /* upsert by id; all parts are replaced */
                CHANGE_STATES_GONE, /* deletes; a state that is not stored is no error */
                CHANGE_PEER_TIMES,  /* raises last_update_on of stored rows, never lowers it */
                CHANGE_NAME_TIMES,  /* the same for all rows of the peer in the usernames table */
                CHANGE_REMEMBERED,  /* stores these bytes of the daemon with the batch; one in a batch */
                CHANGE_SEALING,     /* seals, unseals or seals again what `identity` has for it */
                CHANGE_OWNER, /* of a backend that `owns`: `owner` is the session's; absent: it has none */
                /*
                 * Of a backend with `kv_get`. A value that has expired by `now_ms` counts as none. A change
                 * that would leave more than `kv_max` bytes of keys and values is refused with
                 * BACKEND_E_TOO_LARGE; what has expired does not count for that.
                 */
                CHANGE_KV,         /* writes rows, ascending by key, each key once */
                CHANGE_KV_SWAP,    /* compares, then writes; EFFECT_KV_SWAP tells the outcome */
                CHANGE_KV_EXPIRED, /* deletes all values that have expired by `now_ms` */
        } kind;
        union {
                struct {
                        unsigned fields;
                        const struct identity *identity;
                        enum sealing sealing;
                };
                const struct peer *peers;
                const struct peer_names *names;
                const struct state *states;
                const int64_t *ids;
                const struct row_time {
                        int64_t id;
                        int64_t last_update_on;
                } * times;
                struct slice remembered;
                struct slice owner;
                struct {
                        union {
                                const struct kv_row *kv;
                                const struct kv_swap *swap;
                        };
                        int64_t now_ms; /* unix time */
                };
        };
        size_t n;
};

/*
 * What a change did that the change itself does not say. For CHANGE_PEERS and CHANGE_NAMES the backend
 * reports every username and phone number that a peer lost or gained; a row that repeats what is stored loses
 * and gains nothing. Where a name can have one owner only, it also reports every *other* peer whose rows in
 * the usernames table changed.
 */
struct effect {
        size_t change; /* index in the batch */
        enum effect_kind {
                EFFECT_USERNAME,
                EFFECT_PHONE,
                EFFECT_OWNER,
                EFFECT_KV_SWAP,    /* one for each CHANGE_KV_SWAP that is not refused */
                EFFECT_KV_REFUSED, /* this change did nothing; the others of the batch count */
        } kind;
        /*
         * The name or number. EFFECT_KV_SWAP, not done: the value that stands; absent: none.
         * EFFECT_KV_REFUSED: why, for people.
         */
        struct slice text;
        int64_t peer_id; /* EFFECT_OWNER */
        bool done;       /* EFFECT_KV_SWAP: the row was written */
        int error;       /* EFFECT_KV_REFUSED: BACKEND_E_… */
};
typedef bool (*effect_fn)(void *arg, const struct effect *effect); /* false: no memory; the batch fails */

enum durability {
        DURABLE_SYSTEM, /* handed to the operating system: survives the death of this process */
        DURABLE_DISK,   /* on stable storage: survives power loss */
};

struct backend {
        const char *name; /* as in `open`'s option `backend` */
        bool ephemeral;   /* nothing is stored: a session ends with its last handle, after its linger */
        /*
         * It stores the bytes of CHANGE_REMEMBERED of the last BACKEND_REMEMBERED batches, and returns them
         * when the session is opened after the death of the daemon. False: it gets no such change.
         */
        bool remembers;
        bool owns;                    /* it stores the owners of sessions */
        unsigned n_descriptors;       /* that an open session takes */
        const struct option *options; /* ends with a row whose name is NULL. NULL: it has none */

        /*
         * For a backend that waits for a server or a disk. At most so many run at a time of: all jobs; calls
         * of `open`; jobs that write, if they are to be apart from those that only read. As many threads are
         * added for them: so other backends do not wait, requests on open sessions do not wait for opens, and
         * reads do not wait for the syncs of writes. 0: no limit, no threads of their own. `deadline_ms`: a
         * request is answered this long after it arrived, even if its job has not ended; an `open` that waits
         * for others has that time from its turn on. 0: no limit.
         */
        unsigned max_jobs;
        unsigned max_opens;
        unsigned max_writes;
        unsigned deadline_ms;

        /*
         * `values[i]` is the value of `options[i]`. `config` and `values` do not change, and live as long as
         * the environment. A failure ends the daemon's start with the fault. Success without an environment:
         * this daemon is not set up for the backend.
         */
        int (*start)(const struct backend_config *config, const union option_value *values,
                     struct backend_env **env, struct fault *fault);
        void (*stop)(struct backend_env *env);

        /*
         * On success `*session` is the caller's to close or remove. BACKEND_E_UNAVAILABLE: a new session may
         * have been stored.
         */
        int (*open)(struct backend_env *env, const struct open_options *options,
                    struct backend_session **session, struct opened *opened, struct fault *fault);

        /*
         * After `open` has failed with BACKEND_E_BUSY, with the fault's `wait`: may it succeed now? Called
         * from the loop: must not block. It is called after each config.news(), and at least once a second
         * while an `open` waits. NULL: `open` is tried again every moment.
         */
        bool (*may_open)(struct backend_env *env, struct slice name, const struct backend_wait *wait);

        /*
         * Milliseconds for which this host still owns the session. 0: the term is over, but may be renewed.
         * Negative: only `confirm` can tell. Called from the loop: must not block. NULL: no other host can
         * own sessions of this backend.
         */
        int64_t (*lease)(const struct backend_session *session);

        /*
         * Called after a write with an unknown outcome, or when the lease is lost. If this host still owns
         * the session, the session gets a new fence and `opened` is loaded again; else BACKEND_E_FENCED.
         * NULL: a write that fails has changed nothing.
         */
        int (*confirm)(struct backend_session *session, struct opened *opened, struct fault *fault);

        /* Takes the session, also on failure: the next start of the daemon then cleans up. */
        int (*close)(struct backend_session *session, struct fault *fault);

        /*
         * Takes the session without giving up ownership: this daemon ends, and its next start goes on with
         * it. NULL: `close` does.
         */
        void (*leave)(struct backend_session *session);

        /*
         * Sessions that were closed, but that other hosts cannot have yet: their release is repeated. Called
         * from the loop: must not block. NULL: there are none.
         */
        size_t (*unreleased)(const struct backend_env *env);

        /*
         * Removes what is stored and takes the session. BACKEND_E_UNSYNCED: that has happened, but a power
         * cut may undo it. After another failure the session stays open and the caller's.
         */
        int (*remove)(struct backend_session *session, bool remove_peers, struct fault *fault);

        int (*find)(struct backend_session *session, const struct lookup *lookups, size_t n, match_fn found,
                    void *arg, struct fault *fault);

        /* At most `limit` peers with an id above `*after` (NULL: from the start), ascending by id. */
        int (*scan_peers)(struct backend_session *session, const int64_t *after, size_t limit, peer_fn found,
                          void *arg, struct fault *fault);

        /* At most `limit` rows after the pair (`after.data` NULL: all), ascending by name and id. */
        int (*scan_usernames)(struct backend_session *session, struct slice after, int64_t after_id,
                              size_t limit, username_fn found, void *arg, struct fault *fault);

        int (*count)(struct backend_session *session, struct counts *counts, struct fault *fault);

        /*
         * The key-value area. NULL, all three: the backend has none, and gets no CHANGE_KV….
         *
         * kv_get: the stored values of these keys, in any order. kv_scan: those whose key begins with
         * `prefix`, and comes after `after` (absent: from the start), ascending by bytes. Both also report
         * what has expired. A value that is damaged, or cannot be opened, ends them: after a kv_scan that has
         * failed, what was reported counts. kv_due: when the first value expires; INT64_MAX: none does.
         */
        int (*kv_get)(struct backend_session *session, const struct slice *keys, size_t n, kv_fn found,
                      void *arg, struct fault *fault);
        int (*kv_scan)(struct backend_session *session, struct slice prefix, struct slice after, kv_fn found,
                       void *arg, struct fault *fault);
        int (*kv_due)(struct backend_session *session, int64_t *due_ms, struct fault *fault);

        /*
         * The whole batch, in one transaction where the backend has them. BACKEND_E_UNSYNCED, with
         * DURABLE_DISK: it is committed; sync() tries the rest again. BACKEND_E_UNAVAILABLE, of a backend
         * without `confirm`: it was not stored, because what was stored before could not be synced.
         */
        int (*apply)(struct backend_session *session, const struct change *changes, size_t n,
                     enum durability durability, effect_fn effect, void *arg, struct fault *fault);

        /*
         * Brings what has been applied so far to stable storage. BACKEND_E_UNSYNCED: it could not. The next
         * call tries it again, and writes what the failed one may have lost.
         */
        int (*sync)(struct backend_session *session, struct fault *fault);

        /*
         * Gives back what the session holds of a resource that all of them share. Called some time after
         * config.tidy(), of each open session. A failure is told by the backend itself. NULL: it has nothing
         * to give back.
         */
        int (*tidy)(struct backend_session *session, struct fault *fault);

        /*
         * Reports stored sessions after `after` (absent: from the start), ascending by name in bytes, until
         * `found` returns false. Open sessions are among them; those that live only while they are open may
         * be left out.
         */
        int (*list)(struct backend_env *env, struct slice after, stored_fn found, void *arg,
                    struct fault *fault);

        /*
         * The owner of a stored session, for a backend whose `list` does not tell it, because it takes
         * longer. `text` is empty if it has none. Takes no lock and changes nothing; of a session that is
         * open, it may be a former one. NULL: `list` tells it.
         */
        int (*owner)(struct backend_env *env, struct slice name, char text[OWNER_TEXT_BYTES],
                     struct fault *fault);
};

/* NULL-terminated: list.c. */
extern const struct backend *const backends[];

#endif
