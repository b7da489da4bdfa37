/*
 * A long write is worked off in slices, with other requests in between. Something happens in the middle of
 * it: its client goes, the session is deleted, the daemon ends, new rules hold. The write counts as a whole.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/long_write.h"
#include "../support/program.h"
#include "../support/wire.h"

enum { ROWS = 100000, UID = 1234 };

static void begin(struct long_write *w, const char *config)
{
        *w = (struct long_write){ .daemon = daemon_start(.config = config), .rows = ROWS };
        w->other = wire_connect(w->daemon);
        w->t = wire_open(w->other, "'anna', {}");
        w->writer = wire_connect(w->daemon);
        w->s = wire_open(w->writer, "'anna', {}");
}

static void end(struct long_write *w)
{
        wire_end(&w->writer);
        wire_end(&w->other);
        daemon_end(&w->daemon);
}

START_TEST(its_client_goes)
{
        struct long_write w;

        begin(&w, NULL);
        long_write_stop_in_the_middle(&w);
        wire_end(&w.writer);
        daemon_thaw(w.daemon);
        long_write_expect_rows(&w, w.other, w.t);
        ck_assert_int_eq(wire_number(wire_call(w.other, "info(%d)", w.t), "handles"), 1);
        end(&w);
}
END_TEST

START_TEST(watchers_come_and_go)
{
        struct long_write w;
        struct wire *goes, *stays;
        int s;

        begin(&w, NULL);
        goes = wire_connect(w.daemon);
        stays = wire_connect(w.daemon);
        s = wire_open(goes, "'anna', {}");
        expect(goes, "nil", "watch(%d, true)", s);
        s = wire_open(stays, "'anna', {}");
        expect(stays, "nil", "watch(%d, true)", s);
        long_write_stop_in_the_middle(&w);
        wire_end(&goes);
        wire_forget(stays);
        daemon_thaw(w.daemon);
        for (int round = 0; round < w.hash; round++)
                expect_text(wire_told(stays), "changed(...)");
        expect_text(wire_told(stays), "changed(1, {all: true, ...})");
        wire_not_told(stays);
        expect_text(wire_answer(w.writer, 5), "nil");
        long_write_expect_rows(&w, w.other, w.t);
        wire_end(&stays);
        end(&w);
}
END_TEST

START_TEST(the_session_is_deleted)
{
        struct long_write w;
        uint32_t id, read;

        begin(&w, NULL);
        long_write_stop_in_the_middle(&w);
        id = wire_send(w.other, "delete(%d)", w.t);
        read = wire_send(w.writer, "get_peer_by_id(%d, 1)", w.s);
        daemon_thaw(w.daemon);
        expect_text(wire_answer(w.writer, 5), "nil");
        expect_text(wire_answer(w.writer, read), "...");
        expect_text(wire_answer(w.other, id), "nil");
        expect_text(wire_told(w.writer), "ended(1, 'not_found', ...)");
        w.t = wire_open(w.other, "'anna', {}");
        ck_assert_int_eq(wire_number(wire_call(w.other, "info(%d)", w.t), "peers"), 0);
        end(&w);
}
END_TEST

START_TEST(the_daemon_ends)
{
        struct long_write w;

        begin(&w, NULL);
        long_write_stop_in_the_middle(&w);
        daemon_signal(w.daemon, SIGTERM);
        daemon_thaw(w.daemon);
        expect_text(wire_answer(w.writer, 5), "nil");
        wire_expect_closed(w.writer);
        daemon_stop(w.daemon);
        daemon_resume(w.daemon);
        wire_end(&w.other);
        w.other = wire_connect(w.daemon);
        w.t = wire_open(w.other, "'anna', {}");
        long_write_expect_rows(&w, w.other, w.t);
        end(&w);
}
END_TEST

/* They wait for the end of it, and are not all in one job then. */
START_TEST(very_many_writes_wait)
{
        enum { WRITERS = 10, WRITES = 250, A_JOB = 1024 };
        struct wire *writers[WRITERS];
        struct long_write w;
        uint32_t first, last[WRITERS];
        long long commits;
        int s[WRITERS];

        begin(&w, NULL);
        for (int i = 0; i < WRITERS; i++) {
                writers[i] = wire_connect(w.daemon);
                s[i] = wire_open(writers[i], "'anna', {}");
        }
        long_write_stop_in_the_middle(&w);
        first = wire_send(w.other, "stats()");
        for (int i = 0; i < WRITERS; i++)
                for (int k = 0; k < WRITES; k++)
                        last[i] = wire_send(writers[i], "update_peers(%d, [[%d, %d, 'own', nil, nil]])", s[i],
                                            ROWS + 1 + i, k);
        daemon_thaw(w.daemon);
        commits = wire_number(wire_answer(w.other, first), "commits_total");
        expect_text(wire_answer(w.writer, 5), "nil");
        for (int i = 0; i < WRITERS; i++) {
                expect_text(wire_answer(writers[i], last[i]), "nil");
                TEST_FREED char *row =
                        test_format("[%d, %d, 'own', nil, nil, ...]", ROWS + 1 + i, WRITES - 1);

                expect(w.other, row, "get_peer_by_id(%d, %d)", w.t, ROWS + 1 + i);
                wire_end(&writers[i]);
        }
        commits = wire_number(wire_call(w.other, "stats()"), "commits_total") - commits;
        ck_assert_int_ge(commits, WRITERS * WRITES / A_JOB);
        end(&w);
}
END_TEST

