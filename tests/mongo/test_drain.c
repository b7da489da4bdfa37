/*
 * A drain: clients are asked to leave, and a session goes to another host when the last of them has closed
 * it. Two daemons on one database; `b` is the host that the sessions go to.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/mongo_hosts.h"
#include "../support/mongo_proxy.h"
#include "../support/program.h"
#include "../support/wire.h"

#define TERM "3"
#define LONG_TERM "600" /* what passes within a test was not waited out */
#define MONGO "{backend: 'mongo'}"
#define WAITING "{backend: 'mongo', wait: 60000}"

static struct wire *connect_leaver(const struct daemon *daemon)
{
        struct wire *c = wire_connect(daemon);

        wire_call(c, "hello({client: 'leaver', features: ['leave', 'another']})");
        return c;
}

static long long stat_of(struct wire *c, const char *name)
{
        return wire_number(wire_call(c, "stats()"), name);
}

static void await_owned(struct wire *c, long long n)
{
        long long start = test_now_ms();

        while (stat_of(c, "sessions_owned") != n) {
                test_time_left(start, "the sessions are handed over");
                usleep(10000);
        }
}

static void expect_draining(struct wire *c, const char *answer)
{
        expect_text(answer, "!unavailable");
        ck_assert_msg(strstr(wire_error_message(c), "draining") != NULL, "%s", wire_error_message(c));
}

