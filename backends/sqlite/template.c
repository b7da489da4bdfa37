/*
 * SQL of the SQLite backends as templates in one table. Where dialects differ, a template has a `$word`,
 * which is expanded from the layout of the session's file.
 */

#include <string.h>

#include "kv.h"

/* ?2: the most bytes of a value. A longer one, or one of another type, is NULL. */
#define KV_CELLS "SELECT key, iif(" SQLITE_KV_VALUE("?2") ", value, NULL), expires FROM gramd_kv"

static const char *const templates[STATEMENT_COUNT] = {
        [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
        [STATEMENT_COMMIT] = "COMMIT",
        [STATEMENT_ROLLBACK] = "ROLLBACK",

        [STATEMENT_PEER_BY_ID] = "SELECT $peer FROM $from WHERE p.id = ?1 AND $is_peer",
        [STATEMENT_PEER_BY_USERNAME] = "SELECT $peer FROM $from WHERE $own_username = ?1 AND $is_peer",
        [STATEMENT_PEER_BY_NAME_ROW] = "SELECT $peer, $row_time FROM $names u CROSS JOIN $from"
                                       " WHERE u.$name = ?1 AND p.id = u.$owner AND $is_peer",
        [STATEMENT_ORPHAN_NAME] = "SELECT 1 FROM $names u WHERE u.$name = ?1 AND NOT EXISTS"
                                  " (SELECT 1 FROM $from WHERE p.id = u.$owner AND $is_peer) LIMIT 1",
        [STATEMENT_PEER_BY_PHONE] = "SELECT $peer FROM $from WHERE p.$phone = ?1 AND $is_peer",
        [STATEMENT_PEER_SCAN] = "SELECT $peer FROM $from WHERE p.id >= ?1 AND $is_peer ORDER BY p.id",
        [STATEMENT_PEER_INSERT] = "INSERT INTO $peers ($put_columns) VALUES ($put_values)"
                                  " ON CONFLICT (id) DO NOTHING",
        [STATEMENT_PEER_UPDATE] = "UPDATE $peers SET $put_sets WHERE id = ?1",
        [STATEMENT_PEER_TIME] = "UPDATE $peers AS p SET $time = ?2 WHERE p.id = ?1 AND $is_own"
                                " AND (?3 IS NULL OR ifnull($time, 0) < ?3)",
        [STATEMENT_ZERO_PUT] = "INSERT OR REPLACE INTO gramd_entity_0 ($put_columns) VALUES ($put_values)",
        [STATEMENT_ZERO_TIME] = "UPDATE gramd_entity_0 SET $time = ?2 WHERE id = ?1"
                                " AND (?3 IS NULL OR ifnull($time, 0) < ?3)",
        [STATEMENT_PEER_KEEP] =
                "INSERT OR REPLACE INTO gramd_peers (id, kept, access_hash, type, username, phone_number,"
                " was_access_hash, was_type, was_username, was_phone_number)"
                " SELECT ?1, ?2, ?3, ?4, ?5, ?6, $parts FROM $from WHERE p.id = ?1 AND $is_peer",
        [STATEMENT_PEER_UNKEEP] = "DELETE FROM gramd_peers WHERE id = ?1",

        [STATEMENT_NAME_SCAN] = "SELECT u.$name, u.$owner, $row_time FROM $names u"
                                " WHERE (u.$name, u.$owner) >= (?1, ?2) ORDER BY u.$name, u.$owner",
        [STATEMENT_NAMES_OF] = "SELECT u.$name FROM $names u WHERE u.$owner = ?1",
        [STATEMENT_NAME_OWNER] = "SELECT u.$owner FROM $names u WHERE u.$name = ?1",
        [STATEMENT_NAME_INSERT] = "INSERT INTO $names ($name_columns) VALUES ($name_values) $name_conflict",
        [STATEMENT_NAME_TAKE] = "UPDATE $names SET $owner = ?2, $row_column = ?3 WHERE $name = ?1",
        [STATEMENT_NAME_DELETE] = "DELETE FROM $names WHERE $owner = ?2 AND $name = ?1",
        [STATEMENT_NAMES_DELETE] = "DELETE FROM $names WHERE $owner = ?1",
        [STATEMENT_NAMES_TIME] = "UPDATE $names SET $row_column = ?2 WHERE $owner = ?1"
                                 " AND (?3 IS NULL OR ifnull($row_column, 0) < ?3)",

        [STATEMENT_STATE_INSERT] = "INSERT INTO $states (id, pts, qts, date, seq) VALUES (?1, ?2, ?3, ?4, ?5)"
                                   " ON CONFLICT (id) DO NOTHING",
        [STATEMENT_STATE_UPDATE] = "UPDATE $states SET pts = ?2, qts = ?3, date = ?4, seq = ?5 WHERE id = ?1",
        [STATEMENT_STATE_DELETE] = "DELETE FROM $states WHERE id = ?1",
        [STATEMENT_NILS_PUT] = "INSERT OR REPLACE INTO gramd_update_state_nil (id, parts) VALUES (?1, ?2)",
        [STATEMENT_NILS_DELETE] = "DELETE FROM gramd_update_state_nil WHERE id = ?1",

        [STATEMENT_REMEMBER] = "INSERT OR REPLACE INTO gramd_remembered (place, number, at, writes)"
                               " VALUES (?1, ?2, ?3, ?4)",

        [STATEMENT_KV_GET] = KV_CELLS " WHERE key = ?1",
        [STATEMENT_KV_SCAN] = KV_CELLS " WHERE key >= ?1 AND " SQLITE_KV_ROW " ORDER BY key",
        [STATEMENT_KV_BYTES] = "SELECT " SQLITE_KV_BYTES " FROM gramd_kv WHERE key = ?1",
        [STATEMENT_KV_PUT] =
                "INSERT INTO gramd_kv (key, value, expires) VALUES (?1, ?2, ?3) ON CONFLICT (key)"
                " DO UPDATE SET value = excluded.value, expires = excluded.expires",
        [STATEMENT_KV_DELETE] = "DELETE FROM gramd_kv WHERE key = ?1",
        [STATEMENT_KV_DUE] = "SELECT expires FROM gramd_kv WHERE typeof(expires) = 'integer'"
                             " AND expires IS NOT NULL ORDER BY expires LIMIT 1",
};

/* ---- words ---- */

static const char *const part_names[PEER_PARTS] = { "access_hash", "type", "username", "phone_number" };

static const char *part_column(const struct backend_session *session, enum peer_part part)
{
        switch (part) {
        case PART_HASH: return session->peers.access_hash;
        case PART_TYPE: return session->peers.type;
        case PART_USERNAME: return session->peers.username;
        case PART_PHONE: return session->peers.phone_number;
        case PEER_PARTS: break;
        }
        return NULL;
}

/* The library's columns; NULL for a missing one. */
static void word_parts(const struct backend_session *session, sqlite3_str *out)
{
        for (int part = 0; part < PEER_PARTS; part++) {
                const char *column = part_column(session, (enum peer_part)part);

                sqlite3_str_appendf(out, part ? ", %s%s" : "%s%s", column ? "p." : "",
                                    column ? column : "NULL");
        }
}

/* The same. Where gramd_peers has a value for a column that has not changed since, that value. */
static void word_peer(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, "p.id, ");
        if (!sqlite_has_extra(session, EXTRA_PEERS)) {
                word_parts(session, out);
        } else {
                for (int part = 0; part < PEER_PARTS; part++) {
                        const char *column = part_column(session, (enum peer_part)part);
                        const char *table = column ? "p." : "";

                        column = column ? column : "NULL";
                        sqlite3_str_appendf(out,
                                            "%sCASE WHEN g.kept & %d AND g.was_%s IS %s%s THEN g.%s"
                                            " ELSE %s%s END",
                                            part ? ", " : "", 1 << part, part_names[part], table, column,
                                            part_names[part], table, column);
                }
        }
        sqlite3_str_appendf(out, ", p.%s", session->peers.last_update_on);
}

