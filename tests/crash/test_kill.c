/*
 * kill -9 under load: 16 connections write to file sessions of several dialects, shared and exclusive,
 * pipelined. The daemon is killed at a random moment and started again. Then every acknowledged write is
 * there, and each other write is there whole or not at all. At the end the peers and names of all rounds are
 * looked up once more. $CRASH_SEED repeats a run, $CRASH_ROUNDS is the number of kills.
 */
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../support/notation.h"
#include "../support/program.h"
#include "../support/wire.h"

enum {
        WRITERS = 16,
        ROUNDS = 20,
        SLOW_ROUNDS = 3,   /* under valgrind */
        WINDOW = 32,       /* requests under way on a connection */
        ROUND_MAX = 60000, /* writes of one writer in a round; each has ids of its own */
        KINDS = 5,         /* of writes */
};

static const struct {
        const char *name;
        const char *dialect;
        bool exclusive;
} sessions[] = {
        { "shared-pyrogram", "pyrogram", false }, { "shared-kurigram", "kurigram", false },
        { "alone-pyrofork", "pyrofork", true },   { "alone-telethon", "telethon", true },
        { "alone-pyrogram", "pyrogram", true },   { "alone-kurigram", "kurigram", true },
        { "alone-hydrogram", "hydrogram", true }, { "alone-irenogram", "irenogram", true },
};
enum { N_SESSIONS = sizeof(sessions) / sizeof(sessions[0]), ALONE = N_SESSIONS - 2 };

/* One connection: what it has sent, and how much of that was acknowledged. */
struct writer {
        struct wire *c;
        int number;
        int session; /* index in sessions */
        int s;
        int sent; /* write number `n` is request number `first + n` */
        uint32_t first;
        int answered;
        bool acknowledged[ROUND_MAX];
};

/* The first six have a session of their own; the others share two. */
static int session_of(int number)
{
        return number < ALONE ? number + 2 : number % 2;
}

static long long peer_id(const struct writer *writer, int round, int n)
{
        return 1 + ((long long)round * WRITERS + writer->number) * ROUND_MAX + n;
}

/* In turn: a peer, its names, a state, two values, and (where the session is its own) a field. */
static uint32_t send_write(const struct writer *writer, int round, int n)
{
        long long id = peer_id(writer, round, n);
        struct wire *c = writer->c;
        int s = writer->s;

        if (n % KINDS == 0)
                return wire_send(c, "update_peers(%d, [[%lld, %d, 'user', 'p%lld', '%lld', 5]])", s, id, n,
                                 id, id);
        if (n % KINDS == 1)
                return wire_send(c, "update_usernames(%d, [[%lld, ['a%lld', 'b%lld'], 6]])", s, id - 1, id,
                                 id);
        if (n % KINDS == 3)
                return wire_send(c, "kv_set(%d, [['a%d', h'%016llx'], ['b%d', h'%016llx']])", s,
                                 writer->number, id, writer->number, id);
        if (n % KINDS == 2 || !sessions[writer->session].exclusive)
                return wire_send(c, "update_states(%d, [[%d, %lld, %lld, %lld, %lld]])", s, writer->number,
                                 id, id, id, id);
        return wire_send(c, "set(%d, {user_id: %lld, api_id: %d})", s, id, n);
}

static void fill(struct writer *writer, int round)
{
        while (writer->sent < ROUND_MAX && writer->sent - writer->answered < WINDOW) {
                uint32_t id = send_write(writer, round, writer->sent);

                if (writer->sent == 0)
                        writer->first = id;
                writer->sent++;
        }
}

/* Takes the messages that have arrived. False: the connection has ended. */
static bool take(struct writer *writer)
{
        while (wire_readable(writer->c, 0)) {
                const char *text = wire_next(writer->c);
                char *end;
                unsigned long id;

                if (!text)
                        return false;
                id = strtoul(text, &end, 10);
                ck_assert_msg(strcmp(end, ": nil") == 0, "%s", text);
                writer->acknowledged[id - writer->first] = true;
                writer->answered++;
        }
        return true;
}

