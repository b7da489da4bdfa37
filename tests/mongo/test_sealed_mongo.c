/* Sealed sessions on MongoDB, in both layouts: documents, keys of several hosts, and Pyrofork beside gramd.
 */

#include <stdlib.h>
#include <string.h>

#include "../support/command.h"
#include "../support/mongo_hosts.h"
#include "../support/program.h"

#define KEY "h'6b'*256"

/* A key file of this name with a new key on top, and a configuration that names it; malloc'ed. */
static char *keys(const char *name)
{
        TEST_FREED char *out = command("\"$BUILD/gramctl\" key new %s", name);
        TEST_FREED char *path = realpath(name, NULL);

        return test_format("[encryption]\nkey-file = %s\n", path);
}

static const char *layout_of(int i)
{
        return i / MONGO_KINDS ? "shared" : "own";
}

/* Each test runs over both servers and both layouts. */
#define SEALED_TEST(name)                                                                                    \
        static void name##_on(const struct mongo_server *server, const char *layout, const char *session);   \
        START_TEST(name)                                                                                     \
        {                                                                                                    \
                MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)(_i % MONGO_KINDS));       \
                TEST_FREED char *session = mongo_name("sealed");                                             \
                test_remove("key");                                                                          \
                test_remove("other");                                                                        \
                if (server)                                                                                  \
                        name##_on(server, layout_of(_i), session);                                           \
        }                                                                                                    \
        END_TEST                                                                                             \
        static void name##_on(const struct mongo_server *server, const char *layout, const char *session)

#define START(config_text, ...)                                                                              \
        daemon_start(.config = config_text, .flags = { "--backend", "mongo", "--mongo", server->uri,         \
                                                       "--mongo-layout", layout, __VA_ARGS__ })

static void refuses(struct daemon *d, const char *session, const char *code, const char *why)
{
        CLIENT c = wire_connect(d);

        expect(c, code, "open('%s', {})", session);
        ck_assert_msg(strstr(wire_error_message(c), why), "%s", wire_error_message(c));
}

static void has_key(struct daemon *d, const char *session, const char *key)
{
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        expect(c, key, "get(%d, ['auth_key'])", s);
        expect(c, "nil", "close(%d)", s);
}

SEALED_TEST(a_new_session_is_sealed)
{
        TEST_FREED char *config = keys("key");
        TEST_FREED char *other = keys("other");
        DAEMON d = START(config, NULL);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);
        TEST_FREED char *text = NULL;

        expect(c, "{...sealed: ...}", "info(%d)", s);
        expect(c, "nil", "set(%d, {auth_key: " KEY "})", s);
        expect(c, "[h'6b6b...']", "get(%d, ['auth_key'])", s);
        expect(c, "nil", "close(%d)", s);
        text = mongo_python(server,
                            "c, f = document(names[0])\n"
                            "d = c.find_one(f)\n"
                            "print(d['auth_key'], len(d['gramd_id']), len(d['gramd_sealed']))\n",
                            session, NULL);
        ck_assert_str_eq(text, "b'' 16 305\n");
        has_key(d, session, "[h'6b6b...']");
        daemon_reload(d, other);
        refuses(d, session, "!storage", "which this daemon does not have");
        daemon_reload(d, config);
        has_key(d, session, "[h'6b6b...']");
        free(mongo_python(server,
                          "c, f = document(names[0])\n"
                          "c.update_one(f, {'$set': {'gramd_id': b'0' * 16}})\n",
                          session, NULL));
        refuses(d, session, "!corrupt", "its sealed key was changed");
        free(mongo_python(server,
                          "c, f = document(names[0])\n"
                          "c.update_one(f, {'$set': {'gramd_sealed': b'0' * 9}})\n",
                          session, NULL));
        refuses(d, session, "!corrupt", "damaged");
}

