/*
 * Session documents that change behind the daemons' backs: a backup is restored, a collection is dropped, a
 * hand changes a document, a data directory is copied. Two daemons on one database, once for each layout.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/mongo_proxy.h"
#include "../support/mongo_server.h"
#include "../support/program.h"
#include "../support/wire.h"

enum { TERM_MS = 2000, WATCH_MS = (4 * TERM_MS + 2) / 3 };

static const char *const layouts[] = { "own", "shared" };

#define START_ON(server, directory)                                                                          \
        daemon_start(.flags = { "--mongo", (server)->uri, "--mongo-term", "2", "--mongo-layout",             \
                                layouts[_i] },                                                               \
                     .data = (directory))
#define START(server) START_ON(server, NULL)
/* As in mongo_hosts.h, with the layout. */
#define TWO_HOSTS(server)                                                                                    \
        DAEMON a = START(server);                                                                            \
        DAEMON b = START(server);                                                                            \
        CLIENT ca = wire_connect(a);                                                                         \
        CLIENT cb = wire_connect(b)

/* Runs Python that knows the session's document: `session` is its collection, `it` its filter. */
static void change(const struct mongo_server *server, int layout, const char *name, const char *what)
{
        TEST_FREED char *script = test_format("shared, name = names[0] == 'shared', names[1]\n"
                                              "session = db['gramd' if shared else name]['session']\n"
                                              "it = {'_id': name if shared else 0}\n"
                                              "saved = db['backup'][name]\n"
                                              "%s\n",
                                              what);

        free(mongo_python(server, script, layouts[layout], name, NULL));
}

static const char save[] = "saved.insert_one(session.find_one(it))";
static const char restore[] = "assert session.replace_one(it, saved.find_one()).modified_count";

static long long lease(struct wire *c, int s)
{
        const char *answer = wire_call(c, "lease(%d)", s);

        return *answer == '!' ? 0 : strtoll(answer, NULL, 10);
}

static int open_mongo(struct wire *c, const char *name)
{
        return wire_open(c, "'%s', {backend: 'mongo', wait: 30000}", name);
}

static uint32_t send_open(struct wire *c, const char *name)
{
        return wire_send(c, "open('%s', {backend: 'mongo', wait: 30000})", name);
}

/* The client loses the session within two terms of `changed_ms`, and none of its leases runs longer. */
static void expect_lost(struct wire *c, int s, long long changed_ms, int term_ms)
{
        TEST_FREED char *told = test_format("ended(%d, 'fenced', ...)", s);
        long long end = 0, sent, left;

        for (;;) {
                sent = test_now_ms();
                left = lease(c, s);
                if (left > 0 && sent + left > end)
                        end = sent + left;
                if (left <= 0 && strcmp(wire_call(c, "info(%d)", s), "!bad_session") == 0)
                        break;
                ck_assert_int_le(sent - changed_ms, 2 * term_ms);
                usleep(20000);
        }
        expect_text(wire_told(c), told);
        ck_assert_int_le(end - changed_ms, 2 * term_ms);
}

/* A session with a backup of it from when nobody had it. `ca` has it open now. */
static int with_backup(struct mongo_server *server, int layout, const char *name, struct wire *ca)
{
        int s = open_mongo(ca, name);

        expect(ca, "nil", "close(%d)", s);
        change(server, layout, name,
               "import time\n"
               "while 'gramd_owner' in session.find_one(it): time.sleep(0.02)");
        change(server, layout, name, save);
        return open_mongo(ca, name);
}

