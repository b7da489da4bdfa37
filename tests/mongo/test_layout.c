/* The layout in the database is the library's, whether gramd or the library has made it; names; indexes. */

#include <stdlib.h>
#include <string.h>

#include "../support/mongo_server.h"
#include "../support/program.h"
#include "../support/wire.h"

/* Each test runs over both servers. */
#define LAYOUT_TEST(name)                                                                                    \
        static void name##_on(const struct mongo_server *server, struct daemon *d);                          \
        START_TEST(name)                                                                                     \
        {                                                                                                    \
                MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)_i);                       \
                if (server) {                                                                                \
                        DAEMON d = daemon_start(.flags = { "--mongo", server->uri });                        \
                        name##_on(server, d);                                                                \
                }                                                                                            \
        }                                                                                                    \
        END_TEST                                                                                             \
        static void name##_on(__attribute__((unused)) const struct mongo_server *server, struct daemon *d)

static int open_mongo(struct wire *c, const char *name)
{
        return wire_open(c, "'%s', {backend: 'mongo'}", name);
}

LAYOUT_TEST(a_new_session_is_as_the_library_makes_it)
{
        CLIENT c = wire_connect(d);
        TEST_FREED char *name = mongo_name("new");
        int s = open_mongo(c, name);
        TEST_FREED char *text = NULL;

        expect(c, "[2, nil, nil, nil, 0, nil, nil, nil, nil, nil]",
               "get(%d, ['dc_id', 'api_id', 'test_mode', 'auth_key', 'date', 'user_id', 'is_bot', "
               "'server_address', 'port', 'takeout_id'])",
               s);
        text = mongo_python(server,
                            "d = db[names[0]].session.find_one({'_id': 0})\n"
                            "print({k: v for k, v in d.items() if not k.startswith('gramd_')})\n"
                            "print(sorted(sum((list(i['key']) for n in ('peers', 'usernames')\n"
                            "    for i in db[names[0]][n].list_indexes()), [])))\n",
                            name, NULL);
        ck_assert_str_eq(text, "{'_id': 0, 'dc_id': 2, 'api_id': None, 'test_mode': None, 'auth_key': b'', "
                               "'date': 0, 'user_id': 0, 'is_bot': 0}\n"
                               "['_id', '_id', 'peer_id', 'phone_number', 'username']\n");
}

LAYOUT_TEST(fields_that_the_layout_lacks_are_kept_beside)
{
        CLIENT c = wire_connect(d);
        TEST_FREED char *name = mongo_name("beside");
        int s = open_mongo(c, name);

        expect(c, "nil", "set(%d, {server_address: '1.2.3.4', port: 443, takeout_id: -5})", s);
        expect(c, "nil", "set(%d, {user_id: 0})", s);
        expect(c, "[0, nil, '1.2.3.4', 443, -5]",
               "get(%d, ['user_id', 'is_bot', 'server_address', 'port', 'takeout_id'])", s);
        expect(c, "nil", "close(%d)", s);
        daemon_stop(d);
        daemon_resume(d);
        CLIENT again = wire_connect(d);

        s = open_mongo(again, name);
        expect(again, "[0, nil, '1.2.3.4', 443, -5]",
               "get(%d, ['user_id', 'is_bot', 'server_address', 'port', 'takeout_id'])", s);
}

/* Pyrofork itself, on its real driver. */
static const char library[] =
        "import asyncio, motor.motor_asyncio\n"
        "from pyrogram.storage.mongo_storage import MongoStorage\n"
        "async def main():\n"
        "    s = MongoStorage(names[0], motor.motor_asyncio.AsyncIOMotorClient(sys.argv[1]), True)\n"
        "    await s.open()\n"
        "    %s\n"
        "asyncio.run(main())\n";

