/*
 * Tracked caching: what is answered without the daemon, and above all what is not. The puppet sees each
 * question; the real daemon at the end is asked by a cached and an uncached client side by side.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../support/client.h"
#include "../support/daemon.h"
#include "../support/program.h"
#include "../support/puppet.h"

#define OPENED "{session: 3, created: true, backend: 'file', dialect: 'pyrogram', version: 3, fence: 0}"

struct bot {
        struct puppet *puppet;
        struct gram_client *client;
        struct gram_session *session;
        bool done;
        int code;
        char result[512];
        long long now; /* a fresh last_update_on */
};

static void on_reply(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        bot->done = true;
        bot->code = reply->error ? reply->error->code : 0;
}

static void on_open(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        bot->session = reply->session;
        on_reply(arg, reply);
}

static void on_peer(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        on_reply(arg, reply);
        if (!reply->error)
                snprintf(bot->result, sizeof(bot->result), "%lld %lld %s %s %s", (long long)reply->peer->id,
                         (long long)reply->peer->access_hash, reply->peer->type,
                         reply->peer->username ? reply->peer->username : "-",
                         reply->peer->phone_number ? reply->peer->phone_number : "-");
}

static void on_identity(void *arg, struct gram_reply *reply)
{
        struct bot *bot = arg;

        on_reply(arg, reply);
        if (!reply->error)
                snprintf(bot->result, sizeof(bot->result), "%lld %lld %u %u %s",
                         (long long)reply->identity->api_id, (long long)reply->identity->user_id,
                         reply->identity->fields, reply->identity->nil, reply->identity->server_address);
}

static void done(struct bot *bot)
{
        puppet_until(bot->puppet, &bot->done);
        bot->done = false;
}

static struct bot *bot_new(size_t max_bytes)
{
        struct bot *bot = calloc(1, sizeof(*bot));

        bot->now = time(NULL);
        bot->puppet = puppet_new();
        bot->client = test_client_new(&(struct gram_options){ .socket = bot->puppet->socket });
        bot->puppet->pump = bot->client;
        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, on_open, bot), 0);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open(...)", OPENED);
        done(bot);
        ck_assert_int_eq(gram_async_cache_enable(bot->session, max_bytes, on_reply, bot), 0);
        puppet_does(bot->puppet, "watch(3, true)", "nil");
        done(bot);
        return bot;
}

static void bot_end(struct bot *bot)
{
        gram_client_free(bot->client);
        puppet_end(&bot->puppet);
        free(bot);
}

enum by { BY_ID, BY_NAME, BY_PHONE };

static void ask(struct bot *bot, enum by by, const char *what)
{
        int error = GRAM_E_BAD_REQUEST;

        bot->result[0] = '\0';
        switch (by) {
        case BY_ID: error = gram_async_get_peer_by_id(bot->session, atoll(what), on_peer, bot); break;
        case BY_NAME:
                error = gram_async_get_peer_by_username(bot->session, what, GRAM_MAX_AGE_DEFAULT_S, on_peer,
                                                        bot);
                break;
        case BY_PHONE: error = gram_async_get_peer_by_phone_number(bot->session, what, on_peer, bot); break;
        }
        ck_assert_int_eq(error, 0);
}

/* The daemon is asked, and answers with this row; `%lld` in it is now. */
static void expect_asked(struct bot *bot, enum by by, const char *what, const char *row)
{
        static const char *const methods[] = { "get_peer_by_id(3, ...)", "get_peer_by_username(3, ...)",
                                               "get_peer_by_phone_number(3, ...)" };
        const char *at = strstr(row, "NOW");
        TEST_FREED char *result = at ? test_format("%.*s%lld%s", (int)(at - row), row, bot->now, at + 3)
                                     : test_format("%s", row);

        ask(bot, by, what);
        puppet_does(bot->puppet, methods[by], result);
        done(bot);
}

static void expect_hit(struct bot *bot, enum by by, const char *what, const char *result)
{
        ask(bot, by, what);
        done(bot);
        ck_assert_str_eq(bot->result, result);
        puppet_expect_nothing(bot->puppet);
}

