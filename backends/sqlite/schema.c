/*
 * Creating a library's schema, and recognising one. Before anything is written to a file, it is checked: its
 * length fits its number of pages, its tables have the columns that the dialect needs, and gramd knows its
 * version. Any other file is refused as damaged or unknown, and stays as it is.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../../proto/datacentre.h"
#include "sqlite.h"

/* Files up to this size are read completely when they are opened: a few milliseconds. */
enum { QUICK_CHECK_BYTES = 1 << 20 };

int sqlite_create(struct backend_session *session, const struct library *library, struct fault *fault)
{
        int error = sqlite_exec(session, fault, "BEGIN");

        for (size_t i = 0; !error && library->schema[i]; i++)
                error = sqlite_exec(session, fault, "%s", library->schema[i]);
        if (!error)
                error = sqlite_exec(session, fault, "INSERT INTO version (%w) VALUES (%d); %s",
                                    library->version_column, library->version, library->session);
        if (!error && library->address) {
                const struct datacentre *dc = datacentre_find(2, false);

                error = sqlite_exec(session, fault, "UPDATE sessions SET server_address = %Q, port = %d",
                                    dc->address, dc->port);
        }
        if (!error)
                error = sqlite_seal_new(session, fault);
        if (!error)
                error = sqlite_put_owner(session, fault);
        return error ? error : sqlite_exec(session, fault, "COMMIT");
}

/* ---- tables and columns ---- */

static int has_table(struct backend_session *session, const char *table, bool *there, struct fault *fault)
{
        int64_t root = 0;
        /* Views are of another type, virtual tables have no root page. */
        int error =
                sqlite_number(session, &root, fault,
                              "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = %Q", table);

        *there = root > 0;
        return error;
}

struct column {
        bool there;
        bool not_null;
        bool key;
        bool numeric;
};

/* Does the column's affinity convert text to numbers? By SQLite's rule, as far as it matters here. */
static bool is_numeric(const char *type)
{
        static const char *const text[] = { "CHAR", "CLOB", "TEXT", "BLOB" };

        if (!type || !*type)
                return false;
        if (strcasestr(type, "INT"))
                return true;
        for (size_t i = 0; i < sizeof(text) / sizeof(*text); i++)
                if (strcasestr(type, text[i]))
                        return false;
        return true;
}

static int find_column(struct backend_session *session, const char *table, const char *name,
                       struct column *column, struct fault *fault)
{
        SQLITE_STATEMENT statement = NULL;
        int error = sqlite_prepare(session, &statement, fault,
                                   "SELECT type, \"notnull\", pk FROM pragma_table_xinfo(%Q)"
                                   " WHERE name = %Q AND hidden = 0",
                                   table, name);
        int rc;

        *column = (struct column){ .there = false };
        if (error)
                return error;
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW) {
                column->there = true;
                column->numeric = is_numeric((const char *)sqlite3_column_text(statement, 0));
                column->not_null = sqlite3_column_int(statement, 1);
                column->key = sqlite3_column_int(statement, 2) == 1;
                if (sqlite3_errcode(session->db) == SQLITE_NOMEM) /* the type could not be read */
                        return sqlite_fault_memory(session, fault);
        }
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sqlite_fault(session, rc, NULL, fault);
}

/* Do all these columns exist? `key` has to be the table's key; NULL: no key is needed. */
static int has_columns(struct backend_session *session, const char *table, const char *key,
                       const char *const *columns, size_t n, bool *all, struct fault *fault)
{
        struct column column;
        int error = has_table(session, table, all, fault);

        if (!error && *all && key) {
                error = find_column(session, table, key, &column, fault);
                *all = column.there && column.key;
        }
        for (size_t i = 0; !error && *all && i < n; i++) {
                if (!columns[i])
                        continue;
                error = find_column(session, table, columns[i], &column, fault);
                *all = column.there;
        }
        return error;
}

/* ---- which dialect ---- */

static int match_peers(struct backend_session *session, const struct dialect *dialect, bool *matches,
                       struct fault *fault)
{
        const struct peers_layout *peers = dialect->peers;
        const char *const columns[] = {
                peers->access_hash,
                peers->type,
                peers->phone_number,
                peers->last_update_on,
                dialect->username_optional ? NULL : peers->username,
        };

        return has_columns(session, peers->table, "id", columns, sizeof(columns) / sizeof(*columns), matches,
                           fault);
}

