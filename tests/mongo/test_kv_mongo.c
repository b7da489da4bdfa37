/*
 * The key-value area on MongoDB: what a former owner's late writes cannot bring back, swaps that are repeated
 * on another host, and tombstones. The contract's own tests are in tests/contract.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/mongo_layouts.h"
#include "../support/mongo_proxy.h"
#include "../support/repeater.h"
#include "../support/stepped_clock.h"
#include "../support/storage.h"

#define TERM "1.2"
#define LATE "h'6c617465636f6d6572'" /* the text "latecomer" */
#define OTHER_ID "h'ff0102030405060708090a0b0c0d0e0f'"

static int open_waiting(struct wire *c, const char *session)
{
        return wire_open(c, "'%s', {wait: 60000}", session);
}

/* The documents of the session's area: how many have a value, and how many are tombstones. */
static char *documents(const struct mongo_server *server, const char *session)
{
        return mongo_python(
                server,
                "c, f = document(names[0])\n"
                "kv = c.database['gramd_kv']\n"
                "f = {} if c.database.name == names[0] else {'session': names[0]}\n"
                "all = list(kv.find(f))\n"
                "print(sum('value' in d for d in all), sum('gone' in d for d in all), len(all))\n",
                session, NULL);
}

static void expect_documents(const struct mongo_server *server, const char *session, const char *expected)
{
        TEST_FREED char *text = documents(server, session);

        ck_assert_str_eq(text, expected);
}

/* ---- late writes ---- */

/* A host's swap is under way when it loses the session. */
struct late {
        struct mongo_proxy *proxy;
        char *uri;
        struct daemon *a, *b;
        struct wire *ca, *cb;
        int s;
};

static void begin_late(struct late *late, const struct mongo_server *server, const char *layout,
                       const char *session)
{
        int s;

        late->proxy = mongo_proxy_new(server->port);
        late->uri = mongo_proxy_uri(late->proxy, "socketTimeoutMS=60000");
        late->a = LAYOUT_HOST(late->uri, TERM);
        late->b = LAYOUT_HOST(server->uri, TERM);
        late->ca = wire_connect(late->a);
        late->cb = wire_connect(late->b);
        greet(late->ca, ID);
        s = wire_open(late->ca, "'%s', {}", session);
        expect(late->ca, "[nil]", "kv_get(%d, ['lock'])", s);
        mongo_proxy_hold_at(late->proxy, "latecomer");
        send_as(late->ca, MSGID, "kv_swap", s, ", 'lock', nil, " LATE);
        mongo_proxy_await(late->proxy);
        late->s = open_waiting(late->cb, session);
        expect(late->cb, "[nil]", "kv_get(%d, ['lock'])", late->s);
}

static void free_late(struct late *late)
{
        wire_end(&late->ca);
        wire_end(&late->cb);
        daemon_end(&late->a);
        daemon_end(&late->b);
        mongo_proxy_end(&late->proxy);
        free(late->uri);
}

/* The former owner's insert lands. Both hosts have to find what the successor has left. */
static void end_late(struct late *late)
{
        expect(late->cb, "[nil]", "kv_get(%d, ['lock'])", late->s);
        mongo_proxy_let_go(late->proxy);
        expect_text(wire_answer(late->ca, MSGID), "!fenced");
        expect(late->cb, "[nil]", "kv_get(%d, ['lock'])", late->s);
        expect(late->cb, "[]", "kv_scan(%d, '', nil, 10)", late->s);
        expect(late->cb, "[true, h'cc']", "kv_swap(%d, 'lock', nil, h'cc')", late->s);
        free_late(late);
}

LAYOUT_TEST(a_late_insert_does_not_bring_a_lock_back)
{
        struct late late;

        begin_late(&late, server, layout, session);
        expect(late.cb, "[true, h'bb']", "kv_swap(%d, 'lock', nil, h'bb')", late.s);
        expect(late.cb, "[true, nil]", "kv_swap(%d, 'lock', h'bb', nil)", late.s);
        end_late(&late);
}

/* Also where there was nothing to delete. */
LAYOUT_TEST(a_late_insert_does_not_bring_back_what_is_deleted)
{
        struct late late;

        begin_late(&late, server, layout, session);
        expect(late.cb, "nil", "kv_set(%d, [['lock', nil]])", late.s);
        end_late(&late);
}

