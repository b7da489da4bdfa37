/*
 * A client with libgram whose daemon is killed and started again all the time (restarts.py). It writes rising
 * values into registers that only it writes, reads them back, and makes, fills and deletes sessions. It
 * checks each answer itself: a line on the standard error for each fault, and at the end one line of figures
 * on the standard output.
 *
 *     restart_client SOCKET SESSION TIMEOUT_S
 */

#include <gram.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        PEER,
        STATE,
        FIELD,
        REGISTERS,
        IN_FLIGHT = 16,
        ROWS = 2000, /* peers of its own, whose values rise too */
        FIRST_ROW = 1000000,
        ME = 1, /* the number of the peer and of the state that are its registers */
        TEMPORARY_PAUSE = 400,
};

struct client {
        struct gram_client *gram;
        struct gram_session *session;
        int64_t sent[REGISTERS];
        int64_t answered[REGISTERS]; /* the highest write that was answered */
        int64_t rows[ROWS], rows_answered[ROWS];
        long calls, faults;
        int in_flight;
};

struct request {
        struct client *client;
        bool reads;
        int which; /* a register, or REGISTERS + a row */
        int64_t value;
        const char *what;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
        (void)number;
        stopping = 1;
}

static void fault(struct client *client, const char *what, const char *why, int64_t got, int64_t least,
                  int64_t most)
{
        client->faults++;
        fprintf(stderr,
                "restart_client: %s: %s (got %" PRId64 ", between %" PRId64 " and %" PRId64 " is right)\n",
                what, why, got, least, most);
}

static int64_t value_of(const struct request *request, const struct gram_reply *reply)
{
        if (reply->error)
                return 0; /* not found */
        switch (request->which) {
        case STATE: return reply->states->n ? reply->states->rows[0].pts : 0;
        case FIELD: return reply->identity->nil & GRAM_USER_ID ? 0 : reply->identity->user_id;
        default: return reply->peer->access_hash;
        }
}

static void answered(void *arg, struct gram_reply *reply)
{
        struct request *request = arg;
        struct client *client = request->client;
        bool is_row = request->which >= REGISTERS;
        int64_t *sent = is_row ? &client->rows[request->which - REGISTERS] : &client->sent[request->which];
        int64_t *done = is_row ? &client->rows_answered[request->which - REGISTERS]
                               : &client->answered[request->which];

        client->in_flight--;
        client->calls++;
        if (reply->error &&
            !(request->reads && reply->error->code == GRAM_E_NOT_FOUND && request->value == 0)) {
                fault(client, request->what, reply->error->message, 0, 0, 0);
        } else if (request->reads) {
                int64_t value = value_of(request, reply);

                /* It was sent behind the write of `value`. */
                if (value < request->value || value > *sent)
                        fault(client, request->what, "a wrong value was read", value, request->value, *sent);
        } else if (request->value > *done) {
                *done = request->value;
        }
        free(request);
}

static struct request *request_new(struct client *client, int which, bool reads, const char *what)
{
        struct request *request = malloc(sizeof(*request));

        if (!request)
                abort();
        *request = (struct request){ .client = client, .which = which, .reads = reads, .what = what };
        client->in_flight++;
        return request;
}

static void sent(struct client *client, struct request *request, int result)
{
        if (result == 0)
                return;
        fault(client, request->what, gram_code_name(result), 0, 0, 0);
        client->in_flight--;
        free(request);
}

static void write_peer(struct client *client, int which, int64_t id, int64_t value)
{
        const struct gram_peer peer = {
                .id = id, .has_access_hash = true, .access_hash = value, .type = "user"
        };
        struct request *request = request_new(client, which, false, "update_peers");

        request->value = value;
        sent(client, request, gram_async_update_peers(client->session, &peer, 1, answered, request));
}

static void read_peer(struct client *client, int which, int64_t id, int64_t least)
{
        struct request *request = request_new(client, which, true, "get_peer_by_id");

        request->value = least;
        sent(client, request, gram_async_get_peer_by_id(client->session, id, answered, request));
}

static void write_state(struct client *client)
{
        const struct gram_state state = { .id = ME, .has = GRAM_STATE_ALL, .pts = ++client->sent[STATE] };
        struct request *request = request_new(client, STATE, false, "update_states");

        request->value = state.pts;
        sent(client, request, gram_async_update_states(client->session, &state, 1, false, answered, request));
}

static void read_state(struct client *client)
{
        const int64_t id = ME;
        struct request *request = request_new(client, STATE, true, "get_states");

        request->value = client->sent[STATE];
        sent(client, request, gram_async_get_states(client->session, &id, 1, answered, request));
}

static void write_field(struct client *client)
{
        const struct gram_identity identity = { .fields = GRAM_USER_ID, .user_id = ++client->sent[FIELD] };
        struct request *request = request_new(client, FIELD, false, "set");

        request->value = identity.user_id;
        sent(client, request, gram_async_set(client->session, &identity, answered, request));
}

