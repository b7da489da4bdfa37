#ifndef GRAMD_BACKENDS_SQLITE_SQLITE_H
#define GRAMD_BACKENDS_SQLITE_SQLITE_H

/*
 * The inside of the SQLite store, shared by the sqlite*.c files and nobody else. A session is used by
 * one thread at a time; the environment's figures are shared by all of them, and atomic.
 *
 *     sqlite.c            the two backends: environment, open, close, remove
 *     sqlite_file.c       files: creating, checking, recovering, listing
 *     sqlite_connect.c    connections: taking a file exclusively and giving it back as it was
 *     sqlite_log.c        the write-ahead log, written in few pieces
 *     sqlite_schema.c     making a library's schema, checking a file, recognising its dialect
 *     sqlite_settle.c     gramd's own tables and indexes; what moves when a library has lifted the file
 *     sqlite_statement.c  statements by template, errors, small helpers
 *     sqlite_fields.c     the identity fields
 *     sqlite_read.c       lookups, scans, counts, states
 *     sqlite_apply.c      batches
 *     sqlite_names.c      the part of a batch that replaces usernames
 *     sqlite_budget.c     page caches, and memory sessions, within the daemon's bounds
 */

#include <sqlite3.h>
#include <stdatomic.h>

#include "../backend.h"
#include "../dialect.h"

struct backend_env {
        const struct backend_config *config;
        bool memory;
        int dir;                    /* the data directory; -1 in memory */
        atomic_size_t sessions;     /* open now */
        atomic_int_fast64_t spare;  /* bytes of the budget that no session has been granted */
        int64_t budget;             /* bytes: page caches of files, or all that memory sessions hold */
        atomic_uint_fast64_t fresh; /* numbers the temporary files that new sessions are made in */
};

enum peer_part { PART_HASH, PART_TYPE, PART_USERNAME, PART_PHONE, PEER_PARTS };

/* What a column cannot hold. */
struct column_limits {
        bool not_null;
        bool numeric; /* its affinity turns text that looks like a number into one */
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
        char *path; /* NULL in memory */

        const struct dialect *dialect;
        int version;
        struct peers_layout peers; /* the dialect's, without the columns that this file has not */
        struct column_limits limits[PEER_PARTS];
        struct names_layout names;
        const char *states;        /* table */
        unsigned columns;          /* FIELD_BITs of the columns that `sessions` has */
        unsigned not_null;         /* of these, those that refuse NULL */
        unsigned extras;           /* 1 << enum extra of the tables that are there */
        unsigned committed_extras; /* as they were when the transaction began */
        size_t n_states;

        bool had_wal;    /* there was a -wal beside the file before it was opened */
        bool rollback;   /* the file is to go back to a rollback journal */
        bool marked;     /* and its header says so */
        bool unsynced;   /* something has been committed since the last sync */
        bool disk_full;  /* SQLite has said so; also of a memory session at its limit */
        bool joined;     /* counted among the open sessions */
        int64_t granted; /* bytes of the environment's budget */

        sqlite3_stmt *statements[STATEMENT_COUNT];
        struct kept_statement {
                char *sql;
                sqlite3_stmt *statement;
        } kept[KEPT_STATEMENTS];
        unsigned next_kept;
};

/* ---- sqlite_statement.c ---- */

/* Faults for what SQLite just said about this session; returns the BACKEND_E_…. */
int sqlite_fault(struct backend_session *session, int rc, const char *doing, struct fault *fault);
int sqlite_fault_memory(const struct backend_session *session, struct fault *fault);

/* A cached statement, reset and unbound. It is finished with sqlite_done(). */
int sqlite_statement(struct backend_session *session, enum statement which, sqlite3_stmt **statement,
                     struct fault *fault);
int sqlite_done(struct backend_session *session, sqlite3_stmt *statement, int rc, struct fault *fault);
/* Runs a statement that returns no rows, and finishes it. */
int sqlite_run(struct backend_session *session, sqlite3_stmt *statement, struct fault *fault);
void sqlite_forget_statements(struct backend_session *session);

/* First in every call: rolls back what the last one had no memory to roll back. */
int sqlite_enter(struct backend_session *session, struct fault *fault);
int sqlite_begin(struct backend_session *session, struct fault *fault);
/* Commits where `error` is 0, else rolls back and returns it. */
int sqlite_end(struct backend_session *session, int error, struct fault *fault);

/* One-off SQL, printf-like with SQLite's %w and %Q; several statements in one text. */
int sqlite_exec(struct backend_session *session, struct fault *fault, const char *format, ...);
/* Prepares one-off SQL; finished with sqlite3_finalize(). */
int sqlite_prepare(struct backend_session *session, sqlite3_stmt **statement, struct fault *fault,
                   const char *format, ...);
/* Prepares SQL that comes again and again, and keeps it by its text; finished as sqlite_statement()'s. */
int sqlite_keep(struct backend_session *session, sqlite3_stmt **statement, struct fault *fault,
                const char *format, ...);
/* The first column of the first row; `*value` stays as it was where there is no row. */
int sqlite_number(struct backend_session *session, int64_t *value, struct fault *fault, const char *format,
                  ...);

void sqlite_bind_slice(sqlite3_stmt *statement, int at, struct slice text);

/* Text of at most `max` bytes of UTF-8, or the decimal form of an integer; anything else is absent. */
struct slice sqlite_text(sqlite3_stmt *statement, int at, size_t max);
/* An integer, or a real cut to one. */
bool sqlite_integer(sqlite3_stmt *statement, int at, int64_t *value);

