/*
 * libgram when the daemon goes away: what is opened again, what is repeated and what is not, and what the
 * program is told. The puppet drops the connection at any point.
 */
#include <poll.h>
#include <stdlib.h>

#include "../support/bot.h"
#include "../support/program.h"

/* ---- repetition ---- */

START_TEST(repeats_in_order_what_was_not_answered)
{
        struct bot *bot = bot_open();
        uint32_t first;

        for (int64_t id = 1; id <= 4; id++)
                bot_write_peer(bot, id);
        first = puppet_expect(bot->puppet, "update_peers(3, [[1, ...]])");
        puppet_expect(bot->puppet, "update_peers(3, [[2, ...]])");
        puppet_answer(bot->puppet, first, "nil");
        bot_expect(bot, "ok");
        bot_restart(bot);
        bot_write_peer(bot, 5);
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        for (int id = 2; id <= 5; id++) {
                TEST_FREED char *pattern = test_format("update_peers(9, [[%d, ...]])", id);

                puppet_does(bot->puppet, pattern, "nil");
        }
        bot_expect(bot, "disconnected reconnected ok ok ok ok");
        ck_assert_uint_eq(gram_pending(bot->client), 0);
        ck_assert(gram_session_opened(bot->session)->created); /* the first `open` of this call created it */
        bot_end(bot);
}
END_TEST

START_TEST(repeats_what_concerns_no_session)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_ping(bot->client, bot_replied, bot), 0);
        ck_assert_int_eq(gram_async_stats(bot->client, bot_replied, bot), 0);
        puppet_greet(bot->puppet);
        puppet_expect(bot->puppet, "ping(...)");
        bot_restart(bot);
        ck_assert_int_eq(gram_async_clients(bot->client, bot_replied, bot), 0);
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, "ping(...)"), "['storage', '', nil]");
        puppet_does(bot->puppet, "stats()", "{}");
        puppet_does(bot->puppet, "clients()", "[]");
        bot_expect(bot, "disconnected reconnected storage ok ok");
        bot_end(bot);
}
END_TEST

START_TEST(bears_a_daemon_that_dies_again_and_again)
{
        struct bot *bot = bot_open();

        bot_write_peer(bot, 1);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        puppet_drop(bot->puppet);
        puppet_accept(bot->puppet); /* dies before hello is answered */
        puppet_drop(bot->puppet);
        puppet_greet(bot->puppet); /* dies after it */
        puppet_expect(bot->puppet, BOT_OPEN_AGAIN);
        puppet_drop(bot->puppet);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        puppet_expect(bot->puppet, "update_peers(9, ...)");
        puppet_silence(bot->puppet); /* does not listen for a while */
        bot_expect(bot, "disconnected reconnected disconnected reconnected disconnected");
        puppet_listen(bot->puppet);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        puppet_does(bot->puppet, "update_peers(9, ...)", "nil");
        bot_expect(bot, "reconnected ok");
        bot_end(bot);
}
END_TEST

/*
 * A later write has been acknowledged, so this one was executed. Repeating it would undo the later one.
 */
START_TEST(does_not_repeat_a_write_that_was_overtaken)
{
        struct bot *bot = bot_open();
        uint32_t later;

        bot_write_peer(bot, 1);
        ck_assert_int_eq(gram_async_get_states(bot->session, NULL, 0, bot_replied, bot), 0);
        bot_write_peer(bot, 1);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        puppet_expect(bot->puppet, "get_states(3)");
        later = puppet_expect(bot->puppet, "update_peers(3, ...)");
        puppet_answer(bot->puppet, later, "nil");
        bot_expect(bot, "ok");
        bot_restart(bot);
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        puppet_does(bot->puppet, "get_states(9)", "[]");
        bot_expect(bot, "disconnected unavailable reconnected ok");
        bot_end(bot);
}
END_TEST

START_TEST(does_not_repeat_a_disconnection)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_disconnect(bot->client, 4, bot_replied, bot), 0);
        puppet_greet(bot->puppet);
        puppet_expect(bot->puppet, "disconnect(4)");
        puppet_drop(bot->puppet);
        bot_expect(bot, "disconnected unavailable");
        bot_end(bot);
}
END_TEST

/* ---- deletion, import, close ---- */

START_TEST(repeated_delete_of_a_session_that_is_gone_succeeds)
{
        struct bot *bot = bot_open();

        bot_write_peer(bot, 1);
        ck_assert_int_eq(gram_async_delete(bot->session, true, bot_replied, bot), 0);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        puppet_expect(bot->puppet, "delete(3, {remove_peers: true})");
        bot_restart(bot);
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, BOT_OPEN_AGAIN), "['not_found', 'gone', nil]");
        /* Whether the write before it succeeded is not known. */
        bot_expect(bot, "disconnected reconnected ended:not_found not_found ok");
        ck_assert_int_eq(gram_async_close(bot->session, bot_replied, bot), 0);
        bot_expect(bot, "ok");
        bot_end(bot);
}
END_TEST