LAYOUT_TEST(what_the_library_wrote_is_read)
{
        CLIENT c = wire_connect(d);
        TEST_FREED char *name = mongo_name("theirs");
        TEST_FREED char *script = test_format(
                library, "await s.dc_id(4); await s.api_id(7); await s.test_mode(False); await "
                         "s.auth_key(b'k' * 256); await s.user_id(77); await s.is_bot(True)\n"
                         "    await s.update_peers([(7, 70, 'user', 'anna', '79'), (-1000000000008, "
                         "2 ** 62, 'channel', None, None)])\n"
                         "    await s.update_usernames([(7, 'x'), (7, 'y')])\n"
                         "    await s.update_state((5, 1, 2, 3, None))\n");
        int s;

        free(mongo_python(server, script, name, NULL));
        s = open_mongo(c, name);
        expect(c, "[4, 7, false, 77, true, 0]",
               "get(%d, ['dc_id', 'api_id', 'test_mode', 'user_id', 'is_bot', 'date'])", s);
        expect(c, "[h'6b6b...']", "get(%d, ['auth_key'])", s);
        expect(c, "[7, 70, 'user', 'anna', '79', ...]", "get_peer_by_username(%d, 'anna')", s);
        expect(c, "[7, 70, 'user', 'anna', '79', ...]", "get_peer_by_username(%d, 'y')", s);
        expect(c, "[7, 70, 'user', 'anna', '79', ...]", "get_peer_by_phone_number(%d, '79')", s);
        expect(c, "[-1000000000008, 4611686018427387904, 'channel', nil, nil, ...]",
               "get_peer_by_id(%d, -1000000000008)", s);
        expect(c, "[[5, 1, 2, 3, nil]]", "get_states(%d)", s);
        expect(c, "nil", "update_peers(%d, [[7, 71, 'user', 'anna', '79']])", s);
        expect(c, "{...peers: 2...}", "info(%d)", s);
}

LAYOUT_TEST(the_library_reads_what_was_written)
{
        CLIENT c = wire_connect(d);
        TEST_FREED char *name = mongo_name("ours");
        TEST_FREED char *text = NULL;
        TEST_FREED char *script = test_format(
                library, "print(await s.dc_id(), await s.api_id(), await s.test_mode(), "
                         "(await s.auth_key())[:2], await s.user_id(), await s.is_bot())\n"
                         "    print(await s.get_peer_by_id(7), await s.get_peer_by_username('bob'))\n"
                         "    print((await s.get_peer_by_username('x')).user_id, (await "
                         "s.get_peer_by_phone_number('+1')).user_id)\n"
                         "    print(await s.update_state())\n"
                         "    await s.update_peers([(8, 81, 'user', 'bob', '+1')])\n"
                         "    await s.update_usernames([(8, 'x')])\n"
                         "    await s.update_state(5); await s.is_bot(False)\n");
        int s = open_mongo(c, name);

        expect(c, "nil",
               "set(%d, {dc_id: 5, api_id: 9, test_mode: true, auth_key: h'61'*256, user_id: 6, is_bot: "
               "true})",
               s);
        expect(c, "nil", "update_peers(%d, [[7, 70, 'channel', nil, nil], [8, 80, 'user', 'bob', '+1']])", s);
        expect(c, "nil", "update_usernames(%d, [[8, ['x', 'y']]])", s);
        expect(c, "nil", "update_states(%d, [[5, 1, 2, 3, nil]])", s);
        expect(c, "nil", "close(%d)", s);
        daemon_stop(d);
        text = mongo_python(server, script, name, NULL);
        ck_assert_msg(strstr(text, "5 9 True b'aa' 6 True\n"), "%s", text);
        ck_assert_msg(strstr(text, "\n8 8\n[[5, 1, 2, 3, None]]\n"), "%s", text);
        daemon_resume(d);
        CLIENT again = wire_connect(d);

        s = open_mongo(again, name);
        expect(again, "[false]", "get(%d, ['is_bot'])", s);
        expect(again, "[8, 81, ...]", "get_peer_by_id(%d, 8)", s);
        expect(again, "[]", "get_states(%d)", s);
        expect(again, "[['x', 8, ...]]", "scan_usernames(%d, nil, 9)", s);
        expect(again, "nil", "update_usernames(%d, [[7, ['x', 'z']]])", s);
        expect(again, "[['x', 7, ...], ['z', 7, ...]]", "scan_usernames(%d, nil, 9)", s);
}

