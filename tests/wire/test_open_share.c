/*
 * How many sessions one user may have open, and what counts as open. Root is needed to connect as another
 * user: the daemon sees the credentials of the moment of connect(2).
 */

#include <stdlib.h>
#include <string.h>

#include "../support/program.h"
#include "../support/wire.h"

enum { GREEDY = 54321, OTHER = 54322, THIRD = 54323 }; /* uids */

/* Opens new sessions until one is refused; returns how many there are. */
static int open_all(struct wire *c, const char *name, const char *options)
{
        int n = 0;

        while (wire_call(c, "open('%s%d', {%s})", name, n, options)[0] != '!')
                ck_assert_int_lt(++n, 1000);
        expect(c, "!overloaded", "open('%s%d', {%s})", name, n, options);
        ck_assert_ptr_nonnull(strstr(wire_error_message(c), "your user has"));
        return n;
}

static long long figure(struct daemon *d, const char *name)
{
        CLIENT root = wire_connect(d);

        return wire_number(wire_call(root, "stats()"), name);
}

static void wait_for_figure(struct daemon *d, const char *name, long long wanted)
{
        CLIENT root = wire_connect(d);

        while (wire_number(wire_call(root, "stats()"), name) != wanted)
                wire_readable(root, 10);
}

START_TEST(one_user_does_not_open_all_sessions)
{
        DAEMON d = daemon_start(.config = "max-open-sessions = 100\nidle-close = 3600\n");
        CLIENT greedy = NULL;
        CLIENT more = NULL;
        CLIENT other = NULL;
        CLIENT third = NULL;
        CLIENT root = wire_connect(d);

        if (!wire_has_strangers("shares of open sessions"))
                return;
        greedy = wire_connect_stranger(d, GREEDY, GREEDY);
        more = wire_connect_stranger(d, GREEDY, GREEDY);
        other = wire_connect_stranger(d, OTHER, OTHER);
        third = wire_connect_stranger(d, THIRD, THIRD);
        ck_assert_int_eq(open_all(greedy, "greedy", ""), 93);
        expect(more, "!overloaded", "open('more', {})");
        ck_assert_ptr_nonnull(strstr(wire_error_message(more), "max-open-sessions"));
        ck_assert_int_gt(wire_open(more, "'greedy1', {}"), 0); /* it is open already */
        ck_assert_int_eq(open_all(other, "other", ""), 6);
        ck_assert_int_gt(wire_open(third, "'third', {}"), 0); /* a user's first one, the last one of all */
        expect(root, "!overloaded", "open('root', {})");
        ck_assert_int_eq(figure(d, "uid_54321_sessions"), 93);
        ck_assert_int_eq(figure(d, "sessions_max"), 100);
        for (int i = 2; i < 50; i++) /* they are closed at once: there is no room for unused ones */
                expect(greedy, "nil", "close(%d)", i + 1);
        wait_for_figure(d, "uid_54321_sessions", 93 - 48);
        ck_assert_int_gt(wire_open(root, "'root', {}"), 0);
        ck_assert_int_gt(wire_open(other, "'other', {}"), 0);
}
END_TEST

/* Its sessions stay open without it: in memory for their `linger`. */
START_TEST(sessions_count_for_a_user_who_has_gone)
{
        static const char options[] = "backend: 'memory', linger: 3600";
        DAEMON d = daemon_start(.config = "max-open-sessions = 20\n");
        CLIENT greedy = NULL;

        if (!wire_has_strangers("shares of open sessions"))
                return;
        greedy = wire_connect_stranger(d, GREEDY, GREEDY);
        ck_assert_int_eq(open_all(greedy, "greedy", options), 18);
        wire_end(&greedy);
        wait_for_figure(d, "uid_54321_connections", 0);
        ck_assert_int_eq(figure(d, "uid_54321_sessions"), 18);
        greedy = wire_connect_stranger(d, GREEDY, GREEDY);
        ck_assert_int_eq(open_all(greedy, "more", options), 0);
        for (int i = 0; i < 5; i++) {
                int s = wire_open(greedy, "'greedy%d', {backend: 'memory', create: false}", i);

                expect(greedy, "nil", "delete(%d)", s);
        }
        wait_for_figure(d, "uid_54321_sessions", 13);
        ck_assert_int_eq(open_all(greedy, "more", options), 5);
}
END_TEST

