/*
 * No copies of auth keys are left in memory or on the disk: after a key was set, read, exported, replaced or
 * taken away, and after its session was closed or deleted.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/leftover.h"
#include "../support/notation.h"
#include "../support/program.h"
#include "../support/wire.h"

static const char *const dialects[] = { "pyrogram", "kurigram", "telethon" };
enum { N_DIALECTS = sizeof(dialects) / sizeof(dialects[0]), N_KINDS = 3 * N_DIALECTS };

/* A session of each dialect in a file, in a sealed file, and in memory. */
struct setting {
        struct daemon *daemon;
        struct wire *client;
        struct leftover_key keys[2];
        int session;
        bool is_file;
        bool is_sealed;
};

static struct setting begin(int kind)
{
        struct setting t = { .is_file = kind / N_DIALECTS < 2, .is_sealed = kind / N_DIALECTS == 1 };
        TEST_FREED char *config = leftover_configuration(t.is_sealed);

        t.daemon = daemon_start(.config = config);
        t.client = wire_connect(t.daemon);
        t.session = wire_open(t.client, "'anna', {dialect: '%s', backend: '%s'}", dialects[kind % N_DIALECTS],
                              t.is_file ? "file" : "memory");
        leftover_key(&t.keys[0], 1);
        leftover_key(&t.keys[1], 2);
        expect(t.client, "nil", "set(%d, {api_id: 1, user_id: 7, is_bot: false})", t.session);
        return t;
}

static void end(struct setting *t)
{
        wire_end(&t->client);
        daemon_end(&t->daemon);
        if (t->is_sealed)
                test_remove("sealing-key");
}

/* The daemon has done what it does after an answer. */
static void await_turn(const struct setting *t)
{
        CLIENT other = wire_connect(t->daemon);

        expect(other, "...", "stats()");
}

/* In two writes, so that the daemon holds an unfinished message. */
static void set(struct setting *t, const struct leftover_key *key)
{
        const uint32_t id = 1000000;
        size_t len;
        uint8_t *request = wire_pack(id, &len, "set(%d, {auth_key: h'%s'})", t->session, key->hex);

        wire_raw(t->client, request, len / 2);
        await_turn(t);
        wire_raw(t->client, request + len / 2, len - len / 2);
        expect_text(wire_answer(t->client, id), "nil");
        free(request);
}

/*
 * SQLite has two copies of the key of an open session that is not sealed: the cell that it has built last,
 * and the page that its last checkpoint has copied.
 */
static void expect_memory(struct setting *t, const struct leftover_key *key, bool open, const char *after)
{
        int needed = open && t->is_file && !t->is_sealed ? 2 : 0;
        int found;

        await_turn(t);
        if (!leftover_is_searchable())
                return;
        found = leftover_in_memory(t->daemon, key);
        ck_assert_msg(found <= needed, "%d copies in memory after %s", found, after);
}

static void expect_disk(struct setting *t, const struct leftover_key *key, bool there, const char *after)
{
        int found = leftover_in_folder(t->daemon->data, key);

        if (!t->is_file || t->is_sealed)
                there = false;
        ck_assert_msg((found > 0) == there, "%d copies in the data directory after %s", found, after);
}

START_TEST(an_open_session_shows_no_key_in_memory)
{
        struct setting t = begin(_i);
        struct leftover_key *key = &t.keys[0];

        set(&t, key);
        expect_memory(&t, key, true, "set");
        wire_call(t.client, "get(%d, ['auth_key'])", t.session);
        expect_memory(&t, key, true, "get");
        wire_call(t.client, "export_string(%d, 'telethon')", t.session);
        expect_memory(&t, key, true, "export_string");
        expect(t.client, "nil", "set(%d, {date: 5})", t.session);
        expect_memory(&t, key, true, "set of another field");
        expect(t.client, "nil", "update_peers(%d, [[8, 80, 'user', 'bert', nil]])", t.session);
        expect_memory(&t, key, true, "update_peers");
        end(&t);
}
END_TEST

START_TEST(a_replaced_key_is_gone)
{
        struct setting t = begin(_i);

        set(&t, &t.keys[0]);
        set(&t, &t.keys[1]);
        expect_memory(&t, &t.keys[0], false, "its replacement");
        expect_memory(&t, &t.keys[1], true, "set");
        expect_disk(&t, &t.keys[0], false, "its replacement");
        expect_disk(&t, &t.keys[1], true, "set");
        expect(t.client, "nil", "set(%d, {auth_key: nil})", t.session);
        expect_memory(&t, &t.keys[1], false, "its removal");
        expect_disk(&t, &t.keys[1], false, "its removal");
        end(&t);
}
END_TEST

/* Requests in one write: the daemon answers the last one first. */
static void call_at_once(struct setting *t, const char *first, const char *second)
{
        const uint32_t id = 2000000;
        uint8_t all[65536];
        size_t n = 0;

        for (uint32_t i = 0; i < 3; i++) {
                size_t len;
                uint8_t *request = wire_pack(id + i, &len, "%s",
                                             i == 0   ? first
                                             : i == 1 ? second
                                                      : "ping(1)");

                ck_assert(n + len <= sizeof(all));
                memcpy(all + n, request, len);
                n += len;
                free(request);
        }
        wire_raw(t->client, all, n);
        for (uint32_t i = 0; i < 3; i++)
                ck_assert_int_ne(wire_answer(t->client, id + i)[0], '!');
}

