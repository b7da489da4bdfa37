/*
 * Files that are not served: damaged, unknown, too new, not regular, locked by another program,
 * read-only. They are refused with the reason and left byte for byte as they were, with nothing new beside
 * them.
 */

#include <check.h>
#include <errno.h>
#include <glob.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/file_test.h"
#include "../support/no_fsync.h"
#include "../support/session_file.h"

/* The names of all files of the session. */
static void expect_files(const char *expected)
{
        glob_t found;
        char names[512] = "";

        if (glob("data/*", 0, NULL, &found) == 0)
                for (size_t i = 0; i < found.gl_pathc; i++) {
                        strcat(names, i ? " " : "");
                        strcat(names, found.gl_pathv[i] + strlen("data/"));
                }
        globfree(&found);
        ck_assert_str_eq(names, expected);
}

static char refusal[sizeof(at.fault.text)];

static void expect_refused(int error)
{
        size_t before_len;
        size_t after_len;
        TEST_FREED char *before = test_read_file(PATH, &before_len);
        TEST_FREED char *after = NULL;

        for (int create = 0; create < 2; create++)
                ck_assert_msg(storage_try(&at, "x", NULL, create) == error, "%d: %s", error, at.fault.text);
        ck_assert_ptr_nonnull(strstr(at.fault.text, "'x'"));
        memcpy(refusal, at.fault.text, sizeof(refusal));
        after = test_read_file(PATH, &after_len);
        ck_assert_uint_eq(before_len, after_len);
        ck_assert_int_eq(memcmp(before, after, before_len), 0);
        expect_files("x.session");
        /* Other sessions can be opened. */
        storage_open(&at, "other", NULL);
        storage_close(&at);
        ck_assert_int_eq(unlink("data/other.session"), 0);
}

/* ---- not a whole SQLite file ---- */

FILE_TEST(files_that_are_not_sqlites)
{
        static const char text[] =
                "not a database at all, but as long as the header of one, so that there is "
                "something to look at.....";
        static const char *const contents[] = { "", "x", "SQLite format 3", text };

        for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
                test_write_file(PATH, contents[i], strlen(contents[i]));
                expect_refused(BACKEND_E_CORRUPT);
        }
}

static void make_some(const char *kind)
{
        session_file_make(session_file(kind), PATH);
        if (strcmp(kind, "telethon-8") == 0)
                sql(PATH, "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
                          " INSERT INTO entities SELECT i, i, 'user' || i, i, 'User ' || i, 5 FROM n");
        else
                sql(PATH, "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
                          " INSERT INTO peers (id, access_hash, type, username, phone_number)"
                          " SELECT i, i, 'user', 'user' || i, i FROM n");
}

static const char *const whole[] = { "pyrogram-3", "hydrogram-3", "telethon-8" };

FILE_TEST(truncated_files)
{
        size_t len;
        TEST_FREED char *bytes = NULL;

        make_some(whole[_i]);
        bytes = test_read_file(PATH, &len);
        for (size_t cut = 1; cut < len; cut += cut < 4096 ? 500 : 4000) {
                test_write_file(PATH, bytes, len - cut);
                expect_refused(BACKEND_E_CORRUPT);
        }
}

FILE_TEST(overwritten_pages)
{
        size_t len;
        TEST_FREED char *bytes = NULL;

        make_some(whole[_i]);
        bytes = test_read_file(PATH, &len);
        for (size_t page = 0; page < len; page += 4096) {
                TEST_FREED char *damaged = malloc(len);

                ck_assert_ptr_nonnull(damaged);
                memcpy(damaged, bytes, len);
                memset(damaged + page, 0xa5, 4096);
                test_write_file(PATH, damaged, len);
                expect_refused(BACKEND_E_CORRUPT);
        }
}

/* ---- SQLite files that are not sessions, or not of a known kind ---- */

