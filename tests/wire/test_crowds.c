/*
 * Very many clients or handles are concerned by one thing: they are told of it, or go, in several turns of
 * the loop, so that others are served in between.
 */
#include <signal.h>
#include <string.h>

#include "../support/long_write.h"
#include "../support/program.h"
#include "../support/wire.h"

enum { CLIENTS = 600, A_TURN = 256, UID = 1234 };

/* One of each: 600 writes to 600 sockets take several turns. */
START_TEST(many_clients_are_told)
{
        DAEMON d = daemon_start();
        CLIENT other = wire_connect(d);
        struct wire *clients[CLIENTS];
        long long n;

        wire_open(other, "'anna', {backend: 'memory'}");
        for (int i = 0; i < CLIENTS; i++) {
                clients[i] = wire_connect(d);
                wire_open(clients[i], "'anna', {backend: 'memory'}");
        }
        n = long_write_slices(other);
        expect(other, "nil", "delete(1)");
        for (int i = 0; i < CLIENTS; i++)
                expect_text(wire_told(clients[i]), "ended(1, 'not_found', ...)");
        ck_assert_int_ge(long_write_slices(other) - n, CLIENTS / A_TURN + 1);
        daemon_signal(d, SIGTERM);
        for (int i = 0; i < CLIENTS; i++) {
                wire_expect_closed(clients[i]);
                wire_end(&clients[i]);
        }
        daemon_stop(d);
}
END_TEST

/* They close their sockets before the other one asks. It is answered when few of them have gone. */
START_TEST(many_clients_go)
{
        DAEMON d = daemon_start();
        CLIENT other = NULL;
        struct wire *clients[CLIENTS];
        uint32_t id;

        if (!wire_has_strangers("turns of users"))
                return;
        other = wire_connect(d);
        for (int i = 0; i < CLIENTS; i++) {
                clients[i] = wire_connect_stranger(d, UID, UID);
                expect(clients[i], "1", "ping(1)");
        }
        daemon_freeze(d);
        for (int i = 0; i < CLIENTS; i++)
                wire_end(&clients[i]);
        id = wire_send(other, "stats()");
        daemon_thaw(d);
        ck_assert_int_ge(wire_number(wire_answer(other, id), "connections"), CLIENTS - 2 * A_TURN + 1);
        while (wire_number(wire_call(other, "stats()"), "connections") > 1)
                ;
}
END_TEST

/* A client with many handles costs as much as many clients. */
START_TEST(clients_with_many_handles_go)
{
        enum { HANDLES = 1000, HOLDERS = 12 };
        DAEMON d = daemon_start(.config = "[access]\nuser 1234 = write\n");
        CLIENT other = NULL;
        struct wire *holders[HOLDERS];
        uint32_t id;

        if (!wire_has_strangers("turns of users"))
                return;
        other = wire_connect(d);
        for (int i = 0; i < HOLDERS; i++) {
                holders[i] = wire_connect_stranger(d, UID, UID);
                for (int k = 0; k < HANDLES; k++)
                        wire_open(holders[i], "'anna', {backend: 'memory'}");
        }
        daemon_freeze(d);
        for (int i = 0; i < HOLDERS; i++)
                wire_end(&holders[i]);
        id = wire_send(other, "stats()");
        daemon_thaw(d);
        ck_assert_int_ge(wire_number(wire_answer(other, id), "connections"), HOLDERS / 2);
        while (wire_number(wire_call(other, "stats()"), "connections") > 1)
                ;
}
END_TEST

/* The pages are the same, whatever the order in which the sessions were opened. */
START_TEST(open_sessions_are_listed_in_pages)
{
        enum { SESSIONS = 301, PAGE = 7, STEP = 10 };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int listed = 0;

        for (int i = 0; i < SESSIONS; i++) {
                TEST_FREED char *open = test_format("'s%d', {backend: '%s'}", 101 + i * STEP % SESSIONS,
                                                    i % 3 ? "memory" : "file");

                wire_open(c, "%s", open);
        }
        while (listed < SESSIONS) {
                const char *at = wire_call(c, "sessions(nil, {after: 's%d', limit: %d})", 100 + listed, PAGE);

                for (int n = 0; n < PAGE && listed < SESSIONS; n++, listed++) {
                        TEST_FREED char *name = test_format("name: 's%d'", 101 + listed);

                        at = strstr(at, "name: ");
                        ck_assert_ptr_nonnull(at);
                        ck_assert_msg(strncmp(at, name, strlen(name)) == 0, "%.20s instead of %s", at, name);
                        at++;
                }
                ck_assert_ptr_null(strstr(at, "name: "));
        }
}
END_TEST

