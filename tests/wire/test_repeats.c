/*
 * A client that has lost the answer to a write repeats it on another connection: the repetition gets the
 * first one's answer, and what others have written meanwhile stays. A lost answer is one that the test does
 * not look at.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/repeater.h"

#define OTHER_ID "h'101112131415161718191a1b1c1d1e1f'"

enum { STRANGER = 4711, STRANGERS = 4712 };

/* Another connection of the same client, which has lost the answers on this one. */
static void reconnect(struct daemon *d, struct wire **c, int *s)
{
        wire_end(c);
        *c = connect_as(d, ID);
        *s = wire_open(*c, "'anna', {create: false}");
}

/* ---- every method ---- */

static const struct {
        const char *method;
        const char *first;
        const char *newer_method; /* another client's, after it */
        const char *newer;
        const char *read;
        const char *is;
} writes[] = {
        { "set", ", {user_id: 1}", "set", ", {user_id: 2}", "get(%d, ['user_id'])", "[2]" },
        { "save", "", "set", ", {date: 2}", "get(%d, ['date'])", "[2]" },
        { "update_peers", ", [[7, 1, 'user', nil, nil]]", "update_peers", ", [[7, 2, 'user', nil, nil]]",
          "get_peer_by_id(%d, 7)", "[7, 2, ...]" },
        { "update_usernames", ", [[7, ['first']]]", "update_usernames", ", [[7, ['newer']]]",
          "scan_usernames(%d, nil, 10)", "[['newer', 7, ...]]" },
        { "update_states", ", [[7, 1, 1, 1, 1]]", "update_states", ", [[7, 2, 2, 2, 2]]", "get_states(%d)",
          "[[7, 2, 2, 2, 2]]" },
        { "remove_states", ", [7]", "update_states", ", [[7, 2, 2, 2, 2]]", "get_states(%d)",
          "[[7, 2, 2, 2, 2]]" },
};
enum { N_WRITES = sizeof(writes) / sizeof(writes[0]) };

/* `lose` loses the connection of `a`, and makes another. */
static void repeat_all(struct daemon *d, void (*lose)(struct daemon *d, struct wire **a, int *s))
{
        struct wire *a = connect_as(d, ID);
        int s = wire_open(a, "'anna', {}");

        for (int i = 0; i < N_WRITES; i++) {
                uint32_t id = MSGID + (uint32_t)i;
                struct wire *b;
                int t;

                write_as(a, id, "nil", writes[i].method, s, writes[i].first);
                lose(d, &a, &s);
                b = wire_connect(d);
                t = wire_open(b, "'anna', {}");
                write_as(b, 1000, "nil", writes[i].newer_method, t, writes[i].newer);
                write_as(a, id, "nil", writes[i].method, s, writes[i].first);
                expect(a, writes[i].is, writes[i].read, s);
                expect(b, writes[i].is, writes[i].read, t);
                wire_end(&b);
        }
        wire_end(&a);
}

START_TEST(what_others_wrote_meanwhile_stays)
{
        DAEMON d = daemon_start();

        repeat_all(d, reconnect);
}
END_TEST

static void kill_and_reconnect(struct daemon *d, struct wire **a, int *s)
{
        daemon_kill(d);
        daemon_resume(d);
        reconnect(d, a, s);
}

START_TEST(also_after_the_death_of_the_daemon)
{
        static const char *const configs[] = { "", "fsync = no\n", "idle-close = 0\n" };

        for (int i = 0; i < 3; i++) {
                DAEMON d = daemon_start(.config = configs[i]);

                repeat_all(d, kill_and_reconnect);
        }
}
END_TEST

/* The session is closed, because nobody has it open. */
static void close_and_reconnect(struct daemon *d, struct wire **a, int *s)
{
        wire_end(a);
        *a = wire_connect(d);
        await_closed(*a);
        reconnect(d, a, s);
}

START_TEST(also_if_the_session_was_closed)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");

        repeat_all(d, close_and_reconnect);
}
END_TEST

START_TEST(also_in_memory)
{
        DAEMON d = daemon_start(.config = "backend = memory\n");
        CLIENT b = wire_connect(d);

        wire_open(b, "'anna', {}"); /* it lives */
        repeat_all(d, reconnect);
}
END_TEST