static void tell(struct bot *bot, const char *notification)
{
        puppet_tell(bot->puppet, notification);
        gram_process(bot->client);
}

static void write_peer(struct bot *bot, const struct gram_peer *peer)
{
        ck_assert_int_eq(gram_async_update_peers(bot->session, peer, 1, on_reply, bot), 0);
        puppet_does(bot->puppet, "update_peers(...)", "nil");
        done(bot);
}

#define ANNA_ROW "[7, 70, 'user', 'anna', '49', NOW]"
#define ANNA "7 70 user anna 49"

static const struct gram_peer anna = { .id = 7,
                                       .has_access_hash = true,
                                       .access_hash = 70,
                                       .type = "user",
                                       .username = "anna",
                                       .phone_number = "49" };

/* ---- hits ---- */

START_TEST(answers_what_was_asked_before)
{
        struct bot *bot = bot_new(0);

        expect_asked(bot, BY_ID, "7", ANNA_ROW);
        expect_hit(bot, BY_ID, "7", ANNA);
        expect_hit(bot, BY_ID, "7", ANNA);
        /* By name and by number the daemon chooses, so each is asked once. */
        expect_asked(bot, BY_NAME, "anna", ANNA_ROW);
        expect_hit(bot, BY_NAME, "anna", ANNA);
        expect_asked(bot, BY_PHONE, "49", ANNA_ROW);
        expect_hit(bot, BY_PHONE, "49", ANNA);
        expect_hit(bot, BY_NAME, "anna", ANNA);
        expect_asked(bot, BY_ID, "8", "[8, nil, 'bot', nil, nil, NOW]");
        expect_hit(bot, BY_ID, "8", "8 0 bot - -");
        bot_end(bot);
}
END_TEST

START_TEST(learns_from_lists)
{
        struct bot *bot = bot_new(0);
        static const int64_t ids[] = { 7, 8 };

        ck_assert_int_eq(gram_async_get_peers(bot->session, ids, 2, on_reply, bot), 0);
        puppet_does(bot->puppet, "get_peers(...)", "[[7, 70, 'user', 'anna', '49', 5], nil]");
        done(bot);
        expect_hit(bot, BY_ID, "7", ANNA);
        expect_asked(bot, BY_ID, "8", "[8, nil, 'bot', nil, nil, NOW]");
        bot_end(bot);
}
END_TEST

START_TEST(never_remembers_that_something_is_missing)
{
        struct bot *bot = bot_new(0);

        for (int i = 0; i < 2; i++) {
                ask(bot, BY_ID, "9");
                puppet_refuse(bot->puppet, puppet_expect(bot->puppet, "get_peer_by_id(3, 9)"),
                              "['not_found', '', nil]");
                done(bot);
                ck_assert_int_eq(bot->code, GRAM_E_NOT_FOUND);
        }
        bot_end(bot);
}
END_TEST

START_TEST(asks_before_it_calls_a_record_expired)
{
        struct bot *bot = bot_new(0);

        expect_asked(bot, BY_NAME, "anna", "[7, 70, 'user', 'anna', '49', 1700000000]");
        expect_asked(bot, BY_NAME, "anna", ANNA_ROW); /* the daemon knows a newer time */
        expect_hit(bot, BY_NAME, "anna", ANNA);
        expect_hit(bot, BY_ID, "7", ANNA);
        bot_end(bot);
}
END_TEST

/* A name from the usernames table has an age of its own, which is not told. */
START_TEST(does_not_remember_a_name_that_is_not_the_peers_own)
{
        struct bot *bot = bot_new(0);

        expect_asked(bot, BY_NAME, "other", ANNA_ROW);
        expect_asked(bot, BY_NAME, "other", ANNA_ROW);
        bot_end(bot);
}
END_TEST

/* ---- changes by others ---- */

