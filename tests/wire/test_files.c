/*
 * Session files that gramd must refuse: damaged, foreign, linked, locked by another program. The error names
 * the reason, the file stays as it was, byte for byte, and other sessions are not held up. And good files:
 * locked while open, one plain file afterwards.
 */
#include <glob.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/wire.h"

static sqlite3 *database(const char *path)
{
        sqlite3 *db;

        ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
        sqlite3_busy_timeout(db, TEST_DEADLINE_MS);
        return db;
}

static void run(sqlite3 *db, const char *sql)
{
        char *error = NULL;

        if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
                ck_abort_msg("%s: %s", sql, error);
}

static void run_on(const char *path, const char *sql)
{
        sqlite3 *db = database(path);

        run(db, sql);
        ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* The first value of the first row, malloc'ed. */
static char *value_of(sqlite3 *db, const char *sql)
{
        sqlite3_stmt *statement;
        char *value;

        ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, "%s: %s", sql,
                      sqlite3_errmsg(db));
        ck_assert_msg(sqlite3_step(statement) == SQLITE_ROW, "%s: %s", sql, sqlite3_errmsg(db));
        value = test_format("%s", (const char *)sqlite3_column_text(statement, 0));
        sqlite3_finalize(statement);
        return value;
}

/* A good file, as Pyrogram leaves it. */
static const char pyrogram_v3[] =
        "CREATE TABLE sessions (dc_id INTEGER PRIMARY KEY, api_id INTEGER, test_mode INTEGER, auth_key BLOB, "
        "date INTEGER NOT NULL, user_id INTEGER, is_bot INTEGER);"
        "CREATE TABLE peers (id INTEGER PRIMARY KEY, access_hash INTEGER, type INTEGER NOT NULL, username "
        "TEXT, "
        "phone_number TEXT, last_update_on INTEGER NOT NULL DEFAULT (CAST(STRFTIME('%s', 'now') AS "
        "INTEGER)));"
        "CREATE TABLE version (number INTEGER PRIMARY KEY);"
        "INSERT INTO version VALUES (3);"
        "INSERT INTO sessions VALUES (4, 12, 0, zeroblob(256), 0, 77, 0);"
        "INSERT INTO peers VALUES (7, 70, 'user', 'anna', '1', 1);";

struct bad_file {
        const char *what;
        const char *sql; /* SQL, run on a good file; NULL: see the bytes */
        const char *bytes;
        size_t len;
        size_t cut; /* > 0: a good file, cut to this length */
        const char *named;
};

static const struct bad_file bad_files[] = {
        { "zero bytes", NULL, "", 0, 0, "" },
        { "a byte", NULL, "x", 1, 0, "" },
        { "text", NULL,
          "This is not a database, it is a text of more than a hundred bytes. Nothing in it is to be "
          "found, nothing is to be changed.",
          122, 0, "" },
        { "a header alone", "", NULL, 0, 100, "" },
        { "half a page", "", NULL, 0, 2000, "" },
        { "cut after the first page", "", NULL, 0, 4096, "" },
        { "a version unknown yet", "UPDATE version SET number = 99", NULL, 0, 0, "99" },
        { "version 0", "UPDATE version SET number = 0", NULL, 0, 0, "" },
        { "a negative version", "UPDATE version SET number = -1", NULL, 0, 0, "" },
        { "a version that is text",
          "DROP TABLE version; CREATE TABLE version (number TEXT); "
          "INSERT INTO version VALUES ('three')",
          NULL, 0, 0, "" },
        { "no version", "DELETE FROM version", NULL, 0, 0, "" },
        { "no version table", "DROP TABLE version", NULL, 0, 0, "" },
        { "no sessions table", "DROP TABLE sessions", NULL, 0, 0, "" },
        { "no peers table", "DROP TABLE peers", NULL, 0, 0, "" },
        { "somebody else's database",
          "DROP TABLE version; DROP TABLE sessions; DROP TABLE peers; "
          "CREATE TABLE recipes (name TEXT)",
          NULL, 0, 0, "" },
        { "a view instead of a table", "DROP TABLE peers; CREATE VIEW peers AS SELECT 1 AS id", NULL, 0, 0,
          "" },
        { "an auth key of 300 bytes", "UPDATE sessions SET auth_key = zeroblob(300)", NULL, 0, 0, "" },
        { "Telethon before version 7",
          "DROP TABLE version; DROP TABLE sessions; DROP TABLE peers; CREATE TABLE version (version INTEGER "
          "PRIMARY KEY);"
          "INSERT INTO version VALUES (6); CREATE TABLE sessions (dc_id INTEGER PRIMARY KEY, server_address "
          "TEXT, "
          "port INTEGER, auth_key BLOB, takeout_id INTEGER); CREATE TABLE entities (id INTEGER PRIMARY KEY, "
          "hash INTEGER NOT NULL, username TEXT, phone INTEGER, name TEXT); CREATE TABLE sent_files "
          "(md5_digest BLOB, "
          "file_size INTEGER, type INTEGER, id INTEGER, hash INTEGER, PRIMARY KEY(md5_digest, file_size, "
          "type)); "
          "CREATE TABLE update_state (id INTEGER PRIMARY KEY, pts INTEGER, qts INTEGER, date INTEGER, seq "
          "INTEGER)",
          NULL, 0, 0, "6" },
};

