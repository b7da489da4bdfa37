#include "bot.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "program.h"

void bot_note(struct bot *bot, const char *format, ...)
{
        size_t len = strlen(bot->log);
        va_list args;

        ck_assert_uint_lt(len + 64, sizeof(bot->log));
        if (len)
                bot->log[len++] = ' ';
        va_start(args, format);
        vsnprintf(bot->log + len, sizeof(bot->log) - len, format, args);
        va_end(args);
        bot->told = true;
}

static void on_event(void *arg, const struct gram_event *event)
{
        struct bot *bot = arg;

        switch (event->type) {
        case GRAM_EVENT_CHANGED:
                bot_note(bot, event->changed->all ? "changed:all" : "changed:%zu", event->changed->n_peers);
                break;
        case GRAM_EVENT_ENDED: bot_note(bot, "ended:%s", event->error->name); break;
        case GRAM_EVENT_LEASE_LOST: bot_note(bot, "lease-lost"); break;
        case GRAM_EVENT_REQUEST: bot_note(bot, "request:%s", event->request->method); break;
        case GRAM_EVENT_DISCONNECTED: bot_note(bot, "disconnected"); break;
        case GRAM_EVENT_RECONNECTED: bot_note(bot, "reconnected"); break;
        case GRAM_EVENT_LEAVE: bot_note(bot, "leave:%s", event->reason); break;
        }
}

void bot_replied(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        bot_note(bot, "%s", reply->error ? reply->error->name : "ok");
}

void bot_opened(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        bot->session = reply->error ? NULL : reply->session;
        bot_replied(arg, reply);
}

struct bot *bot_new(int64_t timeout_ms)
{
        struct bot *bot = calloc(1, sizeof(*bot));

        bot->puppet = puppet_new();
        bot->client = test_client_new(&(struct gram_options){ .socket = bot->puppet->socket,
                                                              .client = "bot",
                                                              .timeout_ms = timeout_ms,
                                                              .on_event = on_event,
                                                              .event_arg = bot });
        bot->puppet->pump = bot->client;
        return bot;
}

void bot_expect(struct bot *bot, const char *log)
{
        while (strlen(bot->log) < strlen(log)) {
                bot->told = false;
                puppet_until(bot->puppet, &bot->told);
        }
        ck_assert_str_eq(bot->log, log);
        bot->log[0] = '\0';
}

struct bot *bot_open(void)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, bot_opened, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open('anna', {create: true, ...})", BOT_OPENED);
        bot_expect(bot, "ok");
        return bot;
}

void bot_restart(struct bot *bot)
{
        puppet_drop(bot->puppet);
        puppet_greet(bot->puppet);
}

void bot_end(struct bot *bot)
{
        gram_client_free(bot->client);
        puppet_end(&bot->puppet);
        free(bot);
}

void bot_write_peer(struct bot *bot, int64_t id)
{
        struct gram_peer peer = { .id = id, .type = "user" };

        ck_assert_int_eq(gram_async_update_peers(bot->session, &peer, 1, bot_replied, bot), 0);
}
