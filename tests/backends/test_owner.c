/* A stored session's owner, read without opening the session: nothing is locked, changed or looked into. */

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/file_test.h"
#include "../support/session_file.h"

#define JOURNAL PATH "-journal"

static void expect_bytes(const char *path, const char *bytes, size_t len)
{
        size_t len_now = 0;
        TEST_FREED char *now = test_read_file(path, &len_now);

        ck_assert_msg(now && len_now == len && memcmp(now, bytes, len) == 0, "%s has changed", path);
}

static const char *owner_of(const char *name)
{
        static char text[OWNER_TEXT_BYTES];
        int error = at.backend->owner(at.env, slice_of(name), text, &at.fault);

        return error ? at.fault.text : text;
}

static void put_owner(const char *owner)
{
        const struct change change = { .kind = CHANGE_OWNER, .owner = slice_of(owner), .n = 1 };

        ck_assert_int_eq(storage_apply(&at, &change, 1), 0);
}

/* Another process asks. */
static bool is_locked(const char *path)
{
        pid_t child = fork();
        int status;

        ck_assert_int_ge(child, 0);
        if (child == 0) {
                struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
                int fd = open(path, O_RDWR);

                _exit(fd < 0 || fcntl(fd, F_GETLK, &lock) != 0 ? 2 : lock.l_type != F_UNLCK);
        }
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) < 2);
        return WEXITSTATUS(status);
}

FILE_TEST(asking_for_the_owner_changes_nothing)
{
        static const char name[] = "a%41?b#c";
        TEST_FREED char *before = NULL;
        size_t len = 0;

        storage_open(&at, name, NULL);
        put_owner("alice:bots");
        storage_close(&at);
        ck_assert_str_eq(owner_of(name), "alice:bots");
        session_file_make(session_file("pyrogram-3"), PATH);
        ck_assert_str_eq(owner_of("x"), "");
        ck_assert_ptr_nonnull(strstr(owner_of("nobodys"), "unable to open"));
        /* what is beside it is not looked into */
        test_write_file(JOURNAL, "planted", 7);
        test_write_file(PATH "-wal", "planted", 7);
        before = test_read_file(PATH, &len);
        ck_assert_str_eq(owner_of("x"), "");
        expect_bytes(PATH, before, len);
        expect_bytes(JOURNAL, "planted", 7);
        expect_bytes(PATH "-wal", "planted", 7);
        ck_assert_int_eq(unlink(JOURNAL), 0);
        ck_assert_int_eq(mkfifo(JOURNAL, 0600), 0);
        ck_assert_ptr_nonnull(strstr(owner_of("x"), "not a regular file"));
        ck_assert_int_eq(unlink(PATH), 0);
        ck_assert_int_eq(mkfifo(PATH, 0600), 0);
        ck_assert_ptr_nonnull(strstr(owner_of("x"), "not a regular file"));
        ck_assert_int_eq(unlink(PATH), 0);
        ck_assert_int_eq(symlink("a%41?b#c.session", PATH), 0);
        ck_assert_ptr_nonnull(strstr(owner_of("x"), "a symbolic link"));
}

FILE_TEST(an_open_session_stays_locked_when_its_owner_is_asked_for)
{
        const char *owner;

        storage_open(&at, "x", NULL);
        put_owner("alice");
        ck_assert(is_locked(PATH));
        owner = owner_of("x"); /* from before the change, or from after it */
        ck_assert_msg(strcmp(owner, "") == 0 || strcmp(owner, "alice") == 0, "%s", owner);
        ck_assert(is_locked(PATH));
        storage_close(&at);
        ck_assert(!is_locked(PATH));
        ck_assert_str_eq(owner_of("x"), "alice");
}

FILE_TEST(a_session_that_another_program_has_locked_tells_its_owner)
{
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        int fd;

        storage_open(&at, "x", NULL);
        put_owner("alice");
        storage_close(&at);
        fd = open(PATH, O_RDWR | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &lock), 0); /* as that of another program */
        ck_assert_int_eq(storage_try(&at, "x", NULL, false), BACKEND_E_BUSY);
        ck_assert_str_eq(owner_of("x"), "alice");
        close(fd);
}

int main(void)
{
        const TTest *const tests[] = {
                asking_for_the_owner_changes_nothing,
                an_open_session_stays_locked_when_its_owner_is_asked_for,
                a_session_that_another_program_has_locked_tells_its_owner,
                NULL,
        };

        return test_program("owner", tests);
}