static int match_names(struct backend_session *session, const struct dialect *dialect, bool *matches,
                       struct fault *fault)
{
        const struct names_layout *names = dialect->names;
        int error = 0;

        *matches = true;
        if (!names)
                return 0;
        error = has_columns(session, names->table, names->one_owner ? names->name : NULL,
                            (const char *const[]){ names->name, names->owner, names->last_update_on }, 3,
                            matches, fault);
        if (!error && !*matches && dialect->names_ddl) {
                int64_t taken = 0;

                error = sqlite_number(session, &taken, fault, "SELECT 1 FROM sqlite_schema WHERE name = %Q",
                                      names->table);
                *matches = !taken;
        }
        return error;
}

static int match_sessions(struct backend_session *session, const struct dialect *dialect, bool *matches,
                          struct fault *fault)
{
        const char *columns[FIELD_COUNT];

        for (int i = 0; i < FIELD_COUNT; i++)
                columns[i] = dialect->fields & FIELD_BIT(i) ? field_infos[i].name : NULL;
        return has_columns(session, "sessions", "dc_id", columns, FIELD_COUNT, matches, fault);
}

static int match_states(struct backend_session *session, const struct dialect *dialect, bool *matches,
                        struct fault *fault)
{
        static const char *const columns[] = { "pts", "qts", "date", "seq" };

        *matches = true;
        if (!dialect->states)
                return 0;
        return has_columns(session, "update_state", "id", columns, 4, matches, fault);
}

static int match(struct backend_session *session, const struct dialect *dialect, bool *matches,
                 struct fault *fault)
{
        int error = match_sessions(session, dialect, matches, fault);

        if (!error && *matches)
                error = match_peers(session, dialect, matches, fault);
        if (!error && *matches)
                error = match_names(session, dialect, matches, fault);
        if (!error && *matches)
                error = match_states(session, dialect, matches, fault);
        return error;
}

/* ---- the layout ---- */

static int lay_out_peers(struct backend_session *session, struct fault *fault)
{
        struct peers_layout *peers = &session->peers;
        const char **const parts[PEER_PARTS] = { &peers->access_hash, &peers->type, &peers->username,
                                                 &peers->phone_number };
        int error = 0;

        *peers = *session->dialect->peers;
        for (int i = 0; !error && i < PEER_PARTS; i++) {
                struct column column = { .there = false };

                if (*parts[i])
                        error = find_column(session, peers->table, *parts[i], &column, fault);
                if (!column.there)
                        *parts[i] = NULL;
                session->limits[i] = (struct column_limits){ column.not_null, column.numeric };
        }
        return error;
}

static int lay_out_fields(struct backend_session *session, struct fault *fault)
{
        int error = 0;

        session->columns = 0;
        session->not_null = 0;
        for (int i = 0; !error && i < FIELD_COUNT; i++) {
                struct column column;

                error = find_column(session, "sessions", field_infos[i].name, &column, fault);
                if (!error && column.there)
                        session->columns |= FIELD_BIT(i);
                if (!error && column.not_null)
                        session->not_null |= FIELD_BIT(i);
        }
        return error;
}

static int lay_out(struct backend_session *session, const struct dialect *dialect, struct fault *fault)
{
        int error;

        session->dialect = dialect;
        session->names = dialect->names ? *dialect->names : extra_names;
        session->states = dialect->states ? "update_state" : extra_tables[EXTRA_STATES].name;
        error = lay_out_peers(session, fault);
        if (!error)
                error = lay_out_fields(session, fault);
        return error ? error : sqlite_find_extras(session, fault);
}

/* ---- checking the file ---- */

/* By its pages: the file and its log together may have more. */
static int content_bytes(struct backend_session *session, int64_t *bytes, struct fault *fault)
{
        int64_t page_size = 0, pages = 0;
        int error = sqlite_number(session, &page_size, fault, "PRAGMA page_size");

        if (!error)
                error = sqlite_number(session, &pages, fault, "PRAGMA page_count");
        *bytes = page_size * pages;
        return error;
}

