/*
 * Each connection has two threads: one reads what the client sends, waits, and forwards it; one forwards the
 * answers. What a client has sent is forwarded even after it has hung up.
 */

#include "mongo_proxy.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "program.h"

struct mongo_proxy_state {
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool holding;
        unsigned pieces;
        bool holding_one; /* the piece that has the word */
        bool only_one;
        const char *word;        /* the word that starts the holding; NULL: none */
        const char *slow_answer; /* the word in answers that wait `answer_ms`; NULL: none */
        unsigned answer_ms;
        unsigned most_ms, rare, long_ms;
        unsigned seed;
        int n; /* running threads of connections */
        _Atomic bool ending;
        int port;
};

struct pipe {
        struct mongo_proxy_state *state;
        int from, to;
        bool slow;
        _Atomic int *ends; /* the last of a connection's two pipes closes both sockets */
};

static void wait_ms(unsigned ms)
{
        const struct timespec pause = { ms / 1000, (long)(ms % 1000) * 1000000 };

        nanosleep(&pause, NULL);
}

/* How long this piece waits, apart from holding. */
static unsigned delay(struct mongo_proxy_state *state, const char *bytes, size_t len)
{
        unsigned ms = 0;
        bool has_word;

        pthread_mutex_lock(&state->lock);
        state->pieces++;
        has_word = state->word && memmem(bytes, len, state->word, strlen(state->word));
        if (has_word) {
                state->word = NULL;
                state->holding = !state->only_one;
                state->holding_one = state->only_one;
                pthread_cond_broadcast(&state->changed);
        }
        while ((state->holding || (has_word && state->holding_one)) && !atomic_load(&state->ending))
                pthread_cond_wait(&state->changed, &state->lock);
        if (state->most_ms)
                ms = (unsigned)rand_r(&state->seed) % state->most_ms;
        if (state->rare && (unsigned)rand_r(&state->seed) % state->rare == 0)
                ms += state->long_ms;
        pthread_mutex_unlock(&state->lock);
        return atomic_load(&state->ending) ? 0 : ms;
}

static unsigned delay_of_answer(struct mongo_proxy_state *state, const char *bytes, size_t len)
{
        unsigned ms = 0;

        pthread_mutex_lock(&state->lock);
        if (state->slow_answer && memmem(bytes, len, state->slow_answer, strlen(state->slow_answer)))
                ms = state->answer_ms;
        pthread_mutex_unlock(&state->lock);
        return ms;
}

static bool write_all(int fd, const char *bytes, ssize_t len)
{
        while (len > 0) {
                ssize_t sent = send(fd, bytes, (size_t)len, MSG_NOSIGNAL);

                if (sent <= 0)
                        return false;
                bytes += sent;
                len -= sent;
        }
        return true;
}

static void *run_pipe(void *arg)
{
        struct pipe *pipe = arg;
        struct mongo_proxy_state *state = pipe->state;
        char bytes[16384];
        ssize_t len;

        while ((len = recv(pipe->from, bytes, sizeof(bytes), 0)) > 0) {
                wait_ms(pipe->slow ? delay(state, bytes, (size_t)len)
                                   : delay_of_answer(state, bytes, (size_t)len));
                if (!write_all(pipe->to, bytes, len))
                        break;
        }
        shutdown(pipe->to, SHUT_WR);
        if (!pipe->slow) /* the server has gone: drops what the client sends */
                shutdown(pipe->to, SHUT_RDWR);
        if (atomic_fetch_sub(pipe->ends, 1) == 1) {
                close(pipe->from);
                close(pipe->to);
                free(pipe->ends);
        }
        free(pipe);
        pthread_mutex_lock(&state->lock);
        state->n--;
        pthread_cond_broadcast(&state->changed);
        pthread_mutex_unlock(&state->lock);
        return NULL;
}

static void start_pipe(struct mongo_proxy_state *state, int from, int to, bool slow, _Atomic int *ends)
{
        struct pipe *pipe = calloc(1, sizeof(*pipe));
        pthread_t thread;

        *pipe = (struct pipe){ state, from, to, slow, ends };
        pthread_mutex_lock(&state->lock);
        state->n++;
        pthread_mutex_unlock(&state->lock);
        pthread_create(&thread, NULL, run_pipe, pipe);
        pthread_detach(thread);
}

static void *run_accept(void *arg)
{
        struct mongo_proxy *proxy = arg;
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

        address.sin_port = htons((uint16_t)proxy->server_port);
        for (;;) {
                int client = accept4(proxy->listen_fd, NULL, NULL, SOCK_CLOEXEC);
                int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                _Atomic int *ends = calloc(1, sizeof(*ends));

                if (client < 0 || connect(server, (struct sockaddr *)&address, sizeof(address)) < 0) {
                        close(server);
                        free(ends);
                        if (client < 0)
                                return NULL;
                        close(client);
                        continue;
                }
                atomic_store(ends, 2);
                start_pipe(proxy->state, client, server, true, ends);
                start_pipe(proxy->state, server, client, false, ends);
        }
}

