/*
 * Syncs and writes that fail, on a disk as Linux has it: what a failed sync should have written is never
 * written by a later one, unless it is written again. What the disk has is kept here, beside the real files.
 * After a loss of power only that is left.
 */

#include <check.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/sqlite/sqlite.h"
#include "../support/file_test.h"
#include "../support/session_file.h"

/* ---- the disk ---- */

enum { FILES_MAX = 4, FILE_MAX_BYTES = 4 << 20 };

struct on_disk {
        char path[256]; /* empty: unused */
        ino_t inode;
        size_t size; /* in the page cache */
        unsigned char *cached;
        unsigned char *dirty; /* a byte each: written, and not given to the disk yet */
        size_t stored_size;
        unsigned char *stored;
};

static struct on_disk files[FILES_MAX];
static ssize_t (*real_pwrite)(int fd, const void *data, size_t len, off_t at);
static int (*real_truncate)(int fd, off_t size);
static bool seen;                                             /* calls are */
static bool syncs_fail, directory_syncs_fail, own_syncs_fail; /* own: of the session's file itself */
static int writes_before_failure = -1;                        /* negative: none fails */
static bool failing_write_is_done;                            /* and yet an error is returned */
static int failing_write_errno;

static struct on_disk *file_of(int fd)
{
        char link[64], path[256] = "";
        struct stat stat;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (readlink(link, path, sizeof(path) - 1) < 0 || fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode))
                return NULL;
        for (int i = 0; i < FILES_MAX; i++) {
                struct on_disk *file = &files[i];

                if (file->path[0] && strcmp(file->path, path) != 0)
                        continue;
                if (file->inode != stat.st_ino) {
                        strcpy(file->path, path);
                        file->inode = stat.st_ino;
                        free(file->cached);
                        file->cached = calloc(3, FILE_MAX_BYTES);
                        file->dirty = file->cached + FILE_MAX_BYTES;
                        file->stored = file->dirty + FILE_MAX_BYTES;
                        file->size = file->stored_size = (size_t)stat.st_size;
                        ck_assert_int_eq(pread(fd, file->cached, file->size, 0), (ssize_t)file->size);
                        memcpy(file->stored, file->cached, file->size);
                }
                return file;
        }
        ck_abort_msg("more files than expected: %s", path);
}

static bool is_log(const struct on_disk *file)
{
        size_t len = strlen(file->path);

        return len > 4 && strcmp(file->path + len - 4, "-wal") == 0;
}

static ssize_t seen_pwrite(int fd, const void *data, size_t len, off_t offset)
{
        struct on_disk *file = file_of(fd);
        bool fails = writes_before_failure == 0;

        writes_before_failure -= writes_before_failure > 0;
        if (!fails || failing_write_is_done) {
                ck_assert_int_le(offset + (off_t)len, FILE_MAX_BYTES);
                memcpy(file->cached + offset, data, len);
                memset(file->dirty + offset, 1, len);
                if (file->size < (size_t)offset + len)
                        file->size = (size_t)offset + len;
                ck_assert_int_eq(real_pwrite(fd, data, len, offset), (ssize_t)len);
        }
        errno = failing_write_errno;
        return fails ? -1 : (ssize_t)len;
}

static int seen_truncate(int fd, off_t size)
{
        struct on_disk *file = file_of(fd);

        memset(file->cached + size, 0, FILE_MAX_BYTES - (size_t)size);
        memset(file->dirty + size, 0, FILE_MAX_BYTES - (size_t)size);
        file->size = (size_t)size;
        return real_truncate(fd, size);
}

static int seen_sync(int fd)
{
        struct on_disk *file = seen ? file_of(fd) : NULL;
        bool fails = !file ? (seen ? directory_syncs_fail : syncs_fail)
                           : syncs_fail || (own_syncs_fail && !is_log(file));

        for (size_t i = 0; file && !fails && i < file->size; i++)
                if (file->dirty[i])
                        file->stored[i] = file->cached[i];
        if (file && !fails)
                file->stored_size = file->size;
        if (file) /* the kernel's pages are clean, whether they have been written or not */
                memset(file->dirty, 0, FILE_MAX_BYTES);
        errno = EIO;
        return fails ? -1 : 0;
}

