/* A session that its host hands over: who is told, what it may still do, and who is not told. */

#include "../support/bot.h"
#include "../support/client.h"
#include "../support/program.h"

#define HELLO "hello({client: 'bot', features: ['lease', 'id', 'owner', 'kv', 'leave'], id: ...})"
#define HELLO_ANSWER "{server: 'gramd', version: '1', protocol: 1, features: ['leave']}"

static struct bot *leaver_open(void)
{
        struct bot *bot = bot_new(0);

        gram_client_set_leaves(bot->client, true);
        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, bot_opened, bot), 0);
        puppet_accept(bot->puppet);
        puppet_does(bot->puppet, HELLO, HELLO_ANSWER);
        puppet_does(bot->puppet, "open('anna', {create: true, ...})", BOT_OPENED);
        bot_expect(bot, "ok");
        return bot;
}

START_TEST(leaves_when_it_is_asked)
{
        struct bot *bot = leaver_open();

        puppet_tell(bot->puppet, "['leave', [3, 'host-1']]");
        bot_expect(bot, "leave:host-1");
        bot_write_peer(bot, 7); /* the handle is valid until it is closed */
        puppet_does(bot->puppet, "update_peers(3, [[7, nil, 'user', nil, nil]])", "nil");
        bot_expect(bot, "ok");
        ck_assert_ptr_null(gram_session_error(bot->session));
        ck_assert_int_eq(gram_async_close(bot->session, bot_replied, bot), 0);
        puppet_tell(bot->puppet, "['leave', [3, 'host-1']]"); /* it leaves already */
        puppet_does(bot->puppet, "close(3)", "nil");
        bot_expect(bot, "ok");
        bot_end(bot);
}
END_TEST

/* On the next connection it says again that it leaves; a host that drains lets it in no more. */
START_TEST(says_so_on_each_connection)
{
        struct bot *bot = leaver_open();

        puppet_drop(bot->puppet);
        puppet_accept(bot->puppet);
        puppet_does(bot->puppet, HELLO, HELLO_ANSWER);
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, BOT_OPEN_AGAIN),
                      "['unavailable', 'draining', nil]");
        bot_expect(bot, "disconnected reconnected");
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED); /* it tries again */
        puppet_tell(bot->puppet, "['leave', [9, 'again']]");
        bot_expect(bot, "leave:again");
        bot_end(bot);
}
END_TEST

/* Who would not see the event is not told: the daemon ends its handles instead. */
START_TEST(nobody_leaves_without_a_handler)
{
        PUPPET puppet = puppet_new();
        struct gram_client *client = gram_client_new(
                &(struct gram_options){ .socket = puppet->socket, .client = "bot", .timeout_ms = 1 });

        gram_client_set_leaves(client, true);
        gram_async_ping(client, NULL, NULL);
        puppet->pump = client;
        puppet_accept(puppet);
        puppet_expect(puppet, "hello({client: 'bot', features: ['lease', 'id', 'owner', 'kv'], id: ...})");
        gram_client_free(client);
}
END_TEST

START_TEST(a_malformed_leave_does_no_harm)
{
        static const char *const wrong[] = { "['leave', []]", "['leave', ['x', 'y']]",
                                             "['leave', [4, 'other']]", "['leave', [-1, 'x']]" };
        struct bot *bot = leaver_open();

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                puppet_tell(bot->puppet, wrong[i]);
        puppet_tell(bot->puppet, "['leave', [3]]");
        puppet_tell(bot->puppet, "['leave', [3, 5, 'new']]");
        bot_expect(bot, "leave: leave:");
        bot_end(bot);
}
END_TEST

int main(void)
{
        return test_program("client-lib/leave",
                            (const TTest *const[]){ leaves_when_it_is_asked, says_so_on_each_connection,
                                                    nobody_leaves_without_a_handler,
                                                    a_malformed_leave_does_no_harm, NULL });
}
