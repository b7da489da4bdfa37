/* hello and ping; the options of open, with wrong values of each; handles and close. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/wire.h"

START_TEST(hello_tells_the_limits)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        const char *hello = wire_call(c, "hello({client: 'a test'})");

        expect_text(hello, "...protocol: 1, server: 'gramd', version: '...");
        expect_text(hello, "...backends: [...'file'...");
        expect_text(hello, "...backends: [...'memory'...");
        expect_text(hello, "...default_backend: 'file'...");
        ck_assert_int_eq(wire_number(hello, "max_message"), 4 << 20);
        ck_assert_int_eq(wire_number(hello, "max_depth"), 8);
        ck_assert_int_eq(wire_number(hello, "max_in_flight"), 256);
        ck_assert_int_ge(wire_number(hello, "max_sessions"), 1024);
}
END_TEST

START_TEST(hello_ignores_unknown_keys)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        expect(c, "...server: 'gramd'...",
               "hello({client: 'new', of_tomorrow: {a: [1, 'x']}, features: []})");
        expect(c, "...features: [...", "hello({features: ['of tomorrow', 'and later']})");
        expect(c, "...features: ['leave', 'lease', 'id', 'owner', 'kv', 'pyrotgfork', 'elsewhere']...",
               "hello({})");
        expect(c, "!bad_request", "hello({features: 'leave'})");
        ck_assert_ptr_nonnull(strstr(wire_error_message(c), "`features` must be an array of str"));
        expect(c, "!bad_request", "hello({features: [1]})");
        expect(c, "!bad_request", "hello({1: 2})");
        expect(c, "...client: 'new'...", "clients()");
}
END_TEST

START_TEST(a_session_that_is_opened_again_has_a_small_handle)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int kept = wire_open(c, "'kept', {}"), last = 0, seen = 0;

        /* A closed handle's number is not used again for a while, so a request on it is refused. */
        for (int i = 0; i < 3000; i++) {
                int s = wire_open(c, "'again', {}");

                ck_assert_int_gt(s, 0);
                ck_assert_int_lt(s, 4096);
                ck_assert_int_ne(s, kept);
                ck_assert_int_ne(s, last);
                expect(c, "nil", "close(%d)", s);
                expect(c, "!bad_session", "close(%d)", s);
                seen += s < last;
                last = s;
        }
        ck_assert_int_gt(seen, 0); /* numbers are used again */
        expect(c, "...name: 'kept'...", "info(%d)", kept);
        expect(c, "!bad_session", "close(0)");
        expect(c, "!bad_session", "close(-1)");
        expect(c, "!bad_session", "close(1048577)");
        expect(c, "!bad_session", "close(4294967297)");
}
END_TEST

START_TEST(ping_echoes_any_value)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        static const char *const values[] = {
                "nil",  "true", "-1",      "18446744073709551615", "-9223372036854775808",       "1.5",
                "'it'", "''",   "h'00ff'", "[1, [2, {a: nil}]]",   "{'a b': [], 1: 2, key: {}}", "e'0102'",
        };

        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
                expect(c, values[i], "ping(%s)", values[i]);
}
END_TEST

static const struct {
        const char *dialect;
        const char *answer; /* the group's name as dialect, and its newest version */
} dialects[] = {
        { "pyrogram", "dialect: 'pyrogram', fence: 0, session: ..., version: 3}" },
        { "hydrogram", "dialect: 'pyrogram', fence: 0, session: ..., version: 3}" },
        { "electrogram", "dialect: 'pyrofork', fence: 0, session: ..., version: 4}" },
        { "pyrofork", "dialect: 'pyrofork', fence: 0, session: ..., version: 4}" },
        { "kurigram", "dialect: 'kurigram', fence: 0, session: ..., version: 7}" },
        { "irenogram", "dialect: 'kurigram', fence: 0, session: ..., version: 7}" },
        { "pyrotgfork", "dialect: 'kurigram', fence: 0, session: ..., version: 6}" },
        { "telethon", "dialect: 'telethon', fence: 0, session: ..., version: 8}" },
};

START_TEST(open_creates_and_tells_what_it_opened)
{
        static const char *const backends[] = { "file", "memory" };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t b = 0; b < 2; b++)
                for (size_t i = 0; i < sizeof(dialects) / sizeof(dialects[0]); i++) {
                        TEST_FREED char *name = test_format("%s-%s", backends[b], dialects[i].dialect);
                        TEST_FREED char *options = test_format("{backend: '%s', dialect: '%s'}", backends[b],
                                                               dialects[i].dialect);
                        TEST_FREED char *made = test_format("{backend: '%s', created: true, %s", backends[b],
                                                            dialects[i].answer);
                        TEST_FREED char *again = test_format("{backend: '%s', created: false, %s",
                                                             backends[b], dialects[i].answer);

                        expect(c, made, "open('%s', %s)", name, options);
                        expect(c, again, "open('%s', %s)", name, options);
                }
}
END_TEST

START_TEST(a_dialect_given_for_an_existing_session_is_ignored)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        wire_open(c, "'anna', {dialect: 'telethon'}");
        expect(c, "...created: false, dialect: 'telethon'...", "open('anna', {dialect: 'kurigram'})");
}
END_TEST