/* What is committed stays; what the writer sends after the reload is refused. */
START_TEST(the_writer_loses_its_rights)
{
        struct long_write w;
        uint32_t late;

        if (!wire_has_strangers("rights of users"))
                return;
        begin(&w, "[access]\nuser 1234 = write on anna\n");
        wire_end(&w.writer);
        w.writer = wire_connect_stranger(w.daemon, UID, UID);
        w.s = wire_open(w.writer, "'anna', {}");
        long_write_stop_in_the_middle(&w);
        test_write_file(w.daemon->config, "[access]\nuser 1 = read\n", 23);
        daemon_signal(w.daemon, SIGHUP);
        daemon_thaw(w.daemon);
        daemon_await(w.daemon, "READY=1");
        late = wire_send(w.writer, "update_peers(%d, [[1, 99, 'u', nil, nil]])", w.s);
        expect_text(wire_answer(w.writer, late), "!bad_session");
        expect_text(wire_told(w.writer), "ended(1, 'denied', ...)");
        expect_text(wire_answer(w.writer, 5), "nil");
        long_write_expect_rows(&w, w.other, w.t);
        end(&w);
}
END_TEST

enum { FLOOD = 60000, HANDLES = 1000, CLIENTS = 3 };

/*
 * Reads on its last handle: many turns of the loop. Ids begin with 100000. `other` deletes the session
 * meanwhile; NULL: the rules change. Returns the id of that request.
 */
static uint32_t read_in_a_flood(struct daemon *d, struct wire *c, uint32_t last, struct wire *other)
{
        static const char method[] = "\xaeget_peer_by_id\x92\xcd";
        uint8_t *flood = malloc(FLOOD * 32), *at = flood;
        uint32_t deleting = 0;
        size_t sent;

        ck_assert_ptr_nonnull(flood);
        for (uint32_t id = 100000; id < 100000 + FLOOD; id++) {
                const uint8_t head[] = {
                        0x94,       0x00, 0xce, (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),
                        (uint8_t)id
                };

                memcpy(at, head, sizeof(head));
                memcpy(at + sizeof(head), method, sizeof(method) - 1);
                at += sizeof(head) + sizeof(method) - 1;
                *at++ = (uint8_t)(last >> 8);
                *at++ = (uint8_t)last;
                *at++ = 1;
        }
        daemon_freeze(d);
        sent = wire_raw_some(c, flood, (size_t)(at - flood));
        if (other)
                deleting = wire_send(other, "delete(1)");
        else
                daemon_signal(d, SIGHUP);
        daemon_thaw(d);
        wire_raw(c, flood + sent, (size_t)(at - flood) - sent);
        free(flood);
        return deleting;
}

/* The first `ended` says that the new rules hold, or that nothing is stored: no answer after it is older. */
static void expect_no_read_after_the_end(struct wire *c, int handles)
{
        int n_ended = 0, n_read = 0, n_refused = 0;

        while (n_read + n_refused < FLOOD || n_ended < handles) {
                const char *text = wire_next(c);

                ck_assert_ptr_nonnull(text);
                if (strstr(text, "ended(")) {
                        n_ended++;
                } else if (strstr(text, "!bad_session")) {
                        n_refused++;
                } else {
                        ck_assert_msg(strstr(text, "!not_found") && n_ended == 0, "after %d ends: %s",
                                      n_ended, text);
                        n_read++;
                }
        }
        ck_assert_msg(n_refused > 0, "nothing ended within the flood"); /* it may have ended before it */
}