static const struct {
        const char *kind; /* NULL: an empty database */
        const char *change;
        const char *names; /* the fault names it */
} foreign[] = {
        { NULL, "CREATE TABLE t (a)", "library" },
        { NULL, "CREATE TABLE version (number); INSERT INTO version VALUES (3)", "3" },
        { NULL, "CREATE TABLE version (number)", "version" },
        { NULL, "CREATE TABLE version (other); INSERT INTO version VALUES (3)", "library" },
        { "pyrogram-3", "UPDATE version SET number = 8", "8" },
        { "pyrogram-3", "UPDATE version SET number = 0", "0" },
        { "pyrogram-3", "UPDATE version SET number = 4", "4" },
        { "pyrogram-3", "UPDATE version SET number = 7", "7" },
        { "pyrogram-3", "UPDATE version SET number = 3000000000", "" },
        { "pyrogram-3", "DELETE FROM version", "version" },
        { "pyrogram-3", "DROP TABLE peers", "3" },
        { "pyrogram-3", "DROP TABLE sessions", "3" },
        { "pyrogram-3", "DELETE FROM sessions", "" },
        { "pyrogram-3", "ALTER TABLE sessions DROP COLUMN api_id", "3" },
        { "pyrogram-3", "DROP INDEX idx_peers_phone_number; ALTER TABLE peers DROP COLUMN phone_number",
          "3" },
        { "pyrogram-3", "ALTER TABLE peers RENAME TO p; CREATE VIEW peers AS SELECT * FROM p", "3" },
        { "pyrogram-3", "ALTER TABLE version RENAME TO v; CREATE VIEW version AS SELECT * FROM v",
          "library" },
        { "pyrogram-3",
          "DROP TABLE peers; CREATE VIRTUAL TABLE peers USING fts5(id, access_hash, type, username,"
          " phone_number, last_update_on)",
          "3" },
        { "pyrogram-3",
          "DROP TABLE peers; CREATE TABLE peers (id, access_hash, type, username, phone_number,"
          " last_update_on)",
          "3" },
        { "pyrogram-3", "UPDATE sessions SET auth_key = zeroblob(255)", "auth_key" },
        { "pyrogram-3", "UPDATE sessions SET auth_key = 'text'", "auth_key" },
        { "pyrogram-3", "UPDATE sessions SET dc_id = 256", "dc_id" },
        { "pyrogram-3", "UPDATE sessions SET api_id = 'many'", "api_id" },
        { "pyrogram-3", "CREATE TABLE gramd_fields (other)", "" },
        { "pyrogram-3", "CREATE VIEW gramd_peers AS SELECT 1", "" },
        { "hydrogram-3", "UPDATE version SET number = 8", "8" },
        { "pyrofork-4", "DROP TABLE update_state", "4" },
        { "pyrofork-4",
          "DROP TABLE usernames; CREATE VIEW usernames AS SELECT 1 AS id, 2 AS peer_id, 3 AS"
          " last_update_on",
          "4" },
        { "kurigram-7", "DROP TABLE usernames", "7" },
        { "kurigram-7", "UPDATE sessions SET port = 70000", "port" },
        { "telethon-7", "UPDATE version SET version = 6", "6" },
        { "telethon-8", "UPDATE version SET version = 9", "9" },
        { "telethon-8", "DROP TABLE entities", "8" },
        { "telethon-8", "ALTER TABLE entities DROP COLUMN date", "8" },
        { "telethon-8", "UPDATE sessions SET auth_key = x'00'", "auth_key" },
};

FILE_TEST(sqlite_files_of_no_known_kind)
{
        if (foreign[_i].kind)
                session_file_make(session_file(foreign[_i].kind), PATH);
        sql(PATH, "%s", foreign[_i].change);
        expect_refused(BACKEND_E_CORRUPT);
        ck_assert_msg(strstr(refusal, foreign[_i].names), "%s", refusal);
}

/* ---- not regular ---- */

FILE_TEST(symbolic_links)
{
        session_file_make(session_file("pyrogram-3"), "elsewhere.session");
        ck_assert_int_eq(symlink("../elsewhere.session", PATH), 0);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_STORAGE);
        ck_assert_ptr_nonnull(strstr(at.fault.text, "symbolic link"));
        expect_files("x.session");
        storage_expect(storage_list(&at, NULL, 0), "");
        ck_assert_int_eq(unlink("elsewhere.session"), 0);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_STORAGE); /* dangling */
        ck_assert_int_ne(access("elsewhere.session", F_OK), 0);
}

FILE_TEST(directories_and_pipes)
{
        ck_assert_int_eq(mkdir(PATH, 0700), 0);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_STORAGE);
        ck_assert_ptr_nonnull(strstr(at.fault.text, "directory"));
        ck_assert_int_eq(rmdir(PATH), 0);
        ck_assert_int_eq(mkfifo(PATH, 0600), 0);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true),
                         BACKEND_E_STORAGE); /* and does not wait for a writer */
        ck_assert_ptr_nonnull(strstr(at.fault.text, "not a regular file"));
        storage_expect(storage_list(&at, NULL, 0), "");
        expect_files("x.session");
}

