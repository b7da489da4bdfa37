/*
 * Every Nth allocation of a real daemon fails, under a mixed load. It may refuse requests and end
 * connections. It must not die, hang, answer wrongly or lose an acknowledged write, and it works again when
 * there is memory.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../support/no_memory.h"
#include "../support/notation.h"
#include "../support/program.h"
#include "../support/wire.h"

enum { ROUNDS = 30 };

static const unsigned every[] = { 3, 7, 31, 251, 1021 };

/* ---- the load ---- */

struct load {
        struct daemon *daemon;
        struct wire *c; /* NULL: the daemon ended its connection */
        int s;
        bool stored[ROUNDS];
        int n_refused;
};

static void connect_in_peace(struct load *load)
{
        no_memory_now(load->daemon, false);
        if (!load->c) {
                load->c = wire_connect(load->daemon);
                load->s = wire_open(load->c, "'anna', {}");
        }
        no_memory_now(load->daemon, true);
}

/* True: the answer matches. An error must say that memory is short, or be `may_be`. */
static bool ask(struct load *load, const char *expected, const char *may_be, const char *request)
{
        TEST_FREED char *right = NULL, *refused = NULL, *other = NULL;
        uint32_t id;
        const char *answer;

        if (!load->c)
                return false;
        id = wire_send(load->c, "%s", request);
        answer = wire_next(load->c);
        if (!answer) {
                wire_end(&load->c);
                return false;
        }
        right = test_format("%u: %s", id, expected);
        refused = test_format("%u: !storage", id);
        other = test_format("%u: %s", id, may_be);
        if (notation_match(right, answer))
                return true;
        load->n_refused++;
        ck_assert_msg(notation_match(refused, answer) || notation_match(other, answer),
                      "%s\n  expected %s\n  got %s", request, right, answer);
        return false;
}

/* One request of every kind. What a refused write would have stored may be absent. */
static void one_round(struct load *load, int n)
{
        TEST_FREED char *peer = test_format("[%d, %d, 'user', 'name%d', '%d', ...]", n, n, n, n);
        TEST_FREED char *peers = test_format("[%s]", peer);
        TEST_FREED char *state = test_format("[[%d, %d, %d, %d, %d]]", n, n, n, n, n);
        TEST_FREED char *put =
                test_format("update_peers(%d, [[%d, %d, 'user', 'name%d', '%d']])", load->s, n, n, n, n);
        TEST_FREED char *by_id = test_format("get_peer_by_id(%d, %d)", load->s, n);
        TEST_FREED char *by_name = test_format("get_peer_by_username(%d, 'name%d')", load->s, n);
        TEST_FREED char *names = test_format("update_usernames(%d, [[%d, ['other%d']]])", load->s, n, n);
        TEST_FREED char *list = test_format("get_peers(%d, [%d])", load->s, n);
        TEST_FREED char *scan = test_format("scan_peers(%d, %d, 1)", load->s, n - 1);
        TEST_FREED char *states = test_format("update_states(%d, %s)", load->s, state);
        TEST_FREED char *state_of = test_format("get_states(%d, [%d])", load->s, n);
        TEST_FREED char *set =
                test_format("set(%d, {user_id: %d, server_address: '10.0.0.%d'})", load->s, n, n % 250);
        TEST_FREED char *get = test_format("get(%d, ['user_id', 'server_address'])", load->s);
        TEST_FREED char *got = test_format("[%d, '10.0.0.%d']", n, n % 250);
        bool stored = ask(load, "nil", "!storage", put);
        bool known;

        load->stored[n] = stored;
        ask(load, peer, stored ? "!storage" : "!not_found", by_id);
        ask(load, "nil", "!storage", names);
        ask(load, peer, stored ? "!storage" : "!not_found", by_name);
        ask(load, peers, stored ? "!storage" : "[nil]", list);
        ask(load, peers, stored ? "!storage" : "[]", scan);
        known = ask(load, "nil", "!storage", states);
        ask(load, state, known ? "!storage" : "[]", state_of);
        known = ask(load, "nil", "!storage", set);
        ask(load, got, known ? "!storage" : "[...]", get);
        ask(load, "...server: 'gramd'...", "!storage", "hello({client: 'loaded'})");
}

/*
 * With memory again everything works, and every acknowledged write is there, also after the file is opened
 * again.
 */
static void expect_whole(struct load *load)
{
        CLIENT c = NULL;
        int s;

        no_memory_now(load->daemon, false);
        wire_end(&load->c);
        daemon_stop(load->daemon);
        daemon_resume(load->daemon);
        c = wire_connect(load->daemon);
        s = wire_open(c, "'anna', {create: false}");
        for (int n = 1; n < ROUNDS; n++) {
                TEST_FREED char *peer = test_format("[%d, %d, 'user', 'name%d', '%d', ...]", n, n, n, n);

                if (load->stored[n])
                        expect(c, peer, "get_peer_by_id(%d, %d)", s, n);
        }
}

START_TEST(without_memory_it_refuses_and_goes_on)
{
        TEST_FREED char *last = test_format("[[%d, ...", ROUNDS);
        struct load load = { 0 };

        no_memory_every(every[_i]);
        DAEMON d = daemon_start();
        load.daemon = d;
        for (int n = 1; n < ROUNDS; n++) {
                connect_in_peace(&load);
                one_round(&load, n);
        }
        no_memory_now(load.daemon, false);
        if (every[_i] < 100)
                ck_assert_int_gt(load.n_refused, 0); /* else no allocation has failed */
        connect_in_peace(&load);
        no_memory_now(load.daemon, false);
        expect(load.c, "nil", "update_peers(%d, [[%d, 1, 'user', nil, nil]])", load.s, ROUNDS);
        expect(load.c, last, "scan_peers(%d, %d, 1)", load.s, ROUNDS - 1);
        expect_whole(&load);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { without_memory_it_refuses_and_goes_on, NULL };

        if (test_memory_factor() > 1) {
                test_skipped("a daemon whose allocations fail", "an allocator that is not a sanitizer's");
                return 0;
        }
        return test_program_repeated("no_memory", tests, sizeof(every) / sizeof(every[0]));
}
