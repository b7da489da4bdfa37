/*
 * Connections. As soon as a session's file has been checked, gramd locks it exclusively and uses it in WAL
 * mode without a -shm. At the end the file gets back the journal mode that it came with. That mode has to
 * survive a crash: while a file that belongs in rollback mode is in WAL mode, application_id in its header is
 * SQLITE_MARK. No library uses that field, and no table is needed.
 *
 * Setting or clearing the mark, and changing the mode, rewrite only the first bytes of the first page. So no
 * journal on disk is needed: if the daemon is killed, the page is either the old one or the new one.
 */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite.h"

enum {
        CELL_MAX_BYTES = 1 << 20, /* far more than any library stores in a cell */
};

void sqlite_enter_phase(struct backend_session *session, enum sqlite_phase phase)
{
        static const unsigned from[] = {
                [PHASE_NEW] = 0,
                [PHASE_CONNECTED] = 1u << PHASE_NEW,
                [PHASE_TAKEN] = 1u << PHASE_CONNECTED,
                [PHASE_UNLINKED] = 1u << PHASE_TAKEN,
                [PHASE_CLOSED] =
                        1u << PHASE_NEW | 1u << PHASE_CONNECTED | 1u << PHASE_TAKEN | 1u << PHASE_UNLINKED,
        };

        assert(from[phase] & 1u << session->phase);
        session->phase = phase;
}

