/*
 * How long the write-ahead logs get. gramd checkpoints instead of SQLite: after a batch, when the log is
 * several times as long as the file. So small sessions have short logs, and a large one has few checkpoints.
 *
 * A passive checkpoint is complete, because the file has one user. The next commit writes the log from its
 * beginning, but the -wal stays as long as it was. It is truncated when it is much longer than it has to be,
 * and when the -wal files of all open sessions together are longer than log-max.
 *
 * A checkpoint that fails is no failed write: the log has the data. It is tried again, and the log grows
 * meanwhile.
 */

#include <assert.h>
#include <stdio.h>
#include <time.h>

#include "sqlite.h"

enum {
        FRAME_HEADER_BYTES = 24, /* before each page in the log */
        TIMES_FILE = 16, /* the length of a log, in files: a checkpoint for each four costs 5 % of the time */
        PAGES_MIN = 64,
        PAGES_MAX = 10000, /* 1.7 times the write rate of SQLite's default, 1000 */
        PART_OF_ALL = 4,   /* one session's log is at most a quarter of log-max */
        MUCH_LONGER = 2,   /* a -wal of so many times the limit is truncated */
        RETRY_MS = 1000,   /* after a failed checkpoint; doubled each time */
        RETRY_MAX_MS = 60000,
};

static int64_t now_ms(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

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

static void set_limit(struct backend_session *session)
{
        const struct backend_env *env = session->env;
        int64_t most = env->log_max / PART_OF_ALL / session->log.frame_bytes;
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
        return session->log.bytes > 0 && atomic_load(&session->env->log_bytes) > session->env->log_max;
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

static void failed(struct backend_session *session, const struct fault *fault)
{
        struct session_log *log = &session->log;
        char text[sizeof(fault->text) + 128];

        snprintf(text, sizeof(text), "%s; nothing is lost: its -wal grows, and this is tried again",
                 fault->text);
        if (!log->retry_ms)
                tell(session, LOG_WARNING, text);
        log->retry_ms = log->retry_ms ? log->retry_ms * 2 : RETRY_MS;
        if (log->retry_ms > RETRY_MAX_MS)
                log->retry_ms = RETRY_MAX_MS;
        log->retry_at = now_ms() + log->retry_ms;
}

static void succeeded(struct backend_session *session)
{
        char text[NAME_MAX_BYTES + 128];

        snprintf(text, sizeof(text), "session '%s': its -wal has been written back to the file",
                 session->name);
        if (session->log.retry_ms)
                tell(session, LOG_INFO, text);
        session->log.retry_ms = session->log.retry_at = 0;
        session->log.pages = 0;
        set_limit(session);
}

static int checkpoint(struct backend_session *session, int mode, struct fault *fault)
{
        int rc = sqlite3_wal_checkpoint_v2(session->db, "main", mode, NULL, NULL);
        int error =
                rc == SQLITE_OK ? 0 : sqlite_fault(session, rc, "writing its -wal back to the file", fault);

        measure(session);
        if (error)
                failed(session, fault);
        else
                succeeded(session);
        return error;
}

int sqlite_checkpoint_truncate(struct backend_session *session, struct fault *fault)
{
        assert(session->phase == PHASE_TAKEN && session->path);
        return session->log.bytes > 0 ? checkpoint(session, SQLITE_CHECKPOINT_TRUNCATE, fault) : 0;
}

void sqlite_checkpoint_if_due(struct backend_session *session)
{
        struct session_log *log = &session->log;
        struct fault ignored;
        bool over;

        if (!session->path || sqlite_log_failed(session->db))
                return;
        measure(session);
        over = is_over_all(session);
        if ((!over && log->pages <= log->limit) || (log->retry_at && now_ms() < log->retry_at))
                return;
        checkpoint(session,
                   over || is_much_longer(session) ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
                   &ignored);
}

/* ---- a session's life ---- */

static int on_commit(void *arg, sqlite3 *db, const char *schema, int pages)
{
        struct backend_session *session = arg;

        (void)db;
        (void)schema;
        session->log.pages = pages;
        return SQLITE_OK;
}

int sqlite_checkpoint_start(struct backend_session *session, struct fault *fault)
{
        int64_t page_bytes = 0;
        int error = sqlite_number(session, &page_bytes, fault, "PRAGMA page_size");

        session->log.frame_bytes = page_bytes + FRAME_HEADER_BYTES;
        sqlite3_wal_hook(session->db, on_commit, session); /* in the place of SQLite's own checkpoints */
        set_limit(session);
        measure(session);
        return error;
}

void sqlite_checkpoint_stop(struct backend_session *session)
{
        set_bytes(session, 0);
}
