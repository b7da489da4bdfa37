/*
 * Two daemons, one database: who owns a session, how ownership passes, and that a former owner's late writes
 * replace nothing of its successor's.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/long_write.h"
#include "../support/mongo_hosts.h"
#include "../support/mongo_peek.h"
#include "../support/mongo_proxy.h"
#include "../support/no_memory.h"
#include "../support/program.h"
#include "../support/repeater.h"
#include "../support/wire.h"

#define TERM "1.2"

static long long number(const char *text)
{
        char *end;
        long long value = strtoll(text, &end, 10);

        ck_assert_msg(end != text && *end == '\0', "not a number: %s", text);
        return value;
}

static long long lease(struct wire *c, int s)
{
        return number(wire_call(c, "lease(%d)", s));
}

static int open_waiting(struct wire *c, const char *name)
{
        return wire_open(c, "'%s', {backend: 'mongo', wait: 60000}", name);
}

static long long fence_of(struct wire *c, int s)
{
        return wire_number(wire_call(c, "info(%d)", s), "fence");
}

START_TEST(a_session_has_one_owner)
{
        MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)_i);
        TEST_FREED char *name = mongo_name("one");
        char host[256];
        long long fence;
        int s;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, TERM);

        gethostname(host, sizeof(host));
        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        fence = fence_of(ca, s);
        expect(ca, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        ck_assert_int_gt(lease(ca, s), 0);
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name);
        ck_assert_ptr_nonnull(strstr(wire_error_detail(cb), host));
        ck_assert_int_eq(wire_number(wire_error_detail(cb), "pid"), a->pid);
        /* While its term is renewed, the other daemon does not get the session, however long it waits. */
        expect(cb, "!busy", "open('%s', {backend: 'mongo', wait: 4000})", name);
        ck_assert_int_gt(lease(ca, s), 0);
        expect(ca, "nil", "close(%d)", s);
        s = open_waiting(cb, name);
        ck_assert_int_gt(fence_of(cb, s), fence);
        expect(cb, "[1, 2, ...]", "get_peer_by_username(%d, 'a')", s);
        expect(ca, "!busy", "open('%s', {backend: 'mongo'})", name);
        expect(cb, "nil", "close(%d)", s);
        wire_open(ca, "'%s', {backend: 'mongo', wait: 1000}", name);
}
END_TEST

/* Clients count it from when they sent the `open`: it includes the time for which that has waited. */
START_TEST(an_open_tells_the_lease)
{
        MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)_i);
        TEST_FREED char *name = mongo_name("told");
        const char *answer;
        long long told, sent_ms, left;
        uint32_t open;
        int s;

        if (!server)
                return;
        DAEMON d = HOST(server->uri, "60");
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);

        wire_call(c, "hello({features: ['lease']})");
        expect(c, "...lease: nil...", "open('file', {})");
        s = wire_open(other, "'%s', {backend: 'mongo', mode: 'exclusive'}", name);
        sent_ms = test_now_ms();
        open = wire_send(c, "open('%s', {backend: 'mongo', wait: 60000})", name);
        usleep(1000000);
        expect(other, "nil", "close(%d)", s);
        answer = wire_answer(c, open);
        told = sent_ms + wire_number(answer, "lease");
        s = (int)wire_number(answer, "session");
        left = test_now_ms() + lease(c, s);
        ck_assert_int_gt(left, told - 500); /* what the requests took is counted in it */
        ck_assert_int_lt(left, told + 500);
        sent_ms = test_now_ms();
        told = wire_number(wire_call(c, "open('%s', {backend: 'mongo'})", name), "lease");
        left = lease(c, s);
        ck_assert_int_ge(told, left);
        ck_assert_int_le(told, left + test_now_ms() - sent_ms + 1);
}
END_TEST

START_TEST(a_dead_owner_is_replaced_after_its_term)
{
        MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)_i);
        TEST_FREED char *name = mongo_name("dead");
        long long fence;
        int s;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, TERM);

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        fence = fence_of(ca, s);
        expect(ca, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        daemon_kill(a);
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name);
        s = open_waiting(cb, name);
        ck_assert_int_gt(fence_of(cb, s), fence);
        expect(cb, "[1, 2, ...]", "get_peer_by_id(%d, 1)", s);
        daemon_resume(a);
        wire_end(&ca);
        ca = wire_connect(a);
        expect(ca, "!busy", "open('%s', {backend: 'mongo'})", name);
}
END_TEST

