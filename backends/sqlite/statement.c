/*
 * Statements of the SQLite backends. One is prepared from its template when it is first needed, and kept
 * until the session closes or a gramd_ table is created or dropped.
 */

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sqlite.h"

/* ---- statements ---- */

int sqlite_statement(struct backend_session *session, enum statement which, sqlite3_stmt **statement,
                     struct fault *fault)
{
        if (!session->statements[which]) {
                char *sql = sqlite_template(session, which);
                int rc = sql ? sqlite3_prepare_v3(session->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                                  &session->statements[which], NULL)
                             : SQLITE_NOMEM;

                sqlite3_free(sql);
                if (rc != SQLITE_OK)
                        return sqlite_fault(session, rc, "preparing a statement", fault);
        }
        *statement = session->statements[which];
        assert(!sqlite3_stmt_busy(*statement)); /* the last user has called sqlite_done() */
        return 0;
}

int sqlite_done(struct backend_session *session, sqlite3_stmt *statement, int rc, struct fault *fault)
{
        int error = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : sqlite_fault(session, rc, NULL, fault);

        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
        return error;
}

int sqlite_run(struct backend_session *session, sqlite3_stmt *statement, struct fault *fault)
{
        return sqlite_done(session, statement, sqlite3_step(statement), fault);
}

static void forget_kept(struct kept_statement *kept)
{
        sqlite3_finalize(kept->statement);
        sqlite3_free(kept->sql);
        *kept = (struct kept_statement){ 0 };
}

void sqlite_forget_statements(struct backend_session *session)
{
        for (size_t i = 0; i < STATEMENT_COUNT; i++) {
                sqlite3_finalize(session->statements[i]);
                session->statements[i] = NULL;
        }
        for (size_t i = 0; i < KEPT_STATEMENTS; i++)
                forget_kept(&session->kept[i]);
}

static void roll_back(struct backend_session *session)
{
        sqlite3_stmt *rollback = NULL;
        struct fault ignored;

        /* After a full disk or an I/O error SQLite has rolled back itself. */
        if (!sqlite3_get_autocommit(session->db) &&
            sqlite_statement(session, STATEMENT_ROLLBACK, &rollback, &ignored) == 0)
                sqlite_run(session, rollback, &ignored);
        if (sqlite3_get_autocommit(session->db))
                sqlite_log_rolled_back(session->db);
        if (session->extras != session->committed_extras)
                sqlite_forget_statements(session);
        session->extras = session->committed_extras;
        session->seal = session->committed_seal;
        session->kv_is_counted = false;
        session->purge = false;
}

int sqlite_enter(struct backend_session *session, struct fault *fault)
{
        assert(session->phase == PHASE_TAKEN);
        if (!sqlite3_get_autocommit(session->db))
                roll_back(session);
        if (!sqlite3_get_autocommit(session->db))
                return sqlite_fault_memory(session, fault);
        return 0;
}

int sqlite_begin(struct backend_session *session, struct fault *fault)
{
        sqlite3_stmt *begin = NULL;
        int error = sqlite_enter(session, fault);

        session->committed_extras = session->extras;
        session->committed_seal = session->seal;
        if (!error)
                error = sqlite_statement(session, STATEMENT_BEGIN, &begin, fault);
        if (error)
                return error;
        sqlite_room_share(session->env);
        error = sqlite_run(session, begin, fault);
        if (error)
                sqlite_room_done(session->env);
        return error;
}

int sqlite_end(struct backend_session *session, int error, struct fault *fault)
{
        sqlite3_stmt *commit = NULL;

        if (!error)
                error = sqlite_statement(session, STATEMENT_COMMIT, &commit, fault);
        if (!error)
                error = sqlite_run(session, commit, fault);
        if (error)
                roll_back(session);
        else
                session->unsynced = true;
        sqlite_room_done(session->env);
        return error;
}

int sqlite_exec(struct backend_session *session, struct fault *fault, const char *format, ...)
{
        va_list args;
        char *sql;
        int rc;

        va_start(args, format);
        sql = sqlite3_vmprintf(format, args);
        va_end(args);
        rc = sql ? sqlite3_exec(session->db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
        sqlite3_free(sql);
        return rc == SQLITE_OK ? 0 : sqlite_fault(session, rc, NULL, fault);
}

static int prepare(struct backend_session *session, sqlite3_stmt **statement, struct fault *fault,
                   const char *format, va_list args)
{
        char *sql = sqlite3_vmprintf(format, args);
        int rc = sql ? sqlite3_prepare_v2(session->db, sql, -1, statement, NULL) : SQLITE_NOMEM;

        sqlite3_free(sql);
        return rc == SQLITE_OK ? 0 : sqlite_fault(session, rc, NULL, fault);
}

int sqlite_prepare(struct backend_session *session, sqlite3_stmt **statement, struct fault *fault,
                   const char *format, ...)
{
        va_list args;
        int error;

        va_start(args, format);
        error = prepare(session, statement, fault, format, args);
        va_end(args);
        return error;
}

int sqlite_keep(struct backend_session *session, sqlite3_stmt **statement, struct fault *fault,
                const char *format, ...)
{
        struct kept_statement *kept;
        va_list args;
        char *sql;
        int rc;

        va_start(args, format);
        sql = sqlite3_vmprintf(format, args);
        va_end(args);
        for (size_t i = 0; sql && i < KEPT_STATEMENTS; i++) {
                if (!session->kept[i].sql || strcmp(session->kept[i].sql, sql) != 0)
                        continue;
                sqlite3_free(sql);
                *statement = session->kept[i].statement;
                assert(!sqlite3_stmt_busy(*statement));
                return 0;
        }
        kept = &session->kept[session->next_kept++ % KEPT_STATEMENTS];
        forget_kept(kept);
        kept->sql = sql;
        rc = sql ? sqlite3_prepare_v3(session->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &kept->statement, NULL)
                 : SQLITE_NOMEM;
        if (rc != SQLITE_OK) {
                forget_kept(kept);
                return sqlite_fault(session, rc, NULL, fault);
        }
        *statement = kept->statement;
        return 0;
}

int sqlite_number(struct backend_session *session, int64_t *value, struct fault *fault, const char *format,
                  ...)
{
        SQLITE_STATEMENT statement = NULL;
        va_list args;
        int error;
        int rc;

        va_start(args, format);
        error = prepare(session, &statement, fault, format, args);
        va_end(args);
        if (error)
                return error;
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW)
                *value = sqlite3_column_int64(statement, 0);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sqlite_fault(session, rc, NULL, fault);
}

