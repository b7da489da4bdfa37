#include "small_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* ---- the disk ---- */

struct small small_begin(const char *options)
{
        struct small small = { 0 };
        char cwd[4096];

        ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
        small.data = test_format("%s/small", cwd);
        ck_assert(mkdir(small.data, 0700) == 0 || errno == EEXIST);
        small.mounted = unshare(CLONE_NEWNS) == 0 &&
                        mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
                        mount("tmpfs", small.data, "tmpfs", 0, options) == 0;
        if (!small.mounted)
                test_skipped("a full file system", strerror(errno));
        return small;
}

void small_end(const struct small *small)
{
        if (small->mounted)
                umount(small->data);
        rmdir(small->data);
        free(small->data);
}

int64_t small_free_bytes(const struct small *small)
{
        struct statvfs disk;

        ck_assert_int_eq(statvfs(small->data, &disk), 0);
        return (int64_t)(disk.f_bavail * disk.f_bsize);
}

void small_fill(const struct small *small)
{
        TEST_FREED char *path = test_format("%s/ballast", small->data);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

        ck_assert_int_ge(fd, 0);
        while (small_free_bytes(small) > 0)
                ck_assert_int_eq(posix_fallocate(fd, lseek(fd, 0, SEEK_END), small_free_bytes(small)), 0);
        close(fd);
}

bool small_has(const struct small *small, const char *name)
{
        TEST_FREED char *path = test_format("%s/%s", small->data, name);

        return access(path, F_OK) == 0;
}

void small_remove(const struct small *small, const char *name)
{
        TEST_FREED char *path = test_format("%s/%s", small->data, name);

        ck_assert_int_eq(unlink(path), 0);
}

int64_t small_bytes(const struct small *small, const char *suffix, int *n)
{
        DIR *directory = opendir(small->data);
        struct dirent *entry;
        int64_t bytes = 0;

        *n = 0;
        ck_assert_ptr_nonnull(directory);
        while ((entry = readdir(directory))) {
                size_t len = strlen(entry->d_name);
                struct stat stat;

                if (len < strlen(suffix) || strcmp(entry->d_name + len - strlen(suffix), suffix) != 0)
                        continue;
                if (fstatat(dirfd(directory), entry->d_name, &stat, 0) != 0) {
                        ck_assert_int_eq(errno, ENOENT); /* removed since */
                        continue;
                }
                bytes += stat.st_size;
                ++*n;
        }
        closedir(directory);
        return bytes;
}

int64_t small_log_bytes(const struct small *small)
{
        int n;

        return small_bytes(small, "-wal", &n);
}

int small_logs(const struct small *small)
{
        int n;

        small_bytes(small, "-wal", &n);
        return n;
}

/* ---- the sessions ---- */

void small_put(struct wire *c, int s, int first)
{
        for (int i = first; i < first + SMALL_PEERS; i += SMALL_ROWS) {
                char rows[1024];
                int n = 0;

                for (int j = i; j < i + SMALL_ROWS; j++)
                        n += snprintf(rows + n, sizeof(rows) - (size_t)n, "%s[%d, %d, 'user', 'n%030d', nil]",
                                      n ? ", " : "", j + 1, j, j);
                expect(c, "nil", "update_peers(%d, [%s])", s, rows);
        }
}

void small_expect(struct wire *c, int s, int first)
{
        for (int i = first; i < first + SMALL_PEERS; i += 7) {
                TEST_FREED char *expected = test_format("[%d, %d, ...]", i + 1, i);

                expect(c, expected, "get_peer_by_id(%d, %d)", s, i + 1);
        }
}

void small_open_all(struct wire *c, int sessions[SMALL_SESSIONS])
{
        for (int i = 0; i < SMALL_SESSIONS; i++)
                sessions[i] = wire_open(c, "'s%d', {}", i);
}

void small_put_all(struct wire *c, const int sessions[SMALL_SESSIONS], int first)
{
        for (int i = 0; i < SMALL_SESSIONS; i++)
                small_put(c, sessions[i], first);
}

void small_expect_all(struct wire *c, const int sessions[SMALL_SESSIONS], int first)
{
        for (int i = 0; i < SMALL_SESSIONS; i++)
                small_expect(c, sessions[i], first);
}

void small_make_sessions(const struct daemon *d)
{
        CLIENT c = wire_connect(d);
        int sessions[SMALL_SESSIONS];

        small_open_all(c, sessions);
        small_put_all(c, sessions, 0);
}

void small_find_sessions(const struct daemon *d)
{
        CLIENT c = wire_connect(d);
        int sessions[SMALL_SESSIONS];

        small_open_all(c, sessions);
        small_expect_all(c, sessions, 0);
}

void small_await_closed(const struct small *small, const struct daemon *d)
{
        long long start = test_now_ms();

        while (small_logs(small) > 0 && test_time_left(start, "the sessions are closed") > 0)
                usleep(1000);
        ck_assert_int_eq(daemon_log_lines(d, "not closed in order"), 0);
}
