/*
 * Tracked caching with the real daemon: a cached and an uncached client read the same.
 */
#include <stdlib.h>
#include <time.h>

#include "../support/client.h"
#include "../support/daemon.h"
#include "../support/program.h"

static struct gram_session *opened(const struct daemon *daemon, struct gram_client **client)
{
        struct gram_session *session;

        *client = test_client_new(&(struct gram_options){ .socket = daemon->socket });
        ck_assert_int_eq(gram_open(*client, "anna", NULL, &session), 0);
        return session;
}

static char *peer_text(int code, struct gram_peer *peer)
{
        char *text =
                code ? test_format("%s", gram_code_name(code))
                     : test_format("%lld %lld %s %s %s", (long long)peer->id, (long long)peer->access_hash,
                                   peer->type, peer->username ? peer->username : "-",
                                   peer->phone_number ? peer->phone_number : "-");

        if (!code)
                gram_free(peer);
        return text;
}

static void expect_same(struct gram_session *cached, struct gram_session *plain, int kind, int n)
{
        TEST_FREED char *text = test_format("t%d", n);
        struct gram_peer *peers[2] = { NULL, NULL };
        struct gram_session *sessions[2] = { cached, plain };
        int codes[2];

        for (int i = 0; i < 2; i++) {
                if (kind == 0)
                        codes[i] = gram_get_peer_by_id(sessions[i], n, &peers[i]);
                else if (kind == 1)
                        codes[i] = gram_get_peer_by_username(sessions[i], text, GRAM_MAX_AGE_DEFAULT_S,
                                                             &peers[i]);
                else
                        codes[i] = gram_get_peer_by_phone_number(sessions[i], text, &peers[i]);
        }
        {
                TEST_FREED char *a = peer_text(codes[0], peers[0]);
                TEST_FREED char *b = peer_text(codes[1], peers[1]);

                ck_assert_str_eq(a, b);
        }
}

static uint32_t random_next(uint32_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        return *state;
}

/*
 * Both write at random, and after each write both must read the same. Each row has its own time, so that it
 * is certain which of several peers with one name or number is the newest. Each has its own hash, so that
 * none repeats what is stored.
 */
START_TEST(a_cached_client_reads_what_an_uncached_one_does)
{
        DAEMON daemon = daemon_start();
        struct gram_client *clients[2];
        struct gram_session *sessions[2] = { opened(daemon, &clients[0]), opened(daemon, &clients[1]) };
        uint32_t state = 20261121;
        long long now = time(NULL) - 10000;

        ck_assert_int_eq(gram_cache_enable(sessions[0], 0), 0);
        for (int round = 0; round < 3000; round++) {
                struct gram_session *writer = sessions[random_next(&state) % 2];
                TEST_FREED char *name = test_format("t%u", random_next(&state) % 6);
                TEST_FREED char *phone = test_format("t%u", random_next(&state) % 6);
                const char *const names[] = { name };
                struct gram_peer peer = { .id = random_next(&state) % 6,
                                          .has_access_hash = true,
                                          .access_hash = round,
                                          .type = "user",
                                          .username = random_next(&state) % 3 ? name : NULL,
                                          .phone_number = random_next(&state) % 3 ? phone : NULL,
                                          .has_last_update_on = true,
                                          .last_update_on = now + round };
                struct gram_names row = { .peer_id = random_next(&state) % 6,
                                          .names = names,
                                          .n_names = random_next(&state) % 2,
                                          .has_last_update_on = true,
                                          .last_update_on = now + round };

                if (random_next(&state) % 4 == 0)
                        ck_assert_int_eq(gram_update_usernames(writer, &row, 1), 0);
                else if (random_next(&state) % 2)
                        ck_assert_int_eq(gram_update_peers(writer, &peer, 1), 0);
                for (int i = 0; i < 4; i++)
                        expect_same(sessions[0], sessions[1], (int)(random_next(&state) % 3),
                                    (int)(random_next(&state) % 6));
                if (round == 1500) {
                        daemon_kill(daemon);
                        daemon_resume(daemon);
                }
        }
        gram_client_free(clients[0]);
        gram_client_free(clients[1]);
}
END_TEST

/* A change counts as soon as its writer has the answer, without a turn of an event loop between. */
START_TEST(a_change_counts_as_soon_as_its_writer_knows)
{
        DAEMON daemon = daemon_start();
        struct gram_client *clients[2];
        struct gram_session *cached = opened(daemon, &clients[0]), *writer = opened(daemon, &clients[1]);
        struct gram_peer row = { .id = 1, .has_access_hash = true, .type = "user" };

        ck_assert_int_eq(gram_cache_enable(cached, 0), 0);
        for (row.access_hash = 1; row.access_hash < 500; row.access_hash++) {
                struct gram_peer *peer;

                ck_assert_int_eq(gram_update_peers(writer, &row, 1), 0);
                for (int i = 0; i < 2; i++) {
                        ck_assert_int_eq(gram_get_peer_by_id(cached, 1, &peer), 0);
                        ck_assert_int_eq(peer->access_hash, row.access_hash);
                        gram_free(peer);
                }
        }
        gram_client_free(clients[0]);
        gram_client_free(clients[1]);
}
END_TEST

int main(void)
{
        return test_program("client-lib/cache_daemon",
                            (const TTest *const[]){ a_cached_client_reads_what_an_uncached_one_does,
                                                    a_change_counts_as_soon_as_its_writer_knows, NULL });
}
