/*
 * libgram's timers and bounds: leases and requests that run out of time, requests in flight, and a client
 * freed at any moment.
 */
#include <stdlib.h>
#include <unistd.h>

#include "../support/bot.h"
#include "../support/client.h"
#include "../support/program.h"

/* ---- the lease ---- */

START_TEST(renews_a_lease_and_tells_when_it_is_over)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, bot_opened, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open(...)",
                    "{session: 3, created: true, backend: 'mongo', dialect: 'mongo', version: 1, fence: 4}");
        puppet_does(bot->puppet, "lease(3)", "1800");
        puppet_does(bot->puppet, "lease(3)", "1800"); /* a third of the lease later */
        bot_expect(bot, "ok");
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, "lease(3)"), "['unavailable', 'no', nil]");
        puppet_expect(bot->puppet, "lease(3)");
        ck_assert_int_gt(gram_session_lease_ms(bot->session), 0);
        puppet_drop(bot->puppet);
        bot_expect(bot, "disconnected lease-lost"); /* also without a connection */
        ck_assert_int_eq(gram_session_lease_ms(bot->session), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open(...)",
                    "{session: 3, created: false, backend: 'mongo', dialect: 'mongo', version: 1, fence: 5}");
        puppet_does(bot->puppet, "lease(3)", "100000");
        bot_expect(bot, "reconnected");
        while (gram_session_lease_ms(bot->session) == 0)
                gram_process(bot->client);
        bot_end(bot);
}
END_TEST

#define LEASED_OPENED "{session: 3, created: true, backend: 'mongo', dialect: 'mongo', version: 1, fence: 4}"

/* The daemon has given a lease with the answer, and this client never learned for how long. */
START_TEST(a_lease_that_was_never_told_is_over_with_the_connection)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, bot_opened, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open(...)", LEASED_OPENED);
        puppet_expect(bot->puppet, "lease(3)");
        ck_assert_int_gt(gram_session_lease_ms(bot->session), 0);
        puppet_silence(bot->puppet);
        bot_expect(bot, "ok disconnected lease-lost");
        ck_assert_int_eq(gram_session_lease_ms(bot->session), 0);
        bot_end(bot);
}
END_TEST

/* It counts from the sending of the `open`, and outlives the connection. */
START_TEST(takes_the_lease_from_the_answer_to_open)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, bot_opened, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open(...)", "{session: 3, backend: 'mongo', fence: 4, lease: 100000}");
        puppet_expect(bot->puppet, "lease(3)");
        bot_expect(bot, "ok");
        ck_assert_int_gt(gram_session_lease_ms(bot->session), 50000);
        ck_assert_int_le(gram_session_lease_ms(bot->session), 100000);
        bot_restart(bot);
        puppet_does(bot->puppet, "open(...)", "{session: 9, backend: 'mongo', fence: 4, lease: 200000}");
        puppet_expect(bot->puppet, "lease(9)");
        bot_expect(bot, "disconnected reconnected");
        ck_assert_int_gt(gram_session_lease_ms(bot->session), 150000);
        bot_end(bot);
}
END_TEST

/* The program was stopped, for example. */
START_TEST(a_lease_that_is_over_when_its_answer_is_read)
{
        struct bot *bot = bot_new(0);
        uint32_t open;

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, bot_opened, bot), 0);
        puppet_greet(bot->puppet);
        open = puppet_expect(bot->puppet, "open(...)");
        usleep(10000);
        puppet_answer(bot->puppet, open, "{session: 3, backend: 'mongo', fence: 4, lease: 1}");
        puppet_expect(bot->puppet, "lease(3)");
        ck_assert_int_eq(gram_session_lease_ms(bot->session), 0);
        bot_expect(bot, "ok lease-lost");
        bot_end(bot);
}
END_TEST

/* The daemon hangs. */
START_TEST(a_lease_that_is_not_told_in_time_is_over)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, bot_opened, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open(...)", LEASED_OPENED);
        puppet_expect(bot->puppet, "lease(3)");
        bot_expect(bot, "ok lease-lost");
        bot_end(bot);
}
END_TEST

/* ---- timeouts ---- */

