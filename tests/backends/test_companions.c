/*
 * What somebody has planted beside a session's file, or in its place: journals that name other files, FIFOs,
 * links, files of other users. They are refused, nothing waits for them, and every byte stays. And what the
 * crash of a library leaves: that is taken.
 */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../support/file_test.h"
#include "../support/no_fsync.h"
#include "../support/session_file.h"

#define JOURNAL PATH "-journal"
#define WAL PATH "-wal"

enum { PAGE_BYTES = 4096, SECTOR_BYTES = 512, STRANGER = 65534 };

static const unsigned char magic[] = { 0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7 };

/* ---- files and their bytes ---- */

struct bytes {
        const char *path;
        char *data;
        size_t len;
};

static struct bytes take_bytes(const char *path)
{
        struct bytes bytes = { .path = path };

        bytes.data = test_read_file(path, &bytes.len);
        ck_assert_msg(bytes.data != NULL, "%s", path);
        return bytes;
}

static void put_bytes(const struct bytes *bytes)
{
        test_write_file(bytes->path, bytes->data, bytes->len);
}

static void expect_bytes(const struct bytes *bytes)
{
        size_t len = 0;
        TEST_FREED char *now = test_read_file(bytes->path, &len);

        ck_assert_msg(now && len == bytes->len && memcmp(now, bytes->data, len) == 0, "%s has changed",
                      bytes->path);
}

static void free_bytes(struct bytes *bytes)
{
        free(bytes->data);
}

#define BYTES __attribute__((cleanup(free_bytes))) struct bytes

/* All of the data directory, gramd's own files too, but not the reserve. */
static void expect_files(const char *expected)
{
        glob_t found;
        char names[512] = "";

        if (glob("data/*", GLOB_PERIOD, NULL, &found) == 0)
                for (size_t i = 0; i < found.gl_pathc; i++) {
                        const char *name = found.gl_pathv[i] + strlen("data/");

                        if (strspn(name, ".") == strlen(name) || strcmp(name, ".gramd-reserve") == 0)
                                continue;
                        strcat(names, *names ? " " : "");
                        strcat(names, name);
                }
        globfree(&found);
        ck_assert_str_eq(names, expected);
}

static void start_again(void)
{
        storage_stop(&at);
        storage_start(&at, storage_backend("file"), "data");
}

static int try_open(void)
{
        return storage_try(&at, "x", NULL, false);
}

static void expect_refused(int error, const char *named)
{
        for (int i = 0; i < 2; i++) {
                int got = try_open();

                ck_assert_msg(got == error, "%d: %s", got, got ? at.fault.text : "opened");
                ck_assert_msg(strstr(at.fault.text, named) != NULL, "%s", at.fault.text);
                ck_assert_ptr_nonnull(strstr(at.fault.text, "'x'"));
        }
        start_again();
        if (at.log)
                ck_assert_msg(strstr(at.log, named) != NULL, "%s", at.log);
        storage_open(&at, "other", NULL);
        storage_close(&at);
        ck_assert_int_eq(unlink("data/other.session"), 0);
}

/* ---- journals ---- */

static void put32(unsigned char *at_byte, uint32_t number)
{
        for (int i = 0; i < 4; i++)
                at_byte[i] = (unsigned char)(number >> (24 - 8 * i));
}

static size_t journal_header(unsigned char *to, uint32_t n_records, uint32_t pages)
{
        memset(to, 0, SECTOR_BYTES);
        memcpy(to, magic, sizeof(magic));
        put32(to + 8, n_records);
        put32(to + 16, pages);
        put32(to + 20, SECTOR_BYTES);
        put32(to + 24, PAGE_BYTES);
        return SECTOR_BYTES;
}