START_TEST(forgets_what_others_change)
{
#define CHANGED(peers, usernames, phones, states)                                                            \
        "['changed', [3, {peers: [" peers "], usernames: [" usernames "], phones: [" phones                  \
        "], fields: [], states: [" states "], all: false}]]"
        struct bot *bot = bot_new(0);

        expect_asked(bot, BY_NAME, "anna", ANNA_ROW);
        expect_asked(bot, BY_PHONE, "49", ANNA_ROW);
        tell(bot, CHANGED("", "'x'", "'50'", "7"));
        expect_hit(bot, BY_NAME, "anna", ANNA);
        expect_hit(bot, BY_PHONE, "49", ANNA);
        tell(bot, CHANGED("", "'anna'", "", ""));
        expect_hit(bot, BY_ID, "7", ANNA);
        expect_asked(bot, BY_NAME, "anna", ANNA_ROW);
        tell(bot, CHANGED("", "", "'49'", ""));
        expect_asked(bot, BY_PHONE, "49", ANNA_ROW);
        /* Another peer may be the newest of that name or number now. */
        tell(bot, CHANGED("8", "", "", ""));
        expect_hit(bot, BY_ID, "7", ANNA);
        expect_asked(bot, BY_NAME, "anna", ANNA_ROW);
        expect_asked(bot, BY_PHONE, "49", ANNA_ROW);
        tell(bot, CHANGED("7", "", "", ""));
        expect_asked(bot, BY_ID, "7", ANNA_ROW);
        tell(bot, "['changed', [3, {all: true}]]");
        expect_asked(bot, BY_ID, "7", ANNA_ROW);
        tell(bot, "['changed', [3, {peers: 'unreadable'}]]");
        expect_asked(bot, BY_ID, "7", ANNA_ROW);
        bot_end(bot);
#undef CHANGED
}
END_TEST

/* The change was made behind the answer, and is told before it. */
START_TEST(does_not_remember_an_answer_that_a_change_overtook)
{
        struct bot *bot = bot_new(0);
        uint32_t id;

        ask(bot, BY_ID, "7");
        id = puppet_expect(bot->puppet, "get_peer_by_id(3, 7)");
        tell(bot,
             "['changed', [3, {peers: [7], usernames: [], phones: [], fields: [], states: [], all: false}]]");
        puppet_answer(bot->puppet, id, "[7, 1, 'user', 'old', nil, 5]");
        done(bot);
        expect_asked(bot, BY_ID, "7", ANNA_ROW);
        expect_hit(bot, BY_ID, "7", ANNA);
        bot_end(bot);
}
END_TEST

/* ---- changes of one's own ---- */

START_TEST(forgets_what_it_changes_itself)
{
        struct bot *bot = bot_new(0);
        struct gram_peer peer = anna;
        static const char *const names[] = { "anna" };
        const struct gram_names named = { .peer_id = 9, .names = names, .n_names = 1 };

        expect_asked(bot, BY_NAME, "anna", ANNA_ROW);
        write_peer(bot, &anna); /* repeats what is stored */
        expect_hit(bot, BY_ID, "7", ANNA);
        expect_hit(bot, BY_NAME, "anna", ANNA);
        peer.access_hash = 71;
        write_peer(bot, &peer);
        expect_asked(bot, BY_ID, "7", "[7, 71, 'user', 'anna', '49', NOW]");
        expect_asked(bot, BY_NAME, "anna", "[7, 71, 'user', 'anna', '49', NOW]");
        peer = (struct gram_peer){ .id = 8, .type = "user", .username = "anna" };
        write_peer(bot, &peer); /* the newest of that name */
        expect_hit(bot, BY_ID, "7", "7 71 user anna 49");
        expect_asked(bot, BY_NAME, "anna", "[8, nil, 'user', 'anna', nil, NOW]");
        ck_assert_int_eq(gram_async_update_usernames(bot->session, &named, 1, on_reply, bot), 0);
        puppet_does(bot->puppet, "update_usernames(...)", "nil");
        done(bot);
        expect_asked(bot, BY_NAME, "anna", "[9, nil, 'user', nil, nil, NOW]");
        bot_end(bot);
}
END_TEST

/* Two peers with one name, the older repeated: it is the newer now, and nothing was changed that anybody is
 * told of. */
