/* The data directory is on the disk before sessions are stored in it. */

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

int main(void)
{
        return test_program("data_directory",
                            (const TTest *const[]){ a_new_data_directory_is_on_the_disk, NULL });
}
