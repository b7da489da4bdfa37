/* The methods for operators: sessions, clients, drain, stats, monitor, disconnect. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../support/notation.h"
#include "../support/program.h"
#include "../support/wire.h"

/* The names in a list of sessions, in the list's order, separated by spaces. */
static char *names_in(const char *list)
{
        char *names = calloc(1, strlen(list) + 1), *to = names;

        for (const char *at = list; (at = strstr(at, "name: '")); at++) {
                const char *name = at + strlen("name: '");

                to += sprintf(to, "%s%.*s", to == names ? "" : " ", (int)strcspn(name, "'"), name);
        }
        return names;
}

static void expect_sessions(struct wire *c, const char *parameters, const char *expected)
{
        TEST_FREED char *names = names_in(wire_call(c, "sessions(%s)", parameters));

        ck_assert_msg(strcmp(names, expected) == 0, "sessions(%s): %s instead of %s", parameters, names,
                      expected);
}

START_TEST(sessions_are_listed_by_name)
{
        static const char *const names[] = { "b", "a", "alice-1", "alice-2", "B", "bob", "\xc3\xbc", "a*b" };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        const char *text;
        long long modified;

        expect(c, "[]", "sessions(nil)");
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                expect(c, "nil", "close(%d)", wire_open(c, "'%s', {}", names[i]));
        expect_sessions(c, "nil", "B a a*b alice-1 alice-2 b bob \xc3\xbc");
        expect_sessions(c, "nil, nil", "B a a*b alice-1 alice-2 b bob \xc3\xbc");
        expect_sessions(c, "nil, {}", "B a a*b alice-1 alice-2 b bob \xc3\xbc");
        expect_sessions(c, "'alice-*'", "alice-1 alice-2");
        expect_sessions(c, "'?'", "B a b \xc3\xbc");
        expect_sessions(c, "'[ab]*'", "a a*b alice-1 alice-2 b bob");
        expect_sessions(c, "'[!a-z]'", "B \xc3\xbc");
        expect_sessions(c, "'a\\\\*b'", "a*b");
        expect_sessions(c, "'nobody'", "");
        expect_sessions(c, "''", "");
        expect_sessions(c, "nil, {limit: 3}", "B a a*b");
        expect_sessions(c, "nil, {after: 'a*b', limit: 2}", "alice-1 alice-2");
        expect_sessions(c, "nil, {after: 'alice-11'}", "alice-2 b bob \xc3\xbc");
        expect_sessions(c, "'*o*', {after: 'a', limit: 1}", "bob");
        expect_sessions(c, "nil, {after: '\xc3\xbc'}", "");
        text = wire_call(c, "sessions('bob')");
        expect_text(text,
                    "[{backend: 'file', bytes: ..., handles: 0, holder: nil, modified: ..., name: 'bob'}]");
        ck_assert_int_gt(wire_number(text, "bytes"), 0);
        modified = wire_number(text, "modified");
        ck_assert(llabs(modified - (long long)time(NULL)) < 300);
}
END_TEST

START_TEST(sessions_show_handles_and_holder)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        TEST_FREED char *pid = test_format("...pid: %d...", (int)getpid());

        wire_call(a, "hello({client: 'the holder'})");
        wire_open(a, "'shared', {}");
        wire_open(b, "'shared', {}");
        wire_open(a, "'alone', {mode: 'exclusive'}");
        ck_assert_int_eq(wire_number(wire_call(b, "sessions('shared')"), "handles"), 2);
        expect(b, "[{...handles: 1, holder: {client: 'the holder', ...}...}]", "sessions('alone')");
        expect(b, pid, "sessions('alone')");
}
END_TEST

/* A client chooses its name, and must not choose what stands behind it. */
START_TEST(a_name_does_not_look_like_the_log)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);

        wire_call(a, "hello({client: 'x\" (id 9, pid 9, uid 0) opened it; client \"y'})");
        wire_open(a, "'alone', {mode: 'exclusive'}");
        ck_assert_int_ge(
                daemon_log_lines(d, "client \"x\\\" (id 9, pid 9, uid 0) opened it; client \\\"y\" (id "), 1);
}
END_TEST

