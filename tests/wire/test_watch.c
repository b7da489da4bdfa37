/*
 * Notifications: what watchers are told and when (before the writer's answer); who is not told; what a
 * watcher gets that does not read; `ended`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/program.h"
#include "../support/wire.h"

struct watched {
        struct wire *writer;
        struct wire *watcher;
        int w; /* the writer's handle */
        int s; /* the watcher's */
};

static struct watched watch(struct daemon *d, const char *dialect)
{
        struct watched watched = { .writer = wire_connect(d), .watcher = wire_connect(d) };

        watched.w = wire_open(watched.writer, "'%s', {dialect: '%s'}", dialect, dialect);
        watched.s = wire_open(watched.watcher, "'%s', {}", dialect);
        expect(watched.watcher, "nil", "watch(%d, true)", watched.s);
        return watched;
}

static void unwatch(struct watched *watched)
{
        wire_end(&watched->writer);
        wire_end(&watched->watcher);
}

#define WATCHED __attribute__((cleanup(unwatch))) struct watched

/* Expects a list to have exactly these elements, in any order. */
static void expect_in(const char *text, const char *key, const char *elements)
{
        TEST_FREED char *marked = test_format("%s: [", key);
        const char *at = strstr(text, marked), *end;
        TEST_FREED char *copy = test_format("%s", elements);
        size_t len = 0;

        ck_assert_msg(at != NULL || !*elements, "no %s in %s", key, text);
        if (!at)
                return;
        end = strchr(at, ']');
        for (char *rest, *one = strtok_r(copy, " ", &rest); one; one = strtok_r(NULL, " ", &rest)) {
                const char *found = strstr(at, one);

                ck_assert_msg(found && found < end, "no %s in %s of %s", one, key, text);
                len += strlen(one) + 2;
        }
        ck_assert_msg((size_t)(end - at) == strlen(marked) + (len ? len - 2 : 0), "more than %s in %s of %s",
                      elements, key, text);
}

struct told {
        const char *request; /* after the handle */
        const char *method;
        const char *peers, *usernames, *phones, *fields, *states;
};

static const struct told tells[] = {
        { "[[7, 70, 'user', 'a', '1', 5], [8, 80, 'user', nil, nil, 5]]", "update_peers", "7 8", "'a'", "'1'",
          "", "" },
        { "[[7, 70, 'user', 'b', '1', 6]]", "update_peers", "7", "'a' 'b'", "", "", "" },
        { "[[7, 70, 'user', 'b', nil, 7]]", "update_peers", "7", "", "'1'", "", "" },
        { "[[7, ['x', 'y']]]", "update_usernames", "7", "'x' 'y'", "", "", "" },
        { "[[7, ['y', 'z']]]", "update_usernames", "7", "'x' 'z'", "", "", "" },
        { "{dc_id: 4, user_id: 7}", "set", "", "", "", "'dc_id' 'user_id'", "" },
        { "[[0, 1, 1, 1, 1], [-5, 1, 1, 1, 1]]", "update_states", "", "", "", "", "-5 0" },
        { "[0]", "remove_states", "", "", "", "", "0" },
};

START_TEST(watchers_are_told_what_changed)
{
        DAEMON d = daemon_start();
        WATCHED both = watch(d, "pyrogram");

        for (size_t i = 0; i < sizeof(tells) / sizeof(tells[0]); i++) {
                TEST_FREED char *head = test_format("changed(%d, {...", both.s);
                const char *text;

                expect(both.writer, "nil", "%s(%d, %s)", tells[i].method, both.w, tells[i].request);
                text = wire_told(both.watcher);
                expect_text(text, head);
                if (strstr(text, "all: true"))
                        ck_abort_msg("all: true without need: %s", text);
                if (strcmp(tells[i].method, "update_usernames") != 0)
                        expect_in(text, "peers", tells[i].peers);
                expect_in(text, "usernames", tells[i].usernames);
                expect_in(text, "phones", tells[i].phones);
                expect_in(text, "fields", tells[i].fields);
                expect_in(text, "states", tells[i].states);
        }
        wire_not_told(both.watcher);
        wire_not_told(both.writer);
}
END_TEST

/* The daemon queues the notification before the answer: on one connection they arrive in that order. */
START_TEST(watchers_are_told_before_the_writer_is_answered)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        int w = wire_open(c, "'anna', {}");
        int s = wire_open(c, "'anna', {}");
        int t = wire_open(other, "'anna', {}");

        expect(c, "nil", "watch(%d, true)", s);
        expect(other, "nil", "watch(%d, true)", t);
        for (int i = 0; i < 50; i++) {
                TEST_FREED char *news = test_format("changed(%d, {...peers: [%d]...", s, i + 1);
                uint32_t id = wire_send(c, "update_peers(%d, [[%d, 1, 'user', nil, nil]])", w, i + 1);
                TEST_FREED char *answer = test_format("%u: nil", id);

                expect_text(wire_next(c), news);
                expect_text(wire_next(c), answer);
                /* by now it is queued for the other connection too, before the answer to its ping */
                id = wire_send(other, "ping(1)");
                expect_text(wire_next(other), "changed(...");
                expect_text(wire_answer(other, id), "1");
        }
}
END_TEST

