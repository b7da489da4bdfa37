/*
 * A client of one host, with libgram, as a process of its own: client.py's twin. Opens sessions, uses them as
 * long as it has a lease, leaves them in one way or another, and writes its history (history.py).
 *
 *     client ID HOST SOCKET HISTORY SEED TERM_MS SESSION...
 */

#include <fcntl.h>
#include <gram.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { VALUES = 3, MS = 1000000, LINE_BYTES = 512 };

struct client {
        const char *id;
        int host;
        int history;
        unsigned seed;
        long long term_ms;
        struct gram_client *gram;
        struct gram_session *session; /* open; or NULL */
        char hold[64];
        const char *name; /* of the session */
        long long until_ns, noted_ns, ask_ns;
        int calls;
        bool asking; /* a `lease` is under way */
        bool over;   /* it was told that the session has ended, that its lease has, or to leave */
        bool leave;
};

struct request {
        struct client *client;
        int n;
        char op;
        const char *reg;
        const struct gram_session *session; /* of a `lease` */
        long long sent_ns;
        bool *done, *ok; /* NULL: nobody waits */
        long long *value;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
        (void)number;
        stopping = 1;
}

static long long now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_BOOTTIME, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int dice(struct client *client, int sides)
{
        return rand_r(&client->seed) % sides;
}

/* ---- the history ---- */

__attribute__((format(printf, 3, 4))) static void put(struct client *client, const char *event,
                                                      const char *format, ...)
{
        char line[LINE_BYTES];
        int len = snprintf(line, sizeof(line),
                           "{\"t\": %lld, \"e\": \"%s\", \"c\": \"%s\", \"h\": %d, \"lib\": 1", now_ns(),
                           event, client->id, client->host);
        va_list args;

        va_start(args, format);
        len += vsnprintf(line + len, sizeof(line) - (size_t)len, format, args);
        va_end(args);
        len += snprintf(line + len, sizeof(line) - (size_t)len, "}\n");
        if (len >= LINE_BYTES || write(client->history, line, (size_t)len) != len)
                abort();
}

static long long fence_of(const struct client *client)
{
        return client->session ? (long long)gram_session_opened(client->session)->fence : 0;
}

/* ---- requests ---- */

static const char *op_name(char op)
{
        switch (op) {
        case 'o': return "open";
        case 'l': return "lease";
        case 'r': return "read";
        case 'w': return "write";
        case 'i': return "info";
        case 's': return "save";
        default: return "close";
        }
}

static void read_value(const struct request *request, const struct gram_reply *reply, char text[64])
{
        bool some = false;
        long long value = 0;

        if (reply->error) {
                some = false; /* not found */
        } else if (request->reg[0] == 'p') {
                some = reply->peer->has_access_hash;
                value = reply->peer->access_hash;
        } else if (request->reg[0] == 'f') {
                unsigned bit = strcmp(request->reg, "field:user_id") == 0 ? GRAM_USER_ID : GRAM_TAKEOUT_ID;

                some = !(reply->identity->nil & bit);
                value = bit == GRAM_USER_ID ? reply->identity->user_id : reply->identity->takeout_id;
        } else {
                some = reply->states->n > 0;
                value = some ? reply->states->rows[0].pts : 0;
        }
        if (request->value)
                *request->value = some ? value : 0;
        if (some)
                snprintf(text, 64, ", \"value\": %lld", value);
        else
                snprintf(text, 64, ", \"value\": null");
}

static void answered(void *arg, struct gram_reply *reply)
{
        struct request *request = arg;
        struct client *client = request->client;
        bool ok = !reply->error || (request->op == 'r' && reply->error->code == GRAM_E_NOT_FOUND);
        char more[64] = "";
        long long fence;

        if (ok && request->op == 'o')
                client->session = reply->session;
        fence = fence_of(client);
        if (ok && request->op == 'i')
                fence = reply->info->fence;
        if (ok && request->op == 'r')
                read_value(request, reply, more);
        if (ok && request->op == 'l')
                snprintf(more, sizeof(more), ", \"ms\": %lld", (long long)reply->number);
        if (request->op == 'l' && request->session == client->session) {
                client->asking = false;
                client->ask_ns = now_ns() + client->term_ms * MS * (3 + dice(client, 15)) / 100;
                if (ok)
                        client->until_ns = request->sent_ns + (long long)reply->number * MS;
        }
        put(client, "ret", ", \"n\": %d, \"ok\": %s, \"code\": \"%s\", \"fence\": %lld%s", request->n,
            ok ? "true" : "false", reply->error ? reply->error->name : "", fence, more);
        if (request->done) {
                *request->done = true;
                *request->ok = ok;
        }
        free(request);
}