START_TEST(repeated_delete_of_a_session_that_is_there_is_done)
{
        struct bot *bot = bot_open();

        ck_assert_int_eq(gram_async_delete(bot->session, true, bot_replied, bot), 0);
        puppet_expect(bot->puppet, "delete(3, ...)");
        bot_restart(bot);
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        puppet_does(bot->puppet, "delete(9, {remove_peers: true})", "nil");
        bot_expect(bot, "disconnected reconnected ok");
        ck_assert_int_eq(gram_async_close(bot->session, bot_replied, bot), 0);
        bot_expect(bot, "ok");
        puppet_expect_nothing(bot->puppet); /* the handle has ended with the session */
        bot_end(bot);
}
END_TEST

/* The daemon tells that the handle has ended, and the answer to the deletion gets lost. */
START_TEST(delete_whose_answer_is_lost_behind_its_own_notice_succeeds)
{
        struct bot *bot = bot_open();

        ck_assert_int_eq(gram_async_delete(bot->session, true, bot_replied, bot), 0);
        puppet_expect(bot->puppet, "delete(3, ...)");
        puppet_tell(bot->puppet, "['ended', [3, 'not_found', 'deleted']]");
        puppet_drop(bot->puppet);
        bot_expect(bot, "ended:not_found disconnected ok");
        bot_end(bot);
}
END_TEST

START_TEST(repeated_import_succeeds_as_the_daemon_says)
{
        struct bot *bot = bot_open();

        ck_assert_int_eq(gram_async_import_string(bot->session, "1AbC", NULL, bot_replied, bot), 0);
        puppet_expect(bot->puppet, "import_string(3, '1AbC', ...)");
        bot_restart(bot);
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        puppet_does(bot->puppet, "import_string(9, '1AbC', {..., overwrite: false})",
                    "['dc_id', 'auth_key']");
        bot_expect(bot, "disconnected reconnected ok");
        bot_end(bot);
}
END_TEST

START_TEST(a_close_that_was_lost_is_done)
{
        struct bot *bot = bot_open();
        struct pollfd called = { .fd = bot->puppet->listen_fd, .events = POLLIN };

        ck_assert_int_eq(gram_async_close(bot->session, bot_replied, bot), 0);
        puppet_expect(bot->puppet, "close(3)");
        puppet_drop(bot->puppet);
        bot_expect(bot, "disconnected ok");
        /* Nothing needs a connection any more, and none was made. */
        ck_assert_int_eq(gram_timeout_ms(bot->client), -1);
        ck_assert_int_eq(poll(&called, 1, 0), 0);
        bot_end(bot);
}
END_TEST

START_TEST(a_close_behind_writes_waits_for_them)
{
        struct bot *bot = bot_open();

        bot_write_peer(bot, 1);
        ck_assert_int_eq(gram_async_close(bot->session, bot_replied, bot), 0);
        ck_assert_int_eq(gram_async_save(bot->session, bot_replied, bot), GRAM_E_MISUSE);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        puppet_expect(bot->puppet, "close(3)");
        bot_restart(bot);
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        puppet_does(bot->puppet, "update_peers(9, ...)", "nil");
        puppet_does(bot->puppet, "close(9)", "nil");
        bot_expect(bot, "disconnected reconnected ok ok");
        bot_end(bot);
}
END_TEST

/* ---- opening ---- */

START_TEST(an_open_that_was_lost_is_repeated_as_it_was)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, bot_opened, bot), 0);
        puppet_greet(bot->puppet);
        puppet_expect(bot->puppet, "open('anna', {create: true, ...})");
        bot_restart(bot);
        puppet_does(bot->puppet, "open('anna', {create: true, ...})", BOT_REOPENED);
        bot_expect(bot, "disconnected reconnected ok");
        bot_end(bot);
}
END_TEST

