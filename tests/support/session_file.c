/* The session files that the client libraries make, as SQL. */

#include "session_file.h"

#include <check.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the Pyrogram family ---- */

#define PEERS                                                                                                \
        "CREATE TABLE peers (id INTEGER PRIMARY KEY, access_hash INTEGER, type INTEGER NOT NULL,"            \
        " username TEXT, phone_number TEXT,"                                                                 \
        " last_update_on INTEGER NOT NULL DEFAULT (CAST(STRFTIME('%s', 'now') AS INTEGER)));"
#define PEER_INDEXES                                                                                         \
        "CREATE INDEX idx_peers_id ON peers (id);"                                                           \
        "CREATE INDEX idx_peers_username ON peers (username);"                                               \
        "CREATE INDEX idx_peers_phone_number ON peers (phone_number);"
#define PEER_TRIGGER                                                                                         \
        "CREATE TRIGGER trg_peers_last_update_on AFTER UPDATE ON peers BEGIN"                                \
        " UPDATE peers SET last_update_on = CAST(STRFTIME('%s', 'now') AS INTEGER) WHERE id = NEW.id; END;"
#define STATES                                                                                               \
        "CREATE TABLE update_state (id INTEGER PRIMARY KEY, pts INTEGER, qts INTEGER, date INTEGER,"         \
        " seq INTEGER);"
#define VERSION(n) "CREATE TABLE version (number INTEGER PRIMARY KEY); INSERT INTO version VALUES (" #n ");"
#define PYROFORK_NAMES                                                                                       \
        "CREATE TABLE usernames (id TEXT PRIMARY KEY, peer_id INTEGER NOT NULL,"                             \
        " last_update_on INTEGER NOT NULL DEFAULT (CAST(STRFTIME('%s', 'now') AS INTEGER)));"                \
        "CREATE TRIGGER trg_usernames_last_update_on AFTER UPDATE ON usernames BEGIN"                        \
        " UPDATE usernames SET last_update_on = CAST(STRFTIME('%s', 'now') AS INTEGER) WHERE id = NEW.id;"   \
        " END;"
#define KURIGRAM_NAMES                                                                                       \
        "CREATE TABLE usernames (id INTEGER, username TEXT, FOREIGN KEY (id) REFERENCES peers(id));"         \
        "CREATE INDEX idx_usernames_username ON usernames (username);"

#define SESSIONS_1                                                                                           \
        "CREATE TABLE sessions (dc_id INTEGER PRIMARY KEY, test_mode INTEGER, auth_key BLOB,"                \
        " date INTEGER NOT NULL, user_id INTEGER, is_bot INTEGER);"                                          \
        "INSERT INTO sessions VALUES (2, NULL, NULL, 0, NULL, NULL);"
#define SESSIONS_3                                                                                           \
        "CREATE TABLE sessions (dc_id INTEGER PRIMARY KEY, api_id INTEGER, test_mode INTEGER,"               \
        " auth_key BLOB, date INTEGER NOT NULL, user_id INTEGER, is_bot INTEGER);"                           \
        "INSERT INTO sessions VALUES (2, NULL, NULL, NULL, 0, NULL, NULL);"
#define SESSIONS_7                                                                                           \
        "CREATE TABLE sessions (dc_id INTEGER PRIMARY KEY, server_address TEXT, port INTEGER,"               \
        " api_id INTEGER, test_mode INTEGER, auth_key BLOB, date INTEGER NOT NULL, user_id INTEGER,"         \
        " is_bot INTEGER);"                                                                                  \
        "INSERT INTO sessions VALUES (2, '149.154.167.51', 443, NULL, NULL, NULL, 0, NULL, NULL);"

#define FRESH_1 SESSIONS_1 PEERS VERSION(1) PEER_INDEXES PEER_TRIGGER
#define FRESH_3 SESSIONS_3 PEERS VERSION(3) PEER_INDEXES PEER_TRIGGER
#define FRESH_4 SESSIONS_3 PEERS STATES VERSION(4) PEER_INDEXES PEER_TRIGGER
#define FROM_PEERS_6(version)                                                                                \
        "CREATE TABLE peers (id INTEGER PRIMARY KEY, access_hash INTEGER, type INTEGER NOT NULL,"            \
        " phone_number TEXT,"                                                                                \
        " last_update_on INTEGER NOT NULL DEFAULT (CAST(STRFTIME('%s', 'now') AS INTEGER)));" KURIGRAM_NAMES \
                STATES version "CREATE INDEX idx_peers_id ON peers (id);"                                    \
        "CREATE INDEX idx_peers_phone_number ON peers (phone_number);"                                       \
        "CREATE INDEX idx_usernames_id ON usernames (id);" PEER_TRIGGER
#define FRESH_6 SESSIONS_3 FROM_PEERS_6(VERSION(6))
#define FRESH_7 SESSIONS_7 FROM_PEERS_6(VERSION(7))

