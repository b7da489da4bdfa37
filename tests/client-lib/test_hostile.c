/*
 * libgram with a daemon that breaks the protocol: whatever the socket brings, the program gets an error,
 * memory stays bounded, and the next connection works.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../support/client.h"
#include "../support/program.h"
#include "../support/puppet.h"

#define OPENED "{session: 3, created: true, backend: 'file', dialect: 'pyrogram', version: 3, fence: 0}"

struct outcome {
        bool done;
        int code;
        struct gram_session *session;
};

static void on_reply(void *arg, struct gram_reply *reply)
{
        struct outcome *outcome = arg;

        outcome->done = true;
        outcome->code = reply->error ? reply->error->code : 0;
}

static void on_open(void *arg, struct gram_reply *reply)
{
        struct outcome *outcome = arg;

        on_reply(arg, reply);
        outcome->session = reply->error ? NULL : reply->session;
}

static struct gram_client *connected(struct puppet *puppet)
{
        struct gram_client *client = test_client_new(&(struct gram_options){ .socket = puppet->socket });

        puppet->pump = client;
        return client;
}

/* Opens a session on puppet->pump. */
static struct gram_session *opened(struct puppet *puppet)
{
        struct outcome outcome = { 0 };

        ck_assert_int_eq(gram_async_open(puppet->pump, "anna", NULL, on_open, &outcome), 0);
        puppet_greet(puppet);
        puppet_does(puppet, "open(...)", OPENED);
        puppet_until(puppet, &outcome.done);
        return outcome.session;
}

/*
 * These bytes are no message: the connection ends, unanswered requests fail, and the next connection works.
 */
static void expect_broken(const void *bytes, size_t len)
{
        PUPPET puppet = puppet_new();
        struct gram_client *client = connected(puppet);
        struct outcome outcome = { 0 }, next = { 0 };

        ck_assert_int_eq(gram_async_stats(client, on_reply, &outcome), 0);
        puppet_greet(puppet);
        puppet_expect(puppet, "stats()");
        test_breaks_connections();
        puppet_raw(puppet, bytes, len);
        puppet_until(puppet, &outcome.done);
        ck_assert_int_eq(outcome.code, GRAM_E_PROTOCOL);
        puppet_expect_closed(puppet);
        ck_assert_int_eq(gram_async_stats(client, on_reply, &next), 0);
        puppet_greet(puppet);
        puppet_does(puppet, "stats()", "{}");
        puppet_until(puppet, &next.done);
        ck_assert_int_eq(next.code, 0);
        gram_client_free(client);
}

