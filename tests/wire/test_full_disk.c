/*
 * Many small sessions on a small disk: their logs do not fill it. When something else does, the logs give
 * back what they hold, and sessions can be written, closed, recovered and deleted. Tested on a small tmpfs,
 * mounted in a mount namespace of the test's own (skipped where that is not permitted).
 */
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

#include "../support/program.h"
#include "../support/wire.h"

enum { SESSIONS = 12, PEERS = 150, ROWS = 10 };

/* ---- the disk ---- */

struct small {
        char *data;
        bool mounted;
};
#define SMALL __attribute__((cleanup(small_end))) struct small

/* A data directory on a disk of 6 MiB. Not mounted: not possible here, and the test says that it is skipped.
 */
static struct small small_begin(void)
{
        struct small small = { 0 };
        char cwd[4096];

        ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
        small.data = test_format("%s/small", cwd);
        ck_assert(mkdir(small.data, 0700) == 0 || errno == EEXIST);
        small.mounted = unshare(CLONE_NEWNS) == 0 &&
                        mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
                        mount("tmpfs", small.data, "tmpfs", 0, "size=6m,mode=0700") == 0;
        if (!small.mounted)
                test_skipped("a full file system", strerror(errno));
        return small;
}

static void small_end(const struct small *small)
{
        if (small->mounted)
                umount(small->data);
        rmdir(small->data);
        free(small->data);
}

static int64_t free_bytes(const struct small *small)
{
        struct statvfs disk;

        ck_assert_int_eq(statvfs(small->data, &disk), 0);
        return (int64_t)(disk.f_bavail * disk.f_bsize);
}

/* Takes all that is left on the disk. */
static void fill_disk(const struct small *small)
{
        TEST_FREED char *path = test_format("%s/ballast", small->data);
        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

        ck_assert_int_ge(fd, 0);
        while (free_bytes(small) > 0)
                ck_assert_int_eq(posix_fallocate(fd, lseek(fd, 0, SEEK_END), free_bytes(small)), 0);
        close(fd);
}

static bool is_there(const struct small *small, const char *name)
{
        TEST_FREED char *path = test_format("%s/%s", small->data, name);

        return access(path, F_OK) == 0;
}

static void remove_file(const struct small *small, const char *name)
{
        TEST_FREED char *path = test_format("%s/%s", small->data, name);

        ck_assert_int_eq(unlink(path), 0);
}

/* Files of the data directory whose names end so: their bytes, and how many there are. */
static int64_t bytes_of(const struct small *small, const char *suffix, int *n)
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

static int64_t log_bytes(const struct small *small)
{
        int n;

        return bytes_of(small, "-wal", &n);
}

static int n_logs(const struct small *small)
{
        int n;

        bytes_of(small, "-wal", &n);
        return n;
}

/* ---- the sessions ---- */

/* New rows from `first` on: the file has to grow when its log goes back to it. */
static void put_peers(struct wire *c, int s, int first)
{
        for (int i = first; i < first + PEERS; i += ROWS) {
                char rows[1024];
                int n = 0;

                for (int j = i; j < i + ROWS; j++)
                        n += snprintf(rows + n, sizeof(rows) - (size_t)n, "%s[%d, %d, 'user', 'n%030d', nil]",
                                      n ? ", " : "", j + 1, j, j);
                expect(c, "nil", "update_peers(%d, [%s])", s, rows);
        }
}

static void expect_peers(struct wire *c, int s, int first)
{
        for (int i = first; i < first + PEERS; i += 7) {
                TEST_FREED char *expected = test_format("[%d, %d, ...]", i + 1, i);

                expect(c, expected, "get_peer_by_id(%d, %d)", s, i + 1);
        }
}

static void open_all(struct wire *c, int sessions[SESSIONS])
{
        for (int i = 0; i < SESSIONS; i++)
                sessions[i] = wire_open(c, "'s%d', {}", i);
}

static void put_all(struct wire *c, const int sessions[SESSIONS], int first)
{
        for (int i = 0; i < SESSIONS; i++)
                put_peers(c, sessions[i], first);
}

