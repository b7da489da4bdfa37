/*
 * libgram when the daemon goes away: what is opened again, what is repeated and what is not, and what the
 * program hears. The puppet dies wherever the test wants; one thread runs both sides.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/puppet.h"

#define OPENED "{session: 3, created: true, backend: 'file', dialect: 'pyrogram', version: 3, fence: 0}"
#define REOPENED "{session: 9, created: false, backend: 'file', dialect: 'pyrogram', version: 3, fence: 0}"
#define OPEN_AGAIN "open('anna', {create: false, mode: 'shared', wait: ...})"

/* All that the program has been told, in order, one word each. */
struct bot {
        struct puppet *puppet;
        struct gram_client *client;
        struct gram_session *session;
        bool told; /* something, since this was last cleared */
        char log[8192];
};

static void note(struct bot *bot, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(struct bot *bot, const char *format, ...)
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
                note(bot, event->changed->all ? "changed:all" : "changed:%zu", event->changed->n_peers);
                break;
        case GRAM_EVENT_ENDED: note(bot, "ended:%s", event->error->name); break;
        case GRAM_EVENT_LEASE_LOST: note(bot, "lease-lost"); break;
        case GRAM_EVENT_REQUEST: note(bot, "request:%s", event->request->method); break;
        case GRAM_EVENT_DISCONNECTED: note(bot, "disconnected"); break;
        case GRAM_EVENT_RECONNECTED: note(bot, "reconnected"); break;
        }
}

static void on_reply(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        note(bot, "%s", reply->error ? reply->error->name : "ok");
}

static void on_open(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        bot->session = reply->error ? NULL : reply->session;
        on_reply(arg, reply);
}

static struct bot *bot_new(int64_t timeout_ms)
{
        struct bot *bot = calloc(1, sizeof(*bot));

        bot->puppet = puppet_new();
        bot->client = gram_client_new(&(struct gram_options){ .socket = bot->puppet->socket,
                                                              .client = "bot",
                                                              .timeout_ms = timeout_ms,
                                                              .on_event = on_event,
                                                              .event_arg = bot });
        bot->puppet->pump = bot->client;
        return bot;
}

/* Runs both until the program has heard as much, and nothing else. */
static void expect_log(struct bot *bot, const char *log)
{
        while (strlen(bot->log) < strlen(log)) {
                bot->told = false;
                puppet_until(bot->puppet, &bot->told);
        }
        ck_assert_str_eq(bot->log, log);
        bot->log[0] = '\0';
}

static struct bot *bot_open(void)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, on_open, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open('anna', {create: true, ...})", OPENED);
        expect_log(bot, "ok");
        return bot;
}

/* The daemon is killed, and is there again. */
static void restart(struct bot *bot)
{
        puppet_drop(bot->puppet);
        puppet_greet(bot->puppet);
}

static void bot_end(struct bot *bot)
{
        gram_client_free(bot->client);
        puppet_end(&bot->puppet);
        free(bot);
}

static void write_peer(struct bot *bot, int64_t id)
{
        struct gram_peer peer = { .id = id, .type = "user" };

        ck_assert_int_eq(gram_async_update_peers(bot->session, &peer, 1, on_reply, bot), 0);
}

/* ---- repetition ---- */

START_TEST(repeats_in_order_what_was_not_answered)
{
        struct bot *bot = bot_open();
        uint32_t first;

        for (int64_t id = 1; id <= 4; id++)
                write_peer(bot, id);
        first = puppet_expect(bot->puppet, "update_peers(3, [[1, ...]])");
        puppet_expect(bot->puppet, "update_peers(3, [[2, ...]])");
        puppet_answer(bot->puppet, first, "nil");
        expect_log(bot, "ok");
        restart(bot);
        write_peer(bot, 5);
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        for (int id = 2; id <= 5; id++) {
                TEST_FREED char *pattern = test_format("update_peers(9, [[%d, ...]])", id);

                puppet_does(bot->puppet, pattern, "nil");
        }
        expect_log(bot, "disconnected reconnected ok ok ok ok");
        ck_assert_uint_eq(gram_pending(bot->client), 0);
        ck_assert(gram_session_opened(bot->session)->created); /* by this call, though not this time */
        bot_end(bot);
}
END_TEST

