/*
 * Sealed sessions on MongoDB, in both layouts: documents, values of the key-value area, keys of several
 * hosts, and Pyrofork beside gramd.
 */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/command.h"
#include "../support/mongo_hosts.h"
#include "../support/mongo_proxy.h"
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

#define START_AT(uri, config_text, ...)                                                                      \
        daemon_start(.config = config_text, .flags = { "--backend", "mongo", "--mongo", uri,                 \
                                                       "--mongo-layout", layout, __VA_ARGS__ })
#define START(...) START_AT(server->uri, __VA_ARGS__)

/* Declares `proxy` and its `uri`, or ends the test: the server at GRAMD_TEST_MONGO may not be disturbed. */
#define THROUGH_A_PROXY(why)                                                                                 \
        if (!mongo_server_is_ours(server, why))                                                              \
                return;                                                                                      \
        MONGO_PROXY proxy = mongo_proxy_new(server->port);                                                   \
        TEST_FREED char *uri = mongo_proxy_uri(proxy, NULL)

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

/* So many instances of former starts, with this term. */
static void leave_dead(const struct mongo_server *server, int n, const char *term_ms)
{
        TEST_FREED char *count = test_format("%d", n);

        free(mongo_python(server,
                          "db['gramd']['instances'].insert_many([{'_id': f'{i:032x}', 'host': 'gone', "
                          "'counter': 1, 'term_ms': int(names[1])} for i in range(int(names[0]))])\n",
                          count, term_ms, NULL));
}