START_TEST(clients_are_asked_to_leave)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("drained");
        long long closed_ms;
        const char *answer;
        uint32_t open;
        int s, t, file;

        if (!server)
                return;
        DAEMON a = HOST(server->uri, LONG_TERM);
        DAEMON b = HOST(server->uri, LONG_TERM);
        CLIENT ca = connect_leaver(a);
        CLIENT cb = wire_connect(b);
        CLIENT admin = wire_connect(a);

        file = wire_open(ca, "'of this host', {}");
        s = wire_open(ca, "'%s', " MONGO, name);
        t = wire_open(ca, "'%s', " MONGO, name);
        open = wire_send(cb, "open('%s', " WAITING ")", name);
        ck_assert_int_eq(stat_of(admin, "draining"), 0);
        expect(admin, "nil", "drain()");
        TEST_FREED char *first = test_format("leave(%d, '... hands its sessions over to other hosts')", s);
        TEST_FREED char *second = test_format("leave(%d, '...')", t);
        expect_text(wire_told(ca), first);
        expect_text(wire_told(ca), second);
        expect(admin, "nil", "drain(true)"); /* nobody is told twice */
        ck_assert_int_eq(stat_of(admin, "draining"), 1);
        ck_assert_int_eq(stat_of(admin, "sessions_owned"), 1);

        /* The handles go on working, and so does what is not on MongoDB. */
        expect(ca, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        expect(ca, "nil", "save(%d)", t);
        ck_assert_int_gt(strtoll(wire_call(ca, "lease(%d)", s), NULL, 10), 1000);
        expect(ca, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", file);
        wire_open(admin, "'another of this host', {}");
        expect(cb, "!busy", "open('%s', " MONGO ")", name);
        expect_draining(ca, wire_call(ca, "open('%s', " MONGO ")", name));
        TEST_FREED char *other = mongo_name("other");
        expect_draining(ca, wire_call(ca, "open('%s', " WAITING ")", other));

        expect(ca, "nil", "close(%d)", s);
        expect(cb, "!busy", "open('%s', " MONGO ")", name);
        expect(ca, "nil", "close(%d)", t);
        closed_ms = test_now_ms();
        answer = wire_answer(cb, open);
        ck_assert_msg(*answer == '{', "%s", answer);
        printf("from the last close to the next host: %lld ms\n", test_now_ms() - closed_ms);
        expect(cb, "[1, 2, 'user', 'a', ...]", "get_peer_by_id(1, 1)");
        await_owned(admin, 0);
        wire_not_told(ca);
        expect(ca, "nil", "save(%d)", file);

        /* After it, the session can come back. */
        expect(admin, "nil", "drain(false)");
        expect(admin, "nil", "drain(false)");
        ck_assert_int_eq(stat_of(admin, "draining"), 0);
        expect(cb, "nil", "close(1)");
        wire_open(ca, "'%s', " WAITING, name);
}
END_TEST

/* They are asked in several turns of the loop, and each once: also if the rules change meanwhile. */
START_TEST(many_are_asked_to_leave)
{
        enum { HANDLES = 900, A_SLICE = 256 };
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("crowd");
        long long slices;
        uint32_t open;

        if (!server)
                return;
        DAEMON a = HOST(server->uri, LONG_TERM);
        CLIENT leaver = connect_leaver(a);
        CLIENT old = wire_connect(a);
        CLIENT admin = wire_connect(a);

        for (int i = 0; i < HANDLES; i++)
                wire_open(leaver, "'%s', " MONGO, name);
        wire_open(old, "'%s', " MONGO, name);
        open = wire_send(old, "open('%s', {backend: 'mongo', mode: 'exclusive', wait: 60000})", name);
        expect(old, "1", "ping(1)");
        slices = stat_of(admin, "slices_total");
        expect(admin, "nil", "drain()");
        daemon_signal(a, SIGHUP);
        for (int i = 1; i <= HANDLES; i++) {
                TEST_FREED char *leave = test_format("leave(%d, '...')", i);

                expect_text(wire_told(leaver), leave);
        }
        expect_text(wire_told(old), "ended(1, 'fenced', ...)");
        expect_draining(old, wire_answer(old, open));
        ck_assert_int_ge(stat_of(admin, "slices_total") - slices, HANDLES / A_SLICE);
        daemon_await(a, "READY=1");
        wire_not_told(leaver);
        expect(leaver, "nil", "close(1)");
}
END_TEST

START_TEST(a_client_that_cannot_be_asked_is_waited_out)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("old");
        long long told_ms, lease_ms;
        const char *answer;
        uint32_t open, write;
        int s;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, TERM);
        CLIENT admin = wire_connect(a);

        s = wire_open(ca, "'%s', " MONGO, name);
        open = wire_send(cb, "open('%s', " WAITING ")", name);
        told_ms = test_now_ms();
        lease_ms = strtoll(wire_call(ca, "lease(%d)", s), NULL, 10);
        ck_assert_int_gt(lease_ms, 1000);
        write = wire_send(ca, "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        expect(ca, "'written'", "ping('written')"); /* the daemon has the write, and may not have stored it */
        expect(admin, "nil", "drain()");
        expect_text(wire_answer(ca, write), "nil");
        expect_text(wire_told(ca), "ended(1, 'fenced', '...cannot be asked to leave')");
        expect(ca, "!bad_session", "get(%d, ['dc_id'])", s);
        ck_assert_int_eq(stat_of(admin, "sessions_owned"), 1);
        answer = wire_answer(cb, open);
        ck_assert_msg(*answer == '{', "%s", answer);
        ck_assert_int_ge(test_now_ms() - told_ms, lease_ms);
        expect(cb, "[1, 2, 'user', 'a', ...]", "get_peer_by_id(1, 1)");
        await_owned(admin, 0);
}
END_TEST

START_TEST(a_client_that_stays_keeps_the_session)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("stays");
        int s;

        if (!server)
                return;
        DAEMON a = HOST(server->uri, "1");
        DAEMON b = HOST(server->uri, "1");
        CLIENT ca = connect_leaver(a);
        CLIENT cb = wire_connect(b);
        CLIENT admin = wire_connect(a);

        s = wire_open(ca, "'%s', " MONGO, name);
        expect(admin, "nil", "drain()");
        expect_text(wire_told(ca), "leave(1, ...)");
        expect(cb, "!busy", "open('%s', {backend: 'mongo', wait: 3000})", name);
        expect(ca, "nil", "save(%d)", s);
        ck_assert_int_gt(strtoll(wire_call(ca, "lease(%d)", s), NULL, 10), 0);
        wire_end(&ca); /* no close: its process lives on, so the lease is waited out */
        wire_open(cb, "'%s', " WAITING, name);
}
END_TEST

