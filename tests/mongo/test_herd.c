/*
 * Many opens that wait for sessions of another host: they cost that host, the server and the other requests
 * here next to nothing, and every one gets its session.
 */

#include <stdlib.h>
#include <string.h>

#include "../support/mongo_hosts.h"
#include "../support/mongo_proxy.h"
#include "../support/program.h"
#include "../support/wire.h"

enum { HERD = 100 };

static void open_all(struct wire *owner, const char *stem, int s[HERD])
{
        for (int i = 0; i < HERD; i++)
                s[i] = wire_open(owner, "'%s%d', {backend: 'mongo'}", stem, i);
}

/* Opens that wait. The first look of each at its session is over. */
static void wait_for_all(struct wire *other, const char *stem, uint32_t open[HERD])
{
        for (int i = 0; i < HERD; i++)
                open[i] = wire_send(other, "open('%s%d', {backend: 'mongo', wait: 120000})", stem, i);
        expect(other, "!busy", "open('%s0', {backend: 'mongo'})", stem);
}

static void expect_all(struct wire *other, const uint32_t open[HERD])
{
        for (int i = 0; i < HERD; i++) {
                const char *answer = wire_answer(other, open[i]);

                ck_assert_msg(*answer == '{', "open %d: %s %s", i, answer, wire_error_message(other));
        }
}

/* One query each 50 ms, however many wait. */
START_TEST(waiting_is_one_query)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *stem = mongo_name("quiet");
        TEST_FREED char *uri = NULL;
        uint32_t open[HERD];
        unsigned before, sent;
        int s[HERD];

        if (!server || !mongo_server_is_ours(server, "counting queries"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, NULL);
        DAEMON a = daemon_start(.flags = { "--mongo", server->uri });
        DAEMON b = daemon_start(.flags = { "--mongo", uri });
        CLIENT ca = wire_connect(a);
        CLIENT cb = wire_connect(b);

        open_all(ca, stem, s);
        wait_for_all(cb, stem, open);
        before = mongo_proxy_pieces(proxy);
        expect(cb, "!busy", "open('%s0', {backend: 'mongo', wait: 2000})", stem);
        sent = mongo_proxy_pieces(proxy) - before;
        ck_assert_msg(sent < 4 * HERD, "%u messages in 2 s for %d opens", sent, HERD);
        wire_end(&cb);
        daemon_end(&b);
}
END_TEST

START_TEST(all_sessions_of_a_dead_host_are_taken)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *stem = mongo_name("dead");
        uint32_t open[HERD];
        int s[HERD], own;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, "1");
        CLIENT bot = wire_connect(b);

        open_all(ca, stem, s);
        own = wire_open(bot, "'%sown', {backend: 'mongo'}", stem);
        wait_for_all(cb, stem, open);
        daemon_kill(a);
        expect(bot, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", own);
        expect_all(cb, open);
}
END_TEST

/* More releases at once than the releaser's document names. */
START_TEST(all_sessions_that_are_closed_are_taken)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *stem = mongo_name("closed");
        uint32_t open[HERD];
        int s[HERD];

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, "600");

        open_all(ca, stem, s);
        wait_for_all(cb, stem, open);
        for (int i = 0; i < HERD; i++)
                wire_tell(ca, "close(%d)", s[i]);
        expect_all(cb, open);
}
END_TEST

/* Its instance's document goes as well. */
START_TEST(all_sessions_of_a_host_that_ends_are_taken)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("ends");
        uint32_t open;

        if (!server)
                return;
        TWO_HOSTS(server->uri, server->uri, "600");

        expect(ca, "nil", "close(%d)", wire_open(ca, "'%s', {backend: 'mongo'}", name));
        wire_open(ca, "'%s', {backend: 'mongo'}", name);
        open = wire_send(cb, "open('%s', {backend: 'mongo', wait: 120000})", name);
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name);
        wire_tell(ca, "close(1)");
        wire_tell(ca, "close(2)");
        daemon_stop(a);
        ck_assert_int_eq(*wire_answer(cb, open), '{');
}
END_TEST