START_TEST(the_writers_own_handle_is_not_told)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        int t = wire_open(c, "'anna', {}");
        TEST_FREED char *news = test_format("changed(%d, ...", t);

        expect(c, "nil", "watch(%d, true)", s);
        expect(c, "nil", "watch(%d, true)", t);
        expect(c, "nil", "set(%d, {dc_id: 4})", s);
        expect_text(wire_told(c), news);
        wire_not_told(c);
}
END_TEST

START_TEST(only_watchers_of_this_session_are_told)
{
        DAEMON d = daemon_start();
        WATCHED both = watch(d, "pyrogram");
        CLIENT other = wire_connect(d);
        int s = wire_open(other, "'pyrogram', {}");
        int t = wire_open(other, "'bella', {}");

        expect(other, "nil", "watch(%d, true)", t);
        expect(both.writer, "nil", "set(%d, {dc_id: 4})", both.w);
        expect_text(wire_told(both.watcher), "changed(...");
        wire_not_told(other);
        expect(other, "nil", "watch(%d, true)", s);
        expect(other, "nil", "watch(%d, true)", s);
        expect(both.writer, "nil", "set(%d, {dc_id: 5})", both.w);
        expect_text(wire_told(other), "changed(...");
        wire_not_told(other);
        expect(other, "nil", "watch(%d, false)", s);
        expect(both.writer, "nil", "set(%d, {dc_id: 1})", both.w);
        wire_not_told(other);
        expect(other, "!bad_request", "watch(%d, 1)", s);
        expect(other, "!bad_request", "watch(%d)", s);
        expect(other, "!bad_session", "watch(99, true)");
}
END_TEST

START_TEST(refused_writes_are_not_told)
{
        DAEMON d = daemon_start();
        WATCHED both = watch(d, "pyrogram");

        expect(both.writer, "!bad_request", "set(%d, {dc_id: 4, port: -1})", both.w);
        expect(both.writer, "!bad_request", "update_peers(%d, [[1, 1, 'user', nil, nil], 5])", both.w);
        wire_not_told(both.watcher);
}
END_TEST

/* A name that can have one owner only moves to another peer: the watcher is told of both peers. */
START_TEST(a_name_taken_away_is_told)
{
        DAEMON d = daemon_start();
        WATCHED both = watch(d, "pyrofork");
        const char *text;

        expect(both.writer, "nil", "update_peers(%d, [[7, 1, 'user', nil], [8, 1, 'user', nil]])", both.w);
        wire_told(both.watcher);
        expect(both.writer, "nil", "update_usernames(%d, [[7, ['n']]])", both.w);
        wire_told(both.watcher);
        expect(both.writer, "nil", "update_usernames(%d, [[8, ['n']]])", both.w);
        text = wire_told(both.watcher);
        expect_text(text, "changed(...'n'...");
}
END_TEST

START_TEST(save_and_import_are_told)
{
        DAEMON d = daemon_start();
        WATCHED both = watch(d, "pyrogram");
        TEST_FREED char *zeros = calloc(1, 363);

        expect(both.writer, "nil", "save(%d)", both.w);
        expect_text(wire_told(both.watcher), "changed(...'date'...");
        memset(zeros, 'A', 362);
        zeros[0] = 'B'; /* dc_id 4 */
        expect(both.writer, "...dc_id...", "import_string(%d, '%s', {})", both.w, zeros);
        expect_text(wire_told(both.watcher), "changed(...'dc_id'...");
}
END_TEST

/* A watcher that does not read costs no growing queue: it is told once to forget everything. */
START_TEST(a_watcher_that_does_not_read_is_told_to_forget_all)
{
        DAEMON d = daemon_start();
        WATCHED both = watch(d, "pyrogram");
        long before;
        const char *text;
        int n = 0;

        expect(both.writer, "nil", "update_peers(%d, [[1, 1, 'user', nil, nil]])", both.w);
        before = daemon_rss_kb(d);
        for (int i = 0; i < 30000; i += 100) {
                for (int j = 0; j < 100; j++)
                        wire_send(both.writer, "update_peers(%d, [[7, 1, 'user', '%d%0200d', nil]])", both.w,
                                  i + j, 0);
                expect(both.writer, "1", "ping(1)");
                expect(both.writer, "[7, ...]", "get_peer_by_id(%d, 7)", both.w);
                wire_forget(both.writer);
        }
        ck_assert_int_lt(daemon_rss_kb(d) - before, 24 * 1024L * test_memory_factor());
        do {
                text = wire_told(both.watcher);
                ck_assert_int_lt(++n, 30000);
        } while (!strstr(text, "all: true"));
        /* afterwards it is told of each change again */
        expect(both.watcher, "[7, ...]", "get_peer_by_id(%d, 7)", both.s);
        expect(both.writer, "nil", "update_peers(%d, [[9, 1, 'user', nil, nil]])", both.w);
        while (!strstr(text, "peers: [9]"))
                text = wire_told(both.watcher);
        wire_not_told(both.watcher);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                watchers_are_told_what_changed,
                watchers_are_told_before_the_writer_is_answered,
                the_writers_own_handle_is_not_told,
                only_watchers_of_this_session_are_told,
                refused_writes_are_not_told,
                a_name_taken_away_is_told,
                save_and_import_are_told,
                a_watcher_that_does_not_read_is_told_to_forget_all,
                NULL,
        };

        return test_program("watch", tests);
}
