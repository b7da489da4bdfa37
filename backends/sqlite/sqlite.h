#ifndef GRAMD_BACKENDS_SQLITE_SQLITE_H
#define GRAMD_BACKENDS_SQLITE_SQLITE_H

/*
 * What the files of the SQLite backends share. One thread at a time uses a session. All threads use the
 * environment: what changes in it is atomic, and `room` is a lock.
 *
 *     sqlite.c     the two backends: environment, open, close, remove
 *     file.c       files: creating, checking, recovering, listing
 *     companions.c planted files are kept from SQLite, and a journal is tried on a copy
 *     connect.c    connections: locking a file, WAL mode, and the file's own journal mode again
 *     reserve.c    what is done when the disk is full
 *     log.c        the write-ahead log: few large writes; syncs and writes that fail
 *     checkpoint.c when the logs go back to the files, and how long all of them get
 *     schema.c     creating a library's schema, checking a file, recognising its dialect
 *     extras.c     gramd's own tables and indexes in a file, and their rows when a library migrates the file
 *     template.c   SQL that differs between dialects
 *     statement.c  statements, transactions, errors, small helpers
 *     fields.c     the identity fields
 *     sealed.c     sealed auth keys
 *     read.c       lookups, scans, counts, states
 *     apply.c      batches
 *     names.c      the part of a batch that replaces usernames
 *     kv.c         reading the key-value area
 *     kv_write.c   the part of a batch that changes it; its sealing
 *     remembered.c what the daemon remembers of batches
 *     budget.c     bounds on page caches and memory sessions
 *     idle.c       what a session gives back when it is not written to
 */

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "../../proto/buffer.h"
#include "../backend.h"
#include "../dialect.h"
#include "../seal.h"

/* A round over the sessions of a killed daemon, at start. */
struct recovery {
        size_t n_done;
        size_t n_without_room; /* that could not be recovered, because the disk is full */
        bool is_last;
};

struct backend_env {
        const struct backend_config *config;
        struct keyring *keyring; /* the config's; in memory: its own, random */
        bool memory;
        int dir;                   /* the data directory; -1 in memory */
        atomic_size_t sessions;    /* open now */
        atomic_int_fast64_t spare; /* bytes of the budget that no session has been granted */
        int64_t budget;            /* bytes: page caches of files, or all that memory sessions hold */
        int64_t log_max;
        atomic_int_fast64_t log_bytes; /* of the -wal files of all open sessions */

        /* reserve.c; times are of sqlite_now_ms() */
        pthread_rwlock_t room;          /* shared: takes room on the disk; alone: has that of the reserve */
        atomic_size_t n_waiting;        /* sessions that wait for others to make room */
        atomic_int_fast64_t reserved;   /* bytes of the reserve; 0: it is not there */
        atomic_size_t n_freed;          /* how often a log was cut */
        atomic_int_fast64_t log_budget; /* at most log_max */
        atomic_int_fast64_t budget_looked;
        atomic_size_t n_full;               /* how often the disk was found full */
        atomic_bool full;                   /* the disk is, and the operator has been told */
        atomic_uint full_round;             /* all sessions are to give back what they can, once a round */
        atomic_int_fast64_t full_found;     /* when it was found full for the last time */
        atomic_size_t full_freed;           /* n_freed at that time */
        atomic_int_fast64_t full_asked;     /* when the last round began */
        atomic_int_fast64_t reserve_looked; /* when it was last tried to make the reserve */

        struct recovery recovery;
        atomic_uint_fast64_t fresh; /* the number of the next temporary file for a new session */

        /* file.c. The two differ: what was removed from the directory may come back in a power cut. */
        atomic_size_t dir_failures; /* how often a sync of it has failed */
        atomic_size_t dir_made_up;  /* as many had failed when a sync began that has succeeded */
};

enum peer_part { PART_HASH, PART_TYPE, PART_USERNAME, PART_PHONE, PEER_PARTS };