START_TEST(a_repeated_row_may_win_the_name)
{
        struct bot *bot = bot_new(0);
        const struct gram_peer other = { .id = 8, .type = "user", .username = "anna" };

        expect_asked(bot, BY_ID, "8", "[8, nil, 'user', 'anna', nil, 5]");
        expect_asked(bot, BY_NAME, "anna", ANNA_ROW);
        write_peer(bot, &other);
        expect_asked(bot, BY_NAME, "anna", "[8, nil, 'user', 'anna', nil, NOW]");
        expect_hit(bot, BY_NAME, "anna", "8 0 user anna -");
        expect_hit(bot, BY_ID, "7", ANNA);
        bot_end(bot);
}
END_TEST

/* Read, write, read without waiting: the first answer is from before the write. */
START_TEST(does_not_remember_an_answer_from_before_its_own_write)
{
        struct bot *bot = bot_new(0);
        struct gram_peer peer = anna;
        uint32_t ids[3];

        peer.access_hash = 71;
        ask(bot, BY_ID, "7");
        ck_assert_int_eq(gram_async_update_peers(bot->session, &peer, 1, on_reply, bot), 0);
        ids[0] = puppet_expect(bot->puppet, "get_peer_by_id(3, 7)");
        ids[1] = puppet_expect(bot->puppet, "update_peers(...)");
        puppet_answer(bot->puppet, ids[0], "[7, 70, 'user', 'anna', '49', 5]");
        done(bot);
        ask(bot, BY_ID, "7");
        ids[2] = puppet_expect(bot->puppet, "get_peer_by_id(3, 7)");
        puppet_answer(bot->puppet, ids[1], "nil");
        puppet_answer(bot->puppet, ids[2], "[7, 71, 'user', 'anna', '49', 5]");
        done(bot);
        bot->done = false;
        while (gram_pending(bot->client))
                gram_process(bot->client);
        bot->done = false;
        expect_hit(bot, BY_ID, "7", "7 71 user anna 49");
        bot_end(bot);
}
END_TEST

/* ---- identity ---- */

static void ask_identity(struct bot *bot, unsigned fields)
{
        bot->result[0] = '\0';
        ck_assert_int_eq(gram_async_get(bot->session, fields, on_identity, bot), 0);
}

START_TEST(remembers_the_identity_but_not_its_key)
{
        struct bot *bot = bot_new(0);
        struct gram_identity change = { .fields = GRAM_API_ID, .api_id = 9 };
        TEST_FREED char *both = test_format("17 4711 %u 0 ", GRAM_API_ID | GRAM_USER_ID);
        TEST_FREED char *address = test_format("0 4711 %u %u 1.2.3.4",
                                               GRAM_USER_ID | GRAM_SERVER_ADDRESS | GRAM_PORT, GRAM_PORT);

        ask_identity(bot, GRAM_API_ID | GRAM_USER_ID);
        puppet_does(bot->puppet, "get(3, ['api_id', 'user_id'])", "[17, 4711]");
        done(bot);
        ask_identity(bot, GRAM_API_ID | GRAM_USER_ID);
        done(bot);
        ck_assert_str_eq(bot->result, both);
        ask_identity(bot, GRAM_PORT | GRAM_SERVER_ADDRESS);
        puppet_does(bot->puppet, "get(3, ['server_address', 'port'])", "['1.2.3.4', nil]");
        done(bot);
        ask_identity(bot, GRAM_USER_ID | GRAM_SERVER_ADDRESS | GRAM_PORT);
        done(bot);
        ck_assert_str_eq(strchr(bot->result, ' '), strchr(address, ' '));
        for (int i = 0; i < 2; i++) {
                ask_identity(bot, GRAM_AUTH_KEY);
                puppet_does(bot->puppet, "get(3, ['auth_key'])", "[h'07'*256]");
                done(bot);
        }
        ck_assert_int_eq(gram_async_set(bot->session, &change, on_reply, bot), 0);
        puppet_does(bot->puppet, "set(...)", "nil");
        done(bot);
        ask_identity(bot, GRAM_API_ID | GRAM_USER_ID);
        puppet_does(bot->puppet, "get(3, ['api_id', 'user_id'])", "[9, 4711]");
        done(bot);
        tell(bot, "['changed', [3, {peers: [], usernames: [], phones: [], fields: ['api_id'], states: [], "
                  "all: false}]]");
        ask_identity(bot, GRAM_API_ID);
        puppet_does(bot->puppet, "get(3, ['api_id'])", "[10]");
        done(bot);
        bot_end(bot);
}
END_TEST

