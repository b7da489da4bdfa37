/*
 * Bounds: the memory of all memory sessions, the page caches and the logs of all files, and a process without
 * memory.
 */

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/sqlite/sqlite.h"
#include "../support/no_fsync.h"
#include "../support/program.h"
#include "../support/session_file.h"
#include "../support/storage.h"

enum { ROWS = 500, TOO_MANY_ROWS = 500000 };

static struct storage at;

/* A batch of rows, 100 to 200 KiB with their indexes. */
static int put_rows(struct storage *storage, int64_t first)
{
        static char names[ROWS][128];
        struct peer peers[ROWS];

        for (int i = 0; i < ROWS; i++) {
                snprintf(names[i], sizeof(names[i]), "%0100lld", (long long)first + i);
                peers[i] = storage_peer(first + i, i, "user", names[i], NULL, 1);
        }
        return storage_put_peers(storage, peers, ROWS);
}

static void start(const char *backend, size_t bytes)
{
        test_remove("data"); /* a failed test's */
        storage_start(&at, storage_backend(backend), "data");
        storage_restart_with(&at, strcmp(backend, "file") == 0 ? "page-cache" : "memory-max", bytes);
}

static void stop(void)
{
        storage_stop(&at);
        test_remove("data");
}

/* Another session of the same backend. */
static struct storage beside(void)
{
        struct storage other = at;

        other.session = NULL;
        opened_init(&other.opened);
        other.effects = other.log = NULL;
        return other;
}

static void leave(struct storage *other)
{
        if (other->session)
                storage_close(other);
        opened_deinit(&other->opened);
        free(other->effects);
}

static int64_t fill(struct storage *storage)
{
        int64_t rows = 0;
        int error;

        while ((error = put_rows(storage, rows + 1)) == 0) {
                rows += ROWS;
                ck_assert_int_lt(rows, TOO_MANY_ROWS);
        }
        ck_assert_int_eq(error, BACKEND_E_STORAGE);
        return rows;
}

START_TEST(memory_sessions_share_their_bound)
{
        struct storage other;
        int64_t rows;

        start("memory", 2 << 20);
        storage_open(&at, "big", NULL);
        rows = fill(&at);
        ck_assert_int_gt(rows, 2L * ROWS);
        ck_assert_int_eq(storage_count(&at).peers, rows); /* no row of the batch that did not fit */
        ck_assert_int_le(storage_count(&at).bytes, 2 << 20);
        ck_assert_int_gt(storage_count(&at).bytes, 1 << 20);
        other = beside();
        ck_assert_int_eq(storage_try(&other, "small", NULL, true), BACKEND_E_STORAGE);
        ck_assert_ptr_nonnull(strstr(other.fault.text, "memory-max"));
        storage_close(&at);
        storage_open(&other, "small", NULL); /* all of the room is free again */
        ck_assert_int_eq(fill(&other), rows);
        leave(&other);
        stop();
}
END_TEST

START_TEST(a_memory_session_grows_by_what_another_gives_back)
{
        struct storage other;
        int64_t rows;

        start("memory", 2 << 20);
        storage_open(&at, "one", NULL);
        other = beside();
        storage_open(&other, "two", NULL);
        rows = fill(&at);
        ck_assert_int_lt(fill(&other), rows / 2); /* what the first session left */
        ck_assert_int_le(storage_count(&at).bytes + storage_count(&other).bytes, 2 << 20);
        leave(&other);
        for (int round = 0; round < 200;
             round++) { /* opening and closing sessions does not use up the budget */
                other = beside();
                if (storage_try(&other, "two", NULL, true) == 0)
                        put_rows(&other, 1);
                leave(&other);
        }
        storage_close(&at);
        storage_open(&at, "one", NULL);
        ck_assert_int_ge(fill(&at), rows);
        stop();
}
END_TEST

static size_t heap(void)
{
        struct mallinfo2 info = mallinfo2();

        return info.uordblks + info.hblkhd;
}