static void make_bad(const char *path, const struct bad_file *bad)
{
        if (!bad->sql) {
                test_write_file(path, bad->bytes, bad->len);
                return;
        }
        run_on(path, pyrogram_v3);
        run_on(path, bad->sql);
        if (bad->cut)
                ck_assert_int_eq(truncate(path, (off_t)bad->cut), 0);
}

static void expect_unchanged(const char *path, const char *before, size_t len)
{
        size_t now_len;
        TEST_FREED char *now = test_read_file(path, &now_len);
        TEST_FREED char *pattern = test_format("%s?*", path);
        glob_t found;

        ck_assert_uint_eq(now_len, len);
        ck_assert_mem_eq(now, before, len);
        ck_assert_msg(glob(pattern, 0, NULL, &found) == GLOB_NOMATCH, "left beside it: %s",
                      found.gl_pathv[0]);
}

START_TEST(damaged_and_foreign_files_are_refused_and_left_alone)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < sizeof(bad_files) / sizeof(bad_files[0]); i++) {
                TEST_FREED char *name = test_format("bad%zu", i);
                TEST_FREED char *path = daemon_path(d, name);
                TEST_FREED char *before = NULL;
                const char *answer;
                size_t len;

                make_bad(path, &bad_files[i]);
                before = test_read_file(path, &len);
                answer = wire_call(c, "open('%s', {})", name);
                ck_assert_msg(strcmp(answer, "!corrupt") == 0, "%s: %s %s", bad_files[i].what, answer,
                              wire_error_message(c));
                ck_assert_msg(strstr(wire_error_message(c), bad_files[i].named) != NULL,
                              "%s: not named in %s", bad_files[i].what, wire_error_message(c));
                ck_assert_msg(strstr(wire_error_message(c), name) != NULL, "the session is not named in %s",
                              wire_error_message(c));
                expect(c, "!corrupt", "open('%s', {mode: 'exclusive', create: false})", name);
                expect_unchanged(path, before, len);
                expect(c, "...created: ...", "open('good', {})");
        }
}
END_TEST

START_TEST(a_good_file_is_served_in_place)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "good");
        TEST_FREED char *hash = NULL;
        sqlite3 *db;
        int s;

        run_on(path, pyrogram_v3);
        s = wire_open(c, "'good', {create: false}");
        expect(c, "[4, 12, false, 77, nil]",
               "get(%d, ['dc_id', 'api_id', 'test_mode', 'user_id', 'server_address'])", s);
        expect(c, "[7, 70, 'user', 'anna', '1', 1]", "get_peer_by_username(%d, 'anna', 0)", s);
        expect(c, "nil", "update_peers(%d, [[7, 71, 'user', 'anna', '1']])", s);
        expect(c, "nil", "close(%d)", s);
        db = database(path);
        run(db, "BEGIN IMMEDIATE; COMMIT");
        hash = value_of(db, "SELECT access_hash FROM peers WHERE id = 7");
        ck_assert_str_eq(hash, "71");
        sqlite3_close(db);
}
END_TEST

static const struct {
        const char *dialect;
        const char *journal; /* as its library leaves a file */
} journals[] = {
        { "pyrogram", "delete" }, { "hydrogram", "wal" },   { "electrogram", "wal" },
        { "pyrofork", "delete" }, { "kurigram", "delete" }, { "irenogram", "delete" },
        { "pyrotgfork", "wal" },  { "telethon", "delete" },
};

