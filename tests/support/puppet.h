#ifndef GRAMD_TESTS_SUPPORT_PUPPET_H
#define GRAMD_TESTS_SUPPORT_PUPPET_H

/*
 * A daemon that says what the test tells it to, and nothing else: for clients, which must also bear daemons
 * that die at the wrong moment, answer late, or lie. Requests are expected and answers given in the notation
 * of notation.h:
 *
 *     PUPPET p = puppet_new();
 *     p->pump = client;                       let it run while the puppet waits
 *     puppet_greet(p);                        accepts, answers `hello`
 *     puppet_does(p, "ping(...)", "...");     the next request, and its answer
 */

#include <stdint.h>

#include "../../client-lib/gram.h"

struct puppet {
        char *socket;             /* path */
        struct gram_client *pump; /* its loop runs while the puppet waits; NULL: the client runs by itself */
        int listen_fd;
        int fd; /* the connection; -1: none */
        char *buffer;
        size_t len;
        char *text; /* of the last request */
};

#define PUPPET __attribute__((cleanup(puppet_end))) struct puppet *

struct puppet *puppet_new(void); /* listens, in the current directory */
void puppet_end(struct puppet **puppet);

void puppet_accept(struct puppet *puppet); /* the next connection */
void puppet_greet(struct puppet *puppet);  /* accepts it, and answers its `hello` */
void puppet_greet_as(struct puppet *puppet, const char *hello);
void puppet_drop(struct puppet *puppet);    /* closes the connection: kill -9 */
void puppet_silence(struct puppet *puppet); /* closes the listening socket too: the daemon is down */
void puppet_listen(struct puppet *puppet);  /* and up again */

/* The next request must look like this (`...`: anything); its message id. */
uint32_t puppet_expect(struct puppet *puppet, const char *pattern);
void puppet_answer(struct puppet *puppet, uint32_t id, const char *result);
void puppet_refuse(struct puppet *puppet, uint32_t id, const char *error); /* "['busy', 'message', nil]" */
void puppet_does(struct puppet *puppet, const char *pattern, const char *result);
void puppet_tell(struct puppet *puppet, const char *notification); /* "['changed', [1, {all: true}]]" */
void puppet_raw(struct puppet *puppet, const void *bytes, size_t len);

/* Lets the client run until `*done`. */
void puppet_until(struct puppet *puppet, const bool *done);
/* The client has sent nothing, and has nothing to send. */
void puppet_expect_nothing(struct puppet *puppet);
void puppet_expect_closed(struct puppet *puppet); /* by the client */

#endif
