/*
 * What survives a kill, a full disk, a failing disk, a process without memory: everything that was answered.
 * A batch is stored completely or not at all, and the library can read the file afterwards.
 */

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/file_test.h"
#include "../support/session_file.h"

static void restart(void)
{
        storage_stop(&at);
        storage_start(&at, storage_backend("file"), "data");
}

static void open_existing(void)
{
        int error = storage_try(&at, "x", NULL, false);

        ck_assert_msg(error == 0, "%d: %s", error, at.fault.text);
}

/* The end of a process that is to be killed, from outside: valgrind counts what one left that kills itself.
 */
static void await_kill(void)
{
        raise(SIGSTOP);
}

/* The status of a child that has ended or, if it waits for that, has been killed. */
static int reap(pid_t pid)
{
        int status;

        ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
        if (WIFSTOPPED(status)) {
                ck_assert_int_eq(kill(pid, SIGKILL), 0);
                ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        }
        return status;
}

/* Runs `body` in a process that is killed at its end. No assertions there: they are for Check's process. */
static void in_killed_process(void (*body)(void))
{
        pid_t pid = fork();
        int status;

        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                body();
                await_kill();
        }
        status = reap(pid);
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %d", status);
}

/* ---- kills ---- */

static bool ignore_effect(void *arg, const struct effect *effect)
{
        (void)arg;
        (void)effect;
        return true;
}

static bool open_here(void)
{
        const struct open_options options = { .name = slice_of("x"), .create = true };

        opened_init(&at.opened);
        return at.backend->open(at.env, &options, &at.session, &at.opened, &at.fault) == 0;
}

static void apply_here(const struct change *change)
{
        at.backend->apply(at.session, change, 1, DURABLE_SYSTEM, ignore_effect, NULL, &at.fault);
}

static void write_and_die(void)
{
        const struct peer peers[] = { storage_peer(7, 7, "user", "seven", NULL, 1),
                                      storage_peer(8, 8, "user", NULL, NULL, 1) };

        if (open_here())
                for (int i = 0; i < 2; i++)
                        apply_here(&(struct change){ .kind = CHANGE_PEERS, .peers = &peers[i], .n = 1 });
}

static const struct {
        const char *kind; /* NULL: made by the process that is killed */
        const char *journal_mode;
} killed[] = {
        { NULL, "'delete'" },
        { "pyrogram-3", "'delete'" },
        { "hydrogram-3", "'wal'" },
        { "telethon-8", "'delete'" },
};

FILE_TEST(a_killed_daemons_sessions_are_put_in_order_at_start)
{
        if (killed[_i].kind)
                session_file_make(session_file(killed[_i].kind), PATH);
        in_killed_process(write_and_die);
        ck_assert_int_eq(access(PATH "-wal", F_OK), 0);
        restart();
        ck_assert_int_ne(access(PATH "-wal", F_OK), 0);
        ck_assert_int_ne(access(PATH "-shm", F_OK), 0);
        ck_assert_ptr_null(at.log);
        storage_expect(sql_text(PATH, "PRAGMA journal_mode"), killed[_i].journal_mode);
        storage_expect(sql_text(PATH, "PRAGMA application_id"), "0");
        storage_expect(sql_text(PATH, "PRAGMA integrity_check"), "'ok'");
        open_existing();
        storage_expect(storage_peers(&at, NULL, 9), "7 7 user seven nil 1; 8 8 user nil nil 1");
}

/* A library opens what the killed process left, sees everything, and leaves a journal. */
FILE_TEST(a_library_may_come_first_after_a_kill)
{
        session_file_make(session_file("pyrogram-3"), PATH);
        in_killed_process(write_and_die);
        storage_expect(sql_text(PATH, "SELECT id FROM peers ORDER BY id"), "7; 8");
        sql(PATH, "INSERT INTO peers (id, type, last_update_on) VALUES (9, 'user', 1); VACUUM");
        open_existing();
        storage_expect(storage_peers(&at, NULL, 9),
                       "7 7 user seven nil 1; 8 8 user nil nil 1; 9 nil user nil nil 1");
        storage_close(&at);
        storage_expect(sql_text(PATH, "PRAGMA journal_mode"), "'delete'");
}

