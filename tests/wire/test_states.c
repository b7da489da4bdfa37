/*
 * Update states (overwriting and keeping nil parts, order by date, removal), scan_peers, info and stats of
 * what is stored.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/program.h"
#include "../support/wire.h"

static const char *const dialects[] = { "pyrogram", "pyrofork", "kurigram", "telethon" };
enum { N_DIALECTS = sizeof(dialects) / sizeof(dialects[0]) };

static int open_dialect(struct wire *c, size_t i)
{
        return wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);
}

START_TEST(states_upsert)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);

                expect(c, "[]", "get_states(%d)", s);
                expect(c, "nil", "update_states(%d, [[0, 1, 2, 3, 4], [-100, 5, nil, 6, nil]])", s);
                expect(c, "[[0, 1, 2, 3, 4], [-100, 5, nil, 6, nil]]", "get_states(%d)", s);
                expect(c, "nil", "update_states(%d, [[0, 10, nil, 30, nil]])", s);
                expect(c, "[[0, 10, nil, 30, nil]]", "get_states(%d, [0])", s);
                expect(c, "nil", "update_states(%d, [[0, nil, 20, nil, 40]], true)", s);
                expect(c, "[[0, 10, 20, 30, 40]]", "get_states(%d, [0])", s);
                expect(c, "nil", "update_states(%d, [[0, nil, 21, nil, 41]], false)", s);
                expect(c, "[[0, nil, 21, nil, 41]]", "get_states(%d, [0])", s);
                expect(c, "nil", "update_states(%d, [[9, nil, nil, nil, nil]], true)", s);
                expect(c, "[[9, nil, nil, nil, nil]]", "get_states(%d, [9])", s);
                expect(c, "nil", "update_states(%d, [])", s);
                expect(c, "nil", "update_states(%d, [], true)", s);
                /* twice in one list: in the order given */
                expect(c, "nil", "update_states(%d, [[7, 1, 1, 1, 1], [7, 2, nil, nil, nil]], true)", s);
                expect(c, "[[7, 2, 1, 1, 1]]", "get_states(%d, [7])", s);
                expect(c, "nil", "update_states(%d, [[7, 1, 1, 1, 1], [7, 2, nil, nil, nil]])", s);
                expect(c, "[[7, 2, nil, nil, nil]]", "get_states(%d, [7])", s);
        }
}
END_TEST

START_TEST(states_come_by_date_nil_first)
{
        DAEMON d = daemon_start();
        struct wire *c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);

                expect(c, "nil",
                       "update_states(%d, [[1, 1, 1, 300, 1], [2, 1, 1, nil, 1], [3, 1, 1, 100, 1], "
                       "[4, 1, 1, -5, 1], [5, 1, 1, 200, 1]])",
                       s);
                expect(c, "[[2, ...], [4, ...], [3, ...], [5, ...], [1, ...]]", "get_states(%d)", s);
                expect(c, "[[2, ...], [4, ...], [3, ...], [5, ...], [1, ...]]", "get_states(%d, nil)", s);
                expect(c, "[[2, ...], [3, ...], [1, ...]]", "get_states(%d, [1, 3, 2, 99])", s);
                expect(c, "[]", "get_states(%d, [])", s);
                expect(c, "[]", "get_states(%d, [99])", s);
                expect(c, "nil", "update_states(%d, [[9, 1, 1, 300, 1], [-9, 1, 1, 300, 1]], nil)", s);
                expect(c, "[[-9, ...], [1, ...], [9, ...]]", "get_states(%d, [9, 1, -9])", s);
                expect(c, "nil", "remove_states(%d, [9, -9])", s);
        }
        wire_end(&c);
        daemon_stop(d);
        daemon_resume(d);
        c = wire_connect(d);
        for (size_t i = 0; i < N_DIALECTS; i++)
                expect(c,
                       "[[2, 1, 1, nil, 1], [4, 1, 1, -5, 1], [3, 1, 1, 100, 1], [5, 1, 1, 200, 1], "
                       "[1, 1, 1, 300, 1]]",
                       "get_states(%d)", open_dialect(c, i));
        wire_end(&c);
}
END_TEST

