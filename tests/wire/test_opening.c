/*
 * Handles, shared and exclusive: who gets one, what a refused client is told of the holder, waiting, and
 * release by close or by the connection's end. And delete, which ends every handle.
 */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../support/notation.h"
#include "../support/program.h"
#include "../support/wire.h"

START_TEST(exclusive_means_alone)
{
        static const char *const backends[] = { "file", "memory" };
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);

        for (size_t i = 0; i < 2; i++) {
                const char *backend = backends[i];
                int s = wire_open(a, "'%s', {mode: 'exclusive', backend: '%s'}", backend, backend);

                expect(b, "!busy", "open('%s', {backend: '%s'})", backend, backend);
                expect(b, "!busy", "open('%s', {backend: '%s', mode: 'exclusive'})", backend, backend);
                expect(a, "!busy", "open('%s', {backend: '%s'})", backend, backend);
                expect(b, "!busy", "open('%s', {backend: '%s', create: false})", backend, backend);
                expect(a, "nil", "set(%d, {dc_id: 4})", s);
                expect(a, "nil", "close(%d)", s);
                s = wire_open(b, "'%s', {backend: '%s'}", backend, backend);
                wire_open(a, "'%s', {backend: '%s'}", backend, backend);
                expect(a, "!busy", "open('%s', {backend: '%s', mode: 'exclusive'})", backend, backend);
                expect(b, "!busy", "open('%s', {backend: '%s', mode: 'exclusive'})", backend, backend);
        }
}
END_TEST

START_TEST(the_refused_learn_who_holds_it)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        TEST_FREED char *expected = NULL;
        char host[256] = "";
        long long since, before = (long long)time(NULL);

        gethostname(host, sizeof(host) - 1);
        expected = test_format("{holder: {client: 'the holder', host: '%s', pid: %d, since: ..., uid: %d}}",
                               host, (int)getpid(), (int)getuid());
        wire_call(a, "hello({client: 'the holder'})");
        wire_open(a, "'anna', {mode: 'exclusive'}");
        expect(b, "!busy", "open('anna', {})");
        expect_text(wire_error_detail(b), expected);
        since = wire_number(wire_error_detail(b), "since");
        ck_assert(since >= before - 1 && since <= (long long)time(NULL));
        /* the holder of a shared handle is named too */
        wire_open(a, "'bella', {}");
        expect(b, "!busy", "open('bella', {mode: 'exclusive'})");
        expect_text(wire_error_detail(b), expected);
}
END_TEST

START_TEST(a_waiting_open_gets_the_session_when_it_is_free)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        int s = wire_open(a, "'anna', {mode: 'exclusive'}");
        uint32_t waiting = wire_send(b, "open('anna', {mode: 'exclusive', wait: 60000})");

        /* other requests of its connection do not wait for it */
        expect(b, "1", "ping(1)");
        expect(b, "!busy", "open('anna', {})");
        wire_open(b, "'bella', {}");
        expect(a, "nil", "set(%d, {dc_id: 4})", s);
        expect(a, "nil", "close(%d)", s);
        s = (int)wire_number(wire_answer(b, waiting), "session");
        expect(b, "[4]", "get(%d, ['dc_id'])", s);
        expect(a, "!busy", "open('anna', {})");
}
END_TEST

START_TEST(a_wait_that_runs_out_is_busy)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);

        wire_open(a, "'anna', {mode: 'exclusive'}");
        expect(b, "!busy", "open('anna', {wait: 20})");
        expect_text(wire_error_detail(b), "{holder: {...}}");
        expect(b, "!busy", "open('anna', {wait: 0})");
}
END_TEST

START_TEST(all_waiting_shared_opens_are_granted)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        int s = wire_open(a, "'anna', {mode: 'exclusive'}");
        uint32_t waiting[8];

        for (int i = 0; i < 8; i++)
                waiting[i] = wire_send(b, "open('anna', {wait: 60000})");
        expect(b, "1", "ping(1)");
        expect(a, "nil", "close(%d)", s);
        for (int i = 0; i < 8; i++)
                expect_text(wire_answer(b, waiting[i]), "{...}");
}
END_TEST

START_TEST(the_connections_end_releases_and_stops_waiting)
{
        DAEMON d = daemon_start();
        struct wire *holder = wire_connect(d);
        struct wire *gone = wire_connect(d);
        CLIENT b = wire_connect(d);
        uint32_t waiting;

        wire_open(holder, "'anna', {mode: 'exclusive'}");
        wire_send(gone, "open('anna', {mode: 'exclusive', wait: 60000})");
        expect(gone, "1", "ping(1)");
        wire_end(&gone);
        waiting = wire_send(b, "open('anna', {mode: 'exclusive', wait: 60000})");
        expect(b, "1", "ping(1)");
        wire_end(&holder);
        expect_text(wire_answer(b, waiting), "{...}");
}
END_TEST

