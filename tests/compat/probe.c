/*
 * A program of the library's users: nothing but gram.h. Built against the first version's library and against
 * this one. It opens, writes and reads, closes and opens again on one connection, prints "ready" and waits
 * for a line while the daemon is killed and started; then it reads what it wrote, and writes again.
 *
 *     probe SOCKET
 */
#include <err.h>
#include <gram.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURNS = 5, PEER = 4711 };

struct seen {
        int disconnected;
        int reconnected;
};

static void on_event(void *arg, const struct gram_event *event)
{
        struct seen *seen = arg;

        if (event->type == GRAM_EVENT_DISCONNECTED)
                seen->disconnected++;
        else if (event->type == GRAM_EVENT_RECONNECTED)
                seen->reconnected++;
        else if (event->type == GRAM_EVENT_ENDED)
                errx(1, "a session has ended: %s", event->error->message);
}

static void must(struct gram_client *client, int code, const char *what)
{
        if (code)
                errx(1, "%s: %s", what, gram_client_error(client)->message);
}

static void want(int right, const char *what)
{
        if (!right)
                errx(1, "%s", what);
}

static void say_hello(struct gram_client *client)
{
        struct gram_hello *hello;

        must(client, gram_hello(client, &hello), "hello");
        want(strcmp(hello->server, "gramd") == 0 && hello->protocol == 1,
             "hello: another server or protocol");
        want(hello->max_in_flight > 0 && hello->max_message_bytes > 0, "hello: no limits");
        gram_free(hello);
}

static struct gram_session *open_session(struct gram_client *client, const char *name, enum gram_mode mode)
{
        const struct gram_open_options options = { .mode = mode };
        struct gram_session *session;

        must(client, gram_open(client, name, &options, &session), name);
        return session;
}

static void write_all(struct gram_client *client, struct gram_session *session, int64_t value)
{
        struct gram_identity identity = { .fields = GRAM_DC_ID | GRAM_USER_ID | GRAM_AUTH_KEY,
                                          .dc_id = 4,
                                          .user_id = value };
        const struct gram_peer peer = {
                .id = PEER, .has_access_hash = true, .access_hash = value, .type = "user", .username = "probe"
        };
        const struct gram_state state = { .id = 0, .has = GRAM_STATE_PTS, .pts = value };

        memset(identity.auth_key, (int)value, sizeof(identity.auth_key));
        must(client, gram_set(session, &identity), "set");
        must(client, gram_update_peers(session, &peer, 1), "update_peers");
        must(client, gram_update_states(session, &state, 1, false), "update_states");
        must(client, gram_save(session), "save");
}

static void expect_all(struct gram_client *client, struct gram_session *session, int64_t value)
{
        struct gram_identity identity;
        struct gram_peer *peer;
        struct gram_states *states;

        must(client, gram_get(session, GRAM_ALL_FIELDS, &identity), "get");
        want(identity.dc_id == 4 && identity.user_id == value && identity.auth_key[255] == (uint8_t)value,
             "get: other values");
        must(client, gram_get_peer_by_username(session, "probe", 0, &peer), "get_peer_by_username");
        want(peer->id == PEER && peer->access_hash == value, "get_peer_by_username: other values");
        gram_free(peer);
        must(client, gram_get_states(session, NULL, 0, &states), "get_states");
        want(states->n == 1 && states->rows[0].pts == value, "get_states: other values");
        gram_free(states);
}

/* Each opening on one connection gets a handle of its own. */
static void close_and_reopen(struct gram_client *client)
{
        struct gram_session *kept = open_session(client, "kept", GRAM_SHARED);

        write_all(client, kept, 5);
        for (int turn = 0; turn < TURNS; turn++) {
                struct gram_session *session = open_session(client, "turns", GRAM_EXCLUSIVE);

                write_all(client, session, turn + 1);
                expect_all(client, session, turn + 1);
                must(client, gram_close(session), "close");
        }
        expect_all(client, kept, 5);
        must(client, gram_close(kept), "close");
}

int main(int argc, char **argv)
{
        struct seen seen = { 0 };
        struct gram_options options = { .client = "probe", .on_event = on_event, .event_arg = &seen };
        struct gram_session *session;
        struct gram_client *client;
        char line[16];

        if (argc != 2)
                errx(2, "usage: probe SOCKET");
        options.socket = argv[1];
        client = gram_client_new(&options);
        want(client != NULL, "gram_client_new");
        say_hello(client);
        close_and_reopen(client);
        session = open_session(client, "probe", GRAM_EXCLUSIVE);
        write_all(client, session, 7);
        expect_all(client, session, 7);
        want(seen.disconnected == 0, "the connection was lost though the daemon ran");

        puts("ready");
        fflush(stdout);
        want(fgets(line, sizeof(line), stdin) != NULL, "nobody said that the daemon is there again");

        expect_all(client, session, 7);
        write_all(client, session, 8);
        expect_all(client, session, 8);
        must(client, gram_close(session), "close");
        close_and_reopen(client);
        want(seen.disconnected == 1 && seen.reconnected == 1, "the connection was lost more than once");
        gram_client_free(client);
        return 0;
}