START_TEST(opens_that_wait_are_refused)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *here = mongo_name("here");
        TEST_FREED char *there = mongo_name("there");
        uint32_t for_a_handle, for_a_host;

        if (!server)
                return;
        DAEMON a = HOST(server->uri, LONG_TERM);
        DAEMON b = HOST(server->uri, LONG_TERM);
        CLIENT ca = connect_leaver(a);
        CLIENT cb = wire_connect(b);
        CLIENT cc = wire_connect(a);
        CLIENT admin = wire_connect(a);

        wire_open(ca, "'%s', {backend: 'mongo', mode: 'exclusive'}", here);
        wire_open(cb, "'%s', " MONGO, there);
        for_a_handle = wire_send(cc, "open('%s', " WAITING ")", here);
        for_a_host = wire_send(cc, "open('%s', " WAITING ")", there);
        expect(cc, "'sent'", "ping('sent')");
        expect(admin, "nil", "drain()");
        expect_draining(cc, wire_answer(cc, for_a_handle));
        expect_draining(cc, wire_answer(cc, for_a_host));
        await_owned(admin, 1);
        expect(ca, "nil", "close(1)");
        await_owned(admin, 0);
}
END_TEST

START_TEST(a_load_under_way_is_given_back)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("loading");
        TEST_FREED char *uri = NULL;
        uint32_t open;

        if (!server || !mongo_server_is_ours(server, "a drain during a load"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, "socketTimeoutMS=60000");
        DAEMON a = HOST(uri, LONG_TERM);
        DAEMON b = HOST(server->uri, LONG_TERM);
        CLIENT ca = connect_leaver(a);
        CLIENT cb = wire_connect(b);
        CLIENT admin = wire_connect(a);

        wire_open(cb, "'%s', " MONGO, name);
        expect(cb, "nil", "close(1)");
        mongo_proxy_hold_at(proxy, "update_state"); /* the session is a's already */
        open = wire_send(ca, "open('%s', " WAITING ")", name);
        mongo_proxy_await(proxy);
        expect(cb, "!busy", "open('%s', " MONGO ")", name);
        expect(admin, "nil", "drain()");
        expect_draining(ca, wire_answer(ca, open));
        ck_assert_int_eq(stat_of(admin, "sessions_owned"), 1);
        mongo_proxy_let_go(proxy);
        wire_open(cb, "'%s', " WAITING, name);
        await_owned(admin, 0);
        wire_not_told(ca);
}
END_TEST

/* The notification waits until the client reads, and is not lost. */
START_TEST(a_client_that_does_not_read_is_asked_later)
{
        enum { SCANS = 100 };
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("unread");
        long long before, now = 0;
        int answers = 0, leaves = 0, s;

        if (!server)
                return;
        DAEMON a = daemon_start(.config = "client-buffer = 64k\n",
                                .flags = { "--mongo", server->uri, "--mongo-term", LONG_TERM });
        CLIENT ca = connect_leaver(a);
        CLIENT admin = wire_connect(a);

        s = wire_open(ca, "'%s', " MONGO, name);
        for (int i = 0; i < 500; i++)
                expect(ca, "nil",
                       "update_peers(%d, [[%d, 1, 'user', 'a_name_of_%d_with_more_than_30_bytes', nil]])", s,
                       i + 1, i);
        for (int i = 0; i < SCANS; i++) /* some 30 kB each */
                wire_send(ca, "scan_peers(%d, nil, 1000)", s);
        do { /* until the daemon writes nothing but the answers to these questions */
                before = now;
                usleep(200000);
                now = stat_of(admin, "bytes_out_total");
        } while (now - before > 4000);
        expect(admin, "nil", "drain()");
        while (answers < SCANS || leaves == 0) {
                const char *message = wire_next(ca);

                ck_assert_ptr_nonnull(message);
                if (strncmp(message, "leave(", 6) == 0)
                        leaves++;
                else
                        answers++;
        }
        wire_not_told(ca);
        ck_assert_int_eq(leaves, 1);
        expect(ca, "nil", "close(%d)", s);
        await_owned(admin, 0);
}
END_TEST

/* A release that the database did not take is not done. */
START_TEST(what_could_not_be_released_is_left)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("away");

        if (!server || !mongo_server_is_ours(server, "a drain while the database is away"))
                return;
        DAEMON a = HOST(server->uri, TERM);
        CLIENT ca = connect_leaver(a);
        CLIENT admin = wire_connect(a);
        long long start = test_now_ms();

        wire_open(ca, "'%s', " MONGO, name);
        expect(admin, "nil", "drain()");
        mongo_server_kill(server);
        expect(ca, "nil", "close(1)");
        for (bool failed = false; !failed; usleep(20000)) {
                TEST_FREED char *log = daemon_log(a);

                test_time_left(start, "the close fails");
                failed = strstr(log, "was not closed in order") != NULL;
        }
        ck_assert_int_eq(stat_of(admin, "sessions_owned"), 1);
        mongo_server_resume(server);
        await_owned(admin, 0);
}
END_TEST

