/*
 * The usernames table: replacing a peer's names; who owns a name; which one answers, the peer's own username
 * or the table, and whose age counts; scan_usernames.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../support/program.h"
#include "../support/wire.h"

static const char *const dialects[] = { "pyrogram", "pyrofork", "kurigram", "telethon" };
enum { N_DIALECTS = sizeof(dialects) / sizeof(dialects[0]) };

/* An answer is the same with a cache and without: every test runs with each of these options. */
static const char *const caches[] = { "", "cache = 0\n" };
enum { N_CACHES = sizeof(caches) / sizeof(caches[0]) };

/* In this layout a name has one row, the last writer's. */
static bool one_owner(const char *dialect)
{
        return strcmp(dialect, "pyrofork") == 0;
}

/* Kurigram's and Irenogram's table has no column for a row's time: there it reads nil, and only the peer's
 * counts. */
static bool has_row_times(const char *dialect)
{
        return strcmp(dialect, "kurigram") != 0;
}

static int open_dialect(struct wire *c, size_t i)
{
        return wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);
}

/* The `[name, peer]` pairs of a page, without times. */
static void expect_page(struct wire *c, int s, const char *page, const char *expected)
{
        const char *text = wire_call(c, "scan_usernames(%d, %s)", s, page);
        TEST_FREED char *pairs = calloc(1, strlen(text) + 1);
        char *to = pairs;

        for (const char *at = text; *at; at++) {
                const char *comma = strchr(at, ','), *second = comma ? strchr(comma + 1, ',') : NULL;

                if (at[0] != '[' || at[1] == '[' || !second)
                        continue;
                to += sprintf(to, "%s%.*s", to == pairs ? "" : " ", (int)(second - at - 1), at + 1);
                at = strchr(second, ']');
        }
        expect_text(pairs, expected);
}

static void expect_names(struct wire *c, int s, const char *expected)
{
        expect_page(c, s, "nil, 1000", expected);
}

START_TEST(names_of_a_peer_are_replaced)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);

                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', nil], [8, 80, 'user', nil]])", s);
                expect(c, "nil", "update_usernames(%d, [[7, ['a', 'b']], [8, ['c']]])", s);
                expect(c, "[7, ...]", "get_peer_by_username(%d, 'a')", s);
                expect(c, "[7, 70, 'user', nil, nil, ...]", "get_peer_by_username(%d, 'b')", s);
                expect(c, "[8, ...]", "get_peer_by_username(%d, 'c')", s);
                expect_names(c, s, "'a', 7 'b', 7 'c', 8");
                expect(c, "nil", "update_usernames(%d, [[7, ['b', 'd']]])", s);
                expect(c, "!not_found", "get_peer_by_username(%d, 'a')", s);
                expect(c, "[7, ...]", "get_peer_by_username(%d, 'b')", s);
                expect(c, "[7, ...]", "get_peer_by_username(%d, 'd')", s);
                expect(c, "nil", "update_usernames(%d, [[7, []]])", s);
                expect_names(c, s, "'c', 8");
                expect(c, "nil", "update_usernames(%d, [])", s);
                /* a peer twice: the last row counts; a name twice: once */
                expect(c, "nil", "update_usernames(%d, [[7, ['x']], [7, ['y', 'z', 'y']]])", s);
                expect(c, "!not_found", "get_peer_by_username(%d, 'x')", s);
                expect_names(c, s, "'c', 8 'y', 7 'z', 7");
                /* the peer's other values stay */
                expect(c, "[7, 70, 'user', nil, nil, ...]", "get_peer_by_id(%d, 7)", s);
        }
}
END_TEST

START_TEST(names_survive_a_restart)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        struct wire *c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);

                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', nil], [8, 80, 'user', 'own', nil]])", s);
                expect(c, "nil", "update_usernames(%d, [[7, ['a', 'B']], [8, ['c', '\xc3\xbc', '']]])", s);
        }
        wire_end(&c);
        daemon_stop(d);
        daemon_resume(d);
        c = wire_connect(d);
        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);

                expect_names(c, s, "'', 8 'B', 7 'a', 7 'c', 8 '\xc3\xbc', 8");
                expect(c, "[8, 80, 'user', 'own', nil, ...]", "get_peer_by_username(%d, '\xc3\xbc')", s);
                expect(c, "[8, ...]", "get_peer_by_username(%d, 'own')", s);
        }
        wire_end(&c);
}
END_TEST

