/*
 * Nobody holds the loop: a client that sends very many requests at once, or a very long one, is served in
 * turns. Another client's request, sent later, is answered before.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "../support/loop_frees.h"
#include "../support/program.h"
#include "../support/wire.h"

enum { STATES = 65536, PART = 8192 };

/* ---- long messages ---- */

struct bytes {
        uint8_t *data;
        size_t len, cap;
};

#define BYTES __attribute__((cleanup(bytes_end))) struct bytes

static void bytes_end(struct bytes *bytes)
{
        free(bytes->data);
}

static void add(struct bytes *bytes, const void *data, size_t len)
{
        if (bytes->len + len > bytes->cap) {
                bytes->cap = 2 * (bytes->len + len);
                bytes->data = realloc(bytes->data, bytes->cap);
                ck_assert_ptr_nonnull(bytes->data);
        }
        memcpy(bytes->data + bytes->len, data, len);
        bytes->len += len;
}

static void add_int(struct bytes *bytes, uint32_t value)
{
        const uint8_t packed[] = { 0xce, (uint8_t)(value >> 24), (uint8_t)(value >> 16),
                                   (uint8_t)(value >> 8), (uint8_t)value };

        add(bytes, packed, sizeof(packed));
}

/* The beginning of a request (`id` not 0) or notification with two parameters: handle and a list of `n`. */
static void add_head(struct bytes *bytes, uint32_t id, const char *method, int s, uint32_t n)
{
        const uint8_t request[] = { 0x94, 0x00 }, notification[] = { 0x93, 0x02 };
        const uint8_t text[] = { (uint8_t)(0xa0 | strlen(method)) }, two[] = { 0x92, (uint8_t)s, 0xdd };

        add(bytes, id ? request : notification, 2);
        if (id)
                add_int(bytes, id);
        add(bytes, text, 1);
        add(bytes, method, strlen(method));
        add(bytes, two, sizeof(two));
        add_int(bytes, n);
        memmove(bytes->data + bytes->len - 5, bytes->data + bytes->len - 4,
                4); /* the count without its type */
        bytes->len--;
}

static void fill_states(struct wire *c, int s)
{
        for (uint32_t from = 0; from < STATES; from += PART) {
                BYTES message = { 0 };

                add_head(&message, 77, "update_states", s, PART);
                for (uint32_t id = from; id < from + PART; id++) {
                        add(&message, "\x95", 1);
                        add_int(&message, id);
                        add(&message, "\x01\x02\x03\x04", 4);
                }
                wire_raw(c, message.data, message.len);
                expect_text(wire_answer(c, 77), "nil");
        }
}

/* ---- tests ---- */

/*
 * 60 kB in one write: 4,000 times all states, and nobody reads the answers because there are none. The write
 * among them is answered after those that were sent before it.
 */
START_TEST(a_flood_of_notifications_is_served_in_turns)
{
        enum { NOTIFICATIONS = 4000, BEFORE = 20 };
        DAEMON d = daemon_start(.config = "client-buffer = 1G\nclient-memory = 4G\n");
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        int s = wire_open(c, "'anna', {}"), t = wire_open(other, "'anna', {}");
        const uint8_t notification[] = "\x93\x02\xaaget_states\x91\x01";
        BYTES flood = { 0 };

        ck_assert_int_eq(s, 1);
        fill_states(c, s);
        for (int i = 0; i < NOTIFICATIONS; i++) {
                add(&flood, notification, sizeof(notification) - 1);
                if (i == BEFORE)
                        add_head(&flood, 9, "remove_states", s, 0);
        }
        wire_raw(c, flood.data, flood.len);
        for (int i = 0; i < 5; i++)
                expect(other, "[[1, 1, 2, 3, 4]]", "get_states(%d, [1])", t);
        ck_assert_msg(!wire_readable(c, 0), "the other one was served after the flood");
        expect_text(wire_answer(c, 9), "nil");
        ck_assert_int_gt(wire_number(wire_call(other, "stats()"), "turns_used_up_total"), 0);
}
END_TEST

