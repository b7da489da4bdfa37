/*
 * How long the write-ahead logs get. gramd checkpoints instead of SQLite: after a batch, when the log is
 * several times as long as the file. So small sessions have short logs, and a large one has few checkpoints.
 *
 * A passive checkpoint is complete, because the file has one user. The next commit writes the log from its
 * beginning, but the -wal stays as long as it was. It is truncated when it is much longer than it has to be,
 * and when the -wal files of all open sessions together are longer than their budget: log-max, and at most a
 * quarter of what the disk has for them.
 *
 * A checkpoint that fails is no failed write: the log has the data. It is tried again, and the log grows
 * meanwhile.
 */

#include <assert.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "sqlite.h"

enum {
        FRAME_HEADER_BYTES = 24, /* before each page in the log */
        TIMES_FILE = 16, /* the length of a log, in files: a checkpoint for each four costs 5 % of the time */
        PAGES_MIN = 64,
        PAGES_MAX = 10000, /* 1.7 times the write rate of SQLite's default, 1000 */
        PART_OF_ALL = 4,   /* one session's log is at most a quarter of the budget */
        PART_OF_DISK = 4,  /* the budget is at most a quarter of what is free or in a log */
        BUDGET_MIN_BYTES = 256 << 10,
        BUDGET_MS = 1000, /* between two looks at the disk */
        MUCH_LONGER = 2,  /* a -wal of so many times the limit is truncated */
        RETRY_MS = 1000,  /* after a failed checkpoint; doubled each time */
        RETRY_MAX_MS = 60000,
};

/* Brings the environment's sum up to date. */
static void set_bytes(struct backend_session *session, int64_t bytes)
{
        atomic_fetch_add(&session->env->log_bytes, bytes - session->log.bytes);
        session->log.bytes = bytes;
}

