/*
 * What one user may hold: connections, and bytes. Root is needed to connect as another user: the daemon sees
 * the credentials of the moment of connect(2).
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/wire.h"

enum { GREEDY = 54321, OTHER = 54322, THIRD = 54323 }; /* uids */
enum { SESSIONS = 250, FEW = 150 }; /* less than a turn takes, and more than workers can have begun */
enum { INCOMPLETE = 300, PART = 3 * 1024 * 1024 + 512 * 1024 };

static bool is_served(struct wire *c)
{
        const char *text;

        wire_send(c, "ping(1)");
        text = wire_next(c);
        return text && strstr(text, ": 1");
}

START_TEST(one_user_does_not_take_all_connections)
{
        DAEMON d = daemon_start(.config = "max-clients = 100\n");
        struct wire *greedy[93], *other[6];
        CLIENT late = NULL;
        const char *text;

        if (!wire_has_strangers("shares of users"))
                return;
        for (int i = 0; i < 93; i++) {
                greedy[i] = wire_connect_stranger(d, GREEDY, GREEDY);
                ck_assert(is_served(greedy[i]));
        }
        for (int i = 0; i < 20; i++) {
                late = wire_connect_stranger(d, GREEDY, GREEDY);
                text = wire_next(late);
                expect_text(text, "0: !overloaded...");
                ck_assert_ptr_nonnull(strstr(wire_error_message(late), "share"));
                wire_expect_closed(late);
                wire_end(&late);
        }
        for (int i = 0; i < 6; i++) {
                other[i] = wire_connect_stranger(d, OTHER, OTHER);
                ck_assert(is_served(other[i]));
        }
        late = wire_connect_stranger(d, OTHER, OTHER);
        expect_text(wire_next(late), "0: !overloaded...");
        wire_end(&late);
        late = wire_connect_stranger(d, THIRD, THIRD); /* a user's first connection, the last one of all */
        ck_assert(is_served(late));
        for (int i = 0; i < 10; i++)
                wire_end(&greedy[i]);
        ck_assert(is_served(other[0]));
        for (int i = 10; i < 93; i++)
                wire_end(&greedy[i]);
        for (int i = 0; i < 6; i++)
                wire_end(&other[i]);
}
END_TEST

/*
 * Sends each client's part of a message that claims 4 MiB: [0, 1, "ping", [bin]]. Ends when the daemon takes
 * no more: it has served `own` many times, and no socket had room for anything in between.
 */
static void begin_messages(struct wire **clients, size_t *sent, int n, struct wire *own)
{
        static uint8_t bytes[PART];
        static const uint8_t head[] = {
                0x94, 0, 1, 0xa4, 'p', 'i', 'n', 'g', 0x91, 0xc6, 0, 0x3f, 0xff, 0x00
        };

        memcpy(bytes, head, sizeof(head));
        for (int idle = 0; idle < 200; idle++) {
                expect(own, "1", "ping(1)");
                for (int i = 0; i < n; i++) {
                        size_t more = wire_raw_some(clients[i], bytes + sent[i], PART - sent[i]);

                        sent[i] += more;
                        if (more > 0)
                                idle = 0;
                }
        }
}

/* 300 of them would be 1.1 GB, of which the user's half share is 60 MiB. */
START_TEST(incomplete_messages_take_half_a_share)
{
        DAEMON d = daemon_start(.config = "");
        struct wire *greedy[INCOMPLETE];
        size_t sent[INCOMPLETE] = { 0 };
        CLIENT own = NULL;
        CLIENT other = NULL;
        int whole = 0;

        if (!wire_has_strangers("shares of users"))
                return;
        own = wire_connect_stranger(d, GREEDY, GREEDY);
        for (int i = 0; i < INCOMPLETE; i++)
                greedy[i] = wire_connect_stranger(d, GREEDY, GREEDY);
        begin_messages(greedy, sent, INCOMPLETE, own);
        for (int i = 0; i < INCOMPLETE; i++)
                whole += sent[i] == PART;
        ck_assert_int_gt(whole, 0);
        ck_assert_int_lt(whole, 64 * 1024 * 1024 / PART);
        ck_assert_int_lt(daemon_rss_kb(d), 256 * 1024L * test_memory_factor());
        expect(own, "1", "ping(1)");
        other = wire_connect_stranger(d, OTHER, OTHER);
        ck_assert_int_gt(wire_open(other, "'anna', {}"), 0);
        for (int i = 0; i < INCOMPLETE; i++)
                wire_end(&greedy[i]);
        expect(own, "1", "ping(1)");
        expect(other, "1", "ping(1)");
}
END_TEST