/* What a column of the file cannot hold. */
struct column_limits {
        bool not_null;
        bool numeric; /* its affinity converts text that looks like a number */
};

enum statement {
        STATEMENT_BEGIN,
        STATEMENT_COMMIT,
        STATEMENT_ROLLBACK,
        STATEMENT_PEER_BY_ID,
        STATEMENT_PEER_BY_USERNAME,
        STATEMENT_PEER_BY_NAME_ROW,
        STATEMENT_ORPHAN_NAME,
        STATEMENT_PEER_BY_PHONE,
        STATEMENT_PEER_SCAN,
        STATEMENT_PEER_INSERT,
        STATEMENT_PEER_UPDATE,
        STATEMENT_PEER_TIME,
        STATEMENT_ZERO_PUT,
        STATEMENT_ZERO_TIME,
        STATEMENT_PEER_KEEP,
        STATEMENT_PEER_UNKEEP,
        STATEMENT_NAME_SCAN,
        STATEMENT_NAMES_OF,
        STATEMENT_NAME_OWNER,
        STATEMENT_NAME_INSERT,
        STATEMENT_NAME_TAKE,
        STATEMENT_NAME_DELETE,
        STATEMENT_NAMES_DELETE,
        STATEMENT_NAMES_TIME,
        STATEMENT_STATE_INSERT,
        STATEMENT_STATE_UPDATE,
        STATEMENT_STATE_DELETE,
        STATEMENT_NILS_PUT,
        STATEMENT_NILS_DELETE,
        STATEMENT_REMEMBER,
        STATEMENT_KV_GET,
        STATEMENT_KV_SCAN,
        STATEMENT_KV_BYTES,
        STATEMENT_KV_PUT,
        STATEMENT_KV_DELETE,
        STATEMENT_KV_DUE,
        STATEMENT_COUNT,
};

enum { KEPT_STATEMENTS = 8 }; /* a `save` takes three */

/*
 *     NEW ──► CONNECTED ──► TAKEN ──► UNLINKED
 *      │          │           │          │
 *      └──────────┴───────────┴──────────┴──► CLOSED
 *
 * Only sqlite_enter_phase() moves a session between them.
 */
enum sqlite_phase {
        PHASE_NEW,
        PHASE_CONNECTED, /* read only: the file may turn out to be no session */
        PHASE_TAKEN,     /* the file is good, locked and in WAL mode: may be written to */
        PHASE_UNLINKED,  /* its file is gone: nothing has to be put back */
        PHASE_CLOSED,
};

struct backend_session {
        struct backend_env *env;
        enum sqlite_phase phase;
        sqlite3 *db;
        char name[NAME_MAX_BYTES + 1];
        char *path;                         /* NULL in memory */
        struct slice new_owner;             /* while it is created: its owner */
        const struct open_options *options; /* while it is opened */

        const struct dialect *dialect;
        int version;
        struct peers_layout peers; /* the dialect's, without the columns that this file lacks */
        struct column_limits limits[PEER_PARTS];
        struct names_layout names;
        const char *states;        /* table */
        unsigned columns;          /* FIELD_BITs of the columns that `sessions` has */
        unsigned not_null;         /* of these, the columns that are NOT NULL */
        unsigned extras;           /* 1 << enum extra for each table that exists */
        unsigned committed_extras; /* `extras` when the transaction began */
        size_t n_states;
        int64_t n_remembered;     /* number of the newest row of gramd_remembered */
        int64_t found_remembered; /* the same, when the file was opened */

        bool kv_is_counted;
        int64_t kv_bytes; /* of the keys and values of the key-value area, if they have been counted */
        uint8_t values_by[KEY_ID_BYTES]; /* of a sealed session: of the key that seals all of them; 0: not
                                            known */

        struct seal seal, committed_seal; /* the latter: when the transaction began */