static int steps_left;
static ssize_t (*real_pwrite)(int fd, const void *data, size_t len, off_t at);
static int (*real_unlink)(const char *path);
static int (*real_ftruncate)(int fd, off_t size);

static void kill_at_step(void)
{
        if (steps_left-- == 0)
                await_kill();
}

static ssize_t kill_at_pwrite(int fd, const void *data, size_t len, off_t offset)
{
        kill_at_step();
        return real_pwrite(fd, data, len, offset);
}

static int kill_at_unlink(const char *path)
{
        kill_at_step();
        return real_unlink(path);
}

static int kill_at_ftruncate(int fd, off_t size)
{
        kill_at_step();
        return real_ftruncate(fd, size);
}

static void replace_call(const char *name, sqlite3_syscall_ptr call)
{
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

        vfs->xSetSystemCall(vfs, name, call);
}

static sqlite3_syscall_ptr original_call(const char *name)
{
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

        return vfs->xGetSystemCall(vfs, name);
}

/* True: it was not killed. */
static bool a_session_with_a_kill_in_it(int steps)
{
        const struct peer peer = storage_peer(7, 7, "user", "seven", "+7", 1);
        struct identity identity;
        struct change fields = { .kind = CHANGE_IDENTITY, .n = 1 };

        real_pwrite = (ssize_t(*)(int, const void *, size_t, off_t))original_call("pwrite64");
        real_unlink = (int (*)(const char *))original_call("unlink");
        real_ftruncate = (int (*)(int, off_t))original_call("ftruncate");
        steps_left = steps;
        replace_call("pwrite64", (sqlite3_syscall_ptr)kill_at_pwrite);
        replace_call("unlink", (sqlite3_syscall_ptr)kill_at_unlink);
        replace_call("ftruncate", (sqlite3_syscall_ptr)kill_at_ftruncate);
        if (!open_here())
                return false;
        identity_init(&identity);
        identity_set_number(&identity, FIELD_TAKEOUT_ID, 5);
        fields.fields = FIELD_BIT(FIELD_TAKEOUT_ID);
        fields.identity = &identity;
        apply_here(&(struct change){ .kind = CHANGE_PEERS, .peers = &peer, .n = 1 });
        apply_here(&fields);
        return at.backend->close(at.session, &at.fault) == 0;
}

/* Killed before every single step of a session's life, opening and closing included. The next start is
 * enough. */
FILE_TEST(a_kill_at_any_write_leaves_the_librarys_file)
{
        for (int n = 0;; n++) {
                pid_t pid;
                int status;

                unlink(PATH);
                session_file_make(session_file(_i ? "hydrogram-3" : "pyrogram-3"), PATH);
                sql(PATH, "INSERT INTO peers (id, type, last_update_on) VALUES (9, 'user', 1)");
                pid = fork();
                if (pid == 0)
                        _exit(a_session_with_a_kill_in_it(n) ? 0 : 1);
                status = reap(pid);
                restart();
                ck_assert_ptr_null(at.log);
                ck_assert_int_ne(access(PATH "-wal", F_OK), 0);
                storage_expect(sql_text(PATH, "PRAGMA integrity_check"), "'ok'");
                storage_expect(sql_text(PATH, "PRAGMA journal_mode"), _i ? "'wal'" : "'delete'");
                storage_expect(sql_text(PATH, "PRAGMA application_id"), "0");
                storage_expect(sql_text(PATH, "SELECT count(*) FROM peers WHERE id = 9"), "1");
                if (WIFEXITED(status)) {
                        ck_assert_int_eq(WEXITSTATUS(status), 0);
                        ck_assert_int_gt(n, 6); /* there were steps at which to kill it */
                        return;
                }
        }
}

