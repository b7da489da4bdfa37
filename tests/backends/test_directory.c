/*
 * The data directory: what a crash leaves there is put in order, and a file that was created or removed is on
 * the disk before that is answered.
 */

#include <check.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../support/file_test.h"
#include "../support/session_file.h"

enum { ALL = 1000 };

/* ---- what is done to the directory ---- */

static char steps[512];
static int syncs_let_pass, syncs_failing; /* of the directory */
static const char *kept;                  /* this file cannot be removed */

static void note(const char *what, const char *name)
{
        size_t len = strlen(steps);

        snprintf(steps + len, sizeof(steps) - len, "%s%s%s%s", len ? ", " : "", what, *name ? " " : "", name);
}

static void watch_steps(int pass, int fail)
{
        steps[0] = '\0';
        syncs_let_pass = pass;
        syncs_failing = fail;
}

int fsync(int fd)
{
        struct stat stat;

        if (fstat(fd, &stat) != 0 || !S_ISDIR(stat.st_mode))
                return (int)syscall(SYS_fsync, fd);
        if (syncs_let_pass-- <= 0 && syncs_failing-- > 0) {
                note("failed sync", "");
                errno = EIO;
                return -1;
        }
        note("sync", "");
        return (int)syscall(SYS_fsync, fd);
}

int unlinkat(int dir, const char *name, int flags)
{
        long result;

        if (kept && strcmp(name, kept) == 0) {
                errno = EIO;
                return -1;
        }
        result = syscall(SYS_unlinkat, dir, name, flags);
        if (result == 0)
                note("unlink", name);
        return (int)result;
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
        note("rename", to);
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

/* ---- creating ---- */

FILE_TEST(a_new_file_is_in_the_directory_on_disk)
{
        watch_steps(ALL, 0);
        storage_open(&at, "x", NULL);
        ck_assert_msg(strncmp(steps, "rename x.session, sync", 22) == 0, "%s", steps);
}

/* After a power cut, SQLite would take the old log for the new file's. */
FILE_TEST(an_old_log_is_gone_before_a_new_file_appears)
{
        test_write_file(PATH "-wal", "of a file that is gone", 22);
        watch_steps(ALL, 0);
        storage_open(&at, "x", NULL);
        ck_assert_msg(strncmp(steps, "unlink x.session-wal, sync, rename x.session, sync", 50) == 0, "%s",
                      steps);
        storage_close(&at);
        unlink(PATH);
        test_write_file(PATH "-journal", "of a file that is gone", 22);
        watch_steps(0, 1);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_STORAGE);
        ck_assert_ptr_null(strstr(steps, "rename"));
        ck_assert_int_ne(access(PATH, F_OK), 0);
        watch_steps(0, 1); /* the journal may still be on the disk */
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_STORAGE);
        ck_assert_ptr_null(strstr(steps, "rename"));
        test_write_file(PATH "-journal", "of a file that is gone", 22);
        kept = "x.session-journal";
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_STORAGE);
        kept = NULL;
        ck_assert_int_ne(access(PATH, F_OK), 0);
}

static int remove_session(void)
{
        int error = at.backend->remove(at.session, true, &at.fault);

        if (!error || error == BACKEND_E_UNSYNCED)
                at.session = NULL;
        return error;
}

/* A failed sync costs the next new file a sync, and not all that follow. */
FILE_TEST(a_later_sync_makes_up_for_a_failed_one)
{
        watch_steps(0, 1);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_STORAGE);
        watch_steps(ALL, 0);
        storage_open(&at, "x", NULL);
        ck_assert_msg(strncmp(steps, "rename x.session, sync", 22) == 0, "%s", steps);
        watch_steps(0, ALL);
        ck_assert_int_eq(remove_session(), BACKEND_E_UNSYNCED);
        watch_steps(ALL, 0);
        storage_open(&at, "x", NULL);
        ck_assert_msg(strncmp(steps, "sync, rename x.session, sync", 28) == 0, "%s", steps);
        ck_assert_int_eq(remove_session(), 0);
        watch_steps(ALL, 0);
        storage_open(&at, "x", NULL);
        ck_assert_msg(strncmp(steps, "rename x.session, sync", 22) == 0, "%s", steps);
}

static void expect_none(void)
{
        storage_expect(storage_list(&at, NULL, 0), "");
        ck_assert_int_ne(access(PATH, F_OK), 0);
        ck_assert_int_ne(access(PATH "-wal", F_OK), 0);
        watch_steps(ALL, 0);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), 0);
        ck_assert(at.opened.created);
        storage_close(&at);
        ck_assert_int_eq(unlink(PATH), 0);
}

/* It is removed again. Whether that is on the disk is known only if a later sync succeeds. */
FILE_TEST(a_refused_create_leaves_no_file)
{
        watch_steps(0, 1);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_STORAGE);
        ck_assert_str_eq(steps, "rename x.session, failed sync, unlink x.session, sync");
        expect_none();
        watch_steps(0, ALL);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_UNAVAILABLE);
        ck_assert_ptr_nonnull(strstr(at.fault.text, "power cut"));
        expect_none();
        watch_steps(0, 1);
        kept = "x.session";
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_UNAVAILABLE);
        kept = NULL;
        ck_assert_int_eq(unlink(PATH), 0);
        expect_none();
}