/* New rules with many handles are worked off in slices. No request is executed by the old ones meanwhile. */
START_TEST(many_handles_lose_their_rights)
{
        static const char after[] = "client-buffer = 1G\n[access]\nuser 1 = read\n";
        DAEMON d = daemon_start(.config = "client-buffer = 1G\n[access]\nuser 1234 = write\n");
        CLIENT other = wire_connect(d);
        struct wire *clients[CLIENTS];
        long long n;

        if (!wire_has_strangers("rights of users"))
                return;
        for (int k = 0; k < 10; k++) /* who makes a session keeps his rights */
                wire_open(other, "'s%d', {backend: 'memory'}", k);
        for (int i = 0; i < CLIENTS; i++) {
                clients[i] = wire_connect_stranger(d, UID, UID);
                for (int k = 0; k < HANDLES; k++)
                        wire_open(clients[i], "'s%d', {backend: 'memory'}", k / (HANDLES / 10));
        }
        expect(clients[0], "!not_found", "get_peer_by_id(%d, 1)", HANDLES); /* from now on it is cached */
        n = long_write_slices(other);
        test_write_file(d->config, after, sizeof(after) - 1);
        read_in_a_flood(d, clients[0], HANDLES, NULL);
        expect_no_read_after_the_end(clients[0], HANDLES);
        for (int i = 1; i < CLIENTS; i++)
                for (int k = 0; k < HANDLES; k++)
                        expect_text(wire_told(clients[i]), "ended(..., 'denied', ...)");
        ck_assert_int_ge(long_write_slices(other) - n, CLIENTS * HANDLES / 500);
        ck_assert_int_eq(wire_number(wire_call(other, "info(1)"), "handles"), 1);
        for (int i = 0; i < CLIENTS; i++)
                wire_end(&clients[i]);
}
END_TEST

/* The same when the session is deleted that they are of. A new one of its name is not theirs. */
START_TEST(many_handles_end_with_their_session)
{
        DAEMON d = daemon_start(.config = "client-buffer = 1G\n");
        CLIENT other = wire_connect(d);
        struct wire *clients[CLIENTS];
        uint32_t id;
        long long n;

        wire_open(other, "'anna', {backend: 'memory'}");
        for (int i = 0; i < CLIENTS; i++) {
                clients[i] = wire_connect(d);
                for (int k = 0; k < HANDLES; k++)
                        wire_open(clients[i], "'anna', {backend: 'memory'}");
        }
        expect(clients[0], "!not_found", "get_peer_by_id(%d, 1)", HANDLES); /* from now on it is cached */
        n = long_write_slices(other);
        id = read_in_a_flood(d, clients[0], HANDLES, other);
        expect_text(wire_answer(other, id), "nil");
        wire_not_told(other);
        wire_open(other, "'anna', {backend: 'memory'}");
        ck_assert_int_eq(wire_number(wire_call(other, "info(2)"), "handles"), 1);
        expect_no_read_after_the_end(clients[0], HANDLES);
        for (int i = 1; i < CLIENTS; i++)
                for (int k = 0; k < HANDLES; k++)
                        expect_text(wire_told(clients[i]), "ended(..., 'not_found', ...)");
        ck_assert_int_ge(long_write_slices(other) - n, CLIENTS * HANDLES / 512);
        for (int i = 0; i < CLIENTS; i++) {
                expect(clients[i], "!bad_session", "info(1)");
                wire_end(&clients[i]);
        }
}
END_TEST

enum { RULES = 5000 };

/* Rules for others. So many that few handles are looked at in a turn. malloc'ed. */
static char *long_rules(void)
{
        static const char rule[] = "user 100000 = read\n", head[] = "[access]\n";
        char *text = malloc(sizeof(head) + RULES * (sizeof(rule) - 1)), *at = text;

        ck_assert_ptr_nonnull(text);
        at = stpcpy(at, head);
        for (int i = 0; i < RULES; i++)
                at += sprintf(at, "user %d = read\n", 100000 + i);
        return text;
}

/* `changed` waits for no slice: once one of its handles has ended, a client is told of no change any more. */
START_TEST(a_watcher_without_its_right_is_told_nothing_more)
{
        TEST_FREED char *after = long_rules();
        DAEMON d = daemon_start(.config = "[access]\nuser 1234 = write\n");
        CLIENT other = wire_connect(d);
        CLIENT watcher = NULL;
        int n_ended = 0, n_written = 0;

        if (!wire_has_strangers("rights of users"))
                return;
        wire_open(other, "'anna', {backend: 'memory'}");
        watcher = wire_connect_stranger(d, UID, UID);
        expect(other, "nil", "chown(1, '#1')");
        for (int k = 0; k < HANDLES; k++)
                wire_open(watcher, "'anna', {backend: 'memory'}");
        expect(watcher, "nil", "watch(%d, true)", HANDLES);
        test_write_file(d->config, after, strlen(after));
        daemon_signal(d, SIGHUP);
        do
                expect(other, "nil", "update_peers(1, [[%d, 1, 'user', nil, nil]])", ++n_written);
        while (wire_number(wire_call(other, "info(1)"), "handles") > 1);
        while (n_ended < HANDLES) {
                const char *text = wire_told(watcher);

                if (strstr(text, "ended("))
                        n_ended++;
                else
                        ck_assert_msg(strstr(text, "changed(") && n_ended == 0, "after %d ends: %s", n_ended,
                                      text);
        }
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                its_client_goes,
                watchers_come_and_go,
                the_session_is_deleted,
                the_daemon_ends,
                very_many_writes_wait,
                the_writer_loses_its_rights,
                many_handles_lose_their_rights,
                many_handles_end_with_their_session,
                a_watcher_without_its_right_is_told_nothing_more,
                NULL,
        };

        return test_program("slices", tests);
}