/* As SQLite ends the journal of a transaction over several files. */
static size_t super_journal(unsigned char *to, const char *name)
{
        uint32_t len = (uint32_t)strlen(name), sum = 0;

        for (uint32_t i = 0; i < len; i++)
                sum += (unsigned char)name[i];
        put32(to, 0x40000000 / PAGE_BYTES + 1);
        memcpy(to + 4, name, len);
        put32(to + 4 + len, len);
        put32(to + 8 + len, sum);
        memcpy(to + 12 + len, magic, sizeof(magic));
        return 20 + len;
}

/* The journal that cuts the file to so many pages, and puts these bytes in the place of the first one. */
static void plant_first_page(const char *page, uint32_t pages)
{
        static unsigned char journal[SECTOR_BYTES + PAGE_BYTES + 8];
        size_t n = journal_header(journal, 1, pages);
        uint32_t sum = 0;

        put32(journal + n, 1);
        memcpy(journal + n + 4, page, PAGE_BYTES);
        for (int i = PAGE_BYTES - 200; i > 0; i -= 200)
                sum += (unsigned char)page[i];
        put32(journal + n + 4 + PAGE_BYTES, sum);
        test_write_file(JOURNAL, (char *)journal, sizeof(journal));
}

FILE_TEST(a_journal_that_names_another_file)
{
        TEST_FREED char *victim = NULL;
        unsigned char journal[2 * SECTOR_BYTES + 4096];
        size_t len = journal_header(journal, 0, 1);

        session_file_make(session_file("pyrogram-3"), PATH);
        test_write_file("victim", "precious", 8);
        victim = realpath("victim", NULL);
        len += super_journal(journal + len, victim);
        test_write_file(JOURNAL, (char *)journal, len);
        BYTES before = take_bytes(PATH), planted = take_bytes(JOURNAL), precious = take_bytes("victim");

        ck_assert_int_ne(try_open(), 0);
        expect_bytes(&precious);
        expect_refused(BACKEND_E_CORRUPT, "x.session-journal");
        expect_bytes(&precious);
        expect_bytes(&before);
        expect_bytes(&planted);
        expect_files("x.session x.session-journal");
        ck_assert_int_eq(unlink(PATH), 0);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), 0); /* which removes it, and nothing else */
        expect_bytes(&precious);
        unlink("victim");
}

FILE_TEST(a_journal_that_makes_it_no_session)
{
        char page[PAGE_BYTES];

        session_file_make(session_file("pyrogram-3"), PATH);
        memset(page, 0xa5, sizeof(page));
        plant_first_page(page, 1);
        BYTES before = take_bytes(PATH), planted = take_bytes(JOURNAL);

        expect_refused(BACKEND_E_CORRUPT, "x.session-journal");
        ck_assert_ptr_nonnull(at.log);
        expect_bytes(&before);
        expect_bytes(&planted);
        expect_files("x.session x.session-journal");
        ck_assert_int_eq(unlink(JOURNAL), 0);
        ck_assert_int_eq(try_open(), 0);
}

/* Another library's database, whole: SQLite itself finds nothing wrong with it. */
FILE_TEST(a_journal_that_makes_it_another_database)
{
        session_file_make(session_file("pyrogram-3"), PATH);
        unlink("recipes");
        sql("recipes", "PRAGMA page_size = 4096; CREATE TABLE recipes (name)");
        BYTES recipes = take_bytes("recipes");
        plant_first_page(recipes.data, 2);
        BYTES before = take_bytes(PATH), planted = take_bytes(JOURNAL);

        expect_refused(BACKEND_E_CORRUPT, "x.session-journal");
        expect_bytes(&before);
        expect_bytes(&planted);
        expect_files("x.session x.session-journal");
        unlink("recipes");
}

/* SQLite plays nothing back from these, and removes them. */
FILE_TEST(a_journal_beside_what_is_no_session)
{
        session_file_make(session_file("pyrogram-3"), PATH);
        sql(PATH, "UPDATE version SET number = 99");
        test_write_file(JOURNAL, "nonsense", 8);
        BYTES before = take_bytes(PATH), planted = take_bytes(JOURNAL);

        expect_refused(BACKEND_E_CORRUPT, "x.session-journal");
        expect_bytes(&before);
        expect_bytes(&planted);
}

