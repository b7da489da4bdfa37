/*
 * When a session passes from one host to another: never while a client of the former owner may rely on its
 * lease, at once when every client has closed it. Two daemons on one database; a term is long enough to see
 * the difference.
 */

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/mongo_hosts.h"
#include "../support/mongo_peek.h"
#include "../support/mongo_proxy.h"
#include "../support/program.h"
#include "../support/wire.h"

#define TERM "3"

static long long lease(struct wire *c, int s)
{
        return strtoll(wire_call(c, "lease(%d)", s), NULL, 10);
}

static uint32_t send_open(struct wire *c, const char *name)
{
        return wire_send(c, "open('%s', {backend: 'mongo', wait: 60000})", name);
}

/* The lease of this client is told now; the open of the other is answered after it has ended. */
static void expect_after_lease(struct wire *other, uint32_t open, long long told_ms, long long lease_ms)
{
        const char *answer = wire_answer(other, open);

        ck_assert_msg(*answer == '{', "%s", answer);
        ck_assert_int_ge(test_now_ms() - told_ms, lease_ms);
}

START_TEST(an_orderly_end_waits_for_leases)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("end");
        long long told_ms, lease_ms;
        uint32_t open;
        int s;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, TERM);

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        open = send_open(cb, name);
        told_ms = test_now_ms();
        lease_ms = lease(ca, s);
        ck_assert_int_gt(lease_ms, 1000);
        daemon_stop(a);
        expect_after_lease(cb, open, told_ms, lease_ms);
}
END_TEST

/* A signal that comes while the daemon ends does not keep it from telling the others. */
START_TEST(an_orderly_end_is_not_cut_off)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *uri = NULL;
        TEST_FREED char *left = NULL;

        if (!server || !mongo_server_is_ours(server, "a slow end"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, NULL);
        DAEMON a = HOST(uri, "60");

        mongo_proxy_hold_at(proxy, "delete");
        daemon_signal(a, SIGTERM);
        mongo_proxy_await(proxy);
        daemon_signal(a, SIGTERM);
        daemon_signal(a, SIGINT);
        mongo_proxy_let_go(proxy);
        ck_assert_int_eq(daemon_wait(a), 0);
        left = mongo_python(server, "print(db['gramd']['instances'].count_documents({}))\n", NULL);
        ck_assert_int_eq(atoi(left), 0);
}
END_TEST

START_TEST(a_restarted_host_has_its_sessions_back)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("back");
        int s;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, "60");

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        expect(ca, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        wire_send(cb, "open('%s', {backend: 'mongo', wait: 60000})", name);
        expect(cb, "'next'", "ping('next')"); /* the open has been taken in */
        daemon_stop(a);
        daemon_resume(a);
        CLIENT again = wire_connect(a);
        s = wire_open(again, "'%s', {backend: 'mongo'}", name);
        expect(again, "[1, 2, ...]", "get_peer_by_id(%d, 1)", s);
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name);
}
END_TEST

START_TEST(a_restart_hands_over_no_other_session)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *mine = mongo_name("mine");
        TEST_FREED char *other = mongo_name("other");
        long long told_ms, lease_ms;
        uint32_t open;
        int s;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, TERM);

        wire_open(ca, "'%s', {backend: 'mongo'}", mine);
        s = wire_open(ca, "'%s', {backend: 'mongo'}", other);
        open = send_open(cb, other);
        told_ms = test_now_ms();
        lease_ms = lease(ca, s);
        daemon_kill(a);
        daemon_resume(a);
        CLIENT again = wire_connect(a);
        wire_open(again, "'%s', {backend: 'mongo'}", mine);
        expect_after_lease(cb, open, told_ms, lease_ms);
        expect(again, "!busy", "open('%s', {backend: 'mongo'})", other);
}
END_TEST