START_TEST(a_restored_session_is_lost)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("older");
        long long before_ms, after_ms;
        const char *answer;
        uint32_t open;
        int s;

        if (!server)
                return;
        TWO_HOSTS(server);

        s = with_backup(server, _i, name, ca);
        before_ms = test_now_ms();
        change(server, _i, name, restore);
        after_ms = test_now_ms();
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name);
        ck_assert_ptr_nonnull(strstr(wire_error_message(cb), "was a backup restored?"));
        open = send_open(cb, name);
        expect_lost(ca, s, after_ms, TERM_MS);
        answer = wire_answer(cb, open);
        ck_assert_msg(*answer == '{', "%s", answer);
        ck_assert_int_ge(test_now_ms() - before_ms, WATCH_MS);
        ck_assert_int_le(test_now_ms() - after_ms, WATCH_MS + TERM_MS);
}
END_TEST

/* Meanwhile others may have used it, and the same backup may have been restored again. */
START_TEST(an_older_document_that_was_not_seen_for_long_is_watched_anew)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("unseen");
        long long start_ms;
        int s;

        if (!server)
                return;
        TWO_HOSTS(server);

        s = with_backup(server, _i, name, ca);
        expect(ca, "nil", "close(%d)", s);
        change(server, _i, name,
               "import time\n"
               "while 'gramd_owner' in session.find_one(it): time.sleep(0.02)");
        change(server, _i, name, restore);
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name);
        usleep((3 * TERM_MS + 500) * 1000);
        start_ms = test_now_ms();
        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name);
        open_mongo(cb, name);
        ck_assert_int_ge(test_now_ms() - start_ms, WATCH_MS);
}
END_TEST

START_TEST(a_dropped_session_is_lost)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("dropped");
        long long before_ms, after_ms;
        const char *answer;
        uint32_t open;
        int s;

        if (!server)
                return;
        TWO_HOSTS(server);

        s = open_mongo(ca, name);
        before_ms = test_now_ms();
        change(server, _i, name, "session.delete_one(it) if shared else db.drop_database(name)");
        after_ms = test_now_ms();
        open = send_open(cb, name);
        expect_lost(ca, s, after_ms, TERM_MS);
        answer = wire_answer(cb, open);
        ck_assert_msg(*answer == '{', "%s", answer);
        ck_assert_int_ge(test_now_ms() - before_ms, WATCH_MS);
}
END_TEST

START_TEST(a_changed_owner_ends_the_session)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("hand");
        int s;

        if (!server)
                return;
        DAEMON a = START(server);
        CLIENT ca = wire_connect(a);

        s = open_mongo(ca, name);
        change(server, _i, name, "session.update_one(it, {'$set': {'gramd_owner': 'somebody'}})");
        expect_lost(ca, s, test_now_ms(), TERM_MS);
}
END_TEST

/* A backup of everything, from when nobody had the session; the instances' documents go on. */
START_TEST(everything_restored_overlaps_for_two_terms_at_most)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("all");
        long long before_ms, after_ms;
        int s, t;

        if (!server)
                return;
        TWO_HOSTS(server);

        s = with_backup(server, _i, name, ca);
        before_ms = test_now_ms();
        change(server, _i, name,
               "import bson\n"
               "assert session.replace_one(it, saved.find_one()).modified_count\n"
               "db.gramd.fences.update_one({'_id': name}, {'$set': dict.fromkeys(('fence', 'taken'),\n"
               "    bson.Int64(saved.find_one()['gramd_fence']))})");
        after_ms = test_now_ms();
        t = open_mongo(cb, name);
        ck_assert_int_lt(test_now_ms() - before_ms, WATCH_MS); /* nothing shows that it is older */
        ck_assert_int_gt(lease(cb, t), 0);
        expect_lost(ca, s, after_ms, TERM_MS);
        ck_assert_int_gt(lease(cb, t), 0);
}
END_TEST