/* `wait` does not count as a request in flight, and many wait at once. */
START_TEST(many_opens_may_wait)
{
        enum { N = 400 };
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        int s = wire_open(a, "'anna', {mode: 'exclusive'}");
        uint32_t waiting[N];

        for (int i = 0; i < N; i++)
                waiting[i] = wire_send(b, "open('anna', {wait: 60000})");
        expect(b, "1", "ping(1)");
        expect(a, "nil", "close(%d)", s);
        for (int i = 0; i < N; i++)
                expect_text(wire_answer(b, waiting[i]), "{...}");
}
END_TEST

/* Sixteen connections read a number, add one and write it back, one at a time. */
START_TEST(exclusive_handles_take_turns)
{
        enum { N = 16, ROUNDS = 10 };
        DAEMON d = daemon_start();
        struct wire *c[N];
        uint32_t opening[N];
        int turns = 0, rounds[N] = { 0 };

        for (int i = 0; i < N; i++) {
                c[i] = wire_connect(d);
                opening[i] = wire_send(c[i], "open('anna', {mode: 'exclusive', wait: 60000})");
        }
        while (turns < N * ROUNDS)
                for (int i = 0; i < N; i++) {
                        const char *answer;
                        long long number;
                        int s;

                        if (rounds[i] == ROUNDS || !wire_readable(c[i], 1))
                                continue;
                        s = (int)wire_number(wire_answer(c[i], opening[i]), "session");
                        answer = wire_call(c[i], "get(%d, ['user_id'])", s);
                        number = strcmp(answer, "[nil]") == 0 ? 0 : strtoll(answer + 1, NULL, 10);
                        ck_assert_int_eq(number, turns);
                        expect(c[i], "nil", "set(%d, {user_id: %lld})", s, number + 1);
                        expect(c[i], "nil", "close(%d)", s);
                        turns++;
                        if (++rounds[i] < ROUNDS)
                                opening[i] =
                                        wire_send(c[i], "open('anna', {mode: 'exclusive', wait: 60000})");
                }
        for (int i = 0; i < N; i++)
                wire_end(&c[i]);
}
END_TEST

START_TEST(many_write_and_read_one_session)
{
        enum { N = 16, WRITES = 60 };
        DAEMON d = daemon_start();
        struct wire *c[N];
        int s[N];

        for (int i = 0; i < N; i++) {
                c[i] = wire_connect(d);
                s[i] = wire_open(c[i], "'anna', {}");
        }
        for (int n = 0; n < WRITES; n++)
                for (int i = 0; i < N; i++) {
                        wire_send(c[i], "update_peers(%d, [[%d, %d, 'user', 'u%d', nil]])", s[i], i + 1, n,
                                  i);
                        wire_send(c[i], "get_peer_by_id(%d, %d)", s[i], (i + n) % N + 1);
                }
        for (int i = 0; i < N; i++)
                expect(c[i], "[...]", "get_peer_by_id(%d, %d)", s[i], i + 1);
        for (int i = 0; i < N; i++)
                for (int j = 0; j < N; j++) {
                        TEST_FREED char *expected =
                                test_format("[%d, %d, 'user', 'u%d', nil, ...]", j + 1, WRITES - 1, j);

                        expect(c[i], expected, "get_peer_by_username(%d, 'u%d')", s[i], j);
                }
        for (int i = 0; i < N; i++)
                wire_end(&c[i]);
}
END_TEST

/* ---- delete ---- */

static void expect_no_file(struct daemon *d, const char *session)
{
        TEST_FREED char *path = daemon_path(d, session);
        TEST_FREED char *pattern = test_format("%s*", path);
        glob_t found;

        ck_assert_int_eq(glob(pattern, 0, NULL, &found), GLOB_NOMATCH);
}

START_TEST(delete_removes_and_ends_every_handle)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        int s = wire_open(a, "'anna', {}");
        int t = wire_open(a, "'anna', {}");
        int u = wire_open(b, "'anna', {}");
        TEST_FREED char *ended = test_format("ended(%d, 'not_found', '...')", t);
        TEST_FREED char *told = test_format("ended(%d, 'not_found', '...')", u);
        const char *text;

        expect(a, "nil", "update_peers(%d, [[7, 70, 'user', nil, nil]])", s);
        expect(a, "nil", "delete(%d, {})", s);
        expect_no_file(d, "anna");
        expect_text(wire_told(b), told);
        text = wire_told(a);
        if (!notation_match(ended, text)) /* it may also be about the deleting handle */
                text = wire_told(a);
        expect_text(text, ended);
        expect(a, "!bad_session", "get(%d, [])", s);
        expect(a, "!bad_session", "get(%d, [])", t);
        expect(b, "!bad_session", "get(%d, [])", u);
        expect(b, "!not_found", "open('anna', {create: false})");
        s = wire_open(b, "'anna', {}");
        expect(b, "!not_found", "get_peer_by_id(%d, 7)", s);
}
END_TEST