START_TEST(repeats_what_concerns_no_session)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_ping(bot->client, on_reply, bot), 0);
        ck_assert_int_eq(gram_async_stats(bot->client, on_reply, bot), 0);
        puppet_greet(bot->puppet);
        puppet_expect(bot->puppet, "ping(...)");
        restart(bot);
        ck_assert_int_eq(gram_async_clients(bot->client, on_reply, bot), 0);
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, "ping(...)"), "['storage', '', nil]");
        puppet_does(bot->puppet, "stats()", "{}");
        puppet_does(bot->puppet, "clients()", "[]");
        expect_log(bot, "disconnected reconnected storage ok ok");
        bot_end(bot);
}
END_TEST

START_TEST(bears_a_daemon_that_dies_again_and_again)
{
        struct bot *bot = bot_open();

        write_peer(bot, 1);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        puppet_drop(bot->puppet);
        puppet_accept(bot->puppet); /* dies before hello is answered */
        puppet_drop(bot->puppet);
        puppet_greet(bot->puppet); /* and behind it */
        puppet_expect(bot->puppet, OPEN_AGAIN);
        puppet_drop(bot->puppet);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        puppet_expect(bot->puppet, "update_peers(9, ...)");
        puppet_silence(bot->puppet); /* and is away for a while */
        expect_log(bot, "disconnected reconnected disconnected reconnected disconnected");
        puppet_listen(bot->puppet);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        puppet_does(bot->puppet, "update_peers(9, ...)", "nil");
        expect_log(bot, "reconnected ok");
        bot_end(bot);
}
END_TEST

/* An acknowledged write is behind it: it was executed, and again would undo the later one. */
START_TEST(does_not_repeat_a_write_that_was_overtaken)
{
        struct bot *bot = bot_open();
        uint32_t later;

        write_peer(bot, 1);
        ck_assert_int_eq(gram_async_get_states(bot->session, NULL, 0, on_reply, bot), 0);
        write_peer(bot, 1);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        puppet_expect(bot->puppet, "get_states(3)");
        later = puppet_expect(bot->puppet, "update_peers(3, ...)");
        puppet_answer(bot->puppet, later, "nil");
        expect_log(bot, "ok");
        restart(bot);
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        puppet_does(bot->puppet, "get_states(9)", "[]");
        expect_log(bot, "disconnected unavailable reconnected ok");
        bot_end(bot);
}
END_TEST

START_TEST(does_not_repeat_a_disconnection)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_disconnect(bot->client, 4, on_reply, bot), 0);
        puppet_greet(bot->puppet);
        puppet_expect(bot->puppet, "disconnect(4)");
        puppet_drop(bot->puppet);
        expect_log(bot, "disconnected unavailable");
        bot_end(bot);
}
END_TEST

/* ---- deletion, import, close ---- */

START_TEST(repeated_delete_of_a_session_that_is_gone_succeeds)
{
        struct bot *bot = bot_open();

        write_peer(bot, 1);
        ck_assert_int_eq(gram_async_delete(bot->session, true, on_reply, bot), 0);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        puppet_expect(bot->puppet, "delete(3, {remove_peers: true})");
        restart(bot);
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, OPEN_AGAIN), "['not_found', 'gone', nil]");
        /* The write before it cannot be known to have succeeded. */
        expect_log(bot, "disconnected reconnected ended:not_found not_found ok");
        ck_assert_int_eq(gram_async_close(bot->session, on_reply, bot), 0);
        expect_log(bot, "ok");
        bot_end(bot);
}
END_TEST

START_TEST(repeated_delete_of_a_session_that_is_there_is_done)
{
        struct bot *bot = bot_open();

        ck_assert_int_eq(gram_async_delete(bot->session, true, on_reply, bot), 0);
        puppet_expect(bot->puppet, "delete(3, ...)");
        restart(bot);
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        puppet_does(bot->puppet, "delete(9, {remove_peers: true})", "nil");
        expect_log(bot, "disconnected reconnected ok");
        ck_assert_int_eq(gram_async_close(bot->session, on_reply, bot), 0);
        expect_log(bot, "ok");
        puppet_expect_nothing(bot->puppet); /* the handle went with the session */
        bot_end(bot);
}
END_TEST

