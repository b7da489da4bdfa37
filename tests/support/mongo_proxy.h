#ifndef GRAMD_TESTS_SUPPORT_MONGO_PROXY_H
#define GRAMD_TESTS_SUPPORT_MONGO_PROXY_H

/*
 * A network between a daemon and its server that can be bad: what clients send is held up at random, each
 * connection by itself, so that connections overtake one another; what was sent arrives even when its
 * sender has given up long since. Threads of the test's process.
 */

struct mongo_proxy {
        int listen_fd;
        int port;        /* its own */
        int server_port; /* behind it */
        struct mongo_proxy_state *state;
};

/* Hands everything on at once. */
struct mongo_proxy *mongo_proxy_new(int server_port);
void mongo_proxy_end(struct mongo_proxy **proxy);
#define MONGO_PROXY __attribute__((cleanup(mongo_proxy_end))) struct mongo_proxy *

/* From now on each piece waits up to `most_ms`, and one in `rare` of them `long_ms`. */
void mongo_proxy_delay(struct mongo_proxy *proxy, unsigned most_ms, unsigned rare, unsigned long_ms);
/* Nothing is handed on to the server until it is let go. */
void mongo_proxy_hold(struct mongo_proxy *proxy);
/* The same, from the first piece on that has `word` in it; waits until that has come. */
void mongo_proxy_hold_at(struct mongo_proxy *proxy, const char *word);
void mongo_proxy_await(struct mongo_proxy *proxy);
void mongo_proxy_let_go(struct mongo_proxy *proxy);

#endif
