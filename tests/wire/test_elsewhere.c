/* The feature `elsewhere`: an `open` that makes a session names other backends that have one of its name. */
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "../support/program.h"
#include "../support/wire.h"

enum { GROUP = 54322, SESSIONS = 20 };

static struct wire *as(struct daemon *d, const char *name)
{
        const struct passwd *user = getpwnam(name);

        ck_assert_ptr_nonnull(user);
        return wire_connect_stranger(d, user->pw_uid, GROUP);
}

START_TEST(stored_and_open_sessions_are_named)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT c = wire_connect(d);

        expect(c, "{...dialect: 'pyrogram', fence...}", "open('stored', {backend: 'file'})");
        expect(c, "nil", "close(1)");
        expect(c, "{...backend: 'memory'...elsewhere: ['file']...}", "open('stored', {backend: 'memory'})");
        expect(c, "{...dialect: 'pyrogram', fence...}", "open('other', {backend: 'memory'})");
        /* one in memory has to be open */
        expect(c, "{...elsewhere: ['memory']...}", "open('other', {backend: 'file'})");
        /* one that is open on both */
        expect(c, "{...dialect: 'pyrogram', fence...}", "open('both', {backend: 'file'})");
        expect(c, "{...elsewhere: ['file']...}", "open('both', {backend: 'memory'})");
}
END_TEST

START_TEST(only_a_new_session_has_the_key)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);

        expect(c, "{...created: true, dialect: 'pyrogram', fence...}", "open('a', {})");
        ck_assert_ptr_null(strstr(wire_call(other, "open('a', {})"), "elsewhere"));
        expect(c, "{...elsewhere: ['file']...}", "open('a', {backend: 'memory'})");
        ck_assert_ptr_null(strstr(wire_call(other, "open('a', {backend: 'memory'})"), "elsewhere"));
        expect(c, "!not_found", "open('c', {create: false})");
}
END_TEST

START_TEST(opens_that_come_together_are_all_answered)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        uint32_t first[SESSIONS], exclusive[SESSIONS], second[SESSIONS];

        for (int i = 0; i < SESSIONS; i++) {
                first[i] = wire_send(c, "open('s%d', {backend: 'memory'})", i);
                exclusive[i] = wire_send(other, "open('s%d', {backend: 'memory', mode: 'exclusive'})", i);
                second[i] = wire_send(c, "open('s%d', {backend: 'memory'})", i);
        }
        for (int i = 0; i < SESSIONS; i++) {
                bool created = strstr(wire_answer(c, first[i]), "created: true");
                bool again = strstr(wire_answer(c, second[i]), "created: true");
                const char *answer = wire_answer(other, exclusive[i]);

                ck_assert(!again);
                ck_assert_msg(created != (strstr(answer, "created: true") != NULL), "%s", answer);
        }
}
END_TEST

START_TEST(what_the_client_may_not_open_is_not_named)
{
        if (!wire_has_strangers("owners of sessions elsewhere"))
                return;
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT own = wire_connect(d);
        CLIENT alice = as(d, "daemon");
        CLIENT bob = as(d, "bin");

        for (int closed = 0; closed < 2; closed++) {
                int one = wire_open(alice, "'one%d', {backend: 'file'}", closed);
                int two = wire_open(alice, "'two%d', {backend: 'file'}", closed);

                if (closed) {
                        expect(alice, "nil", "close(%d)", one);
                        expect(alice, "nil", "close(%d)", two);
                }
                expect(bob, "{...created: true, dialect: 'pyrogram', fence...}",
                       "open('one%d', {backend: 'memory'})", closed);
                expect(alice, "{...created: true...elsewhere: ['file']...}",
                       "open('two%d', {backend: 'memory'})", closed);
        }
        expect(own, "{...dialect: 'pyrogram', fence...}", "open('own', {backend: 'file'})");
        expect(alice, "{...dialect: 'pyrogram', fence...}", "open('own', {backend: 'memory'})");
}
END_TEST

START_TEST(rules_count)
{
        if (!wire_has_strangers("access rules for sessions elsewhere"))
                return;
        DAEMON d = daemon_start(.config = "[access]\neveryone = read,write in memory\n");
        CLIENT own = wire_connect(d);
        CLIENT bob = as(d, "bin");

        expect(own, "{...dialect: 'pyrogram', fence...}", "open('a', {backend: 'file'})");
        expect(bob, "{...dialect: 'pyrogram', fence...}", "open('a', {backend: 'memory'})");
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                stored_and_open_sessions_are_named,
                only_a_new_session_has_the_key,
                opens_that_come_together_are_all_answered,
                what_the_client_may_not_open_is_not_named,
                rules_count,
                NULL,
        };

        return test_program("elsewhere", tests);
}
