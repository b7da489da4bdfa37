/*
 * The shared layout: what is stored where, that the server's collections do not grow with the sessions, and
 * how the two layouts live beside each other.
 */

#include <stdlib.h>
#include <string.h>

#include "../support/mongo_proxy.h"
#include "../support/mongo_server.h"
#include "../support/program.h"
#include "../support/wire.h"

#define START(uri, ...)                                                                                      \
        daemon_start(.flags = { "--backend", "mongo", "--mongo", uri, "--mongo-layout", __VA_ARGS__ })

/* Each test runs over both servers, on a daemon with the shared layout. */
#define SHARED_TEST(name)                                                                                    \
        static void name##_on(const struct mongo_server *server, struct daemon *d);                          \
        START_TEST(name)                                                                                     \
        {                                                                                                    \
                MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)_i);                       \
                if (server) {                                                                                \
                        DAEMON d = START(server->uri, "shared");                                             \
                        name##_on(server, d);                                                                \
                }                                                                                            \
        }                                                                                                    \
        END_TEST                                                                                             \
        static void name##_on(__attribute__((unused)) const struct mongo_server *server, struct daemon *d)

SHARED_TEST(documents_are_keyed_by_the_session)
{
        CLIENT c = wire_connect(d);
        TEST_FREED char *name = mongo_name("keyed");
        TEST_FREED char *text = NULL, *want = NULL;
        int s = wire_open(c, "'%s', {}", name);

        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect(c, "nil", "update_peers(%d, [[-5, 1, 'user', 'anna', '79'], [7, 2, 'user', nil, nil]])", s);
        expect(c, "nil", "update_usernames(%d, [[7, ['a/b']]])", s);
        expect(c, "nil", "update_states(%d, [[3, 1, 2, 3, nil]])", s);
        text = mongo_python(server,
                            "g = db['gramd']\n"
                            "print(g.session.find_one({'_id': names[0]})['dc_id'])\n"
                            "for n in ('peers', 'usernames', 'update_state'):\n"
                            "    print(n, [d['_id'] for d in g[n].find({'session': names[0]}).sort('_id')],\n"
                            "        sorted('+'.join(i['key']) for i in g[n].list_indexes()))\n"
                            "assert names[0] not in db.list_database_names()\n",
                            name, NULL);
        want = test_format("4\npeers ['%s/7ffffffffffffffb', '%s/8000000000000007'] "
                           "['_id', 'session+phone_number', 'session+username']\n"
                           "usernames ['%s/a/b'] ['_id', 'session+peer_id']\n"
                           "update_state ['%s/8000000000000003'] ['_id', 'session']\n",
                           name, name, name, name);
        ck_assert_str_eq(text, want);
}

SHARED_TEST(sessions_do_not_see_each_others_rows)
{
        CLIENT c = wire_connect(d);
        TEST_FREED char *name = mongo_name("one");
        int one = wire_open(c, "'%s', {}", name);
        int two = wire_open(c, "'%s2', {}", name);

        expect(c, "nil", "update_peers(%d, [[7, 1, 'user', 'anna', '79']])", one);
        expect(c, "nil", "update_usernames(%d, [[7, ['x', 'y']]])", one);
        expect(c, "nil", "update_states(%d, [[3, 1, 2, 3, nil]])", one);
        expect(c, "!not_found", "get_peer_by_id(%d, 7)", two);
        expect(c, "!not_found", "get_peer_by_username(%d, 'anna')", two);
        expect(c, "!not_found", "get_peer_by_username(%d, 'x')", two);
        expect(c, "!not_found", "get_peer_by_phone_number(%d, '79')", two);
        expect(c, "[]", "scan_peers(%d, nil, 9)", two);
        expect(c, "[]", "scan_usernames(%d, nil, 9)", two);
        expect(c, "nil", "update_peers(%d, [[7, 2, 'user', 'bob', nil], [8, 3, 'user', nil, nil]])", two);
        expect(c, "nil", "update_usernames(%d, [[8, ['x']]])", two);
        expect(c, "{...peers: 1...usernames: 2...}", "info(%d)", one);
        expect(c, "{...peers: 2...usernames: 1...}", "info(%d)", two);
        expect(c, "nil", "delete(%d)", two);
        expect(c, "[7, 1, ...]", "get_peer_by_username(%d, 'anna')", one);
        expect(c, "[['x', 7, ...], ['y', 7, ...]]", "scan_usernames(%d, nil, 9)", one);
        expect(c, "nil", "close(%d)", one);
        one = wire_open(c, "'%s', {create: false}", name);
        expect(c, "[[3, 1, 2, 3, nil]]", "get_states(%d)", one);
        two = wire_open(c, "'%s2', {}", name);
        expect(c, "[]", "scan_peers(%d, nil, 9)", two);
}