int fsync(int fd)
{
        return seen_sync(fd);
}

int fdatasync(int fd)
{
        return seen_sync(fd);
}

static void see_calls(void)
{
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

        if (!real_pwrite) {
                real_pwrite =
                        (ssize_t(*)(int, const void *, size_t, off_t))vfs->xGetSystemCall(vfs, "pwrite64");
                real_truncate = (int (*)(int, off_t))vfs->xGetSystemCall(vfs, "ftruncate");
        }
        vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)seen_pwrite);
        vfs->xSetSystemCall(vfs, "ftruncate", (sqlite3_syscall_ptr)seen_truncate);
        seen = true;
        syncs_fail = directory_syncs_fail = own_syncs_fail = failing_write_is_done = false;
        writes_before_failure = -1;
        failing_write_errno = EIO;
}

static void forget_files(void)
{
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

        vfs->xSetSystemCall(vfs, "pwrite64", NULL);
        vfs->xSetSystemCall(vfs, "ftruncate", NULL);
        seen = false;
        for (int i = 0; i < FILES_MAX; i++)
                free(files[i].cached);
        memset(files, 0, sizeof(files));
}

static void copy(const char *from, const char *to)
{
        size_t len;
        TEST_FREED char *data = test_read_file(from, &len);

        test_write_file(to, data, len);
}

/* The ids of the peers that are in these files. */
static void expect_in(const char *path, const char *expected)
{
        storage_expect(sql_text(path, "SELECT group_concat(id, ' ') FROM (SELECT id FROM peers ORDER BY id)"),
                       expected);
        storage_expect(sql_text(path, "PRAGMA integrity_check"), "'ok'");
        unlink("data/copy");
        unlink("data/copy-wal");
        unlink("data/copy-shm");
}

static void expect_after_power_cut(const char *expected)
{
        for (int i = 0; i < FILES_MAX; i++)
                if (files[i].path[0])
                        test_write_file(is_log(&files[i]) ? "data/copy-wal" : "data/copy",
                                        (const char *)files[i].stored, files[i].stored_size);
        if (access("data/copy", F_OK) != 0) /* nothing was ever written to the file itself */
                copy(PATH, "data/copy");
        expect_in("data/copy", expected);
}

static void expect_after_kill(const char *expected)
{
        copy(PATH, "data/copy");
        if (access(PATH "-wal", F_OK) == 0)
                copy(PATH "-wal", "data/copy-wal");
        expect_in("data/copy", expected);
}

/* ---- tests ---- */

static int put(int64_t id, enum durability durability)
{
        const struct peer peer = storage_peer(id, 1, "user", NULL, NULL, 1);
        const struct change change = { .kind = CHANGE_PEERS, .peers = &peer, .n = 1 };

        return at.backend->apply(at.session, &change, 1, durability, NULL, NULL, &at.fault);
}

static int sync_now(void)
{
        return at.backend->sync(at.session, &at.fault);
}

FILE_TEST(what_a_failed_sync_was_to_cover_is_written_again)
{
        storage_open(&at, "x", NULL);
        see_calls();
        ck_assert_int_eq(put(1, DURABLE_DISK), 0);
        ck_assert_int_eq(put(2, DURABLE_SYSTEM), 0);
        syncs_fail = true;
        ck_assert_int_eq(put(3, DURABLE_DISK), BACKEND_E_UNSYNCED);
        expect_after_kill("'1 2 3'");
        expect_after_power_cut("'1'");
        for (int i = 0; i < 3; i++)
                ck_assert_int_eq(sync_now(), BACKEND_E_UNSYNCED);
        syncs_fail = false;
        ck_assert_int_eq(sync_now(), 0);
        expect_after_power_cut("'1 2 3'");
        ck_assert_int_eq(put(4, DURABLE_DISK), 0);
        expect_after_power_cut("'1 2 3 4'");
        storage_close(&at);
        expect_after_power_cut("'1 2 3 4'");
        forget_files();
}

