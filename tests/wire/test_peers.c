/*
 * Peers: forms and limits of their rows; the three lookups; which of several peers answers; how old a name
 * may be; rows that repeat what is stored.
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

static long long now(void)
{
        return (long long)time(NULL);
}

/* How each row reads back, apart from its time: the same in every dialect. */
static const struct {
        const char *row;
        const char *reads;
        long long id;
} rows[] = {
        { "[7, 70, 'user', 'anna', '1555', 1234]", "[7, 70, 'user', 'anna', '1555', 1234]", 7 },
        { "[8, 80, 'bot', nil, nil, 0]", "[8, 80, 'bot', nil, nil, 0]", 8 },
        { "[9, nil, 'user', nil, nil]", "[9, nil, 'user', nil, nil, ...]", 9 },
        { "[10, 0, 'user', 'b', nil]", "[10, 0, 'user', 'b', nil, ...]", 10 },
        { "[11, -9223372036854775808, 'user', 'c', '2']", "[11, -9223372036854775808, 'user', 'c', '2', ...]",
          11 },
        { "[9223372036854775807, 9223372036854775807, 'user', nil, nil]",
          "[9223372036854775807, 9223372036854775807, 'user', nil, nil, ...]", 9223372036854775807 },
        { "[-9223372036854775807, 1, 'channel', nil, nil]",
          "[-9223372036854775807, 1, 'channel', nil, nil, ...]", -9223372036854775807 },
        { "[-500, 0, 'group', nil, nil]", "[-500, 0, 'group', nil, nil, ...]", -500 },
        { "[-1000000000500, 5, 'supergroup', 'Chan', nil]",
          "[-1000000000500, 5, 'supergroup', 'Chan', nil, ...]", -1000000000500 },
        { "[12, 1, 'a type that nobody thought of', nil, nil]",
          "[12, 1, 'a type that nobody thought of', nil, nil, ...]", 12 },
        { "[13, 1, 'direct', nil, '+79001']", "[13, 1, 'direct', nil, '+79001', ...]", 13 },
        { "[14, 1, 'user', nil, '0079001']", "[14, 1, 'user', nil, '0079001', ...]", 14 },
        { "[15, 1, 'user', 'MixedCase', '']", "[15, 1, 'user', 'MixedCase', '', ...]", 15 },
        { "[16, 1, 'user', '', nil]", "[16, 1, 'user', '', nil, ...]", 16 },
        { "[17, 1, 'user', 'u'*255, 'p'*255]", "[17, 1, 'user', 'uuu...', 'ppp...', ...]", 17 },
        { "[18, 1, 'user', 'a\\x00b', '1\\x002']", "[18, 1, 'user', 'a\\x00b', '1\\x002', ...]", 18 },
        { "[19, 1, 'user', '123', '1e5']", "[19, 1, 'user', '123', '1e5', ...]", 19 },
        { "[20, 1, 'user', 'it\\'s', '9223372036854775808']",
          "[20, 1, 'user', 'it\\'s', '9223372036854775808', ...]", 20 },
        { "[21, 1, 'user', '\xc3\xbc', '12.50']", "[21, 1, 'user', '\xc3\xbc', '12.50', ...]", 21 },
        { "[22, 1, 'user', '\xf0\x9f\x90\x98', ' 5 ']", "[22, 1, 'user', '\xf0\x9f\x90\x98', ' 5 ', ...]",
          22 },
        { "[23, 1, 'channel', 'x', '5']", "[23, 1, 'channel', 'x', '5', ...]", 23 },
        { "[24, 1, 'user', 'x24', '5', -5]", "[24, 1, 'user', 'x24', '5', -5]", 24 },
        { "[25, 1, 'user', 'x25', '6', 4294967296]", "[25, 1, 'user', 'x25', '6', 4294967296]", 25 },
};