/* Told that the handle has ended before the answer to our own deletion, which then gets lost. */
START_TEST(delete_whose_answer_is_lost_behind_its_own_notice_succeeds)
{
        struct bot *bot = bot_open();

        ck_assert_int_eq(gram_async_delete(bot->session, true, on_reply, bot), 0);
        puppet_expect(bot->puppet, "delete(3, ...)");
        puppet_tell(bot->puppet, "['ended', [3, 'not_found', 'deleted']]");
        puppet_drop(bot->puppet);
        expect_log(bot, "ended:not_found disconnected ok");
        bot_end(bot);
}
END_TEST

START_TEST(repeated_import_succeeds_as_the_daemon_says)
{
        struct bot *bot = bot_open();

        ck_assert_int_eq(gram_async_import_string(bot->session, "1AbC", NULL, on_reply, bot), 0);
        puppet_expect(bot->puppet, "import_string(3, '1AbC', ...)");
        restart(bot);
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        puppet_does(bot->puppet, "import_string(9, '1AbC', {..., overwrite: false})",
                    "['dc_id', 'auth_key']");
        expect_log(bot, "disconnected reconnected ok");
        bot_end(bot);
}
END_TEST

START_TEST(a_close_that_was_lost_is_done)
{
        struct bot *bot = bot_open();

        ck_assert_int_eq(gram_async_close(bot->session, on_reply, bot), 0);
        puppet_expect(bot->puppet, "close(3)");
        puppet_drop(bot->puppet);
        expect_log(bot, "disconnected ok");
        /* Nothing calls for a connection any more. */
        ck_assert_int_eq(gram_timeout_ms(bot->client), -1);
        bot_end(bot);
}
END_TEST

START_TEST(a_close_behind_writes_waits_for_them)
{
        struct bot *bot = bot_open();

        write_peer(bot, 1);
        ck_assert_int_eq(gram_async_close(bot->session, on_reply, bot), 0);
        ck_assert_int_eq(gram_async_save(bot->session, on_reply, bot), GRAM_E_MISUSE);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        puppet_expect(bot->puppet, "close(3)");
        restart(bot);
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        puppet_does(bot->puppet, "update_peers(9, ...)", "nil");
        puppet_does(bot->puppet, "close(9)", "nil");
        expect_log(bot, "disconnected reconnected ok ok");
        bot_end(bot);
}
END_TEST

/* ---- opening ---- */

START_TEST(an_open_that_was_lost_is_repeated_as_it_was)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, on_open, bot), 0);
        puppet_greet(bot->puppet);
        puppet_expect(bot->puppet, "open('anna', {create: true, ...})");
        restart(bot);
        puppet_does(bot->puppet, "open('anna', {create: true, ...})", REOPENED);
        expect_log(bot, "disconnected reconnected ok");
        bot_end(bot);
}
END_TEST

