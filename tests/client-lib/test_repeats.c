/*
 * What libgram does so that a repeated write is executed once: it has an id, and each of its messages has one
 * of its own. And the whole with a daemon: what others wrote meanwhile stays.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../client-lib/client.h"
#include "../support/bot.h"
#include "../support/client.h"
#include "../support/program.h"
#include "../support/wire.h"

/* ---- ids ---- */

/* The id in the `hello` that the puppet has got last. malloc'ed. */
static char *id_told(const struct bot *bot)
{
        const char *id = strstr(bot->puppet->text, "id: h'");

        ck_assert_ptr_nonnull(id);
        return test_format("%.*s", (int)strlen("id: h''") + 2 * LIMIT_ID_BYTES, id);
}

static char *greet(struct bot *bot)
{
        char *text;
        uint32_t id;

        puppet_accept(bot->puppet);
        id = puppet_expect(bot->puppet,
                           "hello({client: 'bot', features: ['lease', 'id', 'owner', 'kv'], id: ...})");
        text = id_told(bot);
        puppet_answer(bot->puppet, id, "{server: 'gramd', version: '1', protocol: 1, features: ['id']}");
        return text;
}

/* Opens the session `anna`; returns the client's id. */
static char *open_anna(struct bot *bot)
{
        char *id;

        ck_assert_int_eq(gram_async_open(bot->client, "anna", NULL, bot_opened, bot), 0);
        id = greet(bot);
        puppet_does(bot->puppet, "open(...)", BOT_OPENED);
        bot_expect(bot, "ok");
        return id;
}

START_TEST(repeats_under_the_same_ids)
{
        enum { N = 5 };
        struct bot *bot = bot_new(0);
        TEST_FREED char *first = open_anna(bot), *second = NULL;
        uint32_t ids[N];

        for (int i = 0; i < N; i++)
                bot_write_peer(bot, i);
        for (int i = 0; i < N; i++) {
                ids[i] = puppet_expect(bot->puppet, "update_peers(3, ...)");
                ck_assert(i == 0 || ids[i] > ids[i - 1]);
        }
        puppet_answer(bot->puppet, ids[0], "nil");
        bot_expect(bot, "ok");
        puppet_drop(bot->puppet);
        second = greet(bot);
        ck_assert_str_eq(first, second);
        puppet_does(bot->puppet, BOT_OPEN_AGAIN, BOT_REOPENED);
        bot_write_peer(bot, N);
        for (int i = 1; i < N; i++) {
                ck_assert_uint_eq(puppet_expect(bot->puppet, "update_peers(9, ...)"), ids[i]);
                puppet_answer(bot->puppet, ids[i], "nil");
        }
        ck_assert_uint_gt(puppet_expect(bot->puppet, "update_peers(9, ...)"), ids[N - 1]);
        bot_expect(bot, "disconnected reconnected ok ok ok ok");
        bot_end(bot);
}
END_TEST

START_TEST(each_client_has_another_id)
{
        struct bot *bot = bot_new(0);
        TEST_FREED char *first = open_anna(bot), *second = NULL;

        bot_end(bot);
        bot = bot_new(0);
        second = open_anna(bot);
        ck_assert_str_ne(first, second);
        bot_end(bot);
}
END_TEST

START_TEST(takes_another_id_when_its_messages_ids_are_used_up)
{
        struct bot *bot = bot_new(0);
        TEST_FREED char *first = open_anna(bot), *second = NULL, *third = NULL;
        uint32_t id;

        bot->client->last_id = UINT32_C(0x80000000);
        bot_write_peer(bot, 1);
        id = puppet_expect(bot->puppet, "hello({id: ...})");
        second = id_told(bot);
        ck_assert_str_ne(first, second);
        ck_assert_uint_eq(id, 1);
        puppet_answer(bot->puppet, id, "{}");
        id = puppet_expect(bot->puppet, "update_peers(3, ...)");
        ck_assert_uint_eq(id, 2);
        /* not while a request would have to be repeated under the former one */
        bot->client->last_id = UINT32_C(0x90000000);
        bot_write_peer(bot, 2);
        ck_assert_uint_eq(puppet_expect(bot->puppet, "update_peers(3, ...)"), 0x90000001);
        /* but before they are used up */
        bot->client->last_id = UINT32_C(0xffff0000);
        bot_write_peer(bot, 3);
        id = puppet_expect(bot->puppet, "hello({id: ...})");
        third = id_told(bot);
        ck_assert_str_ne(second, third);
        ck_assert_uint_eq(id, 1);
        ck_assert_uint_eq(puppet_expect(bot->puppet, "update_peers(3, ...)"), 3); /* 2 is awaited */
        puppet_answer(bot->puppet, 2, "nil");
        puppet_answer(bot->puppet, 0x90000001, "nil");
        puppet_answer(bot->puppet, 3, "nil");
        bot_expect(bot, "ok ok ok");
        bot_end(bot);
}
END_TEST

/* ---- with a daemon ---- */

static bool is_connected_to(int fd, const char *socket)
{
        struct sockaddr_un address;
        socklen_t len = sizeof(address);

        memset(&address, 0, sizeof(address));
        return getpeername(fd, (struct sockaddr *)&address, &len) == 0 && address.sun_family == AF_UNIX &&
               strcmp(address.sun_path, socket) == 0;
}