START_TEST(a_restart_on_the_same_data_directory_goes_on_at_once)
{
        MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)_i);
        TEST_FREED char *name = mongo_name("again");
        int s;

        if (!server)
                return;
        DAEMON a = HOST(server->uri, "3600");
        CLIENT c = wire_connect(a);

        s = wire_open(c, "'%s', {backend: 'mongo'}", name);
        expect(c, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        daemon_kill(a);
        daemon_resume(a);
        CLIENT again = wire_connect(a);

        s = wire_open(again, "'%s', {backend: 'mongo'}", name);
        expect(again, "[1, 2, ...]", "get_peer_by_id(%d, 1)", s);
}
END_TEST

START_TEST(a_suspended_owner_learns_that_it_was_replaced)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("asleep");
        TEST_FREED char *kept = mongo_name("kept");
        int s, other, t;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, TERM);

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        other = wire_open(ca, "'%s', {backend: 'mongo'}", kept);
        expect(ca, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        expect(ca, "nil", "update_peers(%d, [[1, 7, 'user', 'k', nil]])", other);
        daemon_freeze(a);
        t = open_waiting(cb, name);
        expect(cb, "nil", "update_peers(%d, [[1, 3, 'user', 'b', nil]])", t);
        daemon_thaw(a);
        expect_text(wire_told(ca), "ended(1, 'fenced', ...)");
        expect(ca, "!bad_session", "update_peers(%d, [[1, 4, 'user', 'c', nil]])", s);
        expect(ca, "!busy", "open('%s', {backend: 'mongo'})", name);
        /* It goes on with a session that no other daemon has taken. */
        while (lease(ca, other) == 0)
                usleep(20000);
        expect(ca, "[1, 7, ...]", "get_peer_by_id(%d, 1)", other);
        expect(ca, "nil", "update_peers(%d, [[1, 8, 'user', 'k', nil]])", other);
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", kept);
        expect(cb, "[1, 3, ...]", "get_peer_by_id(%d, 1)", t);
}
END_TEST

/* The rest of its slices come when it is another host's. What was committed is answered so, and the other has
 * it. */
START_TEST(a_session_is_lost_in_the_middle_of_a_long_write)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("long");
        struct long_write w;
        const char *answer;
        int t;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, "9"); /* long enough for the write on a busy machine */
        CLIENT writer = wire_connect(a);

        w = (struct long_write){ .daemon = a, .writer = writer, .other = ca, .rows = 1100 };
        w.s = wire_open(writer, "'%s', {backend: 'mongo'}", name);
        w.t = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        long_write_stop_in_the_middle(&w);
        t = open_waiting(cb, name);
        long_write_expect_rows(&w, cb, t);
        daemon_thaw(a);
        answer = wire_answer(writer, 5);
        ck_assert_msg(strcmp(answer, "nil") == 0, "%s", answer);
        expect_text(wire_told(writer), "ended(1, 'fenced', ...)");
        expect_text(wire_told(ca), "ended(1, 'fenced', ...)");
        expect(writer, "!bad_session", "update_peers(%d, [[1, 77, 'user', nil, nil]])", w.s);
        expect(cb, "nil", "close(%d)", t);
        w.s = open_waiting(writer, name);
        long_write_expect_rows(&w, writer, w.s);
}
END_TEST

enum {
        LIST = 600,   /* rows: three commands */
        FIRST = 1001, /* all numbers are as long as this one: so their order is that of their keys, too */
};

/* Two kinds of lists. Row I is `first` or `second` in all rows, or `second` in those of the later commands.
 */
static const struct list {
        const char *method;
        const char *row; /* of a number, and what is written */
        const char *get; /* the row of a handle and a number */
        const char *first, *early, *second, *third;
} lists[] = {
        { "update_peers", "[%d, 1, '%s', nil, nil]", "get_peer_by_id(%d, %d)", "first", "early", "second",
          "third" },
        { "kv_set", "['%d', h'%s']", "kv_get(%d, ['%d'])", "01", "02", "7365636f6e64" /* second */, "03" },
};
enum { LISTS = sizeof(lists) / sizeof(lists[0]) };