SEALED_TEST(a_key_of_the_library_wins_and_is_sealed)
{
        TEST_FREED char *config = keys("key");
        DAEMON d = START(config, NULL);

        {
                CLIENT c = wire_connect(d);
                int s = wire_open(c, "'%s', {}", session);

                expect(c, "nil", "set(%d, {auth_key: h'61'*256})", s);
                expect(c, "nil", "close(%d)", s);
        }
        free(mongo_python(server,
                          "c, f = document(names[0])\n"
                          "c.update_one(f, {'$set': {'auth_key': b'k' * 256}})\n",
                          session, NULL));
        has_key(d, session, "[h'6b6b...']");
        TEST_FREED char *text = mongo_python(server,
                                             "c, f = document(names[0])\n"
                                             "print(c.find_one(f)['auth_key'])\n",
                                             session, NULL);
        ck_assert_str_eq(text, "b''\n");
        has_key(d, session, "[h'6b6b...']");
}

/* The library has logged in anew, and the daemon gets its keys only when the session is open. */
SEALED_TEST(a_key_of_the_library_is_sealed_on_request)
{
        static const char *const requests[] = { "seal", "rotate" };
        TEST_FREED char *config = keys("key");

        for (int i = 0; i < 2; i++) {
                DAEMON sealing = START(config, NULL);

                {
                        CLIENT c = wire_connect(sealing);
                        int s = wire_open(c, "'%s', {}", session);

                        expect(c, "nil", "set(%d, {auth_key: h'61'*256})", s);
                        expect(c, "nil", "close(%d)", s);
                }
                daemon_stop(sealing);
                free(mongo_python(server,
                                  "c, f = document(names[0])\n"
                                  "c.update_one(f, {'$set': {'auth_key': b'k' * 256}})\n",
                                  session, NULL));
                DAEMON d = START("", NULL);
                CLIENT c = wire_connect(d);
                int s = wire_open(c, "'%s', {}", session);

                expect(c, "[h'6b6b...']", "get(%d, ['auth_key'])", s);
                ck_assert_ptr_null(strstr(wire_call(c, "info(%d)", s), " sealed: "));
                daemon_reload(d, config);
                expect(c, "nil", "%s(%d)", requests[i], s);
                TEST_FREED char *text = mongo_python(server,
                                                     "c, f = document(names[0])\n"
                                                     "print(c.find_one(f)['auth_key'])\n",
                                                     session, NULL);
                ck_assert_str_eq(text, "b''\n");
                expect(c, "nil", "close(%d)", s);
                has_key(d, session, "[h'6b6b...']");
        }
}

SEALED_TEST(a_plain_session_is_sealed_and_unsealed)
{
        TEST_FREED char *config = keys("key");
        TEST_FREED char *strict = test_format("%srequire-sealed = yes\n", config);
        DAEMON d = START("", NULL);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        expect(c, "nil", "set(%d, {auth_key: " KEY "})", s);
        expect(c, "!bad_request", "seal(%d)", s);
        daemon_reload(d, config);
        expect(c, "nil", "seal(%d)", s);
        expect(c, "nil", "seal(%d)", s);
        expect(c, "{...sealed: ...}", "info(%d)", s);
        expect(c, "nil", "close(%d)", s);
        TEST_FREED char *text = mongo_python(server,
                                             "c, f = document(names[0])\n"
                                             "print(c.find_one(f)['auth_key'])\n",
                                             session, NULL);
        ck_assert_str_eq(text, "b''\n");
        s = wire_open(c, "'%s', {}", session);
        expect(c, "[h'6b6b...']", "get(%d, ['auth_key'])", s);
        expect(c, "nil", "unseal(%d)", s);
        expect(c, "nil", "close(%d)", s);
        TEST_FREED char *plain = mongo_python(server,
                                              "c, f = document(names[0])\n"
                                              "d = c.find_one(f)\n"
                                              "print(d['auth_key'][:2], d['gramd_sealed'])\n",
                                              session, NULL);
        ck_assert_str_eq(plain, "b'kk' None\n");
        has_key(d, session, "[h'6b6b...']");
        daemon_stop(d);
        test_write_file(d->config, strict, strlen(strict));
        daemon_resume(d);
        refuses(d, session, "!storage", "require-sealed is set");
        {
                CLIENT again = wire_connect(d);

                wire_open(again, "'%s', {seal: true}", session);
        }
        TEST_FREED char *sealed = mongo_python(server,
                                               "c, f = document(names[0])\n"
                                               "print(c.find_one(f)['auth_key'])\n",
                                               session, NULL);
        ck_assert_str_eq(sealed, "b''\n");
}