START_TEST(page_caches_share_their_bound)
{
        enum { SESSIONS = 24, BUDGET = 2 << 20, EACH = 192 << 10 };
        struct storage sessions[SESSIONS];
        size_t before;

        start("file", BUDGET);
        storage_open(&at, "warm", NULL);
        ck_assert_int_eq(put_rows(&at, 1), 0);
        storage_close(&at);
        before = heap();
        for (int i = 0; i < SESSIONS; i++) {
                TEST_FREED char *name = test_format("s%d", i);

                sessions[i] = beside();
                storage_open(&sessions[i], name, NULL);
        }
        for (int64_t round = 0; round < 10; round++)
                for (int i = 0; i < SESSIONS; i++)
                        ck_assert_int_eq(put_rows(&sessions[i], round * ROWS + 1), 0);
        for (int i = 0; i < SESSIONS; i++) /* what is not synced is in memory, beside the caches */
                ck_assert_int_eq(sessions[i].backend->sync(sessions[i].session, &sessions[i].fault), 0);
        /* Ten times more has been written than may be cached. */
        ck_assert_int_gt(storage_count(&sessions[0]).bytes * SESSIONS, 10L * BUDGET);
        ck_assert_uint_lt(heap() - before,
                          ((size_t)BUDGET + (size_t)SESSIONS * EACH) * (size_t)test_memory_factor());
        for (int i = 0; i < SESSIONS; i++)
                leave(&sessions[i]);
        stop();
}
END_TEST

/* Pages and statements of a write go when it is on the disk, if many sessions are open. */
START_TEST(sessions_at_rest_take_little_memory)
{
        enum { SESSIONS = 80, EACH = 20 << 10 };
        struct storage sessions[SESSIONS];
        size_t before;

        start("file", 64 << 20);
        for (int i = 0; i < SESSIONS; i++) {
                TEST_FREED char *name = test_format("s%d", i);

                sessions[i] = beside();
                storage_open(&sessions[i], name, NULL);
        }
        before = heap();
        for (int i = 0; i < SESSIONS; i++) {
                storage_put_peer(&sessions[i], storage_peer(7, 1, "user", "seven", NULL, 1));
                ck_assert_int_eq(sessions[i].backend->sync(sessions[i].session, &sessions[i].fault), 0);
        }
        ck_assert_uint_lt(heap() - before, (size_t)SESSIONS * EACH);
        for (int i = 0; i < SESSIONS; i++) { /* what has gone comes again */
                storage_put_peer(&sessions[i], storage_peer(8, 2, "user", "eight", NULL, 1));
                storage_expect(storage_by_username(&sessions[i], "seven"), "7 1 user seven nil 1");
                leave(&sessions[i]);
        }
        stop();
}
END_TEST

/* ---- logs ---- */

enum { SMALL = 12 };

static int64_t file_bytes(const char *path)
{
        struct stat stat;

        return lstat(path, &stat) == 0 ? stat.st_size : 0;
}

static int64_t all_logs(void)
{
        int64_t bytes = 0;

        for (int i = 0; i < SMALL; i++) {
                TEST_FREED char *path = test_format("data/s%d.session-wal", i);

                bytes += file_bytes(path);
        }
        return bytes;
}

static void open_small(struct storage sessions[SMALL])
{
        for (int i = 0; i < SMALL; i++) {
                TEST_FREED char *name = test_format("s%d", i);

                sessions[i] = beside();
                storage_open(&sessions[i], name, NULL);
        }
}

static void leave_small(struct storage sessions[SMALL])
{
        for (int i = 0; i < SMALL; i++)
                leave(&sessions[i]);
}