/* Cheap requests, but more than a turn takes: every turn of the loop serves the other one, too. */
START_TEST(a_flood_of_reads_is_served_in_turns)
{
        enum { READS = 200000 };
        DAEMON d = daemon_start(.config = "client-buffer = 1G\nclient-memory = 4G\n");
        CLIENT c = wire_connect(d);
        long long turns;
        BYTES flood = { 0 };
        int s = wire_open(c, "'anna', {}");

        expect(c, "nil", "update_peers(%d, [[1, 1, 'user', nil, nil]])", s);
        for (int i = 0; i < READS; i++)
                add(&flood, "\x93\x02\xaeget_peer_by_id\x92\x01\x01", 20);
        turns = wire_number(wire_call(c, "stats()"), "turns_used_up_total");
        wire_raw(c, flood.data, flood.len);
        turns = wire_number(wire_call(c, "stats()"), "turns_used_up_total") - turns;
        ck_assert_int_ge(turns, READS / 256 - 1);
}
END_TEST

/* What is cut by the end of a turn is executed later, in the order sent, also if the client has closed its
 * end. */
START_TEST(what_a_turn_leaves_is_executed_in_order)
{
        enum { WRITES = 1000 };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        int s = wire_open(c, "'anna', {}"), t = wire_open(other, "'anna', {}");
        BYTES flood = { 0 };

        for (uint32_t i = 0; i < WRITES; i++) { /* of one id: the last one counts */
                add_head(&flood, 0, "update_states", s, 1);
                add(&flood, "\x95\x07", 2);
                add_int(&flood, i);
                add(&flood, "\xc0\xc0\xc0", 3);
                if (i % 100 == 99) /* no more than 256 may be in flight */
                        add_head(&flood, i, "get_states", s, 0);
                if (i % 100 == 99) {
                        wire_raw(c, flood.data, flood.len);
                        flood.len = 0;
                        expect_text(wire_answer(c, i), "[]");
                }
        }
        wire_end(&c);
        expect(other, "[[7, 999, nil, nil, nil]]", "get_states(%d, [7])", t);
}
END_TEST

/* The end of the connection arrives with the flood, before its turn. */
START_TEST(notifications_are_executed_though_the_client_has_gone)
{
        enum { PINGS = 3000 };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        long long before, start = test_now_ms();
        BYTES flood = { 0 };

        expect(c, "1", "ping(1)");
        for (int i = 0; i < PINGS; i++)
                add(&flood, "\x93\x02\xa4ping\x91\x01", 9);
        before = wire_number(wire_call(other, "stats()"), "requests_total");
        daemon_freeze(d);
        wire_raw(c, flood.data, flood.len);
        wire_end(&c);
        daemon_thaw(d);
        while (wire_number(wire_call(other, "stats()"), "connections") > 1)
                test_time_left(start, "the client's end");
        ck_assert_int_ge(wire_number(wire_call(other, "stats()"), "requests_total") - before, PINGS);
}
END_TEST

/*
 * The client sends a flood, closes its writing end, and reads only then: every request is answered, in order.
 */
START_TEST(a_client_that_half_closes_gets_every_answer)
{
        enum { REQUESTS = 20000 };
        static const uint8_t from_cache[] = "\xaeget_peer_by_id\x92\x01\x01";
        DAEMON d = daemon_start(.config = "client-buffer = 64K\n");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        BYTES flood = { 0 };
        size_t sent = 0;

        expect(c, "nil", "update_peers(%d, [[1, 1, 'user', nil, nil]])", s);
        for (uint32_t i = 0; i < REQUESTS; i++) {
                add(&flood, "\x94\x00", 2);
                add_int(&flood, 1000 + i);
                add(&flood, from_cache, sizeof(from_cache) - 1);
        }
        /* What the daemon does not take, because nobody reads its answers, is sent while they are read. */
        for (uint32_t i = 0; i < REQUESTS; i++) {
                if (sent < flood.len) {
                        sent += wire_raw_some(c, flood.data + sent, flood.len - sent);
                        if (sent == flood.len)
                                ck_assert_int_eq(shutdown(wire_fd(c), SHUT_WR), 0);
                }
                while (sent < flood.len && !wire_readable(c, 0)) {
                        sent += wire_raw_some(c, flood.data + sent, flood.len - sent);
                        if (sent == flood.len)
                                ck_assert_int_eq(shutdown(wire_fd(c), SHUT_WR), 0);
                }
                expect_text(wire_answer(c, 1000 + i), "[1, ...]");
        }
}
END_TEST

