/*
 * gramd's own tables and indexes inside a library's file. A table is created when there is a value that the
 * library has no column for, and dropped when it is empty. When the library has migrated the file to a
 * version with such a column, the values move there. Names begin with gramd_, so that a library's migrations
 * never touch them.
 */

#include <assert.h>
#include <string.h>

#include "sqlite.h"

/* ---- gramd_ tables ---- */

/*
 * A table that differs from gramd's, or an index, may refuse any write, and with it all writes of a
 * transaction. So only what gramd has made is used; a file with something else under such a name is refused.
 */
static int find_extra(struct backend_session *session, enum extra extra, struct fault *fault)
{
        const struct extra_table *table = &extra_tables[extra];
        int64_t found = 0; /* 1: something else, 2: gramd's */
        int error = sqlite_number(session, &found, fault,
                                  "SELECT 1 + (group_concat(sql, ';') = %Q) FROM"
                                  " (SELECT sql FROM sqlite_schema WHERE sql NOT NULL"
                                  " AND (name COLLATE NOCASE IN (%Q, %Q) OR tbl_name COLLATE NOCASE = %Q)"
                                  " ORDER BY type DESC)",
                                  table->ddl, table->name, table->index, table->name);

        if (!error && found == 1)
                return fault_session(fault, BACKEND_E_CORRUPT, session->name,
                                     "in its file %s, or an index or trigger of it, is not gramd's",
                                     table->name);
        session->extras |= found ? 1u << extra : 0;
        return error;
}

int sqlite_find_extras(struct backend_session *session, struct fault *fault)
{
        int error = 0;

        session->extras = 0;
        for (int i = 0; !error && i < EXTRA_COUNT; i++)
                error = find_extra(session, (enum extra)i, fault);
        return error;
}

/* Migrating a file from version 1, a library deletes all peers: drop_orphans() then deletes their names. */
static int remember_version_1(struct backend_session *session, struct fault *fault)
{
        int error = sqlite_need_extra(session, EXTRA_FIELDS, fault);

        if (error)
                return error;
        return sqlite_exec(session, fault,
                           "INSERT OR REPLACE INTO gramd_fields (field, value) VALUES ('version', 1)");
}

int sqlite_need_extra(struct backend_session *session, enum extra extra, struct fault *fault)
{
        int error;

        assert(!sqlite3_get_autocommit(session->db));
        if (sqlite_has_extra(session, extra))
                return 0;
        error = sqlite_exec(session, fault, "%s", extra_tables[extra].ddl);
        if (error)
                return error;
        session->extras |= 1u << extra;
        sqlite_forget_statements(session);
        return extra == EXTRA_NAMES && session->version == 1 ? remember_version_1(session, fault) : 0;
}

static int drop_extra(struct backend_session *session, enum extra extra, struct fault *fault)
{
        int error;

        sqlite_forget_statements(session);
        error = sqlite_exec(session, fault, "DROP TABLE %s", extra_tables[extra].name);
        if (!error)
                session->extras &= ~(1u << extra);
        return error;
}

static int drop_if_empty(struct backend_session *session, enum extra extra, struct fault *fault)
{
        int64_t rows = 0;
        int error;

        if (!sqlite_has_extra(session, extra))
                return 0;
        error = sqlite_number(session, &rows, fault, "SELECT 1 FROM %s LIMIT 1", extra_tables[extra].name);
        return error || rows ? error : drop_extra(session, extra, fault);
}

int sqlite_drop_empty_extras(struct backend_session *session, struct fault *fault)
{
        int error = sqlite_begin(session, fault);

        if (error)
                return error;
        error = sqlite_forget_remembered(session, fault);
        for (int i = EXTRA_COUNT - 1; !error && i > EXTRA_FIELDS; i--)
                error = drop_if_empty(session, (enum extra)i, fault);
        if (!error && sqlite_has_extra(session, EXTRA_FIELDS) && !sqlite_has_extra(session, EXTRA_NAMES))
                error = sqlite_exec(session, fault, "DELETE FROM gramd_fields WHERE field = 'version'");
        if (!error)
                error = drop_if_empty(session, EXTRA_FIELDS, fault);
        return sqlite_end(session, error, fault);
}

/* ---- indexes ---- */

/*
 * Every lookup uses an index. Libraries do not create all of them: Telethon none, Pyrofork and Kurigram
 * before version 6 none on the owner of a name. When a later version creates its own, gramd drops its index.
 */
static int update_index(struct backend_session *session, const char *table, const char *column,
                        struct fault *fault)
{
        int64_t theirs = 0;
        int64_t ours = 0;
        int error;