SHARED_TEST(collections_do_not_grow_with_the_sessions)
{
        static const char count[] = "print(len(db.list_database_names()), "
                                    "sorted(db['gramd'].list_collection_names()),\n"
                                    "    [len(list(db['gramd'][n].list_indexes())) for n in ('peers', "
                                    "'usernames', 'update_state')])\n";
        enum { SESSIONS = 200 };
        CLIENT c = wire_connect(d);
        TEST_FREED char *name = mongo_name("many");
        TEST_FREED char *before = NULL, *after = NULL;

        for (int i = 0; i <= (server->setup.kind == MONGO_FERRET ? SESSIONS / 10 : SESSIONS); i++) {
                int s = wire_open(c, "'%s-%d', {}", name, i);

                expect(c, "nil", "update_peers(%d, [[7, %d, 'user', 'anna', '79']])", s, i);
                expect(c, "nil", "update_usernames(%d, [[7, ['x']]])", s);
                expect(c, "nil", "update_states(%d, [[3, 1, 2, 3, nil]])", s);
                expect(c, "nil", "close(%d)", s);
                if (i == 0)
                        before = mongo_python(server, count, NULL);
        }
        after = mongo_python(server, count, NULL);
        ck_assert_str_eq(after, before);
}

SHARED_TEST(what_the_library_made_opens_in_place)
{
        static const char make[] = "import asyncio, motor.motor_asyncio\n"
                                   "from pyrogram.storage.mongo_storage import MongoStorage\n"
                                   "async def main():\n"
                                   "    client = motor.motor_asyncio.AsyncIOMotorClient(sys.argv[1])\n"
                                   "    s = MongoStorage(names[0], client, True)\n"
                                   "    await s.open()\n"
                                   "    await s.dc_id(4); await s.auth_key(b'k' * 256)\n"
                                   "    await s.update_peers([(7, 70, 'user', 'anna', '79')])\n"
                                   "asyncio.run(main())\n";
        static const char where[] =
                "d = db[names[0]]\n"
                "print(d.session.find_one({'_id': 0})['gramd_fence'] > 0, d.peers.count_documents({}),\n"
                "    db['gramd'].session.count_documents({'_id': names[0]}))\n";
        CLIENT c = wire_connect(d);
        TEST_FREED char *name = mongo_name("theirs");
        TEST_FREED char *text = NULL;
        int s;

        free(mongo_python(server, make, name, NULL));
        s = wire_open(c, "'%s', {}", name);
        expect(c, "[4, h'6b6b...']", "get(%d, ['dc_id', 'auth_key'])", s);
        expect(c, "[7, 70, ...]", "get_peer_by_username(%d, 'anna')", s);
        expect(c, "nil", "update_peers(%d, [[8, 80, 'user', nil, nil]])", s);
        text = mongo_python(server, where, name, NULL);
        ck_assert_str_eq(text, "True 2 0\n");
}