static void read_field(struct client *client)
{
        struct request *request = request_new(client, FIELD, true, "get");

        request->value = client->sent[FIELD];
        sent(client, request, gram_async_get(client->session, GRAM_USER_ID, answered, request));
}

static void one(struct client *client, long turn)
{
        int row = (int)(turn / 8 % ROWS);

        switch (turn % 8) {
        case 0: write_peer(client, PEER, ME, ++client->sent[PEER]); break;
        case 1: read_peer(client, PEER, ME, client->sent[PEER]); break;
        case 2: write_state(client); break;
        case 3: read_state(client); break;
        case 4: write_field(client); break;
        case 5: read_field(client); break;
        case 6:
                /* Rows of a past round have been answered long ago: only the last write of each counts. */
                client->rows[row] = turn + 1;
                write_peer(client, REGISTERS + row, FIRST_ROW + row, client->rows[row]);
                break;
        default: read_peer(client, REGISTERS + row, FIRST_ROW + row, client->rows[row]); break;
        }
}

static void step(struct client *client, int ms)
{
        struct pollfd fd = { gram_fd(client->gram), POLLIN, 0 };

        poll(&fd, 1, ms);
        gram_process(client->gram);
}

static void expect(struct client *client, const char *what, int result, int expected)
{
        client->calls++;
        if (result != expected)
                fault(client, what, result ? gram_client_error(client->gram)->message : "it succeeded",
                      result, expected, expected);
}

/* A session of its own: made, filled, closed, found, deleted, gone. */
static void temporary(struct client *client, int number)
{
        const struct gram_open_options there = { .must_exist = true, .wait_ms = 1000 };
        const struct gram_peer peer = {
                .id = number, .has_access_hash = true, .access_hash = number, .type = "user"
        };
        struct gram_session *session = NULL;
        struct gram_peer *found = NULL;
        char name[64];
        int result;

        snprintf(name, sizeof(name), "temporary-c-%d", number % 3);
        result = gram_open(client->gram, name, NULL, &session);
        expect(client, "open, which creates", result, 0);
        if (result)
                return;
        expect(client, "update_peers of a new session", gram_update_peers(session, &peer, 1), 0);
        gram_close(session);
        result = gram_open(client->gram, name, &there, &session);
        expect(client, "open of what was created", result, 0);
        if (result)
                return;
        result = gram_get_peer_by_id(session, number, &found);
        expect(client, "get_peer_by_id of a new session", result, 0);
        if (result == 0 && found->access_hash != number)
                fault(client, "get_peer_by_id of a new session", "a wrong value was read", found->access_hash,
                      number, number);
        gram_free(found);
        expect(client, "delete", gram_delete(session, true), 0);
        gram_close(session);
        result = gram_open(client->gram, name, &there, &session);
        expect(client, "open of what was deleted", result, GRAM_E_NOT_FOUND);
        if (result == 0)
                gram_close(session);
}

/* Every row has the last value that was sent: all was answered. */
static void check_rows(struct client *client)
{
        for (int i = 0; i < ROWS; i++) {
                if (client->rows[i] != client->rows_answered[i])
                        fault(client, "a row", "its write was never answered", client->rows_answered[i],
                              client->rows[i], client->rows[i]);
                if (client->rows[i])
                        read_peer(client, REGISTERS + i, FIRST_ROW + i, client->rows[i]);
                while (client->in_flight >= IN_FLIGHT)
                        step(client, 100);
        }
        while (client->in_flight)
                step(client, 100);
}

int main(int argc, char **argv)
{
        static struct client client;
        const struct gram_open_options options = { .wait_ms = 10000 };
        struct gram_options about = { .socket = argv[1], .client = "restart_client.c" };
        int number = 0;

        if (argc != 4)
                return 2;
        about.timeout_ms = 1000L * atoi(argv[3]);
        signal(SIGTERM, on_signal);
        client.gram = gram_client_new(&about);
        if (!client.gram)
                return 1;
        if (gram_open(client.gram, argv[2], &options, &client.session)) {
                fprintf(stderr, "restart_client: open: %s\n", gram_client_error(client.gram)->message);
                return 1;
        }
        for (long turn = 0; !stopping; turn++) {
                one(&client, turn);
                while (client.in_flight >= IN_FLIGHT)
                        step(&client, 100);
                if (turn % TEMPORARY_PAUSE == 0)
                        temporary(&client, number++);
        }
        while (client.in_flight)
                step(&client, 100);
        check_rows(&client);
        printf("{\"calls\": %ld, \"faults\": %ld, \"peer\": %" PRId64 ", \"state\": %" PRId64
               ", \"field\": %" PRId64 "}\n",
               client.calls, client.faults, client.answered[PEER], client.answered[STATE],
               client.answered[FIELD]);
        gram_client_free(client.gram);
        return client.faults ? 1 : 0;
}