static void measure(struct backend_session *session)
{
        sqlite3_file *wal = NULL;
        sqlite3_int64 bytes = 0;

        sqlite3_file_control(session->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
        if (!wal || !wal->pMethods || wal->pMethods->xFileSize(wal, &bytes) == SQLITE_OK)
                set_bytes(session, bytes);
}

/* ---- when ---- */

/* Bytes that all logs together may have. */
static int64_t budget(struct backend_env *env)
{
        struct statvfs disk;
        int64_t bytes;

        if (sqlite_is_time(&env->budget_looked, BUDGET_MS) && fstatvfs(env->dir, &disk) == 0) {
                bytes = (int64_t)(disk.f_bavail * disk.f_frsize) + atomic_load(&env->log_bytes);
                bytes /= PART_OF_DISK;
                if (bytes < BUDGET_MIN_BYTES)
                        bytes = BUDGET_MIN_BYTES;
                atomic_store(&env->log_budget, bytes < env->log_max ? bytes : env->log_max);
        }
        return atomic_load(&env->log_budget);
}

static void set_limit(struct backend_session *session)
{
        int64_t most = budget(session->env) / PART_OF_ALL / session->log.frame_bytes;
        int64_t pages = 0;
        struct fault ignored;

        sqlite_number(session, &pages, &ignored, "PRAGMA page_count");
        pages *= TIMES_FILE;
        if (most > PAGES_MAX)
                most = PAGES_MAX;
        if (pages > most)
                pages = most;
        session->log.limit = pages > PAGES_MIN ? pages : PAGES_MIN;
}

static bool is_over_all(const struct backend_session *session)
{
        return session->log.bytes > 0 && atomic_load(&session->env->log_bytes) > budget(session->env);
}

bool sqlite_is_backing_off(const struct backend_session *session)
{
        const struct session_log *log = &session->log;

        return log->retry_at && sqlite_now_ms() < log->retry_at &&
               log->retry_freed == atomic_load(&session->env->n_freed);
}

static bool is_much_longer(const struct backend_session *session)
{
        return session->log.bytes > MUCH_LONGER * session->log.limit * session->log.frame_bytes;
}

/* ---- checkpoints ---- */

static void tell(const struct backend_session *session, enum log_level level, const char *text)
{
        const struct backend_config *config = session->env->config;

        if (config->log)
                config->log(config->log_arg, level, text);
}

/* The operator is told of a full disk by reserve.c. */
static void failed(struct backend_session *session, const struct fault *fault)
{
        struct session_log *log = &session->log;
        char text[sizeof(fault->text) + 128];

        snprintf(text, sizeof(text), "%s; nothing is lost: its -wal grows, and this is tried again",
                 fault->text);
        if (!log->told && !session->disk_full) {
                tell(session, LOG_WARNING, text);
                log->told = true;
        }
        log->retry_ms = log->retry_ms ? log->retry_ms * 2 : RETRY_MS;
        if (log->retry_ms > RETRY_MAX_MS)
                log->retry_ms = RETRY_MAX_MS;
        log->retry_at = sqlite_now_ms() + log->retry_ms;
        log->retry_freed = atomic_load(&session->env->n_freed);
}

static void succeeded(struct backend_session *session)
{
        char name[FAULT_NAME_BYTES], text[sizeof(name) + 128];

        snprintf(text, sizeof(text), "session '%s': its -wal has been written back to the file",
                 utf8_quote(slice_of(session->name), '\'', name, sizeof(name)));
        if (session->log.told)
                tell(session, LOG_INFO, text);
        session->log.told = false;
        session->log.retry_ms = session->log.retry_at = 0;
        session->log.pages = 0;
        set_limit(session);
}

static int checkpoint(struct backend_session *session, int mode, struct fault *fault)
{
        int64_t before = session->log.bytes;
        int error = 0;
        int rc;

        session->disk_full = false;
        if (session->log.shows_key && mode == SQLITE_CHECKPOINT_TRUNCATE)
                sqlite_log_wipe(session->db);
        rc = sqlite3_wal_checkpoint_v2(session->db, "main", mode, NULL, NULL);
        if (rc != SQLITE_OK)
                error = sqlite_fault(session, rc, "writing its -wal back to the file", fault);
        measure(session);
        if (error)
                failed(session, fault);
        else
                succeeded(session);
        if (!error && mode == SQLITE_CHECKPOINT_TRUNCATE)
                session->log.shows_key = false;
        if (session->log.bytes < before)
                atomic_fetch_add(&session->env->n_freed, 1);
        return error;
}

int sqlite_write_back(struct backend_session *session, struct fault *fault)
{
        assert(session->phase == PHASE_TAKEN && session->path);
        measure(session);
        return session->log.bytes > 0 ? checkpoint(session, SQLITE_CHECKPOINT_TRUNCATE, fault) : 0;
}

int64_t sqlite_growth(struct backend_session *session)
{
        sqlite3_file *file = NULL;
        sqlite3_int64 bytes = 0;
        int64_t pages = 0;
        struct fault ignored;

        sqlite_number(session, &pages, &ignored, "PRAGMA page_count");
        sqlite3_file_control(session->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
        if (!file || !file->pMethods || file->pMethods->xFileSize(file, &bytes) != SQLITE_OK)
                return INT64_MAX;
        return pages * (session->log.frame_bytes - FRAME_HEADER_BYTES) - bytes;
}

int sqlite_write_back_sharing(struct backend_session *session, struct fault *fault)
{
        int error;

        sqlite_room_share(session->env);
        error = sqlite_write_back(session, fault);
        sqlite_room_done(session->env);
        return error;
}

bool sqlite_write_back_again(struct backend_session *session)
{
        struct fault ignored;

        measure(session);
        return session->log.bytes > 0 && !sqlite_is_backing_off(session) &&
               sqlite_write_back(session, &ignored) == 0;
}

void sqlite_checkpoint_if_due(struct backend_session *session)
{
        const struct backend_config *config = session->env->config;
        struct session_log *log = &session->log;
        struct fault ignored;
        bool over;
        int error;

        if (!session->path || sqlite_log_failed(session->db))
                return;
        measure(session);
        sqlite_reserve_keep(session->env);
        over = is_over_all(session);
        if (over && config->tidy)
                config->tidy(config->tidy_arg);
        over |= log->shows_key;
        if ((!over && log->pages <= log->limit) || sqlite_is_backing_off(session))
                return;
        over |= is_much_longer(session);
        sqlite_room_share(session->env);
        error = checkpoint(session, over ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &ignored);
        sqlite_room_done(session->env);
        if (error)
                sqlite_make_room(session);
}

/* Half of the budget is enough, unless the disk is full. */
static bool has_to_be_tidied(const struct backend_session *session)
{
        struct backend_env *env = session->env;

        return session->log.bytes > 0 && !sqlite_is_backing_off(session) &&
               (atomic_load(&env->full) || atomic_load(&env->log_bytes) > budget(env) / 2);
}

int sqlite_tidy(struct backend_session *session, struct fault *fault)
{
        int error = 0;

        if (!session->path)
                return 0;
        session->log.full_round = atomic_load(&session->env->full_round);
        if (has_to_be_tidied(session) && !sqlite_log_failed(session->db)) {
                error = sqlite_write_back_sharing(session, fault);
                if (error && sqlite_make_room(session))
                        error = sqlite_write_back_sharing(session, fault);
        }
        sqlite_reserve_keep(session->env);
        return error;
}

/* ---- a session's life ---- */

static int on_commit(void *arg, sqlite3 *db, const char *schema, int pages)
{
        struct backend_session *session = arg;

        (void)schema;
        sqlite_log_committed(db);
        session->log.pages = pages;
        return SQLITE_OK;
}

int sqlite_checkpoint_start(struct backend_session *session, struct fault *fault)
{
        int64_t page_bytes = 0;
        int error = sqlite_number(session, &page_bytes, fault, "PRAGMA page_size");

        session->log.frame_bytes = page_bytes + FRAME_HEADER_BYTES;
        session->log.full_round = atomic_load(&session->env->full_round);
        sqlite3_wal_hook(session->db, on_commit, session); /* in the place of SQLite's own checkpoints */
        set_limit(session);
        measure(session);
        return error;
}

void sqlite_checkpoint_stop(struct backend_session *session)
{
        set_bytes(session, 0);
}