/* Of two connections one holds the beginning of a message. */
START_TEST(stats_tell_what_a_user_has)
{
        DAEMON d = daemon_start();
        CLIENT root = wire_connect(d);
        CLIENT first = NULL;
        CLIENT second = NULL;
        const char *stats;
        long long bytes;

        if (!wire_has_strangers("shares of users"))
                return;
        first = wire_connect_stranger(d, GREEDY, GREEDY);
        second = wire_connect_stranger(d, GREEDY, GREEDY);
        wire_hex(second, "94 00 01");
        expect(first, "1", "ping(1)");
        do
                stats = wire_call(root, "stats()");
        while (wire_number(stats, "uid_54321_jobs") > 0); /* its name is looked up */
        ck_assert_int_eq(wire_number(stats, "connected_uids"), 2);
        ck_assert_int_eq(wire_number(stats, "uid_54321_connections"), 2);
        bytes = wire_number(stats, "uid_54321_bytes");
        wire_end(&second);
        do
                stats = wire_call(root, "stats()");
        while (wire_number(stats, "uid_54321_connections") == 2);
        ck_assert_int_lt(wire_number(stats, "uid_54321_bytes"), bytes);
}
END_TEST

/* A write of 4 MiB: many times the same state. */
static void send_long_write(struct wire *c)
{
        enum { ROWS = 4 * 1024 * 1024 / 6 - 10 };
        static uint8_t bytes[32 + ROWS * 6];
        static const uint8_t head[] = { 0x94,
                                        0,
                                        1,
                                        0xad,
                                        'u',
                                        'p',
                                        'd',
                                        'a',
                                        't',
                                        'e',
                                        '_',
                                        's',
                                        't',
                                        'a',
                                        't',
                                        'e',
                                        's',
                                        0x92,
                                        1,
                                        0xdd,
                                        ROWS >> 24,
                                        ROWS >> 16 & 0xff,
                                        ROWS >> 8 & 0xff,
                                        ROWS & 0xff };

        memcpy(bytes, head, sizeof(head));
        for (size_t i = 0; i < ROWS; i++)
                memcpy(bytes + sizeof(head) + i * 6, "\x95\1\2\3\4\5", 6);
        wire_raw(c, bytes, sizeof(head) + ROWS * 6);
}

/* The requests of clients that have gone are still worked on: 280 MiB of them, if the daemon read them all.
 */
START_TEST(clients_that_go_do_not_leave_memory_behind)
{
        DAEMON d = daemon_start(.config = "");
        CLIENT other = NULL;

        if (!wire_has_strangers("shares of users"))
                return;
        for (int i = 0; i < 70; i++) {
                CLIENT greedy = wire_connect_stranger(d, GREEDY, GREEDY);

                ck_assert_int_eq(wire_open(greedy, "'greedy', {create: true}"), 1);
                send_long_write(greedy);
        }
        other = wire_connect_stranger(d, OTHER, OTHER);
        ck_assert_int_gt(wire_open(other, "'other', {create: true}"), 0);
        ck_assert_int_lt(daemon_peak_rss_kb(d), 256 * 1024L * test_memory_factor());
}
END_TEST

/* 40 long writes at once, of which none is left afterwards. */
START_TEST(long_lists_leave_no_memory_behind)
{
        DAEMON d = daemon_start(.config = "client-memory = 4G\nclient-buffer = 64M\n");
        CLIENT c = wire_connect(d);
        const char *stats;
        long before;

        for (int i = 1; i <= 40; i++)
                ck_assert_int_eq(wire_open(c, "'s%d', {}", i), i);
        before = daemon_rss_kb(d);
        for (int i = 0; i < 40; i++) {
                CLIENT greedy = wire_connect(d);

                ck_assert_int_eq(wire_open(greedy, "'s%d', {}", i + 1), 1);
                send_long_write(greedy);
        }
        do
                stats = wire_call(c, "stats()");
        while (wire_readable(c, 20),
               wire_number(stats, "connections") > 1 || wire_number(stats, "jobs_pending") > 0);
        ck_assert_int_gt(daemon_peak_rss_kb(d) - before, 100 * 1024L);
        ck_assert_int_lt(daemon_rss_kb(d) - before, 32 * 1024L * test_memory_factor());
}
END_TEST