START_TEST(an_exclusive_session_is_taken_again_exclusively)
{
        struct bot *bot = bot_new(0);
        struct gram_open_options options = { .mode = GRAM_EXCLUSIVE };

        ck_assert_int_eq(gram_async_open(bot->client, "anna", &options, bot_opened, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open('anna', {create: true, mode: 'exclusive', wait: 0})", BOT_OPENED);
        bot_expect(bot, "ok");
        bot_restart(bot);
        /* Waits: the daemon may not have noticed that the former connection is gone. */
        ck_assert_int_gt(
                atoi(strstr((puppet_expect(bot->puppet,
                                           "open('anna', {create: false, mode: 'exclusive', wait: ...})"),
                             bot->puppet->text),
                            "wait: ") +
                     6),
                10000);
        bot_end(bot);
}
END_TEST

START_TEST(a_session_that_another_has_taken_ends)
{
        struct bot *bot = bot_new(1000); /* also how long a busy session is tried */
        struct gram_open_options options = { .mode = GRAM_EXCLUSIVE };

        ck_assert_int_eq(gram_async_open(bot->client, "anna", &options, bot_opened, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open(...)", BOT_OPENED);
        bot_expect(bot, "ok");
        bot_restart(bot);
        bot_expect(bot, "disconnected reconnected");
        while (!gram_session_error(bot->session)) {
                uint32_t id = puppet_expect(bot->puppet,
                                            "open('anna', {create: false, mode: 'exclusive', wait: ...})");

                puppet_refuse(bot->puppet, id,
                              "['busy', 'taken', {holder: {pid: 5, uid: 0, client: 'other', host: 'h', "
                              "since: 1}}]");
                gram_process(bot->client);
        }
        bot_expect(bot, "ended:busy");
        ck_assert_int_eq(gram_session_error(bot->session)->holder->pid, 5);
        ck_assert_int_eq(gram_async_save(bot->session, bot_replied, bot), GRAM_E_BUSY);
        ck_assert_str_eq(gram_client_error(bot->client)->holder->client, "other");
        bot_end(bot);
}
END_TEST

/* The client that held the session opens it again first; the one that waited comes a moment later. */
START_TEST(an_open_that_waited_lets_the_holder_come_back_first)
{
        struct bot *bot = bot_new(0);
        struct gram_open_options waiting = { .mode = GRAM_EXCLUSIVE, .wait_ms = 20000 };
        struct gram_open_options plain = { .mode = GRAM_SHARED };
        const char *wait;

        ck_assert_int_eq(gram_async_open(bot->client, "anna", &waiting, bot_replied, bot), 0);
        ck_assert_int_eq(gram_async_open(bot->client, "berta", &plain, bot_replied, bot), 0);
        puppet_greet(bot->puppet);
        puppet_expect(bot->puppet, "open('anna', {..., wait: ...})");
        puppet_expect(bot->puppet, "open('berta', {..., wait: 0})");
        bot_restart(bot);
        puppet_does(bot->puppet, "open('berta', {..., wait: 0})", BOT_OPENED);
        bot_expect(bot, "disconnected reconnected ok");
        ck_assert_int_gt(gram_timeout_ms(bot->client), 0);
        puppet_does(bot->puppet, "open('anna', {..., wait: ...})", BOT_REOPENED);
        wait = strstr(bot->puppet->text, "wait: ") + 6;
        ck_assert_int_lt(atoi(wait), 20000); /* the rest of the time */
        bot_expect(bot, "ok");
        bot_end(bot);
}
END_TEST

START_TEST(retries_while_the_backend_is_away)
{
        struct bot *bot = bot_open();

        bot_write_peer(bot, 1);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        bot_restart(bot);
        for (int i = 0; i < 3; i++)
                puppet_refuse(bot->puppet, puppet_expect(bot->puppet, BOT_OPEN_AGAIN),
                              "['unavailable', 'not now', nil]");
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        puppet_does(bot->puppet, "update_peers(9, ...)", "nil");
        bot_expect(bot, "disconnected reconnected ok");
        bot_end(bot);
}
END_TEST

/* ---- the end of a session ---- */

START_TEST(an_ended_session_is_not_opened_again)
{
        static const char *const codes[] = { "denied", "fenced", "not_found" };
        static const int numbers[] = { GRAM_E_DENIED, GRAM_E_FENCED, GRAM_E_NOT_FOUND };

        for (int i = 0; i < 3; i++) {
                struct bot *bot = bot_open();
                TEST_FREED char *notice = test_format("['ended', [3, '%s', 'so it is']]", codes[i]);
                TEST_FREED char *log = test_format("ended:%s %s disconnected", codes[i], codes[i]);
                uint32_t id;

                bot_write_peer(bot, 1);
                id = puppet_expect(bot->puppet, "update_peers(3, ...)");
                puppet_tell(bot->puppet, notice);
                puppet_refuse(bot->puppet, id, "['bad_session', 'no such handle', nil]");
                puppet_drop(bot->puppet);
                bot_expect(bot, log);
                ck_assert_int_eq(gram_timeout_ms(bot->client), -1); /* it does not connect again by itself */
                ck_assert_int_eq(gram_async_save(bot->session, bot_replied, bot), numbers[i]);
                ck_assert_str_eq(gram_client_error(bot->client)->message, "so it is");
                bot_end(bot);
        }
}
END_TEST

/* The daemon's last message is read, although the connection is closed when the client writes. */
START_TEST(a_notice_before_the_end_of_the_connection_is_heard)
{
        struct bot *bot = bot_open();

        puppet_tell(bot->puppet, "['ended', [3, 'denied', 'disconnected by an operator']]");
        puppet_drop(bot->puppet);
        bot_write_peer(bot, 1);
        bot_expect(bot, "ended:denied denied disconnected");
        ck_assert_int_eq(gram_timeout_ms(bot->client), -1);
        bot_end(bot);
}
END_TEST

START_TEST(a_fenced_answer_ends_the_session)
{
        struct bot *bot = bot_open();

        bot_write_peer(bot, 1);
        bot_write_peer(bot, 2);
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, "update_peers(...)"),
                      "['fenced', 'another host', nil]");
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, "update_peers(...)"),
                      "['bad_session', '', nil]");
        bot_expect(bot, "ended:fenced fenced fenced");
        bot_end(bot);
}
END_TEST