START_TEST(states_are_removed)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);

                expect(c, "nil", "update_states(%d, [[1, 1, 1, 1, 1], [2, 2, 2, 2, 2], [3, 3, 3, 3, 3]])", s);
                expect(c, "nil", "remove_states(%d, [1, 3, 99])", s);
                expect(c, "[[2, 2, 2, 2, 2]]", "get_states(%d)", s);
                expect(c, "nil", "remove_states(%d, [1])", s);
                expect(c, "nil", "remove_states(%d, [])", s);
                expect(c, "nil", "remove_states(%d, [2])", s);
                expect(c, "[]", "get_states(%d)", s);
                /* there is no stored value to keep */
                expect(c, "nil", "update_states(%d, [[2, 5, nil, nil, nil]], true)", s);
                expect(c, "[[2, 5, nil, nil, nil]]", "get_states(%d)", s);
        }
}
END_TEST

START_TEST(state_parameters_are_checked)
{
        static const struct {
                const char *method;
                const char *rest;
        } wrong[] = {
                { "update_states", ", [[8, 1, 1, 1, 1], [7, 1, 1, 1]]" },
                { "update_states", ", [[8, 1, 1, 1, 1], [7, 1, 1, 1, 1, 1]]" },
                { "update_states", ", [[8, 1, 1, 1, 1], [nil, 1, 1, 1, 1]]" },
                { "update_states", ", [[8, 1, 1, 1, 1], ['7', 1, 1, 1, 1]]" },
                { "update_states", ", [[8, 1, 1, 1, 1], [7, '1', 1, 1, 1]]" },
                { "update_states", ", [[8, 1, 1, 1, 1], [7, 1, 1, 1.5, 1]]" },
                { "update_states", ", [[8, 1, 1, 1, 1], 7]" },
                { "update_states", ", [[8, 1, 1, 1, 1]], 1" },
                { "update_states", ", [[8, 1, 1, 1, 1]], 'keep'" },
                { "update_states", ", [[8, 1, 1, 1, 1]], true, true" },
                { "update_states", ", nil" },
                { "update_states", "" },
                { "get_states", ", 7" },
                { "get_states", ", ['7']" },
                { "get_states", ", [7], 8" },
                { "remove_states", ", 7" },
                { "remove_states", ", ['7']" },
                { "remove_states", "" },
        };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                expect(c, "!bad_request", "%s(%d%s)", wrong[i].method, s, wrong[i].rest);
        expect(c, "[]", "get_states(%d)", s);
}
END_TEST

static char *many_states(int first, int n)
{
        char *text = calloc((size_t)n, 32);
        char *to = text;

        for (int i = 0; i < n; i++)
                to += sprintf(to, "%s[%d, 1, nil, nil, nil]", i ? ", " : "", first + i);
        return text;
}

/*
 * All states of an open session are in memory, so their number is bounded: a write beyond it is refused
 * whole.
 */
START_TEST(the_number_of_states_is_bounded)
{
        enum { MOST = 65536, PART = 8192 };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (int i = 0; i < MOST; i += PART) {
                TEST_FREED char *part = many_states(i, PART);

                expect(c, "nil", "update_states(%d, [%s])", s, part);
        }
        expect(c, "!too_large", "update_states(%d, [[1, 2, 2, 2, 2], [%d, 1, 1, 1, 1]])", s, MOST);
        expect(c, "[[1, 1, nil, nil, nil]]", "get_states(%d, [1, %d])", s, MOST);
        expect(c, "nil", "update_states(%d, [[1, 2, 2, 2, 2]])", s);
        expect(c, "nil", "remove_states(%d, [0])", s);
        expect(c, "nil", "update_states(%d, [[%d, 1, 1, 1, 1]])", s, MOST);
        ck_assert_int_eq(wire_number(wire_call(c, "info(%d)", s), "states"), MOST);
}
END_TEST

/* 400 are looked at on a worker, 200 on the loop. */
START_TEST(an_answer_is_no_longer_than_a_message)
{
        DAEMON d = daemon_start(.config = "max-message = 4096\n");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        uint32_t before, states, after;

        for (int n = 0; n < 400; n += 10) {
                for (int id = n; id < n + 10; id++)
                        expect(c, "nil", "update_states(%d, [[%d, 100000, 100000, 100000, 100000]])", s, id);
                before = wire_send(c, "ping(1)");
                states = wire_send(c, "get_states(%d)", s);
                after = wire_send(c, "ping(2)");
                expect_text(wire_answer(c, before), "1");
                expect_text(wire_answer(c, states), n < 180 ? "[[0, 100000, ...], ...]" : "!too_large");
                expect_text(wire_answer(c, after), "2");
        }
        expect(c, "[[399, 100000, ...]]", "get_states(%d, [399])", s);
}
END_TEST

