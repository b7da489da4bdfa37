/* How a blocking call waits for its answer. */

#include "waiter.h"

#include <string.h>
#include <sys/epoll.h>

void waiter_done(void *arg, struct gram_reply *reply)
{
        struct waiter *waiter = arg;

        waiter->done = true;
        waiter->number = reply->number;
        if (reply->error) {
                waiter->code = reply->error->code;
                failure_copy(&waiter->client->last, reply->error);
        } else {
                waiter->result = gram_reply_take(reply);
        }
}

/* Sleeps until there is something to do. Returns LOOK_… bits for client_step(). */
static unsigned wait_ready(struct gram_client *client)
{
        struct epoll_event events[2];
        int n = epoll_wait(client->epoll_fd, events, 2, -1);
        unsigned look = 0;

        for (int i = 0; i < n; i++)
                look |= events[i].data.fd == client->socket_fd ? LOOK_SOCKET : LOOK_TIME;
        return look;
}

/* A callback may free the client. The waiter is completed before that, with GRAM_E_CANCELLED. */
static void wait_done(struct waiter *waiter)
{
        /* Before the cache answers: read what the daemon has told of changes, and check deadlines. */
        unsigned look = waiter->client->n_caches > 0 ? LOOK_SOCKET | LOOK_TIME : 0;

        while (!waiter->done) {
                client_step(waiter->client, look);
                if (!waiter->done)
                        look = wait_ready(waiter->client);
        }
        if (waiter->code != GRAM_E_CANCELLED)
                waiter->client->blocking = false;
}

int waiter_begin(struct waiter *waiter, struct gram_client *client)
{
        *waiter = (struct waiter){ .client = client };
        if (client->depth)
                return client_fail(client, GRAM_E_MISUSE, "a blocking call inside a callback");
        client->blocking = true;
        return 0;
}

int waiter_finish(struct waiter *waiter, int submitted)
{
        if (submitted) {
                waiter->client->blocking = false;
                return submitted;
        }
        wait_done(waiter);
        return waiter->code;
}

int waiter_finish_result(struct waiter *waiter, int submitted, void *result)
{
        int code = waiter_finish(waiter, submitted);

        if (!code)
                memcpy(result, &waiter->result, sizeof(waiter->result));
        return code;
}