START_TEST(a_small_session_has_a_short_log)
{
        struct storage sessions[SMALL];

        start("file", 64 << 20);
        open_small(sessions);
        for (int64_t hash = 1; hash <= 2000; hash++)
                storage_put_peer(&sessions[0], storage_peer(7, hash, "user", "seven", NULL, 1));
        ck_assert_int_gt(all_logs(), 0);
        ck_assert_int_lt(all_logs(), 1 << 20);
        ck_assert_int_eq(put_rows(&sessions[0], 1), 0); /* the log of a larger file may be longer */
        for (int64_t first = 1; first < 100L * ROWS; first += ROWS)
                ck_assert_int_eq(put_rows(&sessions[0], first), 0);
        ck_assert_int_gt(all_logs(), 4 << 20);
        for (int64_t hash = 1; hash <= 20000; hash++)
                storage_put_peer(&sessions[0], storage_peer(7, hash, "user", "seven", NULL, 1));
        ck_assert_int_lt(all_logs(), 64 << 20);
        leave_small(sessions);
        stop();
}
END_TEST

START_TEST(logs_share_their_bound)
{
        enum { MAX = 1 << 20 };
        struct storage sessions[SMALL];

        start("file", 64 << 20);
        storage_restart_with(&at, "log-max", MAX);
        open_small(sessions);
        for (int64_t round = 0; round < 20; round++)
                for (int i = 0; i < SMALL; i++) {
                        ck_assert_int_eq(put_rows(&sessions[i], round * ROWS + 1), 0);
                        ck_assert_int_le(all_logs(), MAX);
                }
        for (int i = 0; i < SMALL; i++)
                ck_assert_int_eq(storage_count(&sessions[i]).peers, 20L * ROWS);
        leave_small(sessions);
        ck_assert_int_eq(all_logs(), 0);
        stop();
}
END_TEST

/* The file cannot be written, but its log can: the write that needed the checkpoint has not failed. */
static int failing_pwrites;
static ssize_t (*real_pwrite)(int fd, const void *data, size_t len, off_t at);

static ssize_t pwrite_to_logs(int fd, const void *data, size_t len, off_t offset)
{
        TEST_FREED char *link = test_format("/proc/self/fd/%d", fd);
        char path[512] = "";

        ck_assert_int_gt(readlink(link, path, sizeof(path) - 1), 0);
        if (strcmp(path + strlen(path) - 4, "-wal") == 0)
                return real_pwrite(fd, data, len, offset);
        failing_pwrites++;
        errno = EIO;
        return -1;
}

static int lines(const char *text, const char *what)
{
        int n = 0;

        while (text && (text = strstr(text, what)) && ++n)
                text++;
        return n;
}

START_TEST(a_checkpoint_that_fails_is_no_failed_write)
{
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
        long long start_ms = test_now_ms();
        TEST_FREED char *expected = NULL;
        int64_t hash = 0;

        start("file", 64 << 20);
        storage_open(&at, "s0", NULL);
        real_pwrite = (ssize_t(*)(int, const void *, size_t, off_t))vfs->xGetSystemCall(vfs, "pwrite64");
        vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)pwrite_to_logs);
        while (hash < 500)
                storage_put_peer(&at, storage_peer(7, ++hash, "user", "seven", NULL, 1));
        vfs->xSetSystemCall(vfs, "pwrite64", NULL);
        ck_assert_int_eq(failing_pwrites, 1); /* the next try is a second later */
        ck_assert_int_eq(lines(at.log, "session 's0': writing its -wal back to the file: "), 1);
        while (lines(at.log, "session 's0': its -wal has been written back") == 0) {
                test_time_left(start_ms, "the next checkpoint");
                storage_put_peer(&at, storage_peer(7, ++hash, "user", "seven", NULL, 1));
                usleep(10 * 1000);
        }
        ck_assert_int_eq(lines(at.log, "\n"), 2);
        expected = test_format("7 %lld user seven nil 1", (long long)hash);
        storage_expect(storage_by_id(&at, 7), expected);
        stop();
}
END_TEST

/* ---- without memory ---- */