static int check_length(struct backend_session *session, int64_t expected, struct fault *fault)
{
        sqlite3_file *file = NULL;
        sqlite3_int64 bytes = 0;
        int rc;

        sqlite3_file_control(session->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
        rc = file->pMethods->xFileSize(file, &bytes);
        if (rc != SQLITE_OK)
                return sqlite_fault(session, rc, "looking at its file", fault);
        /* With a -wal the file may be shorter. SQLite itself does not notice an incomplete last page. */
        if (!session->had_wal && bytes < expected)
                return fault_session(fault, BACKEND_E_CORRUPT, session->name,
                                     "its file is damaged: it has %lld bytes, its header says %lld",
                                     (long long)bytes, (long long)expected);
        return 0;
}

/* SQLite's check calls a page damaged that it has no memory for, too. */
static bool lacked_memory(const char *text)
{
        static const char code[] = "error code=";
        const char *at = strstr(text, code);

        if (at)
                return strtol(at + sizeof(code) - 1, NULL, 10) == SQLITE_NOMEM;
        return strstr(text,
                      "failed to get page"); /* of the list of free pages; a wrong number reads otherwise */
}

static int check_pages(struct backend_session *session, int64_t bytes, struct fault *fault)
{
        SQLITE_STATEMENT statement = NULL;
        const char *text;
        int error;
        int rc;

        if (bytes > QUICK_CHECK_BYTES)
                return 0;
        error = sqlite_prepare(session, &statement, fault, "PRAGMA quick_check(1)");
        if (error)
                return error;
        rc = sqlite3_step(statement);
        if (rc != SQLITE_ROW)
                return sqlite_fault(session, rc, "its file is damaged", fault);
        text = (const char *)sqlite3_column_text(statement, 0);
        if (text && strcmp(text, "ok") == 0)
                return 0;
        if (session->path && sqlite_read_failed(session->db))
                return fault_session(fault, BACKEND_E_STORAGE, session->name, "its file cannot be read");
        if (!text || lacked_memory(text))
                return sqlite_fault_memory(session, fault);
        return fault_session(fault, BACKEND_E_CORRUPT, session->name, "its file is damaged");
}

static int check_file(struct backend_session *session, struct fault *fault)
{
        int64_t tables = 0, bytes = 0;
        int error = sqlite_number(session, &tables, fault, "SELECT count(*) FROM sqlite_schema");

        if (error || !session->path)
                return error;
        error = content_bytes(session, &bytes, fault);
        if (!error)
                error = check_length(session, bytes, fault);
        if (!error)
                error = check_pages(session, bytes, fault);
        return error;
}

/* ---- the version ---- */

static int find_version(struct backend_session *session, const char **name, struct fault *fault)
{
        static const char *const names[] = { "number", "version" };
        int64_t version = -1;
        bool there = false;
        int error = 0;

        for (size_t i = 0; !error && !there && i < sizeof(names) / sizeof(*names); i++) {
                *name = names[i];
                error = has_columns(session, "version", NULL, name, 1, &there, fault);
        }
        if (!error && !there)
                return fault_session(fault, BACKEND_E_CORRUPT, session->name,
                                     "its file is not a session of any known library");
        if (!error)
                error = sqlite_number(session, &version, fault, "SELECT %w FROM version", *name);
        if (!error && (version < 0 || version > INT32_MAX))
                return fault_session(fault, BACKEND_E_CORRUPT, session->name, "its file has no version");
        session->version = (int)version;
        return error;
}

static int refuse(const struct backend_session *session, const char *column, bool known, struct fault *fault)
{
        const char *family = strcmp(column, "version") == 0 ? "Telethon" : "Pyrogram";

        if (known)
                return fault_session(fault, BACKEND_E_CORRUPT, session->name,
                                     "its file says version %d, but its tables are not those of any library"
                                     " with that version",
                                     session->version);
        return fault_session(fault, BACKEND_E_CORRUPT, session->name,
                             "its file has version %d of the %s format, which is not supported",
                             session->version, family);
}

int sqlite_recognise(struct backend_session *session, struct fault *fault)
{
        const char *column = NULL;
        bool known = false;
        int error = check_file(session, fault);

        if (!error)
                error = find_version(session, &column, fault);
        if (error)
                return error;
        for (const struct dialect *dialect = dialects; dialect->group; dialect++) {
                bool matches;

                if (strcmp(dialect->version_column, column) != 0 ||
                    session->version < dialect->version_from || session->version > dialect->version_to)
                        continue;
                known = true;
                error = match(session, dialect, &matches, fault);
                if (error)
                        return error;
                if (matches)
                        return lay_out(session, dialect, fault);
        }
        return refuse(session, column, known, fault);
}