/* Files of others, and a folder that cannot be written. Root may do everything, so not as root. */
FILE_TEST(read_only_files_and_folders)
{
        session_file_make(session_file("pyrogram-3"), PATH);
        if (geteuid() == 0) {
                ck_assert_int_eq(chown(PATH, 65534, 65534), 0);
                ck_assert_int_eq(chown("data", 65534, 65534), 0);
                ck_assert_int_eq(chmod(".", 0755), 0);
                ck_assert_int_eq(seteuid(65534), 0);
        }
        if (access("data", X_OK) != 0 && errno == EACCES) {
                test_skipped("read-only files", "the test's folder is not for others");
        } else {
                ck_assert_int_eq(chmod(PATH, 0400), 0);
                ck_assert_int_eq(storage_try(&at, "x", NULL, false), BACKEND_E_STORAGE);
                ck_assert_ptr_nonnull(strstr(at.fault.text, "Permission denied"));
                ck_assert_int_eq(chmod(PATH, 0600), 0);
                ck_assert_int_eq(chmod("data", 0500), 0);
                ck_assert_int_eq(storage_try(&at, "x", NULL, false), BACKEND_E_STORAGE);
                ck_assert_int_eq(storage_try(&at, "y", NULL, true), BACKEND_E_STORAGE);
                ck_assert_int_eq(chmod("data", 0700), 0);
                ck_assert_int_eq(storage_try(&at, "x", NULL, false), 0);
                storage_close(&at);
        }
        ck_assert_int_eq(seteuid(getuid()), 0);
        expect_files("x.session");
}

/* ---- held by another program ---- */

static sqlite3 *hold(const char *how)
{
        sqlite3 *db;

        ck_assert_int_eq(sqlite3_open(PATH, &db), SQLITE_OK);
        ck_assert_int_eq(sqlite3_exec(db, how, NULL, NULL, NULL), SQLITE_OK);
        return db;
}

static const struct {
        const char *kind;
        const char *how;
} holds[] = {
        { "pyrogram-3", "BEGIN EXCLUSIVE" },
        { "pyrogram-3", "BEGIN IMMEDIATE" }, /* Pyrogram's pending peers */
        { "pyrogram-3", "BEGIN; SELECT * FROM peers" },
        { "hydrogram-3", "BEGIN IMMEDIATE" },
        { "hydrogram-3", "SELECT * FROM peers" }, /* in WAL mode an open file is seen */
};

FILE_TEST(files_that_another_program_holds)
{
        sqlite3 *db;
        TEST_FREED char *path = realpath("data", NULL);
        TEST_FREED char *file = NULL;

        session_file_make(session_file(holds[_i].kind), PATH);
        file = test_format("%s/x.session", path);
        db = hold(holds[_i].how);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_BUSY);
        ck_assert_str_eq(at.fault.file, file);
        storage_open(&at, "other", NULL);
        storage_close(&at);
        sqlite3_close_v2(db);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), 0);
        ck_assert_str_eq(at.fault.file, "");
        storage_put_peer(&at, storage_peer(1, 1, "user", NULL, NULL, 1));
        storage_close(&at);
        storage_expect(sql_text(PATH, "PRAGMA journal_mode"), *holds[_i].kind == 'h' ? "'wal'" : "'delete'");
}

FILE_TEST(an_open_session_is_held_against_others)
{
        sqlite3 *db;

        session_file_make(session_file(_i ? "hydrogram-3" : "pyrogram-3"), PATH);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), 0);
        ck_assert_int_eq(sqlite3_open(PATH, &db), SQLITE_OK);
        ck_assert_int_eq(sqlite3_exec(db, "SELECT * FROM peers", NULL, NULL, NULL), SQLITE_BUSY);
        ck_assert_int_eq(sqlite3_exec(db, "UPDATE sessions SET dc_id = 5", NULL, NULL, NULL), SQLITE_BUSY);
        storage_put_peer(&at, storage_peer(1, 1, "user", NULL, NULL, 1));
        expect_files("x.session x.session-wal"); /* and no -shm */
        storage_close(&at);
        expect_files("x.session");
        ck_assert_int_eq(sqlite3_exec(db, "SELECT * FROM peers", NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
}

/* ---- hostile, but served ---- */

FILE_TEST(a_files_triggers_do_not_run)
{
        session_file_make(session_file("pyrogram-3"), PATH);
        sql(PATH,
            "CREATE TRIGGER evil AFTER INSERT ON peers BEGIN DELETE FROM peers; DELETE FROM sessions; END;"
            "CREATE TRIGGER evil2 AFTER UPDATE ON sessions BEGIN DELETE FROM peers; END");
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), 0);
        storage_put_peer(&at, storage_peer(1, 1, "user", NULL, NULL, 1));
        storage_put_peer(&at, storage_peer(1, 2, "user", NULL, NULL, 1));
        storage_put_peer(&at, storage_peer(2, 1, "user", NULL, NULL, 1));
        storage_put_number(&at, FIELD_API_ID, 5);
        storage_expect(storage_peers(&at, NULL, 9), "1 2 user nil nil 1; 2 1 user nil nil 1");
}