/* An answer of `sessions` has the names STEM-TAIL, one for each letter of `tails`, in this order. */
static void expect_names(const char *answer, const char *stem, const char *tails)
{
        const char *at = answer;

        for (; *tails; tails++) {
                TEST_FREED char *name = test_format("name: '%s-%c'", stem, *tails);

                at = strstr(at, "name: '");
                ck_assert_msg(at && strncmp(at, name, strlen(name)) == 0, "%s in %s", name, answer);
                at++;
        }
        ck_assert_msg(!strstr(at, "name: '"), "%s", answer);
}

SHARED_TEST(stored_sessions_are_found_in_either_layout)
{
        DAEMON own = START(server->uri, "own");
        CLIENT c = wire_connect(d);
        CLIENT o = wire_connect(own);
        TEST_FREED char *name = mongo_name("either");
        int s = wire_open(c, "'%s-b', {}", name);
        int t = wire_open(o, "'%s-a', {}", name);

        expect(c, "nil", "set(%d, {dc_id: 3})", s);
        expect(o, "nil", "set(%d, {dc_id: 5})", t);
        expect(c, "nil", "close(%d)", s);
        expect(o, "nil", "close(%d)", t);
        s = wire_open(c, "'%s-a', {create: false, wait: 20000}", name);
        t = wire_open(o, "'%s-b', {create: false, wait: 20000}", name);
        expect(c, "[5]", "get(%d, ['dc_id'])", s);
        expect(o, "[3]", "get(%d, ['dc_id'])", t);
        wire_open(c, "'%s-c', {}", name);
        wire_open(o, "'%s-d', {}", name);
        expect_names(wire_call(o, "sessions('%s-*')", name), name, "abcd");
        expect_names(wire_call(c, "sessions('%s-*', {after: '%s-a', limit: 2})", name, name), name, "bc");
        expect(c, "nil", "delete(%d)", s);
        expect(o, "nil", "delete(%d)", t);
        expect_names(wire_call(c, "sessions('%s-*')", name), name, "cd");
}

START_TEST(names_that_no_database_can_have)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        static const char *const names[] = { "admin", "gramd", "a.b c", "$x*" };

        if (!server)
                return;
        DAEMON d = START(server->uri, "shared");
        DAEMON own = START(server->uri, "own");
        CLIENT c = wire_connect(d);
        CLIENT o = wire_connect(own);

        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
                int s;

                expect(o, "!bad_request", "open('%s', {})", names[i]);
                s = wire_open(c, "'%s', {}", names[i]);
                expect(c, "nil", "close(%d)", s);
                s = wire_open(o, "'%s', {wait: 20000}", names[i]); /* it is stored: any daemon can have it */
                expect(o, "nil", "delete(%d)", s);
        }
        free(mongo_python(server, "assert 'gramd' in db.list_database_names()\n", NULL));
        expect(c, "[]", "sessions(nil)");
}
END_TEST

START_TEST(a_session_stored_twice_is_refused)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("twice");
        int s;

        if (!server)
                return;
        DAEMON d = START(server->uri, "shared");
        DAEMON own = START(server->uri, "own");
        CLIENT c = wire_connect(d);
        CLIENT o = wire_connect(own);

        s = wire_open(c, "'%s', {}", name);
        expect(c, "nil", "close(%d)", s);
        /* One that holds something, and that gramd has not made. */
        free(mongo_python(server,
                          "db[names[0]].session.insert_one({'_id': 0, 'dc_id': 4, 'auth_key': b'k'})\n", name,
                          NULL));
        expect(o, "!corrupt", "open('%s', {})", name);
        ck_assert_ptr_nonnull(strstr(wire_error_message(o), "stored twice"));
        free(mongo_python(server,
                          "assert db[names[0]].session.find_one({'_id': 0})['auth_key'] == b'k'\n"
                          "assert db['gramd'].session.find_one({'_id': names[0]})['gramd_fence'] > 0\n",
                          name, NULL));
}
END_TEST

/*
 * Both daemons have found the session in neither layout, and create it. (FerretDB does not compare and swap
 * in one step: two daemons can take one document.)
 */