START_TEST(peers_are_scanned_by_id)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);

                expect(c, "[]", "scan_peers(%d, nil, 10)", s);
                expect(c, "nil",
                       "update_peers(%d, [[5, 1, 'user', nil, nil], [-7, 1, 'group', nil, nil], "
                       "[-1000000000009, 1, 'channel', nil, nil], [1, 1, 'user', nil, nil]])",
                       s);
                expect(c, "[[-1000000000009, ...], [-7, ...]]", "scan_peers(%d, nil, 2)", s);
                expect(c, "[[1, ...], [5, ...]]", "scan_peers(%d, -7, 2)", s);
                expect(c, "[[1, ...], [5, ...]]", "scan_peers(%d, 0, 1000)", s);
                expect(c, "[]", "scan_peers(%d, 5, 2)", s);
                expect(c, "[]", "scan_peers(%d, 9223372036854775807, 2)", s);
                expect(c, "[[-1000000000009, ...]]", "scan_peers(%d, -9223372036854775808, 1)", s);
        }
}
END_TEST

START_TEST(a_scan_sees_all_of_many)
{
        enum { N = 2500 };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        long long last = 0;
        int seen = 0;

        for (int i = 0; i < N; i += 10)
                wire_send(c,
                          "update_peers(%d, [[%d, 1, 'user', nil, nil], [%d, 1, 'user', nil, nil], "
                          "[%d, 1, 'user', nil, nil], [%d, 1, 'user', nil, nil], [%d, 1, 'user', nil, nil]])",
                          s, i + 1, i + 3, i + 5, i + 7, i + 9);
        for (;;) {
                const char *text = wire_call(c, "scan_peers(%d, %lld, 1000)", s, last);

                if (strcmp(text, "[]") == 0)
                        break;
                for (const char *at = text + 1; (at = strchr(at, '[')); at++) {
                        ck_assert_int_eq(strtoll(at + 1, NULL, 10), seen * 2 + 1);
                        last = seen++ * 2 + 1;
                }
        }
        ck_assert_int_eq(seen, N / 2);
}
END_TEST

START_TEST(scan_parameters_are_checked)
{
        static const char *const wrong[] = { "nil, -1",  "nil, 1001", "nil, nil", "'a', 5",
                                             "nil, '5'", "nil",       "1, 2, 3",  "1.5, 5" };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                expect(c, "!bad_request or !too_large", "scan_peers(%d, %s)", s, wrong[i]);
        expect(c, "[]", "scan_peers(%d, nil, 1000)", s);
}
END_TEST

START_TEST(info_counts)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        static const char *const backends[] = { "file", "memory" };

        for (size_t b = 0; b < 2; b++) {
                int s = wire_open(c, "'i-%s', {backend: '%s', dialect: 'kurigram'}", backends[b],
                                  backends[b]);
                int t = wire_open(c, "'i-%s', {backend: '%s'}", backends[b], backends[b]);
                TEST_FREED char *expected =
                        test_format("{backend: '%s', bytes: ..., dialect: 'kurigram', fence: 0, handles: 2, "
                                    "name: 'i-%s', peers: 2, states: 1, usernames: 3, version: 7}",
                                    backends[b], backends[b]);

                expect(c, "nil", "update_peers(%d, [[1, 1, 'user', nil], [2, 1, 'user', nil]])", s);
                expect(c, "nil", "update_usernames(%d, [[1, ['a', 'b']], [2, ['a']]])", s);
                expect(c, "nil", "update_states(%d, [[1, 1, 1, 1, 1]])", s);
                expect(c, expected, "info(%d)", t);
                ck_assert_int_gt(wire_number(wire_call(c, "info(%d)", t), "bytes"), 0);
                expect(c, "nil", "close(%d)", s);
                ck_assert_int_eq(wire_number(wire_call(c, "info(%d)", t), "handles"), 1);
        }
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                states_upsert,
                states_come_by_date_nil_first,
                states_are_removed,
                state_parameters_are_checked,
                the_number_of_states_is_bounded,
                an_answer_is_no_longer_than_a_message,
                peers_are_scanned_by_id,
                a_scan_sees_all_of_many,
                scan_parameters_are_checked,
                info_counts,
                NULL,
        };

        return test_program("states", tests);
}