/* ---- reconnection, bound, end ---- */

START_TEST(starts_empty_after_a_reconnection)
{
        struct bot *bot = bot_new(0);
        uint32_t watch;

        expect_asked(bot, BY_ID, "7", ANNA_ROW);
        puppet_drop(bot->puppet);
        puppet_greet(bot->puppet);
        puppet_does(bot->puppet, "open(...)", OPENED);
        watch = puppet_expect(bot->puppet, "watch(3, true)");
        expect_asked(bot, BY_ID, "7", ANNA_ROW); /* the watch does not stand yet: not remembered */
        puppet_answer(bot->puppet, watch, "nil");
        gram_process(bot->client);
        expect_asked(bot, BY_ID, "7", ANNA_ROW);
        expect_hit(bot, BY_ID, "7", ANNA);
        bot_end(bot);
}
END_TEST

START_TEST(ends_with_the_watch)
{
        struct bot *bot = bot_new(0);

        expect_asked(bot, BY_ID, "7", ANNA_ROW);
        ck_assert_int_eq(gram_async_watch(bot->session, false, on_reply, bot), 0);
        puppet_does(bot->puppet, "watch(3, false)", "nil");
        done(bot);
        expect_asked(bot, BY_ID, "7", ANNA_ROW);
        expect_asked(bot, BY_ID, "7", ANNA_ROW);
        bot_end(bot);
}
END_TEST

START_TEST(is_bounded)
{
        struct bot *bot = bot_new(4096);

        expect_asked(bot, BY_ID, "1", "[1, 70, 'user', 'anna', '49', NOW]");
        for (int i = 2; i < 60; i++) {
                TEST_FREED char *id = test_format("%d", i);
                TEST_FREED char *row = test_format("[%d, 70, 'user', 'name%d', nil, NOW]", i, i);

                expect_asked(bot, BY_ID, id, row);
                expect_hit(bot, BY_ID, "1", "1 70 user anna 49"); /* used, so it stays */
        }
        expect_hit(bot, BY_ID, "59", "59 70 user name59 -");
        expect_asked(bot, BY_ID, "2", "[2, 70, 'user', nil, nil, NOW]");
        bot_end(bot);
}
END_TEST

/* ---- the real daemon ---- */

static struct gram_session *opened(const struct daemon *daemon, struct gram_client **client)
{
        struct gram_session *session;

        *client = test_client_new(&(struct gram_options){ .socket = daemon->socket });
        ck_assert_int_eq(gram_open(*client, "anna", NULL, &session), 0);
        return session;
}

static char *peer_text(int code, struct gram_peer *peer)
{
        char *text =
                code ? test_format("%s", gram_code_name(code))
                     : test_format("%lld %lld %s %s %s", (long long)peer->id, (long long)peer->access_hash,
                                   peer->type, peer->username ? peer->username : "-",
                                   peer->phone_number ? peer->phone_number : "-");

        if (!code)
                gram_free(peer);
        return text;
}

static void expect_same(struct gram_session *cached, struct gram_session *plain, int kind, int n)
{
        TEST_FREED char *text = test_format("t%d", n);
        struct gram_peer *peers[2] = { NULL, NULL };
        struct gram_session *sessions[2] = { cached, plain };
        int codes[2];

        for (int i = 0; i < 2; i++) {
                if (kind == 0)
                        codes[i] = gram_get_peer_by_id(sessions[i], n, &peers[i]);
                else if (kind == 1)
                        codes[i] = gram_get_peer_by_username(sessions[i], text, GRAM_MAX_AGE_DEFAULT_S,
                                                             &peers[i]);
                else
                        codes[i] = gram_get_peer_by_phone_number(sessions[i], text, &peers[i]);
        }
        {
                TEST_FREED char *a = peer_text(codes[0], peers[0]);
                TEST_FREED char *b = peer_text(codes[1], peers[1]);

                ck_assert_str_eq(a, b);
        }
}