/* The former start gave the lease. This one knows of it although its client has not come back. */
START_TEST(a_restart_remembers_leases)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("remembered");
        long long told_ms, lease_ms;
        uint32_t open;
        int s;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, TERM);

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        open = send_open(cb, name);
        told_ms = test_now_ms();
        lease_ms = lease(ca, s);
        daemon_kill(a);
        daemon_resume(a);
        CLIENT other = wire_connect(a);
        s = wire_open(other, "'%s', {backend: 'mongo'}", name);
        expect(other, "nil", "close(%d)", s);
        expect_after_lease(cb, open, told_ms, lease_ms);
}
END_TEST

/* The `open` takes the session and fails. The next one has it from this start, and not from the former. */
START_TEST(an_open_that_fails_forgets_no_lease)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("failed");
        TEST_FREED char *uri = NULL;
        long long told_ms, lease_ms;
        uint32_t open;
        int s;

        if (!server || !mongo_server_is_ours(server, "an open that fails"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, "socketTimeoutMS=2500");
        TWO_HOSTS(uri, server->uri, "15");

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        told_ms = test_now_ms();
        lease_ms = lease(ca, s);
        daemon_kill(a);
        daemon_resume(a);
        CLIENT other = wire_connect(a);
        mongo_proxy_hold_at(proxy, "update_state"); /* the session is this start's already */
        open = wire_send(other, "open('%s', {backend: 'mongo'})", name);
        mongo_proxy_await(proxy);
        expect_text(wire_answer(other, open), "!unavailable");
        mongo_proxy_let_go(proxy);
        while (*wire_call(other, "open('%s', {backend: 'mongo'})", name) != '{')
                test_time_left(told_ms, "the database is back");
        expect(other, "nil", "close(1)");
        expect_after_lease(cb, send_open(cb, name), told_ms, lease_ms);
}
END_TEST

START_TEST(a_close_hands_over_at_once)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("closed");
        int s;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, "600");

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        expect(ca, "nil", "close(%d)", s);
        wire_open(cb, "'%s', {backend: 'mongo', wait: 30000}", name);
}
END_TEST

/* The news comes after the last look of an open that is to wait, and before its wait has begun. */
START_TEST(a_close_during_a_look_hands_over_at_once)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("looked");
        TEST_FREED char *other = mongo_name("other");
        TEST_FREED char *uri = NULL;
        const char *answer;
        long long closed_ms;
        uint32_t open;
        int s;

        if (!server || !mongo_server_is_ours(server, "slow answers"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, NULL);
        TWO_HOSTS(server->uri, uri, "600");

        wire_open(ca, "'%s', {backend: 'mongo'}", other);
        wire_send(cb, "open('%s', {backend: 'mongo', wait: 120000})", other); /* b reads a's document */
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", other);
        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        mongo_proxy_delay_answers(proxy, name, 300);
        open = send_open(cb, name);
        usleep(450000); /* the answer of the second look is on its way */
        expect(ca, "nil", "close(%d)", s);
        closed_ms = test_now_ms();
        mongo_proxy_delay_answers(proxy, NULL, 0);
        answer = wire_answer(cb, open);
        ck_assert_msg(*answer == '{', "%s", answer);
        ck_assert_int_lt(test_now_ms() - closed_ms, 1000); /* else it is looked at each second */
}
END_TEST

/* The session that another host waits for is gone: that host creates it. */
START_TEST(a_deletion_ends_the_wait_of_other_hosts)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("deleted");
        const char *answer;
        uint32_t open;
        int s;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, "600");

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        open = send_open(cb, name);
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name); /* the first look is over */
        expect(ca, "nil", "delete(%d)", s);
        answer = wire_answer(cb, open);
        ck_assert_msg(strstr(answer, "created: true") != NULL, "%s", answer);
}
END_TEST

START_TEST(the_end_of_a_connection_is_no_close)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("gone");
        long long told_ms, lease_ms;
        uint32_t open;
        int s;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, TERM);

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        open = send_open(cb, name);
        told_ms = test_now_ms();
        lease_ms = lease(ca, s);
        ck_assert_int_gt(lease_ms, 1000);
        wire_end(&ca); /* this process lives on */
        expect_after_lease(cb, open, told_ms, lease_ms);
        /* On one host nobody waits. */
        CLIENT one = wire_connect(b);
        wire_end(&cb);
        wire_open(one, "'%s', {backend: 'mongo', mode: 'exclusive', wait: 500}", name);
}
END_TEST