static struct request *begin(struct client *client, char op, const char *reg, const char *value)
{
        struct request *request = calloc(1, sizeof(*request));

        if (!request)
                abort();
        *request = (struct request){ .client = client, .n = ++client->calls, .op = op, .reg = reg };
        request->sent_ns = now_ns();
        put(client, "call",
            ", \"n\": %d, \"op\": \"%s\", \"s\": \"%s\", \"hold\": \"%s\", \"fence\": %lld, \"reg\": \"%s\", "
            "\"value\": %s",
            request->n, op_name(op), client->name, client->hold, fence_of(client), reg, value);
        return request;
}

/* The library did not send it. */
static void refused(struct request *request)
{
        struct client *client = request->client;

        put(client, "ret", ", \"n\": %d, \"ok\": false, \"code\": \"unsent\"", request->n);
        if (request->op == 'l') {
                client->asking = false;
                client->ask_ns = now_ns() + client->term_ms * MS / 10;
        }
        if (request->done) {
                *request->done = true;
                *request->ok = false;
        }
        free(request);
}

static void ask_lease(struct client *client)
{
        struct request *request = begin(client, 'l', "", "null");

        client->asking = true;
        request->session = client->session;
        if (gram_async_lease(client->session, answered, request))
                refused(request);
}

/* ---- the loop ---- */

/* What the library believes. Its milliseconds are rounded: one less is certain. */
static void note_lease(struct client *client)
{
        long long now = now_ns();
        int64_t left_ms = gram_session_lease_ms(client->session);
        long long until = now + ((long long)left_ms - 1) * MS;

        if (left_ms <= 0 || (until - client->noted_ns < 3LL * MS && client->noted_ns - until < 3LL * MS))
                return;
        client->noted_ns = until;
        put(client, "lease", ", \"hold\": \"%s\", \"until\": %lld", client->hold, until);
}

static void step(struct client *client)
{
        struct pollfd poll_fd = { gram_fd(client->gram), POLLIN, 0 };

        poll(&poll_fd, 1, 4);
        gram_process(client->gram);
        if (!client->session || client->over)
                return;
        note_lease(client);
        if (!client->asking && now_ns() >= client->ask_ns)
                ask_lease(client);
}

static void rest(struct client *client, long long ms)
{
        long long end = now_ns() + ms * MS;

        while (now_ns() < end && !client->over)
                step(client);
}

static void on_event(void *arg, const struct gram_event *event)
{
        struct client *client = arg;
        const char *what = event->type == GRAM_EVENT_ENDED        ? "ended"
                           : event->type == GRAM_EVENT_LEASE_LOST ? "lost"
                           : event->type == GRAM_EVENT_LEAVE      ? "leave"
                                                                  : NULL;

        if (!what || event->session != client->session)
                return;
        put(client, "told", ", \"hold\": \"%s\", \"what\": \"%s\", \"code\": \"%s\"", client->hold, what,
            event->error ? event->error->name : "");
        client->over = true;
        client->leave = event->type == GRAM_EVENT_LEAVE;
}

/* ---- a hold ---- */

static const char *const registers[] = { "peer:1",        "peer:2",           "peer:3",
                                         "field:user_id", "field:takeout_id", "state:1" };

enum { REGISTERS = sizeof(registers) / sizeof(*registers) };

static int send_read(struct client *client, const char *reg, struct request *request)
{
        const int64_t id = reg[strlen(reg) - 1] - '0';

        if (reg[0] == 'p')
                return gram_async_get_peer_by_id(client->session, id, answered, request);
        if (reg[0] == 'f')
                return gram_async_get(client->session,
                                      strcmp(reg, "field:user_id") == 0 ? GRAM_USER_ID : GRAM_TAKEOUT_ID,
                                      answered, request);
        return gram_async_get_states(client->session, &id, 1, answered, request);
}

static int send_write(struct client *client, const char *reg, long long value, struct request *request)
{
        const int64_t id = reg[strlen(reg) - 1] - '0';
        const struct gram_peer peer = {
                .id = id, .has_access_hash = true, .access_hash = value, .type = "user"
        };
        const struct gram_state state = { .id = id, .has = GRAM_STATE_ALL, .pts = value };
        struct gram_identity identity = { 0 };

        if (reg[0] == 'p')
                return gram_async_update_peers(client->session, &peer, 1, answered, request);
        if (reg[0] == 's')
                return gram_async_update_states(client->session, &state, 1, false, answered, request);
        identity.fields = strcmp(reg, "field:user_id") == 0 ? GRAM_USER_ID : GRAM_TAKEOUT_ID;
        identity.user_id = identity.takeout_id = value;
        return gram_async_set(client->session, &identity, answered, request);
}