static void transaction_of_a_library(void)
{
        sqlite3 *db;

        sqlite3_open(PATH, &db);
        sqlite3_exec(db,
                     "PRAGMA cache_size = 2; BEGIN;"
                     "WITH n(i) AS (VALUES (10) UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
                     " INSERT INTO peers (id, type, username) SELECT i, 'user', hex(zeroblob(50)) FROM n",
                     NULL, NULL, NULL);
}

FILE_TEST(a_killed_librarys_transaction_is_rolled_back_at_start)
{
        session_file_make(session_file("pyrogram-3"), PATH);
        sql(PATH, "INSERT INTO peers (id, type, last_update_on) VALUES (9, 'user', 1)");
        in_killed_process(transaction_of_a_library);
        ck_assert_int_eq(access(PATH "-journal", F_OK), 0);
        restart();
        ck_assert_int_ne(access(PATH "-journal", F_OK), 0);
        open_existing();
        storage_expect(storage_peers(&at, NULL, 9), "9 nil user nil nil 1");
}

FILE_TEST(what_cannot_be_recovered_is_told_and_left)
{
        size_t len;
        TEST_FREED char *before = NULL;
        TEST_FREED char *after = NULL;

        storage_open(&at, "good", NULL);
        storage_close(&at);
        test_write_file(PATH, "this is no database", 19);
        test_write_file(PATH "-wal", "and this no log", 15);
        test_write_file("data/stray.session-wal", "of nobody", 9);
        restart();
        ck_assert_ptr_nonnull(at.log);
        ck_assert_ptr_nonnull(strstr(at.log, "1 recovering at start: session 'x'"));
        ck_assert_ptr_null(strstr(at.log, "stray"));
        before = test_read_file(PATH, &len);
        ck_assert_str_eq(before, "this is no database");
        after = test_read_file(PATH "-wal", &len);
        ck_assert_str_eq(after, "and this no log");
        ck_assert_int_eq(storage_try(&at, "good", NULL, false), 0);
}

FILE_TEST(half_made_files_are_removed_at_start)
{
        test_write_file("data/.gramd-new-7", "half", 4);
        restart();
        ck_assert_int_ne(access("data/.gramd-new-7", F_OK), 0);
}

/* ---- the disk ---- */

static struct peer many[3000];
static char names[3000][100];

static void make_many(void)
{
        for (int i = 0; i < 3000; i++) {
                snprintf(names[i], sizeof(names[i]), "user%d-%060d", i, i);
                many[i] = storage_peer(i + 100, i, "user", names[i], NULL, i);
        }
}

/* Bytes that the disk has for each file. */
static off_t disk;

static ssize_t full_pwrite(int fd, const void *data, size_t len, off_t offset)
{
        if (offset + (off_t)len > disk) {
                errno = ENOSPC;
                return -1;
        }
        return real_pwrite(fd, data, len, offset);
}

static void limit_disk(off_t bytes)
{
        if (!real_pwrite)
                real_pwrite = (ssize_t(*)(int, const void *, size_t, off_t))original_call("pwrite64");
        disk = bytes;
        replace_call("pwrite64", bytes ? (sqlite3_syscall_ptr)full_pwrite : NULL);
}

FILE_TEST(a_full_disk_refuses_and_service_goes_on)
{
        make_many();
        storage_open(&at, "x", NULL);
        storage_put_peer(&at, storage_peer(7, 7, "user", "seven", NULL, 1));
        limit_disk(150000);
        ck_assert_int_eq(storage_put_peers(&at, many, 3000), BACKEND_E_STORAGE);
        storage_expect(storage_peers(&at, NULL, 9), "7 7 user seven nil 1");
        ck_assert_int_eq(storage_put_peers(&at, many, 3000), BACKEND_E_STORAGE);
        storage_put_peer(&at, storage_peer(8, 8, "user", NULL, NULL, 1)); /* a small one fits */
        limit_disk(0);
        ck_assert_int_eq(storage_put_peers(&at, many, 3000), 0);
        storage_close(&at);
        storage_expect(sql_text(PATH, "SELECT count(*) FROM peers"), "3002");
        storage_expect(sql_text(PATH, "PRAGMA integrity_check"), "'ok'");
}