START_TEST(the_end_of_a_process_is_a_close)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("dead");
        int ready[2], status;
        char byte;
        pid_t pid;

        if (!server)
                return;
        DAEMON a = HOST(server->uri, "600");
        DAEMON b = HOST(server->uri, "600");
        CLIENT cb = wire_connect(b);

        ck_assert_int_eq(pipe(ready), 0);
        pid = fork();
        close(ready[pid == 0 ? 0 : 1]);
        if (pid == 0) {
                struct wire *ca = wire_connect(a);

                wire_open(ca, "'%s', {backend: 'mongo'}", name);
                if (write(ready[1], "x", 1) == 1)
                        pause();
                _exit(1);
        }
        ck_assert_int_eq(read(ready[0], &byte, 1), 1);
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name);
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        wire_open(cb, "'%s', {backend: 'mongo', wait: 30000}", name);
        close(ready[0]);
}
END_TEST

START_TEST(an_open_whose_term_ran_out_is_no_success)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("slow");
        TEST_FREED char *uri = NULL;
        const char *answer;
        uint32_t open;

        if (!server || !mongo_server_is_ours(server, "an open whose term ran out"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, "socketTimeoutMS=60000");
        TWO_HOSTS(uri, server->uri, "1.2");

        wire_open(cb, "'%s', {backend: 'mongo'}", name);
        expect(cb, "nil", "close(1)");
        mongo_proxy_hold_at(proxy, "update_state"); /* the session is a's already */
        open = wire_send(ca, "open('%s', {backend: 'mongo', wait: 500})", name);
        mongo_proxy_await(proxy);
        wire_open(cb, "'%s', {backend: 'mongo', wait: 60000}", name);
        mongo_proxy_let_go(proxy);
        answer = wire_answer(ca, open);
        ck_assert_msg(strcmp(answer, "!unavailable") == 0 || strcmp(answer, "!busy") == 0, "%s", answer);
}
END_TEST

START_TEST(a_session_can_be_opened_while_it_is_deleted)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("deleted");
        TEST_FREED char *uri = NULL;
        uint32_t deletion;
        int s;

        if (!server || !mongo_server_is_ours(server, "an open during a deletion"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, "socketTimeoutMS=60000");
        DAEMON a = HOST(uri, "60");
        CLIENT one = wire_connect(a);
        CLIENT other = wire_connect(a);

        s = wire_open(one, "'%s', {backend: 'mongo'}", name);
        mongo_proxy_hold_at(proxy, "delete");
        deletion = wire_send(one, "delete(%d)", s);
        mongo_proxy_await(proxy);
        s = wire_open(other, "'%s', {backend: 'mongo'}", name);
        expect(other, "0", "lease(%d)", s); /* nobody may rely on it */
        mongo_proxy_let_go(proxy);
        expect_text(wire_answer(one, deletion), "nil");
        expect_text(wire_told(other), "ended(1, 'not_found', ...)");
}
END_TEST

START_TEST(a_repetition_protects_what_it_repeats)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("repeated");
        TEST_FREED char *uri = NULL;
        struct mongo_peer peer;
        long long start = test_now_ms();
        int s, t;

        if (!server || !mongo_server_is_ours(server, "a repetition"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, "socketTimeoutMS=60000");
        MONGO_PEEK peek = mongo_peek_new(server);
        TWO_HOSTS(uri, server->uri, "1.2");

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        expect(ca, "nil", "update_peers(%d, [[1, 2, 'user', 'first', nil]])", s);
        mongo_proxy_hold_at(proxy, "second");
        wire_send(ca, "update_peers(%d, [[1, 3, 'user', 'second', nil], [9, 9, 'user', nil, nil]])", s);
        mongo_proxy_await(proxy);
        t = wire_open(cb, "'%s', {backend: 'mongo', wait: 60000}", name);
        expect(cb, "[1, 2, 'user', 'first', ...]", "get_peer_by_id(%d, 1)", t);
        expect(cb, "nil", "update_peers(%d, [[1, 2, 'user', 'first', nil]])", t); /* equals what was read */
        mongo_proxy_let_go(proxy);
        expect_text(wire_told(ca), "ended(1, 'fenced', ...)");
        do { /* the delayed write has landed: its new row is there */
                test_time_left(start, "the delayed write");
                peer = mongo_peek_peer(peek, name, 9);
        } while (!peer.exists && usleep(20000) == 0);
        peer = mongo_peek_peer(peek, name, 1);
        ck_assert_int_eq(peer.access_hash, 2);
}
END_TEST