/* One turn of a connection is counted once, though others may be served in the same turn of the loop. */
START_TEST(a_turn_is_counted_once)
{
        enum { READS = 100000 };
        DAEMON d = daemon_start(.config = "client-buffer = 1G\nclient-memory = 4G\n");
        CLIENT c = wire_connect(d);
        long long turns;
        BYTES flood = { 0 };

        wire_open(c, "'anna', {}");
        for (int i = 0; i < READS; i++)
                add(&flood, "\x93\x02\xa4ping\x91\x01", 9);
        turns = wire_number(wire_call(c, "stats()"), "turns_used_up_total");
        wire_raw(c, flood.data, flood.len);
        turns = wire_number(wire_call(c, "stats()"), "turns_used_up_total") - turns;
        ck_assert_int_ge(turns, READS / 256 - 1);
        ck_assert_int_le(turns, READS / 256 + (long long)flood.len / 4096);
}
END_TEST

/*
 * One user has many connections, and each sends as much as a turn takes. All of it has arrived before the
 * request of another user, whose answer says how many requests were executed before.
 */
START_TEST(many_connections_of_one_user_do_not_hold_the_loop)
{
        enum { CONNECTIONS = 100, PINGS = 250, UID = 1234 };
        static const uint8_t ping[] = "\x93\x02\xa4ping\x91\x01";
        DAEMON d = daemon_start();
        struct wire *flooding[CONNECTIONS];
        BYTES flood = { 0 };
        long long before;
        uint32_t id;

        if (!wire_has_strangers("turns of users"))
                return;

        CLIENT other = wire_connect(d);

        for (int i = 0; i < PINGS; i++)
                add(&flood, ping, sizeof(ping) - 1);
        for (int i = 0; i < CONNECTIONS; i++) {
                flooding[i] = wire_connect_stranger(d, UID, UID);
                expect(flooding[i], "1", "ping(1)");
        }
        before = wire_number(wire_call(other, "stats()"), "requests_total");
        daemon_freeze(d);
        for (int i = 0; i < CONNECTIONS; i++)
                wire_raw(flooding[i], flood.data, flood.len);
        id = wire_send(other, "stats()");
        daemon_thaw(d);
        ck_assert_int_le(wire_number(wire_answer(other, id), "requests_total") - before, 12 * PINGS);
        for (int i = 0; i < CONNECTIONS; i++) {
                expect(flooding[i], "2", "ping(2)"); /* after the flood */
                wire_end(&flooding[i]);
        }
        ck_assert_int_ge(wire_number(wire_call(other, "stats()"), "requests_total") - before,
                         CONNECTIONS * PINGS);
}
END_TEST

/* ---- the longest lists ---- */

enum { LIST_BYTES = 4 * 1024 * 1024 - 64 };

/* A message as long as one may be: a request of id 5 with as many of these rows as fit. Returns their number.
 */
static uint32_t longest(struct bytes *message, const char *method, int s, const void *row, size_t len)
{
        uint32_t n = (uint32_t)(LIST_BYTES / len);

        add_head(message, 5, method, s, n);
        for (uint32_t i = 0; i < n; i++) {
                size_t at = message->len;

                add(message, row, len);
                for (int b = 0; b < 4; b++) /* each row has its own id where it has one of four bytes */
                        if (memchr(row, 0xce, len))
                                message->data[at +
                                              (size_t)((const uint8_t *)memchr(row, 0xce, len) -
                                                       (const uint8_t *)row) +
                                              1 + (size_t)b] = (uint8_t)(i >> (24 - 8 * b));
        }
        return n;
}

/*
 * Sends it, and counts the requests of `other` that are answered before it. `other` has a session of its own.
 */
static int served_meanwhile(struct wire *c, const struct bytes *message, struct wire *other, int t)
{
        size_t sent = 0;
        int n = 0;

        while (!wire_readable(c, 0)) {
                if (sent < message->len)
                        sent += wire_raw_some(c, message->data + sent, message->len - sent);
                expect(other, "[[1, ...]]", "get_peers(%d, [1])", t);
                if (sent == message->len)
                        n++;
        }
        return n;
}

static void fill_peer(struct wire *c, int s)
{
        expect(c, "nil", "update_peers(%d, [[1, 1, 'user', nil, nil]])", s);
}