START_TEST(an_exclusive_session_is_taken_again_exclusively)
{
        struct bot *bot = bot_new(0);
        struct gram_open_options options = { .mode = GRAM_EXCLUSIVE };

        ck_assert_int_eq(gram_async_open(bot->client, "anna", &options, on_open, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open('anna', {create: true, mode: 'exclusive', wait: 0})", OPENED);
        expect_log(bot, "ok");
        restart(bot);
        /* Waits for whoever has it: perhaps our own former connection, not noticed yet. */
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
        struct bot *bot = bot_new(1000); /* the patience for a busy session, too */
        struct gram_open_options options = { .mode = GRAM_EXCLUSIVE };

        ck_assert_int_eq(gram_async_open(bot->client, "anna", &options, on_open, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open(...)", OPENED);
        expect_log(bot, "ok");
        restart(bot);
        expect_log(bot, "disconnected reconnected");
        while (!gram_session_error(bot->session)) {
                uint32_t id = puppet_expect(bot->puppet,
                                            "open('anna', {create: false, mode: 'exclusive', wait: ...})");

                puppet_refuse(bot->puppet, id,
                              "['busy', 'taken', {holder: {pid: 5, uid: 0, client: 'other', host: 'h', "
                              "since: 1}}]");
                gram_process(bot->client);
        }
        expect_log(bot, "ended:busy");
        ck_assert_int_eq(gram_session_error(bot->session)->holder->pid, 5);
        ck_assert_int_eq(gram_async_save(bot->session, on_reply, bot), GRAM_E_BUSY);
        ck_assert_str_eq(gram_client_error(bot->client)->holder->client, "other");
        bot_end(bot);
}
END_TEST

/* The one who had the session comes first; the one who waited for it, a moment later. */
START_TEST(an_open_that_waited_lets_the_holder_come_back_first)
{
        struct bot *bot = bot_new(0);
        struct gram_open_options waiting = { .mode = GRAM_EXCLUSIVE, .wait_ms = 20000 };
        struct gram_open_options plain = { .mode = GRAM_SHARED };
        const char *wait;

        ck_assert_int_eq(gram_async_open(bot->client, "anna", &waiting, on_reply, bot), 0);
        ck_assert_int_eq(gram_async_open(bot->client, "berta", &plain, on_reply, bot), 0);
        puppet_greet(bot->puppet);
        puppet_expect(bot->puppet, "open('anna', {..., wait: ...})");
        puppet_expect(bot->puppet, "open('berta', {..., wait: 0})");
        restart(bot);
        puppet_does(bot->puppet, "open('berta', {..., wait: 0})", OPENED);
        expect_log(bot, "disconnected reconnected ok");
        ck_assert_int_gt(gram_timeout_ms(bot->client), 0);
        puppet_does(bot->puppet, "open('anna', {..., wait: ...})", REOPENED);
        wait = strstr(bot->puppet->text, "wait: ") + 6;
        ck_assert_int_lt(atoi(wait), 20000); /* what is left of it */
        expect_log(bot, "ok");
        bot_end(bot);
}
END_TEST

START_TEST(retries_while_the_backend_is_away)
{
        struct bot *bot = bot_open();

        write_peer(bot, 1);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        restart(bot);
        for (int i = 0; i < 3; i++)
                puppet_refuse(bot->puppet, puppet_expect(bot->puppet, OPEN_AGAIN),
                              "['unavailable', 'not now', nil]");
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        puppet_does(bot->puppet, "update_peers(9, ...)", "nil");
        expect_log(bot, "disconnected reconnected ok");
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

                write_peer(bot, 1);
                id = puppet_expect(bot->puppet, "update_peers(3, ...)");
                puppet_tell(bot->puppet, notice);
                puppet_refuse(bot->puppet, id, "['bad_session', 'no such handle', nil]");
                puppet_drop(bot->puppet);
                expect_log(bot, log);
                ck_assert_int_eq(gram_timeout_ms(bot->client), -1); /* does not come back by itself */
                ck_assert_int_eq(gram_async_save(bot->session, on_reply, bot), numbers[i]);
                ck_assert_str_eq(gram_client_error(bot->client)->message, "so it is");
                bot_end(bot);
        }
}
END_TEST

/* What the daemon said last is read, though the connection is already shut when the client wants to write. */
START_TEST(a_notice_before_the_end_of_the_connection_is_heard)
{
        struct bot *bot = bot_open();

        puppet_tell(bot->puppet, "['ended', [3, 'denied', 'disconnected by an operator']]");
        puppet_drop(bot->puppet);
        write_peer(bot, 1);
        expect_log(bot, "ended:denied denied disconnected");
        ck_assert_int_eq(gram_timeout_ms(bot->client), -1);
        bot_end(bot);
}
END_TEST

START_TEST(a_fenced_answer_ends_the_session)
{
        struct bot *bot = bot_open();

        write_peer(bot, 1);
        write_peer(bot, 2);
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, "update_peers(...)"),
                      "['fenced', 'another host', nil]");
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, "update_peers(...)"),
                      "['bad_session', '', nil]");
        expect_log(bot, "ended:fenced fenced fenced");
        bot_end(bot);
}
END_TEST

/* ---- watching ---- */

START_TEST(a_watch_is_set_again_and_everything_forgotten)
{
        struct bot *bot = bot_open();
        uint32_t watch;

        ck_assert_int_eq(gram_async_watch(bot->session, true, on_reply, bot), 0);
        puppet_does(bot->puppet, "watch(3, true)", "nil");
        puppet_tell(bot->puppet,
                    "['changed', [3, {peers: [4, 5], usernames: ['x'], phones: [], fields: ['dc_id', 'new'], "
                    "states: [1], all: false}]]");
        puppet_tell(bot->puppet, "['changed', [3, {peers: 'what'}]]");
        puppet_tell(bot->puppet, "['changed', [77, {all: true}]]");
        expect_log(bot, "ok changed:2 changed:all");
        restart(bot);
        ck_assert_int_eq(gram_async_get_states(bot->session, NULL, 0, on_reply, bot), 0);
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        watch = puppet_expect(bot->puppet, "watch(9, true)"); /* before what the program asks */
        puppet_does(bot->puppet, "get_states(9)", "[]");
        expect_log(bot, "disconnected reconnected ok");
        puppet_answer(bot->puppet, watch, "nil");
        expect_log(bot, "changed:all");

        ck_assert_int_eq(gram_async_watch(bot->session, false, on_reply, bot), 0);
        puppet_does(bot->puppet, "watch(9, false)", "nil");
        expect_log(bot, "ok");
        restart(bot);
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        expect_log(bot, "disconnected reconnected");
        puppet_expect_nothing(bot->puppet);
        bot_end(bot);
}
END_TEST

