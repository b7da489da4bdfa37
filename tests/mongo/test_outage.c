/*
 * Servers that are down, slow, stopped in the middle of a write, or refuse: clients get `unavailable` in
 * time, everything works again when the server does, and file sessions are not affected.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/command.h"
#include "../support/mongo_peek.h"
#include "../support/mongo_proxy.h"
#include "../support/mongo_server.h"
#include "../support/program.h"
#include "../support/wire.h"

static bool is_error(const char *answer, const char *code)
{
        return answer[0] == '!' && strcmp(answer + 1, code) == 0;
}

/* Repeats the request until the daemon has noticed that the server is back. */
static const char *until_available(struct wire *c, const char *request)
{
        long long start = test_now_ms();

        for (;;) {
                const char *answer = wire_call(c, "%s", request);

                if (!is_error(answer, "unavailable"))
                        return answer;
                test_time_left(start, request);
                usleep(50000); /* not to flood the daemon's log */
        }
}

static int open_when_available(struct wire *c, const char *name)
{
        TEST_FREED char *request = test_format("open('%s', {backend: 'mongo'})", name);

        return (int)wire_number(until_available(c, request), "session");
}

static void files_work(struct wire *c, int file)
{
        static int n;

        expect(c, "nil", "update_peers(%d, [[1, %d, 'user', nil, nil]])", file, ++n);
        expect(c, "[1, ...]", "get_peer_by_id(%d, 1)", file);
        expect(c, "nil", "save(%d)", file);
}

START_TEST(a_server_that_is_away_at_the_start)
{
        MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)_i);
        TEST_FREED char *name = mongo_name("later");
        int file;

        if (!server || !mongo_server_is_ours(server, "a server that is away at the start"))
                return;
        mongo_server_kill(server);
        DAEMON d = daemon_start(.flags = { "--mongo", server->uri });
        CLIENT c = wire_connect(d);

        file = wire_open(c, "'file', {}");
        expect(c, "!unavailable", "open('%s', {backend: 'mongo'})", name);
        files_work(c, file);
        expect(c, "[{...name: 'file'...}]", "sessions(nil)");
        mongo_server_resume(server);
        expect(c, "nil", "update_peers(%d, [[1, 2, 'user', nil, nil]])", open_when_available(c, name));
        TEST_FREED char *log = daemon_log(d);

        ck_assert_ptr_nonnull(strstr(log, "cannot be used now"));
        ck_assert_ptr_nonnull(strstr(log, "can be used again"));
}
END_TEST

START_TEST(a_server_that_dies_and_comes_back)
{
        MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)_i);
        TEST_FREED char *name = mongo_name("dies");
        TEST_FREED char *write = NULL;
        int s, file;

        if (!server || !mongo_server_is_ours(server, "a server that dies"))
                return;
        DAEMON d = daemon_start(.flags = { "--mongo", server->uri });
        CLIENT c = wire_connect(d);

        s = wire_open(c, "'%s', {backend: 'mongo'}", name);
        file = wire_open(c, "'file', {}");
        expect(c, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        mongo_server_kill(server);
        expect(c, "!unavailable", "update_peers(%d, [[1, 3, 'user', 'b', nil]])", s);
        expect(c, "!unavailable", "get_peer_by_id(%d, 99)", s);
        expect(c, "!unavailable", "update_states(%d, [[1, 2, 3, 4, 5]])", s);
        files_work(c, file);
        mongo_server_resume(server);
        write = test_format("update_peers(%d, [[1, 4, 'user', 'c', nil]])", s);
        ck_assert_str_eq(until_available(c, write), "nil");
        expect(c, "[1, 4, ...]", "get_peer_by_username(%d, 'c')", s);
        expect(c, "!not_found", "get_peer_by_username(%d, 'b')", s);
        expect(c, "[]", "get_states(%d)", s);
}
END_TEST