/* The daemon takes long for each of these; it answers others meanwhile, many times. */
START_TEST(the_longest_lists_do_not_hold_the_loop)
{
        static const struct {
                const char *method;
                const char *row;
                size_t len;
                int least; /* requests of the other client */
                const char *answer;
        } lists[] = {
                { "update_peers", "\x95\xce....\x01\xa1u\xc0\xc0", 11, 50, "nil" },
                { "update_peers", "\x95\xce....\x02\xa1u\xc0\xc0", 11, 50, "nil" },
                { "update_peers", "\x95\xce....\x02\xa1u\xc0\x05", 11, 1, "!bad_request" },
                { "update_states", "\x95\xce....\x01\x02\x03\x04", 10, 1, "!too_large" },
                { "update_states", "\x95\x07\x01\x02\x03\x04", 6, 1, "nil" },
                { "update_states", "\x95\x07\x01\x02\x03\xa0", 6, 1, "!bad_request" },
                { "update_usernames", "\x92\xce....\x91\xa1u", 9, 50, "nil" },
                { "get_states", "\x07", 1, 1, "[[7, 1, 2, 3, 4]]" },
                { "get_states", "\xce....", 5, 1, "[[7, 1, 2, 3, 4]]" },
                { "get_states", "\xc0", 1, 1, "!bad_request" },
                { "get_peers", "\x07", 1, 0, "!too_large" },
                { "get",
                  "\xa5"
                  "dc_id",
                  6, 1, "[...]" },
                { "get",
                  "\xa5"
                  "dc-id",
                  6, 1, "!bad_request" },
                { "remove_states", "\xce....", 5, 20, "nil" },
                { "remove_states", "\x07", 1, 1, "nil" },
                { "remove_states", "\xc0", 1, 1, "!bad_request" },
        };
        DAEMON d = daemon_start(.config = "cache = 64M\nclient-buffer = 1G\nclient-memory = 4G\n");
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        int s = wire_open(c, "'anna', {}"), t = wire_open(other, "'berta', {}");

        fill_peer(other, t);
        for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
                BYTES message = { 0 };
                const char *answer;
                int n;

                longest(&message, lists[i].method, s, lists[i].row, lists[i].len);
                n = served_meanwhile(c, &message, other, t);
                answer = wire_answer(c, 5);
                expect_text(answer, lists[i].answer);
                ck_assert_msg(n >= lists[i].least, "%s (%zu bytes a row): %d requests were served meanwhile",
                              lists[i].method, lists[i].len, n);
        }
        expect(c, "[]", "get_states(%d)", s);
}
END_TEST

/* What the longest lists took is tens of megabytes. The loop frees the message alone: a worker the rest. */
START_TEST(the_loop_does_not_free_what_long_lists_took)
{
        static const uint8_t peer[] = "\x95\xce....\x01\xa1u\xc0\xc0", names[] = "\x92\xce....\x91\xa1u";

        if (test_memory_factor() > 1) {
                test_skipped("what the loop frees", "an allocator that is not a sanitizer's");
                return;
        }
        loop_frees_count();

        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");

        loop_frees_end();
        for (int i = 0; i < 4; i++) { /* the second time the names and their peers are known */
                BYTES message = { 0 };

                longest(&message, i % 2 ? "update_usernames" : "update_peers", s, i % 2 ? names : peer,
                        i % 2 ? sizeof(names) - 1 : sizeof(peer) - 1);
                wire_raw(c, message.data, message.len);
                expect_text(wire_answer(c, 5), "nil");
        }
        daemon_stop(d);
        ck_assert_uint_ge(loop_frees_most(d), 4 << 20);  /* so it counts */
        ck_assert_uint_le(loop_frees_most(d), 16 << 20); /* its buffer, which has grown */
}
END_TEST

/* Processor time of the daemon's threads that have stepped aside, and of the others but the loop. */
static void workers_time(pid_t pid, long *aside, long *others)
{
        char path[64];
        struct dirent *entry;
        DIR *tasks;

        *aside = *others = 0;
        snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
        tasks = opendir(path);
        ck_assert_ptr_nonnull(tasks);
        while ((entry = readdir(tasks))) {
                long user, kernel, nice, tid = atol(entry->d_name);
                char line[512];
                FILE *stat;

                if (tid == 0 || tid == pid)
                        continue;
                snprintf(path, sizeof(path), "/proc/%d/task/%ld/stat", (int)pid, tid);
                stat = fopen(path, "re");
                ck_assert_ptr_nonnull(stat);
                ck_assert_ptr_nonnull(fgets(line, sizeof(line), stat));
                fclose(stat);
                ck_assert_int_eq(
                        sscanf(strrchr(line, ')'),
                               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld %*d %*d %*d %ld", &user,
                               &kernel, &nice),
                        3);
                *(nice > getpriority(PRIO_PROCESS, (id_t)pid) ? aside : others) += user + kernel;
        }
        closedir(tasks);
}