/* A write of what is stored already changes only times. It is remembered all the same. */
START_TEST(a_write_that_changed_nothing_is_not_repeated)
{
        DAEMON d = daemon_start();
        struct wire *a = connect_as(d, ID);
        CLIENT b = wire_connect(d);
        int s = wire_open(a, "'anna', {}"), t = wire_open(b, "'anna', {}");

        expect(b, "nil", "update_peers(%d, [[7, 1, 'user', nil, nil]])", t);
        expect(b, "nil", "update_usernames(%d, [[7, ['first']]])", t);
        write_as(a, MSGID, "nil", "update_peers", s, ", [[7, 1, 'user', nil, nil]]");
        write_as(a, MSGID + 1, "nil", "update_usernames", s, ", [[7, ['first']]]");
        expect(b, "nil", "update_peers(%d, [[7, 2, 'user', nil, nil]])", t);
        expect(b, "nil", "update_usernames(%d, [[7, ['newer']]])", t);
        reconnect(d, &a, &s);
        write_as(a, MSGID, "nil", "update_peers", s, ", [[7, 1, 'user', nil, nil]]");
        write_as(a, MSGID + 1, "nil", "update_usernames", s, ", [[7, ['first']]]");
        expect(b, "[7, 2, ...]", "get_peer_by_id(%d, 7)", t);
        expect(b, "[['newer', 7, ...]]", "scan_usernames(%d, nil, 10)", t);
        wire_end(&a);
}
END_TEST

/* The handle on the next connection may take more bytes. */
START_TEST(a_repetition_may_have_any_handle)
{
        enum { OTHERS = 300 };
        DAEMON d = daemon_start();
        CLIENT a = connect_as(d, ID);
        int s = wire_open(a, "'anna', {}"), t = 0;

        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
        expect(a, "nil", "set(%d, {user_id: 2})", s);
        for (int i = 0; i < OTHERS; i++)
                t = wire_open(a, "'anna', {}");
        ck_assert_int_ge(t, 256);
        write_as(a, MSGID, "nil", "set", t, ", {user_id: 1}");
        expect(a, "[2]", "get(%d, ['user_id'])", s);
}
END_TEST

/* ---- imports ---- */

/* A session string with a key of this digit. malloc'ed, as parameters of import_string. */
static char *string_of(struct wire *c, int digit)
{
        TEST_FREED char *key = test_format("%0512d", digit);
        int s = wire_open(c, "'of %d', {backend: 'memory'}", digit);
        const char *text;

        expect(c, "nil", "set(%d, {auth_key: h'%s', user_id: %d})", s, key, digit);
        text = wire_call(c, "export_string(%d, 'pyrogram-old64')", s);
        return test_format(", %s, {overwrite: false}", text);
}

START_TEST(an_import_has_the_same_answer_again)
{
        DAEMON d = daemon_start();
        struct wire *a = connect_as(d, ID), *b = wire_connect(d);
        int s = wire_open(a, "'anna', {}"), t = wire_open(b, "'anna', {}");
        TEST_FREED char *one = string_of(b, 1), *two = string_of(b, 2);
        const char *fields = "['dc_id', 'test_mode', 'auth_key', 'date', 'user_id', 'is_bot']";

        write_as(a, MSGID, fields, "import_string", s, one);
        write_as(a, MSGID + 1, "!exists", "import_string", s, two);
        expect(b, "nil", "set(%d, {auth_key: nil, user_id: 5})", t); /* now both would succeed */
        reconnect(d, &a, &s);
        write_as(a, MSGID, fields, "import_string", s, one);
        write_as(a, MSGID + 1, "!exists", "import_string", s, two);
        ck_assert_ptr_nonnull(strstr(wire_error_message(a), "repetition"));
        expect(b, "[nil, 5]", "get(%d, ['auth_key', 'user_id'])", t);
        wire_end(&b);
        kill_and_reconnect(d, &a, &s);
        write_as(a, MSGID, fields, "import_string", s, one);
        expect(a, "[nil, 5]", "get(%d, ['auth_key', 'user_id'])", s);
        wire_end(&a);
}
END_TEST