START_TEST(rows_read_back_as_sent)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        struct wire *c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);

                for (size_t j = 0; j < sizeof(rows) / sizeof(rows[0]); j++) {
                        expect(c, "nil", "update_peers(%d, [%s])", s, rows[j].row);
                        expect(c, rows[j].reads, "get_peer_by_id(%d, %lld)", s, rows[j].id);
                }
        }
        wire_end(&c);
        daemon_stop(d);
        daemon_resume(d);
        c = wire_connect(d);
        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = wire_open(c, "'%s', {create: false}", dialects[i]);

                for (size_t j = 0; j < sizeof(rows) / sizeof(rows[0]); j++)
                        expect(c, rows[j].reads, "get_peer_by_id(%d, %lld)", s, rows[j].id);
        }
        wire_end(&c);
}
END_TEST

START_TEST(the_time_is_now_unless_given)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        long long before = now(), time;

        expect(c, "nil",
               "update_peers(%d, [[7, 70, 'user', nil, nil], [8, 80, 'user', nil], [9, 90, 'user', nil, nil, "
               "nil]])",
               s);
        time = strtoll(strrchr(wire_call(c, "get_peer_by_id(%d, 9)", s), ' '), NULL, 10);
        ck_assert(time >= before && time <= now());
        time = strtoll(strrchr(wire_call(c, "get_peer_by_id(%d, 7)", s), ' '), NULL, 10);
        ck_assert(time >= before && time <= now());
        time = strtoll(strrchr(wire_call(c, "get_peer_by_id(%d, 8)", s), ' '), NULL, 10);
        ck_assert(time >= before && time <= now());
}
END_TEST

static const char *const wrong_rows[] = {
        "[]",
        "[7]",
        "[7, 70, 'user']",
        "[7, 70, 'user', nil, nil, 1, 2]",
        "7",
        "nil",
        "{}",
        "['7', 70, 'user', nil, nil]",
        "[nil, 70, 'user', nil, nil]",
        "[7.5, 70, 'user', nil, nil]",
        "[9223372036854775808, 70, 'user', nil, nil]",
        "[7, 9223372036854775808, 'user', nil, nil]",
        "[7, '70', 'user', nil, nil]",
        "[7, 70, nil, nil, nil]",
        "[7, 70, '', nil, nil]",
        "[7, 70, 't'*33, nil, nil]",
        "[7, 70, 5, nil, nil]",
        "[7, 70, h'75736572', nil, nil]",
        "[7, 70, 'user', 5, nil]",
        "[7, 70, 'user', 'u'*256, nil]",
        "[7, 70, 'user', h'75', nil]",
        "[7, 70, 'user', nil, 1555]",
        "[7, 70, 'user', nil, 'p'*256]",
        "[7, 70, 'user', nil, nil, 'now']",
        "[7, 70, 'user', 5]",
        "[true, 70, 'user', nil, nil]",
};

START_TEST(wrong_rows_are_refused_and_change_nothing)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (size_t i = 0; i < sizeof(wrong_rows) / sizeof(wrong_rows[0]); i++) {
                expect(c, "!bad_request or !too_large", "update_peers(%d, [[6, 60, 'user', nil, nil], %s])",
                       s, wrong_rows[i]);
                ck_assert_uint_gt(strlen(wire_error_message(c)), 2);
                expect(c, "!not_found", "get_peer_by_id(%d, 6)", s);
        }
        expect(c, "!bad_request", "update_peers(%d, 5)", s);
        expect(c, "!bad_request", "update_peers(%d, nil)", s);
        expect(c, "!bad_request", "update_peers(%d)", s);
        expect(c, "nil", "update_peers(%d, [])", s);
        expect(c, "[]", "scan_peers(%d, nil, 10)", s);
}
END_TEST

