/*
 * Tracked caching, seen by a puppet: which questions are answered without the daemon, which are not, and how
 * much is remembered.
 */
#include <stdio.h>
#include <string.h>

#include "../support/cached.h"
#include "../support/program.h"

/* ---- hits ---- */

START_TEST(answers_what_was_asked_before)
{
        struct cached *cached = cached_new(0);

        cached_expect_asked(cached, BY_ID, "7", CACHED_ANNA_ROW);
        cached_expect_hit(cached, BY_ID, "7", CACHED_ANNA);
        cached_expect_hit(cached, BY_ID, "7", CACHED_ANNA);
        /* The daemon chooses the peer of a name or number, so each is asked for once. */
        cached_expect_asked(cached, BY_NAME, "anna", CACHED_ANNA_ROW);
        cached_expect_hit(cached, BY_NAME, "anna", CACHED_ANNA);
        cached_expect_asked(cached, BY_PHONE, "49", CACHED_ANNA_ROW);
        cached_expect_hit(cached, BY_PHONE, "49", CACHED_ANNA);
        cached_expect_hit(cached, BY_NAME, "anna", CACHED_ANNA);
        cached_expect_asked(cached, BY_ID, "8", "[8, nil, 'cached', nil, nil, NOW]");
        cached_expect_hit(cached, BY_ID, "8", "8 0 cached - -");
        cached_end(cached);
}
END_TEST

START_TEST(learns_from_lists)
{
        struct cached *cached = cached_new(0);
        static const int64_t ids[] = { 7, 8 };

        ck_assert_int_eq(gram_async_get_peers(cached->session, ids, 2, cached_replied, cached), 0);
        puppet_does(cached->puppet, "get_peers(...)", "[[7, 70, 'user', 'anna', '49', 5], nil]");
        cached_done(cached);
        cached_expect_hit(cached, BY_ID, "7", CACHED_ANNA);
        cached_expect_asked(cached, BY_ID, "8", "[8, nil, 'cached', nil, nil, NOW]");
        cached_end(cached);
}
END_TEST

START_TEST(never_remembers_that_something_is_missing)
{
        struct cached *cached = cached_new(0);

        for (int i = 0; i < 2; i++) {
                cached_ask(cached, BY_ID, "9");
                puppet_refuse(cached->puppet, puppet_expect(cached->puppet, "get_peer_by_id(3, 9)"),
                              "['not_found', '', nil]");
                cached_done(cached);
                ck_assert_int_eq(cached->code, GRAM_E_NOT_FOUND);
        }
        cached_end(cached);
}
END_TEST

START_TEST(asks_before_it_calls_a_record_expired)
{
        struct cached *cached = cached_new(0);

        cached_expect_asked(cached, BY_NAME, "anna", "[7, 70, 'user', 'anna', '49', 1700000000]");
        cached_expect_asked(cached, BY_NAME, "anna", "[7, 70, 'user', 'anna', '49', -9223372036854775808]");
        cached_expect_asked(cached, BY_NAME, "anna", CACHED_ANNA_ROW); /* the daemon knows a newer time */
        cached_expect_hit(cached, BY_NAME, "anna", CACHED_ANNA);
        cached_expect_hit(cached, BY_ID, "7", CACHED_ANNA);
        cached_end(cached);
}
END_TEST

/* A name in the usernames table has an age of its own, which no answer tells. */
START_TEST(does_not_remember_a_name_that_is_not_the_peers_own)
{
        struct cached *cached = cached_new(0);

        cached_expect_asked(cached, BY_NAME, "other", CACHED_ANNA_ROW);
        cached_expect_asked(cached, BY_NAME, "other", CACHED_ANNA_ROW);
        cached_end(cached);
}
END_TEST

/* ---- identity ---- */

static void on_identity(void *arg, struct gram_reply *reply)
{
        struct cached *cached = arg;

        cached_replied(arg, reply);
        if (!reply->error)
                snprintf(cached->result, sizeof(cached->result), "%lld %lld %u %u %s",
                         (long long)reply->identity->api_id, (long long)reply->identity->user_id,
                         reply->identity->fields, reply->identity->nil, reply->identity->server_address);
}