START_TEST(a_monitor_is_set_again)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_monitor(bot->client, true, on_reply, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "monitor(true)", "nil");
        restart(bot);
        puppet_does(bot->puppet, "monitor(true)", "nil");
        puppet_tell(bot->puppet, "['request', [{time: 1.5, client: 'bot', method: 'ping', session: nil, "
                                 "microseconds: 7, error: nil}]]");
        expect_log(bot, "ok disconnected reconnected request:ping");
        bot_end(bot);
}
END_TEST

/* ---- the lease ---- */

START_TEST(renews_a_lease_and_tells_when_it_is_over)
{
        struct bot *bot = bot_new(0);

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, on_open, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open(...)",
                    "{session: 3, created: true, backend: 'mongo', dialect: 'mongo', version: 1, fence: 4}");
        puppet_does(bot->puppet, "lease(3)", "1800");
        puppet_does(bot->puppet, "lease(3)", "1800"); /* a third of it later */
        expect_log(bot, "ok");
        puppet_refuse(bot->puppet, puppet_expect(bot->puppet, "lease(3)"), "['unavailable', 'no', nil]");
        puppet_expect(bot->puppet, "lease(3)");
        ck_assert_int_gt(gram_session_lease_ms(bot->session), 0);
        puppet_drop(bot->puppet);
        expect_log(bot, "disconnected lease-lost"); /* also when there is nobody to ask */
        ck_assert_int_eq(gram_session_lease_ms(bot->session), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open(...)",
                    "{session: 3, created: false, backend: 'mongo', dialect: 'mongo', version: 1, fence: 5}");
        puppet_does(bot->puppet, "lease(3)", "100000");
        expect_log(bot, "reconnected");
        while (gram_session_lease_ms(bot->session) == 0)
                gram_process(bot->client);
        bot_end(bot);
}
END_TEST

/* ---- timeouts ---- */

START_TEST(gives_up_in_time)
{
        struct bot *bot = bot_open();
        uint32_t id;

        gram_client_set_timeout(bot->client, 300);
        write_peer(bot, 1);
        id = puppet_expect(bot->puppet, "update_peers(3, [[1, ...]])");
        expect_log(bot, "timeout");
        puppet_answer(bot->puppet, id, "nil"); /* late: nobody hears of it */
        gram_client_set_timeout(bot->client, 0);
        write_peer(bot, 2);
        puppet_does(bot->puppet, "update_peers(3, [[2, ...]])", "nil");
        expect_log(bot, "ok");
        gram_client_set_timeout(bot->client, 300);
        write_peer(bot, 3);
        puppet_expect(bot->puppet, "update_peers(3, [[3, ...]])");
        puppet_silence(bot->puppet);
        expect_log(bot, "disconnected unreachable");
        puppet_listen(bot->puppet);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        expect_log(bot, "reconnected");
        puppet_expect_nothing(
                bot->puppet); /* the program has been told: it is not repeated behind its back */
        bot_end(bot);
}
END_TEST

START_TEST(an_open_answered_too_late_is_closed)
{
        struct bot *bot = bot_new(300);
        uint32_t id;

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, on_open, bot), 0);
        puppet_greet(bot->puppet);
        id = puppet_expect(bot->puppet, "open(...)");
        expect_log(bot, "timeout");
        puppet_answer(bot->puppet, id, OPENED);
        puppet_does(bot->puppet, "close(3)", "nil");
        bot_end(bot);
}
END_TEST

START_TEST(a_close_that_runs_out_of_time_frees_the_session)
{
        struct bot *bot = bot_open();

        gram_client_set_timeout(bot->client, 300);
        ck_assert_int_eq(gram_async_close(bot->session, on_reply, bot), 0);
        puppet_expect(bot->puppet, "close(3)");
        expect_log(bot, "timeout");
        puppet_drop(bot->puppet);
        expect_log(bot, "disconnected");
        bot_end(bot);
}
END_TEST