START_TEST(rows_upsert_by_id)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);

                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', '1', 100]])", s);
                expect(c, "nil", "update_peers(%d, [[7, 71, 'bot', 'bella', nil, 200]])", s);
                expect(c, "[7, 71, 'bot', 'bella', nil, 200]", "get_peer_by_id(%d, 7)", s);
                expect(c, "!not_found", "get_peer_by_username(%d, 'anna', 0)", s);
                expect(c, "!not_found", "get_peer_by_phone_number(%d, '1')", s);
                expect(c, "[7, ...]", "get_peer_by_username(%d, 'bella', 0)", s);
                /* twice in one list: the last counts */
                expect(c, "nil",
                       "update_peers(%d, [[8, 1, 'user', 'c', nil, 1], [8, 2, 'user', 'd', nil, 2]])", s);
                expect(c, "[8, 2, 'user', 'd', nil, 2]", "get_peer_by_id(%d, 8)", s);
                expect(c, "!not_found", "get_peer_by_username(%d, 'c', 0)", s);
                expect(c, "[8, 2, ...]", "get_peer_by_username(%d, 'd', 0)", s);
                /* four elements: its own username becomes nil */
                expect(c, "nil", "update_peers(%d, [[8, 3, 'user', '99']])", s);
                expect(c, "[8, 3, 'user', nil, '99', ...]", "get_peer_by_id(%d, 8)", s);
                expect(c, "!not_found", "get_peer_by_username(%d, 'd', 0)", s);
        }
}
END_TEST

START_TEST(lookups_are_exact)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);

                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'Anna', '+1555']])", s);
                expect(c, "[7, ...]", "get_peer_by_username(%d, 'Anna')", s);
                expect(c, "!not_found", "get_peer_by_username(%d, 'anna')", s);
                expect(c, "!not_found", "get_peer_by_username(%d, 'Anna ')", s);
                expect(c, "!not_found", "get_peer_by_username(%d, '')", s);
                expect(c, "!not_found", "get_peer_by_username(%d, 'Ann')", s);
                expect(c, "[7, ...]", "get_peer_by_phone_number(%d, '+1555')", s);
                expect(c, "!not_found", "get_peer_by_phone_number(%d, '1555')", s);
                expect(c, "!not_found", "get_peer_by_phone_number(%d, '')", s);
                expect(c, "!not_found", "get_peer_by_id(%d, 8)", s);
                expect(c, "!not_found", "get_peer_by_id(%d, 0)", s);
        }
}
END_TEST

START_TEST(lookup_parameters_are_checked)
{
        static const struct {
                const char *method;
                const char *rest;
        } wrong[] = {
                { "get_peer_by_id", ", '7'" },
                { "get_peer_by_id", ", nil" },
                { "get_peer_by_id", ", 7.5" },
                { "get_peer_by_id", ", 18446744073709551615" },
                { "get_peer_by_id", "" },
                { "get_peer_by_id", ", 7, 8" },
                { "get_peer_by_username", ", 5" },
                { "get_peer_by_username", ", nil" },
                { "get_peer_by_username", ", 'a', -1" },
                { "get_peer_by_username", ", 'a', '5'" },
                { "get_peer_by_username", ", 'a', 1.5" },
                { "get_peer_by_username", ", 'a', 5, 5" },
                { "get_peer_by_phone_number", ", 1555" },
                { "get_peer_by_phone_number", "" },
                { "get_peer_by_phone_number", ", nil" },
                { "get_peers", ", 7" },
                { "get_peers", ", ['7']" },
                { "get_peers", ", [nil]" },
                { "get_peers", "" },
        };
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                expect(c, "!bad_request", "%s(%d%s)", wrong[i].method, s, wrong[i].rest);
}
END_TEST

START_TEST(get_peers_answers_in_the_order_asked_for)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        expect(c, "nil", "update_peers(%d, [[7, 70, 'user', nil, nil, 1], [8, 80, 'user', nil, nil, 2]])", s);
        expect(c, "[]", "get_peers(%d, [])", s);
        expect(c,
               "[[8, 80, 'user', nil, nil, 2], nil, [7, 70, 'user', nil, nil, 1], [8, 80, 'user', nil, nil, "
               "2]]",
               "get_peers(%d, [8, 9, 7, 8])", s);
        expect(c, "[[7, ...]", "get_peers(%d, [7..1006])", s);
        expect(c, "!too_large or !bad_request", "get_peers(%d, [1..1001])", s);
}
END_TEST

