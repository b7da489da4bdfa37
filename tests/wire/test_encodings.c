/*
 * What encoders of other languages send: floats where an integer is wanted, empty arrays where a map is.
 * Whole floats are integers in every place; an error says where another float came.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/program.h"
#include "../support/wire.h"

#define CHANNEL "-1001234567890"
#define PEER "[" CHANNEL ", 4503599627370497, 'channel', 'news', nil, 1700000000]"

START_TEST(whole_floats_are_integers_in_every_method)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {wait: 5.0, linger: 0.0}");

        expect(c, "nil",
               "set(%d.0, {dc_id: 4.0, api_id: 4294967295.0, date: 1700000000.0, user_id: 6876543210.0, "
               "port: 443.0, takeout_id: -9007199254740992.0})",
               s);
        expect(c, "[4, 4294967295, 1700000000, 6876543210, 443, -9007199254740992]",
               "get(%d.0, ['dc_id', 'api_id', 'date', 'user_id', 'port', 'takeout_id'])", s);

        expect(c, "nil",
               "update_peers(%d.0, [[" CHANNEL ".0, 4503599627370497.0, 'channel', 'news', nil, "
               "1700000000.0]])",
               s);
        expect(c, PEER, "get_peer_by_id(%d.0, " CHANNEL ".0)", s);
        expect(c, PEER, "get_peer_by_id(%d, " CHANNEL ")", s);
        expect(c, PEER, "get_peer_by_username(%d.0, 'news', 0.0)", s);
        expect(c, "[" PEER ", nil]", "get_peers(%d, [" CHANNEL ".0, 8.0])", s);
        expect(c, "[" PEER "]", "scan_peers(%d, " CHANNEL "1.0, 10.0)", s);
        expect(c, "[]", "scan_peers(%d, " CHANNEL ".0, 10.0)", s);

        expect(c, "nil", "update_usernames(%d, [[" CHANNEL ".0, ['more'], 1700000001.0]])", s);
        expect(c, "[['more', " CHANNEL ", ...]]", "scan_usernames(%d, ['a', 5.0], 10.0)", s);
        expect(c, "[]", "scan_usernames(%d, ['more', " CHANNEL ".0], 10.0)", s);

        expect(c, "nil", "update_states(%d, [[" CHANNEL ".0, 1.0, nil, 3.0, 4294967296.0]])", s);
        expect(c, "[[" CHANNEL ", 1, nil, 3, 4294967296]]", "get_states(%d, [" CHANNEL ".0])", s);
        expect(c, "nil", "remove_states(%d, [" CHANNEL ".0])", s);
        expect(c, "[]", "get_states(%d)", s);

        expect(c, "nil", "kv_set(%d, [['key', h'01', 60.0]])", s);
        expect(c, "[true, h'02']", "kv_swap(%d, 'key', h'01', h'02', 2147483647.0)", s);
        expect(c, "[['key', h'02']]", "kv_scan(%d, '', nil, 10.0)", s);

        expect(c, "[{...name: 'anna'...}]", "sessions(nil, {limit: 10.0})");
        expect(c, "!not_found", "disconnect(4294967296.0)");
        expect(c, "nil", "close(%d.0)", s);
}
END_TEST

START_TEST(an_import_takes_a_whole_float)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        TEST_FREED char *text = NULL;

        expect(c, "nil", "set(%d, {auth_key: h'01'*256})", s);
        text = test_format("%s", wire_call(c, "export_string(%d, 'telethon')", s));
        expect(c, "[...'api_id'...]", "import_string(%d, %s, {api_id: 12345.0})", s, text);
        expect(c, "[12345]", "get(%d, ['api_id'])", s);
        expect(c, "!bad_request", "import_string(%d, %s, {api_id: 0.5})", s, text);
        ck_assert_ptr_nonnull(strstr(wire_error_message(c), "a float"));
}
END_TEST

/* %d: the handle. */
static const char *const others[] = {
        "get(1.5, [])",
        "get_peer_by_id(%d, 7.5)",
        "get_peer_by_id(%d, 9007199254740994.0)",
        "get_peer_by_id(%d, -9007199254740994.0)",
        "get_peer_by_username(%d, 'a', 0.5)",
        "get_peers(%d, [1, 2.5])",
        "scan_peers(%d, 0.5, 10)",
        "scan_peers(%d, nil, 10.5)",
        "scan_usernames(%d, ['a', 0.5], 10)",
        "set(%d, {user_id: 0.5})",
        "set(%d, {dc_id: 0.5})",
        "update_peers(%d, [[6, 60, 'user', nil, nil], [7.5, 70, 'user', nil, nil]])",
        "update_peers(%d, [[7, 1000000000000000000.0, 'user', nil, nil]])",
        "update_peers(%d, [[7, 70, 'user', nil, nil, 1.5]])",
        "update_usernames(%d, [[7.5, []]])",
        "update_usernames(%d, [[7, ['a', 'b'], 1.5]])",
        "update_states(%d, [[1.5, 1, 2, 3, 4]])",
        "update_states(%d, [[1, 1, 2, 3, 4.5]])",
        "get_states(%d, [1.5])",
        "remove_states(%d, [1.5])",
        "kv_set(%d, [['a', h'01'], ['b', h'01', 1.5]])",
        "kv_swap(%d, 'a', nil, h'01', 1.5)",
        "kv_scan(%d, '', nil, 1.5)",
        /* on a worker */
        "remove_states(%d, [1..1001, 1.5])",
        "get_states(%d, [1..1001, 1.5])",
        "open('other', {wait: 0.5})",
        "open('other', {linger: 0.5})",
        "sessions(nil, {limit: 0.5})",
        "disconnect(0.5)",
};