/* ---- cells ---- */

void sqlite_bind_slice(sqlite3_stmt *statement, int at, struct slice text)
{
        if (text.data)
                sqlite3_bind_text64(statement, at, text.data, text.len, SQLITE_STATIC, SQLITE_UTF8);
        else
                sqlite3_bind_null(statement, at);
}

struct slice sqlite_text(sqlite3_stmt *statement, int at, size_t max)
{
        int type = sqlite3_column_type(statement, at);
        struct slice text = SLICE_NONE;

        if (type != SQLITE_TEXT && type != SQLITE_INTEGER)
                return SLICE_NONE;
        text.data = (const char *)sqlite3_column_text(statement, at);
        text.len = (size_t)sqlite3_column_bytes(statement, at);
        if (!text.data || text.len > max || !slice_is_utf8(text))
                return SLICE_NONE;
        return text;
}

bool sqlite_integer(sqlite3_stmt *statement, int at, int64_t *value)
{
        int type = sqlite3_column_type(statement, at);

        if (type != SQLITE_INTEGER && type != SQLITE_FLOAT)
                return false;
        *value = sqlite3_column_int64(statement, at);
        return true;
}

/* ---- errors ---- */

static int error_of(int rc)
{
        switch (rc & 0xff) {
        case SQLITE_BUSY:
        case SQLITE_LOCKED: return BACKEND_E_BUSY;
        /* The statements fit the layout that was found. If the schema refuses them, it is another one. */
        case SQLITE_ERROR:
        case SQLITE_SCHEMA:
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
        case SQLITE_FORMAT:
        case SQLITE_AUTH:
        case SQLITE_CONSTRAINT:
        case SQLITE_TOOBIG:
        case SQLITE_MISMATCH: return BACKEND_E_CORRUPT;
        default: return BACKEND_E_STORAGE;
        }
}

/* The system's error belongs to this one: SQLite keeps it until the next that has one. */
static bool has_system_error(int rc)
{
        return rc != SQLITE_IOERR_NOMEM && ((rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN);
}

/* What the operator can do. */
static const char *advice(int rc, int system)
{
        if ((rc & 0xff) == SQLITE_FULL || sqlite_means_full(system))
                return "; make room on its disk";
        if ((rc & 0xff) == SQLITE_READONLY || system == EROFS)
                return "; make its file system and file writable";
        if (system == EMFILE || system == ENFILE)
                return "; raise the limit of open files";
        return (rc & 0xff) == SQLITE_IOERR ? "; look for errors of its disk (dmesg)" : "";
}

int sqlite_fault(struct backend_session *session, int rc, const char *doing, struct fault *fault)
{
        int error = error_of(rc);
        int system = session->db ? sqlite3_system_errno(session->db) : 0;
        const char *why = session->db && sqlite3_errcode(session->db) != SQLITE_OK
                                  ? sqlite3_errmsg(session->db)
                                  : sqlite3_errstr(rc);
        char detail[128] = "";

        session->disk_full |=
                (rc & 0xff) == SQLITE_FULL || (has_system_error(rc) && sqlite_means_full(system));
        if (system && error == BACKEND_E_STORAGE)
                snprintf(detail, sizeof(detail), " (%s)", strerrordesc_np(system));
        if (error == BACKEND_E_BUSY) {
                fault_session(fault, error, session->name, "another program has its file locked");
                snprintf(fault->file, sizeof(fault->file), "%s", session->path ? session->path : "");
                return error;
        }
        return fault_session(fault, error, session->name, "%s%s%s%s%s", doing ? doing : "", doing ? ": " : "",
                             why, detail, advice(rc, system));
}

const char *sqlite_shown_path(const struct backend_session *session, char text[SQLITE_SHOWN_BYTES])
{
        return utf8_quote(slice_of(session->path), '\'', text, SQLITE_SHOWN_BYTES);
}

int sqlite_fault_memory(const struct backend_session *session, struct fault *fault)
{
        return fault_session(fault, BACKEND_E_STORAGE, session->name, "no memory");
}