/* Else, with few processors, the loop waits for one while workers look for a single user. */
START_TEST(who_looks_at_much_steps_aside)
{
        enum { ENOUGH = 20 }; /* ticks */
        DAEMON d = daemon_start(.config = "client-buffer = 1G\nclient-memory = 4G\n");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        long aside[2], others[2];

        fill_states(c, s);
        workers_time(d->pid, &aside[0], &others[0]);
        do {
                expect(c, "[[0, 1, 2, 3, 4], ...]", "get_states(%d)", s);
                workers_time(d->pid, &aside[1], &others[1]);
        } while (aside[1] + others[1] < aside[0] + others[0] + ENOUGH);
        ck_assert_int_gt(aside[1] - aside[0], others[1] - others[0]);
}
END_TEST

/* Else the short writes of others wait for the processor that a job of hundred thousands of rows has. */
START_TEST(who_stores_much_steps_aside)
{
        static const char peer[] = "\x95\xce____\xc0\xa1u\xc0\xc0";
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        BYTES message = { 0 };
        long aside[2], others[2];

        longest(&message, "update_peers", s, peer, sizeof(peer) - 1);
        workers_time(d->pid, &aside[0], &others[0]);
        wire_raw(c, message.data, message.len);
        expect_text(wire_answer(c, 5), "nil");
        workers_time(d->pid, &aside[1], &others[1]);
        ck_assert_int_gt(aside[1] - aside[0], others[1] - others[0]);
}
END_TEST

/* The same in many requests. They are several jobs, so that the others of the session do not wait for all. */
START_TEST(who_stores_much_in_short_lists_steps_aside)
{
        enum { LISTS = 100, ROWS = 1000 };
        DAEMON d = daemon_start(.config = "client-buffer = 1G\nclient-memory = 4G\n");
        CLIENT c = wire_connect(d);
        CLIENT other = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        BYTES message = { 0 };
        long aside[2], others[2];
        long long jobs;

        for (uint32_t list = 0; list < LISTS; list++) {
                add_head(&message, 1 + list, "update_peers", s, ROWS);
                for (uint32_t row = 0; row < ROWS; row++) {
                        add(&message, "\x95", 1);
                        add_int(&message, list * ROWS + row);
                        add(&message, "\xc0\xa1u\xc0\xc0", 5);
                }
        }
        jobs = wire_number(wire_call(other, "stats()"), "jobs_total");
        workers_time(d->pid, &aside[0], &others[0]);
        wire_raw(c, message.data, message.len);
        expect_text(wire_answer(c, LISTS), "nil");
        workers_time(d->pid, &aside[1], &others[1]);
        ck_assert_int_gt(aside[1] - aside[0], others[1] - others[0]);
        ck_assert_int_ge(wire_number(wire_call(other, "stats()"), "jobs_total") - jobs, LISTS / 2);
}
END_TEST

/* Many of them may be in one job. Their answers are not all copied in the turn in which it ends. */
START_TEST(long_answers_are_given_in_turns)
{
        enum { READS = 20 };
        DAEMON d = daemon_start(.config = "client-buffer = 1G\nclient-memory = 4G\n");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        uint32_t ids[READS];
        long long slices;

        fill_states(c, s);
        slices = wire_number(wire_call(c, "stats()"), "slices_total");
        for (int i = 0; i < READS; i++)
                ids[i] = wire_send(c, "get_states(%d)", s);
        for (int i = 0; i < READS; i++)
                expect_text(wire_answer(c, ids[i]), "[[0, 1, 2, 3, 4], ...]");
        slices = wire_number(wire_call(c, "stats()"), "slices_total") - slices;
        ck_assert_msg(slices >= READS / 4, "%lld slices for %d long answers", slices, READS);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                a_flood_of_notifications_is_served_in_turns,
                a_flood_of_reads_is_served_in_turns,
                what_a_turn_leaves_is_executed_in_order,
                notifications_are_executed_though_the_client_has_gone,
                a_client_that_half_closes_gets_every_answer,
                a_turn_is_counted_once,
                many_connections_of_one_user_do_not_hold_the_loop,
                the_longest_lists_do_not_hold_the_loop,
                the_loop_does_not_free_what_long_lists_took,
                who_looks_at_much_steps_aside,
                who_stores_much_steps_aside,
                who_stores_much_in_short_lists_steps_aside,
                long_answers_are_given_in_turns,
                NULL,
        };

        return test_program("turns", tests);
}
