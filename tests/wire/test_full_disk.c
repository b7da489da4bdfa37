/*
 * Many small sessions on a small disk: their logs do not fill it. When something else does, the logs give
 * back what they hold, and sessions can be written, closed, recovered and deleted. Tested on a small tmpfs,
 * mounted in a mount namespace of the test's own (skipped where that is not permitted).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/small_disk.h"

/* Takes all that are left, with empty files. */
static void small_take_inodes(const struct small *small)
{
        for (int i = 0;; i++) {
                TEST_FREED char *path = test_format("%s/inode%d-%lld", small->data, i, test_now_ms());
                int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

                if (fd < 0) {
                        ck_assert_int_eq(errno, ENOSPC);
                        return;
                }
                close(fd);
        }
}

/* ---- tests ---- */

/* What they hold is 600 KiB; they write ten times what the disk has room for. */
START_TEST(small_sessions_do_not_fill_the_disk)
{
        SMALL small = small_begin(SMALL_6M);
        int sessions[SMALL_SESSIONS];

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);
                CLIENT c = wire_connect(d);

                small_open_all(c, sessions);
                small_put_all(c, sessions, 0);
                for (int n = 0; n < 250; n++)
                        for (int i = 0; i < SMALL_SESSIONS; i++)
                                expect(c, "nil", "update_peers(%d, [[%d, %d, 'user', 'x%d', nil]])",
                                       sessions[i], 1000, n, n);
                small_expect_all(c, sessions, 0);
                for (int i = 0; i < SMALL_SESSIONS; i++) {
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
        SMALL small = small_begin(SMALL_6M);
        int sessions[SMALL_SESSIONS];
        long long start;
        int64_t before;

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data, .config = "cache = 0\n");
                CLIENT c = wire_connect(d);

                small_open_all(c, sessions);
                small_put_all(c, sessions, 0);
                before = small_log_bytes(&small);
                ck_assert_int_gt(before, 1 << 20);
                ck_assert(small_has(&small, ".gramd-reserve"));
                small_fill(&small);
                small_put_all(c, sessions, SMALL_PEERS);
                small_expect_all(c, sessions, 0);
                small_expect_all(c, sessions, SMALL_PEERS);
                ck_assert_int_lt(small_log_bytes(&small), before);
                ck_assert_int_eq(daemon_log_lines(d, "is full: "), 1);
                start = test_now_ms();
                while (daemon_log_lines(d, "there is room again") == 0 && test_time_left(start, "room") > 0) {
                        expect(c, "nil", "update_peers(%d, [[-5, 1, 'user', nil, nil]])", sessions[0]);
                        usleep(100 * 1000);
                }
                ck_assert(small_has(&small, ".gramd-reserve"));
                ck_assert_int_eq(daemon_log_lines(d, "is full: "), 1);
                ck_assert_int_eq(daemon_log_lines(d, "there is room again"), 1);
                ck_assert_int_eq(daemon_log_lines(d, " error "), 1);
                daemon_stop(d);
                ck_assert(!small_has(&small, ".gramd-reserve"));
                ck_assert_int_eq(small_logs(&small), 0);
        }
}
END_TEST

/* A session that nobody writes gives its log back too. */
START_TEST(idle_sessions_give_back_their_logs)
{
        SMALL small = small_begin(SMALL_6M);
        int sessions[SMALL_SESSIONS];

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);
                CLIENT c = wire_connect(d);
                long long start;
                int s;

                small_open_all(c, sessions);
                small_put_all(c, sessions, 0);
                s = wire_open(c, "'writer', {}");
                small_fill(&small);
                for (int first = 0; daemon_log_lines(d, "is full: ") == 0; first += SMALL_PEERS)
                        small_put(c, s, first);
                start = test_now_ms();
                while (small_log_bytes(&small) > 1 << 20 && test_time_left(start, "smaller logs") > 0)
                        usleep(1000);
                small_expect_all(c, sessions, 0);
        }
}
END_TEST

START_TEST(sessions_close_on_a_full_disk)
{
        SMALL small = small_begin(SMALL_6M);
        int sessions[SMALL_SESSIONS];

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data, .config = "idle-close = 0\n");
                CLIENT c = wire_connect(d);

                small_open_all(c, sessions);
                small_put_all(c, sessions, 0);
                small_fill(&small);
                for (int i = 0; i < SMALL_SESSIONS; i++)
                        expect(c, "nil", "close(%d)", sessions[i]);
                small_await_closed(&small, d);
                small_find_sessions(d);
        }
}
END_TEST