/* The condition that a row of the library's table is a peer. */
static void word_is_own(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, session->peers.own_row_zero ? "p.id <> 0" : "1");
}

static void word_is_peer(const struct backend_session *session, sqlite3_str *out)
{
        if (sqlite_has_extra(session, EXTRA_ZERO))
                sqlite3_str_appendall(out, "1");
        else
                word_is_own(session, out);
}

static void word_from(const struct backend_session *session, sqlite3_str *out)
{
        static const char columns[] = "id, hash, username, phone, date";

        if (sqlite_has_extra(session, EXTRA_ZERO))
                sqlite3_str_appendf(
                        out, "(SELECT %s FROM %s WHERE id <> 0 UNION ALL SELECT %s FROM gramd_entity_0) p",
                        columns, session->peers.table, columns);
        else
                sqlite3_str_appendf(out, "%s p", session->peers.table);
        if (sqlite_has_extra(session, EXTRA_PEERS))
                sqlite3_str_appendall(out, " LEFT JOIN gramd_peers g ON g.id = p.id");
}

static void word_own_username(const struct backend_session *session, sqlite3_str *out)
{
        if (session->peers.username)
                sqlite3_str_appendf(out, "p.%s", session->peers.username);
        else
                sqlite3_str_appendall(out, sqlite_has_extra(session, EXTRA_PEERS) ? "g.username" : "NULL");
}

