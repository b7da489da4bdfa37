/*
 * Clients that send more than they read, or more than may be in flight on a session: the daemon's memory
 * stays bounded, no answer is lost, and other clients do not wait.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/program.h"
#include "../support/wire.h"

static const size_t mib = 1 << 20;

/* Sends the same request over and over until the daemon stops reading; returns how many bytes went out. */
static size_t flood(struct wire *c, const uint8_t *request, size_t len, size_t most)
{
        size_t sent = 0, n;

        do {
                n = wire_raw_some(c, request + sent % len, len - sent % len);
                ck_assert_msg(n || errno == EAGAIN, "the daemon has closed the connection");
                sent += n;
        } while (sent < most && (n || wire_writable(c, 700)));
        ck_assert_msg(sent < most, "the daemon has read %zu bytes without an answer being read", sent);
        return sent;
}

START_TEST(a_client_that_never_reads_costs_bounded_memory)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        size_t len;
        uint8_t *request = wire_pack(5, &len, "ping('x'*1000)");
        long before;

        expect(other, "1", "ping(1)");
        before = daemon_rss_kb(d);
        flood(c, request, len, 256 * mib);
        ck_assert_int_lt(daemon_rss_kb(d) - before, 16 * 1024L * test_memory_factor());
        for (int i = 0; i < 100; i++)
                expect(other, "1", "ping(1)");
        free(request);
}
END_TEST

/* A client that reads late gets every answer, whole. */
START_TEST(a_client_that_reads_late_gets_every_answer)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        size_t len, answers = 0;
        uint8_t *request = wire_pack(5, &len, "ping('x'*1000)");
        size_t sent = flood(c, request, len, 256 * mib);

        ck_assert_uint_gt(sent, 65536);
        while (answers < sent / len) {
                const char *text = wire_answer(c, 5);

                ck_assert_uint_eq(strlen(text), 1002);
                answers++;
        }
        if (sent % len) {
                wire_raw(c, request + sent % len, len - sent % len);
                ck_assert_uint_eq(strlen(wire_answer(c, 5)), 1002);
        }
        expect(c, "1", "ping(1)");
        free(request);
}
END_TEST

START_TEST(large_answers_that_nobody_reads_are_bounded)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        size_t len;
        uint8_t *request = wire_pack(5, &len, "scan_peers(%d, nil, 1000)", s);
        long before;

        for (int i = 0; i < 1000; i += 4)
                expect(c, "nil",
                       "update_peers(%d, [[%d, 1, 'user', 'a'*255, 'b'*255], [%d, 1, 'user', 'a'*255, "
                       "'b'*255], "
                       "[%d, 1, 'user', 'a'*255, 'b'*255], [%d, 1, 'user', 'a'*255, 'b'*255]])",
                       s, i, i + 1, i + 2, i + 3);
        before = daemon_rss_kb(d);
        flood(c, request, len, 64 * mib);
        ck_assert_int_lt(daemon_rss_kb(d) - before, 32 * 1024L * test_memory_factor());
        free(request);
}
END_TEST

/* Many connections, each with a message begun and never ended. */
START_TEST(incomplete_messages_cost_what_was_sent)
{
        enum { N = 200 };
        DAEMON d = daemon_start();
        struct wire *c[N];
        static const uint8_t head[] = { 0x94, 0, 1, 0xa4, 'p', 'i', 'n', 'g', 0x91, 0xc6, 0, 0x3f, 0, 0 };
        uint8_t body[1000] = { 0 };
        CLIENT other = wire_connect(d);
        long before;

        expect(other, "1", "ping(1)");
        before = daemon_rss_kb(d);
        for (int i = 0; i < N; i++) {
                c[i] = wire_connect(d);
                wire_raw(c[i], head, sizeof(head));
                wire_raw(c[i], body, sizeof(body));
        }
        expect(other, "1", "ping(1)");
        /* far less than N times the 4 MiB that were claimed */
        ck_assert_int_lt(daemon_rss_kb(d) - before, 32 * 1024L * test_memory_factor());
        for (int i = 0; i < N; i++)
                wire_end(&c[i]);
        expect(other, "1", "ping(1)");
}
END_TEST

/*
 * While a write of many rows keeps the session's backend busy, small writes arrive. 255 of them are taken;
 * the others are refused and not executed. (The buffer is large enough for the daemon to read on after the
 * large write.)
 */
static char *rows_text(int n)
{
        char *text = calloc((size_t)n, 48);
        char *to = text;

        for (int i = 0; i < n; i++)
                to += sprintf(to, "%s[%d, %d, 'user', nil, '%d']", i ? ", " : "", 1000000 + i, i, i);
        return text;
}