/* It can be read, but not taken: its header says that later versions of SQLite alone may write to it. */
FILE_TEST(a_journal_beside_what_must_not_be_written)
{
        session_file_make(session_file("pyrogram-3"), PATH);
        BYTES file = take_bytes(PATH);
        file.data[18] = 11;
        put_bytes(&file);
        test_write_file(JOURNAL, "nonsense", 8);
        BYTES planted = take_bytes(JOURNAL);

        expect_refused(BACKEND_E_STORAGE, "x.session-journal");
        expect_bytes(&file);
        expect_bytes(&planted);
}

/* A crash in the middle of a transaction: pages of it are in the file, the former ones in the journal. */
static void crash_in_transaction(void)
{
        sqlite3 *db;

        unlink(PATH);
        session_file_make(session_file("pyrogram-3"), PATH);
        sql(PATH, "INSERT INTO peers (id, access_hash, type, last_update_on) VALUES (7, 70, 'user', 5)");
        ck_assert_int_eq(sqlite3_open(PATH, &db), SQLITE_OK);
        ck_assert_int_eq(sqlite3_exec(db,
                                      "BEGIN; UPDATE peers SET access_hash = 71;"
                                      "CREATE TABLE half (made)",
                                      NULL, NULL, NULL),
                         SQLITE_OK);
        ck_assert_int_eq(sqlite3_db_cacheflush(db), SQLITE_OK);
        BYTES file = take_bytes(PATH), journal = take_bytes(JOURNAL);
        sqlite3_close(db);
        put_bytes(&file);
        put_bytes(&journal);
}

static void expect_as_before_the_crash(void)
{
        ck_assert_msg(try_open() == 0, "%s", at.fault.text);
        storage_expect(storage_peers(&at, NULL, 1), "7 70 user nil nil 5");
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT count(*) FROM sqlite_schema WHERE name = 'half'"), "0");
        expect_files("x.session");
}

FILE_TEST(the_journal_of_a_crash_is_played_back)
{
        crash_in_transaction();
        expect_as_before_the_crash();
        crash_in_transaction();
        start_again();
        ck_assert_ptr_null(at.log);
        expect_as_before_the_crash();
}