static long long overfull(struct daemon *d)
{
        CLIENT root = wire_connect(d);

        return wire_number(wire_call(root, "stats()"), "connections_overfull_total");
}

/* Whole messages of one user's many connections, of which none reads its answers. */
START_TEST(who_reads_no_answers_loses_the_largest_connection)
{
        DAEMON d = daemon_start(.config = "client-memory = 8M\nclient-buffer = 4M\n");
        struct wire *greedy[40];
        CLIENT other = NULL;
        size_t len;
        uint8_t *ping;
        char text[4000];

        if (!wire_has_strangers("shares of users"))
                return;
        memset(text, 'a', sizeof(text) - 1);
        text[sizeof(text) - 1] = 0;
        ping = wire_pack(7, &len, "ping('%s')", text);
        for (int i = 0; i < 40; i++) {
                greedy[i] = wire_connect_stranger(d, GREEDY, GREEDY);
                for (int n = 0; n < 1000 && (n == 0 || wire_writable(greedy[i], 50)); n++) {
                        size_t sent = wire_raw_some(greedy[i], ping, len);

                        if (sent < len)
                                break; /* the daemon reads no more, or has closed it */
                }
        }
        other = wire_connect_stranger(d, OTHER, OTHER);
        expect(other, "1", "ping(1)");
        while (overfull(d) == 0) /* each round waits for a connection that the daemon closes */
                wire_readable(greedy[39], 100);
        ck_assert_int_gt(overfull(d), 0);
        expect(other, "1", "ping(1)");
        ck_assert_int_lt(daemon_rss_kb(d), 256 * 1024L * test_memory_factor());
        for (int i = 0; i < 40; i++)
                wire_end(&greedy[i]);
        free(ping);
}
END_TEST

/*
 * The daemon finds requests of the greedy client for many sessions, and then one of another user. How many of
 * the greedy one are answered first: the monitor sees the order. `first` and `number` are for the requests of
 * the greedy one and that of the other one.
 */
static int served_before(struct daemon *d, struct wire *monitor, struct wire *greedy, struct wire *other,
                         const char *request, int first, int number)
{
        uint32_t ids[SESSIONS];
        char wanted[64];
        const char *text;
        int before = -1;

        snprintf(wanted, sizeof(wanted), "method: '%.*s'", (int)strcspn(request, "("), request);
        daemon_freeze(d);
        for (int i = 0; i < SESSIONS; i++)
                ids[i] = wire_send(greedy, request, first + i);
        wire_send(other, request, number);
        daemon_thaw(d);
        do {
                do
                        text = wire_told(monitor);
                while (!strstr(text, wanted));
                ck_assert_msg(strstr(text, "error: nil"), "%s", text);
                before++;
        } while (!strstr(text, "client: 'other'"));
        for (int i = 0; i < SESSIONS; i++)
                ck_assert_int_ne(wire_answer(greedy, ids[i])[0], '!');
        wire_forget(monitor);
        return before;
}

/*
 * In one of three rounds at least: the system may let one thread wait. Without turns the other one comes last
 * in each.
 */
START_TEST(workers_serve_users_in_turn)
{
        enum { ROUNDS = 3 };
        static const struct {
                const char *request;
                int number; /* the other one's */
        } loops[] = {
                { "open('session%d', {create: true})", 10000 }, { "save(%d)", 1 },   { "info(%d)", 1 },
                { "update_states(%d, [[1, 2, 3, 4, 5]])", 1 },  { "delete(%d)", 1 },
        };
        DAEMON d = daemon_start(.config = "fsync = always\n");
        CLIENT greedy = NULL;
        CLIENT other = NULL;
        CLIENT monitor = NULL;

        if (!wire_has_strangers("shares of users"))
                return;
        greedy = wire_connect_stranger(d, GREEDY, GREEDY);
        other = wire_connect_stranger(d, OTHER, OTHER);
        wire_call(greedy, "hello({client: 'greedy'})");
        wire_call(other, "hello({client: 'other'})");
        monitor = wire_connect(d);
        expect(monitor, "nil", "monitor(true)");
        for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
                int least = SESSIONS;

                for (int round = 0; round < ROUNDS; round++) {
                        int before = served_before(d, monitor, greedy, other, loops[i].request,
                                                   1 + round * SESSIONS, loops[i].number + round);

                        if (before < least)
                                least = before;
                }
                ck_assert_msg(least < FEW, "%s: %d requests were answered before that of the other user",
                              loops[i].request, least);
        }
}
END_TEST