FILE_TEST(nothing_is_stored_before_a_sync_succeeds)
{
        storage_open(&at, "x", NULL);
        see_calls();
        ck_assert_int_eq(put(1, DURABLE_SYSTEM), 0);
        syncs_fail = true;
        ck_assert_int_eq(sync_now(), BACKEND_E_UNSYNCED);
        ck_assert_int_eq(put(2, DURABLE_SYSTEM), BACKEND_E_UNAVAILABLE);
        storage_expect(storage_peers(&at, NULL, 9), "1 1 user nil nil 1"); /* reads are answered */
        expect_after_kill("'1'");
        syncs_fail = false;
        ck_assert_int_eq(put(2, DURABLE_DISK), 0);
        expect_after_power_cut("'1 2'");
        storage_close(&at);
        forget_files();
}

/* Closing copies the log to the file, which has to be synced too. */
FILE_TEST(a_sync_that_fails_at_closing_loses_nothing)
{
        storage_open(&at, "x", NULL);
        see_calls();
        for (int64_t id = 1; id <= 3; id++)
                ck_assert_int_eq(put(id, _i ? DURABLE_SYSTEM : DURABLE_DISK), 0);
        syncs_fail = true;
        ck_assert_int_lt(at.backend->close(at.session, &at.fault), 0);
        at.session = NULL;
        ck_assert_int_eq(access(PATH "-wal", F_OK), 0);
        expect_after_kill("'1 2 3'");
        if (!_i)
                expect_after_power_cut("'1 2 3'");
        syncs_fail = false;
        storage_open(&at, "x", NULL);
        expect_after_power_cut("'1 2 3'"); /* as soon as it is open */
        storage_close(&at);
        expect_after_power_cut("'1 2 3'");
        forget_files();
}

/* The log is on the disk, the file that it is copied to is not. */
FILE_TEST(a_file_that_cannot_be_synced_keeps_its_log)
{
        storage_open(&at, "x", NULL);
        see_calls();
        ck_assert_int_eq(put(1, DURABLE_DISK), 0);
        own_syncs_fail = true;
        for (int i = 0; i < 3; i++) { /* the third time all pages of the file are clean */
                ck_assert_int_lt(at.backend->close(at.session, &at.fault), 0);
                at.session = NULL;
                expect_after_kill("'1'");
                expect_after_power_cut("'1'");
                storage_open(&at, "x", NULL);
        }
        ck_assert_int_eq(put(2, DURABLE_DISK), 0);
        expect_after_power_cut("'1 2'");
        own_syncs_fail = false;
        storage_close(&at);
        expect_after_power_cut("'1 2'");
        forget_files();
}

/* Nobody knows whether its syncs have failed: the log is written again, as recovery has read it. */
FILE_TEST(a_log_that_was_left_is_not_trusted)
{
        storage_open(&at, "x", NULL);
        ck_assert_int_eq(put(1, DURABLE_DISK), 0);
        ck_assert_int_eq(put(2, DURABLE_SYSTEM), 0);
        copy(PATH, "data/y.session");
        copy(PATH "-wal", "data/y.session-wal");
        storage_close(&at);
        rename("data/y.session", PATH);
        rename("data/y.session-wal", PATH "-wal");
        see_calls();
        syncs_fail = true;
        ck_assert_int_eq(storage_try(&at, "x", NULL, false), BACKEND_E_UNAVAILABLE);
        expect_after_kill("'1 2'");
        syncs_fail = false;
        storage_open(&at, "x", NULL);
        expect_after_power_cut("'1 2'");
        storage_close(&at);
        forget_files();
}

FILE_TEST(the_directory_has_to_be_synced_too)
{
        storage_open(&at, "x", NULL);
        see_calls();
        directory_syncs_fail = true;
        ck_assert_int_eq(put(1, DURABLE_DISK), BACKEND_E_UNAVAILABLE);
        ck_assert_int_eq(sync_now(), BACKEND_E_UNSYNCED); /* although nothing has been committed */
        directory_syncs_fail = false;
        ck_assert_int_eq(sync_now(), 0);
        ck_assert_int_eq(put(2, DURABLE_DISK), 0);
        directory_syncs_fail = true; /* once is enough */
        ck_assert_int_eq(put(3, DURABLE_DISK), 0);
        directory_syncs_fail = false;
        storage_close(&at);
        forget_files();
}