const char step_1_to_2[] = "DELETE FROM peers; UPDATE version SET number = 2";
const char step_2_to_3[] = "ALTER TABLE sessions ADD api_id INTEGER; UPDATE version SET number = 3";
const char pyrofork_3_to_4[] = STATES "UPDATE version SET number = 4";
const char kurigram_3_to_4[] = KURIGRAM_NAMES "UPDATE version SET number = 4";
const char kurigram_4_to_5[] = STATES "UPDATE version SET number = 5";
const char kurigram_5_to_6[] =
        "CREATE INDEX idx_usernames_id ON usernames (id); UPDATE version SET number = 6";
const char kurigram_6_to_7[] = "ALTER TABLE sessions ADD server_address TEXT;"
                               "ALTER TABLE sessions ADD port INTEGER;"
                               "UPDATE sessions SET server_address = '149.154.167.51';"
                               "UPDATE sessions SET port = 443;"
                               "UPDATE version SET number = 7";

/* ---- Telethon ---- */

#define TELETHON(sessions)                                                                                   \
        "CREATE TABLE version (version integer primary key);"                                                \
        "CREATE TABLE sessions (" sessions ");"                                                              \
        "CREATE TABLE entities (id integer primary key, hash integer not null, username text,"               \
        " phone integer, name text, date integer);"                                                          \
        "CREATE TABLE sent_files (md5_digest blob, file_size integer, type integer, id integer,"             \
        " hash integer, primary key(md5_digest, file_size, type));"                                          \
        "CREATE TABLE update_state (id integer primary key, pts integer, qts integer, date integer,"         \
        " seq integer);"
#define TELETHON_7                                                                                           \
        TELETHON("dc_id integer primary key, server_address text, port integer, auth_key blob,"              \
                 " takeout_id integer")                                                                      \
        "INSERT INTO version VALUES (7); INSERT INTO sessions VALUES (2, '149.154.167.51', 443, x'', NULL);"
#define TELETHON_8                                                                                           \
        TELETHON("dc_id integer primary key, server_address text, port integer, auth_key blob,"              \
                 " takeout_id integer, tmp_auth_key blob")                                                   \
        "INSERT INTO version VALUES (8);"                                                                    \
        "INSERT INTO sessions VALUES (2, '149.154.167.51', 443, x'', NULL, x'');"

const char telethon_7_to_8[] = "ALTER TABLE sessions ADD COLUMN tmp_auth_key blob;"
                               "DELETE FROM version; INSERT INTO version VALUES (8)";

/* ---- every kind of file ---- */

#define STEPS(...) ((const char *const[]){ __VA_ARGS__, NULL })

const struct session_file session_files[] = {
        { "pyrogram-1", FRESH_1, NULL, "pyrogram", 1, .username = true },
        { "pyrogram-2", FRESH_1, STEPS(step_1_to_2), "pyrogram", 2, .username = true },
        { "pyrogram-3", FRESH_3, NULL, "pyrogram", 3, .api_id = true, .username = true },
        { "hydrogram-3", FRESH_3 "PRAGMA journal_mode = WAL", NULL, "pyrogram", 3, .api_id = true,
          .username = true },
        { "pyrogram-1-to-3", FRESH_1, STEPS(step_1_to_2, step_2_to_3), "pyrogram", 3, .api_id = true,
          .username = true },
        { "pyrofork-3", FRESH_3 PYROFORK_NAMES, NULL, "pyrofork", 3, .api_id = true, .usernames = true,
          .username = true, .one_owner = true },
        { "pyroexalt-3", FRESH_3 PYROFORK_NAMES,
          STEPS("ALTER TABLE sessions ADD pts INTEGER; ALTER TABLE sessions ADD qts INTEGER;"
                "ALTER TABLE sessions ADD seq INTEGER; UPDATE sessions SET pts = 1, qts = -1, seq = -1"),
          "pyrofork", 3, .api_id = true, .usernames = true, .username = true, .one_owner = true },
        { "pyrofork-3-to-4", FRESH_3 PYROFORK_NAMES, STEPS(pyrofork_3_to_4), "pyrofork", 4, .api_id = true,
          .usernames = true, .states = true, .username = true, .one_owner = true },
        { "pyrofork-4", FRESH_4 PYROFORK_NAMES, NULL, "pyrofork", 4, .api_id = true, .usernames = true,
          .states = true, .username = true, .one_owner = true },
        { "electrogram-4", FRESH_4 "PRAGMA journal_mode = WAL", NULL, "pyrofork", 4, .api_id = true,
          .usernames = true, .states = true, .username = true, .one_owner = true },
        { "pyrofork-1-to-4", FRESH_1, STEPS(step_1_to_2, step_2_to_3, pyrofork_3_to_4), "pyrofork", 4,
          .api_id = true, .usernames = true, .states = true, .username = true, .one_owner = true },
        { "kurigram-3-to-4", FRESH_3, STEPS(kurigram_3_to_4), "kurigram", 4, .api_id = true,
          .usernames = true, .username = true },
        { "kurigram-3-to-5", FRESH_3, STEPS(kurigram_3_to_4, kurigram_4_to_5), "kurigram", 5, .api_id = true,
          .usernames = true, .states = true, .username = true },
        { "kurigram-1-to-6", FRESH_1,
          STEPS(step_1_to_2, step_2_to_3, kurigram_3_to_4, kurigram_4_to_5, kurigram_5_to_6), "kurigram", 6,
          .api_id = true, .usernames = true, .states = true, .username = true },
        { "kurigram-6", FRESH_6, NULL, "kurigram", 6, .api_id = true, .usernames = true, .states = true },
        { "pyrotgfork-6", FRESH_6 "PRAGMA journal_mode = WAL", NULL, "kurigram", 6, .api_id = true,
          .usernames = true, .states = true },
        { "kurigram-6-to-7", FRESH_6, STEPS(kurigram_6_to_7), "kurigram", 7, .api_id = true, .address = true,
          .usernames = true, .states = true },
        { "kurigram-7", FRESH_7, NULL, "kurigram", 7, .api_id = true, .address = true, .usernames = true,
          .states = true },
        { "kurigram-3-to-7", FRESH_3,
          STEPS(kurigram_3_to_4, kurigram_4_to_5, kurigram_5_to_6, kurigram_6_to_7), "kurigram", 7,
          .api_id = true, .address = true, .usernames = true, .states = true, .username = true },
        { "telethon-7", TELETHON_7, NULL, "telethon", 7, .telethon = true, .address = true, .states = true,
          .username = true },
        { "telethon-8", TELETHON_8, NULL, "telethon", 8, .telethon = true, .address = true, .states = true,
          .username = true },
        { "telethon-7-to-8", TELETHON_7, STEPS(telethon_7_to_8), "telethon", 8, .telethon = true,
          .address = true, .states = true, .username = true },
        { .name = NULL },
};

