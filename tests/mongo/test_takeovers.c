/*
 * A random run. Three daemons compete for some sessions; the network between each of them and the server
 * delays and reorders. Owners are frozen, cut off or killed in the middle of their writes, and come back;
 * what they had sent arrives late. At no moment do two daemons answer `lease` with time left for one session,
 * and what a successor has written is never replaced. Half of the sessions are in the shared
 * layout. $GRAMD_TEST_ROUNDS rounds of SESSIONS takeovers each, from $GRAMD_TEST_SEED.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../support/mongo_peek.h"
#include "../support/mongo_proxy.h"
#include "../support/mongo_server.h"
#include "../support/program.h"
#include "../support/wire.h"

enum { DAEMONS = 3, SESSIONS = 8, PEERS = 3, ROUNDS = 20 };

struct node {
        struct mongo_proxy *proxy;
        char *uri;
        struct daemon *daemon;
        struct wire *wire;
        int s[SESSIONS];           /* 0: not its own */
        long long until[SESSIONS]; /* it has answered that it owns the session until then, or longer */
};

struct world {
        struct mongo_server *server;
        struct mongo_peek *peek;
        struct node nodes[DAEMONS];
        char *names[SESSIONS];
        long long fence[SESSIONS];               /* the newest seen */
        long long acknowledged[SESSIONS][PEERS]; /* values, with that fence */
        long long value;
        unsigned seed;
        int takeovers;
};

static unsigned dice(struct world *world, unsigned sides)
{
        return (unsigned)rand_r(&world->seed) % sides;
}

/* ---- checks ---- */

/* Asks one daemon, and compares with the answers of the others. */
static void check_lease(struct world *world, int n, int i)
{
        struct node *node = &world->nodes[n];
        long long sent = test_now_ms(), left, answered;

        if (!node->s[i])
                return;
        left = strtoll(wire_call(node->wire, "lease(%d)", node->s[i]), NULL, 10);
        answered = test_now_ms();
        if (left <= 0)
                return;
        for (int other = 0; other < DAEMONS; other++)
                ck_assert_msg(other == n || world->nodes[other].until[i] <= answered,
                              "session %d: daemon %d has it for another %lld ms, and daemon %d too", i, n,
                              left, other);
        if (sent + left > node->until[i])
                node->until[i] = sent + left;
}

/* The server holds the last write that was acknowledged to the newest owner, or a later one of that owner. */
static void check_values(struct world *world, int i)
{
        for (int id = 0; id < PEERS; id++) {
                struct mongo_peer peer = mongo_peek_peer(world->peek, world->names[i], id + 1);

                if (!world->acknowledged[i][id])
                        continue;
                ck_assert_msg(peer.exists && peer.fence >= world->fence[i] &&
                                      peer.access_hash >= world->acknowledged[i][id],
                              "session %d, peer %d: fence %lld, value %lld; its owner of fence %lld had "
                              "stored %lld",
                              i, id + 1, (long long)peer.fence, (long long)peer.access_hash, world->fence[i],
                              world->acknowledged[i][id]);
        }
}

/* ---- daemons ---- */

static void connect_node(struct node *node)
{
        node->wire = wire_connect(node->daemon);
        memset(node->s, 0, sizeof(node->s));
}

static void take(struct world *world, int n, int i)
{
        struct node *node = &world->nodes[n];

        if (node->s[i])
                return;
        for (;;) {
                const char *answer =
                        wire_call(node->wire, "open('%s', {backend: 'mongo', wait: 60000})", world->names[i]);

                if (answer[0] != '!') {
                        long long fence = wire_number(answer, "fence");

                        node->s[i] = (int)wire_number(answer, "session");
                        ck_assert_int_gt(fence, world->fence[i]);
                        world->fence[i] = fence;
                        break;
                }
                ck_assert_msg(strcmp(answer, "!unavailable") == 0, "%s %s", answer,
                              wire_error_message(node->wire));
        }
        memset(world->acknowledged[i], 0, sizeof(world->acknowledged[i]));
        world->takeovers++;
        check_lease(world, n, i);
}

/* Writes every session's peers. Waits for the answers, or leaves the writes under way. */
static void write_all(struct world *world, int n, bool wait)
{
        struct node *node = &world->nodes[n];

        for (int i = 0; i < SESSIONS; i++) {
                for (int id = 0; id < PEERS && node->s[i]; id++) {
                        uint32_t request =
                                wire_send(node->wire, "update_peers(%d, [[%d, %lld, 'user', nil, nil]])",
                                          node->s[i], id + 1, ++world->value);
                        const char *answer = wait ? wire_answer(node->wire, request) : "";

                        if (strcmp(answer, "nil") != 0)
                                continue;
                        world->acknowledged[i][id] = world->value;
                        /* Its fence may have risen: a write of its own was in doubt. */
                        answer = wire_call(node->wire, "info(%d)", node->s[i]);
                        if (answer[0] != '!')
                                world->fence[i] = wire_number(answer, "fence");
                }
                check_lease(world, n, i);
        }
}