/* ---- flow ---- */

START_TEST(holds_back_what_the_daemon_would_not_take)
{
        struct bot *bot = bot_new(0);
        uint32_t ids[4];

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, on_open, bot), 0);
        puppet_greet_as(bot->puppet, "{server: 'gramd', version: '1', protocol: 1, max_in_flight: 4}");
        puppet_does(bot->puppet, "open(...)", OPENED);
        expect_log(bot, "ok");
        for (int64_t id = 1; id <= 6; id++)
                write_peer(bot, id);
        ck_assert_uint_eq(gram_pending(bot->client), 6);
        for (int i = 0; i < 4; i++)
                ids[i] = puppet_expect(bot->puppet, "update_peers(...)");
        puppet_expect_nothing(bot->puppet);
        puppet_answer(bot->puppet, ids[1], "nil");
        puppet_expect(bot->puppet, "update_peers(3, [[5, ...]])");
        puppet_expect_nothing(bot->puppet);
        puppet_answer(bot->puppet, ids[0], "nil");
        puppet_expect(bot->puppet, "update_peers(3, [[6, ...]])");
        expect_log(bot, "ok ok");
        /* Another daemon, another limit. */
        puppet_drop(bot->puppet);
        puppet_greet_as(bot->puppet, "{server: 'gramd', version: '1', protocol: 1, max_in_flight: 300}");
        puppet_does(bot->puppet, OPEN_AGAIN, REOPENED);
        for (int64_t id = 7; id <= 400; id++)
                write_peer(bot, id);
        for (int i = 0; i < 300; i++)
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

        write_peer(bot, 1);
        puppet_expect(bot->puppet, "update_peers(3, ...)");
        write_peer(bot, 2);
        ck_assert_int_eq(gram_async_ping(bot->client, on_reply, bot), 0);
        ck_assert_int_eq(gram_async_open(bot->client, "b", NULL, on_reply, bot), 0);
        gram_client_free(bot->client);
        ck_assert_str_eq(bot->log, "cancelled cancelled cancelled cancelled");
        puppet_end(&bot->puppet);
        free(bot);
}
END_TEST

static void on_reply_frees(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        on_reply(arg, reply);
        ck_assert_int_eq(gram_ping(bot->client), GRAM_E_MISUSE); /* no waiting inside a callback */
        gram_client_free(bot->client);
        ck_assert_int_eq(gram_async_ping(bot->client, on_reply, bot), GRAM_E_CANCELLED);
        bot->puppet->pump = NULL;
}

START_TEST(may_be_freed_in_a_callback)
{
        struct bot *bot = bot_open();

        ck_assert_int_eq(gram_async_save(bot->session, on_reply_frees, bot), 0);
        write_peer(bot, 2);
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

/* Also under a blocking call, which then says so. */
START_TEST(may_be_freed_under_a_blocking_call)
{
        struct bot bot = { .puppet = puppet_new() };

        bot.client = gram_client_new(&(struct gram_options){
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

        on_reply(arg, reply);
        if (strlen(bot->log) < 8)
                ck_assert_int_eq(gram_async_save(bot->session, on_reply_asks_more, bot), 0);
        else
                ck_assert_int_eq(gram_async_close(bot->session, on_reply, bot), 0);
}

START_TEST(callbacks_may_ask_for_more)
{
        struct bot *bot = bot_open();

        ck_assert_int_eq(gram_async_save(bot->session, on_reply_asks_more, bot), 0);
        for (int i = 0; i < 3; i++)
                puppet_does(bot->puppet, "save(3)", "nil");
        puppet_does(bot->puppet, "close(3)", "nil");
        expect_log(bot, "ok ok ok ok");
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
                                        renews_a_lease_and_tells_when_it_is_over,
                                        gives_up_in_time,
                                        an_open_answered_too_late_is_closed,
                                        a_close_that_runs_out_of_time_frees_the_session,
                                        holds_back_what_the_daemon_would_not_take,
                                        pipelines_more_than_the_socket_takes,
                                        freeing_cancels,
                                        may_be_freed_in_a_callback,
                                        may_be_freed_under_a_blocking_call,
                                        callbacks_may_ask_for_more,
                                        NULL });
}