START_TEST(memory_sessions_are_listed_while_they_live)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {backend: 'memory'}");

        expect(c, "nil", "close(%d)", wire_open(c, "'anna', {}"));
        expect(c,
               "[{backend: 'file', bytes: ..., handles: 0, holder: nil, modified: ..., name: 'anna'}, "
               "{backend: 'memory', bytes: 0, handles: 1, holder: nil, modified: 0, name: 'anna'}]",
               "sessions(nil, {limit: 2})");
        expect(c, "nil", "close(%d)", s);
        expect_sessions(c, "nil", "anna");
}
END_TEST

START_TEST(session_parameters_are_checked)
{
        static const char *const wrong[] = { "5",
                                             "nil, 5",
                                             "nil, {limit: 0.5}",
                                             "nil, {limit: -1}",
                                             "nil, {limit: 1001}",
                                             "nil, {after: 5}",
                                             "nil, {bogus: 1}",
                                             "nil, {}, 1",
                                             "" };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                expect(c, "!bad_request or !too_large", "sessions(%s)", wrong[i]);
}
END_TEST

START_TEST(all_pages_together_list_every_session)
{
        enum { N = 1100 };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *after = test_format("%s", "");
        int seen = 0;

        for (int i = 0; i < N; i++) {
                TEST_FREED char *path = NULL;
                TEST_FREED char *name = test_format("s%04d", i);

                /* listing opens no file: anything with such a name is listed */
                path = daemon_path(d, name);
                test_write_file(path, "x", 1);
        }
        for (;;) {
                TEST_FREED char *page =
                        seen ? test_format("nil, {after: '%s', limit: 1000}", after) : test_format("nil");
                TEST_FREED char *names = names_in(wire_call(c, "sessions(%s)", page));
                char *rest;

                if (!*names)
                        break;
                for (char *one = strtok_r(names, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
                        TEST_FREED char *expected = test_format("s%04d", seen++);

                        ck_assert_str_eq(one, expected);
                        free(after);
                        after = test_format("%s", one);
                }
        }
        ck_assert_int_eq(seen, N);
}
END_TEST

START_TEST(clients_are_listed)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        TEST_FREED char *expected =
                test_format("[...{client: 'bot a', gid: %d, id: ..., in_flight: ..., pid: %d, "
                            "requests: ..., sessions: ['anna', 'bella'], since: ..., uid: %d}...]",
                            (int)getgid(), (int)getpid(), (int)getuid());
        TEST_FREED char *swapped =
                test_format("[...{client: 'bot a', gid: %d, id: ..., in_flight: ..., pid: %d, "
                            "requests: ..., sessions: ['bella', 'anna'], since: ..., uid: %d}...]",
                            (int)getgid(), (int)getpid(), (int)getuid());
        const char *text;

        wire_call(a, "hello({client: 'bot a'})");
        wire_open(a, "'anna', {}");
        wire_open(a, "'bella', {backend: 'memory'}");
        text = wire_call(b, "clients()");
        ck_assert_msg(notation_match(expected, text) || notation_match(swapped, text), "%s", text);
        wire_end(&a);
        expect(b, "1", "ping(1)");
        text = wire_call(b, "clients()");
        ck_assert_ptr_null(strstr(text, "bot a"));
        expect(b, "!bad_request", "clients(1)");
}
END_TEST

/* The id of the client of this name in the list. */
static long long id_of(struct wire *c, const char *client)
{
        const char *text = wire_call(c, "clients()");
        TEST_FREED char *marked = test_format("{client: '%s'", client);
        const char *at = strstr(text, marked);

        ck_assert_msg(at != NULL, "no %s in %s", client, text);
        return wire_number(at, "id");
}

START_TEST(disconnect_ends_a_client)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        int s, t;
        const char *first, *second;

        wire_call(a, "hello({client: 'unwanted'})");
        s = wire_open(a, "'anna', {mode: 'exclusive'}");
        t = wire_open(a, "'bella', {}");
        expect(b, "nil", "disconnect(%lld)", id_of(b, "unwanted"));
        first = wire_told(a);
        second = wire_told(a);
        expect_text(first, "ended(..., 'denied', '...')");
        expect_text(second, "ended(..., 'denied', '...')");
        ck_assert_int_eq(strtol(first + 6, NULL, 10) + strtol(second + 6, NULL, 10), s + t);
        wire_expect_closed(a);
        wire_open(b, "'anna', {mode: 'exclusive'}");
        expect(b, "!not_found or !bad_request", "disconnect(123456789)");
        expect(b, "!bad_request", "disconnect('unwanted')");
        expect(b, "!bad_request", "disconnect()");
}
END_TEST