/* A journal is not played back on a copy either while the program that writes it is alive. */
FILE_TEST(the_journal_of_a_running_program)
{
        sqlite3 *db;

        session_file_make(session_file("pyrogram-3"), PATH);
        ck_assert_int_eq(sqlite3_open(PATH, &db), SQLITE_OK);
        ck_assert_int_eq(sqlite3_exec(db, "BEGIN; UPDATE version SET number = 3", NULL, NULL, NULL),
                         SQLITE_OK);
        ck_assert_int_eq(sqlite3_db_cacheflush(db), SQLITE_OK);
        ck_assert_int_eq(try_open(), BACKEND_E_BUSY);
        ck_assert_ptr_nonnull(strstr(at.fault.file, "/data/x.session"));
        ck_assert_int_eq(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        ck_assert_int_eq(try_open(), 0);
}

FILE_TEST(copies_that_a_crash_left_are_removed)
{
        test_write_file("data/.gramd-new-3", "copy", 4);
        test_write_file("data/.gramd-new-3-journal", "copy", 4);
        test_write_file("data/.gramd-new-3-wal", "copy", 4);
        start_again();
        expect_files("");
}

/* ---- logs ---- */

/* A crash with transactions in the -wal: Hydrogram and Electrogram work so. */
static void crash_with_log(const char *kind)
{
        sqlite3 *db;

        unlink(PATH);
        session_file_make(session_file(kind), PATH);
        ck_assert_int_eq(sqlite3_open(PATH, &db), SQLITE_OK);
        ck_assert_int_eq(
                sqlite3_exec(
                        db,
                        "PRAGMA journal_mode = WAL;"
                        "INSERT INTO peers (id, access_hash, type, last_update_on) VALUES (7, 70, 'user', 5)",
                        NULL, NULL, NULL),
                SQLITE_OK);
        BYTES file = take_bytes(PATH), log = take_bytes(WAL);
        BYTES index = take_bytes(PATH "-shm");
        ck_assert_uint_gt(log.len, 0);
        sqlite3_close(db);
        put_bytes(&file);
        put_bytes(&log);
        put_bytes(&index);
}

FILE_TEST(the_log_of_a_crash_is_taken)
{
        static const char *const kinds[] = { "hydrogram-3", "electrogram-4" };
        static const char peers[] = "7 70 user nil nil 5";

        crash_with_log(kinds[_i]);
        ck_assert_msg(try_open() == 0, "%s", at.fault.text);
        storage_expect(storage_peers(&at, NULL, 1), peers);
        storage_close(&at);
        crash_with_log(kinds[_i]);
        start_again();
        ck_assert_ptr_null(at.log);
        ck_assert_int_eq(try_open(), 0);
        storage_expect(storage_peers(&at, NULL, 1), peers);
}

FILE_TEST(a_log_that_makes_it_no_session)
{
        sqlite3 *db;

        session_file_make(session_file("hydrogram-3"), PATH);
        ck_assert_int_eq(sqlite3_open(PATH, &db), SQLITE_OK);
        ck_assert_int_eq(sqlite3_exec(db, "PRAGMA journal_mode = WAL; UPDATE version SET number = 99", NULL,
                                      NULL, NULL),
                         SQLITE_OK);
        BYTES file = take_bytes(PATH), log = take_bytes(WAL);
        sqlite3_close(db);
        put_bytes(&file);
        put_bytes(&log);
        expect_refused(BACKEND_E_CORRUPT, "99");
        expect_bytes(&file);
        expect_bytes(&log);
        expect_files("x.session x.session-wal");
}

/* ---- what is no plain file of the daemon's ---- */

enum planted { SYMLINK, DANGLING, HARD_LINK, DIRECTORY, FIFO, SOCKET, DEVICE, FOREIGN, PLANTED };

static const char *const suffixes[] = { "", "-journal", "-wal", "-shm" };
enum { SUFFIXES = sizeof(suffixes) / sizeof(*suffixes) };

static int make_socket(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        int result;

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
        result = bind(fd, (struct sockaddr *)&address, sizeof(address));
        close(fd);
        return result;
}

/* A good session, outside of the data directory. */
static void make_target(void)
{
        unlink("target");
        session_file_make(session_file("pyrogram-3"), "target");
}

/* False: it cannot be made here. */
static bool plant(enum planted kind, const char *path)
{
        int result = 0;

        switch (kind) {
        case SYMLINK: result = symlink("../target", path); break;
        case DANGLING: result = symlink("../nowhere", path); break;
        case HARD_LINK: result = link("target", path); break;
        case DIRECTORY: result = mkdir(path, 0700); break;
        case FIFO: result = mkfifo(path, 0600); break;
        case SOCKET: result = make_socket(path); break;
        case DEVICE:
                result = mknod(path, S_IFCHR | 0600, 0x103); /* null */
                break;
        default: {
                BYTES target = take_bytes("target");

                test_write_file(path, target.data, target.len);
                result = chown(path, STRANGER, STRANGER);
                if (result != 0)
                        unlink(path);
        }
        }
        return result == 0;
}

static void remove_planted(const char *path)
{
        if (remove(path) != 0)
                ck_abort_msg("%s: %s", path, strerror(errno));
}

FILE_TEST(what_is_no_plain_file_of_ours)
{
        enum planted kind = (enum planted)(_i / SUFFIXES);
        const char *suffix = suffixes[_i % SUFFIXES];
        TEST_FREED char *path = test_format("%s%s", PATH, suffix);
        TEST_FREED char *named = test_format("/data/x.session%s' ", suffix);
        struct stat before, after;

        make_target();
        BYTES target = take_bytes("target");
        if (*suffix)
                session_file_make(session_file("pyrogram-3"), PATH);
        if (!plant(kind, path)) {
                test_skipped("a device or a file of another user", "only root can make one");
        } else {
                ck_assert_int_eq(lstat(path, &before), 0);
                expect_refused(BACKEND_E_STORAGE, named);
                storage_expect(storage_list(&at, NULL, 0),
                               *suffix || kind == HARD_LINK || kind == FOREIGN ? "x" : "");
                if (*suffix) {
                        ck_assert_int_eq(unlink(PATH), 0);
                        ck_assert_int_eq(try_open(), BACKEND_E_NOT_FOUND);
                        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_STORAGE);
                        ck_assert_int_ne(access(PATH, F_OK), 0);
                }
                ck_assert_int_eq(lstat(path, &after), 0);
                ck_assert_uint_eq(after.st_ino, before.st_ino);
                ck_assert_int_eq(after.st_mtime, before.st_mtime);
                remove_planted(path);
        }
        expect_bytes(&target);
        ck_assert_int_ne(access("nowhere", F_OK), 0);
        unlink("target");
}

