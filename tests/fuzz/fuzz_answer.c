/*
 * libgram with a hostile daemon. The input plays both sides, in steps: the program calls any function, and
 * the daemon answers a request with a result or an error of any shape, tells something, sends raw bytes, or
 * closes. Each call is called back exactly once, with a result that can be read, or an error with a message.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../client-lib/gram.h"
#include "../../proto/frame.h"
#include "../../proto/message.h"
#include "clocks.h"
#include "fuzz.h"
#include "grammar.h"

enum {
        STEPS_MAX = 64,
        CALLS_MAX = STEPS_MAX + 8,
        ASKED_MAX = 128, /* requests that the daemon remembers */
        SESSIONS_MAX = 4,
        IN_BYTES = 1 << 16,
        RAW_MAX = 64,
        PASS_MS = 300, /* longer than the client waits before it connects again */
        LONG_MS = 40000,
};

/* What a callback gets. */
enum result {
        NOTHING,
        HELLO,
        SESSION,
        INFO,
        IDENTITY,
        PEER,
        PEERS,
        NAMES,
        STATES,
        STORED,
        CLIENTS,
        STATS,
        TEXT
};

struct called {
        enum result result;
        bool accepted, back;
};

static struct world {
        char dir[48], path[64];
        int listening;
} world;

static struct run {
        struct gram_client *client;
        struct gram_session *sessions[SESSIONS_MAX];
        struct called calls[CALLS_MAX];
        size_t n_calls;

        int fd; /* the daemon's end; -1: none */
        struct frame frame;
        uint8_t in[IN_BYTES];
        size_t len;
        struct asked {
                uint32_t id;
                enum method_number method;
        } asked[ASKED_MAX];
        size_t n_asked;
        unsigned next_handle;
        volatile uint64_t sum; /* of all that was read */
} run;

/* ---- the program: reads all that it gets ---- */

static void see(const char *text)
{
        if (text)
                run.sum += strlen(text);
}

static void see_holder(const struct gram_holder *holder)
{
        if (!holder)
                return;
        see(holder->client);
        see(holder->host);
}

static void see_error(const struct gram_error *error)
{
        require(error->code < 0 && error->message && error->name);
        see(error->name);
        see(error->message);
        see(error->file);
        see_holder(error->holder);
}

static void see_texts(const char *const *texts, size_t n)
{
        for (size_t i = 0; i < n; i++)
                run.sum += strlen(texts[i]);
}

static void see_peer(const struct gram_peer *peer)
{
        see(peer->type);
        see(peer->username);
        see(peer->phone_number);
}

static void see_hello(const struct gram_hello *hello)
{
        see(hello->server);
        see(hello->version);
        see(hello->default_backend);
        see_texts(hello->backends, hello->n_backends);
        see_texts(hello->features, hello->n_features);
}

static void see_info(const struct gram_info *info)
{
        see(info->name);
        see(info->backend);
        see(info->dialect);
        see(info->sealed);
}

static void see_rows(enum result result, const struct gram_reply *reply)
{
        switch (result) {
        case PEERS:
                for (size_t i = 0; i < reply->peers->n; i++)
                        see_peer(&reply->peers->rows[i]);
                break;
        case NAMES:
                for (size_t i = 0; i < reply->usernames->n; i++)
                        see(reply->usernames->rows[i].username);
                break;
        case STATES:
                for (size_t i = 0; i < reply->states->n; i++)
                        run.sum += (uint64_t)reply->states->rows[i].id;
                break;
        case STORED:
                for (size_t i = 0; i < reply->sessions->n; i++) {
                        see(reply->sessions->rows[i].name);
                        see(reply->sessions->rows[i].backend);
                        see_holder(reply->sessions->rows[i].holder);
                }
                break;
        case CLIENTS:
                for (size_t i = 0; i < reply->clients->n; i++) {
                        see(reply->clients->rows[i].client);
                        see_texts(reply->clients->rows[i].sessions, reply->clients->rows[i].n_sessions);
                        run.sum += (uint64_t)reply->clients->leased[i];
                }
                break;
        default:
                for (size_t i = 0; i < reply->stats->n; i++)
                        see(reply->stats->rows[i].name);
        }
}

static void take_session(struct gram_session *session)
{
        for (size_t i = 0; i < SESSIONS_MAX; i++) {
                if (run.sessions[i])
                        continue;
                run.sessions[i] = session;
                see(gram_session_name(session));
                see(gram_session_opened(session)->dialect);
                return;
        }
        gram_async_close(session, NULL, NULL);
}

