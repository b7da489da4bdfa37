/*
 * A full disk, and what is uncommon about it: inodes rather than bytes, a reserve that cannot be made, a
 * journal that does not go away, pipelining clients of many sessions. Tested on a small tmpfs, mounted in a
 * mount namespace of the test's own (skipped where that is not permitted).
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

#define SIZE "size=6m,mode=0700"

enum { SESSIONS = 12, PEERS = 150, ROWS = 10, LARGE = 900 };

/* ---- the disk ---- */

struct small {
        char *data;
        bool mounted;
};
#define SMALL __attribute__((cleanup(small_end))) struct small

/* A data directory on a disk of its own. Not mounted: not possible here, and the test says that it is
 * skipped.
 */
static struct small small_begin(const char *options)
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

/* Gives back so many bytes of it. */
static void cut_ballast(const struct small *small, int64_t bytes)
{
        TEST_FREED char *path = test_format("%s/ballast", small->data);
        struct stat stat_of;

        ck_assert_int_eq(stat(path, &stat_of), 0);
        ck_assert_int_eq(truncate(path, stat_of.st_size - bytes), 0);
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

/* In one transaction. */
static void put_at_once(struct wire *c, int s)
{
        TEST_FREED char *rows = malloc((size_t)LARGE * 100);
        int n = 0;

        for (int i = 0; i < LARGE; i++)
                n += sprintf(rows + n, "%s[%d, %d, 'user', 'n%030d', nil]", n ? ", " : "", i + 1, i, i);
        expect(c, "nil", "update_peers(%d, [%s])", s, rows);
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

static void await_closed(const struct daemon *d, const struct small *small)
{
        for (int i = 0; n_logs(small) > 0; i++) {
                ck_assert_int_lt(i, 100);
                usleep(50 * 1000);
        }
        ck_assert_int_eq(lines(d, "not closed in order"), 0);
}

/* ---- tests ---- */

/*
 * Each recovery of a session with a journal that its library keeps (journal_mode = PERSIST) succeeds, and
 * leaves the journal. The others find no room. The start ends.
 */
START_TEST(a_journal_that_stays_does_not_keep_the_start_going)
{
        SMALL small = small_begin(SIZE);
        int sessions[SESSIONS];

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);
                TEST_FREED char *journal = test_format("%s/z.session-journal", small.data);
                struct wire *c = wire_connect(d);
                int fd;

                expect(c, "nil", "close(%d)", wire_open(c, "'z', {}"));
                open_all(c, sessions);
                put_all(c, sessions, 0);
                wire_end(&c);
                daemon_kill(d);
                fd = open(journal, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
                ck_assert_int_eq(ftruncate(fd, 512), 0);
                close(fd);
                remove_file(&small, ".gramd-reserve");
                fill_disk(&small);
                daemon_resume(d);
                remove_file(&small, "ballast");
                c = wire_connect(d);
                open_all(c, sessions);
                expect_all(c, sessions, 0);
                wire_end(&c);
        }
}
END_TEST

/* There is space, but no file can be made. */
START_TEST(a_disk_without_inodes)
{
        enum { FILES = 20 };
        SMALL small = small_begin("size=6m,mode=0700,nr_inodes=20");
        int n = 0;

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data, .config = "idle-close = 0\n");
                CLIENT c = wire_connect(d);
                int s = wire_open(c, "'s0', {}");

                put_peers(c, s, 0);
                for (; n < FILES; n++) {
                        TEST_FREED char *path = test_format("%s/f%d", small.data, n);
                        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

                        if (fd < 0)
                                break;
                        close(fd);
                }
                expect(c, "!storage", "open('new', {})");
                put_peers(c, s, PEERS);
                expect_peers(c, s, 0);
                expect(c, "nil", "close(%d)", s);
                await_closed(d, &small);
                while (n-- > 0) {
                        TEST_FREED char *name = test_format("f%d", n);

                        remove_file(&small, name);
                }
                s = wire_open(c, "'s0', {create: false}");
                expect_peers(c, s, PEERS);
                expect(c, "nil", "delete(%d)", s);
                wire_open(c, "'new', {}");
        }
}
END_TEST