/* A session is that of the user who has its oldest handle. */
START_TEST(a_session_counts_for_those_who_use_it)
{
        DAEMON d = daemon_start(.config = "max-open-sessions = 20\nidle-close = 0.1\n[access]\neveryone = "
                                          "read,write\n");
        CLIENT first = NULL;
        CLIENT second = NULL;
        int s;

        if (!wire_has_strangers("shares of open sessions"))
                return;
        first = wire_connect_stranger(d, GREEDY, GREEDY);
        second = wire_connect_stranger(d, OTHER, OTHER);
        s = wire_open(first, "'anna', {}");
        ck_assert_int_gt(wire_open(second, "'anna', {}"), 0);
        ck_assert_int_eq(figure(d, "uid_54321_sessions"), 1);
        ck_assert_int_eq(figure(d, "uid_54322_sessions"), 0);
        expect(first, "nil", "close(%d)", s);
        ck_assert_int_eq(figure(d, "uid_54321_sessions"), 0);
        ck_assert_int_eq(figure(d, "uid_54322_sessions"), 1);
        wire_end(&second);
        wait_for_figure(d, "sessions", 0);
        ck_assert_int_eq(figure(d, "connected_uids"), 2);
}
END_TEST

/* The daemon has 200, of which 50 are for itself; a client takes one, a session two. */
START_TEST(one_user_does_not_take_all_descriptors)
{
        struct wire *crowd[40];
        int n = 0;

        if (getenv("GRAMD_WRAPPER")) {
                test_skipped("shares of descriptors", "valgrind keeps limits of its own");
                return;
        }
        if (!wire_has_strangers("shares of descriptors"))
                return;
        DAEMON d = daemon_start(.open_files = 200);
        CLIENT greedy = wire_connect_stranger(d, GREEDY, GREEDY);
        CLIENT other = NULL;

        ck_assert_int_eq(figure(d, "descriptors_max"), 150);
        ck_assert_int_eq(open_all(greedy, "greedy", ""), 69);
        ck_assert_ptr_nonnull(strstr(wire_error_message(greedy), "descriptors"));
        ck_assert_int_eq(figure(d, "descriptors"), 1 + 2 * 69 + 1);
        ck_assert_int_gt(wire_open(greedy, "'memory', {backend: 'memory'}"), 0); /* takes none */
        for (n = 0; n < 40; n++) {
                const char *text;

                crowd[n] = wire_connect_stranger(d, GREEDY, GREEDY);
                wire_send(crowd[n], "ping(1)");
                text = wire_next(crowd[n]);
                if (!strstr(text, ": 1"))
                        break;
        }
        ck_assert_int_lt(n, 5);
        ck_assert_ptr_nonnull(strstr(wire_error_message(crowd[n]), "descriptors"));
        other = wire_connect_stranger(d, OTHER, OTHER);
        ck_assert_int_gt(wire_open(other, "'other', {}"), 0);
        expect(other, "nil", "update_peers(1, [[7, 70, 'user', 'anna', nil]])");
        for (int i = 0; i <= n; i++)
                wire_end(&crowd[i]);
}
END_TEST

START_TEST(open_sessions_take_little_memory)
{
        enum { SESSIONS = 500, EACH_KB = 60 };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        long before;

        ck_assert_int_eq(wire_open(c, "'first', {}"), 1);
        before = daemon_rss_kb(d);
        for (int i = 0; i < SESSIONS; i++)
                ck_assert_int_eq(wire_open(c, "'s%d', {}", i), i + 2);
        ck_assert_int_lt((daemon_rss_kb(d) - before) / SESSIONS, EACH_KB * test_memory_factor());
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                one_user_does_not_open_all_sessions,   sessions_count_for_a_user_who_has_gone,
                a_session_counts_for_those_who_use_it, one_user_does_not_take_all_descriptors,
                open_sessions_take_little_memory,      NULL,
        };

        return test_program("open sharing", tests);
}