START_TEST(old_names_are_expired)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);
                long long time = now();

                expect(c, "nil",
                       "update_peers(%d, [[1, 1, 'user', 'fresh', nil, %lld], [2, 1, 'user', 'old', nil, "
                       "%lld], "
                       "[3, 1, 'user', 'nearly', nil, %lld], [4, 1, 'user', 'ahead', nil, %lld], "
                       "[5, 1, 'user', 'far', nil, %lld], [6, 1, 'user', 'first', '6', 0]])",
                       s, time, time - 28801, time - 28000, time + 28000, time + 30000);
                expect(c, "[1, ...]", "get_peer_by_username(%d, 'fresh')", s);
                expect(c, "!expired", "get_peer_by_username(%d, 'old')", s);
                expect(c, "[3, ...]", "get_peer_by_username(%d, 'nearly')", s);
                expect(c, "[4, ...]", "get_peer_by_username(%d, 'ahead')", s);
                expect(c, "!expired", "get_peer_by_username(%d, 'far')", s);
                expect(c, "!expired", "get_peer_by_username(%d, 'first')", s);
                expect(c, "!expired", "get_peer_by_username(%d, 'nearly', 1000)", s);
                expect(c, "!expired", "get_peer_by_username(%d, 'ahead', 1000)", s);
                expect(c, "[2, ...]", "get_peer_by_username(%d, 'old', 40000)", s);
                expect(c, "[5, ...]", "get_peer_by_username(%d, 'far', 40000)", s);
                expect(c, "[2, ...]", "get_peer_by_username(%d, 'old', 0)", s);
                expect(c, "[6, ...]", "get_peer_by_username(%d, 'first', 0)", s);
                expect(c, "[6, ...]", "get_peer_by_username(%d, 'first', 9223372036854775807)", s);
                /* the other lookups have no age limit */
                expect(c, "[6, ...]", "get_peer_by_phone_number(%d, '6')", s);
                expect(c, "[6, ...]", "get_peer_by_id(%d, 6)", s);
                /* a fresh row makes the name fresh */
                expect(c, "nil", "update_peers(%d, [[2, 1, 'user', 'old', nil]])", s);
                expect(c, "[2, ...]", "get_peer_by_username(%d, 'old')", s);
                expect(c, "!expired", "get_peer_by_username(%d, 'first', nil)", s);
        }
}
END_TEST

START_TEST(the_newest_of_several_answers)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < N_DIALECTS; i++) {
                int s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);

                expect(c, "nil",
                       "update_peers(%d, [[3, 1, 'user', 'n', '5', 100], [1, 1, 'user', 'n', '5', 300], "
                       "[2, 1, 'user', 'n', '5', 200]])",
                       s);
                expect(c, "[1, ...]", "get_peer_by_username(%d, 'n', 0)", s);
                expect(c, "[1, ...]", "get_peer_by_phone_number(%d, '5')", s);
                expect(c, "nil", "update_peers(%d, [[3, 1, 'user', 'n', '5', 400]])", s);
                expect(c, "[3, ...]", "get_peer_by_username(%d, 'n', 0)", s);
                expect(c, "[3, ...]", "get_peer_by_phone_number(%d, '5')", s);
                expect(c, "nil", "update_peers(%d, [[3, 1, 'user', 'other', '6', 500]])", s);
                expect(c, "[1, ...]", "get_peer_by_username(%d, 'n', 0)", s);
                expect(c, "[1, ...]", "get_peer_by_phone_number(%d, '5')", s);
                /* phone numbers: at equal times, the lowest id */
                expect(c, "nil", "update_peers(%d, [[2, 1, 'user', 'n', '5', 300]])", s);
                expect(c, "[1, ...]", "get_peer_by_phone_number(%d, '5')", s);
                expect(c, "nil", "update_peers(%d, [[1, 1, 'user', nil, nil, 600]])", s);
                expect(c, "[2, ...]", "get_peer_by_username(%d, 'n', 0)", s);
                expect(c, "[2, ...]", "get_peer_by_phone_number(%d, '5')", s);
        }
}
END_TEST