/* A directory has its name. Writes that find no room are refused. */
START_TEST(a_reserve_that_cannot_be_made)
{
        SMALL small = small_begin(SIZE);
        int sessions[SESSIONS];

        if (!small.mounted)
                return;
        {
                TEST_FREED char *reserve = test_format("%s/.gramd-reserve", small.data);

                ck_assert_int_eq(mkdir(reserve, 0700), 0);
                {
                        DAEMON d = daemon_start(.data = small.data, .config = "idle-close = 0\n");
                        CLIENT c = wire_connect(d);
                        const char *answer;

                        open_all(c, sessions);
                        put_all(c, sessions, 0);
                        fill_disk(&small);
                        for (int i = 0; i < SESSIONS; i++) {
                                answer = wire_call(c, "update_peers(%d, [[-1, 1, 'user', nil, nil]])",
                                                   sessions[i]);
                                if (strcmp(answer, "nil") != 0)
                                        expect_text(answer, "!storage");
                        }
                        expect_all(c, sessions, 0);
                        remove_file(&small, "ballast");
                        put_all(c, sessions, PEERS);
                        expect_all(c, sessions, PEERS);
                        for (int i = 0; i < SESSIONS; i++)
                                expect(c, "nil", "close(%d)", sessions[i]);
                        await_closed(d, &small);
                }
                ck_assert_int_eq(rmdir(reserve), 0);
        }
}
END_TEST

/*
 * Clients that pipeline fill the disk. Each session has its log, and each log has new rows: its file has to
 * grow. The reserve is for that, not for the writes of the others.
 */
START_TEST(sessions_that_have_filled_the_disk_can_be_closed)
{
        enum { MANY = 32, PIPELINED = 32, REFUSED = 20000 };
        SMALL small = small_begin(SIZE);

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data, .config = "idle-close = 0\ncache = 0\n");
                struct wire *c[MANY];
                uint32_t sent[MANY][PIPELINED];
                int refused = 0, s[MANY];

                for (int i = 0; i < MANY; i++) {
                        c[i] = wire_connect(d);
                        s[i] = wire_open(c[i], "'s%d', {}", i);
                }
                for (int row = 1; refused < REFUSED; row += PIPELINED) {
                        for (int i = 0; i < MANY; i++)
                                for (int j = 0; j < PIPELINED; j++)
                                        sent[i][j] = wire_send(
                                                c[i], "update_peers(%d, [[%d, 1, 'user', 'u%060d', nil]])",
                                                s[i], row + j, row + j);
                        for (int i = 0; i < MANY; i++)
                                for (int j = 0; j < PIPELINED; j++)
                                        refused += strcmp(wire_answer(c[i], sent[i][j]), "!storage") == 0;
                }
                for (int i = 0; i < MANY; i++) {
                        expect(c[i], "[1, 1, ...]", "get_peer_by_id(%d, 1)", s[i]);
                        expect(c[i], "nil", "close(%d)", s[i]);
                        wire_end(&c[i]);
                }
                await_closed(d, &small);
        }
}
END_TEST

/* The reserve is small. The large log finds no room in it, and leaves it to the small one. */
START_TEST(a_log_that_is_too_large_for_the_reserve)
{
        SMALL small = small_begin(SIZE);

        if (!small.mounted)
                return;
        {
                TEST_FREED char *wal = test_format("%s/small.session-wal", small.data);
                DAEMON d = daemon_start(.data = small.data, .config = "idle-close = 0\n");
                struct wire *c;
                int large, s;

                daemon_stop(d);
                fill_disk(&small);
                cut_ballast(&small, 560 << 10);
                daemon_resume(d);
                remove_file(&small, "ballast");
                c = wire_connect(d);
                large = wire_open(c, "'large', {}");
                s = wire_open(c, "'small', {}");
                put_peers(c, s, 0);
                put_at_once(c, large);
                fill_disk(&small);
                expect(c, "nil", "close(%d)", large);
                while (wire_number(wire_call(c, "stats()"), "sessions") > 1)
                        usleep(1000);
                expect(c, "nil", "close(%d)", s);
                while (wire_number(wire_call(c, "stats()"), "sessions") > 0)
                        usleep(1000);
                ck_assert_int_ne(access(wal, F_OK), 0);
                remove_file(&small, "ballast");
                large = wire_open(c, "'large', {create: false}");
                expect_peers(c, large, LARGE - PEERS);
                expect(c, "nil", "close(%d)", large);
                while (n_logs(&small) > 0)
                        usleep(1000);
                wire_end(&c);
        }
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                a_journal_that_stays_does_not_keep_the_start_going,
                a_disk_without_inodes,
                a_reserve_that_cannot_be_made,
                sessions_that_have_filled_the_disk_can_be_closed,
                a_log_that_is_too_large_for_the_reserve,
                NULL,
        };

        return test_program("disk_room", tests);
}
