/* The data directory is on the disk before sessions are stored in it, and its rights and lock are looked at.
 */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../daemon/base/listener.h"
#include "../support/program.h"

static char synced[3 * PATH_MAX]; /* paths below the current directory, each after a space */
static bool syncs_fail;

int fsync(int fd)
{
        TEST_FREED char *link = test_format("/proc/self/fd/%d", fd);
        char path[PATH_MAX] = "", here[PATH_MAX];
        size_t len = strlen(synced);

        if (syncs_fail) {
                errno = EIO;
                return -1;
        }
        ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
        ck_assert_int_gt(readlink(link, path, sizeof(path) - 1), 0);
        ck_assert_int_eq(strncmp(path, here, strlen(here)), 0);
        snprintf(synced + len, sizeof(synced) - len, " .%s", path + strlen(here));
        return (int)syscall(SYS_fsync, fd);
}

static int lock(const char *path, char *why, size_t why_size)
{
        TEST_FREED char *resolved = NULL;
        int fd = data_directory_lock(path, &resolved, why, why_size);

        if (fd >= 0)
                close(fd);
        return fd;
}

START_TEST(a_new_data_directory_is_on_the_disk)
{
        char why[256] = "";

        ck_assert_int_ge(lock("first/second/data/", why, sizeof(why)), 0);
        ck_assert_str_eq(synced, " . ./first ./first/second");
        ck_assert_int_ge(lock("first/second/data", why, sizeof(why)), 0);
        ck_assert_str_eq(synced, " . ./first ./first/second");
        syncs_fail = true;
        ck_assert_int_eq(lock("first/third", why, sizeof(why)), -1);
        ck_assert_ptr_nonnull(strstr(why, strerror(EIO)));
        test_remove("first");
}
END_TEST

/* `refused`: it is not locked. Else a text in the warning; "": there is none. */
static void expect_said(mode_t mode, const char *path, bool refused, const char *text)
{
        char why[256] = "former";

        ck_assert_int_eq(chmod(path, mode), 0);
        ck_assert_int_eq(lock("data", why, sizeof(why)) < 0, refused);
        ck_assert_msg(*text ? strstr(why, text) != NULL : !*why, "%o: %s", mode, why);
}

START_TEST(who_may_write_to_the_data_directory)
{
        TEST_FREED char *here = realpath(".", NULL);
        TEST_FREED char *open_to_all = test_format("chmod o-w %s/data", here);
        TEST_FREED char *open_to_group = test_format("chmod g-w %s/data", here);
        TEST_FREED char *open_above = test_format("chmod o-w %s", here);

        ck_assert_int_eq(mkdir("data", 0700), 0);
        expect_said(0700, "data", false, "");
        expect_said(0755, "data", false, "");
        expect_said(0702, "data", true, open_to_all);
        expect_said(01777, "data", true, open_to_all); /* they may still plant files */
        expect_said(0770, "data", false, open_to_group);
        expect_said(0700, "data", false, "");
        expect_said(0703, ".", false, open_above);
        expect_said(01703, ".", false, "");
        expect_said(0700, ".", false, "");
        if (geteuid() != 0) {
                test_skipped("the data directory of another user", "only root can make one");
        } else {
                ck_assert_int_eq(chown("data", 65534, 65534), 0);
                expect_said(0700, "data", false, "chown 0 ");
        }
        test_remove("data");
}
END_TEST

/* No lock that holds: and opening a FIFO without a reader or writer does not wait. */
START_TEST(a_lock_file_that_is_none)
{
        char why[256];

        ck_assert_int_eq(mkdir("data", 0700), 0);
        ck_assert_int_eq(mkfifo("data/gramd.lock", 0600), 0);
        ck_assert_int_eq(lock("data", why, sizeof(why)), -1);
        ck_assert_ptr_nonnull(strstr(why, "gramd.lock"));
        test_remove("data");
        ck_assert_int_eq(mkdir("data", 0700), 0);
        ck_assert_int_eq(symlink("../elsewhere", "data/gramd.lock"), 0);
        ck_assert_int_eq(lock("data", why, sizeof(why)), -1);
        ck_assert_int_ne(access("elsewhere", F_OK), 0);
        test_remove("data");
}
END_TEST

int main(void)
{
        return test_program("data_directory", (const TTest *const[]){
                                                      a_new_data_directory_is_on_the_disk,
                                                      who_may_write_to_the_data_directory,
                                                      a_lock_file_that_is_none,
                                                      NULL,
                                              });
}