/* A connection may have a thousand of one session, and a user thousands of connections. */
START_TEST(handles_count_among_what_a_user_holds)
{
        enum { HANDLES = 300, LEAST = 100 };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        char name[32];
        long long without;

        snprintf(name, sizeof(name), "uid_%u_bytes", (unsigned)geteuid());
        ck_assert(is_served(c));
        without = wire_number(wire_call(c, "stats()"), name);
        for (int i = 1; i <= HANDLES; i++)
                ck_assert_int_eq(wire_open(c, "'anna', {}"), i);
        ck_assert_int_ge(wire_number(wire_call(c, "stats()"), name), without + HANDLES * LEAST);
        for (int i = 1; i <= HANDLES; i++)
                expect(c, "nil", "close(%d)", i);
        ck_assert_int_eq(wire_number(wire_call(c, "stats()"), name), without);
}
END_TEST

/* Each open that waits keeps the groups of its client. */
START_TEST(groups_count_among_what_a_user_holds)
{
        enum { GROUPS = 1000, OPENS = 100 };
        DAEMON d = daemon_start();
        CLIENT root = wire_connect(d);
        CLIENT greedy = NULL;
        gid_t gids[GROUPS];
        int s;

        if (!wire_has_strangers("shares of users"))
                return;
        for (int i = 0; i < GROUPS; i++)
                gids[i] = (gid_t)(60000 + i);
        greedy = wire_connect_stranger_in(d, GREEDY, gids, GROUPS);
        s = wire_open(greedy, "'anna', {mode: 'exclusive'}");
        for (int i = 0; i < OPENS; i++)
                wire_send(greedy, "open('anna', {wait: 60000})");
        expect(greedy, "1", "ping(1)");
        ck_assert_int_ge(wire_number(wire_call(root, "stats()"), "uid_54321_bytes"),
                         OPENS * GROUPS * (long long)sizeof(gid_t));
        wire_call(greedy, "close(%d)", s);
}
END_TEST

/* To compare the names of a thousand groups takes long: each such open is a turn of its own. */
START_TEST(names_of_groups_count_in_a_turn)
{
        enum { GROUPS = 1000, OPENS = 50 };
        static const char opening[] = "\x93\x02\xa4open\x92\xa4"
                                      "anna\x81\xa6"
                                      "create\xc2";
        DAEMON d = daemon_start(.config = "[access]\neveryone = write on %g-*\n");
        CLIENT root = wire_connect(d);
        CLIENT greedy = NULL;
        char flood[OPENS * (sizeof(opening) - 1) + 1] = "";
        gid_t gids[GROUPS];
        long long before;

        if (!wire_has_strangers("shares of users"))
                return;
        for (int i = 0; i < GROUPS; i++)
                gids[i] = (gid_t)(60000 + i);
        for (int i = 0; i < OPENS; i++)
                strcat(flood, opening);
        greedy = wire_connect_stranger_in(d, GREEDY, gids, GROUPS);
        expect(greedy, "1", "ping(1)");
        before = wire_number(wire_call(root, "stats()"), "turns_used_up_total");
        wire_raw(greedy, flood, strlen(flood));
        expect(greedy, "1", "ping(1)");
        ck_assert_int_ge(wire_number(wire_call(root, "stats()"), "turns_used_up_total"), before + OPENS - 1);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                one_user_does_not_take_all_connections,
                incomplete_messages_take_half_a_share,
                stats_tell_what_a_user_has,
                clients_that_go_do_not_leave_memory_behind,
                long_lists_leave_no_memory_behind,
                who_reads_no_answers_loses_the_largest_connection,
                workers_serve_users_in_turn,
                handles_count_among_what_a_user_holds,
                groups_count_among_what_a_user_holds,
                names_of_groups_count_in_a_turn,
                NULL,
        };

        return test_program("shares", tests);
}