static void on_reply(void *arg, struct gram_reply *reply)
{
        struct called *called = arg;

        require(called->accepted && !called->back);
        called->back = true;
        if (reply->error) {
                see_error(reply->error);
                return;
        }
        switch (called->result) {
        case NOTHING: break;
        case HELLO: see_hello(reply->hello); break;
        case SESSION: take_session(reply->session); break;
        case INFO: see_info(reply->info); break;
        case IDENTITY: see(reply->identity->server_address); break;
        case PEER: see_peer(reply->peer); break;
        case TEXT: see(reply->text); break;
        default: see_rows(called->result, reply);
        }
}

static void on_event(void *arg, const struct gram_event *event)
{
        (void)arg;
        if (event->session)
                see(gram_session_name(event->session));
        if (event->error)
                see_error(event->error);
        see(event->reason);
        if (event->changed) {
                see_texts(event->changed->usernames, event->changed->n_usernames);
                see_texts(event->changed->phones, event->changed->n_phones);
                for (size_t i = 0; i < event->changed->n_peers; i++)
                        run.sum += (uint64_t)event->changed->peers[i];
                for (size_t i = 0; i < event->changed->n_states; i++)
                        run.sum += (uint64_t)event->changed->states[i];
        }
        if (event->request) {
                see(event->request->client);
                see(event->request->method);
                see(event->request->session);
                see(event->request->error);
        }
}

/* ---- the program: calls ---- */

static struct called *new_call(enum result result)
{
        struct called *called = &run.calls[run.n_calls++];

        *called = (struct called){ .result = result, .accepted = true };
        return called;
}

/* Calls FUNCTION(…, on_reply, the call). */
#define CALL(result, function, ...)                                                                          \
        do {                                                                                                 \
                struct called *made = new_call(result);                                                      \
                                                                                                             \
                made->accepted = gram_async_##function(__VA_ARGS__, on_reply, made) == 0;                    \
        } while (0)

static void call_of_client(unsigned number)
{
        static const struct gram_open_options options[] = { { .mode = GRAM_EXCLUSIVE, .wait_ms = 100 },
                                                            { .backend = "memory", .linger_s = 5 } };
        struct gram_client *client = run.client;

        switch (number) {
        case 0: CALL(SESSION, open, client, "anna", NULL); break;
        case 1: CALL(SESSION, open, client, "bert", &options[0]); break;
        case 2: CALL(SESSION, open, client, "cleo", &options[1]); break;
        case 3: CALL(HELLO, hello, client); break;
        case 4: CALL(NOTHING, ping, client); break;
        case 5: CALL(STORED, sessions, client, "*", NULL, 10); break;
        case 6: CALL(CLIENTS, clients, client); break;
        case 7: CALL(NOTHING, disconnect, client, 7); break;
        case 8: CALL(NOTHING, drain, client, true); break;
        case 9: CALL(STATS, stats, client); break;
        default: CALL(NOTHING, monitor, client, true);
        }
}
enum { CALLS_OF_CLIENT = 11 };

static void call_that_reads(struct gram_session *session, unsigned number)
{
        static const int64_t ids[] = { 1, 2 };

        switch (number) {
        case 0: CALL(PEER, get_peer_by_id, session, 1); break;
        case 1: CALL(PEER, get_peer_by_username, session, "anna", 0); break;
        case 2: CALL(PEER, get_peer_by_phone_number, session, "79001"); break;
        case 3: CALL(PEERS, get_peers, session, ids, 2); break;
        case 4: CALL(PEERS, scan_peers, session, NULL, 10); break;
        case 5: CALL(NAMES, scan_usernames, session, "a", 1, 10); break;
        case 6: CALL(STATES, get_states, session, NULL, 0); break;
        case 7: CALL(STATES, get_states, session, ids, 2); break;
        case 8: CALL(IDENTITY, get, session, GRAM_ALL_FIELDS); break;
        case 9: CALL(TEXT, export_string, session, "pyrogram"); break;
        case 10: CALL(INFO, info, session); break;
        case 11: CALL(NOTHING, lease, session); break;
        case 12: CALL(NOTHING, watch, session, true); break;
        default: CALL(NOTHING, cache_enable, session, 1 << 14);
        }
}
enum { CALLS_THAT_READ = 14 };

