/*
 * libgram in a libuv loop: opens and watches a session, submits a thousand writes without waiting for
 * answers, counts the answers, and closes the session.
 *
 *     cc uv.c $(pkg-config --cflags --libs gram libuv) -o uv && ./uv my_account
 */

#include <stdio.h>
#include <uv.h>

#include "../gram.h" /* once installed: <gram.h> */

enum { PEERS = 1000 };

struct bot {
        uv_poll_t poll;
        struct gram_client *client;
        struct gram_session *session;
        int stored;
        int failed;
};

/* gram_fd() is readable when there is something to do: an answer, room to send, a timeout, a reconnection. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
        struct bot *bot = poll->data;

        (void)status;
        (void)events;
        gram_process(bot->client);
}

static void finish(struct bot *bot)
{
        uv_poll_stop(&bot->poll);
        uv_close((uv_handle_t *)&bot->poll, NULL); /* nothing is left: the loop ends */
}

static void on_closed(void *arg, struct gram_reply *reply)
{
        (void)reply;
        finish(arg);
}

static void on_stored(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        if (reply->error) {
                fprintf(stderr, "%s\n", reply->error->message);
                bot->failed = 1;
        }
        if (++bot->stored == PEERS) {
                printf("%d peers stored in %s\n", bot->stored, gram_session_name(bot->session));
                gram_async_close(bot->session, on_closed, bot);
        }
}

static void on_opened(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        if (reply->error) {
                fprintf(stderr, "%s\n", reply->error->message);
                bot->failed = 1;
                finish(bot);
                return;
        }
        bot->session = reply->session;
        gram_async_watch(bot->session, true, NULL, NULL);
        for (int i = 1; i <= PEERS; i++) {
                struct gram_peer peer = { .id = i, .type = "user" };

                gram_async_update_peers(bot->session, &peer, 1, on_stored, bot);
        }
}

/* What the client tells without being asked. */
static void on_event(void *arg, const struct gram_event *event)
{
        (void)arg;
        switch (event->type) {
        case GRAM_EVENT_CHANGED: puts("another program changed the session"); break;
        case GRAM_EVENT_ENDED: printf("the session has ended: %s\n", event->error->message); break;
        case GRAM_EVENT_LEASE_LOST: puts("another host may own the session: stop using its key"); break;
        case GRAM_EVENT_DISCONNECTED: puts("the connection to the daemon is lost"); break;
        case GRAM_EVENT_RECONNECTED: puts("connected again"); break;
        case GRAM_EVENT_REQUEST:
        case GRAM_EVENT_LEAVE: break; /* only sent to programs that ask for them */
        }
}

int main(int argc, char **argv)
{
        struct bot bot = { .failed = 0 };
        uv_loop_t *loop = uv_default_loop();

        bot.client = gram_client_new(&(struct gram_options){ .on_event = on_event, .event_arg = &bot });
        if (!bot.client) {
                perror("gram_client_new");
                return 1;
        }
        bot.poll.data = &bot;
        uv_poll_init(loop, &bot.poll, gram_fd(bot.client));
        uv_poll_start(&bot.poll, UV_READABLE, on_readable);
        if (gram_async_open(bot.client, argc > 1 ? argv[1] : "example", NULL, on_opened, &bot))
                finish(&bot);
        uv_run(loop, UV_RUN_DEFAULT);
        gram_client_free(bot.client);
        uv_loop_close(loop);
        return bot.failed;
}