/* ---- deletion ---- */

START_TEST(a_repeated_delete_spares_a_session_made_since)
{
        DAEMON d = daemon_start();
        struct wire *a = connect_as(d, ID);
        CLIENT b = wire_connect(d);
        int s = wire_open(a, "'anna', {}"), t;

        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
        write_as(a, MSGID + 1, "nil", "delete", s, "");
        t = wire_open(b, "'anna', {}");
        expect(b, "nil", "set(%d, {user_id: 2})", t);
        reconnect(d, &a, &s);
        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
        write_as(a, MSGID + 1, "nil", "delete", s, "");
        expect(a, "!bad_session", "info(%d)", s); /* as after any delete */
        wire_not_told(b);
        expect(b, "[2]", "get(%d, ['user_id'])", t);
        s = wire_open(a, "'anna', {create: false}");
        write_as(a, MSGID + 2, "nil", "delete", s, ""); /* a new one */
        expect_text(wire_told(b), "ended(..., 'not_found', ...)");
        wire_end(&a);
}
END_TEST

/* ---- a write that is still under way ---- */

/*
 * The connection ends when the write has been sent, and it is repeated at once: whether the first one waits,
 * runs or is done, it is executed once. A watcher is told of each execution.
 */
START_TEST(a_write_under_way_is_executed_once)
{
        enum { ROUNDS = 200, PIPELINED = 5 };
        DAEMON d = daemon_start();
        CLIENT b = wire_connect(d);
        int t = wire_open(b, "'anna', {}");

        expect(b, "nil", "watch(%d, true)", t);
        for (uint32_t round = 0; round < ROUNDS; round++) {
                struct wire *a = connect_as(d, ID), *again = connect_as(d, ID);
                int s = wire_open(a, "'anna', {}"), u = wire_open(again, "'anna', {}");

                for (uint32_t i = 0; i < PIPELINED; i++)
                        send_as(a, MSGID + round * PIPELINED + i, "update_states", s, ", [[7, 1, 1, 1, 1]]");
                if (round % 2)
                        wire_end(&a);
                for (uint32_t i = 0; i < PIPELINED; i++)
                        send_as(again, MSGID + round * PIPELINED + i, "update_states", u,
                                ", [[7, 1, 1, 1, 1]]");
                for (uint32_t i = 0; i < PIPELINED; i++)
                        expect_text(wire_answer(again, MSGID + round * PIPELINED + i), "nil");
                wire_end(&a);
                wire_end(&again);
        }
        for (int i = 0; i < ROUNDS * PIPELINED; i++)
                expect_text(wire_told(b), "changed(...states: [7]...)");
        wire_not_told(b);
}
END_TEST

/* ---- clients that make mistakes, or mean harm ---- */

START_TEST(an_id_is_16_bytes)
{
        static const char *const wrong[] = { "1",
                                             "nil",
                                             "'0123456789abcdef'",
                                             "h''",
                                             "h'00'",
                                             "[]",
                                             "h'000102030405060708090a0b0c0d0e'",
                                             "h'000102030405060708090a0b0c0d0e0f10'" };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
                expect(c, "!bad_request", "hello({id: %s})", wrong[i]);
                ck_assert_ptr_nonnull(strstr(wire_error_message(c), "`id` must be a bin of 16 bytes"));
        }
        greet(c, ID);
}
END_TEST

START_TEST(a_msgid_is_one_request)
{
        static const struct {
                const char *method;
                const char *parameters;
        } others[] = {
                { "set", ", {user_id: 2}" },
                { "set", ", {user_id: 1, is_bot: nil}" },
                { "update_states", ", [[7, 1, 1, 1, 1]]" },
                { "remove_states", ", [7]" },
                { "update_peers",
                  ", [[7, 1, 'user', nil, nil]]" }, /* answered from the cache, if it is new */
                { "save", "" },
                { "delete", "" },
                { "delete", ", {remove_peers: true}" },
        };
        DAEMON d = daemon_start();
        CLIENT a = connect_as(d, ID);
        int s = wire_open(a, "'anna', {}");

        expect(a, "nil", "update_peers(%d, [[7, 1, 'user', nil, nil]])", s);
        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
                write_as(a, MSGID, "!bad_request", others[i].method, s, others[i].parameters);
                ck_assert_ptr_nonnull(strstr(wire_error_message(a), "msgid 100000"));
        }
        expect(a, "[1]", "get(%d, ['user_id'])", s);
        expect(a, "[]", "get_states(%d)", s);
        /* of a read it need not be unique */
        write_as(a, MSGID, "[1]", "get", s, ", ['user_id']");
        /* on another session it is another write */
        write_as(a, MSGID, "nil", "set", wire_open(a, "'berta', {}"), ", {user_id: 2}");
        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
}
END_TEST