/* The database was away while many sessions were closed, and is slow now. */
START_TEST(many_releases_delay_no_renewal)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *stem = mongo_name("many");
        TEST_FREED char *uri = NULL;
        long long start = test_now_ms();
        int s[HERD], own;

        if (!server || !mongo_server_is_ours(server, "an outage"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, NULL);
        DAEMON a = HOST(uri, "1.5");
        CLIENT ca = wire_connect(a);

        open_all(ca, stem, s);
        own = wire_open(ca, "'%sown', {backend: 'mongo'}", stem);
        mongo_server_kill(server);
        for (int i = 0; i < HERD; i++)
                expect(ca, "nil", "close(%d)", s[i]);
        while (wire_number(wire_call(ca, "stats()"), "sessions") > 1) /* the releases have failed */
                test_time_left(start, "the sessions are closed");
        mongo_proxy_delay(proxy, 60, 0, 0);
        mongo_server_resume(server);
        while (wire_number(wire_call(ca, "stats()"), "sessions_owned") > HERD)
                test_time_left(start, "the database is back");
        while (strtoll(wire_call(ca, "lease(%d)", own), NULL, 10) <= 0)
                test_time_left(start, "its document has been looked at");
        while (wire_number(wire_call(ca, "stats()"), "sessions_owned") > 1) {
                ck_assert_str_ne(wire_call(ca, "lease(%d)", own), "0");
                wire_readable(ca, 20);
        }
}
END_TEST

/* While the database is away nobody can renew: that is no death. */
START_TEST(an_outage_ends_no_ownership)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("outage");
        uint32_t open;
        long long until;
        int s;

        if (!server || !mongo_server_is_ours(server, "an outage"))
                return;
        TWO_HOSTS(server->uri, server->uri, "1");

        s = wire_open(ca, "'%s', {backend: 'mongo'}", name);
        open = wire_send(cb, "open('%s', {backend: 'mongo', wait: 120000})", name);
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name);
        mongo_server_kill(server);
        /* The watch would be over. */
        until = test_now_ms() + 2000;
        while (test_now_ms() < until)
                wire_readable(cb, 100);
        mongo_server_resume(server);
        until = test_now_ms() + 30000;
        while (strcmp(wire_call(ca, "lease(%d)", s), "0") == 0 && test_now_ms() < until)
                wire_readable(ca, 20);
        expect(ca, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        expect(ca, "nil", "close(%d)", s);
        ck_assert_int_eq(*wire_answer(cb, open), '{');
}
END_TEST

/* The last of them wait longer for their turn than the backend has for one request. */
START_TEST(many_opens_are_no_outage)
{
        enum { OPENS = 30 };
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *stem = mongo_name("many");
        TEST_FREED char *uri = NULL;
        uint32_t open[OPENS];

        if (!server || !mongo_server_is_ours(server, "a slow network"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, NULL);
        DAEMON d = daemon_start(.flags = { "--mongo", uri, "--mongo-layout", "shared" });
        CLIENT c = wire_connect(d);

        wire_open(c, "'%s', {backend: 'mongo'}", stem);
        mongo_proxy_delay(proxy, 200, 0, 0);
        for (int i = 0; i < OPENS; i++)
                open[i] = wire_send(c, "open('%s%d', {backend: 'mongo'})", stem, i);
        for (int i = 0; i < OPENS; i++) {
                const char *answer = wire_answer(c, open[i]);

                ck_assert_msg(*answer == '{', "open %d: %s %s", i, answer, wire_error_message(c));
        }
        wire_end(&c);
        daemon_end(&d);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                waiting_is_one_query,
                all_sessions_of_a_dead_host_are_taken,
                all_sessions_that_are_closed_are_taken,
                all_sessions_of_a_host_that_ends_are_taken,
                many_releases_delay_no_renewal,
                an_outage_ends_no_ownership,
                many_opens_are_no_outage,
                NULL,
        };

        return test_program("herd", tests);
}