/* Takes what the daemon has answered off the library's connection, and breaks it. */
static void lose_answers(const struct daemon *d, const struct wire *other)
{
        char bytes[4096];

        for (int fd = 3; fd < 256; fd++) {
                if (fd == wire_fd(other) || !is_connected_to(fd, d->socket))
                        continue;
                while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
                        ;
                shutdown(fd, SHUT_RDWR);
                return;
        }
        ck_abort_msg("the library has no connection");
}

/*
 * The library's answers are lost, and the daemon dies if `killed`. Returns the handle of `*other`, which is
 * connected again then.
 */
static int lose(struct daemon *d, struct wire **other, int handle, bool killed)
{
        test_breaks_connections();
        lose_answers(d, *other);
        if (!killed)
                return handle;
        wire_end(other);
        daemon_kill(d);
        daemon_resume(d);
        *other = wire_connect(d);
        return wire_open(*other, "'anna', {}");
}

static void on_reply(void *arg, struct gram_reply *reply)
{
        *(int *)arg = reply->error ? reply->error->code : 0;
}

/* `killed`: the daemon dies too. */
static void overtake(bool killed)
{
        enum { UNKNOWN = 1, ROUNDS = 20 };
        DAEMON d = daemon_start();
        struct gram_client *client = test_client_new(&(struct gram_options){ .socket = d->socket });
        struct gram_session *session;
        struct gram_identity identity = { .fields = GRAM_USER_ID };

        ck_assert_int_eq(gram_open(client, "anna", NULL, &session), 0);
        for (int round = 0; round < ROUNDS; round++) {
                struct wire *b = wire_connect(d);
                int t = wire_open(b, "'anna', {}"), outcome = UNKNOWN;
                TEST_FREED char *first = test_format("[%d]", 2 * round + 1);
                TEST_FREED char *newer = test_format("[%d]", 2 * round + 2);

                identity.user_id = 2 * round + 1;
                ck_assert_int_eq(gram_async_set(session, &identity, on_reply, &outcome), 0);
                gram_process(client);
                while (strcmp(wire_call(b, "get(%d, ['user_id'])", t), first) != 0)
                        ;
                expect(b, "nil", "set(%d, {user_id: %d})", t, 2 * round + 2);
                expect(b, newer, "get(%d, ['user_id'])", t);
                t = lose(d, &b, t, killed);
                while (outcome == UNKNOWN)
                        gram_process(client);
                ck_assert_int_eq(outcome, 0);
                expect(b, newer, "get(%d, ['user_id'])", t);
                wire_end(&b);
        }
        gram_client_free(client);
}

START_TEST(what_others_wrote_meanwhile_stays)
{
        overtake(false);
}
END_TEST

START_TEST(also_after_the_death_of_the_daemon)
{
        overtake(true);
}
END_TEST

static void on_swapped(void *arg, struct gram_reply *reply)
{
        *(int64_t *)arg = reply->error ? reply->error->code : reply->number;
}

/* A swap that was done is done, though its answer was lost and another value stands by now. */
static void swap_once(bool killed)
{
        enum { UNKNOWN = 7, ROUNDS = 20 };
        const struct gram_kv first = { .key = "lock", .value = "A", .size = 1 };
        const struct gram_kv later = { .key = "lock", .value = "X", .size = 1 };
        DAEMON d = daemon_start();
        struct gram_client *client = test_client_new(&(struct gram_options){ .socket = d->socket });
        struct gram_session *session;

        ck_assert_int_eq(gram_open(client, "anna", NULL, &session), 0);
        for (int round = 0; round < ROUNDS; round++) {
                struct wire *b = wire_connect(d);
                int t = wire_open(b, "'anna', {}");
                int64_t outcome = UNKNOWN, refused = UNKNOWN;

                expect(b, "nil", "kv_set(%d, [['lock', nil]])", t);
                ck_assert_int_eq(gram_async_kv_swap(session, &first, NULL, 0, on_swapped, &outcome), 0);
                ck_assert_int_eq(gram_async_kv_swap(session, &later, NULL, 0, on_swapped, &refused), 0);
                gram_process(client);
                while (strcmp(wire_call(b, "kv_get(%d, ['lock'])", t), "[h'41']") != 0)
                        ;
                expect(b, "[true, h'42']", "kv_swap(%d, 'lock', h'41', h'42')", t);
                t = lose(d, &b, t, killed);
                while (outcome == UNKNOWN || refused == UNKNOWN)
                        gram_process(client);
                ck_assert_int_eq(outcome, 1);
                ck_assert_int_eq(refused, 0);
                expect(b, "[h'42']", "kv_get(%d, ['lock'])", t);
                wire_end(&b);
        }
        gram_client_free(client);
}

START_TEST(a_repeated_swap_is_done_once)
{
        swap_once(false);
}
END_TEST

START_TEST(a_repeated_swap_is_done_once_also_after_the_death_of_the_daemon)
{
        swap_once(true);
}
END_TEST

int main(void)
{
        return test_program("client-lib/repeats",
                            (const TTest *const[]){
                                    repeats_under_the_same_ids, each_client_has_another_id,
                                    takes_another_id_when_its_messages_ids_are_used_up,
                                    what_others_wrote_meanwhile_stays, also_after_the_death_of_the_daemon,
                                    a_repeated_swap_is_done_once,
                                    a_repeated_swap_is_done_once_also_after_the_death_of_the_daemon, NULL });
}