static void expect_all(struct wire *c, const int sessions[SESSIONS], int first)
{
        for (int i = 0; i < SESSIONS; i++)
                expect_peers(c, sessions[i], first);
}

static int lines(const struct daemon *d, const char *what)
{
        TEST_FREED char *log = daemon_log(d);
        int n = 0;

        for (const char *at = log; (at = strstr(at, what)); at++)
                n++;
        return n;
}

/* ---- tests ---- */

/* What they hold is 600 KiB; they write ten times what the disk has room for. */
START_TEST(small_sessions_do_not_fill_the_disk)
{
        SMALL small = small_begin();
        int sessions[SESSIONS];

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);
                CLIENT c = wire_connect(d);

                open_all(c, sessions);
                put_all(c, sessions, 0);
                for (int n = 0; n < 250; n++)
                        for (int i = 0; i < SESSIONS; i++)
                                expect(c, "nil", "update_peers(%d, [[%d, %d, 'user', 'x%d', nil]])",
                                       sessions[i], 1000, n, n);
                expect_all(c, sessions, 0);
                for (int i = 0; i < SESSIONS; i++) {
                        expect(c, "[1000, 249, ...]", "get_peer_by_id(%d, 1000)", sessions[i]);
                }
        }
}
END_TEST

/*
 * The sessions hold logs, and no file can grow. The first write that finds no room has the logs written back
 * and cut: from then on there is room.
 */
START_TEST(writes_go_on_when_another_program_fills_the_disk)
{
        SMALL small = small_begin();
        int sessions[SESSIONS];
        int64_t before;

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data, .config = "cache = 0\n");
                CLIENT c = wire_connect(d);

                open_all(c, sessions);
                put_all(c, sessions, 0);
                before = log_bytes(&small);
                ck_assert_int_gt(before, 1 << 20);
                ck_assert(is_there(&small, ".gramd-reserve"));
                fill_disk(&small);
                put_all(c, sessions, PEERS);
                expect_all(c, sessions, 0);
                expect_all(c, sessions, PEERS);
                ck_assert_int_lt(log_bytes(&small), before);
                ck_assert_int_eq(lines(d, "is full: "), 1);
                usleep(4000 * 1000);
                expect(c, "nil", "update_peers(%d, [[-5, 1, 'user', nil, nil]])", sessions[0]);
                ck_assert(is_there(&small, ".gramd-reserve"));
                ck_assert_int_eq(lines(d, "is full: "), 1);
                ck_assert_int_eq(lines(d, "there is room again"), 1);
                ck_assert_int_eq(lines(d, " error "), 1);
                daemon_stop(d);
                ck_assert(!is_there(&small, ".gramd-reserve"));
                ck_assert_int_eq(n_logs(&small), 0);
        }
}
END_TEST

/* A session that nobody writes gives its log back too. */
START_TEST(idle_sessions_give_back_their_logs)
{
        SMALL small = small_begin();
        int sessions[SESSIONS];

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);
                CLIENT c = wire_connect(d);
                int s;

                open_all(c, sessions);
                put_all(c, sessions, 0);
                s = wire_open(c, "'writer', {}");
                fill_disk(&small);
                for (int first = 0; lines(d, "is full: ") == 0; first += PEERS)
                        put_peers(c, s, first);
                for (int i = 0; log_bytes(&small) > 1 << 20; i++) {
                        ck_assert_int_lt(i, 100);
                        usleep(50 * 1000);
                }
                expect_all(c, sessions, 0);
        }
}
END_TEST

START_TEST(sessions_close_on_a_full_disk)
{
        SMALL small = small_begin();
        int sessions[SESSIONS];

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data, .config = "idle-close = 0\n");
                CLIENT c = wire_connect(d);

                open_all(c, sessions);
                put_all(c, sessions, 0);
                fill_disk(&small);
                for (int i = 0; i < SESSIONS; i++)
                        expect(c, "nil", "close(%d)", sessions[i]);
                for (int i = 0; n_logs(&small) > 0; i++) {
                        ck_assert_int_lt(i, 100);
                        usleep(50 * 1000);
                }
                ck_assert_int_eq(lines(d, "not closed in order"), 0);
                open_all(c, sessions);
                expect_all(c, sessions, 0);
        }
}
END_TEST