FILE_TEST(cells_that_nobody_should_have_written)
{
        session_file_make(session_file("pyrogram-3"), PATH);
        sql(PATH, "DROP TRIGGER trg_peers_last_update_on; INSERT INTO peers VALUES"
                  " (1, 1, 'user', CAST(zeroblob(300) AS TEXT), 'p1', 5),"
                  " (2, 'text', 'user', x'00ff', x'01', 'never'),"
                  " (3, 1.5, 'user', CAST(x'fffe' AS TEXT), 3.5, 5.5),"
                  " (4, 1, x'00', 'u4', 'p4', 5),"
                  " (5, 1, CAST(zeroblob(33) AS TEXT), 'u5', 'p5', 5),"
                  " (6, 1, '', 'u6', 'p6', 5),"
                  " (7, 1, 99, 'u7', 7, 5)");
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), 0);
        storage_expect(storage_peers(&at, NULL, 9),
                       "1 1 user nil p1 5; 2 nil user nil nil 0; 3 1 user nil 3.5 5;"
                       " 7 1 99 u7 7 5");
        storage_expect(storage_by_id(&at, 4), "");
        storage_expect(storage_by_username(&at, "u5"), "");
        storage_expect(storage_by_phone(&at, "p6"), "");
        storage_expect(storage_peers(&at, &(int64_t){ 3 }, 1), "7 1 99 u7 7 5");
        for (int64_t id = 1; id < 8; id++)
                storage_put_peer(&at, storage_peer(id, id, "user", NULL, NULL, 6));
        storage_expect(storage_by_id(&at, 5), "5 5 user nil nil 6");
        ck_assert_int_eq(storage_count(&at).peers, 7);
}

FILE_TEST(names_that_nobody_should_have_written)
{
        session_file_make(session_file("kurigram-7"), PATH);
        sql(PATH, "INSERT INTO usernames VALUES (1, NULL), (1, 'a'), (1, 'a'), (1, x'00'), (NULL, 'b'),"
                  " (1, CAST(zeroblob(300) AS TEXT)), ('x', 'c'), (1, 'd')");
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), 0);
        storage_put_names(&at, 1, "a e", 5);
        ck_assert_str_eq(at.effects, "username d; username e");
        storage_expect(storage_names(&at, NULL, 0, 9), "a 1; e 1");
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT username FROM usernames WHERE id = 1 ORDER BY 1"), "'a'; 'e'");
}

/* ---- the folder ---- */

FILE_TEST(only_sessions_are_listed)
{
        ck_assert_int_eq(mkdir("data/d.session", 0700), 0);
        test_write_file("data/a.session", "1234567", 7);
        test_write_file("data/.session", "", 0);
        test_write_file("data/.hidden.session", "", 0);
        test_write_file("data/b.session-wal", "", 0);
        test_write_file("data/notes.txt", "", 0);
        test_write_file("data/bad\xff.session", "", 0);
        test_write_file("data/x.session.session", "", 0);
        storage_expect(storage_list(&at, NULL, 0), "a; x.session");
}

FILE_TEST(a_new_file_is_ours_alone)
{
        struct stat stat_new;

        umask(0);
        storage_open(&at, "x", NULL);
        ck_assert_int_eq(stat(PATH, &stat_new), 0);
        ck_assert_uint_eq(stat_new.st_mode & 0777, 0600);
        storage_put_peer(&at, storage_peer(1, 1, "user", NULL, NULL, 1));
        ck_assert_int_eq(stat(PATH "-wal", &stat_new), 0);
        ck_assert_uint_eq(stat_new.st_mode & 0777, 0600);
        ck_assert_int_eq(at.backend->remove(at.session, true, &at.fault), 0);
        at.session = NULL;
        expect_files("");
}

FILE_TEST(what_a_deleted_file_left_is_not_the_new_ones)
{
        size_t len;
        TEST_FREED char *wal = NULL;

        storage_open(&at, "x", "hydrogram");
        storage_put_peer(&at, storage_peer(1, 1, "user", NULL, NULL, 1));
        wal = test_read_file(PATH "-wal", &len);
        ck_assert_uint_gt(len, 0);
        ck_assert_int_eq(at.backend->remove(at.session, true, &at.fault), 0);
        at.session = NULL;
        test_write_file(PATH "-wal", wal, len);
        storage_open(&at, "x", "hydrogram");
        ck_assert(at.opened.created);
        storage_expect(storage_peers(&at, NULL, 9), "");
}