/* `?1` is the id, `?2` to `?5` the parts in their order, `?6` the time. */
static void put(const struct backend_session *session, sqlite3_str *out, bool columns, bool values)
{
        for (int part = 0; part < PEER_PARTS; part++) {
                const char *column = part_column(session, (enum peer_part)part);

                if (!column)
                        continue;
                if (columns)
                        sqlite3_str_appendall(out, column);
                if (columns && values)
                        sqlite3_str_appendall(out, " = ");
                if (values)
                        sqlite3_str_appendf(out, "?%d", part + 2);
                sqlite3_str_appendall(out, ", ");
        }
}

static void word_put_columns(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, "id, ");
        put(session, out, true, false);
        sqlite3_str_appendall(out, session->peers.last_update_on);
}

static void word_put_values(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, "?1, ");
        put(session, out, false, true);
        sqlite3_str_appendall(out, "?6");
}

static void word_put_sets(const struct backend_session *session, sqlite3_str *out)
{
        put(session, out, true, true);
        sqlite3_str_appendf(out, "%s = ?6", session->peers.last_update_on);
}

static void word_peers(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, session->peers.table);
}

static void word_phone(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, session->peers.phone_number);
}

static void word_time(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, session->peers.last_update_on);
}

static void word_names(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, session->names.table);
}

static void word_name(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, session->names.name);
}

static void word_owner(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, session->names.owner);
}

static void word_row_time(const struct backend_session *session, sqlite3_str *out)
{
        if (session->names.last_update_on)
                sqlite3_str_appendf(out, "u.%s", session->names.last_update_on);
        else
                sqlite3_str_appendall(out, "NULL");
}

static void word_row_column(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, session->names.last_update_on);
}

static void word_name_columns(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendf(out, "%s, %s", session->names.name, session->names.owner);
        if (session->names.last_update_on)
                sqlite3_str_appendf(out, ", %s", session->names.last_update_on);
}

static void word_name_values(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, session->names.last_update_on ? "?1, ?2, ?3" : "?1, ?2");
}

static void word_name_conflict(const struct backend_session *session, sqlite3_str *out)
{
        if (session->names.one_owner)
                sqlite3_str_appendf(out, "ON CONFLICT (%s) DO NOTHING", session->names.name);
}

static void word_states(const struct backend_session *session, sqlite3_str *out)
{
        sqlite3_str_appendall(out, session->states);
}

static const struct {
        const char *name;
        void (*expand)(const struct backend_session *session, sqlite3_str *out);
} words[] = {
        { "peer", word_peer },
        { "parts", word_parts },
        { "from", word_from },
        { "is_peer", word_is_peer },
        { "is_own", word_is_own },
        { "own_username", word_own_username },
        { "put_columns", word_put_columns },
        { "put_values", word_put_values },
        { "put_sets", word_put_sets },
        { "peers", word_peers },
        { "phone", word_phone },
        { "time", word_time },
        { "names", word_names },
        { "name", word_name },
        { "owner", word_owner },
        { "row_time", word_row_time },
        { "row_column", word_row_column },
        { "name_columns", word_name_columns },
        { "name_values", word_name_values },
        { "name_conflict", word_name_conflict },
        { "states", word_states },
};

static void expand_word(const struct backend_session *session, sqlite3_str *out, const char *word, size_t len)
{
        for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
                if (strlen(words[i].name) == len && memcmp(words[i].name, word, len) == 0)
                        words[i].expand(session, out);
}

char *sqlite_template(const struct backend_session *session, enum statement which)
{
        const char *template = templates[which];
        sqlite3_str *out = sqlite3_str_new(session->db);

        while (*template) {
                size_t plain = strcspn(template, "$");
                size_t word;

                sqlite3_str_append(out, template, (int)plain);
                template += plain;
                if (!*template)
                        break;
                template ++;
                word = strspn(template, "abcdefghijklmnopqrstuvwxyz_");
                expand_word(session, out, template, word);
                template += word;
        }
        return sqlite3_str_finish(out);
}
