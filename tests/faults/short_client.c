/*
 * A client with libgram whose memory is short (memory.c). A call that fails says so with GRAM_E_NOMEM, and
 * succeeds when it is made again; what was stored is read back; a callback comes exactly once for a call that
 * was accepted.
 *
 *     short_client SOCKET SESSION
 */

#include <errno.h>
#include <gram.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES = 300, ASYNC = 20 };

static struct gram_client *client;
static int tries;

/* False: memory was short. Ends the program after any other failure. */
static bool done(const char *what, int result)
{
        if (result == 0)
                return true;
        if (result != GRAM_E_NOMEM || ++tries > TRIES) {
                fprintf(stderr, "short_client: %s: %s: %s\n", what, gram_code_name(result),
                        gram_client_error(client)->message);
                exit(1);
        }
        return false;
}

#define MUST(call)                                                                                           \
        do {                                                                                                 \
        } while (!done(#call, call))

static void expect(bool right, const char *what)
{
        if (right)
                return;
        fprintf(stderr, "short_client: %s\n", what);
        exit(1);
}

static int n_callbacks, n_failed;

static void on_answer(void *arg, struct gram_reply *reply)
{
        (void)arg;
        n_callbacks++;
        if (!reply->error)
                return;
        expect(reply->error->code == GRAM_E_NOMEM, "an asynchronous call fails with another code");
        n_failed++;
}

static void use(struct gram_session *session)
{
        const struct gram_peer peers[] = {
                { .id = 1, .has_access_hash = true, .access_hash = 10, .type = "user", .username = "anna" },
                { .id = 2, .has_access_hash = true, .access_hash = 20, .type = "user", .phone_number = "42" },
        };
        const char *const names[] = { "bella", "clara" };
        const struct gram_names rows = { .peer_id = 1, .names = names, .n_names = 2 };
        const struct gram_state state = { .id = 1, .has = GRAM_STATE_ALL, .pts = 7 };
        const struct gram_identity identity = { .fields = GRAM_USER_ID, .user_id = 77 };
        const int64_t ids[] = { 1, 2, 3 };
        struct gram_identity got = { 0 };
        struct gram_usernames *usernames;
        struct gram_states *states;
        struct gram_peers *found;
        struct gram_peer *peer;
        struct gram_info *info;

        MUST(gram_update_peers(session, peers, 2));
        MUST(gram_update_usernames(session, &rows, 1));
        MUST(gram_update_states(session, &state, 1, false));
        MUST(gram_set(session, &identity));
        MUST(gram_save(session));
        MUST(gram_get(session, GRAM_USER_ID, &got));
        expect(got.user_id == 77, "a wrong field");
        MUST(gram_get_peer_by_username(session, "anna", 0, &peer));
        expect(peer->id == 1 && peer->access_hash == 10 && strcmp(peer->username, "anna") == 0,
               "a wrong peer");
        gram_free(peer);
        MUST(gram_get_peers(session, ids, 3, &found));
        expect(found->n == 3 && found->rows[1].access_hash == 20 && !found->rows[2].type, "wrong peers");
        gram_free(found);
        MUST(gram_scan_usernames(session, NULL, 0, 10, &usernames));
        expect(usernames->n == 2 && strcmp(usernames->rows[0].username, "bella") == 0, "wrong names");
        gram_free(usernames);
        MUST(gram_get_states(session, NULL, 0, &states));
        expect(states->n == 1 && states->rows[0].pts == 7, "a wrong state");
        gram_free(states);
        MUST(gram_info(session, &info));
        expect(info->peers == 2, "wrong figures");
        gram_free(info);
}

static void use_async(struct gram_session *session)
{
        int accepted = 0;

        n_callbacks = n_failed = 0;
        for (int64_t i = 0; i < ASYNC; i++) {
                const struct gram_peer peer = {
                        .id = 100 + i, .has_access_hash = true, .access_hash = i, .type = "user"
                };

                accepted += done("gram_async_update_peers",
                                 gram_async_update_peers(session, &peer, 1, on_answer, NULL));
        }
        while (n_callbacks < accepted) {
                struct pollfd fd = { gram_fd(client), POLLIN, 0 };

                expect(poll(&fd, 1, 20000) == 1, "a callback does not come");
                gram_process(client);
        }
        expect(gram_pending(client) == 0, "a request is pending without a callback");
}

int main(int argc, char **argv)
{
        const struct gram_options options = { .socket = argv[1], .client = "short_client" };
        const struct gram_open_options cached = { .wait_ms = 1000 };
        struct gram_session *session;
        struct gram_peer *peer;

        if (argc != 3)
                return 2;
        do {
                client = gram_client_new(&options);
                expect(client || errno == ENOMEM, "gram_client_new() fails with another errno");
        } while (!client);
        MUST(gram_open(client, argv[2], NULL, &session));
        use(session);
        use_async(session);
        gram_close(session);
        MUST(gram_open(client, argv[2], &cached, &session));
        MUST(gram_cache_enable(session, 0));
        for (int i = 0; i < 3; i++) {
                MUST(gram_get_peer_by_id(session, 2, &peer));
                expect(peer->access_hash == 20, "the cache has a wrong peer");
                gram_free(peer);
        }
        MUST(gram_delete(session, true));
        gram_close(session);
        gram_client_free(client);
        return 0;
}