/* What former instances have left does not hide it. */
SEALED_TEST(a_host_without_the_key_is_found_among_many_dead_ones)
{
        TEST_FREED char *config = keys("key");
        TEST_FREED char *old = command("cp key old; chmod 600 old; realpath old | tr -d '\\n'");
        TEST_FREED char *config_old = test_format("[encryption]\nkey-file = %s\n", old);

        leave_dead(server, 40, "3000");
        DAEMON a = START(config, "--mongo-term", "3");
        DAEMON b = START(config_old, "--mongo-term", "3");
        CLIENT c = wire_connect(a);
        CLIENT other = wire_connect(b);
        int s = wire_open(c, "'%s', {}", session);

        wire_open(other, "'%s-2', {}", session); /* by now its document is there */
        expect(c, "nil", "set(%d, {auth_key: " KEY "})", s);
        free(keys("key"));
        daemon_reload(a, config);
        expect(c, "!storage", "rotate(%d)", s);
        ck_assert_msg(strstr(wire_error_message(c), "does not have key"), "%s", wire_error_message(c));
        daemon_kill(b);
        expect(c, "nil", "rotate(%d)", s);
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

/* ---- the key-value area ---- */

enum { VALUES = 60 }; /* more than are converted at once */

static void set_values(struct wire *c, int s)
{
        TEST_FREED char *rows = test_format("%s", "");

        for (int i = 0; i < VALUES; i++) {
                char *longer = test_format("%s['k%02d', h'6b6b6b6b%02x'], ", rows, i, i);

                free(rows);
                rows = longer;
        }
        expect(c, "nil", "kv_set(%d, [%s])", s, rows);
}

static void has_values(struct wire *c, int s)
{
        expect(c, "[h'6b6b6b6b00', h'6b6b6b6b3b', nil]", "kv_get(%d, ['k00', 'k59', 'k60'])", s);
        expect(c, "[['k58', h'6b6b6b6b3a'], ['k59', h'6b6b6b6b3b']]", "kv_scan(%d, 'k', 'k57', 1000)", s);
}

/* How many values the server has in the clear, how many are sealed, and with how many keys; are they mixed?
 */
static void stores(const struct mongo_server *server, const char *session, const char *expected)
{
        TEST_FREED char *text = mongo_python(
                server,
                "c, f = document(names[0])\n"
                "kv = list(c.database['gramd_kv'].find({} if f['_id'] == 0 else {'session': names[0]}))\n"
                "clear = sum(d.get('value', b'').startswith(b'kkkk') for d in kv)\n"
                "print(clear, sum('sealed' in d for d in kv), len({d.get('sealed_by') for d in kv} - "
                "{None}),\n"
                "      bool(c.find_one(f).get('gramd_kv_mixed')))\n",
                session, NULL);

        ck_assert_str_eq(text, expected);
}

/* The text after `sealed: ` in the answer to `info`. */
static char *sealed_with(struct wire *c, int s)
{
        const char *at = strstr(wire_call(c, "info(%d)", s), "sealed: ");

        ck_assert_ptr_nonnull(at);
        return strndup(at + strlen("sealed: '"), 16);
}

SEALED_TEST(values_are_sealed_with_the_session)
{
        TEST_FREED char *config = keys("key");
        DAEMON d = START("", NULL);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        set_values(c, s);
        stores(server, session, "60 0 0 False\n");
        daemon_reload(d, config);
        expect(c, "nil", "seal(%d)", s);
        stores(server, session, "0 60 1 False\n");
        has_values(c, s);
        expect(c, "[true, h'01']", "kv_swap(%d, 'k00', h'6b6b6b6b00', h'01')", s);
        expect(c, "[false, h'01']", "kv_swap(%d, 'k00', h'02', h'03')", s);
        expect(c, "[true, h'6b6b6b6b00']", "kv_swap(%d, 'k00', h'01', h'6b6b6b6b00')", s);

        TEST_FREED char *former = sealed_with(c, s);
        TEST_FREED char *fresh = keys("key");

        daemon_reload(d, fresh);
        has_values(c, s);
        expect(c, "nil", "kv_set(%d, [['k59', h'6b6b6b6b3b']])", s);
        stores(server, session, "0 60 2 False\n");
        TEST_FREED char *still = sealed_with(c, s);
        ck_assert_str_eq(still, former);
        expect(c, "nil", "rotate(%d)", s);
        stores(server, session, "0 60 1 False\n");
        TEST_FREED char *now = sealed_with(c, s);
        ck_assert_str_ne(now, former);
        has_values(c, s);
        expect(c, "nil", "close(%d)", s);
        s = wire_open(c, "'%s', {}", session);
        has_values(c, s);
        expect(c, "nil", "unseal(%d)", s);
        stores(server, session, "60 0 0 False\n");
        has_values(c, s);
}

/* `info` does not ask the server for values that a former key has sealed. */
static void knows_its_values(struct mongo_proxy *proxy, struct wire *c, int s, const char *key)
{
        TEST_FREED char *sealed = NULL;

        mongo_proxy_hold_at(proxy, "sealed_by");
        sealed = sealed_with(c, s);
        ck_assert_str_eq(sealed, key);
        mongo_proxy_let_go(proxy);
}

SEALED_TEST(values_of_a_former_key_are_looked_for_once)
{
        TEST_FREED char *config = keys("key");

        THROUGH_A_PROXY("what the server is asked");
        DAEMON d = START_AT(uri, config, NULL);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        set_values(c, s);
        TEST_FREED char *former = sealed_with(c, s);
        knows_its_values(proxy, c, s, former);
        TEST_FREED char *fresh = keys("key");
        daemon_reload(d, fresh);
        TEST_FREED char *still = sealed_with(c, s);
        ck_assert_str_eq(still, former);
        expect(c, "nil", "rotate(%d)", s);
        TEST_FREED char *now = sealed_with(c, s);
        ck_assert_str_ne(now, former);
        knows_its_values(proxy, c, s, now);
}

/* Hosts were not asked about that one. */
SEALED_TEST(a_key_that_comes_while_values_are_sealed_anew_ends_that)
{
        TEST_FREED char *config = keys("key");
        uint32_t id;
        unsigned pieces;

        THROUGH_A_PROXY("a reload in the middle of a rotation");
        DAEMON d = START_AT(uri, config, NULL);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        set_values(c, s);
        leave_dead(server, 1, "8000");
        free(keys("key"));
        daemon_reload(d, config);
        pieces = mongo_proxy_pieces(proxy);
        id = wire_send(c, "rotate(%d)", s);
        while (mongo_proxy_pieces(proxy) < pieces + 8) /* while it watches that one, for 4 s */
                usleep(10000);
        free(keys("key"));
        daemon_reload(d, config);
        expect_text(wire_answer(c, id), "!storage");

        mongo_proxy_hold_at(proxy, "sealed_by");
        id = wire_send(c, "rotate(%d)", s);
        mongo_proxy_await(proxy);
        free(keys("key"));
        daemon_reload(d, config);
        mongo_proxy_let_go(proxy);
        expect_text(wire_answer(c, id), "!storage");
        has_values(c, s);
        expect(c, "nil", "rotate(%d)", s);
        stores(server, session, "0 60 1 False\n");
        has_values(c, s);
}

SEALED_TEST(a_value_that_was_copied_or_planted_is_refused)
{
        TEST_FREED char *config = keys("key");
        DAEMON d = START(config, NULL);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        expect(c, "nil", "kv_set(%d, [['a', h'01'], ['b', h'02'], ['c', h'03']])", s);
        free(mongo_python(
                server,
                "c, f = document(names[0])\n"
                "kv = c.database['gramd_kv']\n"
                "id = '' if f['_id'] == 0 else names[0] + '/'\n"
                "copy = kv.find_one({'_id': id + '61'})['sealed']\n"
                "kv.update_one({'_id': id + '62'}, {'$set': {'sealed': copy}})\n"
                "kv.update_one({'_id': id + '63'}, {'$set': {'value': b'3'}, '$unset': {'sealed': ''}})\n",
                session, NULL));
        expect(c, "[h'01']", "kv_get(%d, ['a'])", s);
        expect(c, "!corrupt", "kv_get(%d, ['b'])", s);
        expect(c, "!corrupt", "kv_get(%d, ['c'])", s);
        expect(c, "!corrupt", "kv_swap(%d, 'b', h'02', h'03')", s);
        expect(c, "[['a', h'01']]", "kv_scan(%d, '', nil, 10)", s);
        expect(c, "!corrupt", "kv_scan(%d, '', 'a', 10)", s);
        expect(c, "!corrupt", "kv_scan(%d, '', 'b', 10)", s);
        expect(c, "[]", "kv_scan(%d, '', 'c', 10)", s);
        expect(c, "nil", "kv_set(%d, [['b', h'04'], ['c', h'05']])", s);
        expect(c, "[h'01', h'04', h'05']", "kv_get(%d, ['a', 'b', 'c'])", s);
}

/* The daemon is killed in the middle. The next open seals what is in the clear, whatever was under way. */
SEALED_TEST(a_change_that_was_interrupted_goes_on)
{
        static const char *const requests[] = { "seal", "unseal" };
        TEST_FREED char *config = keys("key");
        int s;

        THROUGH_A_PROXY("an interrupted change");
        DAEMON d = START_AT(uri, "", NULL);
        {
                CLIENT c = wire_connect(d);

                s = wire_open(c, "'%s', {}", session);
                set_values(c, s);
        }
        daemon_reload(d, config);
        for (int i = 0; i < 2; i++) {
                CLIENT c = wire_connect(d);

                s = wire_open(c, "'%s', {}", session);
                mongo_proxy_hold_at(proxy, i ? "kkkk" : "sealed_by");
                wire_send(c, "%s(%d)", requests[i], s);
                mongo_proxy_await(proxy);
                daemon_kill(d);
                mongo_proxy_let_go(proxy);
                daemon_resume(d);
                CLIENT again = wire_connect(d);

                s = wire_open(again, "'%s', {wait: 60000}", session);
                stores(server, session, "0 60 1 False\n");
                has_values(again, s);
        }
        CLIENT c = wire_connect(d);

        s = wire_open(c, "'%s', {}", session);
        expect(c, "nil", "unseal(%d)", s);
        stores(server, session, "60 0 0 False\n");
        has_values(c, s);
}

int main(void)
{
        Suite *suite = suite_create("sealed on mongo");
        TCase *tcase = tcase_create("sealed");
        TCase *values = tcase_create("values");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        suite_add_tcase(suite, tcase);
        tcase_add_loop_test(tcase, a_new_session_is_sealed, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, a_key_of_the_library_wins_and_is_sealed, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, a_key_of_the_library_is_sealed_on_request, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, a_plain_session_is_sealed_and_unsealed, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, a_host_without_the_key_stops_a_rotation, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, a_host_without_the_key_is_found_among_many_dead_ones, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, a_host_that_starts_without_the_key_stops_a_rotation, 0, 2 * MONGO_KINDS);
        suite_add_tcase(suite, values);
        tcase_set_timeout(values, TEST_TIMEOUT_S);
        tcase_add_loop_test(values, values_are_sealed_with_the_session, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(values, values_of_a_former_key_are_looked_for_once, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(values, a_key_that_comes_while_values_are_sealed_anew_ends_that, 0,
                            2 * MONGO_KINDS);
        tcase_add_loop_test(values, a_value_that_was_copied_or_planted_is_refused, 0, 2 * MONGO_KINDS);
        /* On FerretDB the killed daemon's last command may win. */
        test_skipped("an interrupted change on FerretDB", "a server whose compare-and-swap is one step");
        for (int layout = 0; layout < 2; layout++) {
                int i = layout * MONGO_KINDS + MONGO_SECANTUS;

                tcase_add_loop_test(values, a_change_that_was_interrupted_goes_on, i, i + 1);
        }
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