/* The log fits on the disk, the file that it is copied to does not. */
FILE_TEST(a_disk_full_at_closing_loses_nothing)
{
        make_many();
        storage_open(&at, "x", NULL);
        ck_assert_int_eq(storage_put_peers(&at, many, 100), 0); /* too few for a checkpoint */
        limit_disk(40000);
        ck_assert_int_eq(at.backend->close(at.session, &at.fault), BACKEND_E_STORAGE);
        at.session = NULL;
        ck_assert_int_eq(access(PATH "-wal", F_OK), 0);
        limit_disk(0);
        restart();
        ck_assert_int_ne(access(PATH "-wal", F_OK), 0);
        storage_expect(sql_text(PATH, "SELECT count(*) FROM peers"), "100");
        storage_expect(sql_text(PATH, "PRAGMA journal_mode"), "'delete'");
}

/* The new file itself is not written by SQLite: the kernel's own limit. Check must not write meanwhile. */
FILE_TEST(a_session_that_cannot_be_made_leaves_nothing)
{
        struct rlimit limit;
        rlim_t before;
        bool opened;

        signal(SIGXFSZ, SIG_IGN);
        ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
        before = limit.rlim_cur;
        limit.rlim_cur = 1024;
        setrlimit(RLIMIT_FSIZE, &limit);
        opened = open_here();
        limit.rlim_cur = before;
        setrlimit(RLIMIT_FSIZE, &limit);
        ck_assert(!opened);
        ck_assert_ptr_nonnull(strstr(at.fault.text, "File too large"));
        at.session = NULL;
        storage_expect(storage_list(&at, NULL, 0), "");
        ck_assert_int_ne(access("data/.gramd-new-0", F_OK), 0);
        storage_open(&at, "x", NULL);
        ck_assert(at.opened.created);
}

static int failing_calls;
static int calls_seen;

static ssize_t fail_pwrite(int fd, const void *data, size_t len, off_t offset)
{
        if (calls_seen++ == failing_calls) {
                errno = EIO;
                return -1;
        }
        return real_pwrite(fd, data, len, offset);
}

/* Every write of a session's life fails once: what was answered is there, what was refused is not. */
FILE_TEST(a_failing_write_anywhere)
{
        bool more = true;

        real_pwrite = (ssize_t(*)(int, const void *, size_t, off_t))original_call("pwrite64");
        for (failing_calls = 0; more; failing_calls++) {
                const struct peer peer = storage_peer(7, 7, "user", "seven", "+7", 1);
                bool stored = false;

                unlink(PATH);
                unlink(PATH "-wal");
                session_file_make(session_file("telethon-8"), PATH);
                calls_seen = 0;
                replace_call("pwrite64", (sqlite3_syscall_ptr)fail_pwrite);
                if (storage_try(&at, "x", NULL, false) == 0) {
                        stored = storage_put_peers(&at, &peer, 1) == 0;
                        if (!stored)
                                stored = storage_put_peers(&at, &peer, 1) == 0;
                        at.backend->close(at.session, &at.fault);
                        at.session = NULL;
                }
                more = calls_seen > failing_calls;
                replace_call("pwrite64", NULL);
                open_existing();
                storage_expect(storage_by_id(&at, 7), stored ? "7 7 user seven +7 1" : "");
                storage_close(&at);
                storage_expect(sql_text(PATH, "PRAGMA integrity_check"), "'ok'");
                storage_expect(sql_text(PATH, "PRAGMA journal_mode"), "'delete'");
        }
        ck_assert_int_gt(failing_calls, 10);
}

/* ---- syncing ---- */

static int wal_syncs;
static int other_syncs;
static bool syncs_fail;