START_TEST(create_false_needs_a_stored_session)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = daemon_path(d, "anna");
        int s;

        expect(c, "!not_found", "open('anna', {create: false})");
        ck_assert_int_ne(access(path, F_OK), 0);
        s = wire_open(c, "'anna', {create: true}");
        ck_assert_int_eq(access(path, F_OK), 0);
        expect(c, "nil", "close(%d)", s);
        expect(c, "...created: false...", "open('anna', {create: false})");
        expect(c, "!not_found", "open('bella', {create: false, backend: 'memory'})");
}
END_TEST

START_TEST(names_are_checked)
{
        static const char *const wrong[] = {
                "''",      "'.anna'",   "'..'",      "'a/b'",         "'/'",           "'a\\x00b'",
                "'a\\nb'", "'a\\x1fb'", "'a\\x7f'",  "'a\\xc2\\x80'", "'a\\xc2\\x9f'", "'x'*201",
                "5",       "nil",       "h'616263'", "['a']",         "true",
        };
        static const char *const right[] = { "'x'*200",
                                             "'a.b'",
                                             "'a\\xc2\\xa0'",
                                             "'a b'",
                                             "'-'",
                                             "'*'",
                                             "'\xc3\xbc\xe2\x82\xac\xf0\x9f\x90\x98'",
                                             "'admin'",
                                             "'%41'",
                                             "'a.session'" };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                expect(c, strstr(wrong[i], "*201") ? "!bad_request or !too_large" : "!bad_request",
                       "open(%s, {})", wrong[i]);
        for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
                expect(c, "...created: true...", "open(%s, {})", right[i]);
                expect(c, "...created: true...", "open(%s, {backend: 'memory'})", right[i]);
        }
}
END_TEST

START_TEST(options_are_checked)
{
        static const struct {
                const char *options;
                const char *named; /* named in the message */
        } rows[] = {
                { "{bogus: 1}", "bogus" },
                { "{backend: 'nope'}", "nope" },
                { "{backend: 5}", "backend" },
                { "{create: 1}", "create" },
                { "{mode: 'both'}", "both" },
                { "{mode: true}", "mode" },
                { "{wait: -1}", "wait" },
                { "{wait: '5'}", "wait" },
                { "{wait: 1.5}", "wait" },
                { "{dialect: 'klingon'}", "klingon" },
                { "{dialect: 7}", "dialect" },
                { "{dialect: 'klingon', backend: 'memory'}", "klingon" },
                { "{linger: -1, backend: 'memory'}", "linger" },
                { "{linger: 86401, backend: 'memory'}", "linger" },
                { "{linger: 'long', backend: 'memory'}", "linger" },
                { "{5: 1}", "" },
                { "[5]", "" },
                { "'file'", "" },
        };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                expect(c, "!bad_request", "open('anna', %s)", rows[i].options);
                ck_assert_msg(strstr(wire_error_message(c), rows[i].named) != NULL, "%s is not named in %s",
                              rows[i].named, wire_error_message(c));
        }
        expect(c, "!bad_request", "open()");
        expect(c, "!bad_request", "open('anna')");
        expect(c, "!bad_request", "open('anna', {}, 1)");
        expect(c, "!not_found", "open('anna', {create: false})");
        wire_open(c, "'anna', {backend: 'file', create: true, mode: 'shared', wait: 0, dialect: 'pyrogram'}");
        wire_open(c, "'bella', {backend: 'memory', linger: 0}");
        wire_open(c, "'carla', {backend: 'memory', linger: 86400}");
}
END_TEST

START_TEST(handles_belong_to_one_connection)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        int s = wire_open(a, "'anna', {}");
        int t = wire_open(a, "'anna', {}");

        ck_assert_int_ne(s, t);
        expect(b, "!bad_session", "get(%d, [])", s);
        expect(b, "!bad_session", "close(%d)", s);
        expect(a, "[]", "get(%d, [])", s);
        expect(a, "!bad_session", "get(%d, [])", s + t + 1);
        expect(a, "!bad_session or !bad_request", "get(-1, [])");
        expect(a, "!bad_session or !bad_request", "get(4294967296, [])");
        expect(a, "!bad_request", "get('anna', [])");
        expect(a, "!bad_request", "get(nil, [])");
}
END_TEST

START_TEST(close_ends_one_handle)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        int t = wire_open(c, "'anna', {}");

        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "nil", "close(%d)", s);
        expect(c, "!bad_session", "get(%d, ['dc_id'])", s);
        expect(c, "!bad_session", "close(%d)", s);
        expect(c, "[4]", "get(%d, ['dc_id'])", t);
        expect(c, "nil", "close(%d)", t);
        expect(c, "...created: false...", "open('anna', {})");
        expect(c, "!bad_request", "close()");
        expect(c, "!bad_request", "close(1, 2)");
}
END_TEST