LAYOUT_TEST(deleting_keeps_what_is_asked_for)
{
        CLIENT c = wire_connect(d);
        TEST_FREED char *name = mongo_name("gone");
        int s = open_mongo(c, name);
        long long fence;

        expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', nil]])", s);
        expect(c, "nil", "update_states(%d, [[5, 1, 2, 3, nil]])", s);
        fence = wire_number(wire_call(c, "info(%d)", s), "fence");
        expect(c, "nil", "delete(%d, {remove_peers: false})", s);
        expect(c, "!not_found", "open('%s', {backend: 'mongo', create: false})", name);
        s = open_mongo(c, name);
        ck_assert_int_gt(wire_number(wire_call(c, "info(%d)", s), "fence"), fence);
        expect(c, "[7, ...]", "get_peer_by_id(%d, 7)", s);
        expect(c, "[]", "get_states(%d)", s);
        expect(c, "nil", "update_peers(%d, [[7, 71, 'user', 'anna', nil]])", s);
        expect(c, "nil", "delete(%d)", s);
        s = open_mongo(c, name);
        expect(c, "!not_found", "get_peer_by_id(%d, 7)", s);
}

LAYOUT_TEST(databases_that_are_no_sessions_are_left_alone)
{
        CLIENT c = wire_connect(d);
        TEST_FREED char *name = mongo_name("shop");

        free(mongo_python(server, "db[names[0]].orders.insert_one({'_id': 1})\n", name, NULL));
        expect(c, "!bad_request", "open('%s', {backend: 'mongo'})", name);
        expect(c, "!bad_request", "open('%s', {backend: 'mongo', create: false})", name);
        ck_assert_ptr_nonnull(strstr(wire_error_message(c), "is not a session"));
        expect(c, "!bad_request", "open('admin', {backend: 'mongo'})");
        expect(c, "!bad_request", "open('gramd', {backend: 'mongo'})");
        expect(c, "!bad_request", "open('a.b', {backend: 'mongo'})");
        expect(c, "!bad_request", "open('%s', {backend: 'mongo'})",
               "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn");
        expect(c, "!bad_request", "open('fine', {backend: 'mongo', dialect: 'esperanto'})");
        expect(c, "{...dialect: 'mongo'...}", "open('%s-2', {backend: 'mongo', dialect: 'pyrofork'})", name);
}

START_TEST(names_have_the_prefix)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *prefix = mongo_name("p");

        if (!server)
                return;
        DAEMON d = daemon_start(.flags = { "--mongo", server->uri, "--mongo-prefix", prefix, "--backend",
                                           "mongo" });
        CLIENT c = wire_connect(d);

        wire_open(c, "'anna', {}");
        expect(c, "[{...name: 'anna'...}]", "sessions(nil)");
        free(mongo_python(server, "assert db[names[0] + 'anna'].session.find_one({'_id': 0})['dc_id'] == 2\n",
                          prefix, NULL));
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("layout");
        TCase *tcase = tcase_create("layout");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        suite_add_tcase(suite, tcase);
        tcase_add_loop_test(tcase, a_new_session_is_as_the_library_makes_it, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, fields_that_the_layout_lacks_are_kept_beside, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, what_the_library_wrote_is_read, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, the_library_reads_what_was_written, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, deleting_keeps_what_is_asked_for, 0, MONGO_KINDS);
        tcase_add_loop_test(tcase, databases_that_are_no_sessions_are_left_alone, 0, MONGO_KINDS);
        tcase_add_test(tcase, names_have_the_prefix);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