/* Everything is on the disk when writes and syncs begin to fail: the outage ends with them. */
FILE_TEST(a_failed_log_is_out_of_order_until_it_is_synced)
{
        storage_open(&at, "x", NULL);
        see_calls();
        ck_assert_int_eq(put(1, DURABLE_DISK), 0);
        syncs_fail = failing_write_is_done = true;
        writes_before_failure = 0;
        ck_assert_int_eq(put(2, DURABLE_DISK), BACKEND_E_UNAVAILABLE);
        writes_before_failure = -1;
        ck_assert_int_eq(sync_now(), BACKEND_E_UNSYNCED);
        syncs_fail = false;
        ck_assert_int_eq(sync_now(), 0);
        expect_after_kill("'1'");
        expect_after_power_cut("'1'");
        storage_close(&at);
        forget_files();
}

/* A write fails, at any place of a transaction, although its bytes may be in the file. */
FILE_TEST(a_refused_write_does_not_come_back)
{
        bool failed = true;

        storage_open(&at, "x", NULL);
        see_calls();
        ck_assert_int_eq(put(1, DURABLE_DISK), 0);
        for (int n = 0; failed; n++) {
                ck_assert_int_eq(put(2, DURABLE_SYSTEM), 0);
                failing_write_is_done = _i;
                writes_before_failure = n;
                failed = put(100 + n, DURABLE_DISK) != 0;
                failed = failed && writes_before_failure == 0;
                writes_before_failure = -1;
                if (!failed)
                        break;
                expect_after_kill("'1 2'");
                ck_assert_int_eq(sync_now(), 0);
                expect_after_power_cut("'1 2'");
        }
        storage_close(&at);
        forget_files();
}

enum { MANY = 10000 };

/* Opening writes to the file's header. */
FILE_TEST(a_full_disk_refuses_an_open)
{
        int error = BACKEND_E_STORAGE;

        storage_open(&at, "x", NULL);
        ck_assert_int_eq(put(1, DURABLE_DISK), 0);
        storage_close(&at);
        see_calls();
        failing_write_errno = ENOSPC;
        for (int n = 0; error; n++) {
                writes_before_failure = n;
                error = storage_try(&at, "x", NULL, false);
                ck_assert(error == 0 || error == BACKEND_E_STORAGE);
                ck_assert(error || n >= 2);
                writes_before_failure = -1;
                expect_after_kill("'1'");
        }
        storage_close(&at);
        forget_files();
}

/* More than is kept in memory, and than the page cache holds. */
static struct peer *many_peers(void)
{
        static struct peer peers[MANY];
        static char names[MANY][256];

        for (int i = 0; i < MANY; i++) {
                snprintf(names[i], sizeof(names[i]), "%0250d", (i * 7919) % MANY);
                peers[i] = storage_peer(1 + i, 1, "user", names[i], NULL, 1);
        }
        return peers;
}

FILE_TEST(a_long_transaction_is_synced_in_between)
{
        const struct peer *peers = many_peers();

        storage_open(&at, "x", NULL);
        syncs_fail = true;
        ck_assert_int_eq(storage_put_peers(&at, peers, MANY), BACKEND_E_UNAVAILABLE);
        storage_expect(storage_peers(&at, NULL, 9), "");
        syncs_fail = false;
        ck_assert_int_eq(storage_put_peers(&at, peers, MANY), 0);
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT count(*) FROM peers"), "10000");
        forget_files();
}

static bool count_down(void *arg, const struct effect *effect)
{
        int *left = arg;

        (void)effect;
        return --*left > 0;
}