START_TEST(delete_after_close_opens_again)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        expect(c, "nil", "save(%d)", s);
        expect(c, "nil", "close(%d)", s);
        s = wire_open(c, "'anna', {create: false}");
        expect(c, "nil", "delete(%d, {remove_peers: true})", s);
        expect_no_file(d, "anna");
        s = wire_open(c, "'bella', {backend: 'memory'}");
        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "nil", "delete(%d, {})", s);
        expect(c, "!not_found", "open('bella', {backend: 'memory', create: false})");
        s = wire_open(c, "'carla', {}");
        expect(c, "!bad_request", "delete(%d, {remove_peers: 1})", s);
        expect(c, "!bad_request", "delete(%d, {bogus: true})", s);
        expect(c, "!bad_request", "delete(%d, 5)", s);
        expect(c, "[2]", "get(%d, ['dc_id'])", s);
}
END_TEST

/* Requests before the deletion are answered; those after it find no session. */
START_TEST(delete_takes_effect_in_order)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        uint32_t before = wire_send(c, "update_peers(%d, [[7, 70, 'user', nil, nil]])", s);
        uint32_t deleted = wire_send(c, "delete(%d, {})", s);
        uint32_t after = wire_send(c, "get_peer_by_id(%d, 7)", s);

        expect_text(wire_answer(c, before), "nil");
        expect_text(wire_answer(c, deleted), "nil");
        expect_text(wire_answer(c, after), "!bad_session");
        expect(c, "...created: true...", "open('anna', {})");
}
END_TEST

/* What excludes the opening is a handle of the same client, which the end closes. */
START_TEST(an_opening_whose_client_ends_is_refused)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        uint32_t waiting;

        wire_open(c, "'anna', {mode: 'exclusive'}");
        waiting = wire_send(c, "open('anna', {wait: 60000})");
        ck_assert_int_eq(shutdown(wire_fd(c), SHUT_WR), 0);
        expect_text(wire_answer(c, waiting), "!busy");
        wire_expect_closed(c);
}
END_TEST

/* Each new open looks at all that wait for the session: so one user cannot have ever more of them. */
START_TEST(opens_of_one_user_that_wait_are_bounded)
{
        enum { MAX = 1024, MORE = 20, OTHER = 54321 };
        DAEMON d = daemon_start(.config = "[access]\neveryone = read,write\n");
        CLIENT holder = wire_connect(d);
        CLIENT waiting = wire_connect(d);
        CLIENT late = wire_connect(d);
        CLIENT other = NULL;
        long long turns;
        int s = wire_open(holder, "'anna', {mode: 'exclusive'}");

        for (int i = 0; i < MAX - MORE; i++)
                wire_send(waiting, "open('anna', {wait: 86400000})");
        expect(waiting, "1", "ping(1)"); /* they have all arrived */
        turns = wire_number(wire_call(holder, "stats()"), "turns_used_up_total");
        daemon_freeze(d); /* so that it reads all of them at once */
        for (int i = 0; i < MORE; i++)
                wire_send(late, "open('anna', {wait: 86400000})");
        daemon_thaw(d);
        expect(late, "1", "ping(1)");
        turns = wire_number(wire_call(holder, "stats()"), "turns_used_up_total") - turns;
        ck_assert_int_ge(turns, MORE - 1); /* one that looks at so many ends its connection's turn */
        for (int i = 0; i < 2; i++)
                expect(late, "!overloaded", "open('anna', {})");
        if (wire_has_strangers("opens of another user")) {
                other = wire_connect_stranger(d, OTHER, OTHER);
                expect(other, "!busy", "open('anna', {})");
        }
        wire_end(&waiting);
        expect(late, "!busy", "open('anna', {})");
        expect(holder, "nil", "close(%d)", s);
        wire_open(late, "'anna', {}");
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                exclusive_means_alone,
                the_refused_learn_who_holds_it,
                a_waiting_open_gets_the_session_when_it_is_free,
                a_wait_that_runs_out_is_busy,
                all_waiting_shared_opens_are_granted,
                the_connections_end_releases_and_stops_waiting,
                many_opens_may_wait,
                exclusive_handles_take_turns,
                many_write_and_read_one_session,
                delete_removes_and_ends_every_handle,
                delete_after_close_opens_again,
                delete_takes_effect_in_order,
                an_opening_whose_client_ends_is_refused,
                opens_of_one_user_that_wait_are_bounded,
                NULL,
        };

        return test_program("opening", tests);
}