/*
 * Libraries send each peer again with every update. Then only its time changes, and the next read shows it.
 */
START_TEST(repeats_renew_the_time)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        struct wire *c = wire_connect(d);
        int s;

        for (size_t i = 0; i < N_DIALECTS; i++) {
                s = wire_open(c, "'%s', {dialect: '%s'}", dialects[i], dialects[i]);
                for (int time = 1000; time < 1020; time++) {
                        TEST_FREED char *expected = test_format("[7, 70, 'user', 'anna', '1', %d]", time);

                        expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', '1', %d]])", s, time);
                        expect(c, expected, "get_peer_by_id(%d, 7)", s);
                        expect(c, expected, "get_peer_by_username(%d, 'anna', 0)", s);
                        expect(c, expected, "get_peer_by_phone_number(%d, '1')", s);
                }
                expect(c, "[[7, 70, 'user', 'anna', '1', 1019]]", "scan_peers(%d, nil, 10)", s);
                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', '1', 500]])", s);
                expect(c, "[7, 70, 'user', 'anna', '1', 500]", "get_peer_by_id(%d, 7)", s);
                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', '1', 510]])", s);
        }
        wire_end(&c);
        daemon_stop(d);
        daemon_resume(d);
        c = wire_connect(d);
        for (size_t i = 0; i < N_DIALECTS; i++) {
                s = wire_open(c, "'%s', {create: false}", dialects[i]);
                expect(c, "[7, 70, 'user', 'anna', '1', 510]", "get_peer_by_id(%d, 7)", s);
        }
        wire_end(&c);
}
END_TEST

/* A long list in one message, and reads that are sent right after writes. */
START_TEST(reads_see_the_writes_sent_before_them)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        uint32_t write[100], read[100];

        for (int i = 0; i < 100; i++) {
                write[i] = wire_send(c, "update_peers(%d, [[7, %d, 'user', 'n%d', nil, 5]])", s, i, i);
                read[i] = wire_send(c, "get_peer_by_username(%d, 'n%d', 0)", s, i);
        }
        for (int i = 0; i < 100; i++) {
                TEST_FREED char *expected = test_format("[7, %d, 'user', 'n%d', nil, 5]", i, i);

                expect_text(wire_answer(c, write[i]), "nil");
                expect_text(wire_answer(c, read[i]), expected);
        }
}
END_TEST

START_TEST(writes_that_come_together_are_one_transaction)
{
        DAEMON d = daemon_start(.config = caches[_i]);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        long long before = wire_number(wire_call(c, "stats()"), "commits_total");
        uint8_t bytes[3000];
        size_t len = 0;

        for (uint32_t id = 1001; id <= 1020; id++) {
                size_t n;
                uint8_t *request = wire_pack(id, &n, "update_peers(%d, [[%u, 1, 'user', nil, nil]])", s, id);

                ck_assert_uint_le(len + n, sizeof(bytes));
                memcpy(bytes + len, request, n);
                len += n;
                free(request);
        }
        wire_raw(c, bytes, len);
        for (uint32_t id = 1001; id <= 1020; id++)
                expect_text(wire_answer(c, id), "nil");
        ck_assert_int_eq(wire_number(wire_call(c, "stats()"), "commits_total"), before + 1);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                rows_read_back_as_sent,
                the_time_is_now_unless_given,
                wrong_rows_are_refused_and_change_nothing,
                rows_upsert_by_id,
                lookups_are_exact,
                lookup_parameters_are_checked,
                get_peers_answers_in_the_order_asked_for,
                old_names_are_expired,
                the_newest_of_several_answers,
                repeats_renew_the_time,
                reads_see_the_writes_sent_before_them,
                writes_that_come_together_are_one_transaction,
                NULL,
        };

        return test_program_repeated("peers", tests, N_CACHES);
}