struct mongo_proxy *mongo_proxy_new(int server_port)
{
        struct mongo_proxy *proxy = calloc(1, sizeof(*proxy));
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);

        ck_assert_ptr_nonnull(proxy);
        proxy->state = calloc(1, sizeof(*proxy->state));
        ck_assert_ptr_nonnull(proxy->state);
        pthread_mutex_init(&proxy->state->lock, NULL);
        pthread_cond_init(&proxy->state->changed, NULL);
        proxy->state->seed = 1;
        proxy->server_port = server_port;
        proxy->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(proxy->listen_fd, (struct sockaddr *)&address, len), 0);
        ck_assert_int_eq(listen(proxy->listen_fd, 64), 0);
        ck_assert_int_eq(getsockname(proxy->listen_fd, (struct sockaddr *)&address, &len), 0);
        proxy->port = ntohs(address.sin_port);
        ck_assert_int_eq(pthread_create(&proxy->state->thread, NULL, run_accept, proxy), 0);
        return proxy;
}

/* The daemons have ended, or their connections end here. Forwards first what still waits. */
void mongo_proxy_end(struct mongo_proxy **pointer)
{
        struct mongo_proxy *proxy = *pointer;

        *pointer = NULL;
        if (!proxy)
                return;
        atomic_store(&proxy->state->ending, true);
        mongo_proxy_let_go(proxy);
        shutdown(proxy->listen_fd, SHUT_RDWR);
        pthread_join(proxy->state->thread, NULL);
        close(proxy->listen_fd);
        pthread_mutex_lock(&proxy->state->lock);
        while (proxy->state->n > 0)
                pthread_cond_wait(&proxy->state->changed, &proxy->state->lock);
        pthread_mutex_unlock(&proxy->state->lock);
        pthread_cond_destroy(&proxy->state->changed);
        pthread_mutex_destroy(&proxy->state->lock);
        free(proxy->state);
        free(proxy);
}

char *mongo_proxy_uri(const struct mongo_proxy *proxy, const char *options)
{
        return test_format("mongodb://127.0.0.1:%d/?directConnection=true%s%s", proxy->port,
                           options ? "&" : "", options ? options : "");
}

void mongo_proxy_delay(struct mongo_proxy *proxy, unsigned most_ms, unsigned rare, unsigned long_ms)
{
        pthread_mutex_lock(&proxy->state->lock);
        proxy->state->most_ms = most_ms;
        proxy->state->rare = rare;
        proxy->state->long_ms = long_ms;
        pthread_mutex_unlock(&proxy->state->lock);
}

void mongo_proxy_delay_answers(struct mongo_proxy *proxy, const char *word, unsigned ms)
{
        pthread_mutex_lock(&proxy->state->lock);
        proxy->state->slow_answer = word;
        proxy->state->answer_ms = ms;
        pthread_mutex_unlock(&proxy->state->lock);
}

void mongo_proxy_hold(struct mongo_proxy *proxy)
{
        pthread_mutex_lock(&proxy->state->lock);
        proxy->state->holding = true;
        pthread_mutex_unlock(&proxy->state->lock);
}

void mongo_proxy_hold_at(struct mongo_proxy *proxy, const char *word)
{
        pthread_mutex_lock(&proxy->state->lock);
        proxy->state->word = word;
        proxy->state->only_one = false;
        pthread_mutex_unlock(&proxy->state->lock);
}

void mongo_proxy_hold_one_at(struct mongo_proxy *proxy, const char *word)
{
        pthread_mutex_lock(&proxy->state->lock);
        proxy->state->word = word;
        proxy->state->only_one = true;
        pthread_mutex_unlock(&proxy->state->lock);
}

void mongo_proxy_await(struct mongo_proxy *proxy)
{
        pthread_mutex_lock(&proxy->state->lock);
        while (proxy->state->word || (!proxy->state->holding && !proxy->state->holding_one))
                pthread_cond_wait(&proxy->state->changed, &proxy->state->lock);
        pthread_mutex_unlock(&proxy->state->lock);
}

void mongo_proxy_let_go(struct mongo_proxy *proxy)
{
        pthread_mutex_lock(&proxy->state->lock);
        proxy->state->word = NULL;
        proxy->state->holding = proxy->state->holding_one = false;
        pthread_cond_broadcast(&proxy->state->changed);
        pthread_mutex_unlock(&proxy->state->lock);
}

unsigned mongo_proxy_pieces(struct mongo_proxy *proxy)
{
        unsigned pieces;

        pthread_mutex_lock(&proxy->state->lock);
        pieces = proxy->state->pieces;
        pthread_mutex_unlock(&proxy->state->lock);
        return pieces;
}