        bool purge;           /* former values have to leave the file and its log after this transaction */
        bool has_key;         /* its file has had an auth key in the clear since it was opened */
        bool had_wal;         /* there was a -wal file before the file was opened */
        bool rollback;        /* the file came with a rollback journal, and gets it back */
        bool marked;          /* the file's header says so: SQLITE_MARK */
        bool unsynced;        /* something has been committed since the last sync */
        bool disk_full;       /* SQLite reported it; also for a memory session at its limit */
        bool joined;          /* counted among the open sessions */
        int64_t granted;      /* bytes of the environment's budget */
        unsigned char *index; /* SQLite's, of the log; NULL: not known */

        struct session_log {
                int64_t frame_bytes; /* of a page in the log */
                int64_t bytes;       /* of the -wal, as it is counted in the environment */
                int64_t pages;       /* in the log, and not in the file yet */
                int64_t limit;       /* with more pages it is written back */
                int64_t retry_ms; /* after a failed checkpoint: the time to the next; 0: it has not failed */
                int64_t retry_at; /* of the monotonic clock, in ms */
                size_t freed;     /* n_freed of the environment, when it last looked for room */
                size_t retry_freed;  /* the same, when the checkpoint failed */
                bool shows_key;      /* a former auth key: it is overwritten and truncated */
                bool told;           /* the operator, that it failed */
                bool in_vain;        /* it failed although it had the room of the reserve */
                unsigned full_round; /* of the environment, that it has taken part in */
        } log;

        sqlite3_stmt *statements[STATEMENT_COUNT];
        struct kept_statement {
                char *sql;
                sqlite3_stmt *statement;
        } kept[KEPT_STATEMENTS];
        unsigned next_kept;
};

/* ---- sqlite.c ---- */

/* After sqlite_connect(): reads what decides whether it is served. `seal`: see sqlite_check_sealed(). */
int sqlite_examine(struct backend_session *session, bool seal, struct identity *identity,
                   struct fault *fault);

/* ---- template.c ---- */

/* The statement's SQL for this session's file; sqlite3_free() frees it. NULL: no memory. */
char *sqlite_template(const struct backend_session *session, enum statement which);

/* ---- heap.c ---- */

/* Before SQLite is used. */
void sqlite_heap_register(void);

/* ---- statement.c ---- */

/* Fills in the fault from SQLite's last error on this session; returns the BACKEND_E_…. */
int sqlite_fault(struct backend_session *session, int rc, const char *doing, struct fault *fault);
int sqlite_fault_memory(const struct backend_session *session, struct fault *fault);

/* The session's path, for a fault in which it stands between '. */
enum { SQLITE_SHOWN_BYTES = 512 };
const char *sqlite_shown_path(const struct backend_session *session, char text[SQLITE_SHOWN_BYTES]);

/* A cached statement, reset and without bindings. Every use ends with sqlite_done(). */
int sqlite_statement(struct backend_session *session, enum statement which, sqlite3_stmt **statement,
                     struct fault *fault);
int sqlite_done(struct backend_session *session, sqlite3_stmt *statement, int rc, struct fault *fault);
/* Runs a statement that returns no rows; calls sqlite_done(). */
int sqlite_run(struct backend_session *session, sqlite3_stmt *statement, struct fault *fault);
void sqlite_forget_statements(struct backend_session *session);

/* Comes first in every call: rolls back what the last call had no memory to roll back. */
int sqlite_enter(struct backend_session *session, struct fault *fault);
/* Between the two the session shares the room on the disk. After an error there is no sqlite_end(). */
int sqlite_begin(struct backend_session *session, struct fault *fault);
/* Commits if `error` is 0; else rolls back and returns `error`. */
int sqlite_end(struct backend_session *session, int error, struct fault *fault);

/* Runs SQL once: one or more statements, formatted as by printf, with SQLite's %w and %Q. */
int sqlite_exec(struct backend_session *session, struct fault *fault, const char *format, ...);
/* Prepares SQL for one use; the caller calls sqlite3_finalize(). */
int sqlite_prepare(struct backend_session *session, sqlite3_stmt **statement, struct fault *fault,
                   const char *format, ...);