/* So long a list is worked off apart. malloc'ed. */
static char *get_often(int session)
{
        static const char name[] = ", 'auth_key'";
        char names[1100 * (sizeof(name) - 1) + 1];

        for (size_t i = 0; i < sizeof(names); i++)
                names[i] = name[i % (sizeof(name) - 1)];
        names[sizeof(names) - 1] = '\0';
        return test_format("get(%d, ['auth_key'%s])", session, names);
}

START_TEST(a_key_that_is_answered_late_is_gone_too)
{
        struct setting t = begin(_i);
        TEST_FREED char *change = test_format("set(%d, {dc_id: 4})", t.session);
        TEST_FREED char *get =
                test_format("get(%d, ['auth_key', 'auth_key', 'auth_key', 'auth_key'])", t.session);
        TEST_FREED char *get_many = get_often(t.session);

        set(&t, &t.keys[0]);
        call_at_once(&t, change, get);
        expect_memory(&t, &t.keys[0], true, "get after a write");
        call_at_once(&t, get_many, "ping(2)");
        expect_memory(&t, &t.keys[0], true, "get of a long list");
        wire_tell(t.client, "get(%d, ['auth_key'])", t.session);
        wire_tell(t.client, "export_string(%d, 'telethon')", t.session);
        expect_memory(&t, &t.keys[0], true, "a get that nobody hears");
        end(&t);
}
END_TEST

START_TEST(a_key_in_a_message_that_is_refused_is_gone)
{
        static const char *const shapes[] = {
                "[0, 1, 'sett', [1, {auth_key: h'%s'}]]",
                "[0, 1, 'set', [1, {auth_key: h'%s'}], 5]",
                "[0, 1, 'set', [1, {auth_key: h'%s'}, [[[[[[[[]]]]]]]]]]",
        };
        struct setting t = begin(_i);

        for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
                CLIENT other = wire_connect(t.daemon);
                TEST_FREED char *text = test_format(shapes[i], t.keys[1].hex);
                msgpack_sbuffer bytes;

                msgpack_sbuffer_init(&bytes);
                notation_pack(&bytes, text);
                wire_raw(other, bytes.data, bytes.size);
                msgpack_sbuffer_destroy(&bytes);
                ck_assert_ptr_nonnull(wire_next(other));
                expect_memory(&t, &t.keys[1], false, "a message that was refused");
        }
        end(&t);
}
END_TEST

static void await_closed(const struct setting *t, int times)
{
        long long start = test_now_ms();

        while (daemon_log_lines(t->daemon, ") closed") < times && test_time_left(start, "the end") > 0)
                await_turn(t);
}

START_TEST(a_closed_session_leaves_no_key)
{
        struct setting t = begin(_i);

        set(&t, &t.keys[0]);
        expect(t.client, "nil", "close(%d)", t.session);
        await_closed(&t, 1);
        expect_memory(&t, &t.keys[0], false, "close");
        if (t.is_file) {
                t.session = wire_open(t.client, "'anna', {}");
                wire_call(t.client, "get(%d, ['auth_key'])", t.session);
                expect(t.client, "nil", "close(%d)", t.session);
                await_closed(&t, 2);
        }
        expect_memory(&t, &t.keys[0], false, "another close");
        end(&t);
}
END_TEST

/* What a descriptor still shows is what the disk keeps of a file that is gone. */
static int hold(const struct setting *t, const char *name)
{
        TEST_FREED char *path = test_format("%s/%s", t->daemon->data, name);

        return open(path, O_RDONLY | O_CLOEXEC);
}

START_TEST(a_deleted_session_leaves_no_key)
{
        struct setting t = begin(_i);
        int file, log;

        set(&t, &t.keys[0]);
        file = hold(&t, "anna.session");
        log = hold(&t, "anna.session-wal");
        ck_assert(!t.is_file || (file >= 0 && log >= 0));
        expect(t.client, "nil", "delete(%d)", t.session);
        expect_memory(&t, &t.keys[0], false, "delete");
        expect_disk(&t, &t.keys[0], false, "delete");
        if (t.is_file) {
                ck_assert_int_eq(leftover_in_file(file, &t.keys[0]), 0);
                ck_assert_int_eq(leftover_in_file(log, &t.keys[0]), 0);
                close(file);
                close(log);
        }
        end(&t);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                an_open_session_shows_no_key_in_memory,
                a_replaced_key_is_gone,
                a_key_that_is_answered_late_is_gone_too,
                a_key_in_a_message_that_is_refused_is_gone,
                a_closed_session_leaves_no_key,
                a_deleted_session_leaves_no_key,
                NULL,
        };

        return test_program_repeated("leftover", tests, N_KINDS);
}