START_TEST(a_server_stopped_in_the_middle_of_a_write)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("stopped");
        TEST_FREED char *uri = NULL;
        TEST_FREED char *again = NULL;
        uint32_t first, second, opening;
        int s, file;

        if (!server || !mongo_server_is_ours(server, "a server stopped in the middle of a write"))
                return;
        uri = test_format("%s/?socketTimeoutMS=1500", server->uri);
        DAEMON d = daemon_start(.flags = { "--mongo", uri });
        CLIENT c = wire_connect(d);

        s = wire_open(c, "'%s', {backend: 'mongo'}", name);
        file = wire_open(c, "'file', {}");
        expect(c, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        mongo_server_freeze(server);
        first = wire_send(c, "update_peers(%d, [[1, 3, 'user', 'b', nil]])", s);
        second = wire_send(c, "set(%d, {api_id: 5})", s);
        opening = wire_send(c, "open('%s-2', {backend: 'mongo'})", name);
        files_work(c, file);
        ck_assert_str_eq(wire_answer(c, first), "!unavailable");
        ck_assert_str_eq(wire_answer(c, second), "!unavailable");
        ck_assert_str_eq(wire_answer(c, opening), "!unavailable");
        files_work(c, file);
        mongo_server_thaw(server);
        again = test_format("update_peers(%d, [[1, 4, 'user', 'c', nil]])", s);
        ck_assert_str_eq(until_available(c, again), "nil");
        expect(c, "[1, 4, 'user', 'c', ...]", "get_peer_by_id(%d, 1)", s);
        expect(c, "nil", "close(%d)", s);
        daemon_stop(d);
        MONGO_PEEK peek = mongo_peek_new(server);

        ck_assert_int_eq(mongo_peek_peer(peek, name, 1).access_hash, 4);
}
END_TEST

/* The driver would wait for a minute. No request does. */
/* A new connection of the same client. Returns its handle. */
static int reconnect(const struct daemon *d, struct wire **c, const char *name)
{
        wire_end(c);
        *c = wire_connect(d);
        expect(*c, "...", "hello({id: h'000102030405060708090a0b0c0d0e0f'})");
        return open_when_available(*c, name);
}

/* `set` with this msgid. */
static const char *set_as(struct wire *c, uint32_t id, int session, int value)
{
        size_t len;
        uint8_t *bytes = wire_pack(id, &len, "set(%d, {api_id: %d})", session, value);

        wire_raw(c, bytes, len);
        free(bytes);
        return wire_answer(c, id);
}

/* Also one of which it is not known whether it has happened. */
START_TEST(a_repeated_write_is_not_executed_again)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("repeated");
        TEST_FREED char *uri = NULL;
        TEST_FREED char *newer = NULL;
        struct wire *a = NULL;
        const char *answer;
        int s, t;

        if (!server || !mongo_server_is_ours(server, "a repeated write"))
                return;
        uri = test_format("%s/?socketTimeoutMS=1500", server->uri);
        DAEMON d = daemon_start(.flags = { "--mongo", uri });
        CLIENT b = wire_connect(d);

        t = wire_open(b, "'%s', {backend: 'mongo'}", name);
        s = reconnect(d, &a, name);
        ck_assert_str_eq(set_as(a, 1000, s, 1), "nil");
        expect(b, "nil", "set(%d, {api_id: 2})", t);
        s = reconnect(d, &a, name);
        ck_assert_str_eq(set_as(a, 1000, s, 1), "nil");
        expect(b, "[2]", "get(%d, ['api_id'])", t);
        mongo_server_freeze(server);
        ck_assert_str_eq(set_as(a, 1001, s, 3), "!unavailable");
        mongo_server_thaw(server);
        newer = test_format("set(%d, {api_id: 4})", t);
        ck_assert_str_eq(until_available(b, newer), "nil");
        s = reconnect(d, &a, name);
        answer = set_as(a, 1001, s, 3);
        ck_assert(strcmp(answer, "nil") == 0 || is_error(answer, "unavailable"));
        expect(b, "[4]", "get(%d, ['api_id'])", t);
        wire_end(&a);
}
END_TEST

START_TEST(no_request_waits_longer_than_its_deadline)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("deadline");
        TEST_FREED char *uri = NULL;
        TEST_FREED char *again = NULL;
        uint32_t write, read, later;
        int s, file;

        if (!server || !mongo_server_is_ours(server, "deadlines"))
                return;
        uri = test_format("%s/?socketTimeoutMS=40000", server->uri);
        DAEMON d = daemon_start(.flags = { "--mongo", uri, "--mongo-term", "120", "--workers", "1" });
        CLIENT c = wire_connect(d);

        s = wire_open(c, "'%s', {backend: 'mongo'}", name);
        file = wire_open(c, "'file', {}");
        expect(c, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        mongo_server_freeze(server);
        write = wire_send(c, "update_peers(%d, [[1, 3, 'user', 'b', nil]])", s);
        read = wire_send(c, "get_peer_by_id(%d, 5)", s);
        later = wire_send(c, "get(%d, ['dc_id'])", s);
        files_work(c, file);
        ck_assert_str_eq(wire_answer(c, write), "!unavailable");
        ck_assert_str_eq(wire_answer(c, read), "!unavailable");
        ck_assert_str_eq(wire_answer(c, later), "!unavailable");
        expect(c, "!unavailable", "update_states(%d, [[1, 2, 3, 4, 5]])", s);
        files_work(c, file);
        mongo_server_thaw(server);
        again = test_format("update_states(%d, [[1, 2, 3, 4, 6]])", s);
        ck_assert_str_eq(until_available(c, again), "nil");
        expect(c, "[[1, 2, 3, 4, 6]]", "get_states(%d)", s);
        expect(c, "[1, 2, 'user', 'a', ...] or [1, 3, 'user', 'b', ...]", "get_peer_by_id(%d, 1)", s);
}
END_TEST