/* While the session is open, another program gets SQLite's "locked". Afterwards it finds one plain file. */
START_TEST(files_are_locked_while_open_and_plain_afterwards)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < sizeof(journals) / sizeof(journals[0]); i++) {
                TEST_FREED char *path = daemon_path(d, journals[i].dialect);
                TEST_FREED char *wal = test_format("%s-wal", path);
                TEST_FREED char *mode = NULL;
                TEST_FREED char *sound = NULL;
                int s = wire_open(c, "'%s', {dialect: '%s'}", journals[i].dialect, journals[i].dialect);
                sqlite3 *db;

                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', '1']])", s);
                ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
                ck_assert_int_eq(sqlite3_exec(db, "SELECT * FROM version", NULL, NULL, NULL), SQLITE_BUSY);
                ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_BUSY);
                sqlite3_close(db);
                expect(c, "nil", "close(%d)", s);
                db = database(path); /* waits until the daemon has closed it */
                run(db, "BEGIN IMMEDIATE; ROLLBACK");
                mode = value_of(db, "PRAGMA journal_mode");
                ck_assert_msg(strcmp(mode, journals[i].journal) == 0, "%s: journal mode %s",
                              journals[i].dialect, mode);
                sound = value_of(db, "PRAGMA integrity_check");
                ck_assert_str_eq(sound, "ok");
                sqlite3_close(db);
                ck_assert_int_ne(access(wal, F_OK), 0);
        }
}
END_TEST

START_TEST(the_journal_mode_of_a_file_comes_back)
{
        static const char *const modes[] = { "delete", "wal" };
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < 2; i++) {
                TEST_FREED char *path = daemon_path(d, modes[i]);
                TEST_FREED char *pragma = test_format("PRAGMA journal_mode = %s", modes[i]);
                TEST_FREED char *mode = NULL;
                sqlite3 *db;
                int s;

                run_on(path, pyrogram_v3);
                run_on(path, pragma);
                s = wire_open(c, "'%s', {}", modes[i]);
                expect(c, "nil", "set(%d, {dc_id: 1})", s);
                expect(c, "nil", "close(%d)", s);
                db = database(path);
                run(db, "BEGIN IMMEDIATE; ROLLBACK");
                mode = value_of(db, "PRAGMA journal_mode");
                ck_assert_str_eq(mode, modes[i]);
                sqlite3_close(db);
        }
}
END_TEST

/* A session that is opened again soon: no error and no delay, whatever idle-close is. */
START_TEST(opening_again_soon_has_no_delay)
{
        static const char *const configs[] = { "idle-close = 0\n", "idle-close = 5\n" };

        for (size_t i = 0; i < 2; i++) {
                DAEMON d = daemon_start(.config = configs[i]);
                CLIENT a = wire_connect(d);
                CLIENT b = wire_connect(d);

                for (int j = 0; j < 100; j++) {
                        int s = wire_open(j % 2 ? a : b, "'anna', {}");

                        expect(j % 2 ? a : b, "nil", "update_peers(%d, [[7, %d, 'user', nil, nil]])", s, j);
                        expect(j % 2 ? a : b, "nil", "close(%d)", s);
                }
                expect(a, "[7, 99, ...]", "get_peer_by_id(%d, 7)", wire_open(a, "'anna', {create: false}"));
        }
}
END_TEST

START_TEST(a_file_locked_by_another_program_is_busy)
{
        static const char *const locks[] = { "BEGIN EXCLUSIVE", "BEGIN IMMEDIATE",
                                             "BEGIN; SELECT * FROM peers" };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "locked");
        TEST_FREED char *detail = test_format("{file: '%s'}", path);
        int other = wire_open(c, "'other', {}");

        run_on(path, pyrogram_v3);
        for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++) {
                sqlite3 *db = database(path);
                uint32_t refused;

                run(db, locks[i]);
                if (strstr(locks[i], "SELECT"))
                        run(db, "INSERT INTO peers VALUES (9, 9, 'user', NULL, NULL, 9)");
                refused = wire_send(c, "open('locked', {})");
                for (int j = 0; j < 50; j++)
                        expect(c, "nil", "update_peers(%d, [[%d, 1, 'user', nil, nil]])", other, j);
                expect_text(wire_answer(c, refused), "!busy");
                expect_text(wire_error_detail(c), detail);
                run(db, "ROLLBACK");
                sqlite3_close(db);
        }
        expect(c, "[4]", "get(%d, ['dc_id'])", wire_open(c, "'locked', {}"));
}
END_TEST

START_TEST(a_wait_outlasts_another_programs_lock)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "locked");
        sqlite3 *db;
        uint32_t waiting;

        run_on(path, pyrogram_v3);
        db = database(path);
        run(db, "BEGIN EXCLUSIVE");
        waiting = wire_send(c, "open('locked', {wait: 60000})");
        expect(c, "!busy", "open('locked', {})");
        run(db, "ROLLBACK");
        sqlite3_close(db);
        expect_text(wire_answer(c, waiting), "{...created: false...}");
}
END_TEST