START_TEST(a_rack_of_dead_hosts_is_taken)
{
        static const char script[] =
                "for i in range(100):\n"
                "    db['gramd']['instances'].insert_one({'_id': f'dead{i}', 'host': f'h{i}', 'counter': 1,"
                " 'term_ms': 600})\n"
                "    db[f'{names[0]}{i}']['session'].insert_one({'_id': 0, 'dc_id': 2, 'auth_key': b'', "
                "'date': 0,"
                " 'gramd_owner': f'dead{i}', 'gramd_fence': 1, 'gramd_term_ms': 600, 'gramd_indexed': "
                "True})\n";
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *stem = mongo_name("rack");
        TEST_FREED char *printed = NULL;
        uint32_t opens[100];

        if (!server)
                return;
        printed = mongo_python(server, script, stem, NULL);
        DAEMON b = HOST(server->uri, TERM);
        CLIENT c = wire_connect(b);

        for (int i = 0; i < 100; i++)
                opens[i] = wire_send(c, "open('%s%d', {backend: 'mongo', wait: 50000})", stem, i);
        for (int i = 0; i < 100; i++) {
                const char *answer = wire_answer(c, opens[i]);

                ck_assert_msg(*answer == '{', "%d: %s", i, answer);
        }
}
END_TEST

START_TEST(what_another_program_wrote_is_read)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("changed");
        TEST_FREED char *printed = NULL;
        int s;

        if (!server)
                return;
        DAEMON a = daemon_start(.config = "idle-close = 600\n", .flags = { "--mongo", server->uri });
        CLIENT c = wire_connect(a);

        s = wire_open(c, "'%s', {backend: 'mongo'}", name);
        expect(c, "nil", "set(%d, {user_id: 1})", s);
        expect(c, "nil", "close(%d)", s);
        /* The owner is taken out of the document when the session is closed. */
        printed = mongo_python(server,
                               "import time\n"
                               "session, own = document(names[0])\n"
                               "for _ in range(500):\n"
                               "    if 'gramd_owner' not in session.find_one(own): break\n"
                               "    time.sleep(0.02)\n"
                               "session.update_one(own, {'$set': {'user_id': 7}})\n",
                               name, NULL);
        s = wire_open(c, "'%s', {backend: 'mongo'}", name);
        expect(c, "[7]", "get(%d, ['user_id'])", s);
}
END_TEST

int main(void)
{
        return test_program(
                "handover",
                (const TTest *const[]){
                        an_orderly_end_waits_for_leases, an_orderly_end_is_not_cut_off,
                        a_restarted_host_has_its_sessions_back, a_restart_hands_over_no_other_session,
                        a_restart_remembers_leases, an_open_that_fails_forgets_no_lease,
                        a_close_hands_over_at_once, a_close_during_a_look_hands_over_at_once,
                        a_deletion_ends_the_wait_of_other_hosts, the_end_of_a_connection_is_no_close,
                        the_end_of_a_process_is_a_close, an_open_whose_term_ran_out_is_no_success,
                        a_session_can_be_opened_while_it_is_deleted, a_repetition_protects_what_it_repeats,
                        a_rack_of_dead_hosts_is_taken, what_another_program_wrote_is_read, NULL });
}