/* A rotation needs the key on every live host; a dead one does not count. */
SEALED_TEST(a_host_without_the_key_stops_a_rotation)
{
        TEST_FREED char *config = keys("key");
        TEST_FREED char *old = command("cp key old; chmod 600 old; realpath old | tr -d '\\n'");
        TEST_FREED char *config_old = test_format("[encryption]\nkey-file = %s\n", old);
        DAEMON a = START(config, "--mongo-term", "3");
        DAEMON b = START(config_old, "--mongo-term", "3");
        CLIENT c = wire_connect(a);
        int s = wire_open(c, "'%s', {}", session);

        expect(c, "nil", "set(%d, {auth_key: " KEY "})", s);
        free(keys("key"));
        daemon_reload(a, config);
        expect(c, "!storage", "rotate(%d)", s);
        ck_assert_msg(strstr(wire_error_message(c), "does not have key"), "%s", wire_error_message(c));
        daemon_kill(b);
        expect(c, "nil", "rotate(%d)", s);
        expect(c, "nil", "close(%d)", s);
        has_key(a, session, "[h'6b6b...']");
        daemon_resume(b);
        refuses(b, session, "!storage", "which this daemon does not have");
        daemon_reload(b, config);
        has_key(b, session, "[h'6b6b...']");
        test_remove("old");
}

/* Each rotation asks anew: a host without the key may start at any time. */
SEALED_TEST(a_host_that_starts_without_the_key_stops_a_rotation)
{
        TEST_FREED char *config = keys("key");
        TEST_FREED char *old = command("cp key old; chmod 600 old; realpath old | tr -d '\\n'");
        TEST_FREED char *config_old = test_format("[encryption]\nkey-file = %s\n", old);
        DAEMON a = START(config, "--mongo-term", "3");
        CLIENT c = wire_connect(a);
        int first = wire_open(c, "'%s', {}", session);
        int second = wire_open(c, "'%s-2', {}", session);

        expect(c, "nil", "set(%d, {auth_key: " KEY "})", first);
        expect(c, "nil", "set(%d, {auth_key: " KEY "})", second);
        free(keys("key"));
        daemon_reload(a, config);
        expect(c, "nil", "rotate(%d)", first);
        {
                DAEMON b = START(config_old, "--mongo-term", "3");
                CLIENT other = wire_connect(b);

                wire_open(other, "'%s-3', {}", session); /* by now its document is there */
                expect(c, "!storage", "rotate(%d)", second);
                ck_assert_msg(strstr(wire_error_message(c), "does not have key"), "%s",
                              wire_error_message(c));
        }
        expect(c, "nil", "rotate(%d)", second);
        test_remove("old");
}

int main(void)
{
        Suite *suite = suite_create("sealed on mongo");
        TCase *tcase = tcase_create("sealed");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        suite_add_tcase(suite, tcase);
        tcase_add_loop_test(tcase, a_new_session_is_sealed, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, a_key_of_the_library_wins_and_is_sealed, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, a_key_of_the_library_is_sealed_on_request, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, a_plain_session_is_sealed_and_unsealed, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, a_host_without_the_key_stops_a_rotation, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, a_host_that_starts_without_the_key_stops_a_rotation, 0, 2 * MONGO_KINDS);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