START_TEST(only_the_same_id_shares_a_memory)
{
        DAEMON d = daemon_start();
        CLIENT a = connect_as(d, ID);
        CLIENT b = connect_as(d, OTHER_ID);
        CLIENT c = wire_connect(d);
        int s = wire_open(a, "'anna', {}"), t = wire_open(b, "'anna', {}"), u = wire_open(c, "'anna', {}");

        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
        write_as(b, MSGID, "nil", "set", t, ", {user_id: 2}");
        expect(a, "[2]", "get(%d, ['user_id'])", s);
        write_as(c, MSGID, "nil", "set", u, ", {user_id: 3}"); /* without an id every write is new */
        write_as(c, MSGID, "nil", "set", u, ", {user_id: 4}");
        expect(a, "[4]", "get(%d, ['user_id'])", s);
        greet(a, OTHER_ID); /* counts from now on */
        write_as(a, MSGID, "nil", "set", s, ", {user_id: 2}");
        expect(a, "[4]", "get(%d, ['user_id'])", s);
        greet(a, ID);
        expect(a, "...", "hello({client: 'without an id'})"); /* keeps it */
        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
        expect(a, "[4]", "get(%d, ['user_id'])", s);
}
END_TEST

START_TEST(another_user_has_another_memory)
{
        DAEMON d = daemon_start(.config = "[access]\nuser 4711 = read, write on anna\n");
        CLIENT a = connect_as(d, ID);
        int s = wire_open(a, "'anna', {}"), t;

        if (!wire_has_strangers("the same id of two users"))
                return;
        CLIENT b = greet(wire_connect_stranger(d, STRANGER, STRANGERS), ID);

        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
        t = wire_open(b, "'anna', {}");
        write_as(b, MSGID, "nil", "set", t, ", {user_id: 2}");
        expect(a, "[2]", "get(%d, ['user_id'])", s);
        write_as(a, MSGID, "nil", "set", s, ", {user_id: 1}");
        expect(a, "[2]", "get(%d, ['user_id'])", s);
}
END_TEST

START_TEST(an_id_of_a_thousand_connections)
{
        enum { CONNECTIONS = 1000 };
        DAEMON d = daemon_start(.open_files = 4096);
        struct wire *c[CONNECTIONS];
        int s[CONNECTIONS];

        for (int i = 0; i < CONNECTIONS; i++) {
                c[i] = connect_as(d, ID);
                s[i] = wire_open(c[i], "'anna', {}");
        }
        for (int i = 0; i < CONNECTIONS; i++) {
                TEST_FREED char *row = test_format(", [[%d, 1, 1, 1, 1]]", i);

                send_as(c[i], MSGID + (uint32_t)i, "update_states", s[i], row);
        }
        for (int i = 0; i < CONNECTIONS; i++)
                expect_text(wire_answer(c[i], MSGID + (uint32_t)i), "nil");
        for (int i = 0; i < CONNECTIONS; i++) { /* all send the same */
                expect(c[i], "nil", "watch(%d, true)", s[i]);
                send_as(c[i], MSGID + CONNECTIONS, "update_states", s[i], ", [[5, 1, 1, 1, 1]]");
        }
        for (int i = 0; i < CONNECTIONS; i++)
                expect_text(wire_answer(c[i], MSGID + CONNECTIONS), "nil");
        for (int i = 0; i < CONNECTIONS; i++)
                wire_end(&c[i]);
}
END_TEST