LAYOUT_TEST(a_late_insert_does_not_bring_back_what_has_expired)
{
        struct late late;

        stepped_clock_begin();
        begin_late(&late, server, layout, session);
        expect(late.cb, "[true, h'bb']", "kv_swap(%d, 'lock', nil, h'bb', 3600)", late.s);
        expect(late.cb, "[h'bb']", "kv_get(%d, ['lock'])", late.s);
        stepped_clock_set(late.b, 3600000);
        expect(late.cb, "[nil]", "kv_get(%d, ['lock'])", late.s);
        stepped_clock_set(late.b, 0);
        expect(late.cb, "[nil]", "kv_get(%d, ['lock'])", late.s);
        end_late(&late);
        stepped_clock_end();
}

/* B's clock is behind: it does not see that the lease was over. */
LAYOUT_TEST(what_a_former_owner_saw_expired_stays_gone)
{
        stepped_clock_begin();
        DAEMON a = LAYOUT_HOST(server->uri, "3");
        DAEMON b = LAYOUT_HOST(server->uri, "3");

        {
                CLIENT c = wire_connect(a);
                int s = wire_open(c, "'%s', {}", session);

                expect(c, "nil", "kv_set(%d, [['seen', h'01', 60], ['unseen', h'02', 7200]])", s);
                stepped_clock_set(a, 3600000);
                expect(c, "[nil]", "kv_get(%d, ['seen'])", s);
        }
        daemon_kill(a);
        stepped_clock_set(b, -3600000);
        CLIENT c = wire_connect(b);
        int s = open_waiting(c, session);

        expect(c, "[['unseen', h'02']]", "kv_scan(%d, '', nil, 10)", s);
        expect(c, "[true, h'03']", "kv_swap(%d, 'seen', nil, h'03', 60)", s);
        stepped_clock_set(b, 7200001);
        expect(c, "[]", "kv_scan(%d, '', nil, 10)", s);
        stepped_clock_end();
}

/* ---- tombstones ---- */

LAYOUT_TEST(tombstones_stay_for_two_terms)
{
        DAEMON d = LAYOUT_HOST(server->uri, "3600");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        expect(c, "nil", "kv_set(%d, [['a', h'01'], ['b', h'02'], ['c', h'03']])", s);
        expect_documents(server, session, "3 0 3\n");
        expect(c, "nil", "kv_set(%d, [['a', nil], ['none', nil]])", s);
        expect_documents(server, session, "2 2 4\n");
        expect(c, "[['b', h'02'], ['c', h'03']]", "kv_scan(%d, '', nil, 10)", s);
        expect(c, "nil", "kv_set(%d, [['a', h'04']])", s);
        expect_documents(server, session, "3 1 4\n");
        expect(c, "nil", "close(%d)", s);
        s = wire_open(c, "'%s', {}", session);
        expect(c, "[nil, h'04']", "kv_get(%d, ['none', 'a'])", s);
        expect_documents(server, session, "3 1 4\n");
        expect(c, "nil", "delete(%d, {remove_peers: false})", s);
        s = wire_open(c, "'%s', {}", session);
        expect_documents(server, session, "0 0 0\n");
}

/* The host's own ones, and those that a former owner has left. */
LAYOUT_TEST(tombstones_go)
{
        DAEMON d = LAYOUT_HOST(server->uri, TERM);
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'%s', {}", session);

        for (int i = 0; i < 2; i++) {
                long long start = test_now_ms();

                expect(c, "nil", "kv_set(%d, [['a', h'01'], ['b', nil]])", s);
                if (i == 1) {
                        expect(c, "nil", "close(%d)", s);
                        s = open_waiting(c, session);
                }
                for (;;) {
                        TEST_FREED char *text = documents(server, session);

                        if (strcmp(text, "1 0 1\n") == 0)
                                break;
                        test_time_left(start, "the tombstones to go");
                        wire_call(c, "kv_get(%d, ['a'])", s);
                }
                expect(c, "[h'01', nil]", "kv_get(%d, ['a', 'b'])", s);
        }
}

/* ---- repeated swaps ---- */

/* What was answered again is the owner's own: no late write of the former one replaces it. */
static void expect_fences(const struct mongo_server *server, const char *session)
{
        TEST_FREED char *text = mongo_python(
                server,
                "c, f = document(names[0])\n"
                "kv = c.database['gramd_kv'].find({} if f['_id'] == 0 else {'session': names[0]})\n"
                "fence = c.find_one(f)['gramd_fence']\n"
                "print(sum(d['gramd_fence'] == fence for d in kv))\n",
                session, NULL);

        ck_assert_str_eq(text, "2\n");
}