/* In SQLite's way: the program's own comes before the C library's. */
int fdatasync(int fd)
{
        char link[64];
        char path[512] = "";
        ssize_t len;

        if (syncs_fail) {
                errno = EIO;
                return -1;
        }
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        len = readlink(link, path, sizeof(path) - 1);
        if (len > 4 && strcmp(path + len - 4, "-wal") == 0)
                wal_syncs++;
        else
                other_syncs++;
        return (int)syscall(SYS_fdatasync, fd);
}

static int apply_peer(int64_t id, enum durability durability)
{
        const struct peer peer = storage_peer(id, 1, "user", NULL, NULL, 1);
        const struct change change = { .kind = CHANGE_PEERS, .peers = &peer, .n = 1 };

        return at.backend->apply(at.session, &change, 1, durability, NULL, NULL, &at.fault);
}

FILE_TEST(the_log_reaches_the_disk_when_it_is_asked_to)
{
        storage_open(&at, "x", NULL);
        storage_put_peer(&at, storage_peer(1, 1, "user", NULL, NULL, 1));
        ck_assert_int_eq(at.backend->sync(at.session, &at.fault), 0);
        wal_syncs = other_syncs = 0;
        ck_assert_int_eq(apply_peer(2, DURABLE_SYSTEM), 0);
        ck_assert_int_eq(wal_syncs, 0);
        ck_assert_int_eq(apply_peer(3, DURABLE_DISK), 0);
        ck_assert_int_eq(wal_syncs, 1);
        ck_assert_int_eq(at.backend->sync(at.session, &at.fault), 0); /* there is nothing to sync */
        ck_assert_int_eq(wal_syncs, 1);
        ck_assert_int_eq(apply_peer(4, DURABLE_SYSTEM), 0);
        ck_assert_int_eq(at.backend->sync(at.session, &at.fault), 0);
        ck_assert_int_eq(wal_syncs, 2);
        ck_assert_int_eq(other_syncs, 0);
        storage_close(&at);
        ck_assert_int_gt(other_syncs, 0); /* the file that the log went back to */
}

FILE_TEST(a_sync_that_fails_is_told)
{
        storage_open(&at, "x", NULL);
        ck_assert_int_eq(apply_peer(1, DURABLE_DISK), 0);
        syncs_fail = true;
        ck_assert_int_eq(apply_peer(2, DURABLE_DISK), BACKEND_E_UNSYNCED);
        ck_assert_int_eq(at.backend->sync(at.session, &at.fault), BACKEND_E_UNSYNCED);
        syncs_fail = false;
        ck_assert_int_eq(at.backend->sync(at.session, &at.fault), 0);
        ck_assert_int_eq(apply_peer(2, DURABLE_DISK), 0);
}

int main(void)
{
        Suite *suite = suite_create("durability");
        TCase *tcase = tcase_create("durability");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        tcase_add_loop_test(tcase, a_killed_daemons_sessions_are_put_in_order_at_start, 0,
                            sizeof(killed) / sizeof(*killed));
        tcase_add_test(tcase, a_library_may_come_first_after_a_kill);
        tcase_add_loop_test(tcase, a_kill_at_any_write_leaves_the_librarys_file, 0, 2);
        tcase_add_test(tcase, a_killed_librarys_transaction_is_rolled_back_at_start);
        tcase_add_test(tcase, what_cannot_be_recovered_is_told_and_left);
        tcase_add_test(tcase, half_made_files_are_removed_at_start);
        tcase_add_test(tcase, a_full_disk_refuses_and_service_goes_on);
        tcase_add_test(tcase, a_disk_full_at_closing_loses_nothing);
        tcase_add_test(tcase, a_session_that_cannot_be_made_leaves_nothing);
        tcase_add_test(tcase, a_failing_write_anywhere);
        tcase_add_test(tcase, the_log_reaches_the_disk_when_it_is_asked_to);
        tcase_add_test(tcase, a_sync_that_fails_is_told);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