START_TEST(another_float_is_refused_and_the_message_says_so)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
                const char *handle = strstr(others[i], "%d");
                TEST_FREED char *call =
                        handle ? test_format("%.*s%d%s", (int)(handle - others[i]), others[i], s, handle + 2)
                               : test_format("%s", others[i]);

                expect(c, "!bad_request", "%s", call);
                ck_assert_msg(strstr(wire_error_message(c), "a float") != NULL, "%s: %s", call,
                              wire_error_message(c));
        }
        expect(c, "[0, 0, 0]", "ping([0, 0, 0])");
        expect(c, "{...peers: 0...}", "info(%d)", s);
}
END_TEST

/* The rows of long lists are read on a worker. */
static char *long_list(const char *method, int s, const char *row, const char *last)
{
        enum { ROWS = 1001 };
        char *text = malloc(ROWS * (strlen(row) + 2) + strlen(last) + 100);
        char *to = text + sprintf(text, "%s(%d, [", method, s);

        for (int i = 0; i < ROWS; i++)
                to += sprintf(to, "%s, ", row);
        sprintf(to, "%s])", last);
        return text;
}

START_TEST(the_same_in_long_lists)
{
        static const char *const lists[][3] = {
                { "update_peers", "[-1001234567890.0, 70.0, 'user', nil, nil]",
                  "[7, 7.5, 'user', nil, nil]" },
                { "update_usernames", "[7.0, ['a long username, so that the message is long']]",
                  "[7, [], 0.5]" },
                { "update_states", "[7.0, 1.0, 2, 3, 4]", "[7, 1, 2, 3, 0.5]" },
        };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (size_t i = 0; i < 3; i++) {
                TEST_FREED char *wrong = long_list(lists[i][0], s, lists[i][1], lists[i][2]);
                TEST_FREED char *right = long_list(lists[i][0], s, lists[i][1], lists[i][1]);

                expect(c, "!bad_request", "%s", wrong);
                ck_assert_msg(strstr(wire_error_message(c), "row 1001 ") != NULL &&
                                      strstr(wire_error_message(c), "a float") != NULL,
                              "%s", wire_error_message(c));
                expect(c, "nil", "%s", right);
        }
        expect(c, "[-1001234567890, 70, 'user', ...]", "get_peer_by_id(%d, -1001234567890)", s);
        expect(c, "[[7, 1, 2, 3, 4]]", "get_states(%d)", s);
}
END_TEST

/* A message says nothing of floats where another value is wrong. */
START_TEST(nothing_is_said_of_floats_that_did_not_come)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        expect(c, "!bad_request", "update_peers(%d, [[7.0, 70.0, 'user', 5, nil]])", s);
        ck_assert_ptr_null(strstr(wire_error_message(c), "float"));
        expect(c, "!bad_request", "get_peer_by_id(%d, '7')", s);
        ck_assert_ptr_null(strstr(wire_error_message(c), "float"));
        expect(c, "!bad_request", "get_states(%d, ['7', 1.5])", s);
        ck_assert_ptr_null(strstr(wire_error_message(c), "float"));
}
END_TEST

START_TEST(the_envelope_may_have_floats_too)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        wire_hex(c, "94 00 ca 40 a0 00 00 a4 70 69 6e 67 91 01"); /* 5 as a float of 32 bits */
        expect_text(wire_next(c), "5: 1");
        wire_hex(c, "94 cb 00 00 00 00 00 00 00 00 cb 41 ef ff ff ff e0 00 00 a4 70 69 6e 67 91 01");
        expect_text(wire_next(c), "4294967295: 1");
        wire_hex(c, "94 00 cb 3f f8 00 00 00 00 00 00 a4 70 69 6e 67 91 01"); /* 1.5 */
        expect_text(wire_next(c), "0: !bad_request");
        wire_expect_closed(c);
}
END_TEST

START_TEST(an_empty_array_is_an_empty_map)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', []");
        TEST_FREED char *text = NULL;

        expect(c, "{...}", "hello([])");
        expect(c, "nil", "set(%d, {auth_key: h'01'*256})", s);
        expect(c, "nil", "set(%d, [])", s);
        text = test_format("%s", wire_call(c, "export_string(%d, 'telethon')", s));
        expect(c, "[...]", "import_string(%d, %s, [])", s, text);
        expect(c, "[{...}]", "sessions(nil, [])");
        expect(c, "nil", "delete(%d, [])", s);
}
END_TEST

START_TEST(other_arrays_are_no_maps)
{
        static const char *const methods[] = { "hello(%s)", "open('other', %s)", "sessions(nil, %s)" };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (size_t i = 0; i < 3; i++) {
                const char *at = strstr(methods[i], "%s");

                expect(c, "!bad_request", "%.*s[[]]%s", (int)(at - methods[i]), methods[i], at + 2);
        }
        expect(c, "!bad_request", "set(%d, [5])", s);
        expect(c, "!bad_request", "import_string(%d, 'a', [nil])", s);
        expect(c, "!bad_request", "delete(%d, ['remove_peers', true])", s);
        expect(c, "!bad_request", "get(%d, {})", s); /* nor is a map an array */
        expect(c, "{...name: 'anna'...}", "info(%d)", s);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                whole_floats_are_integers_in_every_method,
                an_import_takes_a_whole_float,
                another_float_is_refused_and_the_message_says_so,
                the_same_in_long_lists,
                nothing_is_said_of_floats_that_did_not_come,
                the_envelope_may_have_floats_too,
                an_empty_array_is_an_empty_map,
                other_arrays_are_no_maps,
                NULL,
        };

        return test_program("encodings", tests);
}