static void protect(sqlite3 *db)
{
        static const struct {
                int option;
                int on;
        } settings[] = {
                { SQLITE_DBCONFIG_ENABLE_TRIGGER, 0 }, { SQLITE_DBCONFIG_ENABLE_VIEW, 0 },
                { SQLITE_DBCONFIG_DEFENSIVE, 1 },      { SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
                { SQLITE_DBCONFIG_ENABLE_FKEY, 0 },    { SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0 },
                { SQLITE_DBCONFIG_DQS_DDL, 0 },        { SQLITE_DBCONFIG_DQS_DML, 0 },
        };

        for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
                sqlite3_db_config(db, settings[i].option, settings[i].on, NULL);
        sqlite3_limit(db, SQLITE_LIMIT_LENGTH, CELL_MAX_BYTES);
        sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
        sqlite3_extended_result_codes(db, 1);
}

int sqlite_connect(struct backend_session *session, struct fault *fault)
{
        int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
        const char *path = session->path;
        int rc;

        sqlite_enter_phase(session, PHASE_CONNECTED);
        sqlite_expect_index(session);
        rc = sqlite3_open_v2(path ? path : ":memory:", &session->db, flags | (path ? 0 : SQLITE_OPEN_MEMORY),
                             path ? SQLITE_LOG_VFS : NULL);
        if (rc != SQLITE_OK)
                return sqlite_fault(session, rc, "opening", fault);
        protect(session->db);
        /* Before gramd makes the file its own, it only reads it: closing must not remove a -wal that came
         * with it. */
        sqlite3_db_config(session->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, session->had_wal, NULL);
        return sqlite_exec(session, fault,
                           "PRAGMA locking_mode = EXCLUSIVE; PRAGMA cell_size_check = ON;"
                           "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON");
}

/* As a URI, so that it can have a parameter. malloc'ed; NULL: no memory. */
static char *immutable_uri(const char *path)
{
        static const char hex[] = "0123456789ABCDEF";
        static const char before[] = "file:", after[] = "?immutable=1";
        char *uri = malloc(sizeof(before) + 3 * strlen(path) + sizeof(after)), *to = uri;

        if (!uri)
                return NULL;
        to = stpcpy(to, before);
        for (; *path; path++) {
                *to++ = '%';
                *to++ = hex[(unsigned char)*path >> 4];
                *to++ = hex[(unsigned char)*path & 15];
        }
        stpcpy(to, after);
        return uri;
}

int sqlite_connect_immutable(struct backend_session *session, struct fault *fault)
{
        int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
        char *uri = immutable_uri(session->path);
        int rc;

        sqlite_enter_phase(session, PHASE_CONNECTED);
        if (!uri)
                return sqlite_fault_memory(session, fault);
        rc = sqlite3_open_v2(uri, &session->db, flags, NULL);
        free(uri);
        if (rc != SQLITE_OK)
                return sqlite_fault(session, rc, "opening", fault);
        protect(session->db);
        return sqlite_exec(session, fault, "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY");
}

static int journal_mode(struct backend_session *session, const char *to, bool *wal, struct fault *fault)
{
        SQLITE_STATEMENT statement = NULL;
        int error = sqlite_prepare(session, &statement, fault,
                                   to ? "PRAGMA journal_mode = %s" : "PRAGMA journal_mode", to);
        const char *mode;
        int rc;

        if (error)
                return error;
        rc = sqlite3_step(statement);
        if (rc != SQLITE_ROW)
                return sqlite_fault(session, rc, "changing the journal mode", fault);
        mode = (const char *)sqlite3_column_text(statement, 0);
        *wal = mode && strcmp(mode, "wal") == 0;
        rc = sqlite3_step(statement); /* the header is written when the statement ends */
        return rc == SQLITE_DONE ? 0 : sqlite_fault(session, rc, "changing the journal mode", fault);
}

/* From a rollback journal to WAL. */
static int enter_wal(struct backend_session *session, int64_t application_id, struct fault *fault)
{
        bool wal = false;
        int error = sqlite_exec(session, fault, "PRAGMA synchronous = OFF");

        if (!error)
                error = journal_mode(session, "MEMORY", &wal, fault);
        if (!error && application_id == 0) {
                error = sqlite_exec(session, fault, "PRAGMA application_id = %d", SQLITE_MARK);
                session->marked = !error;
        }
        if (!error)
                error = journal_mode(session, "WAL", &wal, fault);
        if (!error && !wal)
                error = fault_session(fault, BACKEND_E_STORAGE, session->name,
                                      "its file cannot be put in WAL mode");
        return error;
}

static int leave_wal(struct backend_session *session, struct fault *fault)
{
        bool wal = false;
        int error = sqlite_exec(session, fault, "PRAGMA synchronous = OFF");

        if (!error)
                error = journal_mode(session, "MEMORY", &wal, fault);
        if (!error && wal)
                error = fault_session(fault, BACKEND_E_STORAGE, session->name,
                                      "its -wal could not be written back");
        return error;
}

static int clear_mark(struct backend_session *session, struct fault *fault)
{
        sqlite3_file *file = NULL;
        int error = sqlite_exec(session, fault, "PRAGMA application_id = 0");
        int rc;

        if (error)
                return error;
        sqlite3_file_control(session->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
        rc = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
        return rc == SQLITE_OK ? 0 : sqlite_fault(session, rc, "writing it to disk", fault);
}

int sqlite_take(struct backend_session *session, struct fault *fault)
{
        int64_t application_id = 0;
        bool wal = false;
        int error;

        if (!session->path) {
                sqlite_enter_phase(session, PHASE_TAKEN);
                return 0;
        }
        error = sqlite_number(session, &application_id, fault, "PRAGMA application_id");
        if (!error)
                error = journal_mode(session, NULL, &wal, fault);
        session->rollback = !wal || application_id == SQLITE_MARK;
        session->marked = application_id == SQLITE_MARK;
        if (!error && !wal)
                error = enter_wal(session, application_id, fault);
        /* In WAL mode the first read takes the lock; in this locking mode it is held until the end. */
        if (!error)
                error = sqlite_exec(session, fault, "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE; COMMIT");
        if (!error)
                error = sqlite_checkpoint_start(session, fault);
        if (error)
                return error;
        sqlite_enter_phase(session, PHASE_TAKEN);
        sqlite_log_attach(session->db, session->env->dir);
        sqlite3_db_config(session->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
        if (!session->had_wal)
                return 0;
        session->unsynced = true; /* as far as this process knows */
        return sqlite_sync(session, fault) ? BACKEND_E_UNAVAILABLE : 0;
}

/* Empty tables of gramd's own may stay, if the disk is too full to drop them: until the next close. */
static int drop_empty_extras(struct backend_session *session, struct fault *fault)
{
        int error = session->extras ? sqlite_drop_empty_extras(session, fault) : 0;

        if (error && sqlite_await_room(session))
                error = sqlite_drop_empty_extras(session, fault);
        return error && session->disk_full ? 0 : error;
}

static int give_back(struct backend_session *session, struct fault *fault)
{
        int error;

        sqlite_expect_room(session);
        error = drop_empty_extras(session, fault);
        sqlite_forget_statements(session);
        if (!error)
                error = sqlite_write_back_sharing(session, fault);
        if (error && sqlite_await_room(session))
                error = sqlite_write_back_sharing(session, fault);
        if (!error && session->rollback)
                error = leave_wal(session, fault);
        if (!error && session->marked)
                error = clear_mark(session, fault);
        return error;
}

int sqlite_release(struct backend_session *session, struct fault *fault)
{
        bool taken = session->phase == PHASE_TAKEN;
        int error = 0;
        int rc;

        sqlite_close_index(session);
        if (session->path && taken)
                error = give_back(session, fault);
        if (session->phase == PHASE_UNLINKED) /* nobody will read it, and the disk may be full */
                sqlite3_db_config(session->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite_enter_phase(session, PHASE_CLOSED);
        if (!session->db) {
                sqlite_index_closed();
                return 0;
        }
        sqlite_forget_statements(session);
        rc = sqlite3_close(session->db);
        session->db = NULL;
        sqlite_index_closed();
        sqlite_checkpoint_stop(session);
        if (rc != SQLITE_OK && !error)
                error = fault_session(fault, BACKEND_E_STORAGE, session->name, "closing: %s",
                                      sqlite3_errstr(rc));
        return error;
}

int sqlite_sync(struct backend_session *session, struct fault *fault)
{
        sqlite3_file *wal = NULL;
        int rc = SQLITE_OK;

        if (!session->path || (!session->unsynced && !sqlite_log_failed(session->db)))
                return 0;
        sqlite3_file_control(session->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
        if (wal && wal->pMethods)
                rc = wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL);
        if (rc != SQLITE_OK) {
                sqlite_fault(session, rc, "writing it to disk", fault);
                return BACKEND_E_UNSYNCED;
        }
        session->unsynced = false;
        return 0;
}
