/*
 * Requests that wait for writes before them, or for a session to be opened: how they are answered when their
 * connection or the daemon ends meanwhile.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "../support/program.h"
#include "../support/wire.h"

/* A write, and reads that wait for it. */
static void send_write_and_reads(struct wire *c, int s, uint32_t ids[3])
{
        ids[0] = wire_send(c, "update_peers(%d, [[7, 70, 'user', 'anna', nil]])", s);
        ids[1] = wire_send(c, "get_peer_by_id(%d, 7)", s);
        ids[2] = wire_send(c, "get(%d, ['dc_id'])", s);
}

static void expect_answers(struct wire *c, const uint32_t ids[3])
{
        expect_text(wire_answer(c, ids[0]), "nil");
        expect_text(wire_answer(c, ids[1]), "[7, 70, 'user', 'anna', nil, ...]");
        expect_text(wire_answer(c, ids[2]), "[2]");
        wire_expect_closed(c);
}

START_TEST(requests_before_a_half_closed_end_are_answered)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        int s = wire_open(c, "'anna', {mode: 'exclusive'}");
        uint32_t ids[3];

        send_write_and_reads(c, s, ids);
        ck_assert_int_eq(shutdown(wire_fd(c), SHUT_WR), 0);
        expect_answers(c, ids);
        wire_open(other, "'anna', {mode: 'exclusive', wait: 10000}");
}
END_TEST

START_TEST(requests_before_a_violation_wait_for_their_writes)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        uint32_t ids[3];

        send_write_and_reads(c, s, ids);
        wire_hex(c, "c1");
        expect_text(wire_answer(c, 0), "!bad_request");
        expect_answers(c, ids);
}
END_TEST

START_TEST(requests_before_the_daemons_end_are_answered)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        uint32_t ids[3];

        /*
         * The daemon is stopped while they are sent. It reads sockets in order, so the answer to `other`
         * proves that it has read them before the signal.
         */
        daemon_freeze(d);
        send_write_and_reads(c, s, ids);
        wire_send(other, "ping(1)");
        daemon_thaw(d);
        wire_next(other);
        daemon_signal(d, SIGTERM);
        expect_answers(c, ids);
        ck_assert_int_eq(daemon_wait(d), 0);
}
END_TEST

/* Expected answers count towards their connection's bound while they wait for a write. */
START_TEST(large_reads_after_a_write_cost_bounded_memory)
{
        enum { READS = 40, IDS = 1000 };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        char ids[2 * IDS + 1] = "";
        uint32_t asked[READS];
        long before;

        for (int i = 0; i < IDS; i++)
                memcpy(ids + 2 * i, i ? ",7" : " 7", 3);
        expect(c, "nil", "update_peers(%d, [[7, 1, 'user', 'a'*255, 'b'*255]])", s);
        expect(c, "[[7, ...", "get_peers(%d, [%s])", s, ids);
        before = daemon_peak_rss_kb(d);
        daemon_freeze(d); /* so that it reads all of it at once */
        wire_send(c, "update_peers(%d, [[8, 1, 'user', nil, nil]])", s);
        for (int i = 0; i < READS; i++)
                asked[i] = wire_send(c, "get_peers(%d, [%s])", s, ids);
        daemon_thaw(d);
        for (int i = 0; i < READS; i++)
                expect_text(wire_answer(c, asked[i]), "[[7, ...");
        ck_assert_int_lt(daemon_peak_rss_kb(d) - before, 8 * 1024L * test_memory_factor());
}
END_TEST

/* The mistake in one open does not fail another that waits for the same session. */
START_TEST(each_open_is_refused_for_its_own_reason)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        uint32_t wrong = wire_send(c, "open('anna', {dialect: 'klingon'})");
        uint32_t absent = wire_send(c, "open('anna', {create: false})");
        uint32_t right = wire_send(c, "open('anna', {})");

        expect_text(wire_answer(c, wrong), "!bad_request");
        expect_text(wire_answer(c, absent), "!not_found");
        expect_text(wire_answer(c, right), "{backend: 'file', created: true, ...");
}
END_TEST

/* Frozen meanwhile, the daemon reads both requests at once. */
START_TEST(an_open_does_not_see_what_is_sent_after_it)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {mode: 'exclusive'}");
        uint32_t opening, closing;

        daemon_freeze(d);
        opening = wire_send(c, "open('anna', {})");
        closing = wire_send(c, "close(%d)", s);
        daemon_thaw(d);
        expect_text(wire_answer(c, opening), "!busy");
        expect_text(wire_answer(c, closing), "nil");
}
END_TEST

START_TEST(an_open_sees_what_is_sent_before_it)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {backend: 'memory'}");
        uint32_t opening, closing;

        daemon_freeze(d);
        closing = wire_send(c, "close(%d)", s);
        opening = wire_send(c, "open('anna', {backend: 'memory'})");
        daemon_thaw(d);
        expect_text(wire_answer(c, closing), "nil");
        expect_text(wire_answer(c, opening), "...created: true...");
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                requests_before_a_half_closed_end_are_answered,
                requests_before_a_violation_wait_for_their_writes,
                requests_before_the_daemons_end_are_answered,
                large_reads_after_a_write_cost_bounded_memory,
                each_open_is_refused_for_its_own_reason,
                an_open_does_not_see_what_is_sent_after_it,
                an_open_sees_what_is_sent_before_it,
                NULL,
        };

        return test_program("waiting", tests);
}
