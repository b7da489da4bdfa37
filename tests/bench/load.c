/*
 * The load: connections with requests in flight, on one epoll loop. Each answer causes the next request, so
 * the server always has work. With `rate`, a clock causes the requests, and a request that is late because
 * the one before it was not answered counts from when it was due. Prints one line of JSON.
 *
 *     load socket=PATH protocol=gramd operation=get_id connections=50 flight=16 seconds=1 peers=100000
 */

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "options.h"
#include "protocol.h"
#include "sample.h"

enum { READ_BYTES = 256 * 1024, EVENTS = 256 };

struct bytes {
        uint8_t *data;
        size_t len;
};

struct client {
        int fd;
        int64_t session;
        uint32_t in_flight;
        uint32_t n_skipped;          /* turns, because a request is unanswered */
        uint64_t n_sent, n_answered; /* the slots are used in turn */
        uint64_t *sent_ns;           /* by slot */
        struct bytes in;             /* an incomplete answer */
        struct bytes out;            /* bytes that the socket has not taken */
};

struct load {
        const char *socket, *protocol, *operation_name, *name;
        double connections, flight, seconds, warm, peers, first, rows, count, sessions, answers, rate, core,
                hold, id;
        const struct operation *operation;
        struct client *clients;
        int epoll;
        uint64_t random, next, n_sent, n_answered, n_errors;
        uint64_t start_ns, measured_ns, end_ns, open_ns; /* open_ns: of the first session */
        struct rusage usage;
        size_t request_bytes, answer_bytes; /* of the last ones */
        struct histogram times;
        uint8_t in[READ_BYTES];
        uint8_t out[READ_BYTES + REQUEST_MAX_BYTES];
};

static uint64_t now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void keep(struct bytes *bytes, const uint8_t *data, size_t len)
{
        bytes->data = realloc(bytes->data, len ? len : 1);
        if (!bytes->data)
                err(1, "memory");
        memmove(bytes->data, data, len);
        bytes->len = len;
}

/* ---- requests ---- */

static bool all_sent(const struct load *load)
{
        return load->count > 0 && (double)load->n_sent * load->rows >= load->count;
}

/* Appends the next request to the `out_len` bytes; returns its length. */
static size_t ask(struct load *load, struct client *client, uint32_t slot, uint64_t now, size_t out_len)
{
        struct ask next = { .slot = load->id > 0 ? (uint32_t)client->n_sent + 1 : slot,
                            .session = client->session,
                            .rows = (uint32_t)load->rows,
                            .answers = (uint32_t)load->answers };

        if (load->operation->writes || load->count > 0) {
                next.n = load->next;
                load->next += next.rows;
        } else {
                next.n = (uint64_t)load->first +
                         sample_random_below(&load->random, (uint64_t)(load->peers - load->rows + 1));
        }
        client->sent_ns[slot] = now;
        client->in_flight++;
        client->n_sent++;
        load->n_sent++;
        load->request_bytes = load->operation->write(&next, load->out + out_len);
        return load->request_bytes;
}

static void send_out(const struct load *load, struct client *client, const uint8_t *data, size_t len)
{
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };
        bool waited = client->out.len > 0;
        ssize_t n = send(client->fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
                err(1, "sending");
        n = n < 0 ? 0 : n;
        keep(&client->out, data + n, len - (size_t)n);
        if (waited == (client->out.len > 0))
                return;
        event.events |= client->out.len > 0 ? EPOLLOUT : 0;
        epoll_ctl(load->epoll, EPOLL_CTL_MOD, client->fd, &event);
}

/* Sends requests until `upto` are in flight. */
static void fill(struct load *load, struct client *client, uint32_t upto, uint64_t now)
{
        size_t len = 0;

        while (client->in_flight < upto && !all_sent(load) && len < READ_BYTES)
                len += ask(load, client, (uint32_t)(client->n_sent % (uint64_t)load->flight), now, len);
        if (len > 0)
                send_out(load, client, load->out, len);
}

/*
 * Sends the requests whose time has come. A client whose last request is unanswered skips its turn. The
 * answer counts for the skipped turns too; otherwise a stall of a second would count as one slow request.
 */
static void send_due(struct load *load, uint64_t now)
{
        uint64_t due = (uint64_t)((double)(now - load->start_ns) * load->rate / 1e9);

        for (; load->next < due + (uint64_t)load->first;) {
                struct client *client = &load->clients[load->next % (uint64_t)load->connections];
                uint64_t before = load->next;

                client->n_skipped += client->in_flight;
                fill(load, client, 1, now);
                load->next = before + 1;
        }
}