static void start_node(struct world *world, struct node *node)
{
        node->proxy = mongo_proxy_new(world->server->port);
        node->uri = mongo_proxy_uri(node->proxy, "socketTimeoutMS=3000");
        node->daemon =
                daemon_start(.config = "idle-close = 0\n",
                             .flags = { "--mongo", node->uri, "--mongo-term", "1", "--log-level", "error",
                                        "--mongo-layout", node == world->nodes ? "shared" : "own" });
        connect_node(node);
        mongo_proxy_delay(node->proxy, 10, 30, 200);
}

/* ---- a round ---- */

/* Freezes, cuts off or kills the owner in the middle of its writes. */
static void strike(struct world *world, int n, unsigned how)
{
        struct node *node = &world->nodes[n];

        write_all(world, n, false);
        switch (how) {
        case 0: mongo_proxy_hold(node->proxy); break;
        case 1: daemon_freeze(node->daemon); break;
        default:
                daemon_kill(node->daemon);
                /* Its answers do not count any more: a daemon on its own directory may go on at once. */
                memset(node->until, 0, sizeof(node->until));
                break;
        }
}

static void recover(struct world *world, int n, unsigned how)
{
        struct node *node = &world->nodes[n];

        switch (how) {
        case 0: mongo_proxy_let_go(node->proxy); break;
        case 1: daemon_thaw(node->daemon); break;
        default: daemon_resume(node->daemon); break;
        }
        (void)world;
        wire_end(&node->wire);
        connect_node(node);
}

static void round_of(struct world *world, int owner)
{
        int successor = (owner + 1 + (int)dice(world, DAEMONS - 1)) % DAEMONS;
        unsigned how = dice(world, 3);

        write_all(world, owner, true);
        strike(world, owner, how);
        for (int i = 0; i < SESSIONS; i++) {
                if (how == 0) /* cut off, it still answers its clients */
                        check_lease(world, owner, i);
                take(world, successor, i);
        }
        write_all(world, successor, true);
        recover(world, owner, how);
        write_all(world, successor, true);
        for (int i = 0; i < SESSIONS; i++)
                check_values(world, i);
}

static int owner_of(const struct world *world)
{
        for (int n = 0; n < DAEMONS; n++)
                if (world->nodes[n].s[0])
                        return n;
        ck_abort_msg("nobody owns the sessions");
        return 0;
}

START_TEST(takeovers)
{
        const char *rounds = getenv("GRAMD_TEST_ROUNDS");
        const char *seed = getenv("GRAMD_TEST_SEED");
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        MONGO_PEEK peek = NULL;
        struct world world = { .seed = seed ? (unsigned)atoi(seed) : (unsigned)time(NULL) };

        if (!server || !mongo_server_is_ours(server, "takeovers"))
                return;
        printf("takeovers: GRAMD_TEST_SEED=%u\n", world.seed);
        peek = mongo_peek_new(server);
        world.server = server;
        world.peek = peek;
        for (int n = 0; n < DAEMONS; n++)
                start_node(&world, &world.nodes[n]);
        for (int i = 0; i < SESSIONS; i++) {
                TEST_FREED char *stem = test_format("fight%d", i);

                world.names[i] = mongo_name(stem);
                if (i % 2)
                        free(mongo_python(
                                server,
                                "db[names[0]].session.insert_one({'_id': 0, 'dc_id': 2, 'date': 0})\n",
                                world.names[i], NULL));
                take(&world, 0, i);
        }
        for (int round = 0; round < (rounds ? atoi(rounds) : ROUNDS); round++)
                round_of(&world, owner_of(&world));
        printf("takeovers: %d, and %lld writes\n", world.takeovers, world.value);
        for (int n = 0; n < DAEMONS; n++) {
                wire_end(&world.nodes[n].wire);
                daemon_end(&world.nodes[n].daemon);
                mongo_proxy_end(&world.nodes[n].proxy);
                free(world.nodes[n].uri);
        }
        for (int i = 0; i < SESSIONS; i++)
                free(world.names[i]);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { takeovers, NULL };

        return test_program("takeovers", tests);
}
