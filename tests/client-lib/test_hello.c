/*
 * The first request of a connection: libgram tells its features, also to daemons that do not know the key.
 */
#include "../support/bot.h"
#include "../support/client.h"
#include "../support/program.h"

#define HELLO "hello({client: 'bot', features: ['lease', 'id', 'owner', 'kv'], id: ...})"
#define HELLO_WITHOUT "hello({client: 'bot'})"
#define ANSWER "server: 'gramd', version: '1', protocol: 1"

static void on_hello(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        ck_assert_ptr_null(reply->error);
        bot_note(bot, "hello");
        for (size_t i = 0; i < reply->hello->n_features; i++)
                bot_note(bot, "%s", reply->hello->features[i]);
}

START_TEST(tells_its_features_and_reads_the_daemons)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_hello(bot->client, on_hello, bot), 0);
        puppet_accept(bot->puppet);
        puppet_does(bot->puppet, HELLO, "{" ANSWER ", features: ['map', 'batch']}");
        puppet_does(bot->puppet, HELLO_WITHOUT,
                    "{" ANSWER ", features: ['map', 'batch']}"); /* sent by gram_async_hello() */
        bot_expect(bot, "hello map batch");
        bot_end(bot);
}
END_TEST

static void refuse_features(struct bot *bot)
{
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, HELLO),
                      "['bad_request', 'hello: features: there is no such option', nil]");
}

START_TEST(asks_an_older_daemon_again_without_features)
{
        struct bot *bot = bot_new(0);
        uint32_t ping;

        ck_assert_int_eq(gram_async_ping(bot->client, bot_replied, bot), 0);
        puppet_accept(bot->puppet);
        refuse_features(bot);
        ping = puppet_expect(bot->puppet, "ping(...)"); /* sent already */
        puppet_does(bot->puppet, HELLO_WITHOUT, "{" ANSWER "}");
        puppet_refuse(bot->puppet, ping, "['storage', 'any', nil]");
        bot_expect(bot, "storage");
        ck_assert_int_eq(gram_async_hello(bot->client, on_hello, bot), 0);
        puppet_does(bot->puppet, HELLO_WITHOUT, "{" ANSWER "}");
        bot_expect(bot, "hello");
        bot_end(bot);
}
END_TEST

/* A newer daemon may run there by then. */
START_TEST(tells_its_features_again_on_the_next_connection)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_stats(bot->client, bot_replied, bot), 0);
        puppet_accept(bot->puppet);
        refuse_features(bot);
        puppet_expect(bot->puppet, "stats()");
        puppet_does(bot->puppet, HELLO_WITHOUT, "{" ANSWER "}");
        gram_process(bot->client);
        puppet_drop(bot->puppet);
        puppet_accept(bot->puppet);
        puppet_does(bot->puppet, HELLO, "{" ANSWER ", features: []}");
        puppet_does(bot->puppet, "stats()", "{}");
        bot_expect(bot, "disconnected reconnected ok");
        bot_end(bot);
}
END_TEST

/* It is asked once more, and only after `bad_request`. */
START_TEST(is_not_asked_a_third_time)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_ping(bot->client, bot_replied, bot), 0);
        puppet_accept(bot->puppet);
        refuse_features(bot);
        puppet_expect(bot->puppet, "ping(...)");
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, HELLO_WITHOUT), "['bad_request', 'no', nil]");
        bot_expect(bot, "bad_request");
        puppet_expect_closed(bot->puppet);
        ck_assert_int_eq(gram_async_ping(bot->client, bot_replied, bot), 0);
        puppet_accept(bot->puppet);
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, HELLO), "['denied', 'not you', nil]");
        bot_expect(bot, "denied");
        bot_end(bot);
}
END_TEST

int main(void)
{
        return test_program("client-lib/hello",
                            (const TTest *const[]){ tells_its_features_and_reads_the_daemons,
                                                    asks_an_older_daemon_again_without_features,
                                                    tells_its_features_again_on_the_next_connection,
                                                    is_not_asked_a_third_time, NULL });
}