/* Waits for the answer. `op` r: reads into `*value`; w: writes it; i, s, c: info, save, close. */
static bool call(struct client *client, char op, const char *reg, long long *value)
{
        bool done = false, ok = false;
        char text[32] = "null";
        struct request *request;
        int result = 0;

        if (op == 'w')
                snprintf(text, sizeof(text), "%lld", *value);
        request = begin(client, op, reg, text);
        request->done = &done;
        request->ok = &ok;
        request->value = op == 'r' ? value : NULL;
        switch (op) {
        case 'r': result = send_read(client, reg, request); break;
        case 'w': result = send_write(client, reg, *value, request); break;
        case 'i': result = gram_async_info(client->session, answered, request); break;
        case 's': result = gram_async_save(client->session, answered, request); break;
        default:
                result = gram_async_close(client->session, answered, request);
                client->session = NULL;
                break;
        }
        if (result)
                refused(request);
        while (!done)
                step(client);
        return ok;
}

static bool open_session(struct client *client)
{
        const struct gram_open_options options = { .backend = "mongo",
                                                   .wait_ms = client->term_ms * (5 + dice(client, 45)) / 10 };
        bool done = false, ok = false;
        struct request *request;

        snprintf(client->hold, sizeof(client->hold), "%s.%d", client->id, client->calls);
        client->over = client->leave = client->asking = false;
        client->until_ns = client->noted_ns = client->ask_ns = 0;
        request = begin(client, 'o', "", "null");
        request->done = &done;
        request->ok = &ok;
        if (gram_async_open(client->gram, client->name, &options, answered, request))
                refused(request);
        while (!done)
                step(client);
        return ok;
}

static void use(struct client *client, long long ms)
{
        long long known[REGISTERS] = { 0 };
        long long end = now_ns() + ms * MS;

        while (!client->until_ns && !client->over && now_ns() < end)
                step(client);
        while (!client->over && now_ns() < end && now_ns() < client->until_ns) {
                int which = dice(client, 100), i = dice(client, REGISTERS);
                long long value = 1 + dice(client, VALUES);

                if (which < 45) {
                        call(client, 'r', registers[i], &known[i]);
                } else if (which < 85) {
                        if (known[i] && dice(client, 2)) /* equals what was read */
                                value = known[i];
                        if (!call(client, 'w', registers[i], &value) && !client->over)
                                call(client, 'i', "", NULL);
                } else {
                        call(client, 'i', "", NULL);
                }
                rest(client, dice(client, 60));
        }
}

static void leave(struct client *client)
{
        if (client->leave) {
                call(client, 's', "", NULL);
        } else if (!stopping && dice(client, 100) < 15) {
                put(client, "exit", "%s", "");
                kill(getpid(), SIGKILL);
        }
        call(client, 'c', "", NULL);
}

int main(int argc, char **argv)
{
        static const long long length[] = { 5, 30, 100, 200 }; /* hundredths of a term */
        struct client client = { 0 };

        if (argc < 8)
                return 2;
        client.id = argv[1];
        client.host = atoi(argv[2]);
        client.history = open(argv[4], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        client.seed = (unsigned)strtoul(argv[5], NULL, 10);
        client.term_ms = atoll(argv[6]);
        signal(SIGTERM, on_signal);
        client.gram = gram_client_new(&(struct gram_options){ .socket = argv[3],
                                                              .client = client.id,
                                                              .timeout_ms = 3 * client.term_ms,
                                                              .on_event = on_event,
                                                              .event_arg = &client });
        if (client.history < 0 || !client.gram)
                return 1;
        gram_client_set_leaves(client.gram, dice(&client, 100) < 85);
        while (!stopping) {
                client.name = argv[7 + dice(&client, argc - 7)];
                if (open_session(&client)) {
                        use(&client, client.term_ms * length[dice(&client, 4)] / 100);
                        leave(&client);
                }
                client.over = false;
                rest(&client, client.term_ms * dice(&client, 20) / 100);
        }
        gram_client_free(client.gram);
        close(client.history);
        return 0;
}
