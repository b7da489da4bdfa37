/*
 * A full disk, and what is uncommon about it: inodes rather than bytes, a reserve that cannot be made, a
 * journal that does not go away, pipelining clients of many sessions. Tested on a small tmpfs, mounted in a
 * mount namespace of the test's own (skipped where that is not permitted).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/small_disk.h"

enum { LARGE = 900 };

/* Gives back so many bytes of it. */
static void cut_ballast(const struct small *small, int64_t bytes)
{
        TEST_FREED char *path = test_format("%s/ballast", small->data);
        struct stat stat_of;

        ck_assert_int_eq(stat(path, &stat_of), 0);
        ck_assert_int_eq(truncate(path, stat_of.st_size - bytes), 0);
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

/* ---- tests ---- */

/*
 * Each recovery of a session with a journal that its library keeps (journal_mode = PERSIST) succeeds, and
 * leaves the journal. The others find no room. The start ends.
 */
START_TEST(a_journal_that_stays_does_not_keep_the_start_going)
{
        SMALL small = small_begin(SMALL_6M);

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);
                TEST_FREED char *journal = test_format("%s/z.session-journal", small.data);
                struct wire *c = wire_connect(d);
                int fd;

                expect(c, "nil", "close(%d)", wire_open(c, "'z', {}"));
                wire_end(&c);
                small_make_sessions(d);
                daemon_kill(d);
                fd = open(journal, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
                ck_assert_int_eq(ftruncate(fd, 512), 0);
                close(fd);
                small_remove(&small, ".gramd-reserve");
                small_fill(&small);
                daemon_resume(d);
                small_remove(&small, "ballast");
                small_find_sessions(d);
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

                small_put(c, s, 0);
                for (; n < FILES; n++) {
                        TEST_FREED char *path = test_format("%s/f%d", small.data, n);
                        int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

                        if (fd < 0)
                                break;
                        close(fd);
                }
                expect(c, "!storage", "open('new', {})");
                small_put(c, s, SMALL_PEERS);
                small_expect(c, s, 0);
                expect(c, "nil", "close(%d)", s);
                small_await_closed(&small, d);
                while (n-- > 0) {
                        TEST_FREED char *name = test_format("f%d", n);

                        small_remove(&small, name);
                }
                s = wire_open(c, "'s0', {create: false}");
                small_expect(c, s, SMALL_PEERS);
                expect(c, "nil", "delete(%d)", s);
                wire_open(c, "'new', {}");
        }
}
END_TEST

/* A directory has its name. Writes that find no room are refused. */
START_TEST(a_reserve_that_cannot_be_made)
{
        SMALL small = small_begin(SMALL_6M);
        int sessions[SMALL_SESSIONS];

        if (!small.mounted)
                return;
        {
                TEST_FREED char *reserve = test_format("%s/.gramd-reserve", small.data);

                ck_assert_int_eq(mkdir(reserve, 0700), 0);
                {
                        DAEMON d = daemon_start(.data = small.data, .config = "idle-close = 0\n");
                        CLIENT c = wire_connect(d);
                        const char *answer;

                        small_open_all(c, sessions);
                        small_put_all(c, sessions, 0);
                        small_fill(&small);
                        for (int i = 0; i < SMALL_SESSIONS; i++) {
                                answer = wire_call(c, "update_peers(%d, [[-1, 1, 'user', nil, nil]])",
                                                   sessions[i]);
                                if (strcmp(answer, "nil") != 0)
                                        expect_text(answer, "!storage");
                        }
                        small_expect_all(c, sessions, 0);
                        small_remove(&small, "ballast");
                        small_put_all(c, sessions, SMALL_PEERS);
                        small_expect_all(c, sessions, SMALL_PEERS);
                        for (int i = 0; i < SMALL_SESSIONS; i++)
                                expect(c, "nil", "close(%d)", sessions[i]);
                        small_await_closed(&small, d);
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
        SMALL small = small_begin(SMALL_6M);

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
                small_await_closed(&small, d);
        }
}
END_TEST

/* The reserve is small. The large log finds no room in it, and leaves it to the small one. */
START_TEST(a_log_that_is_too_large_for_the_reserve)
{
        SMALL small = small_begin(SMALL_6M);

        if (!small.mounted)
                return;
        {
                TEST_FREED char *wal = test_format("%s/small.session-wal", small.data);
                DAEMON d = daemon_start(.data = small.data, .config = "idle-close = 0\n");
                struct wire *c;
                int large, s;

                daemon_stop(d);
                small_fill(&small);
                cut_ballast(&small, 560 << 10);
                daemon_resume(d);
                small_remove(&small, "ballast");
                c = wire_connect(d);
                large = wire_open(c, "'large', {}");
                s = wire_open(c, "'small', {}");
                small_put(c, s, 0);
                put_at_once(c, large);
                small_fill(&small);
                expect(c, "nil", "close(%d)", large);
                while (wire_number(wire_call(c, "stats()"), "sessions") > 1)
                        usleep(1000);
                expect(c, "nil", "close(%d)", s);
                while (wire_number(wire_call(c, "stats()"), "sessions") > 0)
                        usleep(1000);
                ck_assert_int_ne(access(wal, F_OK), 0);
                small_remove(&small, "ballast");
                large = wire_open(c, "'large', {create: false}");
                small_expect(c, large, LARGE - SMALL_PEERS);
                expect(c, "nil", "close(%d)", large);
                while (small_logs(&small) > 0)
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