/* Readers that have to give way to one with `write` do so in slices, too, and it waits for all of them. */
START_TEST(many_readers_give_way)
{
        enum { HANDLES = 1000, READERS = 3 };
        DAEMON d = daemon_start(.config = "[access]\nuser 1234 = read\n");
        CLIENT other = NULL;
        struct wire *readers[READERS];
        long long n;

        if (!wire_has_strangers("rights of users"))
                return;
        other = wire_connect(d);
        expect(other, "nil", "close(%d)", wire_open(other, "'anna', {backend: 'memory', linger: 60}"));
        for (int i = 0; i < READERS; i++) {
                readers[i] = wire_connect_stranger(d, UID, UID);
                for (int k = 0; k < HANDLES; k++)
                        wire_open(readers[i], "'anna', {backend: 'memory'}");
        }
        n = long_write_slices(other);
        wire_open(other, "'anna', {backend: 'memory', mode: 'exclusive', wait: 1}");
        for (int i = 0; i < READERS; i++) {
                for (int k = 0; k < HANDLES; k++)
                        expect_text(wire_told(readers[i]), "ended(..., 'busy', ...)");
                wire_end(&readers[i]);
        }
        ck_assert_int_ge(long_write_slices(other) - n, READERS * HANDLES / 512);
}
END_TEST

/* One handle ends, and all who wait get one of their own. */
START_TEST(many_opens_are_granted)
{
        enum { OPENS = 900, A_SLICE = 256 };
        DAEMON d = daemon_start();
        CLIENT holder = wire_connect(d);
        CLIENT waiting = wire_connect(d);
        CLIENT other = wire_connect(d);
        int s = wire_open(holder, "'anna', {mode: 'exclusive'}");
        uint32_t opens[OPENS];
        long long n;

        for (int i = 0; i < OPENS; i++)
                opens[i] = wire_send(waiting, "open('anna', {wait: 86400000})");
        expect(waiting, "1", "ping(1)"); /* they have all arrived */
        n = long_write_slices(other);
        expect(holder, "nil", "close(%d)", s);
        for (int i = 0; i < OPENS; i++)
                expect_text(wire_answer(waiting, opens[i]), "{...}");
        ck_assert_int_ge(long_write_slices(other) - n, OPENS / A_SLICE);
        ck_assert_int_eq(wire_number(wire_call(waiting, "info(1)"), "handles"), OPENS);
}
END_TEST

/* The former owner's handles end in slices. Meanwhile none is used, and each change has its effect. */
START_TEST(many_handles_of_a_former_owner_end)
{
        enum { HANDLES = 1000, HOLDERS = 3 };
        DAEMON d = daemon_start();
        CLIENT other = NULL;
        struct wire *holders[HOLDERS];
        uint32_t first, second;
        long long n;

        if (!wire_has_strangers("owners"))
                return;
        other = wire_connect(d);
        wire_open(other, "'anna', {backend: 'memory'}");
        expect(other, "nil", "chown(1, '#%d')", UID);
        for (int i = 0; i < HOLDERS; i++) {
                holders[i] = wire_connect_stranger(d, UID, UID);
                for (int k = 0; k < HANDLES; k++)
                        wire_open(holders[i], "'anna', {backend: 'memory'}");
        }
        n = long_write_slices(other);
        first = wire_send(other, "chown(1, '#1')");
        second = wire_send(other, "chown(1, '#%d')", UID);
        expect_text(wire_answer(other, first), "nil");
        expect(holders[HOLDERS - 1], "!bad_session", "info(%d)", HANDLES);
        expect_text(wire_answer(other, second), "nil");
        for (int i = 0; i < HOLDERS; i++) {
                for (int k = 0; k < HANDLES; k++)
                        expect_text(wire_told(holders[i]), "ended(..., 'denied', ...)");
                wire_open(holders[i], "'anna', {backend: 'memory'}");
                wire_end(&holders[i]);
        }
        ck_assert_int_ge(long_write_slices(other) - n, HOLDERS * HANDLES / 500);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                many_clients_are_told,
                many_clients_go,
                clients_with_many_handles_go,
                open_sessions_are_listed_in_pages,
                many_readers_give_way,
                many_opens_are_granted,
                many_handles_of_a_former_owner_end,
                NULL,
        };

        return test_program("crowds", tests);
}