/* The `open` has no answer: its client repeats it with the next daemon. */
START_TEST(a_wait_for_another_programs_lock_does_not_hold_up_the_end)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "locked");
        sqlite3 *db;

        run_on(path, pyrogram_v3);
        db = database(path);
        run(db, "BEGIN EXCLUSIVE");
        wire_send(c, "open('locked', {wait: 86400000})");
        expect(c, "!busy", "open('locked', {})");
        daemon_stop(d);
        wire_expect_closed(c);
        sqlite3_close(db);
}
END_TEST

START_TEST(links_and_folders_are_refused)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *linked = daemon_path(d, "linked");
        TEST_FREED char *dangling = daemon_path(d, "dangling");
        TEST_FREED char *folder = daemon_path(d, "folder");
        TEST_FREED char *pipe = daemon_path(d, "pipe");
        TEST_FREED char *target = daemon_beside(d, "target");
        TEST_FREED char *nowhere = daemon_beside(d, "nowhere");
        TEST_FREED char *before = NULL;
        static const char *const names[] = { "linked", "dangling", "folder", "pipe" };
        size_t len;

        run_on(target, pyrogram_v3);
        before = test_read_file(target, &len);
        ck_assert_int_eq(symlink(target, linked), 0);
        ck_assert_int_eq(symlink(nowhere, dangling), 0);
        ck_assert_int_eq(mkdir(folder, 0700), 0);
        ck_assert_int_eq(mkfifo(pipe, 0600), 0);
        for (size_t i = 0; i < 4; i++) {
                expect(c, "!storage or !corrupt", "open('%s', {})", names[i]);
                ck_assert_uint_gt(strlen(wire_error_message(c)), 10);
        }
        expect_unchanged(target, before, len);
        ck_assert_int_ne(access(nowhere, F_OK), 0);
        expect(c, "...created: true...", "open('good', {})");
}
END_TEST

START_TEST(read_only_files_are_refused)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "readonly");

        if (geteuid() == 0) {
                test_skipped("a read-only file", "root may write it all the same");
                return;
        }
        run_on(path, pyrogram_v3);
        ck_assert_int_eq(chmod(path, 0400), 0);
        expect(c, "!storage", "open('readonly', {})");
        ck_assert_int_eq(chmod(path, 0000), 0);
        expect(c, "!storage", "open('readonly', {})");
        ck_assert_int_eq(chmod(path, 0600), 0);
        wire_open(c, "'readonly', {}");
}
END_TEST

/* Triggers in a file do not run: neither a hostile one nor the library's own. */
START_TEST(triggers_do_not_run)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "hostile");
        int s;

        run_on(path, pyrogram_v3);
        run_on(path, "CREATE TRIGGER hostile AFTER UPDATE ON peers BEGIN DELETE FROM sessions; END;"
                     "CREATE TRIGGER hostile2 AFTER INSERT ON peers BEGIN DELETE FROM peers; END;"
                     "CREATE TRIGGER trg_peers_last_update_on AFTER UPDATE ON peers BEGIN UPDATE peers SET "
                     "last_update_on = 999 WHERE id = NEW.id; END");
        s = wire_open(c, "'hostile', {}");
        expect(c, "nil", "update_peers(%d, [[7, 71, 'user', 'anna', '1', 5], [8, 80, 'user', nil, nil, 6]])",
               s);
        expect(c, "nil", "set(%d, {user_id: 5})", s);
        expect(c, "[[7, 71, 'user', 'anna', '1', 5], [8, 80, 'user', nil, nil, 6]]", "scan_peers(%d, nil, 9)",
               s);
        expect(c, "[4, 5]", "get(%d, ['dc_id', 'user_id'])", s);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                damaged_and_foreign_files_are_refused_and_left_alone,
                a_good_file_is_served_in_place,
                files_are_locked_while_open_and_plain_afterwards,
                the_journal_mode_of_a_file_comes_back,
                opening_again_soon_has_no_delay,
                a_file_locked_by_another_program_is_busy,
                a_wait_outlasts_another_programs_lock,
                a_wait_for_another_programs_lock_does_not_hold_up_the_end,
                links_and_folders_are_refused,
                read_only_files_are_refused,
                triggers_do_not_run,
                NULL,
        };

        return test_program("files", tests);
}