/* ---- watching ---- */

START_TEST(a_watch_is_set_again_and_everything_forgotten)
{
        struct bot *bot = bot_open();
        uint32_t watch;

        ck_assert_int_eq(gram_async_watch(bot->session, true, bot_replied, bot), 0);
        puppet_does(bot->puppet, "watch(3, true)", "nil");
        puppet_tell(bot->puppet,
                    "['changed', [3, {peers: [4, 5], usernames: ['x'], phones: [], fields: ['dc_id', 'new'], "
                    "states: [1], all: false}]]");
        puppet_tell(bot->puppet, "['changed', [3, {peers: 'what'}]]");
        puppet_tell(bot->puppet, "['changed', [77, {all: true}]]");
        bot_expect(bot, "ok changed:2 changed:all");
        bot_restart(bot);
        ck_assert_int_eq(gram_async_get_states(bot->session, NULL, 0, bot_replied, bot), 0);
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        watch = puppet_expect(bot->puppet, "watch(9, true)"); /* before the requests of the program */
        puppet_does(bot->puppet, "get_states(9)", "[]");
        bot_expect(bot, "disconnected reconnected ok");
        puppet_answer(bot->puppet, watch, "nil");
        bot_expect(bot, "changed:all");

        ck_assert_int_eq(gram_async_watch(bot->session, false, bot_replied, bot), 0);
        puppet_does(bot->puppet, "watch(9, false)", "nil");
        bot_expect(bot, "ok");
        bot_restart(bot);
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        bot_expect(bot, "disconnected reconnected");
        puppet_expect_nothing(bot->puppet);
        bot_end(bot);
}
END_TEST

START_TEST(a_monitor_is_set_again)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_monitor(bot->client, true, bot_replied, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "monitor(true)", "nil");
        bot_restart(bot);
        puppet_does(bot->puppet, "monitor(true)", "nil");
        puppet_tell(bot->puppet, "['request', [{time: 1.5, client: 'bot', method: 'ping', session: nil, "
                                 "microseconds: 7, error: nil}]]");
        bot_expect(bot, "ok disconnected reconnected request:ping");
        bot_end(bot);
}
END_TEST

int main(void)
{
        return test_program(
                "client-lib/reconnect",
                (const TTest *const[]){ repeats_in_order_what_was_not_answered,
                                        repeats_what_concerns_no_session,
                                        bears_a_daemon_that_dies_again_and_again,
                                        does_not_repeat_a_write_that_was_overtaken,
                                        does_not_repeat_a_disconnection,
                                        repeated_delete_of_a_session_that_is_gone_succeeds,
                                        repeated_delete_of_a_session_that_is_there_is_done,
                                        delete_whose_answer_is_lost_behind_its_own_notice_succeeds,
                                        repeated_import_succeeds_as_the_daemon_says,
                                        a_close_that_was_lost_is_done,
                                        a_close_behind_writes_waits_for_them,
                                        an_open_that_was_lost_is_repeated_as_it_was,
                                        an_exclusive_session_is_taken_again_exclusively,
                                        a_session_that_another_has_taken_ends,
                                        an_open_that_waited_lets_the_holder_come_back_first,
                                        retries_while_the_backend_is_away,
                                        an_ended_session_is_not_opened_again,
                                        a_notice_before_the_end_of_the_connection_is_heard,
                                        a_fenced_answer_ends_the_session,
                                        a_watch_is_set_again_and_everything_forgotten,
                                        a_monitor_is_set_again,
                                        NULL });
}
