/* The write-ahead log: it is written in few pieces, and completely before a batch is answered. */

#include <check.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/file_test.h"
#include "../support/no_fsync.h"
#include "../support/session_file.h"

enum {
        BATCHES = 300,
        ROWS = 400, /* of a batch, at most */
        IDS = 4000,
        HEADER = 24, /* of a page in the log */
        PAGE = 4096,
        FEW = 8, /* pages to a write, at least */
};

/* ---- SQLite's writes ---- */

static ssize_t (*real_pwrite)(int fd, const void *data, size_t len, off_t at);
static int writes;
static int lone_headers;
static size_t bytes;
static int until_full; /* writes until they fail; negative: they never do */
static int failure = ENOSPC;

static ssize_t seen_pwrite(int fd, const void *data, size_t len, off_t offset)
{
        if (until_full == 0) {
                errno = failure;
                return -1;
        }
        until_full -= until_full > 0;
        writes++;
        lone_headers += len == HEADER;
        bytes += len;
        return real_pwrite(fd, data, len, offset);
}

static void see_writes(bool see)
{
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

        if (!real_pwrite)
                real_pwrite =
                        (ssize_t(*)(int, const void *, size_t, off_t))vfs->xGetSystemCall(vfs, "pwrite64");
        if (see) {
                writes = lone_headers = 0;
                bytes = 0;
                until_full = -1;
        }
        vfs->xSetSystemCall(vfs, "pwrite64", see ? (sqlite3_syscall_ptr)seen_pwrite : NULL);
}

/* ---- batches of rows ---- */

static uint64_t state = 88172645463325252u;

static unsigned below(unsigned n)
{
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return (unsigned)(state % n);
}

static int put(const int64_t *ids, int64_t hash, size_t n)
{
        static char names[ROWS][80];
        struct peer peers[ROWS];

        for (size_t i = 0; i < n; i++) {
                snprintf(names[i], sizeof(names[i]), "%060lld", (long long)(ids[i] * hash % 1000003));
                peers[i] = storage_peer(ids[i], hash, "user", names[i], NULL, 1);
        }
        return storage_put_peers(&at, peers, n);
}

static void copy(const char *from, const char *to)
{
        size_t len;
        TEST_FREED char *data = test_read_file(from, &len);

        test_write_file(to, data, len);
}

/* What another process would find if this one were killed now. */
static void expect_on_disk(const char *expected)
{
        copy(PATH, "data/copy");
        copy(PATH "-wal", "data/copy-wal");
        storage_expect(sql_text("data/copy", "SELECT count(*), total(id * access_hash) FROM peers"),
                       expected);
        storage_expect(sql_text("data/copy", "PRAGMA integrity_check"), "'ok'");
        unlink("data/copy");
        unlink("data/copy-wal");
        unlink("data/copy-shm");
}

/* ---- tests ---- */

FILE_TEST(a_batch_costs_few_writes)
{
        int64_t ids[ROWS];

        storage_open(&at, "x", NULL);
        for (int i = 0; i < ROWS; i++)
                ids[i] = 1 + i;
        ck_assert_int_eq(put(ids, 1, ROWS), 0);
        see_writes(true);
        ck_assert_int_eq(put(ids, 2, ROWS), 0);
        see_writes(false);
        ck_assert_uint_gt(bytes, (size_t)10 * PAGE);
        ck_assert_uint_ge(bytes / PAGE, (size_t)writes * FEW);
}

/*
 * Batches of all sizes, new rows and changed ones, with room in the page cache and without: then a
 * transaction writes pages that it reads again, and writes over. Every tenth batch finds the disk full.
 */
FILE_TEST(what_was_answered_is_in_the_file)
{
        static int64_t stored[IDS + 1];
        int refused = 0;

        memset(stored, 0, sizeof(stored));
        storage_restart_with(&at, "page-cache", _i ? 0 : 16 << 20);
        storage_open(&at, "x", NULL);
        see_writes(true);
        for (int64_t hash = 1; hash <= BATCHES; hash++) {
                size_t n = 1 + below(below(4) ? 10 : ROWS);
                int64_t ids[ROWS];
                char expected[64];
                int64_t count = 0;
                double total = 0;

                for (size_t i = 0; i < n; i++)
                        ids[i] = 1 + below(IDS);
                until_full = below(10) ? -1 : (int)below(6);
                if (put(ids, hash, n) == 0)
                        for (size_t i = 0; i < n; i++)
                                stored[ids[i]] = hash;
                else
                        refused++;
                until_full = -1;
                for (int64_t id = 1; id <= IDS; id++) {
                        count += stored[id] > 0;
                        total += (double)(id * stored[id]);
                }
                snprintf(expected, sizeof(expected), "%lld|%.1f", (long long)count, total);
                expect_on_disk(expected);
        }
        ck_assert_int_gt(refused, 0);
        ck_assert_int_eq(lone_headers > BATCHES, _i); /* pages were written over, and their headers again */
        see_writes(false);
}

/* The log is synced in the middle of it, and that begins with a write. */
FILE_TEST(a_large_batch_that_cannot_be_written_is_rolled_back)
{
        enum { MANY = 10000, FIRST = 50, LAST = 70 }; /* writes until the log is synced: between these */
        static struct peer peers[MANY];
        static char names[MANY][256];

        storage_open(&at, "x", NULL);
        for (int i = 0; i < MANY; i++) {
                snprintf(names[i], sizeof(names[i]), "%0240d", i);
                peers[i] = storage_peer(i + 1, 1, "user", names[i], NULL, 1);
        }
        failure = EIO;
        for (int n = FIRST; n <= LAST; n++) {
                see_writes(true);
                until_full = n;
                ck_assert_int_eq(storage_put_peers(&at, peers, MANY), BACKEND_E_STORAGE);
                ck_assert_uint_le(bytes, (size_t)5 << 20);
        }
        ck_assert_uint_gt(bytes, (size_t)4 << 20);
        failure = ENOSPC;
        see_writes(true);
        ck_assert_int_eq(storage_put_peers(&at, peers, MANY), 0);
        see_writes(false);
}

int main(void)
{
        Suite *suite = suite_create("sqlite_log");
        TCase *tcase = tcase_create("sqlite_log");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        tcase_add_test(tcase, a_batch_costs_few_writes);
        tcase_add_loop_test(tcase, what_was_answered_is_in_the_file, 0, 2);
        tcase_add_test(tcase, a_large_batch_that_cannot_be_written_is_rolled_back);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