/* ---- answers ---- */

/* The times of the turns that were skipped while the client waited `ns` for an answer. */
static void count_skipped(struct load *load, struct client *client, uint64_t ns)
{
        uint64_t turn_ns = (uint64_t)(1e9 * load->connections / load->rate);

        for (; client->n_skipped > 0 && ns > turn_ns; client->n_skipped--)
                histogram_add(&load->times, ns -= turn_ns);
        client->n_skipped = 0;
}

/* What is unanswered at the end took so long at least: a server that stands still must not look fast. */
static void count_unanswered(struct load *load, uint64_t now)
{
        for (int i = 0; i < (int)load->connections; i++) {
                struct client *client = &load->clients[i];

                if (client->in_flight == 0)
                        continue;
                histogram_add(&load->times, now - client->sent_ns[0]);
                count_skipped(load, client, now - client->sent_ns[0]);
        }
}

static void answered(struct load *load, struct client *client, const struct answer *answer, uint64_t now)
{
        uint64_t ns = now - client->sent_ns[answer->slot];

        client->in_flight--;
        client->n_answered++;
        load->answer_bytes = answer->bytes;
        load->n_errors += answer->is_error;
        if (now < load->measured_ns)
                return;
        load->n_answered++;
        histogram_add(&load->times, ns);
        if (load->rate > 0)
                count_skipped(load, client, ns);
}

static void take_answers(struct load *load, struct client *client)
{
        const struct ask about = { .rows = (uint32_t)load->rows, .answers = (uint32_t)load->answers };
        size_t held = client->in.len, done = 0, out_len = 0;
        struct answer answer;
        uint64_t now;
        ssize_t n;

        memcpy(load->in, client->in.data, held);
        n = recv(client->fd, load->in + held, sizeof(load->in) - held, 0);
        if (n < 0 && errno == EAGAIN)
                return;
        if (n <= 0)
                errx(1, "%s closed a connection", load->protocol);
        now = now_ns();
        held += (size_t)n;
        while (done < held && load->operation->read(&about, load->in + done, held - done, &answer)) {
                if (load->id > 0)
                        answer.slot = 0;
                else if (!load->operation->by_slot)
                        answer.slot = (uint32_t)(client->n_answered % (uint64_t)load->flight);
                answered(load, client, &answer, now);
                done += answer.bytes;
                if (load->rate == 0 && !all_sent(load))
                        out_len += ask(load, client, answer.slot, now, out_len);
        }
        keep(&client->in, load->in + done, held - done);
        if (out_len > 0)
                send_out(load, client, load->out, out_len);
}

/* ---- connections ---- */

static void connect_client(struct load *load, struct client *client, int number)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        uint64_t asked_ns;
        char name[256];

        client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        strncpy(address.sun_path, load->socket, sizeof(address.sun_path) - 1);
        if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                err(1, "%s", load->socket);
        client->sent_ns = calloc((size_t)load->flight, sizeof(uint64_t));
        keep(&client->in, load->in, 0);
        if (!load->operation->opens)
                return;
        if (load->id > 0 &&
            (send(client->fd, load->out, gramd_write_hello(now_ns(), load->out), MSG_NOSIGNAL) < 0 ||
             recv(client->fd, load->in, sizeof(load->in), 0) <= 0))
                err(1, "hello");
        snprintf(name, sizeof(name), "%s-%d", load->name, number % (int)load->sessions);
        asked_ns = now_ns();
        if (send(client->fd, load->out, gramd_write_open(name, load->out), MSG_NOSIGNAL) < 0)
                err(1, "opening %s", name);
        client->session = gramd_read_open(load->in, (size_t)recv(client->fd, load->in, sizeof(load->in), 0));
        if (client->session < 0)
                errx(1, "the session %s was not opened", name);
        if (number == 0)
                load->open_ns = now_ns() - asked_ns;
}

static void connect_all(struct load *load)
{
        load->epoll = epoll_create1(EPOLL_CLOEXEC);
        load->clients = calloc((size_t)load->connections, sizeof(struct client));
        for (int i = 0; i < (int)load->connections; i++) {
                struct client *client = &load->clients[i];
                struct epoll_event event = { .events = EPOLLIN, .data.ptr = client };

                connect_client(load, client, i);
                epoll_ctl(load->epoll, EPOLL_CTL_ADD, client->fd, &event);
        }
}

/* ---- the run ---- */