LAYOUT_TEST(a_swap_is_known_on_another_host)
{
        DAEMON a = LAYOUT_HOST(server->uri, TERM);
        DAEMON b = LAYOUT_HOST(server->uri, TERM);

        {
                CLIENT c = connect_as(a, ID);
                CLIENT other = connect_as(a, OTHER_ID);
                int s = wire_open(c, "'%s', {}", session);
                int t = wire_open(other, "'%s', {}", session);

                write_as(c, MSGID, "[true, h'01']", "kv_swap", s, ", 'n', nil, h'01'");
                write_as(c, MSGID + 1, "[true, h'02']", "kv_swap", s, ", 'n', h'01', h'02'");
                write_as(c, MSGID + 2, "[false, h'02']", "kv_swap", s, ", 'n', h'07', h'08'");
                write_as(other, MSGID, "[true, h'03']", "kv_swap", t, ", 'n', h'02', h'03'");
                write_as(c, MSGID + 3, "[true, h'aa']", "kv_swap", s, ", 'lock', nil, h'aa'");
                write_as(c, MSGID + 4, "[true, nil]", "kv_swap", s, ", 'lock', h'aa', nil");
        }
        daemon_kill(a);
        CLIENT c = connect_as(b, ID);
        CLIENT other = connect_as(b, OTHER_ID);
        int s = open_waiting(c, session);
        int t = wire_open(other, "'%s', {}", session);

        write_as(c, MSGID, "[true, h'01']", "kv_swap", s, ", 'n', nil, h'01'");
        write_as(other, MSGID + 1, "[true, h'04']", "kv_swap", t, ", 'n', h'03', h'04'");
        write_as(c, MSGID + 1, "[true, h'02']", "kv_swap", s, ", 'n', h'01', h'02'");
        write_as(c, MSGID + 2, "[false, h'04']", "kv_swap", s, ", 'n', h'07', h'08'");
        write_as(other, MSGID, "[true, h'03']", "kv_swap", t, ", 'n', h'02', h'03'");
        write_as(c, MSGID + 3, "[true, h'aa']", "kv_swap", s, ", 'lock', nil, h'aa'");
        write_as(c, MSGID + 4, "[true, nil]", "kv_swap", s, ", 'lock', h'aa', nil");
        expect(c, "[h'04', nil]", "kv_get(%d, ['n', 'lock'])", s);
        expect_fences(server, session);
        /* a plain write keeps what is known of swaps */
        expect(c, "nil", "kv_set(%d, [['n', h'10']])", s);
        daemon_kill(b);
        daemon_resume(b);
        CLIENT again = connect_as(b, ID);

        s = open_waiting(again, session);
        write_as(again, MSGID + 1, "[true, h'02']", "kv_swap", s, ", 'n', h'01', h'02'");
        expect(again, "[h'10']", "kv_get(%d, ['n'])", s);
}

/* A's swap is under way when it loses the session, and the client repeats it on B. */
LAYOUT_TEST(a_repeated_swap_counts_once_when_the_first_lands_later)
{
        struct late late;

        begin_late(&late, server, layout, session);
        greet(late.cb, ID);
        write_as(late.cb, MSGID, "[true, " LATE "]", "kv_swap", late.s, ", 'lock', nil, " LATE);
        expect(late.cb, "[true, h'bb']", "kv_swap(%d, 'lock', " LATE ", h'bb')", late.s);
        expect(late.cb, "nil", "kv_set(%d, [['lock', nil]])", late.s);
        mongo_proxy_let_go(late.proxy);
        expect_text(wire_answer(late.ca, MSGID), "!fenced");
        expect(late.cb, "[nil]", "kv_get(%d, ['lock'])", late.s);
        write_as(late.cb, MSGID, "[true, " LATE "]", "kv_swap", late.s, ", 'lock', nil, " LATE);
        expect(late.cb, "[nil]", "kv_get(%d, ['lock'])", late.s);
        free_late(&late);
}