/* Prepares SQL that is used repeatedly; the cache's key is its text. Every use ends with sqlite_done(). */
int sqlite_keep(struct backend_session *session, sqlite3_stmt **statement, struct fault *fault,
                const char *format, ...);
/* The first column of the first row. Without a row `*value` does not change. */
int sqlite_number(struct backend_session *session, int64_t *value, struct fault *fault, const char *format,
                  ...);

void sqlite_bind_slice(sqlite3_stmt *statement, int at, struct slice text);

/* Text of at most `max` bytes of UTF-8, or an integer in decimal. Any other value reads as absent. */
struct slice sqlite_text(sqlite3_stmt *statement, int at, size_t max);
/* An integer, or a real number cut to one. False: neither. */
bool sqlite_integer(sqlite3_stmt *statement, int at, int64_t *value);

static inline void sqlite_finalize(sqlite3_stmt **statement)
{
        sqlite3_finalize(*statement);
}
#define SQLITE_STATEMENT __attribute__((cleanup(sqlite_finalize))) sqlite3_stmt *

/* ---- connect.c ---- */

enum { SQLITE_MARK = 0x67726d64 }; /* "grmd": application_id of a file whose journal mode gramd has changed */

void sqlite_enter_phase(struct backend_session *session, enum sqlite_phase phase);
/* Opens the connection without touching the file. */
int sqlite_connect(struct backend_session *session, struct fault *fault);
/*
 * The same, to read only the file itself, as it is now: without locks, and without what is beside it. Other
 * connections, of this process too, do not notice.
 */
int sqlite_connect_immutable(struct backend_session *session, struct fault *fault);
/* After the file has been checked: takes the exclusive lock, switches to WAL mode. */
int sqlite_take(struct backend_session *session, struct fault *fault);
/* Closes the connection. A file that was taken gets its own journal mode back, and has no -wal. */
int sqlite_release(struct backend_session *session, struct fault *fault);
/* Brings what has been committed to the disk, or returns BACKEND_E_UNSYNCED. */
int sqlite_sync(struct backend_session *session, struct fault *fault);

/* ---- log.c ---- */

/* The name of the VFS that opens files. It is registered at the start. */
#define SQLITE_LOG_VFS "gramd"
void sqlite_log_register(void);
/* For the connection's log, when it is open: the directory of its file. */
void sqlite_log_attach(sqlite3 *db, int dir);
/* SQLite has committed a transaction, or has rolled one back: what the log has of that is cut off. */
void sqlite_log_committed(sqlite3 *db);
void sqlite_log_rolled_back(sqlite3 *db);
/* Its next truncation to nothing overwrites it first. */
void sqlite_log_wipe(sqlite3 *db);
/* Overwrites the connection's file and log, which are unlinked. What fails is not reported. */
void sqlite_overwrite(sqlite3 *db);
/* Its last sync failed: nothing is stored before a sync succeeds. */
bool sqlite_log_failed(sqlite3 *db);
/* Whether a read of the session's file or of its log has failed since it was opened. */
bool sqlite_read_failed(sqlite3 *db);

/* ---- checkpoint.c ---- */

/* Of a file that has just been taken, and of one whose connection has been closed. */
int sqlite_checkpoint_start(struct backend_session *session, struct fault *fault);
void sqlite_checkpoint_stop(struct backend_session *session);
/* After a batch: writes the log back to the file if it is long enough. */
void sqlite_checkpoint_if_due(struct backend_session *session);
/* By how many bytes the file grows when its log is written back to it. */
int64_t sqlite_growth(struct backend_session *session);
/* Writes the log back to the file, and truncates it. */
int sqlite_write_back(struct backend_session *session, struct fault *fault);
/* The same, while other sessions may take room on the disk, too. */
int sqlite_write_back_sharing(struct backend_session *session, struct fault *fault);
/* After a checkpoint that failed, until some time has gone by or another session has made room. */
bool sqlite_is_backing_off(const struct backend_session *session);
/* As sqlite_write_back(), if there is a log and it is worth a try. False: that has made no room. */
bool sqlite_write_back_again(struct backend_session *session);
/* The backend's `tidy`. */
int sqlite_tidy(struct backend_session *session, struct fault *fault);