/* Of `count` rows from number `first` on. malloc'ed. */
static char *list_of(const struct list *list, int first, int count, const char *early, const char *later)
{
        char *text = calloc((size_t)count, 64), *at = text;

        ck_assert_ptr_nonnull(text);
        for (int i = first; i < first + count; i++) {
                *at++ = i > first ? ',' : '[';
                at += sprintf(at, list->row, FIRST + i, i < LIST / 3 ? early : later);
        }
        strcpy(at, "]");
        return text;
}

/* In short requests: one that a slow server works on for the whole term would lose the session. */
static void write_all(struct wire *c, int handle, const struct list *list, const char *what)
{
        enum { PART = 100 };

        for (int i = 0; i < LIST; i += PART) {
                TEST_FREED char *part = list_of(list, i, PART, what, what);

                expect(c, "nil", "%s(%d, %s)", list->method, handle, part);
        }
}

static bool row_has(struct wire *c, int handle, const struct list *list, int number, const char *what)
{
        const char *row = wire_call(c, list->get, handle, number); // NOLINT

        return strstr(row, what) != NULL;
}

/*
 * The first of its commands has been executed when another host takes the session. The writer is not told
 * that it is stored, nobody is told that it has changed, and it replaces nothing that the new owner has
 * written. Each row is a whole one.
 */
START_TEST(a_session_is_lost_between_the_commands_of_a_long_write)
{
        const struct list *list = &lists[_i];
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("between");
        TEST_FREED char *uri = NULL;
        TEST_FREED char *rows = list_of(list, 0, LIST, list->early, list->second);
        int s, t;
        uint32_t id;

        if (!server || !mongo_server_is_ours(server, "a long write of a former owner"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, "socketTimeoutMS=60000");
        TWO_HOSTS(uri, server->uri, "3");
        CLIENT watcher = wire_connect(a);

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        write_all(ca, s, list, list->third); /* is inserted, what follows replaces it */
        write_all(ca, s, list, list->first);
        expect(watcher, "nil", "watch(%d, true)", wire_open(watcher, "'%s', {backend: 'mongo'}", name));
        mongo_proxy_hold_at(proxy, "second");
        id = wire_send(ca, "%s(%d, %s)", list->method, s, rows);
        mongo_proxy_await(proxy);
        t = open_waiting(cb, name);
        ck_assert(row_has(cb, t, list, FIRST, list->early)); /* a part is stored, as PROTOCOL.md says */
        ck_assert(row_has(cb, t, list, FIRST + LIST - 1, list->first));
        for (int i = 0; i < LIST; i += LIST - 1) {
                TEST_FREED char *row = test_format(list->row, FIRST + i, list->third); // NOLINT

                expect(cb, "nil", "%s(%d, [%s])", list->method, t, row);
        }
        mongo_proxy_let_go(proxy);
        expect_text(wire_answer(ca, id), "!fenced or !unavailable"); /* that, if the deadline was first */
        expect_text(wire_told(ca), "ended(1, 'fenced', ...)");
        expect_text(wire_told(watcher), "ended(1, 'fenced', ...)");
        expect(ca, "!bad_session", "info(%d)", s);
        expect(cb, "nil", "close(%d)", t);
        t = open_waiting(cb, name); /* what it reads now is what is stored */
        ck_assert(row_has(cb, t, list, FIRST, list->third));
        ck_assert(row_has(cb, t, list, FIRST + LIST - 1, list->third));
        ck_assert(row_has(cb, t, list, FIRST + 1, list->early));
        for (int i = LIST / 3; i < LIST - 1; i += 50)
                ck_assert(row_has(cb, t, list, FIRST + i, list->first) ||
                          row_has(cb, t, list, FIRST + i, list->second));
}
END_TEST

START_TEST(closing_a_lost_session_is_retried_when_memory_was_short)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("poor");
        TEST_FREED char *log = NULL, *expected = NULL;

        if (!server)
                return;
        if (test_memory_factor() > 1) {
                test_skipped("a daemon whose allocations fail", "an allocator that is not a sanitizer's");
                return;
        }
        no_memory_in("close_start", 3);
        DAEMON a = HOST(server->uri, TERM);
        no_memory_end();
        DAEMON b = HOST(server->uri, TERM);
        CLIENT ca = wire_connect(a);
        CLIENT cb = wire_connect(b);

        wire_open(ca, "'%s', {backend: 'mongo'}", name);
        daemon_freeze(a);
        open_waiting(cb, name);
        daemon_thaw(a);
        expect_text(wire_told(ca), "ended(1, 'fenced', ...)");
        daemon_stop(a); /* it waits until every session is closed */
        log = daemon_log(a);
        expected = test_format("session %s (mongo) closed", name);
        ck_assert_ptr_nonnull(strstr(log, expected));
}
END_TEST