START_TEST(drops_a_daemon_that_talks_nonsense)
{
#define CASE(bytes)                                                                                          \
        {                                                                                                    \
                bytes, sizeof(bytes) - 1                                                                     \
        }
        static const struct {
                const char *bytes;
                size_t len;
        } cases[] = {
                CASE("HTTP/1.1 400 Bad Request\r\n"),
                CASE("\xc1"),
                CASE("\x90"),                                 /* an empty array */
                CASE("\x94\x00\x01\xa4ping\x90"),             /* a request */
                CASE("\x93\x01\x01\xc0"),                     /* too short */
                CASE("\x94\x01\xff\xc0\xc0"),                 /* a negative id */
                CASE("\x94\x01\x01\xc0\xdd\xff\xff\xff\xff"), /* an array of 4 billion */
                CASE("\x94\x01\x01\xc0\xdf\xff\xff\xff\xff"), /* a map of as many */
                CASE("\x94\x01\x01\xc0\xdb\xff\xff\xff\xff"), /* a text of 4 GB */
                CASE("\xdd\x0d\x69\x3a\x40"),                 /* 225 million elements */
                CASE("\x94\x01\x01\xc0\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\xc0"), /* too deep */
                CASE("\x94\x01\x00\xc0\xc0"), /* an answer to no request, and no error */
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
                expect_broken(cases[i].bytes, cases[i].len);
}
END_TEST

/* A well-formed message with a wrong result fails the request, not the connection. */
START_TEST(refuses_results_of_the_wrong_type)
{
        static const char *const results[] = {
                "nil",
                "7",
                "'text'",
                "[1]",
                "[[]]",
                "[[1, 2, 3]]",
                "[{}]",
                "{a: 'b'}",
                "[[1, 2, 'user']]",
                "[nil, nil, nil]",
                "[[1, 2, 'user', 7, 'b', 0]]",
                "{backends: 3}",
                "h'00'",
                "[1..900]",
                "{'\xff': 1}",
        };
        PUPPET puppet = puppet_new();
        struct gram_client *client = connected(puppet);
        struct gram_session *session = opened(puppet);
        static const int64_t ids[] = { 1, 2 };

        for (size_t i = 0; i < sizeof(results) / sizeof(*results); i++) {
                struct outcome outcomes[8] = { 0 };

                gram_async_get_peers(session, ids, 2, on_reply, &outcomes[0]);
                gram_async_get_peer_by_id(session, 1, on_reply, &outcomes[1]);
                gram_async_scan_usernames(session, NULL, 0, 5, on_reply, &outcomes[2]);
                gram_async_get_states(session, NULL, 0, on_reply, &outcomes[3]);
                gram_async_get(session, GRAM_AUTH_KEY | GRAM_SERVER_ADDRESS | GRAM_IS_BOT, on_reply,
                               &outcomes[4]);
                gram_async_clients(client, on_reply, &outcomes[5]);
                gram_async_stats(client, on_reply, &outcomes[6]);
                gram_async_ping(client, on_reply, &outcomes[7]);
                for (int k = 0; k < 8; k++)
                        puppet_does(puppet, "...", results[i]);
                for (int k = 0; k < 8; k++)
                        puppet_until(puppet, &outcomes[k].done);
                for (int k = 0; k < 5; k++) {
                        if (strcmp(results[i], "[nil, nil, nil]") != 0 || k != 4)
                                ck_assert_msg(outcomes[k].code == GRAM_E_PROTOCOL, "%d takes %s", k,
                                              results[i]);
                }
                ck_assert_int_eq(outcomes[7].code, GRAM_E_PROTOCOL);
        }
        gram_client_free(client);
}
END_TEST

START_TEST(answers_nobody_asked_for_are_passed_over)
{
        PUPPET puppet = puppet_new();
        struct gram_client *client = connected(puppet);
        struct outcome outcome = { 0 };
        uint32_t id;

        ck_assert_int_eq(gram_async_stats(client, on_reply, &outcome), 0);
        puppet_greet(puppet);
        id = puppet_expect(puppet, "stats()");
        puppet_answer(puppet, 4000000000u, "nil");
        puppet_answer(puppet, id + 1, "nil");
        puppet_answer(puppet, id + (1u << 20), "nil"); /* in the same chain */
        puppet_tell(puppet, "['news', [1, 2]]");
        puppet_tell(puppet, "['changed', []]");
        puppet_tell(puppet, "['ended', [7, 'denied', 'no such handle']]");
        puppet_tell(puppet, "['ended', ['x', 1]]");
        puppet_tell(puppet, "['request', [5]]");
        puppet_answer(puppet, id, "{}");
        puppet_answer(puppet, id, "{}"); /* twice */
        puppet_until(puppet, &outcome.done);
        ck_assert_int_eq(outcome.code, 0);
        gram_client_free(client);
}
END_TEST

/* A request that is left when its session's `close` is answered will not be answered any more. */
START_TEST(a_close_that_is_answered_first_ends_the_others)
{
        PUPPET puppet = puppet_new();
        struct gram_client *client = connected(puppet);
        struct gram_session *session = opened(puppet);
        struct outcome saved = { 0 }, closed = { 0 };

        ck_assert_int_eq(gram_async_save(session, on_reply, &saved), 0);
        ck_assert_int_eq(gram_async_close(session, on_reply, &closed), 0);
        puppet_expect(puppet, "save(...)");
        puppet_does(puppet, "close(...)", "nil");
        puppet_until(puppet, &closed.done);
        ck_assert_int_eq(closed.code, 0);
        puppet_until(puppet, &saved.done);
        ck_assert_int_eq(saved.code, GRAM_E_UNAVAILABLE);
        ck_assert_uint_eq(gram_pending(client), 0);
        gram_client_free(client);
}
END_TEST

START_TEST(refuses_an_impossible_handle)
{
        static const char *const handles[] = { "-1", "0", "4294967296", "'x'" };

        for (size_t i = 0; i < 4; i++) {
                PUPPET puppet = puppet_new();
                struct gram_client *client = connected(puppet);
                struct outcome outcome = { 0 };
                TEST_FREED char *result = test_format("{session: %s, created: true, fence: 0}", handles[i]);

                gram_client_set_timeout(client, 200);
                ck_assert_int_eq(gram_async_open(client, "anna", NULL, on_open, &outcome), 0);
                while (!outcome.done) {
                        puppet_greet(puppet);
                        test_breaks_connections();
                        puppet_does(puppet, "open(...)", result);
                        if (i == 3)
                                puppet_until(puppet, &outcome.done);
                        else
                                puppet_expect_closed(puppet);
                        gram_process(client);
                }
                ck_assert_int_lt(outcome.code, 0);
                gram_client_free(client);
        }
}
END_TEST

/* Notes which session has changed. */
static void on_changed(void *arg, const struct gram_event *event)
{
        struct gram_session **changed = arg;

        if (event->type == GRAM_EVENT_CHANGED)
                *changed = event->session;
}

/* Older daemons give handles above 2^20 after a session has been closed. */
START_TEST(takes_any_handle_of_32_bits)
{
        static const char *const handles[] = { "1", "257", "1048577", "4294967295" };
        PUPPET puppet = puppet_new();
        struct gram_session *changed = NULL, *sessions[4];
        struct gram_client *client = puppet->pump = test_client_new(&(struct gram_options){
                .socket = puppet->socket, .on_event = on_changed, .event_arg = &changed });

        for (int i = 0; i < 4; i++) {
                TEST_FREED char *result = test_format("{session: %s, created: true, fence: 0}", handles[i]);
                struct outcome outcome = { 0 };

                ck_assert_int_eq(gram_async_open(client, handles[i], NULL, on_open, &outcome), 0);
                if (i == 0)
                        puppet_greet(puppet);
                puppet_does(puppet, "open(...)", result);
                puppet_until(puppet, &outcome.done);
                sessions[i] = outcome.session;
        }
        for (int i = 0; i < 4; i++) {
                TEST_FREED char *save = test_format("save(%s)", handles[i]);
                TEST_FREED char *close = test_format("close(%s)", handles[i]);
                TEST_FREED char *notice = test_format("['changed', [%s, {all: true}]]", handles[i]);
                struct outcome saved = { 0 }, closed = { 0 };

                ck_assert_int_eq(gram_async_save(sessions[i], on_reply, &saved), 0);
                puppet_tell(puppet, notice);
                puppet_does(puppet, save, "nil");
                puppet_until(puppet, &saved.done);
                ck_assert_ptr_eq(changed, sessions[i]);
                ck_assert_int_eq(gram_async_close(sessions[i], on_reply, &closed), 0);
                puppet_does(puppet, close, "nil");
                puppet_until(puppet, &closed.done);
                puppet_tell(puppet, notice); /* of a handle that is gone */
        }
        gram_process(client);
        ck_assert_ptr_eq(changed, sessions[3]);
        gram_client_free(client);
}
END_TEST

START_TEST(a_daemon_of_another_protocol_is_refused)
{
        PUPPET puppet = puppet_new();
        struct gram_client *client = connected(puppet);
        struct outcome outcome = { 0 };

        ck_assert_int_eq(gram_async_stats(client, on_reply, &outcome), 0);
        puppet_greet_as(puppet, "{server: 'gramd', version: '3', protocol: 2}");
        puppet_until(puppet, &outcome.done);
        ck_assert_int_eq(outcome.code, GRAM_E_PROTOCOL);
        gram_client_free(client);
}
END_TEST

/* A daemon that refuses a connection says why, with id 0, before it closes. */
START_TEST(hears_why_it_is_refused)
{
        PUPPET puppet = puppet_new();
        struct gram_client *client = connected(puppet);
        struct outcome outcome = { 0 }, later = { 0 };

        ck_assert_int_eq(gram_async_stats(client, on_reply, &outcome), 0);
        puppet_accept(puppet);
        puppet_refuse(puppet, 0, "['denied', 'not you', nil]");
        puppet_until(puppet, &outcome.done);
        puppet_drop(puppet);
        ck_assert_int_eq(outcome.code, GRAM_E_DENIED);
        /* Too many clients: the client tries again. */
        ck_assert_int_eq(gram_async_stats(client, on_reply, &later), 0);
        puppet_accept(puppet);
        puppet_expect(puppet, "hello(...)");
        puppet_refuse(puppet, 0, "['overloaded', 'too many clients', nil]");
        puppet_drop(puppet);
        puppet_greet(puppet);
        puppet_does(puppet, "stats()", "{}");
        puppet_until(puppet, &later.done);
        ck_assert_int_eq(later.code, 0);
        gram_client_free(client);
}
END_TEST

/* One byte at a time. */
START_TEST(reads_answers_in_any_pieces)
{
        static const char answer[] = "\x94\x01\xce\x00\x00\x00\x00\xc0\x81\xa1x\x01";
        PUPPET puppet = puppet_new();
        struct gram_client *client = connected(puppet);
        struct outcome outcome = { 0 };
        char bytes[sizeof(answer)];
        uint32_t id;

        ck_assert_int_eq(gram_async_stats(client, on_reply, &outcome), 0);
        puppet_greet(puppet);
        id = puppet_expect(puppet, "stats()");
        memcpy(bytes, answer, sizeof(answer));
        for (int i = 0; i < 4; i++)
                bytes[3 + i] = (char)(id >> (24 - 8 * i));
        for (size_t i = 0; i < sizeof(answer) - 1; i++) {
                ck_assert(!outcome.done);
                puppet_raw(puppet, bytes + i, 1);
                gram_process(client);
        }
        puppet_until(puppet, &outcome.done);
        ck_assert_int_eq(outcome.code, 0);
        gram_client_free(client);
}
END_TEST

static uint32_t random_next(uint32_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        return *state;
}

/* Answers with bytes changed at random: the client survives them, and a new connection works. */
START_TEST(survives_damaged_answers)
{
        static const char answer[] = "\x94\x01\xce\x00\x00\x00\x00\xc0\x92\x96\x07\x46\xa4user\xa4"
                                     "anna\xc0\xce\x65\x53\xf1\x00\x96\x08\xc0\xa3"
                                     "bot\xc0\xa3+12\x05";
        static const int64_t ids[] = { 7, 8 };
        uint32_t state = 20261121;

        for (int round = 0; round < 300; round++) {
                PUPPET puppet = puppet_new();
                struct gram_client *client = connected(puppet);
                struct gram_session *session = opened(puppet);
                struct outcome outcome = { 0 };
                char bytes[sizeof(answer)];
                uint32_t id;

                ck_assert_int_eq(gram_async_get_peers(session, ids, 2, on_reply, &outcome), 0);
                id = puppet_expect(puppet, "get_peers(...)");
                memcpy(bytes, answer, sizeof(answer));
                for (int i = 0; i < 4; i++)
                        bytes[3 + i] = (char)(id >> (24 - 8 * i));
                for (uint32_t n = random_next(&state) % 4; n; n--)
                        bytes[random_next(&state) % (sizeof(answer) - 1)] = (char)random_next(&state);
                puppet_raw(puppet, bytes, sizeof(answer) - 1);
                puppet_drop(puppet);
                puppet_greet(puppet);
                puppet_does(puppet, "open(...)", OPENED);
                if (!outcome.done)
                        puppet_does(puppet, "get_peers(...)", "[nil, nil]");
                puppet_until(puppet, &outcome.done);
                gram_client_free(client);
        }
}
END_TEST

int main(void)
{
        return test_program(
                "client-lib/hostile",
                (const TTest *const[]){ drops_a_daemon_that_talks_nonsense, refuses_results_of_the_wrong_type,
                                        answers_nobody_asked_for_are_passed_over,
                                        a_close_that_is_answered_first_ends_the_others,
                                        refuses_an_impossible_handle, takes_any_handle_of_32_bits,
                                        a_daemon_of_another_protocol_is_refused, hears_why_it_is_refused,
                                        reads_answers_in_any_pieces, survives_damaged_answers, NULL });
}