/* Planted while the session is open. */
FILE_TEST(a_delete_removes_names_only)
{
        make_target();
        BYTES target = take_bytes("target");

        for (enum planted kind = SYMLINK; kind < PLANTED; kind++) {
                bool made;
                int error;

                storage_open(&at, "x", NULL);
                made = plant(kind, JOURNAL);
                error = at.backend->remove(at.session, true, &at.fault);
                at.session = NULL;
                ck_assert_int_eq(error, made && kind == DIRECTORY ? BACKEND_E_UNSYNCED : 0);
                if (made && kind == DIRECTORY)
                        remove_planted(JOURNAL);
                expect_files("");
                expect_bytes(&target);
        }
        unlink("target");
}

FILE_TEST(gramds_own_names)
{
        static const char *const names[] = { "data/.gramd-reserve", "data/.gramd-new-0" };
        const char *path = names[_i % 2];
        enum planted kind = (enum planted)(_i / 2);

        make_target();
        BYTES target = take_bytes("target");
        storage_stop(&at);
        remove(path);
        if (!plant(kind, path)) {
                storage_start(&at, storage_backend("file"), "data");
                test_skipped("a device or a file of another user", "only root can make one");
        } else {
                storage_start(&at, storage_backend("file"), "data");
                storage_open(&at, "x", NULL);
                storage_put_peer(&at, storage_peer(7, 7, "user", NULL, NULL, 1));
                storage_close(&at);
                expect_files(kind == DIRECTORY && _i % 2 ? ".gramd-new-0 x.session" : "x.session");
        }
        expect_bytes(&target);
        unlink("target");
}

int main(void)
{
        Suite *suite = suite_create("companions");
        TCase *tcase = tcase_create("companions");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        tcase_add_test(tcase, a_journal_that_names_another_file);
        tcase_add_test(tcase, a_journal_that_makes_it_no_session);
        tcase_add_test(tcase, a_journal_that_makes_it_another_database);
        tcase_add_test(tcase, a_journal_beside_what_is_no_session);
        tcase_add_test(tcase, a_journal_beside_what_must_not_be_written);
        tcase_add_test(tcase, the_journal_of_a_crash_is_played_back);
        tcase_add_test(tcase, the_journal_of_a_running_program);
        tcase_add_test(tcase, copies_that_a_crash_left_are_removed);
        tcase_add_loop_test(tcase, the_log_of_a_crash_is_taken, 0, 2);
        tcase_add_test(tcase, a_log_that_makes_it_no_session);
        tcase_add_loop_test(tcase, what_is_no_plain_file_of_ours, 0, PLANTED * SUFFIXES);
        tcase_add_test(tcase, a_delete_removes_names_only);
        tcase_add_loop_test(tcase, gramds_own_names, 0, PLANTED * 2);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