/* Each session has a log and no room to write it back but for what the killed daemon's reserve holds. */
START_TEST(sessions_are_recovered_on_a_full_disk)
{
        SMALL small = small_begin(SMALL_6M);

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);

                small_make_sessions(d);
                daemon_kill(d);
                small_fill(&small);
                ck_assert_int_eq(small_logs(&small), SMALL_SESSIONS);
                daemon_resume(d);
                ck_assert_int_eq(small_logs(&small), 0);
                ck_assert_int_eq(daemon_log_lines(d, "recovering at start"), 0);
                small_find_sessions(d);
        }
}
END_TEST

/*
 * There is no reserve. The last session needs no room: its log holds old rows only. When it has been
 * recovered, there is room for the others.
 */
START_TEST(one_recovered_session_makes_room_for_others)
{
        SMALL small = small_begin(SMALL_6M);

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);
                struct wire *c = wire_connect(d);
                int s = wire_open(c, "'z', {}");

                expect(c, "nil", "update_peers(%d, [[1, 1, 'user', nil, nil]])", s);
                for (int n = 0; n < 40; n++)
                        expect(c, "nil", "update_peers(%d, [[1, %d, 'user', nil, nil]])", s, n);
                wire_end(&c);
                small_make_sessions(d);
                daemon_kill(d);
                small_remove(&small, ".gramd-reserve");
                small_fill(&small);
                daemon_resume(d);
                ck_assert_int_eq(small_logs(&small), 0);
                ck_assert_int_eq(daemon_log_lines(d, "recovering at start"), 0);
                small_find_sessions(d);
        }
}
END_TEST

/* Nothing is left, not even the reserve. */
START_TEST(sessions_are_deleted_on_a_full_disk)
{
        SMALL small = small_begin(SMALL_6M);

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data);
                struct wire *c;
                int n, files;

                small_make_sessions(d);
                daemon_stop(d);
                small_fill(&small);
                daemon_resume(d);
                ck_assert(!small_has(&small, ".gramd-reserve"));
                c = wire_connect(d);
                small_bytes(&small, "", &files);
                expect(c, "!storage", "open('new', {})");
                small_bytes(&small, "", &n);
                ck_assert_int_eq(n, files);
                ck_assert_int_eq(daemon_log_lines(d, "is full: "), 1);
                for (int i = 0; i < SMALL_SESSIONS; i++) {
                        TEST_FREED char *name = test_format("s%d.session", i);
                        int s = wire_open(c, "'s%d', {create: false}", i);

                        ck_assert_int_eq(small_free_bytes(&small), 0);
                        small_expect(c, s, 0);
                        expect(c, "nil", "delete(%d)", s);
                        ck_assert(!small_has(&small, name));
                        small_fill(&small);
                }
                expect(c, "!storage", "open('new', {})");
                small_remove(&small, "ballast");
                small_put(c, wire_open(c, "'new', {}"), 0);
                wire_end(&c);
        }
}
END_TEST

/* A file system has a bound of files too. Sessions that are open have theirs. */
START_TEST(missing_inodes_are_told_as_such)
{
        SMALL small = small_begin(SMALL_6M ",nr_inodes=64");

        if (!small.mounted)
                return;
        {
                DAEMON d = daemon_start(.data = small.data, .config = "idle-close = 0\n");
                CLIENT c = wire_connect(d);
                int s = wire_open(c, "'old', {}"), gone = wire_open(c, "'gone', {}");
                long long start = test_now_ms();

                small_put(c, s, 0);
                small_take_inodes(&small);
                expect(c, "!storage", "open('new', {})");
                ck_assert_int_eq(daemon_log_lines(d, "has no inodes left: "), 1);
                ck_assert_int_eq(daemon_log_lines(d, "is full: "), 0);
                small_put(c, s, SMALL_PEERS);
                small_expect(c, s, 0);
                small_expect(c, s, SMALL_PEERS);
                expect(c, "nil", "close(%d)", s);
                while (small_has(&small, "old.session-wal") && test_time_left(start, "its end") > 0)
                        usleep(1000);
                small_take_inodes(&small);
                expect(c, "!storage", "open('old', {create: false})");
                expect(c, "nil", "delete(%d)", gone);
                small_expect(c, wire_open(c, "'old', {}"), 0);
        }
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                small_sessions_do_not_fill_the_disk,
                writes_go_on_when_another_program_fills_the_disk,
                idle_sessions_give_back_their_logs,
                sessions_close_on_a_full_disk,
                sessions_are_recovered_on_a_full_disk,
                one_recovered_session_makes_room_for_others,
                sessions_are_deleted_on_a_full_disk,
                missing_inodes_are_told_as_such,
                NULL,
        };

        return test_program("full_disk", tests);
}
