/*
 * A full disk: writes get `storage`, no acknowledged write is lost, reads still work, and writes work again
 * when there is room. Tested on a small tmpfs, mounted in a mount namespace of the test's own (skipped where
 * that is not permitted), and with RLIMIT_FSIZE.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/wire.h"

/* False: not possible here, and the test says that it is skipped. */
static bool mount_small(const char *path)
{
        if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
            mount("tmpfs", path, "tmpfs", 0, "size=2m,mode=0700") == 0)
                return true;
        test_skipped("a full file system", strerror(errno));
        return false;
}

/* A new session needs less room than a row may need. */
static void fill_disk(const char *path)
{
        int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        static const char zeros[4096];

        while (write(fd, zeros, sizeof(zeros)) > 0)
                continue;
        ck_assert_int_eq(errno, ENOSPC);
        close(fd);
}

static int write_until_full(struct wire *c, int s)
{
        const char *answer;
        int n = 0;

        do {
                answer = wire_call(c, "update_peers(%d, [[%d, %d, 'user', 'a%0200d', 'b%0200d']])", s, n + 1,
                                   n, n, n);
                ck_assert_int_lt(n, 100000);
        } while (strcmp(answer, "nil") == 0 && ++n);
        expect_text(answer, "!storage");
        ck_assert_uint_gt(strlen(wire_error_message(c)), 10);
        return n;
}

static void expect_written(struct wire *c, int s, int n)
{
        for (int i = 0; i < n; i++) {
                TEST_FREED char *expected = test_format("[%d, %d, 'user', ...]", i + 1, i);

                expect(c, expected, "get_peer_by_id(%d, %d)", s, i + 1);
        }
        expect(c, "!not_found", "get_peer_by_id(%d, %d)", s, n + 1);
}

START_TEST(a_full_disk_loses_nothing_and_heals)
{
        char cwd[4096];
        int s, n, ballast;

        ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
        TEST_FREED char *data = test_format("%s/small", cwd);
        TEST_FREED char *spare = test_format("%s/ballast", data);
        ck_assert_int_eq(mkdir(data, 0700), 0);
        if (!mount_small(data)) {
                rmdir(data);
                return;
        }
        ballast = open(spare, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        ck_assert_int_eq(posix_fallocate(ballast, 0, 600000), 0);
        close(ballast);
        {
                DAEMON d = daemon_start(.data = data, .config = "cache = 0\n");
                struct wire *c = wire_connect(d);

                s = wire_open(c, "'anna', {}");
                expect(c, "nil", "set(%d, {dc_id: 4})", s);
                n = write_until_full(c, s);
                ck_assert_int_gt(n, 20);
                expect_written(c, s, n);
                expect(c, "[4]", "get(%d, ['dc_id'])", s);
                fill_disk(spare);
                expect(c, "!storage", "open('bella', {})");
                ck_assert_int_eq(unlink(spare), 0);
                expect(c, "nil", "set(%d, {dc_id: 5})", s);
                expect(c, "nil", "update_peers(%d, [[-5, 1, 'user', nil, nil]])", s);
                wire_open(c, "'bella', {}");
                wire_end(&c);
                daemon_kill(d);
                daemon_resume(d);
                c = wire_connect(d);
                s = wire_open(c, "'anna', {create: false}");
                expect_written(c, s, n);
                expect(c, "[5]", "get(%d, ['dc_id'])", s);
                expect(c, "[-5, ...]", "get_peer_by_id(%d, -5)", s);
                wire_end(&c);
        }
        umount(data);
        rmdir(data);
}
END_TEST

/* The writes together put ten times as many pages into the -wal as the disk has room for. */
START_TEST(a_small_session_does_not_fill_the_disk)
{
        char cwd[4096];

        ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
        TEST_FREED char *data = test_format("%s/small", cwd);
        ck_assert_int_eq(mkdir(data, 0700), 0);
        if (!mount_small(data)) {
                rmdir(data);
                return;
        }
        {
                DAEMON d = daemon_start(.data = data);
                CLIENT c = wire_connect(d);
                int s = wire_open(c, "'anna', {}");

                for (int n = 0; n < 2000; n++)
                        expect(c, "nil", "update_peers(%d, [[1, %d, 'user', nil, nil]])", s, n);
                expect(c, "[1, 1999, ...]", "get_peer_by_id(%d, 1)", s);
        }
        umount(data);
        rmdir(data);
}
END_TEST

START_TEST(a_file_that_cannot_grow_loses_nothing)
{
        DAEMON d = daemon_start(.file_size_limit = 600000);
        struct wire *c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        int t = wire_open(c, "'bella', {}");
        int n = write_until_full(c, s);

        ck_assert_int_gt(n, 20);
        expect_written(c, s, n);
        expect(c, "nil", "update_peers(%d, [[7, 70, 'user', nil, nil]])", t);
        expect(c, "[7, ...]", "get_peer_by_id(%d, 7)", t);
        wire_end(&c);
        daemon_kill(d);
        d->setup.file_size_limit = 0;
        daemon_resume(d);
        c = wire_connect(d);
        s = wire_open(c, "'anna', {create: false}");
        expect_written(c, s, n);
        expect(c, "nil", "update_peers(%d, [[-5, 1, 'user', nil, nil]])", s);
        wire_end(&c);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                a_full_disk_loses_nothing_and_heals,
                a_small_session_does_not_fill_the_disk,
                a_file_that_cannot_grow_loses_nothing,
                NULL,
        };

        return test_program("disk", tests);
}