/* A write and the close that follows it take effect in that order. */
START_TEST(close_waits_for_what_was_sent_before_it)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        uint32_t first = wire_send(c, "update_peers(%d, [[7, 70, 'user', nil, nil]])", s);
        uint32_t closed = wire_send(c, "close(%d)", s);
        uint32_t opened = wire_send(c, "open('anna', {create: false})");

        expect_text(wire_answer(c, first), "nil");
        expect_text(wire_answer(c, closed), "nil");
        s = (int)wire_number(wire_answer(c, opened), "session");
        expect(c, "[7, 70, ...]", "get_peer_by_id(%d, 7)", s);
}
END_TEST

START_TEST(a_connection_may_hold_many_handles)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int most = (int)wire_number(wire_call(c, "hello({client: 'many'})"), "max_sessions");
        int last = 0;

        for (int i = 0; i < most; i++)
                last = wire_open(c, "'anna', {}");
        expect(c, "!too_large", "open('anna', {})");
        expect(c, "nil", "close(%d)", last);
        last = wire_open(c, "'anna', {}");
        ck_assert_int_eq(wire_number(wire_call(c, "info(%d)", last), "handles"), most);
}
END_TEST

START_TEST(the_connections_end_closes_its_handles)
{
        DAEMON d = daemon_start();
        CLIENT stays = wire_connect(d);
        struct wire *goes = wire_connect(d);
        int s = wire_open(stays, "'anna', {}");

        for (int i = 0; i < 5; i++)
                wire_open(goes, "'anna', {}");
        ck_assert_int_eq(wire_number(wire_call(stays, "info(%d)", s), "handles"), 6);
        wire_end(&goes);
        expect(stays, "0", "ping(0)"); /* by now the daemon has seen the end */
        ck_assert_int_eq(wire_number(wire_call(stays, "info(%d)", s), "handles"), 1);
}
END_TEST

START_TEST(an_open_tells_the_lease_to_those_who_take_it)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);

        wire_call(c, "hello({features: ['lease']})");
        expect(c, "...lease: nil...", "open('anna', {})");
        ck_assert_ptr_null(strstr(wire_call(other, "open('anna', {})"), "lease"));
}
END_TEST

START_TEST(lease_is_unlimited_for_files_and_memory)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        expect(c, "nil", "lease(%d)", wire_open(c, "'anna', {}"));
        expect(c, "nil", "lease(%d)", wire_open(c, "'anna', {backend: 'memory'}"));
        expect(c, "!bad_session", "lease(99)");
}
END_TEST

START_TEST(many_sessions_are_open_at_once)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        enum { N = 300 };
        int handle[N];

        for (int i = 0; i < N; i++)
                handle[i] = wire_open(c, "'s%d', {}", i);
        for (int i = 0; i < N; i++)
                wire_send(c, "set(%d, {user_id: %d})", handle[i], i + 1000);
        for (int i = 0; i < N; i++) {
                TEST_FREED char *expected = test_format("[%d]", i + 1000);

                expect(c, expected, "get(%d, ['user_id'])", handle[i]);
        }
}
END_TEST

/* The soft limit is for programs that use select(2). */
START_TEST(the_hard_limit_of_descriptors_counts)
{
        DAEMON d = daemon_start(.open_files_soft = 64);
        CLIENT c = wire_connect(d);

        for (int i = 0; i < 150; i++)
                wire_open(c, "'s%d', {}", i);
}
END_TEST

/* Opens beyond the system's limit of descriptors get a clear error, and open sessions still work. */
START_TEST(opens_beyond_the_descriptors_are_refused)
{
        if (getenv("GRAMD_WRAPPER")) {
                test_skipped("opens beyond the descriptors", "valgrind keeps limits of its own");
                return;
        }
        DAEMON d = daemon_start(.open_files = 120);
        CLIENT c = wire_connect(d);
        int first = wire_open(c, "'s0', {}");
        int opened = 1;

        while (opened < 200 && wire_call(c, "open('s%d', {})", opened)[0] != '!')
                opened++;
        ck_assert_int_lt(opened, 200);
        ck_assert_int_gt(opened, 20);
        ck_assert_uint_gt(strlen(wire_error_message(c)), 10);
        expect(c, "nil", "set(%d, {dc_id: 4})", first);
        expect(c, "!...", "open('t', {})");
        expect(c, "nil", "close(%d)", first);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                hello_tells_the_limits,
                hello_ignores_unknown_keys,
                a_session_that_is_opened_again_has_a_small_handle,
                ping_echoes_any_value,
                open_creates_and_tells_what_it_opened,
                a_dialect_given_for_an_existing_session_is_ignored,
                create_false_needs_a_stored_session,
                names_are_checked,
                options_are_checked,
                handles_belong_to_one_connection,
                close_ends_one_handle,
                close_waits_for_what_was_sent_before_it,
                a_connection_may_hold_many_handles,
                the_connections_end_closes_its_handles,
                an_open_tells_the_lease_to_those_who_take_it,
                lease_is_unlimited_for_files_and_memory,
                many_sessions_are_open_at_once,
                the_hard_limit_of_descriptors_counts,
                opens_beyond_the_descriptors_are_refused,
                NULL,
        };

        return test_program("open", tests);
}