/* Writes until all writers together have `target` acknowledgements, and leaves requests unanswered. */
static void load(struct writer *writers, int round, int target)
{
        long long start = test_now_ms();
        int answered;

        do {
                struct pollfd fds[WRITERS];

                answered = 0;
                for (int i = 0; i < WRITERS; i++) {
                        ck_assert(take(&writers[i]));
                        fill(&writers[i], round);
                        answered += writers[i].answered;
                        fds[i] = (struct pollfd){ .fd = wire_fd(writers[i].c), .events = POLLIN };
                }
                if (answered < target)
                        poll(fds, WRITERS, test_time_left(start, "acknowledgements"));
        } while (answered < target);
}

/* What a writer had sent in a round that is over. */
struct past {
        int sent;
        bool *acknowledged;
};

static void remember(struct past *past, const struct writer *writer)
{
        past->sent = writer->sent;
        past->acknowledged = malloc((size_t)writer->sent + 1);
        ck_assert_ptr_nonnull(past->acknowledged);
        memcpy(past->acknowledged, writer->acknowledged, (size_t)writer->sent);
}

static void open_writers(struct writer *writers, struct daemon *d)
{
        for (int i = 0; i < WRITERS; i++) {
                struct writer *writer = &writers[i];

                memset(writer, 0, sizeof(*writer));
                writer->number = i;
                writer->session = session_of(i);
                writer->c = wire_connect(d);
                writer->s = wire_open(writer->c, "'%s', {dialect: '%s', mode: '%s', wait: 10000}",
                                      sessions[writer->session].name, sessions[writer->session].dialect,
                                      sessions[writer->session].exclusive ? "exclusive" : "shared");
        }
}

/* ---- afterwards ---- */

static void check_peer(struct wire *c, int s, long long id, int n, bool acknowledged)
{
        TEST_FREED char *expected = test_format("[%lld, %d, 'user', 'p%lld', '%lld', 5]", id, n, id, id);
        const char *answer = wire_call(c, "get_peer_by_id(%d, %lld)", s, id);

        if (!acknowledged && strcmp(answer, "!not_found") == 0)
                return;
        ck_assert_msg(strcmp(answer, expected) == 0, "%s instead of %s (acknowledged: %d)", answer, expected,
                      acknowledged);
}

/* Two names of one write: both are there; or neither, if it was not acknowledged. */
static void check_names(struct wire *c, int s, long long id, bool acknowledged)
{
        TEST_FREED char *first = test_format("[['a%lld', %lld, ...]]", id, id - 1);
        TEST_FREED char *second = test_format("[['b%lld', %lld, ...]]", id, id - 1);
        const char *answer = wire_call(c, "scan_usernames(%d, ['a%lld', %lld], 1)", s, id, id - 2);

        if (!acknowledged && !notation_match(first, answer))
                return;
        expect_text(answer, first);
        expect(c, second, "scan_usernames(%d, ['b%lld', %lld], 1)", s, id, id - 2);
}

/* A value that later writes replace: one that was sent, and not older than the last acknowledged one. */
static void check_newest(const struct writer *writer, int round, long long value, unsigned kinds)
{
        long long oldest = 0;

        for (int n = 0; n < writer->sent; n++)
                if (writer->acknowledged[n] && (kinds & 1u << n % KINDS))
                        oldest = peer_id(writer, round, n);
        ck_assert_msg(value >= oldest, "%lld is stored, %lld was acknowledged", value, oldest);
        ck_assert_int_lt(value, peer_id(writer, round, writer->sent));
}

/* The rows of a round, which no later round replaces. */
static void check_rows(struct wire *c, int s, const struct writer *writer, int round, int sent,
                       const bool *acknowledged)
{
        for (int n = 0; n < sent; n++) {
                if (n % KINDS == 0)
                        check_peer(c, s, peer_id(writer, round, n), n, acknowledged[n]);
                if (n % KINDS == 1)
                        check_names(c, s, peer_id(writer, round, n), acknowledged[n]);
        }
}

static void check_past(struct daemon *d, const struct writer *writers, struct past (*past)[WRITERS],
                       int rounds)
{
        CLIENT c = wire_connect(d);

        for (int i = 0; i < WRITERS; i++) {
                int s = wire_open(c, "'%s', {create: false}", sessions[writers[i].session].name);

                for (int round = 0; round < rounds; round++) {
                        check_rows(c, s, &writers[i], round, past[round][i].sent,
                                   past[round][i].acknowledged);
                        free(past[round][i].acknowledged);
                }
                expect(c, "nil", "close(%d)", s);
        }
}