START_TEST(a_slow_server_does_not_hold_up_files)
{
        enum { SESSIONS = 24 };
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("slow");
        TEST_FREED char *uri = NULL;
        uint32_t waiting[SESSIONS];
        int s[SESSIONS], file;

        if (!server || !mongo_server_is_ours(server, "a slow server"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, NULL);
        DAEMON d = daemon_start(.flags = { "--mongo", uri, "--workers", "1" });
        CLIENT c = wire_connect(d);

        file = wire_open(c, "'file', {}");
        for (int i = 0; i < SESSIONS; i++)
                s[i] = wire_open(c, "'%s-%d', {backend: 'mongo'}", name, i);
        mongo_proxy_hold(proxy);
        for (int i = 0; i < SESSIONS; i++)
                waiting[i] = wire_send(c, "update_peers(%d, [[1, 3, 'user', 'b', nil]])", s[i]);
        for (int i = 0; i < 20; i++)
                files_work(c, file);
        mongo_proxy_let_go(proxy);
        for (int i = 0; i < SESSIONS; i++)
                expect_text(wire_answer(c, waiting[i]), "nil");
        wire_end(&c);
        daemon_end(&d);
}
END_TEST

START_TEST(a_primary_that_steps_down)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS, .test_commands = true);
        TEST_FREED char *name = mongo_name("steps");
        TEST_FREED char *again = NULL;
        int s;

        if (!server || !mongo_server_is_ours(server, "failpoints"))
                return;
        MONGO_PEEK peek = mongo_peek_new(server);
        DAEMON d = daemon_start(.flags = { "--mongo", server->uri });
        CLIENT c = wire_connect(d);

        s = wire_open(c, "'%s', {backend: 'mongo'}", name);
        mongo_peek_command(peek,
                           "{\"configureFailPoint\": \"failCommand\", \"mode\": {\"times\": 3}, \"data\": "
                           "{\"failCommands\": [\"insert\"], \"errorCode\": 10107}}");
        again = test_format("update_peers(%d, [[1, 4, 'user', 'c', nil]])", s);
        ck_assert_str_eq(until_available(c, again), "nil");
        expect(c, "[1, 4, ...]", "get_peer_by_id(%d, 1)", s);
        ck_assert_int_eq(mongo_peek_peer(peek, name, 1).access_hash, 4);
}
END_TEST

/* The first of two commands succeeds: nothing is acknowledged, and the request may be repeated. */
START_TEST(a_batch_that_fails_halfway)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS, .test_commands = true);
        TEST_FREED char *name = mongo_name("half");
        TEST_FREED char *again = NULL;
        int s, watching;

        if (!server || !mongo_server_is_ours(server, "failpoints"))
                return;
        MONGO_PEEK peek = mongo_peek_new(server);
        DAEMON d = daemon_start(.flags = { "--mongo", server->uri });
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);

        s = wire_open(c, "'%s', {backend: 'mongo'}", name);
        watching = wire_open(other, "'%s', {backend: 'mongo'}", name);
        expect(other, "nil", "watch(%d, true)", watching);
        expect(c, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        wire_told(other);
        mongo_peek_command(peek,
                           "{\"configureFailPoint\": \"failCommand\", \"mode\": {\"times\": 1}, \"data\": "
                           "{\"failCommands\": [\"update\"], \"errorCode\": 8000}}");
        expect(c, "!storage or !unavailable",
               "update_peers(%d, [[1, 3, 'user', 'b', nil], [2, 3, 'user', 'new', nil]])", s);
        expect_text(wire_told(other), "changed(...all: true...)");
        again = test_format("update_peers(%d, [[1, 3, 'user', 'b', nil], [2, 3, 'user', 'new', nil]])", s);
        ck_assert_str_eq(until_available(c, again), "nil");
        expect(c, "[1, 3, ...]", "get_peer_by_username(%d, 'b')", s);
        expect(c, "[2, 3, ...]", "get_peer_by_username(%d, 'new')", s);
        expect(c, "!not_found", "get_peer_by_username(%d, 'a')", s);
}
END_TEST