        if (!column)
                return 0;
        error = sqlite_number(
                session, &theirs, fault,
                "SELECT count(*) FROM pragma_index_list(%Q) AS l, pragma_index_info(l.name) AS i"
                " WHERE i.seqno = 0 AND i.name = %Q AND NOT l.partial AND l.name NOT GLOB 'gramd_*'",
                table, column);
        if (!error)
                error = sqlite_number(session, &ours, fault,
                                      "SELECT count(*) FROM sqlite_schema WHERE type = 'index'"
                                      " AND name = 'gramd_index_%q_%q'",
                                      table, column);
        if (!error && !theirs && !ours)
                return sqlite_exec(session, fault, "CREATE INDEX gramd_index_%w_%w ON %w (%w)", table, column,
                                   table, column);
        if (!error && theirs && ours)
                return sqlite_exec(session, fault, "DROP INDEX gramd_index_%w_%w", table, column);
        return error;
}

static int update_indexes(struct backend_session *session, struct fault *fault)
{
        int error = update_index(session, session->peers.table, session->peers.username, fault);

        if (!error)
                error = update_index(session, session->peers.table, session->peers.phone_number, fault);
        if (!error && session->dialect->names)
                error = update_index(session, session->names.table, session->names.name, fault);
        if (!error && session->dialect->names)
                error = update_index(session, session->names.table, session->names.owner, fault);
        return error;
}

/* ---- migration ---- */

static int drop_orphans(struct backend_session *session, struct fault *fault)
{
        int64_t from = 0;
        int error;

        if (!sqlite_has_extra(session, EXTRA_FIELDS) || session->version == 1)
                return 0;
        error = sqlite_number(session, &from, fault,
                              "SELECT value FROM gramd_fields WHERE field = 'version'");
        if (error || from != 1)
                return error;
        if (sqlite_has_extra(session, EXTRA_NAMES))
                error = sqlite_exec(session, fault,
                                    "DELETE FROM gramd_usernames WHERE peer_id NOT IN (SELECT id FROM %w)",
                                    session->peers.table);
        if (!error)
                error = sqlite_exec(session, fault, "DELETE FROM gramd_fields WHERE field = 'version'");
        return error;
}

/* Rows that the library has written are newer: they stay. */
static int move_names(struct backend_session *session, struct fault *fault)
{
        int error;

        if (!session->dialect->names || !sqlite_has_extra(session, EXTRA_NAMES))
                return 0;
        if (session->names.one_owner)
                error = sqlite_exec(session, fault,
                                    "INSERT INTO %w (%w, %w, %w) SELECT username, peer_id, last_update_on"
                                    " FROM gramd_usernames WHERE true ORDER BY last_update_on"
                                    " ON CONFLICT (%w) DO UPDATE SET %w = excluded.%w, %w = excluded.%w"
                                    " WHERE excluded.%w > %w.%w",
                                    session->names.table, session->names.name, session->names.owner,
                                    session->names.last_update_on, session->names.name, session->names.owner,
                                    session->names.owner, session->names.last_update_on,
                                    session->names.last_update_on, session->names.last_update_on,
                                    session->names.table, session->names.last_update_on);
        else
                error = sqlite_exec(session, fault,
                                    "INSERT INTO %w (%w, %w) SELECT username, peer_id FROM gramd_usernames"
                                    " WHERE peer_id NOT IN (SELECT %w FROM %w WHERE %w IS NOT NULL)",
                                    session->names.table, session->names.name, session->names.owner,
                                    session->names.owner, session->names.table, session->names.owner);
        return error ? error : drop_extra(session, EXTRA_NAMES, fault);
}

static int move_states(struct backend_session *session, struct fault *fault)
{
        int error;

        if (!session->dialect->states || !sqlite_has_extra(session, EXTRA_STATES))
                return 0;
        error = sqlite_exec(session, fault,
                            "INSERT INTO %w (id, pts, qts, date, seq) SELECT id, pts, qts, date, seq"
                            " FROM gramd_update_state WHERE true ON CONFLICT (id) DO NOTHING",
                            session->states);
        return error ? error : drop_extra(session, EXTRA_STATES, fault);
}

int sqlite_migrate_extras(struct backend_session *session, const struct identity *identity,
                          struct fault *fault)
{
        int error = sqlite_begin(session, fault);

        if (error)
                return error;
        if (session->dialect->names_ddl)
                error = sqlite_exec(session, fault, "%s", session->dialect->names_ddl);
        if (!error)
                error = update_indexes(session, fault);
        if (!error)
                error = drop_orphans(session, fault);
        if (!error)
                error = move_names(session, fault);
        if (!error)
                error = move_states(session, fault);
        if (!error)
                error = sqlite_migrate_fields(session, identity, fault);
        /* Tables and indexes have changed: statements must be prepared again. */
        sqlite_forget_statements(session);
        return sqlite_end(session, error, fault);
}