static void check_writer(struct wire *c, const struct writer *writer, int round)
{
        bool exclusive = sessions[writer->session].exclusive;
        int s = wire_open(c, "'%s', {create: false}", sessions[writer->session].name);
        const char *states, *values, *fields;
        char *end;

        check_rows(c, s, writer, round, writer->sent, writer->acknowledged);
        states = wire_call(c, "get_states(%d, [%d])", s, writer->number);
        if (strcmp(states, "[]") != 0) {
                long long part[4];

                ck_assert_int_eq(sscanf(states, "[[%*d, %lld, %lld, %lld, %lld]]", &part[0], &part[1],
                                        &part[2], &part[3]),
                                 4);
                ck_assert(part[0] == part[1] && part[1] == part[2] && part[2] == part[3]);
                check_newest(writer, round, part[0], exclusive ? 1u << 2 : 1u << 2 | 1u << 4);
        }
        values = wire_call(c, "kv_get(%d, ['a%d', 'b%d'])", s, writer->number, writer->number);
        if (strcmp(values, "[nil, nil]") != 0) {
                unsigned long long value[2];

                ck_assert_int_eq(sscanf(values, "[h'%llx', h'%llx']", &value[0], &value[1]), 2);
                ck_assert_uint_eq(value[0], value[1]); /* of one request: all or nothing */
                check_newest(writer, round, (long long)value[0], 1u << 3);
        }
        if (exclusive) {
                fields = wire_call(c, "get(%d, ['user_id', 'api_id'])", s);
                if (strncmp(fields, "[nil", 4) != 0) {
                        check_newest(writer, round, strtoll(fields + 1, NULL, 10), 1u << 4);
                        /* both fields of one set, or neither */
                        ck_assert_int_eq((strtoll(fields + 1, &end, 10) - 1) % ROUND_MAX,
                                         strtoll(end + 1, NULL, 10));
                }
        }
        expect(c, "nil", "close(%d)", s);
}

static void expect_sound(struct daemon *d)
{
        for (int i = 0; i < N_SESSIONS; i++) {
                TEST_FREED char *path = daemon_path(d, sessions[i].name);
                sqlite3_stmt *statement;
                sqlite3 *db;

                ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
                ck_assert_int_eq(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL),
                                 SQLITE_OK);
                ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
                ck_assert_str_eq((const char *)sqlite3_column_text(statement, 0), "ok");
                sqlite3_finalize(statement);
                sqlite3_close(db);
        }
}

START_TEST(acknowledged_writes_survive_kill_9)
{
        const char *given = getenv("CRASH_SEED");
        unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
        struct writer *writers = calloc(WRITERS, sizeof(*writers));
        DAEMON d = daemon_start();
        const char *asked = getenv("CRASH_ROUNDS");
        int rounds = asked ? atoi(asked) : getenv("GRAMD_WRAPPER") ? SLOW_ROUNDS : ROUNDS;
        struct past(*past)[WRITERS] = calloc((size_t)rounds, sizeof(*past));
        long total = 0;

        printf("CRASH_SEED=%u\n", seed);
        srandom(seed);
        for (int round = 0; round < rounds; round++) {
                CLIENT c = NULL;
                struct timespec pause = { .tv_nsec = random() % 3000000 };

                open_writers(writers, d);
                load(writers, round, 1 + (int)(random() % 1500));
                nanosleep(&pause, NULL); /* not a wait for anything: a random moment */
                daemon_kill(d);
                for (int i = 0; i < WRITERS; i++)
                        while (take(&writers[i]))
                                wire_readable(writers[i].c, TEST_DEADLINE_MS);
                daemon_resume(d);
                c = wire_connect(d);
                for (int i = 0; i < WRITERS; i++) {
                        check_writer(c, &writers[i], round);
                        total += writers[i].answered;
                        remember(&past[round][i], &writers[i]);
                        wire_end(&writers[i].c);
                }
        }
        ck_assert_int_gt(total, rounds);
        check_past(d, writers, past, rounds);
        daemon_stop(d);
        expect_sound(d);
        printf("kill: %d kills, %ld acknowledged writes checked, none lost\n", rounds, total);
        free(past);
        free(writers);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { acknowledged_writes_survive_kill_9, NULL };

        return test_program("kill", tests);
}