/* ---- bounds ---- */

START_TEST(the_last_256_writes_are_remembered)
{
        enum { MANY = 300 };
        DAEMON d = daemon_start();
        struct wire *a = connect_as(d, ID);
        CLIENT b = wire_connect(d);
        int s = wire_open(a, "'anna', {}"), t;

        for (uint32_t i = 0; i < MANY; i++)
                write_as(a, MSGID + i, "nil", "update_states", s, ", [[7, 1, 1, 1, 1]]");
        t = wire_open(b, "'anna', {}");
        expect(b, "nil", "update_states(%d, [[7, 2, 2, 2, 2]])", t);
        reconnect(d, &a, &s);
        for (uint32_t i = MANY - 256; i < MANY; i++)
                write_as(a, MSGID + i, "nil", "update_states", s, ", [[7, 1, 1, 1, 1]]");
        expect(b, "[[7, 2, 2, 2, 2]]", "get_states(%d)", t);
        write_as(a, MSGID, "nil", "update_states", s, ", [[7, 1, 1, 1, 1]]"); /* forgotten */
        expect(b, "[[7, 1, 1, 1, 1]]", "get_states(%d)", t);
        wire_end(&a);
}
END_TEST

START_TEST(the_last_64_ids_are_remembered)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        for (int i = 0; i < 66; i++) {
                expect(c, "...", "hello({id: h'%032d'})", i);
                write_as(c, MSGID, "nil", "set", s, ", {user_id: 1}");
                expect(c, "...", "hello({id: h'%032d'})", 0); /* is used again and again */
                write_as(c, MSGID, "nil", "set", s, ", {user_id: 1}");
        }
        expect(c, "nil", "set(%d, {user_id: 2})", s);
        for (int i = 65; i > 2; i--) {
                expect(c, "...", "hello({id: h'%032d'})", i);
                write_as(c, MSGID, "nil", "set", s, ", {user_id: 1}");
        }
        expect(c, "...", "hello({id: h'%032d'})", 0);
        write_as(c, MSGID, "nil", "set", s, ", {user_id: 1}");
        expect(c, "[2]", "get(%d, ['user_id'])", s);
        expect(c, "...", "hello({id: h'%032d'})", 1); /* forgotten */
        write_as(c, MSGID, "nil", "set", s, ", {user_id: 1}");
        expect(c, "[1]", "get(%d, ['user_id'])", s);
}
END_TEST

/* Sessions in memory, which begin anew: what is executed can be seen. */
START_TEST(the_last_1024_closed_sessions_are_remembered)
{
        enum { CLOSED = 1026 };
        DAEMON d = daemon_start(.config = "backend = memory\n");
        CLIENT a = connect_as(d, ID);

        for (int i = 0; i < CLOSED; i++) {
                int s = wire_open(a, "'session %d', {}", i);

                write_as(a, MSGID + (uint32_t)i, "nil", "set", s, ", {user_id: 1}");
                expect(a, "nil", "close(%d)", s);
        }
        await_closed(a);
        for (int i = CLOSED - 1; i >= 0; i -= CLOSED - 1) {
                int s = wire_open(a, "'session %d', {}", i);

                write_as(a, MSGID + (uint32_t)i, "nil", "set", s, ", {user_id: 1}");
                expect(a, i > 0 ? "[nil]" : "[1]", "get(%d, ['user_id'])", s);
        }
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                what_others_wrote_meanwhile_stays,
                also_after_the_death_of_the_daemon,
                also_if_the_session_was_closed,
                also_in_memory,
                a_write_that_changed_nothing_is_not_repeated,
                a_repetition_may_have_any_handle,
                an_import_has_the_same_answer_again,
                a_repeated_delete_spares_a_session_made_since,
                a_write_under_way_is_executed_once,
                an_id_is_16_bytes,
                a_msgid_is_one_request,
                only_the_same_id_shares_a_memory,
                another_user_has_another_memory,
                an_id_of_a_thousand_connections,
                the_last_256_writes_are_remembered,
                the_last_64_ids_are_remembered,
                the_last_1024_closed_sessions_are_remembered,
                NULL,
        };

        return test_program("repeats", tests);
}