/* ---- reserve.c ---- */

/* Before sessions are recovered: removes the reserve of a daemon that was killed. */
void sqlite_reserve_start(struct backend_env *env);
void sqlite_reserve_stop(struct backend_env *env);
/* After a call: makes the reserve if it is missing and there is room. On a worker. */
void sqlite_reserve_keep(struct backend_env *env);

/* Around what takes room on the disk. Nothing between them may call the functions below. */
void sqlite_room_share(struct backend_env *env);
void sqlite_room_done(struct backend_env *env);
/* Before a call that needs room: gives back what the session can, if the disk has been found full. */
void sqlite_expect_room(struct backend_session *session);
/* After a call that has failed. True: the disk was full, and may have room now. */
bool sqlite_make_room(struct backend_session *session);
/* The same; waits a moment for the other sessions' logs. */
bool sqlite_await_room(struct backend_session *session);

/* Of the monotonic clock. */
int64_t sqlite_now_ms(void);
/* True, for one thread, if so long has gone by since it was last true. */
bool sqlite_is_time(atomic_int_fast64_t *last, int64_t ms);
static inline bool sqlite_means_full(int system)
{
        return system == ENOSPC || system == EDQUOT;
}
/* A call has found the disk full: tells the operator, asks for all sessions to be tidied. */
void sqlite_disk_full(struct backend_env *env);

/* ---- file.c ---- */

enum { SQLITE_FILE_NAME_BYTES = NAME_MAX_BYTES + 32 };

/* A name in the data directory that nothing has. The start removes what has such a name, and -journal or
 * -wal. */
void sqlite_unfinished_name(struct backend_env *env, char name[SQLITE_FILE_NAME_BYTES]);
/* Finds the session's file. Creates it if it is missing and `library` is not NULL. */
int sqlite_file_prepare(struct backend_session *session, const struct library *library, bool *created,
                        struct fault *fault);
/* Unlinks the file. The connection can use it until it closes. */
int sqlite_file_remove(struct backend_session *session, struct fault *fault);
/*
 * Before the connection closes: syncs the directory, then overwrites the unlinked file and its log. If the
 * sync fails a power cut may bring them back, so they stay as they are. Returns 0 or the sync's errno.
 */
int sqlite_file_overwrite(struct backend_session *session);
/*
 * After the connection has closed, and the directory was synced (`unsynced`: 0, or why that failed): unlinks
 * -wal and journal of a file that was unlinked, and syncs again. So a power cut leaves the whole session or
 * nothing. BACKEND_E_UNSYNCED: one of these has failed, all have been tried.
 */
int sqlite_file_remove_beside(struct backend_session *session, int unsynced, struct fault *fault);
/*
 * Removes a new file for which there is no connection, because of `error`, which the fault describes. Returns
 * `error`, or BACKEND_E_UNAVAILABLE if the file may still be there, or may be there again after a power cut.
 */
int sqlite_file_unmake(struct backend_session *session, int error, struct fault *fault);
/* Bytes of the file and its -wal; -1: it is no regular file. `modified` may be NULL. */
int64_t sqlite_file_bytes(const struct backend_env *env, const char *session, int64_t *modified);
/*
 * At start, when no file is open: removes unfinished files; calls `recover` for every session with a -wal, a
 * journal or gramd's mark.
 */
int sqlite_file_recover(struct backend_env *env, void (*recover)(struct backend_env *env, struct slice name),
                        struct fault *fault);