START_TEST(dropped_fences_stop_nobody)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("fences");
        int s, t, refused = 0;

        if (!server)
                return;
        TWO_HOSTS(server);

        for (int i = 0; i < 20; i++) {
                s = open_mongo(ca, name);
                expect(ca, "nil", "close(%d)", s);
        }
        s = open_mongo(ca, name);
        expect(ca, "nil", "update_peers(%d, [[1, 2, 'user', 'a', nil]])", s);
        free(mongo_python(server, "db.gramd.fences.drop()", NULL));
        expect(ca, "nil", "update_peers(%d, [[1, 3, 'user', 'a', nil]])", s);
        expect(ca, "nil", "set(%d, {user_id: 1})", s);
        expect(ca, "nil", "close(%d)", s);
        t = open_mongo(cb, name);
        expect(cb, "[1, 3, ...]", "get_peer_by_id(%d, 1)", t);
        expect(cb, "nil", "close(%d)", t);
        /* Even if the document's fence is lost with them: rows have fences up to 22. */
        change(server, _i, name,
               "import time\n"
               "while 'gramd_owner' in session.find_one(it): time.sleep(0.02)\n"
               "session.update_one(it, {'$unset': {'gramd_fence': ''}})\n"
               "db.gramd.fences.drop()");
        t = open_mongo(cb, name);
        ck_assert_int_lt(wire_number(wire_call(cb, "info(%d)", t), "fence"), 22);
        while (strcmp(wire_call(cb, "update_peers(%d, [[1, 4, 'user', 'b', nil]])", t), "nil") != 0)
                ck_assert_int_le(++refused, 1);
        expect(cb, "[1, 4, ...]", "get_peer_by_id(%d, 1)", t);
}
END_TEST

START_TEST(a_deleted_session_is_created_at_once)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("anew");
        int s;

        if (!server)
                return;
        TWO_HOSTS(server);

        s = open_mongo(ca, name);
        expect(ca, "nil", "delete(%d)", s);
        wire_open(cb, "'%s', {backend: 'mongo'}", name);
}
END_TEST

START_TEST(a_session_of_an_older_gramd_is_taken_at_once)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("upgraded");
        int s;

        if (!server)
                return;
        TWO_HOSTS(server);

        s = open_mongo(ca, name);
        expect(ca, "nil", "close(%d)", s);
        change(server, _i, name,
               "import time\n"
               "while 'gramd_owner' in session.find_one(it): time.sleep(0.02)\n"
               "db.gramd.fences.update_one({'_id': name}, {'$unset': {'taken': ''}})");
        wire_open(cb, "'%s', {backend: 'mongo'}", name);
}
END_TEST

/* The copy has the same files, and the same boot: it is no restart of the first. */
START_TEST(a_copied_data_directory_is_another_host)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("copied");
        TEST_FREED char *copy = NULL;
        TEST_FREED char *command = NULL;
        long long told_ms, lease_ms;
        uint32_t open;
        int s;

        if (!server)
                return;
        DAEMON a = START(server);
        CLIENT ca = wire_connect(a);

        s = open_mongo(ca, name);
        copy = daemon_beside(a, "copy");
        command = test_format("cp -a '%s' '%s'", a->data, copy);
        ck_assert_int_eq(system(command), 0);
        DAEMON b = START_ON(server, copy);
        CLIENT cb = wire_connect(b);

        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name);
        open = send_open(cb, name);
        told_ms = test_now_ms();
        lease_ms = lease(ca, s);
        daemon_kill(a);
        ck_assert_int_eq(*wire_answer(cb, open), '{');
        ck_assert_int_ge(test_now_ms() - told_ms, lease_ms);
}
END_TEST

START_TEST(without_its_lock_a_data_directory_is_two)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("lock");
        TEST_FREED char *lock = NULL;
        long long told_ms, lease_ms;
        uint32_t open;
        int s;

        if (!server)
                return;
        DAEMON a = START(server);
        CLIENT ca = wire_connect(a);

        s = open_mongo(ca, name);
        lock = test_format("%s/gramd.lock", a->data);
        ck_assert_int_eq(unlink(lock), 0);
        DAEMON b = START_ON(server, a->data);
        CLIENT cb = wire_connect(b);

        expect(cb, "!busy", "open('%s', {backend: 'mongo'})", name);
        open = send_open(cb, name);
        told_ms = test_now_ms();
        lease_ms = lease(ca, s);
        ck_assert_int_gt(lease_ms, 0);
        daemon_kill(a);
        ck_assert_int_eq(*wire_answer(cb, open), '{');
        ck_assert_int_ge(test_now_ms() - told_ms, lease_ms);
}
END_TEST