START_TEST(an_end_can_hand_over)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("end");
        const char *answer;
        uint32_t open;
        int s, file;

        if (!server)
                return;
        DAEMON a = daemon_start(.flags = { "--mongo", server->uri, "--mongo-term", LONG_TERM,
                                           "--drain-on-stop" });
        DAEMON b = HOST(server->uri, LONG_TERM);
        CLIENT ca = connect_leaver(a);
        CLIENT cb = wire_connect(b);

        file = wire_open(ca, "'of this host', {}");
        s = wire_open(ca, "'%s', " MONGO, name);
        open = wire_send(cb, "open('%s', " WAITING ")", name);
        daemon_signal(a, SIGTERM);
        expect_text(wire_told(ca), "leave(2, ...)");
        daemon_await(a, "STATUS=Draining: 1 sessions are not handed over yet");
        expect(ca, "nil", "save(%d)", s);
        expect(ca, "nil", "save(%d)", file);
        CLIENT late = wire_connect(a); /* gramctl, for example */
        ck_assert_int_eq(stat_of(late, "draining"), 1);
        expect(ca, "nil", "close(%d)", s);
        answer = wire_answer(cb, open);
        ck_assert_msg(*answer == '{', "%s", answer);
        ck_assert_int_eq(daemon_wait(a), 0);
        wire_expect_closed(ca);
}
END_TEST

START_TEST(the_wait_before_an_end_has_an_end)
{
        static const char *const waits[] = { "1", "600" }; /* the second is ended by a signal */
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);

        if (!server)
                return;
        for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
                TEST_FREED char *name = mongo_name("stays");
                DAEMON a = daemon_start(.flags = { "--mongo", server->uri, "--mongo-term", LONG_TERM,
                                                   "--drain-on-stop", "--drain-timeout", waits[i] });
                DAEMON b = HOST(server->uri, LONG_TERM);
                CLIENT ca = connect_leaver(a);
                CLIENT cb = wire_connect(b);

                wire_open(ca, "'%s', " MONGO, name);
                daemon_signal(a, SIGTERM);
                expect_text(wire_told(ca), "leave(1, ...)");
                if (i == 1)
                        daemon_signal(a, SIGTERM);
                ck_assert_int_eq(daemon_wait(a), 0);
                expect(cb, "!busy", "open('%s', " MONGO ")", name); /* its client may rely on the lease */
                daemon_resume(a);
                CLIENT again = wire_connect(a);
                wire_open(again, "'%s', " MONGO, name);
                daemon_kill(a); /* its end would wait for the leases of the first start */
        }
}
END_TEST

START_TEST(a_drain_that_is_ended_ends_the_wait)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("stays");

        if (!server)
                return;
        DAEMON a = daemon_start(.flags = { "--mongo", server->uri, "--mongo-term", LONG_TERM,
                                           "--drain-on-stop" });
        CLIENT ca = connect_leaver(a);

        wire_open(ca, "'%s', " MONGO, name);
        daemon_signal(a, SIGTERM);
        expect_text(wire_told(ca), "leave(1, ...)");
        expect(ca, "nil", "drain(false)");
        ck_assert_int_eq(daemon_wait(a), 0);
}
END_TEST

int main(void)
{
        return test_program(
                "drain", (const TTest *const[]){ clients_are_asked_to_leave, many_are_asked_to_leave,
                                                 a_client_that_cannot_be_asked_is_waited_out,
                                                 a_client_that_stays_keeps_the_session,
                                                 opens_that_wait_are_refused, a_load_under_way_is_given_back,
                                                 a_client_that_does_not_read_is_asked_later,
                                                 what_could_not_be_released_is_left, an_end_can_hand_over,
                                                 the_wait_before_an_end_has_an_end,
                                                 a_drain_that_is_ended_ends_the_wait, NULL });
}