static sqlite3_mem_methods real;
static long allocations;
static long fail_from;
static long fail_to;

static bool fails(void)
{
        allocations++;
        return allocations > fail_from && allocations <= fail_to;
}

static void *failing_malloc(int size)
{
        return fails() ? NULL : real.xMalloc(size);
}

static void *failing_realloc(void *memory, int size)
{
        return fails() ? NULL : real.xRealloc(memory, size);
}

/* A session's life; returns how many of its steps went well. */
static int live(void)
{
        const long without_memory = fail_from;
        const struct peer peer = storage_peer(7, STORAGE_NIL, "bot", "seven", "+7", 1);
        int error = storage_try(&at, "x", NULL, false);
        int done = 0;

        ck_assert_msg(error == 0 || error == BACKEND_E_STORAGE, "%d: %s", error, at.fault.text);
        if (error)
                return 0;
        for (int i = 0; i < 2; i++) {
                error = storage_put_peers(&at, &peer, 1);
                ck_assert_msg(error == 0 || error == BACKEND_E_STORAGE, "%d: %s", error, at.fault.text);
                done += !error;
        }
        fail_from = LONG_MAX;
        if (!done) { /* with memory it works again, whatever failed before */
                error = storage_put_peers(&at, &peer, 1);
                ck_assert_msg(error == 0, "%d: %s", error, at.fault.text);
                done++;
        }
        fail_from = without_memory;
        error = at.backend->close(at.session, &at.fault);
        at.session = NULL;
        ck_assert_msg(error == 0 || error == BACKEND_E_STORAGE, "%d: %s", error, at.fault.text);
        return done;
}

START_TEST(no_memory_is_an_error_and_not_an_end)
{
        const long burst = _i ? LONG_MAX : 1;
        sqlite3_mem_methods methods;
        long total;

        sqlite_heap_register(); /* else it would take the place of what follows */
        ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real), SQLITE_OK);
        methods = real;
        methods.xMalloc = failing_malloc;
        methods.xRealloc = failing_realloc;
        ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods), SQLITE_OK);
        fail_from = LONG_MAX;
        start("file", 2 << 20);
        session_file_make(session_file("telethon-8"), "data/x.session");
        allocations = 0;
        ck_assert_int_eq(live(), 2);
        total = allocations;
        ck_assert_int_gt(total, 500);
        for (long at_allocation = 0; at_allocation < total; at_allocation += 1 + total / 400) {
                int stored;

                unlink("data/x.session");
                unlink("data/x.session-wal");
                fail_from = LONG_MAX;
                session_file_make(session_file("telethon-8"), "data/x.session");
                allocations = 0;
                fail_from = at_allocation;
                fail_to = burst == LONG_MAX ? LONG_MAX : at_allocation + burst;
                stored = live();
                fail_from = LONG_MAX;
                ck_assert_int_eq(storage_try(&at, "x", NULL, false), 0);
                storage_expect(storage_by_id(&at, 7), stored ? "7 nil bot seven +7 1" : "");
                storage_close(&at);
                storage_expect(sql_text("data/x.session", "PRAGMA integrity_check"), "'ok'");
                storage_expect(sql_text("data/x.session", "PRAGMA journal_mode"), "'delete'");
        }
        stop();
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("budget");
        TCase *tcase = tcase_create("budget");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        tcase_add_test(tcase, memory_sessions_share_their_bound);
        tcase_add_test(tcase, a_memory_session_grows_by_what_another_gives_back);
        tcase_add_test(tcase, page_caches_share_their_bound);
        tcase_add_test(tcase, sessions_at_rest_take_little_memory);
        tcase_add_test(tcase, a_small_session_has_a_short_log);
        tcase_add_test(tcase, logs_share_their_bound);
        tcase_add_test(tcase, a_checkpoint_that_fails_is_no_failed_write);
        tcase_add_loop_test(tcase, no_memory_is_an_error_and_not_an_end, 0, 2);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