START_TEST(gives_up_in_time)
{
        struct bot *bot = bot_open();
        uint32_t id;

        gram_client_set_timeout(bot->client, 300);
        bot_write_peer(bot, 1);
        id = puppet_expect(bot->puppet, "update_peers(3, [[1, ...]])");
        bot_expect(bot, "timeout");
        puppet_answer(bot->puppet, id, "nil"); /* too late: dropped */
        gram_client_set_timeout(bot->client, 0);
        bot_write_peer(bot, 2);
        puppet_does(bot->puppet, "update_peers(3, [[2, ...]])", "nil");
        bot_expect(bot, "ok");
        gram_client_set_timeout(bot->client, 300);
        bot_write_peer(bot, 3);
        puppet_expect(bot->puppet, "update_peers(3, [[3, ...]])");
        puppet_silence(bot->puppet);
        bot_expect(bot, "disconnected unreachable");
        puppet_listen(bot->puppet);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        bot_expect(bot, "reconnected");
        puppet_expect_nothing(bot->puppet); /* the program knows of the failure: it is not repeated */
        bot_end(bot);
}
END_TEST

START_TEST(an_open_answered_too_late_is_closed)
{
        struct bot *bot = bot_new(300);
        uint32_t id;

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, bot_opened, bot), 0);
        puppet_greet(bot->puppet);
        id = puppet_expect(bot->puppet, "open(...)");
        bot_expect(bot, "timeout");
        puppet_answer(bot->puppet, id, BOT_OPENED);
        puppet_does(bot->puppet, "close(3)", "nil");
        bot_end(bot);
}
END_TEST

START_TEST(a_close_that_runs_out_of_time_frees_the_session)
{
        struct bot *bot = bot_open();

        gram_client_set_timeout(bot->client, 300);
        ck_assert_int_eq(gram_async_close(bot->session, bot_replied, bot), 0);
        puppet_expect(bot->puppet, "close(3)");
        bot_expect(bot, "timeout");
        puppet_drop(bot->puppet);
        bot_expect(bot, "disconnected");
        bot_end(bot);
}
END_TEST

/* ---- flow ---- */

START_TEST(holds_back_what_the_daemon_would_not_take)
{
        struct bot *bot = bot_new(0);
        uint32_t ids[4];

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, bot_opened, bot), 0);
        puppet_greet_as(bot->puppet, "{server: 'gramd', version: '1', protocol: 1, max_in_flight: 4}");
        puppet_does(bot->puppet, "open(...)", BOT_OPENED);
        bot_expect(bot, "ok");
        for (int64_t id = 1; id <= 6; id++)
                bot_write_peer(bot, id);
        ck_assert_uint_eq(gram_pending(bot->client), 6);
        for (int i = 0; i < 4; i++)
                ids[i] = puppet_expect(bot->puppet, "update_peers(...)");
        puppet_expect_nothing(bot->puppet);
        puppet_answer(bot->puppet, ids[1], "nil");
        puppet_expect(bot->puppet, "update_peers(3, [[5, ...]])");
        puppet_expect_nothing(bot->puppet);
        puppet_answer(bot->puppet, ids[0], "nil");
        puppet_expect(bot->puppet, "update_peers(3, [[6, ...]])");
        bot_expect(bot, "ok ok");
        /* Another daemon has another limit. */
        puppet_drop(bot->puppet);
        puppet_greet_as(bot->puppet, "{server: 'gramd', version: '1', protocol: 1, max_in_flight: 300}");
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        for (int64_t id = 7; id <= 400; id++)
                bot_write_peer(bot, id);
        for (int i = 0; i < 300; i++)
                puppet_expect(bot->puppet, "update_peers(9, ...)");
        puppet_expect_nothing(bot->puppet);
        /* A daemon that answers repeated writes remembers so many. */
        puppet_drop(bot->puppet);
        puppet_greet_as(bot->puppet,
                        "{server: 'gramd', version: '1', protocol: 1, max_in_flight: 300, features: ['id']}");
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        for (int i = 0; i < 256; i++)
                puppet_expect(bot->puppet, "update_peers(9, ...)");
        puppet_expect_nothing(bot->puppet);
        bot_end(bot);
}
END_TEST

START_TEST(pipelines_more_than_the_socket_takes)
{
        enum { N = 200 };
        struct bot *bot = bot_open();
        char *text = malloc(20000);
        struct gram_import_options options = { 0 };
        uint32_t id;

        memset(text, 'x', 19999);
        text[19999] = '\0';
        for (int i = 0; i < N; i++)
                ck_assert_int_eq(gram_async_import_string(bot->session, text, &options, NULL, NULL), 0);
        for (int i = 0; i < N; i++) {
                id = puppet_expect(bot->puppet, "import_string(3, 'xxx...', ...)");
                puppet_answer(bot->puppet, id, "[]");
        }
        while (gram_pending(bot->client))
                gram_process(bot->client);
        free(text);
        bot_end(bot);
}
END_TEST