static void ask_identity(struct cached *cached, unsigned fields)
{
        cached->result[0] = '\0';
        ck_assert_int_eq(gram_async_get(cached->session, fields, on_identity, cached), 0);
}

START_TEST(remembers_the_identity_but_not_its_key)
{
        struct cached *cached = cached_new(0);
        struct gram_identity change = { .fields = GRAM_API_ID, .api_id = 9 };
        TEST_FREED char *both = test_format("17 4711 %u 0 ", GRAM_API_ID | GRAM_USER_ID);
        TEST_FREED char *address = test_format("0 4711 %u %u 1.2.3.4",
                                               GRAM_USER_ID | GRAM_SERVER_ADDRESS | GRAM_PORT, GRAM_PORT);

        ask_identity(cached, GRAM_API_ID | GRAM_USER_ID);
        puppet_does(cached->puppet, "get(3, ['api_id', 'user_id'])", "[17, 4711]");
        cached_done(cached);
        ask_identity(cached, GRAM_API_ID | GRAM_USER_ID);
        cached_done(cached);
        ck_assert_str_eq(cached->result, both);
        ask_identity(cached, GRAM_PORT | GRAM_SERVER_ADDRESS);
        puppet_does(cached->puppet, "get(3, ['server_address', 'port'])", "['1.2.3.4', nil]");
        cached_done(cached);
        ask_identity(cached, GRAM_USER_ID | GRAM_SERVER_ADDRESS | GRAM_PORT);
        cached_done(cached);
        ck_assert_str_eq(strchr(cached->result, ' '), strchr(address, ' '));
        for (int i = 0; i < 2; i++) {
                ask_identity(cached, GRAM_AUTH_KEY);
                puppet_does(cached->puppet, "get(3, ['auth_key'])", "[h'07'*256]");
                cached_done(cached);
        }
        ck_assert_int_eq(gram_async_set(cached->session, &change, cached_replied, cached), 0);
        puppet_does(cached->puppet, "set(...)", "nil");
        cached_done(cached);
        ask_identity(cached, GRAM_API_ID | GRAM_USER_ID);
        puppet_does(cached->puppet, "get(3, ['api_id', 'user_id'])", "[9, 4711]");
        cached_done(cached);
        cached_tell(cached,
                    "['changed', [3, {peers: [], usernames: [], phones: [], fields: ['api_id'], states: [], "
                    "all: false}]]");
        ask_identity(cached, GRAM_API_ID);
        puppet_does(cached->puppet, "get(3, ['api_id'])", "[10]");
        cached_done(cached);
        cached_end(cached);
}
END_TEST

/* ---- bound ---- */

START_TEST(is_bounded)
{
        struct cached *cached = cached_new(4096);

        cached_expect_asked(cached, BY_ID, "1", "[1, 70, 'user', 'anna', '49', NOW]");
        for (int i = 2; i < 60; i++) {
                TEST_FREED char *id = test_format("%d", i);
                TEST_FREED char *row = test_format("[%d, 70, 'user', 'name%d', nil, NOW]", i, i);

                cached_expect_asked(cached, BY_ID, id, row);
                cached_expect_hit(cached, BY_ID, "1", "1 70 user anna 49"); /* used, so it stays */
        }
        cached_expect_hit(cached, BY_ID, "59", "59 70 user name59 -");
        cached_expect_asked(cached, BY_ID, "2", "[2, 70, 'user', nil, nil, NOW]");
        cached_end(cached);
}
END_TEST

int main(void)
{
        return test_program("client-lib/cache_hits",
                            (const TTest *const[]){ answers_what_was_asked_before, learns_from_lists,
                                                    never_remembers_that_something_is_missing,
                                                    asks_before_it_calls_a_record_expired,
                                                    does_not_remember_a_name_that_is_not_the_peers_own,
                                                    remembers_the_identity_but_not_its_key, is_bounded,
                                                    NULL });
}