static void expect_missing(int number)
{
        TEST_FREED char *path = test_format("data/s%d.session", number);
        TEST_FREED char *wal = test_format("%s-wal", path);

        ck_assert_int_ne(access(path, F_OK), 0);
        ck_assert_int_ne(access(wal, F_OK), 0);
}

/* Without descriptors an open is refused with the reason, and other sessions work. */
FILE_TEST(too_many_files)
{
        enum { OPEN = 40 };
        struct storage others[OPEN];
        struct rlimit limit;
        int n = 0;
        int error = 0;

        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur = 40 + (rlim_t)_i; /* each round another descriptor is the one too many */
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        while (!error) {
                TEST_FREED char *name = test_format("s%d", n);

                ck_assert_int_lt(n, OPEN);
                others[n] = at;
                others[n].effects = NULL;
                others[n].opened = (struct opened){ 0 };
                error = storage_try(&others[n++], name, NULL, true);
        }
        ck_assert_int_eq(error, BACKEND_E_STORAGE);
        ck_assert_msg(strstr(others[n - 1].fault.text, "Too many open files"), "%s",
                      others[n - 1].fault.text);
        expect_missing(n - 1);
        storage_put_peer(&others[0], storage_peer(1, 1, "user", NULL, NULL, 1));
        storage_close(&others[1]);
        storage_open(&others[1], "again", NULL);
        for (int i = 0; i < n; i++) {
                if (others[i].session)
                        storage_close(&others[i]);
                identity_wipe(&others[i].opened.identity);
                free(others[i].effects);
        }
}

FILE_TEST(too_many_states)
{
        enum { N = BACKEND_STATES_MAX };
        struct state *states = calloc(N + 1, sizeof(*states));
        const struct change change = { .kind = CHANGE_STATES, .states = states, .n = N + 1 };
        const struct change fits = { .kind = CHANGE_STATES, .states = states, .n = N };
        const int64_t gone = 5;

        ck_assert_ptr_nonnull(states);
        for (int64_t i = 0; i <= N; i++)
                states[i] = storage_state(i, 1, 2, 3, 4);
        storage_open(&at, "x", "pyrofork");
        ck_assert_int_eq(storage_apply(&at, &change, 1), BACKEND_E_TOO_LARGE);
        ck_assert_int_eq(storage_apply(&at, &fits, 1), 0);
        ck_assert_int_eq(storage_apply(&at, &fits, 1), 0);
        ck_assert_int_eq(storage_apply(&at, &change, 1), BACKEND_E_TOO_LARGE);
        ck_assert_int_eq(
                storage_apply(&at, &(struct change){ .kind = CHANGE_STATES_GONE, .ids = &gone, .n = 1 }, 1),
                0);
        storage_put_state(&at, states[N]);
        storage_close(&at);
        sql(PATH, "INSERT INTO update_state VALUES (-1, 1, 1, 1, 1)");
        ck_assert_int_eq(storage_try(&at, "x", NULL, false), BACKEND_E_TOO_LARGE);
        free(states);
}

int main(void)
{
        Suite *suite = suite_create("refused");
        TCase *tcase = tcase_create("refused");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        tcase_add_test(tcase, files_that_are_not_sqlites);
        tcase_add_loop_test(tcase, truncated_files, 0, sizeof(whole) / sizeof(*whole));
        tcase_add_loop_test(tcase, overwritten_pages, 0, sizeof(whole) / sizeof(*whole));
        tcase_add_loop_test(tcase, sqlite_files_of_no_known_kind, 0, sizeof(foreign) / sizeof(*foreign));
        tcase_add_test(tcase, symbolic_links);
        tcase_add_test(tcase, directories_and_pipes);
        tcase_add_test(tcase, read_only_files_and_folders);
        tcase_add_loop_test(tcase, files_that_another_program_holds, 0, sizeof(holds) / sizeof(*holds));
        tcase_add_loop_test(tcase, an_open_session_is_held_against_others, 0, 2);
        tcase_add_test(tcase, a_files_triggers_do_not_run);
        tcase_add_test(tcase, cells_that_nobody_should_have_written);
        tcase_add_test(tcase, names_that_nobody_should_have_written);
        tcase_add_test(tcase, only_sessions_are_listed);
        tcase_add_test(tcase, a_new_file_is_ours_alone);
        tcase_add_test(tcase, what_a_deleted_file_left_is_not_the_new_ones);
        tcase_add_loop_test(tcase, too_many_files, 0, 2);
        tcase_add_test(tcase, too_many_states);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