START_TEST(a_wrong_password)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS, .auth = false);
        TEST_FREED char *wrong = NULL;
        TEST_FREED char *right = NULL;
        TEST_FREED char *name = mongo_name("locked");

        if (!server || !mongo_server_is_ours(server, "a wrong password"))
                return;
        free(mongo_python(server, "db.admin.command('createUser', 'bot', pwd='s3cret', roles=['root'])\n",
                          NULL));
        mongo_server_kill(server);
        server->setup.auth = true;
        mongo_server_resume(server);
        wrong = test_format("mongodb://bot:wr0ng@127.0.0.1:%d/?authSource=admin", server->port);
        right = test_format("mongodb://bot:s3cret@127.0.0.1:%d/?authSource=admin", server->port);
        {
                DAEMON d = daemon_start(.flags = { "--mongo", wrong });
                CLIENT c = wire_connect(d);
                TEST_FREED char *log = NULL;

                expect(c, "!unavailable", "open('%s', {backend: 'mongo'})", name);
                ck_assert_ptr_null(strstr(wire_error_message(c), "wr0ng"));
                log = daemon_log(d);
                ck_assert_ptr_nonnull(strstr(log, "uthentication failed"));
                ck_assert_ptr_null(strstr(log, "wr0ng"));
        }
        DAEMON d = daemon_start(.flags = { "--mongo", right });
        CLIENT c = wire_connect(d);

        wire_open(c, "'%s', {backend: 'mongo'}", name);
        TEST_FREED char *log = daemon_log(d);

        ck_assert_ptr_null(strstr(log, "s3cret"));
}
END_TEST

START_TEST(encrypted_connections)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS, .tls = true);
        TEST_FREED char *trusted = NULL;
        TEST_FREED char *distrusted = NULL;
        TEST_FREED char *name = mongo_name("tls");

        if (!server)
                return;
        trusted = test_format("mongodb://127.0.0.1:%d/?tls=true&tlsCAFile=%s/ca.pem", server->port,
                              server->dir);
        distrusted = test_format("mongodb://127.0.0.1:%d/?tls=true", server->port);
        {
                DAEMON d = daemon_start(.flags = { "--mongo", distrusted });
                CLIENT c = wire_connect(d);

                expect(c, "!unavailable", "open('%s', {backend: 'mongo'})", name);
                ck_assert_ptr_nonnull(strstr(wire_error_message(c), "TLS"));
        }
        DAEMON d = daemon_start(.flags = { "--mongo", trusted });
        CLIENT c = wire_connect(d);

        wire_open(c, "'%s', {backend: 'mongo'}", name);
}
END_TEST

START_TEST(invalid_uris_are_refused_at_the_start)
{
        static const char *const uris[] = { "http://bot:s3cret@host", "mongodb://",
                                            "mongodb://bot:s3cret@host:99999999",
                                            "mongodb://bot:s3%%cret@host", "host" };

        for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
                const char *const words[] = { "--config", "/dev/null", "--data", ".", "--socket",
                                              "socket",   "--mongo",   uris[i],  NULL };
                DAEMON_RUN run = daemon_run(words);

                ck_assert_msg(run.status != 0, "%s", uris[i]);
                ck_assert_msg(strstr(run.err, "ongo") != NULL, "%s", run.err);
                ck_assert_msg(!strstr(run.err, "s3c"), "%s", run.err);
        }
        DAEMON_RUN run = daemon_run((const char *const[]){ "--config", "/dev/null", "--data", ".", "--socket",
                                                           "socket", "--backend", "mongo", NULL });

        ck_assert_int_ne(run.status, 0);
        ck_assert_ptr_nonnull(strstr(run.err, "`mongo` is missing"));
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        expect(c, "!bad_request", "open('anna', {backend: 'mongo'})");
        expect(c, "{...backends: ['file', 'memory']...}", "hello({})");
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("outage");
        TCase *tcase = tcase_create("outage");
        TCase *writes = tcase_create("writes"); /* test_in_shared.sh runs these again */
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        tcase_set_timeout(writes, TEST_TIMEOUT_S);
        suite_add_tcase(suite, tcase);
        suite_add_tcase(suite, writes);
        tcase_add_loop_test(tcase, a_server_that_is_away_at_the_start, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, a_server_that_dies_and_comes_back, 0, MONGO_KINDS);
        tcase_add_test(writes, a_server_stopped_in_the_middle_of_a_write);
        tcase_add_test(writes, a_repeated_write_is_not_executed_again);
        tcase_add_test(tcase, no_request_waits_longer_than_its_deadline);
        tcase_add_test(tcase, a_slow_server_does_not_hold_up_files);
        tcase_add_test(writes, a_primary_that_steps_down);
        tcase_add_test(writes, a_batch_that_fails_halfway);
        tcase_add_test(tcase, a_wrong_password);
        tcase_add_test(tcase, encrypted_connections);
        tcase_add_test(tcase, invalid_uris_are_refused_at_the_start);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