/* The swap of an open that has failed. If it landed later, no other host could open the session. */
START_TEST(a_late_swap_does_not_land)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PROXY proxy = NULL;
        TEST_FREED char *name = mongo_name("late");
        TEST_FREED char *uri = NULL;
        const char *answer;
        int s;

        if (!server || !mongo_server_is_ours(server, "a late swap"))
                return;
        proxy = mongo_proxy_new(server->port);
        uri = mongo_proxy_uri(proxy, "socketTimeoutMS=1500&retryWrites=false");
        DAEMON a = daemon_start(.flags = { "--mongo", uri, "--mongo-term", "60", "--mongo-layout",
                                           layouts[_i] });
        DAEMON b = START(server);
        CLIENT ca = wire_connect(a);
        CLIENT cb = wire_connect(b);

        s = open_mongo(cb, name);
        expect(cb, "nil", "close(%d)", s);
        change(server, _i, name,
               "import time\n"
               "while 'gramd_owner' in session.find_one(it): time.sleep(0.02)");
        mongo_proxy_hold_one_at(proxy, "\x12" /* an int64: */ "gramd_since");
        answer = wire_call(ca, "open('%s', {backend: 'mongo'})", name);
        ck_assert_msg(strcmp(answer, "!unavailable") == 0, "%s", answer);
        change(server, _i, name,
               "import time\n"
               "fence, end = session.find_one(it)['gramd_fence'], time.time() + 3\n"
               "while session.find_one(it)['gramd_fence'] == fence and time.time() < end: time.sleep(0.02)");
        mongo_proxy_let_go(proxy);
        usleep(200000); /* it arrives */
        open_mongo(cb, name);
}
END_TEST

/* As many as need a steady stream of looks. The leases show that no renewal is late. */
START_TEST(looks_delay_no_renewal)
{
        enum { MANY = 200, LONG_MS = 6000 };
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("many");
        TEST_FREED char *last = test_format("%s%d", name, MANY - 1);
        long long start, least = LONG_MS;
        int s = 0;

        if (!server)
                return;
        DAEMON a = daemon_start(.flags = { "--mongo", server->uri, "--mongo-term", "6", "--mongo-layout",
                                           layouts[_i] });
        CLIENT ca = wire_connect(a);

        for (int i = 0; i < MANY; i++)
                s = wire_open(ca, "'%s%d', {backend: 'mongo', wait: 30000}", name, i);
        start = test_now_ms();
        while (test_now_ms() - start < 2 * LONG_MS) {
                for (int i = 1; i <= MANY; i += 10) {
                        long long left = lease(ca, i);

                        if (left < least)
                                least = left;
                }
                usleep(10000);
        }
        ck_assert_int_gt(least, LONG_MS / 3);
        change(server, _i, last, "session.update_one(it, {'$set': {'gramd_owner': 'somebody'}})");
        expect_lost(ca, s, test_now_ms(), LONG_MS);
}
END_TEST

int main(void)
{
        return test_program_repeated(
                "restored",
                (const TTest *const[]){
                        a_restored_session_is_lost,
                        an_older_document_that_was_not_seen_for_long_is_watched_anew,
                        a_dropped_session_is_lost, a_changed_owner_ends_the_session,
                        everything_restored_overlaps_for_two_terms_at_most, dropped_fences_stop_nobody,
                        a_deleted_session_is_created_at_once, a_session_of_an_older_gramd_is_taken_at_once,
                        a_copied_data_directory_is_another_host, without_its_lock_a_data_directory_is_two,
                        a_late_swap_does_not_land, looks_delay_no_renewal, NULL },
                2);
}