/* The first one lands before the repetition: that only gives the value B's fence. */
LAYOUT_TEST(a_repeated_swap_counts_once_when_the_first_has_landed)
{
        struct late late;

        begin_late(&late, server, layout, session);
        mongo_proxy_let_go(late.proxy);
        expect_text(wire_answer(late.ca, MSGID), "!fenced or !unavailable");
        greet(late.cb, ID);
        write_as(late.cb, MSGID, "[true, " LATE "]", "kv_swap", late.s, ", 'lock', nil, " LATE);
        expect(late.cb, "[true, h'bb']", "kv_swap(%d, 'lock', " LATE ", h'bb')", late.s);
        write_as(late.cb, MSGID, "[true, " LATE "]", "kv_swap", late.s, ", 'lock', nil, " LATE);
        expect(late.cb, "[h'bb']", "kv_get(%d, ['lock'])", late.s);
        free_late(&late);
}

/* It is done once or not at all, and whoever asks is told the same. */
LAYOUT_TEST(a_swap_under_way_when_the_server_dies)
{
        MONGO_PROXY proxy = mongo_proxy_new(server->port);
        TEST_FREED char *uri = mongo_proxy_uri(proxy, NULL);
        DAEMON d = LAYOUT_HOST(uri, TERM);
        struct wire *c = connect_as(d, ID);
        int s = wire_open(c, "'%s', {}", session);
        const char *answer;
        bool done;

        expect(c, "nil", "kv_set(%d, [['n', h'01']])", s);
        mongo_proxy_hold_at(proxy, "latecomer");
        send_as(c, MSGID, "kv_swap", s, ", 'n', h'01', " LATE);
        mongo_proxy_await(proxy);
        mongo_server_kill(server);
        mongo_proxy_let_go(proxy);
        mongo_server_resume(server);
        answer = wire_answer(c, MSGID);
        done = strncmp(answer, "[true", 5) == 0;
        ck_assert_msg(done || strcmp(answer, "!unavailable") == 0, "%s", answer);
        wire_end(&c);
        daemon_kill(d);
        daemon_resume(d);
        c = connect_as(d, ID);
        s = open_waiting(c, session);
        answer = wire_call(c, "kv_get(%d, ['n'])", s);
        ck_assert_msg(strcmp(answer, "[" LATE "]") == 0 || (!done && strcmp(answer, "[h'01']") == 0), "%s",
                      answer);
        write_as(c, MSGID, "[true, " LATE "]", "kv_swap", s, ", 'n', h'01', " LATE);
        expect(c, "[true, h'01']", "kv_swap(%d, 'n', " LATE ", h'01')", s);
        write_as(c, MSGID, "[true, " LATE "]", "kv_swap", s, ", 'n', h'01', " LATE);
        expect(c, "[h'01']", "kv_get(%d, ['n'])", s);
        wire_end(&c);
}

/* ---- a counter ---- */

enum { COUNTERS = 16, ROUNDS = 12 };

struct counter {
        struct wire *wire;
        char id[64];
        int s;
        uint32_t msgid;
        unsigned seen; /* the value it goes from */
        unsigned done;
};

static void send_step(struct counter *counter)
{
        TEST_FREED char *expected =
                counter->seen ? test_format("h'%08x'", counter->seen) : test_format("nil");
        TEST_FREED char *parameters = test_format(", 'n', %s, h'%08x'", expected, counter->seen + 1);

        send_as(counter->wire, counter->msgid, "kv_swap", counter->s, parameters);
}

static void take_step(struct counter *counter)
{
        const char *answer = wire_answer(counter->wire, counter->msgid);
        char done[8] = "";
        unsigned value = 0;

        ck_assert_msg(sscanf(answer, "[%7[a-z], h'%8x']", done, &value) == 2, "%s", answer);
        counter->done += strcmp(done, "true") == 0;
        counter->seen = value;
        counter->msgid++;
}

static void connect_counters(struct counter *counters, struct daemon *d, const char *session)
{
        for (int i = 0; i < COUNTERS; i++) {
                snprintf(counters[i].id, sizeof(counters[i].id), "h'%032x'", i + 1);
                counters[i].wire = connect_as(d, counters[i].id);
                counters[i].s = open_waiting(counters[i].wire, session);
        }
}

/* Another one is the first in each round: he succeeds. */
static void send_steps(struct counter *counters, int round)
{
        for (int i = 0; i < COUNTERS; i++)
                send_step(&counters[(i + round) % COUNTERS]);
}

static unsigned total(const struct counter *counters)
{
        unsigned sum = 0;

        for (int i = 0; i < COUNTERS; i++)
                sum += counters[i].done;
        return sum;
}