static inline void sqlite_finalize(sqlite3_stmt **statement)
{
        sqlite3_finalize(*statement);
}
#define SQLITE_STATEMENT __attribute__((cleanup(sqlite_finalize))) sqlite3_stmt *

/* ---- sqlite_connect.c ---- */

void sqlite_enter_phase(struct backend_session *session, enum sqlite_phase phase);
/* Opens the connection without touching the file. */
int sqlite_connect(struct backend_session *session, struct fault *fault);
/* After the file was found good: the exclusive lock, and WAL. */
int sqlite_take(struct backend_session *session, struct fault *fault);
/* Closes the connection; a file that was taken is back in its own journal mode, without a -wal. */
int sqlite_release(struct backend_session *session, struct fault *fault);
/* What is committed reaches the disk. */
int sqlite_sync(struct backend_session *session, struct fault *fault);
/* Writes the -wal back and makes it empty. False: there is none, or no room for that either. */
bool sqlite_empty_log(struct backend_session *session);

/* ---- sqlite_log.c ---- */

/* What files are opened with, for SQLite; at start it is made known. */
#define SQLITE_LOG_VFS "gramd"
void sqlite_log_register(void);

/* ---- sqlite_file.c ---- */

/* Where the session's file is; makes it where it is missing and `library` is not NULL. */
int sqlite_file_prepare(struct backend_session *session, const struct library *library, bool *created,
                        struct fault *fault);
/* Unlinks the file; it can still be used until it is closed. */
int sqlite_file_remove(struct backend_session *session, struct fault *fault);
/* After closing: unlinks what lies beside a file that is gone. */
void sqlite_file_remove_beside(struct backend_session *session);
/* Of the file and its -wal; -1 where there is no regular file. `modified` may be NULL. */
int64_t sqlite_file_bytes(const struct backend_env *env, const char *session, int64_t *modified);
/* At start: removes half-made files, and calls `recover` for every session with a journal beside it. */
int sqlite_file_recover(struct backend_env *env, void (*recover)(struct backend_env *env, struct slice name),
                        struct fault *fault);
int sqlite_file_list(struct backend_env *env, struct slice after, stored_fn found, void *arg,
                     struct fault *fault);

/* ---- sqlite_schema.c ---- */

/* A table (not a view, not virtual) of this name. */
int sqlite_has_table(struct backend_session *session, const char *table, bool *there, struct fault *fault);

/* Runs a library's schema and its first rows. */
int sqlite_create(struct backend_session *session, const struct library *library, struct fault *fault);
/* Which dialect is this? Fills the layout. Only reads. */
int sqlite_recognise(struct backend_session *session, struct fault *fault);
/* ---- sqlite_settle.c ---- */

/* Which gramd_ tables are there. Only reads. */
int sqlite_find_extras(struct backend_session *session, struct fault *fault);
/* Adds missing indexes; moves what waited in gramd_ tables to where the library has made room for it. */
int sqlite_settle(struct backend_session *session, const struct identity *identity, struct fault *fault);
/* Makes a gramd_ table where it is missing; inside a transaction. */
int sqlite_need_extra(struct backend_session *session, enum extra extra, struct fault *fault);
/* Drops the gramd_ tables that hold nothing. */
int sqlite_drop_empty_extras(struct backend_session *session, struct fault *fault);

static inline bool sqlite_has_extra(const struct backend_session *session, enum extra extra)
{
        return session->extras & (1u << extra);
}

/* ---- sqlite_fields.c ---- */

int sqlite_load_fields(struct backend_session *session, struct identity *identity, struct fault *fault);
/* Inside a transaction. */
int sqlite_store_fields(struct backend_session *session, unsigned fields, const struct identity *identity,
                        struct fault *fault);
/* Moves waiting fields to columns that are there now. `identity` is what has been loaded. */
int sqlite_settle_fields(struct backend_session *session, const struct identity *identity,
                         struct fault *fault);

/* ---- sqlite_read.c ---- */

/* The row of the current step, from its first column on. False: a row that cannot be served. */
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

/* The type of a peer where the dialect keeps none. */
struct slice sqlite_default_type(int64_t id);

/* ---- sqlite_apply.c ---- */

int sqlite_apply(struct backend_session *session, const struct change *changes, size_t n,
                 enum durability durability, effect_fn effect, void *arg, struct fault *fault);

/* ---- sqlite_names.c ---- */

struct effects {
        size_t change;
        effect_fn tell;
        void *arg;
};

/* False: no memory. */
bool sqlite_effect(const struct effects *effects, enum effect_kind kind, struct slice text, int64_t peer_id);

int sqlite_replace_names(struct backend_session *session, const struct peer_names *names,
                         const struct effects *effects, struct fault *fault);

/* ---- sqlite_budget.c ---- */

/* With the connection open; a memory session that has no room is refused. */
int sqlite_budget_join(struct backend_session *session, struct fault *fault);
void sqlite_budget_leave(struct backend_session *session);
/* Before a call that uses pages: its share of the page caches. */
void sqlite_budget_refresh(struct backend_session *session);
/* Around a batch: what a memory session may grow by, and what it has grown by. */
void sqlite_budget_reserve(struct backend_session *session, const struct change *changes, size_t n);
void sqlite_budget_settle(struct backend_session *session);

#endif