static uint32_t random_next(uint32_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        return *state;
}

/*
 * Both write at random, and after every write both must read the same. Each row has a time of its own, so
 * that of several peers with a name or number the newest is no matter of chance, and a hash of its own: none
 * repeats what is stored.
 */
START_TEST(a_cached_client_reads_what_an_uncached_one_does)
{
        DAEMON daemon = daemon_start();
        struct gram_client *clients[2];
        struct gram_session *sessions[2] = { opened(daemon, &clients[0]), opened(daemon, &clients[1]) };
        uint32_t state = 20261121;
        long long now = time(NULL) - 10000;

        ck_assert_int_eq(gram_cache_enable(sessions[0], 0), 0);
        for (int round = 0; round < 3000; round++) {
                struct gram_session *writer = sessions[random_next(&state) % 2];
                TEST_FREED char *name = test_format("t%u", random_next(&state) % 6);
                TEST_FREED char *phone = test_format("t%u", random_next(&state) % 6);
                const char *const names[] = { name };
                struct gram_peer peer = { .id = random_next(&state) % 6,
                                          .has_access_hash = true,
                                          .access_hash = round,
                                          .type = "user",
                                          .username = random_next(&state) % 3 ? name : NULL,
                                          .phone_number = random_next(&state) % 3 ? phone : NULL,
                                          .has_last_update_on = true,
                                          .last_update_on = now + round };
                struct gram_names row = { .peer_id = random_next(&state) % 6,
                                          .names = names,
                                          .n_names = random_next(&state) % 2,
                                          .has_last_update_on = true,
                                          .last_update_on = now + round };

                if (random_next(&state) % 4 == 0)
                        ck_assert_int_eq(gram_update_usernames(writer, &row, 1), 0);
                else if (random_next(&state) % 2)
                        ck_assert_int_eq(gram_update_peers(writer, &peer, 1), 0);
                for (int i = 0; i < 4; i++)
                        expect_same(sessions[0], sessions[1], (int)(random_next(&state) % 3),
                                    (int)(random_next(&state) % 6));
                if (round == 1500) {
                        daemon_kill(daemon);
                        daemon_resume(daemon);
                }
        }
        gram_client_free(clients[0]);
        gram_client_free(clients[1]);
}
END_TEST

/* No turn of a loop in between: a change that was acknowledged to its writer counts at once. */
START_TEST(a_change_counts_as_soon_as_its_writer_knows)
{
        DAEMON daemon = daemon_start();
        struct gram_client *clients[2];
        struct gram_session *cached = opened(daemon, &clients[0]), *writer = opened(daemon, &clients[1]);
        struct gram_peer row = { .id = 1, .has_access_hash = true, .type = "user" };

        ck_assert_int_eq(gram_cache_enable(cached, 0), 0);
        for (row.access_hash = 1; row.access_hash < 500; row.access_hash++) {
                struct gram_peer *peer;

                ck_assert_int_eq(gram_update_peers(writer, &row, 1), 0);
                for (int i = 0; i < 2; i++) {
                        ck_assert_int_eq(gram_get_peer_by_id(cached, 1, &peer), 0);
                        ck_assert_int_eq(peer->access_hash, row.access_hash);
                        gram_free(peer);
                }
        }
        gram_client_free(clients[0]);
        gram_client_free(clients[1]);
}
END_TEST

int main(void)
{
        return test_program(
                "client-lib/cache",
                (const TTest *const[]){
                        answers_what_was_asked_before, learns_from_lists,
                        never_remembers_that_something_is_missing, asks_before_it_calls_a_record_expired,
                        does_not_remember_a_name_that_is_not_the_peers_own, forgets_what_others_change,
                        does_not_remember_an_answer_that_a_change_overtook, forgets_what_it_changes_itself,
                        a_repeated_row_may_win_the_name,
                        does_not_remember_an_answer_from_before_its_own_write,
                        remembers_the_identity_but_not_its_key, starts_empty_after_a_reconnection,
                        ends_with_the_watch, is_bounded, a_cached_client_reads_what_an_uncached_one_does,
                        a_change_counts_as_soon_as_its_writer_knows, NULL });
}