START_TEST(a_name_of_several_peers)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);

                expect(c, "nil",
                       "update_peers(%d, [[7, 1, 'user', nil, nil, 200], [8, 1, 'user', nil, nil, 100]])", s);
                expect(c, "nil", "update_usernames(%d, [[7, ['n']], [8, ['n']]])", s);
                expect_names(c, s, one_owner(dialects[i]) ? "'n', 8" : "'n', 7 'n', 8");
                expect(c, one_owner(dialects[i]) ? "[8, ...]" : "[7, ...]",
                       "get_peer_by_username(%d, 'n', 0)", s);
                expect(c, "nil", "update_usernames(%d, [[8, []]])", s);
                expect(c, one_owner(dialects[i]) ? "!not_found" : "[7, ...]",
                       "get_peer_by_username(%d, 'n', 0)", s);
        }
}
END_TEST

START_TEST(own_name_and_table_are_one_lookup)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);

                expect(c, "nil",
                       "update_peers(%d, [[7, 1, 'user', 'n', nil, 200], [8, 1, 'user', nil, nil, 100]])", s);
                expect(c, "nil", "update_usernames(%d, [[8, ['n']]])", s);
                expect(c, "[7, ...]", "get_peer_by_username(%d, 'n', 0)", s);
                expect(c, "nil", "update_peers(%d, [[8, 1, 'user', nil, nil, 300]])", s);
                expect(c, "[8, ...]", "get_peer_by_username(%d, 'n', 0)", s);
                /* at equal times its own username wins */
                expect(c, "nil", "update_peers(%d, [[7, 1, 'user', 'n', nil, 300]])", s);
                expect(c, "[7, ...]", "get_peer_by_username(%d, 'n', 0)", s);
                expect(c, "nil", "update_peers(%d, [[7, 1, 'user', 'other', nil, 400]])", s);
                expect(c, "[8, ...]", "get_peer_by_username(%d, 'n', 0)", s);
                expect(c, "nil", "update_usernames(%d, [[8, []]])", s);
                expect(c, "!not_found", "get_peer_by_username(%d, 'n', 0)", s);
        }
}
END_TEST

START_TEST(the_ages_of_peer_and_row_both_count)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);
                long long now = (long long)time(NULL), old = now - 30000;

                expect(c, "nil",
                       "update_peers(%d, [[1, 1, 'user', nil, nil, %lld], [2, 1, 'user', nil, nil, %lld], "
                       "[3, 1, 'user', nil, nil, %lld], [4, 1, 'user', 'own', nil, %lld]])",
                       s, now, now, old, now);
                expect(c, "nil",
                       "update_usernames(%d, [[1, ['both'], %lld], [2, ['oldrow'], %lld], "
                       "[3, ['oldpeer'], %lld], [4, ['own'], %lld]])",
                       s, now, old, now, old);
                expect(c, "[1, ...]", "get_peer_by_username(%d, 'both')", s);
                expect(c, has_row_times(dialects[i]) ? "!expired" : "[2, ...]",
                       "get_peer_by_username(%d, 'oldrow')", s);
                expect(c, "[2, ...]", "get_peer_by_username(%d, 'oldrow', 0)", s);
                expect(c, "[2, ...]", "get_peer_by_username(%d, 'oldrow', 40000)", s);
                expect(c, "!expired", "get_peer_by_username(%d, 'oldpeer')", s);
                expect(c, "[3, ...]", "get_peer_by_username(%d, 'oldpeer', 0)", s);
                /* found by its own name: the row's age does not matter */
                expect(c, "[4, ...]", "get_peer_by_username(%d, 'own')", s);
        }
}
END_TEST

START_TEST(times_of_rows_read_back)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);
                long long before = (long long)time(NULL), row;

                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', nil]])", s);
                expect(c, "nil", "update_usernames(%d, [[7, ['a', 'b'], 1234]])", s);
                expect(c,
                       has_row_times(dialects[i]) ? "[['a', 7, 1234], ['b', 7, 1234]]"
                                                  : "[['a', 7, nil], ['b', 7, nil]]",
                       "scan_usernames(%d, nil, 10)", s);
                if (!has_row_times(dialects[i]))
                        continue;
                expect(c, "nil", "update_usernames(%d, [[7, ['a']]])", s);
                row = strtoll(strrchr(wire_call(c, "scan_usernames(%d, nil, 10)", s), ' '), NULL, 10);
                ck_assert(row >= before && row <= (long long)time(NULL));
        }
}
END_TEST

