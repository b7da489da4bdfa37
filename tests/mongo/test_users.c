/*
 * Whose session it is, on MongoDB: stored by name in its document, looked at before the session is taken.
 * Root is needed to connect as another user. The users are those that each system has: `daemon` and `bin`.
 */

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/mongo_hosts.h"
#include "../support/program.h"
#include "../support/wire.h"

enum { GROUP = 54322 };

static uid_t uid_of(const char *name)
{
        const struct passwd *user = getpwnam(name);

        ck_assert_ptr_nonnull(user);
        return user->pw_uid;
}

static struct wire *as(struct daemon *d, const char *user)
{
        struct wire *c = wire_connect_stranger(d, uid_of(user), GROUP);

        expect(c, "{...}", "hello({features: ['owner']})");
        return c;
}

/* Both kinds of server, both layouts. */
#define USERS_TEST(name)                                                                                     \
        static void name##_on(const struct mongo_server *server, const char *layout, const char *session);   \
        START_TEST(name)                                                                                     \
        {                                                                                                    \
                MONGO_SERVER server = mongo_server_start(.kind = (enum mongo_kind)(_i % MONGO_KINDS));       \
                TEST_FREED char *session = mongo_name("users");                                              \
                if (wire_has_strangers("owners on MongoDB") && server)                                       \
                        name##_on(server, _i < MONGO_KINDS ? "own" : "shared", session);                     \
        }                                                                                                    \
        END_TEST                                                                                             \
        static void name##_on(const struct mongo_server *server, const char *layout, const char *session)

#define START                                                                                                \
        daemon_start(.flags = { "--backend", "mongo", "--mongo", server->uri, "--mongo-term", "8",           \
                                "--mongo-layout", layout })

static long long fence_of(struct wire *c, int s)
{
        return wire_number(wire_call(c, "info(%d)", s), "fence");
}

USERS_TEST(a_session_belongs_to_who_made_it)
{
        DAEMON a = START;
        DAEMON b = START;
        CLIENT alice = as(a, "daemon");
        CLIENT other = as(b, "daemon");
        CLIENT bob = as(a, "bin");
        CLIENT bob_on_b = as(b, "bin");
        long long fence;
        int s = wire_open(alice, "'%s', {}", session);

        expect(alice, "{...owner: 'daemon'...}", "info(%d)", s);
        fence = fence_of(alice, s);
        expect(bob, "!denied", "open('%s', {})", session);
        /* another host: he is not told who holds it, and waits for nothing */
        expect(bob_on_b, "!denied", "open('%s', {wait: 86400000})", session);
        expect(other, "!busy", "open('%s', {})", session);
        expect(bob_on_b, "!denied", "open('%s', {})", session);
        expect(alice, "nil", "set(%d, {dc_id: 4})", s);
        wire_not_told(alice);
        expect(alice, "nil", "close(%d)", s);
        /* nobody has it: a denied client does not take it */
        for (int i = 0; i < 3; i++)
                expect(bob_on_b, "!denied", "open('%s', {})", session);
        expect(bob_on_b, "!not_found", "open('%s-nobodys', {create: false})", session);
        s = wire_open(other, "'%s', {wait: 60000}", session);
        ck_assert_int_eq(fence_of(other, s), fence + 1);
        expect(other, "{...owner: 'daemon'...}", "info(%d)", s);
        /* its host has died: a denied client waits for nothing either */
        daemon_kill(b);
        expect(bob, "!denied", "open('%s', {wait: 86400000})", session);
        s = wire_open(alice, "'%s', {wait: 60000}", session);
        ck_assert_int_eq(fence_of(alice, s), fence + 2);
}

USERS_TEST(it_can_be_given_away)
{
        DAEMON a = START;
        DAEMON b = START;
        CLIENT own = wire_connect(a);
        CLIENT own_on_b = wire_connect(b);
        CLIENT alice = as(a, "daemon");
        CLIENT bob = as(b, "bin");
        CLIENT alice_on_b = as(b, "daemon");
        int s = wire_open(alice, "'%s', {}", session), o = wire_open(own, "'%s', {}", session);

        expect(own, "{...}", "hello({features: ['owner']})");
        expect(own_on_b, "{...}", "hello({features: ['owner']})");
        expect(own, "nil", "chown(%d, 'bin:daemon')", o);
        expect_text(wire_told(alice), "ended(1, 'denied', '...')");
        expect(alice, "!bad_session", "close(%d)", s);
        expect(own, "{...owner: 'bin:daemon'...}", "info(%d)", o);
        expect(own_on_b, "[{...owner: 'bin:daemon'}]", "sessions('%s')", session);
        expect(own, "nil", "close(%d)", o);
        s = wire_open(bob, "'%s', {wait: 60000}", session);
        expect(bob, "{...owner: 'bin:daemon'...}", "info(%d)", s);
        expect(bob, "nil", "set(%d, {auth_key: h'07'*256})", s);
        expect(alice_on_b, "!denied", "open('%s', {})", session);
        expect(bob, "nil", "chown(%d, 'bin')", s);
        expect(bob, "nil", "close(%d)", s);
        o = wire_open(own, "'%s', {wait: 60000}", session);
        expect(own, "{...owner: 'bin'...}", "info(%d)", o);
        expect(own, "nil", "chown(%d, nil)", o);
        expect(own, "nil", "close(%d)", o);
        s = wire_open(alice_on_b, "'%s', {wait: 60000}", session); /* without rules everyone may */
        ck_assert_ptr_null(strstr(wire_call(alice_on_b, "info(%d)", s), "owner"));
        ck_assert_ptr_null(strstr(wire_call(own, "sessions('%s')", session), "owner"));
}

int main(void)
{
        Suite *suite = suite_create("users on mongo");
        TCase *tcase = tcase_create("users");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        suite_add_tcase(suite, tcase);
        tcase_add_loop_test(tcase, a_session_belongs_to_who_made_it, 0, 2 * MONGO_KINDS);
        tcase_add_loop_test(tcase, it_can_be_given_away, 0, 2 * MONGO_KINDS);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
