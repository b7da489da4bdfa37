/* The feature `elsewhere` with MongoDB: a session on one host's files or on the server is named for the other
 * backend. */

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "../support/mongo_hosts.h"
#include "../support/mongo_proxy.h"
#include "../support/program.h"

START_TEST(files_and_the_server_name_each_other)
{
        MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)(_i % MONGO_KINDS));
        TEST_FREED char *name = mongo_name("twin");
        const char *layout = _i < MONGO_KINDS ? "own" : "shared";

        if (!server)
                return;
        DAEMON a = daemon_start(.flags = { "--mongo", server->uri, "--mongo-layout", layout });
        DAEMON b = daemon_start(.flags = { "--mongo", server->uri, "--mongo-layout", layout });
        CLIENT c = wire_connect(a);
        CLIENT on_b = wire_connect(b);
        int s = wire_open(c, "'%s', {backend: 'mongo'}", name);

        /* open here, open on another host, and closed */
        expect(c, "{...backend: 'file'...elsewhere: ['mongo']...}", "open('%s', {backend: 'file'})", name);
        expect(on_b, "{...backend: 'file'...elsewhere: ['mongo']...}", "open('%s', {backend: 'file'})", name);
        expect(c, "nil", "close(%d)", s);
        expect(on_b, "{...backend: 'memory'...elsewhere: ['file', 'mongo']...}",
               "open('%s', {backend: 'memory'})", name);
        /* the look has not taken it */
        ck_assert_int_gt(wire_open(c, "'%s', {backend: 'mongo', wait: 60000}", name), 0);
        expect(c, "{...backend: 'file'...}", "open('%s-2', {backend: 'file'})", name);
        expect(c, "{...backend: 'mongo'...elsewhere: ['file']...}", "open('%s-2', {backend: 'mongo'})", name);
        ck_assert_ptr_null(strstr(wire_call(c, "open('%s-3', {backend: 'mongo'})", name), "elsewhere"));
        expect(c, "{...dialect: 'pyrogram', fence...}", "open('%s-4', {backend: 'file'})", name);
}
END_TEST

START_TEST(a_server_that_does_not_answer_is_not_waited_for)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("silent");

        if (!server || !mongo_server_is_ours(server, "a look at a server that does not answer"))
                return;
        MONGO_PROXY proxy = mongo_proxy_new(server->port);
        TEST_FREED char *uri =
                mongo_proxy_uri(proxy, "socketTimeoutMS=600000&serverSelectionTimeoutMS=600000");
        DAEMON d = daemon_start(.flags = { "--mongo", uri });
        CLIENT c = wire_connect(d);

        ck_assert_int_gt(wire_open(c, "'%s', {backend: 'mongo'}", name), 0);
        mongo_proxy_hold(proxy);
        for (int i = 0; i < 3; i++)
                expect(c, "{...created: true, dialect: 'pyrogram', fence...}",
                       "open('%s-%d', {backend: 'file'})", name, i);
        wire_end(&c); /* the looks outlive their sessions */
        mongo_proxy_let_go(proxy);
}
END_TEST

/* The session ends before the look at the server does. */
START_TEST(the_daemon_ends_during_a_look)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("ending");

        if (!server || !mongo_server_is_ours(server, "the end of the daemon during a look"))
                return;
        MONGO_PROXY proxy = mongo_proxy_new(server->port);
        TEST_FREED char *uri = mongo_proxy_uri(proxy, NULL);
        DAEMON d = daemon_start(.flags = { "--mongo", uri });
        CLIENT c = wire_connect(d);
        uint32_t opening;

        mongo_proxy_hold_at(proxy, name);
        opening = wire_send(c, "open('%s', {backend: 'file'})", name);
        mongo_proxy_await(proxy);
        daemon_signal(d, SIGTERM);
        expect_text(wire_answer(c, opening), "{...created: true, dialect: 'pyrogram', fence...}");
        wire_expect_closed(c);
        mongo_proxy_let_go(proxy);
        ck_assert_int_eq(daemon_wait(d), 0);
}
END_TEST

int main(void)
{
        const TTest *const silent[] = { a_server_that_does_not_answer_is_not_waited_for,
                                        the_daemon_ends_during_a_look, NULL };
        const TTest *const tests[] = { files_and_the_server_name_each_other, NULL };
        int failed = test_program("elsewhere_silent", silent);

        return test_program_repeated("elsewhere_mongo", tests, 2 * MONGO_KINDS) || failed;
}
