#ifndef GRAMD_CLIENT_LIB_WAITER_H
#define GRAMD_CLIENT_LIB_WAITER_H

/*
 * Blocking calls: each calls its gram_async_ counterpart and runs the client until the answer is there. Other
 * callbacks and events are called meanwhile.
 */

#include "client.h"

/* On the stack of the blocking call. */
struct waiter {
        struct gram_client *client;
        bool done;
        int code;
        void *result; /* taken */
        int64_t number;
};

/* 0, or GRAM_E_MISUSE inside a callback. */
int waiter_begin(struct waiter *waiter, struct gram_client *client);
/* The callback of the request; `arg` is the waiter. */
void waiter_done(void *arg, struct gram_reply *reply);
/* Waits. `submitted` is what the gram_async_ function returned. Returns the code of the call. */
int waiter_finish(struct waiter *waiter, int submitted);
/* The same; on success it also stores the pointer to the result in `*result`, whatever its type. */
int waiter_finish_result(struct waiter *waiter, int submitted, void *result);

/* The body of a blocking function: `call` calls the gram_async_ function with waiter_done and &waiter. */
#define BLOCKING(client, call)                                                                               \
        struct waiter waiter;                                                                                \
        return waiter_begin(&waiter, client) ? GRAM_E_MISUSE : waiter_finish(&waiter, call)
#define BLOCKING_RESULT(client, call, result)                                                                \
        struct waiter waiter;                                                                                \
        return waiter_begin(&waiter, client) ? GRAM_E_MISUSE : waiter_finish_result(&waiter, call, result)

#endif
