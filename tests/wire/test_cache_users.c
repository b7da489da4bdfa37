/*
 * The cache among users, counted by the hits and misses of `stats`. Root is needed to connect as another
 * user.
 */

#include <stdio.h>

#include "../support/program.h"
#include "../support/wire.h"

enum { USER = 54321, GREEDY = 54322, PEERS = 200, FLOOD = 20000, AT_ONCE = 500 };

static const char config[] = "cache = 256K\nfsync = no\n[access]\neveryone = read,write\n";

static long long figure(struct daemon *d, const char *name)
{
        CLIENT root = wire_connect(d);

        return wire_number(wire_call(root, "stats()"), name);
}

static void store(struct wire *c, int s, int first, int n)
{
        for (int id = first; id < first + n; id += AT_ONCE) {
                char rows[AT_ONCE * 40] = "";
                size_t len = 0;

                for (int i = id; i < id + AT_ONCE && i < first + n; i++)
                        len += (size_t)snprintf(rows + len, sizeof(rows) - len, "%s[%d, 1, 'user', nil, nil]",
                                                i > id ? ", " : "", i);
                expect(c, "nil", "update_peers(%d, [%s])", s, rows);
        }
}

static void look_up(struct wire *c, int s, int first, int n)
{
        for (int id = first; id < first + n; id++)
                expect(c, "...", "get_peer_by_id(%d, %d)", s, id);
}

/* All that was stored is answered from the cache. */
static void expect_hits(struct daemon *d, struct wire *c, int s)
{
        long long hits = figure(d, "cache_hits_total"), misses = figure(d, "cache_misses_total");

        look_up(c, s, 1, PEERS);
        ck_assert_int_eq(figure(d, "cache_hits_total") - hits, PEERS);
        ck_assert_int_eq(figure(d, "cache_misses_total") - misses, 0);
}

START_TEST(one_users_peers_do_not_push_out_those_of_others)
{
        DAEMON d = daemon_start(.config = config);
        CLIENT user = NULL;
        CLIENT greedy = NULL;
        int s, t;

        if (!wire_has_strangers("users of the cache"))
                return;
        user = wire_connect_stranger(d, USER, USER);
        greedy = wire_connect_stranger(d, GREEDY, GREEDY);
        s = wire_open(user, "'anna', {}");
        t = wire_open(greedy, "'flood', {}");
        store(user, s, 1, PEERS);
        store(greedy, t, 1, FLOOD);
        ck_assert_int_gt(figure(d, "cache_evictions_total"), FLOOD / 2);
        expect_hits(d, user, s);
        for (int i = 0; i < 3; i++) /* what is read counts like what is written */
                look_up(greedy, t, 1 + i * 1000, 1000);
        expect_hits(d, user, s);
        store(user, s, 1000, PEERS); /* and the user still gets room */
        look_up(greedy, t, 5000, 2000);
        expect_hits(d, user, s);
}
END_TEST

/* What a user brings into a session of another one counts for him, too. */
START_TEST(not_even_on_a_shared_session)
{
        DAEMON d = daemon_start(.config = config);
        CLIENT user = NULL;
        CLIENT greedy = NULL;
        int s, t, mine, theirs;

        if (!wire_has_strangers("users of the cache"))
                return;
        user = wire_connect_stranger(d, USER, USER);
        greedy = wire_connect_stranger(d, GREEDY, GREEDY);
        s = wire_open(user, "'anna', {}");
        mine = wire_open(user, "'bella', {}");
        t = wire_open(greedy, "'anna', {}");
        theirs = wire_open(greedy, "'flood', {}");
        store(user, s, 1, PEERS);
        store(user, mine, 1, PEERS);
        store(greedy, theirs, 1, FLOOD);
        look_up(greedy, t, FLOOD, 3000); /* absent ones */
        ck_assert_int_gt(figure(d, "cache_evictions_total"), FLOOD / 2);
        expect_hits(d, user, s);
        expect_hits(d, user, mine);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                one_users_peers_do_not_push_out_those_of_others,
                not_even_on_a_shared_session,
                NULL,
        };

        return test_program("cache_users", tests);
}