/* What it does is in tests/mongo/test_drain.c: sessions of this host alone are handed to nobody. */
START_TEST(a_drain_concerns_no_file_session)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        const char *stats;
        int s;

        wire_call(c, "hello({features: ['leave']})");
        s = wire_open(c, "'anna', {}");
        expect(c, "nil", "drain()");
        stats = wire_call(c, "stats()");
        ck_assert_int_eq(wire_number(stats, "draining"), 1);
        ck_assert_int_eq(wire_number(stats, "sessions_owned"), 0);
        expect(c, "nil", "save(%d)", s);
        wire_open(c, "'bert', {}");
        expect(c, "nil", "drain(false)");
        ck_assert_int_eq(wire_number(wire_call(c, "stats()"), "draining"), 0);
        expect(c, "nil", "drain(nil)");
        ck_assert_int_eq(wire_number(wire_call(c, "stats()"), "draining"), 1);
        wire_not_told(c);
        expect(c, "!bad_request", "drain(1)");
        expect(c, "!bad_request", "drain(true, 1)");
}
END_TEST

START_TEST(stats_are_numbers)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        const char *text = wire_call(c, "stats()");

        ck_assert_int_eq(text[0], '{');
        ck_assert_uint_gt(strlen(text), 50);
        for (const char *at = text; (at = strstr(at, ": ")); at++)
                ck_assert_msg(strchr("-0123456789", at[2]), "not a number: %.40s", at);
        expect(c, "!bad_request", "stats(1)");
}
END_TEST

START_TEST(monitors_see_requests_and_no_parameters)
{
        DAEMON d = daemon_start();
        CLIENT m = wire_connect(d);
        CLIENT c = wire_connect(d);
        const char *text;
        int s;

        wire_call(c, "hello({client: 'bot c'})");
        s = wire_open(c, "'anna', {}");
        expect(m, "nil", "monitor(true)");
        expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'SECRETNAME', nil]])", s);
        expect(c, "!not_found", "get_peer_by_username(%d, 'SECRETNONE')", s);
        expect(c, "1", "ping(1)");
        do {
                text = wire_told(m);
        } while (!strstr(text, "bot c") && !strstr(text, "update_peers"));
        expect_text(text, "request({client: ..., error: nil, method: 'update_peers', microseconds: ..., "
                          "session: 'anna', time: ...})");
        ck_assert_ptr_null(strstr(text, "SECRET"));
        ck_assert(llabs(wire_number(text, "time") - (long long)time(NULL)) < 300);
        text = wire_told(m);
        expect_text(text, "request({client: ..., error: 'not_found', method: 'get_peer_by_username', "
                          "microseconds: ..., session: 'anna', time: ...})");
        ck_assert_ptr_null(strstr(text, "SECRET"));
        expect_text(wire_told(m),
                    "request({client: ..., error: nil, method: 'ping', ..., session: nil, ...})");
        expect(m, "nil", "monitor(false)");
        wire_forget(m);
        expect(c, "1", "ping(1)");
        wire_not_told(m);
        expect(m, "!bad_request", "monitor(1)");
        expect(m, "!bad_request", "monitor()");
}
END_TEST

/* A monitor that does not read costs the daemon bounded memory. */
START_TEST(a_monitor_that_does_not_read_costs_bounded_memory)
{
        DAEMON d = daemon_start();
        CLIENT m = wire_connect(d);
        CLIENT c = wire_connect(d);
        long before;

        expect(m, "nil", "monitor(true)");
        before = daemon_rss_kb(d);
        for (int i = 0; i < 600; i++) {
                for (int j = 0; j < 200; j++)
                        wire_send(c, "ping(1)");
                expect(c, "1", "ping(1)");
                wire_forget(c);
        }
        ck_assert_int_lt(daemon_rss_kb(d) - before, 8 * 1024L * test_memory_factor());
        wire_told(m);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                sessions_are_listed_by_name,
                sessions_show_handles_and_holder,
                a_name_does_not_look_like_the_log,
                memory_sessions_are_listed_while_they_live,
                session_parameters_are_checked,
                all_pages_together_list_every_session,
                clients_are_listed,
                disconnect_ends_a_client,
                a_drain_concerns_no_file_session,
                stats_are_numbers,
                monitors_see_requests_and_no_parameters,
                a_monitor_that_does_not_read_costs_bounded_memory,
                NULL,
        };

        return test_program("admin", tests);
}