/* ---- freeing ---- */

START_TEST(freeing_cancels)
{
        struct bot *bot = bot_open();

        bot_write_peer(bot, 1);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        bot_write_peer(bot, 2);
        ck_assert_int_eq(gram_async_ping(bot->client, bot_replied, bot), 0);
        ck_assert_int_eq(gram_async_open(bot->client, "b", NULL, bot_replied, bot), 0);
        gram_client_free(bot->client);
        ck_assert_str_eq(bot->log, "cancelled cancelled cancelled cancelled");
        puppet_end(&bot->puppet);
        free(bot);
}
END_TEST

static void on_reply_frees(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        bot_replied(arg, reply);
        ck_assert_int_eq(gram_ping(bot->client),
                         GRAM_E_MISUSE); /* blocking calls are refused inside a callback */
        gram_client_free(bot->client);
        ck_assert_int_eq(gram_async_ping(bot->client, bot_replied, bot), GRAM_E_CANCELLED);
        bot->puppet->pump = NULL;
}

START_TEST(may_be_freed_in_a_callback)
{
        struct bot *bot = bot_open();

        ck_assert_int_eq(gram_async_save(bot->session, on_reply_frees, bot), 0);
        bot_write_peer(bot, 2);
        puppet_does(bot->puppet, "save(3)", "nil");
        while (bot->puppet->pump)
                gram_process(bot->client);
        ck_assert_str_eq(bot->log, "ok cancelled");
        puppet_end(&bot->puppet);
        free(bot);
}
END_TEST

static void on_event_frees(void *arg, const struct gram_event *event)
{
        struct bot *bot = arg;

        if (event->type == GRAM_EVENT_DISCONNECTED)
                gram_client_free(bot->client);
}

/* Also inside a blocking call, which then returns GRAM_E_CANCELLED. */
START_TEST(may_be_freed_under_a_blocking_call)
{
        struct bot bot = { .puppet = puppet_new() };

        bot.client = test_client_new(&(struct gram_options){
                .socket = bot.puppet->socket, .on_event = on_event_frees, .event_arg = &bot });
        bot.puppet->pump = bot.client;
        ck_assert_int_eq(gram_async_ping(bot.client, NULL, NULL), 0);
        puppet_greet(bot.puppet);
        puppet_expect(bot.puppet, "ping(...)");
        puppet_drop(bot.puppet);
        ck_assert_int_eq(gram_ping(bot.client), GRAM_E_CANCELLED);
        puppet_end(&bot.puppet);
}
END_TEST

static void on_reply_asks_more(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        bot_replied(arg, reply);
        if (strlen(bot->log) < 8)
                ck_assert_int_eq(gram_async_save(bot->session, on_reply_asks_more, bot), 0);
        else
                ck_assert_int_eq(gram_async_close(bot->session, bot_replied, bot), 0);
}

START_TEST(callbacks_may_ask_for_more)
{
        struct bot *bot = bot_open();

        ck_assert_int_eq(gram_async_save(bot->session, on_reply_asks_more, bot), 0);
        for (int i = 0; i < 3; i++)
                puppet_does(bot->puppet, "save(3)", "nil");
        puppet_does(bot->puppet, "close(3)", "nil");
        bot_expect(bot, "ok ok ok ok");
        bot_end(bot);
}
END_TEST

int main(void)
{
        return test_program(
                "client-lib/bounds",
                (const TTest *const[]){
                        renews_a_lease_and_tells_when_it_is_over,
                        a_lease_that_was_never_told_is_over_with_the_connection,
                        takes_the_lease_from_the_answer_to_open, a_lease_that_is_over_when_its_answer_is_read,
                        a_lease_that_is_not_told_in_time_is_over, gives_up_in_time,
                        an_open_answered_too_late_is_closed, a_close_that_runs_out_of_time_frees_the_session,
                        holds_back_what_the_daemon_would_not_take, pipelines_more_than_the_socket_takes,
                        freeing_cancels, may_be_freed_in_a_callback, may_be_freed_under_a_blocking_call,
                        callbacks_may_ask_for_more, NULL });
}