static void call_that_writes(struct gram_session *session, unsigned number)
{
        static const struct gram_peer peer = { .id = 1, .type = "user", .username = "anna" };
        static const char *const names[] = { "anna", "berta" };
        static const struct gram_names row = { .peer_id = 1, .names = names, .n_names = 2 };
        static const struct gram_state state = { .id = 1, .has = GRAM_STATE_PTS, .pts = 5 };
        static const struct gram_identity identity = { .fields = GRAM_USER_ID, .user_id = 7 };
        static const int64_t id = 1;

        switch (number) {
        case 0: CALL(NOTHING, update_peers, session, &peer, 1); break;
        case 1: CALL(NOTHING, update_usernames, session, &row, 1); break;
        case 2: CALL(NOTHING, update_states, session, &state, 1, true); break;
        case 3: CALL(NOTHING, remove_states, session, &id, 1); break;
        case 4: CALL(NOTHING, set, session, &identity); break;
        case 5: CALL(NOTHING, import_string, session, "1BQ", NULL); break;
        case 6: CALL(NOTHING, save, session); break;
        case 7: CALL(NOTHING, seal, session); break;
        case 8: CALL(NOTHING, unseal, session); break;
        case 9: CALL(NOTHING, rotate, session); break;
        default: CALL(NOTHING, delete, session, true);
        }
}
enum { CALLS_THAT_WRITE = 11 };

static void call(struct choices *choices)
{
        struct gram_session **session = &run.sessions[choose(choices, SESSIONS_MAX)];
        const unsigned number = choose(choices, CALLS_OF_CLIENT + CALLS_THAT_READ + CALLS_THAT_WRITE + 1);

        if (number < CALLS_OF_CLIENT || !*session) {
                call_of_client(number % CALLS_OF_CLIENT);
        } else if (number < CALLS_OF_CLIENT + CALLS_THAT_READ) {
                call_that_reads(*session, number - CALLS_OF_CLIENT);
        } else if (number < CALLS_OF_CLIENT + CALLS_THAT_READ + CALLS_THAT_WRITE) {
                call_that_writes(*session, number - CALLS_OF_CLIENT - CALLS_THAT_READ);
        } else {
                CALL(NOTHING, close, *session);
                *session = NULL;
        }
}

/* ---- the daemon ---- */

static void drop(void)
{
        if (run.fd >= 0)
                close(run.fd);
        run.fd = -1;
        run.len = run.n_asked = 0;
        run.frame = (struct frame){ 0 };
}