static ssize_t no_writes(int fd, const void *data, size_t len, off_t offset)
{
        (void)fd;
        (void)data;
        (void)len;
        (void)offset;
        errno = EIO;
        return -1;
}

/* The file is there, and SQLite cannot make it gramd's. */
FILE_TEST(a_new_file_that_cannot_be_opened_is_removed)
{
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

        vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)no_writes);
        watch_steps(ALL, 0);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_STORAGE);
        ck_assert_str_eq(steps, "rename x.session, sync, unlink x.session, sync");
        watch_steps(1, ALL);
        ck_assert_int_eq(storage_try(&at, "x", NULL, true), BACKEND_E_UNAVAILABLE);
        vfs->xSetSystemCall(vfs, "pwrite64", NULL);
        expect_none();
}

/* ---- removing ---- */

FILE_TEST(a_removal_that_is_not_on_the_disk_is_told)
{
        storage_open(&at, "x", NULL);
        storage_put_peer(&at, storage_peer(7, 7, "user", "seven", NULL, 1));
        watch_steps(0, ALL);
        ck_assert_int_eq(remove_session(), BACKEND_E_UNSYNCED);
        ck_assert_ptr_nonnull(strstr(at.fault.text, "power cut"));
        expect_none();
        storage_open(&at, "x", NULL);
        watch_steps(1, 1);
        ck_assert_int_eq(remove_session(), BACKEND_E_UNSYNCED);
        expect_none();
        storage_open(&at, "x", NULL);
        watch_steps(ALL, 0);
        ck_assert_int_eq(remove_session(), 0);
        ck_assert_str_eq(steps, "unlink x.session, sync, unlink x.session-wal, sync");
        expect_none();
}

/* With its log, the session's key stays. */
FILE_TEST(a_log_that_cannot_be_removed_is_told)
{
        storage_open(&at, "x", NULL);
        kept = "x.session-journal";
        ck_assert_int_eq(remove_session(), BACKEND_E_UNSYNCED);
        kept = NULL;
        ck_assert_ptr_nonnull(strstr(at.fault.text, "could not be removed"));
        expect_none();
        storage_open(&at, "x", NULL);
        kept = "x.session";
        ck_assert_int_eq(remove_session(), BACKEND_E_STORAGE);
        kept = NULL;
        storage_put_peer(&at, storage_peer(7, 7, "user", "seven", NULL, 1)); /* it is still open */
}

/* ---- gramd's mark ---- */

static void mark(const char *path)
{
        sql(path, "PRAGMA journal_mode = WAL; PRAGMA application_id = 0x67726d64");
}

FILE_TEST(marked_files_are_put_in_order_at_start)
{
        session_file_make(session_file("pyrogram-3"), PATH);
        session_file_make(session_file("hydrogram-3"), "data/wal.session");
        mark(PATH);
        storage_stop(&at);
        storage_start(&at, storage_backend("file"), "data");
        ck_assert_ptr_null(at.log);
        storage_expect(sql_text(PATH, "PRAGMA journal_mode"), "'delete'");
        storage_expect(sql_text(PATH, "PRAGMA application_id"), "0");
        storage_expect(sql_text(PATH, "PRAGMA integrity_check"), "'ok'");
        storage_expect(sql_text("data/wal.session", "PRAGMA journal_mode"), "'wal'");
}

/* Only regular files are opened. The start waits for no writer of a FIFO, and follows no link. */
FILE_TEST(what_is_no_session_file_is_left_at_start)
{
        session_file_make(session_file("pyrogram-3"), "outside");
        mark("outside");
        ck_assert_int_eq(symlink("../outside", PATH), 0);
        ck_assert_int_eq(mkfifo("data/fifo.session", 0600), 0);
        ck_assert_int_eq(mkdir("data/directory.session", 0700), 0);
        test_write_file("data/short.session", "short", 5);
        storage_stop(&at);
        storage_start(&at, storage_backend("file"), "data");
        ck_assert_ptr_null(at.log);
        storage_expect(sql_text("outside", "PRAGMA journal_mode"), "'wal'");
        unlink("outside");
}

int main(void)
{
        return test_program("directory", (const TTest *const[]){
                                                 a_new_file_is_in_the_directory_on_disk,
                                                 an_old_log_is_gone_before_a_new_file_appears,
                                                 a_later_sync_makes_up_for_a_failed_one,
                                                 a_refused_create_leaves_no_file,
                                                 a_new_file_that_cannot_be_opened_is_removed,
                                                 a_removal_that_is_not_on_the_disk_is_told,
                                                 a_log_that_cannot_be_removed_is_told,
                                                 marked_files_are_put_in_order_at_start,
                                                 what_is_no_session_file_is_left_at_start,
                                                 NULL,
                                         });
}