START_TEST(two_that_create_one_session_agree)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("race");
        TEST_FREED char *text = NULL;
        enum { TRIES = 8 };

        if (!server || !mongo_server_is_ours(server, "a proxy"))
                return;
        MONGO_PROXY slow = mongo_proxy_new(server->port);
        MONGO_PROXY slower = mongo_proxy_new(server->port);
        TEST_FREED char *uri = mongo_proxy_uri(slow, NULL);
        TEST_FREED char *other = mongo_proxy_uri(slower, NULL);
        DAEMON d = START(uri, "shared");
        DAEMON own = START(other, "own");
        CLIENT c = wire_connect(d);
        CLIENT o = wire_connect(own);

        for (int i = 0; i < TRIES; i++) {
                uint32_t here, there;
                const char *answer;

                mongo_proxy_hold_at(slow, "insert");
                mongo_proxy_hold_at(slower, "insert");
                here = wire_send(c, "open('%s%d', {})", name, i);
                there = wire_send(o, "open('%s%d', {})", name, i);
                mongo_proxy_await(slow);
                mongo_proxy_await(slower);
                mongo_proxy_delay(slow, 20, 5, 40);
                mongo_proxy_delay(slower, 20, 5, 40);
                mongo_proxy_let_go(i % 2 ? slow : slower);
                mongo_proxy_let_go(i % 2 ? slower : slow);
                answer = wire_answer(c, here);
                ck_assert_msg(*answer == '{' || strcmp(answer, "!busy") == 0, "%s %s", answer,
                              wire_error_message(c));
                if (*answer == '{')
                        ck_assert_str_eq(wire_answer(o, there), "!busy");
                else
                        ck_assert_int_eq(*wire_answer(o, there), '{');
        }
        text = mongo_python(server,
                            "for i in range(8):\n"
                            "    n = names[0] + str(i)\n"
                            "    own = db[n].session.find_one({'_id': 0})\n"
                            "    shared = db['gramd'].session.find_one({'_id': n})\n"
                            "    assert (own is None) != (shared is None), (own, shared)\n"
                            "    assert (own or shared)['gramd_fence'] > 0\n",
                            name, NULL);
}
END_TEST

/* A hand or a backup gives a session to a daemon that does not have it. */
START_TEST(a_stray_is_released)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("stray");
        TEST_FREED char *other = mongo_name("kept");
        int s;

        if (!server)
                return;
        DAEMON a = START(server->uri, "shared", "--mongo-term", "2");
        CLIENT ca = wire_connect(a);

        s = wire_open(ca, "'%s', {}", other);
        wire_open(ca, "'%s', {}", name);
        expect(ca, "nil", "close(2)");
        free(mongo_python(server,
                          "import time\n"
                          "session, it = db['gramd'].session, {'_id': names[0]}\n"
                          "while 'gramd_owner' in session.find_one(it): time.sleep(0.02)\n"
                          "owner = db.gramd.instances.find_one()['_id']\n"
                          "session.update_one(it, {'$set': {'gramd_owner': owner}})\n",
                          name, NULL));
        DAEMON b = START(server->uri, "shared", "--mongo-term", "2");
        CLIENT cb = wire_connect(b);

        expect(cb, "!busy", "open('%s', {})", name);
        wire_open(cb, "'%s', {wait: 30000}", name);
        expect(ca, "nil", "set(%d, {user_id: 1})", s);
        expect(cb, "!busy", "open('%s', {})", other);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("shared");
        TCase *tcase = tcase_create("shared");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        suite_add_tcase(suite, tcase);
        tcase_add_loop_test(tcase, documents_are_keyed_by_the_session, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, sessions_do_not_see_each_others_rows, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, collections_do_not_grow_with_the_sessions, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, what_the_library_made_opens_in_place, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, stored_sessions_are_found_in_either_layout, 0, MONGO_KINDS);
        tcase_add_test(tcase, two_that_create_one_session_agree);
        tcase_add_test(tcase, a_stray_is_released);
        tcase_add_test(tcase, names_that_no_database_can_have);
        tcase_add_test(tcase, a_session_stored_twice_is_refused);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