static void send_bytes(const void *bytes, size_t len)
{
        if (run.fd >= 0)
                send(run.fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_buffer(struct buffer *out)
{
        send_bytes(out->data, out->len);
        buffer_deinit(out);
}

/* The numbers that an honest daemon answers: without them a client gets nowhere. */
static void answer_honestly(const struct asked *asked)
{
        struct buffer out = { 0 };

        message_begin_result(&out, asked->id);
        if (asked->method == METHOD_HELLO) {
                pack_map(&out, 2);
                pack_cstr(&out, "protocol");
                pack_int(&out, 1);
                pack_cstr(&out, "features");
                pack_array(&out, 1);
                pack_cstr(&out, "lease");
        } else {
                pack_map(&out, 4);
                pack_cstr(&out, "session");
                pack_int(&out, ++run.next_handle % 4);
                pack_cstr(&out, "created");
                pack_bool(&out, true);
                pack_cstr(&out, "fence");
                pack_int(&out, 0);
                pack_cstr(&out, "lease");
                pack_int(&out, 1000);
        }
        send_buffer(&out);
}

static void hear(const struct message *message)
{
        struct asked asked = { .id = message->id, .method = METHOD_COUNT };

        require(message->kind == MESSAGE_REQUEST);
        for (size_t i = 0; i < METHOD_COUNT; i++)
                if (slice_is(message->method, methods[i].name))
                        asked.method = (enum method_number)i;
        require(asked.method < METHOD_COUNT);
        if (run.n_asked == ASKED_MAX)
                run.n_asked = 0;
        run.asked[run.n_asked++] = asked;
}

/* What libgram sends is well-formed, whatever it has heard. */
static void listen_to_it(void)
{
        static const struct frame_limits limits = { .bytes = IN_BYTES, .depth = 8 };
        size_t done = 0, end;
        ssize_t n = recv(run.fd, run.in + run.len, IN_BYTES - run.len, MSG_DONTWAIT);

        if (n <= 0) {
                if (n == 0 || errno != EAGAIN)
                        drop();
                return;
        }
        run.len += (size_t)n;
        for (;;) {
                enum frame_result result =
                        frame_scan(&run.frame, &limits, run.in + done, run.len - done, &end);
                struct message message;

                require(result >= 0);
                if (result == FRAME_MORE)
                        break;
                require(message_read((struct slice){ (char *)run.in + done, end }, &message));
                hear(&message);
                done += end;
        }
        run.len -= done;
        memmove(run.in, run.in + done, run.len);
}

static void turn(void)
{
        gram_process(run.client);
        if (run.fd < 0)
                run.fd = accept4(world.listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (run.fd >= 0)
                listen_to_it();
}

static void answer(struct choices *choices)
{
        const uint8_t how = choose_byte(choices);
        struct asked *asked;
        struct buffer out = { 0 };

        if (run.n_asked == 0)
                return;
        asked = &run.asked[how / 8 % run.n_asked];
        if (how % 8 < 2 && (asked->method == METHOD_HELLO || asked->method == METHOD_OPEN)) {
                answer_honestly(asked);
        } else if (how % 8 == 7) {
                pack_array(&out, 4);
                pack_int(&out, MESSAGE_RESPONSE);
                pack_int(&out, asked->id);
                grammar_error(choices, &out);
                pack_nil(&out);
        } else {
                message_begin_result(&out, asked->id);
                grammar_result(choices, how % 8 == 6 ? choose(choices, METHOD_COUNT) : asked->method, &out);
        }
        send_buffer(&out);
        if (how % 8 != 5) /* then it is answered once more */
                *asked = run.asked[--run.n_asked];
}

static void tell(struct choices *choices)
{
        struct buffer out = { 0 };

        pack_array(&out, 3);
        pack_int(&out, MESSAGE_NOTIFICATION);
        grammar_notification(choices, &out);
        send_buffer(&out);
}

static void send_raw(struct choices *choices)
{
        size_t n = 1 + choose(choices, RAW_MAX), left = (size_t)(choices->end - choices->at);

        n = n < left ? n : left;
        send_bytes(choices->at, n);
        choices->at += n;
}

static void step(struct choices *choices)
{
        switch (choose(choices, 12)) {
        case 0:
        case 1:
        case 2: call(choices); break;
        case 3: tell(choices); break;
        case 4: send_raw(choices); break;
        case 5: drop(); break;
        case 6: clock_pass_ms(choose(choices, 8) ? PASS_MS : LONG_MS); break;
        case 7: break; /* the next message comes together with the last one */
        default: answer(choices);
        }
        if (choose_byte(choices) % 8)
                turn();
}

/* ---- the run ---- */

static void greet(void)
{
        CALL(SESSION, open, run.client, "anna", NULL);
        for (int i = 0; i < 4; i++)
                turn();
        for (size_t i = 0; i < run.n_asked; i++)
                answer_honestly(&run.asked[i]);
        run.n_asked = 0;
        turn();
        require(run.sessions[0]);
}

static void leave(void)
{
        close(world.listening);
        unlink(world.path);
        rmdir(world.dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        (void)argc;
        (void)argv;
        scratch_make(world.dir, sizeof(world.dir));
        snprintf(world.path, sizeof(world.path), "%s/sock", world.dir);
        strcpy(address.sun_path, world.path);
        world.listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        require(bind(world.listening, (struct sockaddr *)&address, sizeof(address)) == 0);
        require(listen(world.listening, 16) == 0);
        atexit(leave);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct choices choices = { data, data + size };

        memset(&run, 0, sizeof(run));
        run.fd = -1;
        clocks_reset();
        clocks_stand(true);
        run.client = gram_client_new(&(struct gram_options){ .socket = world.path, .on_event = on_event });
        require(run.client);
        gram_client_set_leaves(run.client, choose(&choices, 2));
        greet();
        for (int i = 0; i < STEPS_MAX && choices_left(&choices); i++)
                step(&choices);
        gram_client_free(run.client);
        clocks_stand(false);
        for (size_t i = 0; i < run.n_calls; i++)
                require(run.calls[i].back == run.calls[i].accepted);
        drop();
        for (int fd; (fd = accept4(world.listening, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
                close(fd);
        return 0;
}