START_TEST(more_than_256_in_flight_are_overloaded)
{
        enum { N = 300, ROWS = 100000 };
        DAEMON d = daemon_start(.config = "client-buffer = 64M\nmax-message = 16M\n");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        int t = wire_open(c, "'bella', {}");
        TEST_FREED char *rows = rows_text(ROWS);
        uint32_t large = wire_send(c, "update_peers(%d, [%s])", s, rows), other;
        int refused = 0, answers = 0, large_at = 0, other_at = 0;
        bool taken[N] = { false };

        for (int i = 0; i < N; i++)
                wire_send(c, "update_peers(%d, [[%d, 1, 'user', nil, nil]])", s, i + 1);
        other = wire_send(c, "set(%d, {dc_id: 4})", t);
        while (answers < N + 2) {
                char *code;
                uint32_t id = (uint32_t)strtoul(wire_next(c), &code, 10);

                answers++;
                if (id > large && id < other)
                        taken[id - large - 1] = strcmp(code, ": !overloaded") != 0;
                if (strcmp(code, ": !overloaded") == 0)
                        refused++;
                else
                        ck_assert_str_eq(code, ": nil");
                if (id == large)
                        large_at = answers;
                if (id == other)
                        other_at = answers;
        }
        ck_assert_int_eq(refused, N - 255);
        ck_assert_int_lt(other_at, large_at); /* another session does not wait for this one */
        for (int i = 0; i < N; i++)
                expect(c, taken[i] ? "[...]" : "!not_found", "get_peer_by_id(%d, %d)", s, i + 1);
}
END_TEST

START_TEST(the_limit_in_flight_is_configured)
{
        enum { N = 30, ROWS = 100000 };
        DAEMON d = daemon_start(.config = "client-buffer = 64M\nmax-message = 16M\nmax-in-flight = 10\n");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        TEST_FREED char *rows = rows_text(ROWS);
        uint32_t large = wire_send(c, "update_peers(%d, [%s])", s, rows);
        uint32_t id[N];
        int refused = 0;

        for (int i = 0; i < N; i++)
                id[i] = wire_send(c, "get_peer_by_id(%d, 1000000)", s);
        for (int i = 0; i < N; i++)
                refused += strcmp(wire_answer(c, id[i]), "!overloaded") == 0;
        expect_text(wire_answer(c, large), "nil");
        ck_assert_int_eq(refused, N - 9);
        ck_assert_int_eq(wire_number(wire_call(c, "hello({client: 'x'})"), "max_in_flight"), 10);
}
END_TEST

/* A pipelining client that reads its answers and stays below the limit is never refused. */
START_TEST(below_the_limit_nothing_is_refused)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        uint32_t id[256];

        for (int round = 0; round < 20; round++) {
                for (int i = 0; i < 256; i++)
                        id[i] = wire_send(c, "update_peers(%d, [[%d, %d, 'user', nil, nil]])", s, i + 1,
                                          round);
                for (int i = 0; i < 256; i++)
                        expect_text(wire_answer(c, id[i]), "nil");
        }
}
END_TEST

START_TEST(too_many_clients_are_refused_until_one_leaves)
{
        DAEMON d = daemon_start(.config = "max-clients = 20\n");
        struct wire *c[20];
        CLIENT late = NULL;
        const char *text;

        for (int i = 0; i < 20; i++) {
                c[i] = wire_connect(d);
                expect(c[i], "1", "ping(1)");
        }
        late = wire_connect(d);
        text = wire_next(late); /* it may get an error first, but no answer */
        if (text)
                expect_text(text, "0: !...");
        for (int i = 0; i < 20; i++)
                expect(c[i], "1", "ping(1)");
        wire_end(&c[0]);
        expect(c[1], "1", "ping(1)");
        wire_end(&late);
        late = wire_connect(d);
        expect(late, "1", "ping(1)");
        for (int i = 1; i < 20; i++)
                wire_end(&c[i]);
}
END_TEST

/* Answers keep to max-message: one that does not fit is `too_large`, and a scan returns fewer rows. */
START_TEST(answers_keep_to_the_message_limit)
{
        DAEMON d = daemon_start(.config = "max-message = 64k\n");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        long long after = -1;
        int seen = 0;

        for (int i = 0; i < 500; i++)
                expect(c, "nil", "update_peers(%d, [[%d, 1, 'user', 'a'*255, 'b'*255]])", s, i);
        for (;;) {
                const char *text = wire_call(c, "scan_peers(%d, %lld, 1000)", s, after);

                ck_assert_uint_lt(strlen(text), 80000);
                if (strcmp(text, "[]") == 0)
                        break;
                expect_text(text, "[[...");
                for (const char *at = text + 1; (at = strchr(at, '[')); at++) {
                        ck_assert_int_eq(strtoll(at + 1, NULL, 10), ++after);
                        seen++;
                }
        }
        ck_assert_int_eq(seen, 500);
        expect(c, "!too_large", "get_peers(%d, [0..499])", s);
        expect(c, "1", "ping(1)");
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                a_client_that_never_reads_costs_bounded_memory,
                a_client_that_reads_late_gets_every_answer,
                large_answers_that_nobody_reads_are_bounded,
                incomplete_messages_cost_what_was_sent,
                more_than_256_in_flight_are_overloaded,
                the_limit_in_flight_is_configured,
                below_the_limit_nothing_is_refused,
                too_many_clients_are_refused_until_one_leaves,
                answers_keep_to_the_message_limit,
                NULL,
        };

        return test_program("pressure", tests);
}