START_TEST(an_outage_longer_than_the_term)
{
        MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)_i);
        TEST_FREED char *name = mongo_name("outage");
        long long start;
        int s;

        if (!server || !mongo_server_is_ours(server, "an outage longer than the term"))
                return;
        DAEMON a = HOST(server->uri, TERM);
        CLIENT c = wire_connect(a);

        s = wire_open(c, "'%s', {backend: 'mongo'}", name);
        expect(c, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        mongo_server_kill(server);
        start = test_now_ms();
        while (lease(c, s) > 0) {
                test_time_left(start, "the lease to run out");
                usleep(20000);
        }
        expect(c, "!unavailable", "get_peer_by_id(%d, 1)", s);
        expect(c, "!unavailable", "get(%d, ['dc_id'])", s);
        expect(c, "!unavailable", "open('%s', {backend: 'mongo'})", name);
        mongo_server_resume(server);
        while (lease(c, s) == 0) {
                test_time_left(start, "the lease to go on");
                usleep(20000);
        }
        expect(c, "[1, 2, ...] or !unavailable", "get_peer_by_id(%d, 1)", s);
        /* Connections from before the outage fail when they are used first. */
        while (strcmp(wire_call(c, "update_peers(%d, [[1, 3, 'user', 'a', nil]])", s), "nil") != 0) {
                test_time_left(start, "a write after the outage");
                usleep(20000);
        }
        expect(c, "[1, 3, ...]", "get_peer_by_id(%d, 1)", s);
}
END_TEST

/* The first confirmation swaps and gets no further; the swap of the second does not arrive. */
/* Nothing of it counted. So its repetition is a first try, when the host owns the session again. */
START_TEST(a_repeated_fenced_write_is_executed)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("fenced");
        TEST_FREED char *uri = NULL;
        const char *opened;
        long long start = test_now_ms();
        int s, t;

        if (!server || !mongo_server_is_ours(server, "a fenced write"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, "socketTimeoutMS=60000");
        TWO_HOSTS(uri, server->uri, TERM);

        greet(ca, ID);
        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        expect(ca, "nil", "update_peers(%d, [[1, 1, 'user', 'first', nil]])", s);
        mongo_proxy_hold_at(proxy, "second");
        send_as(ca, MSGID, "update_peers", s, ", [[1, 2, 'user', 'second', nil]]");
        mongo_proxy_await(proxy);
        t = open_waiting(cb, name);
        expect(cb, "nil", "update_peers(%d, [[1, 3, 'user', 'third', nil]])", t);
        mongo_proxy_let_go(proxy);
        expect_text(wire_answer(ca, MSGID), "!fenced");
        expect(cb, "[1, 3, 'user', 'third', ...]", "get_peer_by_id(%d, 1)", t);
        expect(cb, "nil", "close(%d)", t);
        do /* its connections to the server end with the hold */
                opened = wire_call(ca, "open('%s', {backend: 'mongo', wait: 60000})", name);
        while (strncmp(opened, "!unavailable", 12) == 0 && test_time_left(start, "a's server") > 0);
        s = (int)wire_number(opened, "session");
        expect(ca, "[1, 3, 'user', 'third', ...]", "get_peer_by_id(%d, 1)", s);
        write_as(ca, MSGID, "nil", "update_peers", s, ", [[1, 2, 'user', 'second', nil]]");
        expect(ca, "[1, 2, 'user', 'second', ...]", "get_peer_by_id(%d, 1)", s);
        expect(ca, "nil", "update_peers(%d, [[1, 4, 'user', 'fourth', nil]])", s);
        write_as(ca, MSGID, "nil", "update_peers", s, ", [[1, 2, 'user', 'second', nil]]"); /* not again */
        expect(ca, "[1, 4, 'user', 'fourth', ...]", "get_peer_by_id(%d, 1)", s);
}
END_TEST