int sqlite_file_list(struct backend_env *env, struct slice after, stored_fn found, void *arg,
                     struct fault *fault);
/* The backend's `owner`. */
int sqlite_file_owner(struct backend_env *env, struct slice name, char text[OWNER_TEXT_BYTES],
                      struct fault *fault);

/* ---- companions.c ---- */

/*
 * Before SQLite sees the session's files, and before a new one is made: each that is there is a regular file
 * with one name, and of the daemon's uid. Tells whether there is a -wal. Changes nothing.
 */
int sqlite_companions_check(struct backend_session *session, struct fault *fault);
/*
 * After that check. If the file has a journal that SQLite would play back: refuses one that names another
 * file, and tries the others on a copy. So a file that is no session afterwards is refused with every byte as
 * it was. `seal`: see sqlite_check_sealed(). BACKEND_E_BUSY: another program is using the file.
 */
int sqlite_companions_try(struct backend_session *session, bool seal, struct fault *fault);

/* ---- schema.c ---- */

/* Creates a library's tables and their first rows. */
int sqlite_create(struct backend_session *session, const struct library *library, struct fault *fault);
/* Checks the file, finds its dialect, fills in the layout. Only reads. */
int sqlite_recognise(struct backend_session *session, struct fault *fault);

/* ---- extras.c ---- */

/* Finds which gramd_ tables exist. Only reads. */
int sqlite_find_extras(struct backend_session *session, struct fault *fault);
/* Adds missing indexes. Moves rows of gramd_ tables to columns that the library has added since. */
int sqlite_migrate_extras(struct backend_session *session, const struct identity *identity,
                          struct fault *fault);
/* Creates a gramd_ table if it is missing. Inside a transaction. */
int sqlite_need_extra(struct backend_session *session, enum extra extra, struct fault *fault);
/* Drops gramd_ tables that are empty. */
int sqlite_drop_empty_extras(struct backend_session *session, struct fault *fault);

static inline bool sqlite_has_extra(const struct backend_session *session, enum extra extra)
{
        return session->extras & (1u << extra);
}

/* ---- fields.c ---- */

/* The row `owner` of gramd_fields: `text` is empty if there is none. */
int sqlite_load_owner(struct backend_session *session, char text[OWNER_TEXT_BYTES], struct fault *fault);
int sqlite_store_owner(struct backend_session *session, struct slice owner, struct fault *fault);
/* Stores `new_owner` in a new file. Inside a transaction. */
int sqlite_put_owner(struct backend_session *session, struct fault *fault);

int sqlite_load_fields(struct backend_session *session, struct identity *identity, struct fault *fault);
/* Inside a transaction. */
int sqlite_store_fields(struct backend_session *session, unsigned fields, const struct identity *identity,
                        struct fault *fault);
/* Moves fields from gramd_fields to columns that exist now. `identity` has the loaded values. */
int sqlite_migrate_fields(struct backend_session *session, const struct identity *identity,
                          struct fault *fault);

/* ---- sealed.c ---- */

/* After the other fields: opens the sealed key, unless the library's column has one. Only reads. */
int sqlite_load_sealed(struct backend_session *session, struct identity *identity, struct fault *fault);
/* Of a sealed session, inside a transaction: stores the auth key; the caller empties the column. */
int sqlite_store_sealed(struct backend_session *session, const struct identity *identity,
                        struct fault *fault);
/* Inside a transaction; sqlite_purge() follows it. */
int sqlite_change_sealing(struct backend_session *session, enum sealing sealing,
                          const struct identity *identity, struct fault *fault);