/* The owner is killed with swaps under way. They are repeated on the other host, and each counts once. */
LAYOUT_TEST(a_counter_of_many_clients_is_right)
{
        DAEMON a = LAYOUT_HOST(server->uri, TERM);
        DAEMON b = LAYOUT_HOST(server->uri, TERM);
        struct counter counters[COUNTERS] = { { .msgid = 0 } };

        for (int i = 0; i < COUNTERS; i++)
                counters[i].msgid = MSGID;
        connect_counters(counters, a, session);
        for (int round = 0; round < ROUNDS; round++) {
                send_steps(counters, round);
                if (round == ROUNDS / 2) {
                        /* the first has its answer, which is lost; of the others nobody knows */
                        wire_answer(counters[round].wire, counters[round].msgid);
                        daemon_kill(a);
                        for (int i = 0; i < COUNTERS; i++)
                                wire_end(&counters[i].wire);
                        connect_counters(counters, b, session);
                        send_steps(counters, round + 1);
                }
                for (int i = 0; i < COUNTERS; i++)
                        take_step(&counters[i]);
        }
        ck_assert_uint_ge(total(counters), ROUNDS);
        TEST_FREED char *expected = test_format("[h'%08x']", total(counters));

        expect(counters[0].wire, expected, "kv_get(%d, ['n'])", counters[0].s);
        for (int i = 0; i < COUNTERS; i++)
                wire_end(&counters[i].wire);
}

/* ---- keys ---- */

static bool append(void *arg, const struct kv_value *value)
{
        char *text = arg;
        size_t len = strlen(text);

        for (size_t i = 0; i < value->key.len; i++)
                len += (size_t)sprintf(text + len, "%02x", (uint8_t)value->key.data[i]);
        sprintf(text + len, " ");
        return true;
}

/* Ascending by bytes, whatever the characters are. */
LAYOUT_TEST(keys_may_have_any_characters)
{
        static const struct slice keys[] = {
                { "\0", 1 },        { "\0\0", 2 },
                { "\x01", 1 },      { "A", 1 },
                { "A\0", 2 },       { "A\x7f", 2 },
                { "A\xc3\xa9", 3 }, { "a", 1 },
                { "\xc2\x80", 2 },  { "\xf4\x8f\xbf\xbf", 4 },
        };
        enum { N = sizeof(keys) / sizeof(keys[0]) };
        struct kv_row rows[N];
        const struct change change = { .kind = CHANGE_KV, .kv = rows, .n = N };
        struct storage storage;
        char text[256] = "";

        setenv("STORAGE_MONGO_URI", server->uri, 1);
        setenv("STORAGE_MONGO_LAYOUT", strcmp(layout, "own") == 0 ? "0" : "1", 1);
        storage_start(&storage, storage_backend("mongo"), "data");
        storage_open(&storage, session, NULL);
        for (size_t i = 0; i < N; i++)
                rows[i] = (struct kv_row){ .key = keys[i], .value = keys[i] };
        ck_assert_int_eq(storage_apply(&storage, &change, 1), 0);
        ck_assert_int_eq(storage.backend->kv_scan(storage.session, slice_of(""), SLICE_NONE, append, text,
                                                  &storage.fault),
                         0);
        ck_assert_str_eq(text, "00 0000 01 41 4100 417f 41c3a9 61 c280 f48fbfbf ");
        text[0] = '\0';
        ck_assert_int_eq(storage.backend->kv_scan(storage.session, slice_of("A"), slice_of("A"), append, text,
                                                  &storage.fault),
                         0);
        ck_assert_str_eq(text, "4100 417f 41c3a9 ");
        text[0] = '\0';
        ck_assert_int_eq(storage.backend->kv_get(storage.session, keys, 2, append, text, &storage.fault), 0);
        ck_assert_uint_eq(strlen(text), strlen("00 0000 "));
        storage_stop(&storage);
}

int main(void)
{
        const TTest *const tests[] = {
                a_late_insert_does_not_bring_a_lock_back,
                a_late_insert_does_not_bring_back_what_is_deleted,
                a_late_insert_does_not_bring_back_what_has_expired,
                what_a_former_owner_saw_expired_stays_gone,
                tombstones_stay_for_two_terms,
                tombstones_go,
                a_swap_is_known_on_another_host,
                a_repeated_swap_counts_once_when_the_first_lands_later,
                a_repeated_swap_counts_once_when_the_first_has_landed,
                a_swap_under_way_when_the_server_dies,
                a_counter_of_many_clients_is_right,
                keys_may_have_any_characters,
                NULL,
        };

        return test_program_repeated("kv_mongo", tests, LAYOUT_RUNS);
}