START_TEST(confirmations_that_fail_do_not_lose_the_session)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("confirmed");
        TEST_FREED char *uri = NULL;
        long long start;
        int s;

        if (!server || !mongo_server_is_ours(server, "confirmations that fail"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, "socketTimeoutMS=1000&retryWrites=false");
        DAEMON a = HOST(uri, "60");
        CLIENT c = wire_connect(a);

        s = wire_open(c, "'%s', {backend: 'mongo'}", name);
        mongo_proxy_hold_one_at(proxy, "unknown outcome");
        wire_send(c, "update_peers(%d, [[1, 2, 'user', 'unknown outcome', nil]])", s);
        mongo_proxy_await(proxy);
        mongo_proxy_hold_one_at(proxy, "\x12" /* an int64: */ "taken");
        mongo_proxy_await(proxy);
        mongo_proxy_hold_one_at(proxy, "\x12gramd_since");
        start = test_now_ms();
        mongo_proxy_await(proxy);
        while (strcmp(wire_call(c, "update_peers(%d, [[1, 3, 'user', 'a', nil]])", s), "!unavailable") == 0) {
                test_time_left(start, "the confirmation");
                usleep(20000);
        }
        expect(c, "[1, 3, ...]", "get_peer_by_id(%d, 1)", s);
        mongo_proxy_let_go(proxy);
        expect(c, "nil", "update_peers(%d, [[1, 4, 'user', 'a', nil]])", s);
        wire_end(&c);
        daemon_end(&a);
}
END_TEST

START_TEST(a_write_that_lands_late)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("late");
        TEST_FREED char *uri = NULL;
        struct mongo_peer peer;
        int s, t;

        if (!server || !mongo_server_is_ours(server, "a write that lands late"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, "socketTimeoutMS=60000");
        MONGO_PEEK peek = mongo_peek_new(server);
        TWO_HOSTS(uri, server->uri, TERM);

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        expect(ca, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        mongo_proxy_hold_at(proxy, "too late");
        wire_send(ca, "update_peers(%d, [[1, 100, 'user', 'too late', nil]])", s);
        mongo_proxy_await(proxy); /* with it the renewals are held */
        t = open_waiting(cb, name);
        expect(cb, "nil", "update_peers(%d, [[1, 3, 'user', 'b', nil]])", t);
        mongo_proxy_let_go(proxy);
        expect_text(wire_told(ca), "ended(1, 'fenced', ...)");
        peer = mongo_peek_peer(peek, name, 1);
        ck_assert_int_eq(peer.access_hash, 3);
        ck_assert_int_eq(peer.fence, fence_of(cb, t));
        wire_end(&ca);
        daemon_end(&a);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("owners");
        TCase *tcase = tcase_create("owners");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        suite_add_tcase(suite, tcase);
        tcase_add_loop_test(tcase, a_session_has_one_owner, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, an_open_tells_the_lease, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, a_dead_owner_is_replaced_after_its_term, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, a_restart_on_the_same_data_directory_goes_on_at_once, 0, MONGO_KINDS);
        tcase_add_test(tcase, a_suspended_owner_learns_that_it_was_replaced);
        tcase_add_test(tcase, a_session_is_lost_in_the_middle_of_a_long_write);
        tcase_add_loop_test(tcase, a_session_is_lost_between_the_commands_of_a_long_write, 0, LISTS);
        tcase_add_test(tcase, closing_a_lost_session_is_retried_when_memory_was_short);
        tcase_add_loop_test(tcase, an_outage_longer_than_the_term, 0, MONGO_KINDS);
        tcase_add_test(tcase, a_write_that_lands_late);
        tcase_add_test(tcase, a_repeated_fenced_write_is_executed);
        tcase_add_test(tcase, confirmations_that_fail_do_not_lose_the_session);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