/* A name finds nothing while its peer is not stored. */
START_TEST(names_without_a_peer_find_nothing)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);

                expect(c, "nil", "update_usernames(%d, [[7, ['a']]])", s);
                expect(c, "!not_found", "get_peer_by_username(%d, 'a')", s);
                expect_names(c, s, "'a', 7");
                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', nil]])", s);
                expect(c, "[7, ...]", "get_peer_by_username(%d, 'a')", s);
        }
}
END_TEST

START_TEST(wrong_rows_change_nothing)
{
        static const char *const wrong[] = {
                "[7]",
                "[7, 'a']",
                "[7, nil]",
                "['7', ['a']]",
                "[7, [5]]",
                "[7, ['u'*256]]",
                "[7, [nil]]",
                "[7, [h'61']]",
                "[7, ['a'], 'now']",
                "[7, ['a'], 1, 2]",
                "[7, ['a', '\\xff']]",
                "7",
                "nil",
                "[nil, ['a']]",
                "[9223372036854775808, ['a']]",
        };
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                expect(c, "!bad_request or !too_large", "update_usernames(%d, [[6, ['x']], %s])", s,
                       wrong[i]);
        expect(c, "!bad_request", "update_usernames(%d, 5)", s);
        expect(c, "!bad_request", "update_usernames(%d)", s);
        expect(c, "[]", "scan_usernames(%d, nil, 10)", s);
}
END_TEST

START_TEST(scans_go_on_after_a_pair)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = open_dialect(c, i);

                expect(c, "nil", "update_peers(%d, [[1, 1, 'user', 'own', nil], [2, 1, 'user', nil, nil]])",
                       s);
                expect(c, "nil", "update_usernames(%d, [[2, ['c', 'a'], 5], [1, ['b', 'd', '\xc3\xbc'], 5]])",
                       s);
                expect_page(c, s, "nil, 2", "'a', 2 'b', 1");
                expect_page(c, s, "['b', 1], 2", "'c', 2 'd', 1");
                expect_page(c, s, "['b', 0], 1", "'b', 1");
                expect_page(c, s, "['aa', 9], 1", "'b', 1");
                expect_page(c, s, "['d', 1], 9", "'\xc3\xbc', 1");
                expect_page(c, s, "['\xc3\xbc', 1], 9", "");
                expect_page(c, s, "['\xc3\xbc', 9223372036854775807], 9", "");
                if (one_owner(dialects[i]))
                        continue;
                expect(c, "nil", "update_usernames(%d, [[1, ['a'], 6], [2, ['a'], 7], [-3, ['a'], 8]])", s);
                expect_page(c, s, "nil, 2", "'a', -3 'a', 1");
                expect_page(c, s, "['a', 1], 2", "'a', 2");
        }
}
END_TEST

/* The first row of the list is not what is stored: it does not count as a repetition. */
START_TEST(a_name_of_two_peers_of_one_list)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                const char *both = "'a', 7 'a', 8";
                int s = open_dialect(c, i);

                expect(c, "nil", "update_usernames(%d, [[7, ['a']], [8, ['a']]])", s);
                expect_names(c, s, one_owner(dialects[i]) ? "'a', 8" : both);
                expect(c, "nil", "update_usernames(%d, [[7, ['a']]])", s);
                expect_names(c, s, one_owner(dialects[i]) ? "'a', 7" : both);
        }
}
END_TEST

START_TEST(scan_parameters_are_checked)
{
        static const char *const wrong[] = { "nil, -1",       "nil, 1001",      "nil, 'x'",
                                             "'a', 5",        "['a'], 5",       "[1, 'a'], 5",
                                             "['a', nil], 5", "['a', 1, 2], 5", "['u'*256, 1], 5",
                                             "nil",           "nil, 5, 5",      "nil, nil" };
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                expect(c, "!bad_request or !too_large", "scan_usernames(%d, %s)", s, wrong[i]);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                names_of_a_peer_are_replaced,
                names_survive_a_restart,
                a_name_of_several_peers,
                own_name_and_table_are_one_lookup,
                the_ages_of_peer_and_row_both_count,
                times_of_rows_read_back,
                names_without_a_peer_find_nothing,
                wrong_rows_change_nothing,
                scans_go_on_after_a_pair,
                a_name_of_two_peers_of_one_list,
                scan_parameters_are_checked,
                NULL,
        };

        return test_program_repeated("usernames", tests, N_CACHES);
}