/* Each session has a log and no room to write it back but for what the killed daemon's reserve holds. */
START_TEST(sessions_are_recovered_on_a_full_disk)
{
        SMALL small = small_begin();
        int sessions[SESSIONS];

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);
                struct wire *c = wire_connect(d);

                open_all(c, sessions);
                put_all(c, sessions, 0);
                wire_end(&c);
                daemon_kill(d);
                fill_disk(&small);
                ck_assert_int_eq(n_logs(&small), SESSIONS);
                daemon_resume(d);
                ck_assert_int_eq(n_logs(&small), 0);
                ck_assert_int_eq(lines(d, "recovering at start"), 0);
                c = wire_connect(d);
                open_all(c, sessions);
                expect_all(c, sessions, 0);
                wire_end(&c);
        }
}
END_TEST

/*
 * There is no reserve. The last session needs no room: its log holds old rows only. When it has been
 * recovered, there is room for the others.
 */
START_TEST(one_recovered_session_makes_room_for_others)
{
        SMALL small = small_begin();
        int sessions[SESSIONS];

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);
                struct wire *c = wire_connect(d);
                int s = wire_open(c, "'z', {}");

                expect(c, "nil", "update_peers(%d, [[1, 1, 'user', nil, nil]])", s);
                for (int n = 0; n < 40; n++)
                        expect(c, "nil", "update_peers(%d, [[1, %d, 'user', nil, nil]])", s, n);
                open_all(c, sessions);
                put_all(c, sessions, 0);
                wire_end(&c);
                daemon_kill(d);
                remove_file(&small, ".gramd-reserve");
                fill_disk(&small);
                daemon_resume(d);
                ck_assert_int_eq(n_logs(&small), 0);
                ck_assert_int_eq(lines(d, "recovering at start"), 0);
                c = wire_connect(d);
                open_all(c, sessions);
                expect_all(c, sessions, 0);
                wire_end(&c);
        }
}
END_TEST

/* Nothing is left, not even the reserve. */
START_TEST(sessions_are_deleted_on_a_full_disk)
{
        SMALL small = small_begin();
        int sessions[SESSIONS];

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);
                struct wire *c = wire_connect(d);
                int n, files;

                open_all(c, sessions);
                put_all(c, sessions, 0);
                wire_end(&c);
                daemon_stop(d);
                fill_disk(&small);
                daemon_resume(d);
                ck_assert(!is_there(&small, ".gramd-reserve"));
                c = wire_connect(d);
                bytes_of(&small, "", &files);
                expect(c, "!storage", "open('new', {})");
                bytes_of(&small, "", &n);
                ck_assert_int_eq(n, files);
                ck_assert_int_eq(lines(d, "is full: "), 1);
                for (int i = 0; i < SESSIONS; i++) {
                        TEST_FREED char *name = test_format("s%d.session", i);
                        int s = wire_open(c, "'s%d', {create: false}", i);

                        ck_assert_int_eq(free_bytes(&small), 0);
                        expect_peers(c, s, 0);
                        expect(c, "nil", "delete(%d)", s);
                        ck_assert(!is_there(&small, name));
                        fill_disk(&small);
                }
                expect(c, "!storage", "open('new', {})");
                remove_file(&small, "ballast");
                put_peers(c, wire_open(c, "'new', {}"), 0);
                wire_end(&c);
        }
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                small_sessions_do_not_fill_the_disk,   writes_go_on_when_another_program_fills_the_disk,
                idle_sessions_give_back_their_logs,    sessions_close_on_a_full_disk,
                sessions_are_recovered_on_a_full_disk, one_recovered_session_makes_room_for_others,
                sessions_are_deleted_on_a_full_disk,   NULL,
        };

        return test_program("full_disk", tests);
}
