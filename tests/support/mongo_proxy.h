#ifndef GRAMD_TESTS_SUPPORT_MONGO_PROXY_H
#define GRAMD_TESTS_SUPPORT_MONGO_PROXY_H

/*
 * A bad network between a daemon and its server. It delays what clients send at random, on each connection
 * apart, so that connections overtake one another. What was sent arrives, even if its sender has ended long
 * ago. Runs in threads of the test's process.
 */

struct mongo_proxy {
        int listen_fd;
        int port;        /* where it listens */
        int server_port; /* of the server */
        struct mongo_proxy_state *state;
};

/* Forwards everything without delay. */
struct mongo_proxy *mongo_proxy_new(int server_port);
void mongo_proxy_end(struct mongo_proxy **proxy);
#define MONGO_PROXY __attribute__((cleanup(mongo_proxy_end))) struct mongo_proxy *

/* The URI of the server behind it, with these options ("a=1&b=2") or NULL. The caller frees it. */
char *mongo_proxy_uri(const struct mongo_proxy *proxy, const char *options);

/* From now on each piece waits for up to `most_ms`, and one in `rare` for `long_ms`. */
void mongo_proxy_delay(struct mongo_proxy *proxy, unsigned most_ms, unsigned rare, unsigned long_ms);
/* Forwards nothing to the server until mongo_proxy_let_go(). */
void mongo_proxy_hold(struct mongo_proxy *proxy);
/* The same, from the first piece that contains `word`, if it comes before mongo_proxy_let_go().
 * mongo_proxy_await() waits for that piece. */
void mongo_proxy_hold_at(struct mongo_proxy *proxy, const char *word);
/* Holds that piece alone, and what follows it on its connection. */
void mongo_proxy_hold_one_at(struct mongo_proxy *proxy, const char *word);
/* Each answer of the server that contains `word` waits so long. */
void mongo_proxy_delay_answers(struct mongo_proxy *proxy, const char *word, unsigned ms);
void mongo_proxy_await(struct mongo_proxy *proxy);
void mongo_proxy_let_go(struct mongo_proxy *proxy);

/* How many pieces clients have sent: a command is one piece or more. */
unsigned mongo_proxy_pieces(struct mongo_proxy *proxy);

#endif