/* The log has the pages of a transaction that was rolled back when the next one reads its own. */
FILE_TEST(a_transaction_reads_back_what_it_has_written)
{
        int left = MANY / 4 * (4 - _i);
        const struct change change = { .kind = CHANGE_PEERS, .peers = many_peers(), .n = MANY };

        storage_restart_with(&at, "page-cache", 0);
        storage_open(&at, "x", NULL);
        ck_assert_int_eq(put(1, DURABLE_SYSTEM), 0);
        ck_assert_int_eq(
                at.backend->apply(at.session, &change, 1, DURABLE_SYSTEM, count_down, &left, &at.fault),
                BACKEND_E_STORAGE);
        left = MANY + 1;
        ck_assert_int_eq(
                at.backend->apply(at.session, &change, 1, DURABLE_SYSTEM, count_down, &left, &at.fault), 0);
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT count(*) FROM peers"), "10000");
        storage_expect(sql_text(PATH, "PRAGMA integrity_check"), "'ok'");
        forget_files();
}

static sqlite3_mem_methods memory;
static bool index_pages_fail; /* of SQLite's index of the log: there is one for 4,096 frames */

static void *allocate(int n)
{
        return index_pages_fail && n == 32 << 10 ? NULL : memory.xMalloc(n);
}

/* The transaction is in the log as a whole when SQLite finds that it has no memory for it. */
FILE_TEST(a_transaction_that_has_no_memory_does_not_come_back)
{
        const struct change change = { .kind = CHANGE_PEERS, .peers = many_peers(), .n = MANY / 4 };

        storage_open(&at, "x", NULL);
        storage_close(&at);
        sql(PATH, "PRAGMA page_size = 512; VACUUM");
        storage_open(&at, "x", NULL);
        ck_assert_int_eq(put(MANY, DURABLE_SYSTEM), 0);
        index_pages_fail = true;
        ck_assert_int_eq(at.backend->apply(at.session, &change, 1, DURABLE_SYSTEM, NULL, NULL, &at.fault),
                         BACKEND_E_STORAGE);
        index_pages_fail = false;
        storage_expect(storage_peers(&at, NULL, 9), "10000 1 user nil nil 1");
        copy(PATH, "data/copy");
        copy(PATH "-wal", "data/copy-wal");
        storage_expect(sql_text("data/copy", "SELECT count(*) FROM peers"), "1");
        ck_assert_int_eq(put(MANY + 1, DURABLE_SYSTEM), 0);
        expect_after_kill("'10000 10001'");
        storage_close(&at);
        forget_files();
}

/* Before SQLite is initialised. */
static void see_allocations(void)
{
        sqlite3_mem_methods watched;

        sqlite_heap_register(); /* else it would take the place of what follows */
        sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
        watched = memory;
        watched.xMalloc = allocate;
        sqlite3_config(SQLITE_CONFIG_MALLOC, &watched);
}

int main(void)
{
        Suite *suite = suite_create("failed_sync");
        TCase *tcase = tcase_create("failed_sync");
        SRunner *runner = srunner_create(suite);
        int failed;

        see_allocations();
        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        tcase_add_test(tcase, what_a_failed_sync_was_to_cover_is_written_again);
        tcase_add_test(tcase, nothing_is_stored_before_a_sync_succeeds);
        tcase_add_loop_test(tcase, a_sync_that_fails_at_closing_loses_nothing, 0, 2);
        tcase_add_test(tcase, a_file_that_cannot_be_synced_keeps_its_log);
        tcase_add_test(tcase, a_log_that_was_left_is_not_trusted);
        tcase_add_test(tcase, the_directory_has_to_be_synced_too);
        tcase_add_test(tcase, a_failed_log_is_out_of_order_until_it_is_synced);
        tcase_add_loop_test(tcase, a_refused_write_does_not_come_back, 0, 2);
        tcase_add_test(tcase, a_full_disk_refuses_an_open);
        tcase_add_test(tcase, a_long_transaction_is_synced_in_between);
        tcase_add_loop_test(tcase, a_transaction_reads_back_what_it_has_written, 0, 4);
        tcase_add_test(tcase, a_transaction_that_has_no_memory_does_not_come_back);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