const struct session_file *session_file(const char *name)
{
        for (const struct session_file *file = session_files; file->name; file++)
                if (strcmp(file->name, name) == 0)
                        return file;
        ck_abort_msg("no such kind of file: %s", name);
        return NULL;
}

/* ---- SQL ---- */

static void close_database(sqlite3 **db)
{
        sqlite3_close(*db);
}

static sqlite3 *open_database(const char *path)
{
        sqlite3 *db;

        ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
        sqlite3_exec(db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
        return db;
}

static void run(sqlite3 *db, const char *text)
{
        ck_assert_msg(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK, "%s: %.80s", sqlite3_errmsg(db),
                      text);
}

void session_file_make(const struct session_file *file, const char *path)
{
        __attribute__((cleanup(close_database))) sqlite3 *db = open_database(path);

        run(db, file->first);
        for (size_t i = 0; file->steps && file->steps[i]; i++)
                run(db, file->steps[i]);
}

void sql(const char *path, const char *format, ...)
{
        __attribute__((cleanup(close_database))) sqlite3 *db = open_database(path);
        char *text = NULL;
        va_list args;

        va_start(args, format);
        ck_assert_int_ge(vasprintf(&text, format, args), 0);
        va_end(args);
        run(db, text);
        free(text);
}

static void print_cell(FILE *out, sqlite3_stmt *rows, int at)
{
        const unsigned char *blob = sqlite3_column_blob(rows, at);

        switch (sqlite3_column_type(rows, at)) {
        case SQLITE_NULL: fputs("nil", out); break;
        case SQLITE_TEXT: fprintf(out, "'%s'", sqlite3_column_text(rows, at)); break;
        case SQLITE_BLOB:
                fputs("x'", out);
                for (int i = 0; i < sqlite3_column_bytes(rows, at); i++)
                        fprintf(out, "%02x", blob[i]);
                fputs("'", out);
                break;
        default: fprintf(out, "%s", sqlite3_column_text(rows, at));
        }
}

char *sql_text(const char *path, const char *format, ...)
{
        __attribute__((cleanup(close_database))) sqlite3 *db = open_database(path);
        sqlite3_stmt *rows;
        char *query = NULL;
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size);
        va_list args;
        int rc;

        va_start(args, format);
        ck_assert_int_ge(vasprintf(&query, format, args), 0);
        va_end(args);
        rc = sqlite3_prepare_v2(db, query, -1, &rows, NULL);
        ck_assert_msg(rc == SQLITE_OK, "%s: %s", sqlite3_errmsg(db), query);
        for (int n = 0; (rc = sqlite3_step(rows)) == SQLITE_ROW; n++) {
                fputs(n ? "; " : "", out);
                for (int at = 0; at < sqlite3_column_count(rows); at++) {
                        fputs(at ? "|" : "", out);
                        print_cell(out, rows, at);
                }
        }
        ck_assert_msg(rc == SQLITE_DONE, "%s: %s", sqlite3_errmsg(db), query);
        sqlite3_finalize(rows);
        free(query);
        fclose(out);
        return text;
}