/* Removes what was stored in the clear from the file and its log. A failure is logged, and undoes nothing. */
int sqlite_purge(struct backend_session *session, struct fault *fault);
/* Makes a new file's session a sealed one, if there is a key. Inside a transaction. */
int sqlite_seal_new(struct backend_session *session, struct fault *fault);
/* Before the file is taken: may it be opened at all? `wanted`: it is to be sealed. */
int sqlite_check_sealed(struct backend_session *session, bool wanted, struct fault *fault);
/* After it was taken: seals what is due. */
int sqlite_seal_at_open(struct backend_session *session, bool wanted, const struct identity *identity,
                        struct fault *fault);
/* As `counts` has it. */
int sqlite_describe_seal(struct backend_session *session, char text[KEY_ID_TEXT_BYTES], struct fault *fault);

/* ---- read.c ---- */

/* Reads the current row, from its first column on. False: a row that cannot be served. */
bool sqlite_read_peer(const struct backend_session *session, sqlite3_stmt *statement, struct peer *peer);
int sqlite_load_states(struct backend_session *session, struct state **states, size_t *n,
                       struct fault *fault);
int sqlite_find(struct backend_session *session, const struct lookup *lookups, size_t n, match_fn found,
                void *arg, struct fault *fault);
int sqlite_scan_peers(struct backend_session *session, const int64_t *after, size_t limit, peer_fn found,
                      void *arg, struct fault *fault);
int sqlite_scan_usernames(struct backend_session *session, struct slice after, int64_t after_id, size_t limit,
                          username_fn found, void *arg, struct fault *fault);
int sqlite_count(struct backend_session *session, struct counts *counts, struct fault *fault);

/* The type of a peer, for dialects that store none. */
struct slice sqlite_default_type(int64_t id);

/* ---- apply.c ---- */

int sqlite_apply(struct backend_session *session, const struct change *changes, size_t n,
                 enum durability durability, effect_fn effect, void *arg, struct fault *fault);

/* ---- names.c ---- */

struct effects {
        size_t change;
        effect_fn tell;
        void *arg;
};

/* False: no memory. */
bool sqlite_effect(const struct effects *effects, enum effect_kind kind, struct slice text, int64_t peer_id);

int sqlite_replace_names(struct backend_session *session, const struct peer_names *names,
                         const struct effects *effects, struct fault *fault);

/* ---- remembered.c ---- */

/* Appends what the file has, the oldest first. */
int sqlite_load_remembered(struct backend_session *session, struct buffer *remembered, struct fault *fault);
/* Inside a transaction. */
int sqlite_store_remembered(struct backend_session *session, struct slice remembered, struct fault *fault);
/* Inside a transaction, before the file is given back. */
int sqlite_forget_remembered(struct backend_session *session, struct fault *fault);

/* ---- idle.c ---- */

enum { SQLITE_INDEX_BYTES = 32768 }; /* of a part of the log's index; what else has this size does no harm */

/* Of heap.c: allocates a block of this size; moves, frees and wipes any block. */
void *sqlite_index_malloc(void);
void sqlite_index_moves(const void *block);
void sqlite_index_free(void *block);
/* At the beginning and at the end of `open`, on one thread: finds the index of the session's log, shrinks it.
 */
void sqlite_expect_index(struct backend_session *session);
void sqlite_find_index(struct backend_session *session);
/* Around the end of the connection, on one thread. */
void sqlite_close_index(struct backend_session *session);
void sqlite_index_closed(void);
/* The backend's `sync`: nothing has been written for a moment. */
int sqlite_sync_and_rest(struct backend_session *session, struct fault *fault);

/* ---- budget.c ---- */

/* After the connection is open. Refuses a memory session if memory-max is used up. */
int sqlite_budget_join(struct backend_session *session, struct fault *fault);
void sqlite_budget_leave(struct backend_session *session);
/* Before a call that uses pages: adjusts the session's share of the page caches. */
void sqlite_budget_refresh(struct backend_session *session);
/* Before a batch: grants a memory session room to grow. After it: takes back what was not used. */
void sqlite_budget_reserve(struct backend_session *session, const struct change *changes, size_t n);
void sqlite_budget_trim(struct backend_session *session);

#endif