static void run(struct load *load)
{
        struct epoll_event events[EVENTS];
        bool measuring = false;
        uint64_t now;

        load->start_ns = now_ns();
        load->measured_ns = load->start_ns + (uint64_t)(load->warm * 1e9);
        load->end_ns = load->measured_ns + (uint64_t)(load->seconds * 1e9);
        for (int i = 0; load->rate == 0 && i < (int)load->connections; i++)
                fill(load, &load->clients[i], (uint32_t)load->flight, load->start_ns);
        while ((now = now_ns()) < load->end_ns || load->count > 0) {
                int n;

                if (load->count > 0 && all_sent(load) && load->n_answered == load->n_sent)
                        break;
                if (load->rate > 0)
                        send_due(load, now);
                if (!measuring && now >= load->measured_ns) {
                        getrusage(RUSAGE_SELF, &load->usage);
                        measuring = true;
                }
                n = epoll_wait(load->epoll, events, EVENTS, load->rate > 0 ? 1 : 10);
                for (int i = 0; i < n; i++) {
                        struct client *client = events[i].data.ptr;

                        if (events[i].events & EPOLLOUT)
                                send_out(load, client, client->out.data, client->out.len);
                        if (events[i].events & ~(uint32_t)EPOLLOUT)
                                take_answers(load, client);
                }
        }
        load->end_ns = now;
        if (load->rate > 0)
                count_unanswered(load, now);
}

static double seconds_of(const struct timeval *time)
{
        return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static void report(const struct load *load)
{
        double seconds = (double)(load->end_ns - load->measured_ns) / 1e9;
        struct rusage usage;
        double busy;

        getrusage(RUSAGE_SELF, &usage);
        busy = seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime) - seconds_of(&load->usage.ru_utime) -
               seconds_of(&load->usage.ru_stime);
        printf("{\"requests\": %llu, \"errors\": %llu, \"seconds\": %.4f, \"rate\": %.1f, \"rows\": %llu, "
               "\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"client_busy\": %.3f, "
               "\"request_bytes\": %zu, \"answer_bytes\": %zu, \"open_us\": %.1f}\n",
               (unsigned long long)load->n_answered, (unsigned long long)load->n_errors, seconds,
               (double)load->n_answered / seconds, (unsigned long long)(load->n_sent * (uint64_t)load->rows),
               histogram_quantile(&load->times, 0.5), histogram_quantile(&load->times, 0.99),
               histogram_quantile(&load->times, 0.999), busy / seconds, load->request_bytes,
               load->answer_bytes, (double)load->open_ns / 1000);
        fflush(stdout);
}

int main(int argc, char **argv)
{
        static struct load load = { .protocol = "gramd",
                                    .operation_name = "get_id",
                                    .name = "bench",
                                    .connections = 1,
                                    .flight = 1,
                                    .seconds = 1,
                                    .peers = 100000,
                                    .rows = 1,
                                    .sessions = 1,
                                    .core = -1,
                                    .random = 88172645463325252u };
        const struct option_row rows[] = {
                { "socket", &load.socket, NULL },
                { "protocol", &load.protocol, NULL },
                { "operation", &load.operation_name, NULL },
                { "name", &load.name, NULL },         /* of the session: NAME-0, NAME-1, … */
                { "sessions", NULL, &load.sessions }, /* the connections share this many */
                { "connections", NULL, &load.connections },
                { "flight", NULL, &load.flight }, /* unanswered requests of a connection */
                { "seconds", NULL, &load.seconds },
                { "warm", NULL, &load.warm },       /* seconds before the measured ones */
                { "peers", NULL, &load.peers },     /* stored peers, for reading */
                { "first", NULL, &load.first },     /* number of the first peer, read or written */
                { "rows", NULL, &load.rows },       /* of a write */
                { "count", NULL, &load.count },     /* rows in order, instead of seconds */
                { "rate", NULL, &load.rate },       /* requests a second; without it, one for each answer */
                { "answers", NULL, &load.answers }, /* bytes of an echo's answer */
                { "core", NULL, &load.core },
                { "id", NULL, &load.id },     /* each connection tells one: the daemon remembers its writes */
                { "hold", NULL, &load.hold }, /* stay connected until standard input ends */
        };

        options_read(rows, sizeof(rows) / sizeof(rows[0]), argc, argv);
        load.operation = operation_find(load.protocol, load.operation_name);
        if (!load.operation || !load.socket || load.rows > ROWS_MAX || load.flight < 1 ||
            ((load.rate > 0 || load.id > 0) && load.flight > 1))
                errx(2, "an operation and a socket are needed");
        load.next = (uint64_t)load.first;
        pin_to_core((int)load.core);
        connect_all(&load);
        run(&load);
        report(&load);
        if (load.hold > 0)
                while (getchar() != EOF)
                        ;
        return 0;
}
