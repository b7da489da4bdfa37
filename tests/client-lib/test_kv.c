/*
 * The key-value area through libgram: with a puppet what is sent, and what of an answer is refused; with a
 * daemon values, pages, notifications, and a counter that many clients count up at once.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../support/bot.h"
#include "../support/client.h"
#include "../support/daemon.h"
#include "../support/program.h"

/* ---- with a puppet ---- */

static void noted(void *arg, struct gram_reply *reply)
{
        if (reply->error)
                bot_note(arg, "%s", reply->error->name);
        else
                bot_note(arg, "%s", reply->number ? "done" : "ok");
}

START_TEST(sends_what_it_is_given)
{
        struct bot *bot = bot_open();
        const char *const keys[] = { "a", "b" };
        const struct gram_kv rows[] = {
                { .key = "a", .value = "\0\377", .size = 2 },
                { .key = "b\0c", .key_size = 3, .value = "", .size = 0, .ttl_s = 60 },
                { .key = "d" },
        };

        ck_assert_int_eq(gram_async_kv_get(bot->session, keys, 2, noted, bot), 0);
        puppet_does(bot->puppet, "kv_get(3, ['a', 'b'])", "[h'00', nil]");
        ck_assert_int_eq(gram_async_kv_set(bot->session, rows, 3, noted, bot), 0);
        puppet_does(bot->puppet, "kv_set(3, [['a', h'00ff'], ['b\\x00c', h'', 60], ['d', nil]])", "nil");
        ck_assert_int_eq(gram_async_kv_swap(bot->session, &rows[0], NULL, 0, noted, bot), 0);
        puppet_does(bot->puppet, "kv_swap(3, 'a', nil, h'00ff')", "[true, h'00ff']");
        ck_assert_int_eq(gram_async_kv_swap(bot->session, &rows[1], "x", 1, noted, bot), 0);
        puppet_does(bot->puppet, "kv_swap(3, 'b\\x00c', h'78', h'', 60)", "[false, nil]");
        ck_assert_int_eq(gram_async_kv_scan(bot->session, NULL, NULL, 10, noted, bot), 0);
        puppet_does(bot->puppet, "kv_scan(3, '', nil, 10)", "[]");
        ck_assert_int_eq(gram_async_kv_scan(bot->session, "b", &rows[1], 10, noted, bot), 0);
        puppet_does(bot->puppet, "kv_scan(3, 'b', 'b\\x00c', 10)", "[['bd', h'00']]");
        ck_assert_int_eq(gram_async_kv_set(bot->session, rows, 0, noted, bot), 0);
        bot_expect(bot, "ok ok done ok ok ok ok");
        puppet_expect_nothing(bot->puppet);
        bot_end(bot);
}
END_TEST

START_TEST(refuses_malformed_answers)
{
        static const char *const results[] = {
                "nil",
                "7",
                "'text'",
                "[h'00']",
                "[nil, nil, nil]",
                "[1, 2]",
                "['a', 'b']",
                "[true, 'text']",
                "[true]",
                "[true, nil, nil]",
                "[['a']]",
                "[[nil]]",
                "[['a', nil]]",
                "[['', h'00']]",
                "[[h'61', h'00']]",
                "{a: h'00'}",
                "[['a', 'b']]",
                "[['a', h'', 1]]",
                "[1, h'00', h'']",
                "[[['a', h'00']]]",
        };
        const char *const keys[] = { "a", "b" };
        const struct gram_kv row = { .key = "a" };

        for (size_t i = 0; i < sizeof(results) / sizeof(*results); i++) {
                struct bot *bot = bot_open();

                gram_async_kv_get(bot->session, keys, 2, noted, bot);
                gram_async_kv_swap(bot->session, &row, NULL, 0, noted, bot);
                gram_async_kv_scan(bot->session, NULL, NULL, 2, noted, bot);
                for (int k = 0; k < 3; k++)
                        puppet_does(bot->puppet, "...", results[i]);
                bot_expect(bot, "protocol protocol protocol");
                bot_end(bot);
        }
}
END_TEST

/* ---- with a daemon ---- */

static struct gram_session *open_anna(struct gram_client *client)
{
        struct gram_session *session;

        ck_assert_int_eq(gram_open(client, "anna", NULL, &session), 0);
        return session;
}

START_TEST(keeps_bytes_as_they_are)
{
        DAEMON d = daemon_start();
        struct gram_client *client = test_client_new(&(struct gram_options){ .socket = d->socket });
        struct gram_session *session = open_anna(client);
        const char *const keys[] = { "none", "bytes", "empty" };
        const struct gram_kv rows[] = {
                { .key = "bytes", .value = "\0\1\377", .size = 3 },
                { .key = "empty", .value = "" },
                { .key = "with\0nul", .key_size = 8, .value = "x", .size = 1 },
        };
        struct gram_hello *hello;
        struct gram_kvs *kvs;
        struct gram_kv *now;
        bool done;

        ck_assert_int_eq(gram_hello(client, &hello), 0);
        ck_assert_int_eq(gram_hello_kv_max_value(hello), 65536);
        ck_assert_int_eq(gram_hello_kv_max(hello), 16 << 20);
        gram_free(hello);

        ck_assert_int_eq(gram_kv_set(session, rows, 3), 0);
        ck_assert_int_eq(gram_kv_get(session, keys, 3, &kvs), 0);
        ck_assert_uint_eq(kvs->n, 3);
        ck_assert_ptr_null(kvs->rows[0].value);
        ck_assert_str_eq(kvs->rows[1].key, "bytes");
        ck_assert_uint_eq(kvs->rows[1].size, 3);
        ck_assert_mem_eq(kvs->rows[1].value, "\0\1\377", 3);
        ck_assert_ptr_nonnull(kvs->rows[2].value);
        ck_assert_uint_eq(kvs->rows[2].size, 0);
        gram_free(kvs);

        ck_assert_int_eq(gram_kv_scan(session, "with", NULL, 1, &kvs), 0);
        ck_assert_uint_eq(kvs->n, 1);
        ck_assert_uint_eq(kvs->rows[0].key_size, 8);
        ck_assert_mem_eq(kvs->rows[0].key, "with\0nul", 8);
        ck_assert_int_eq(gram_kv_swap(session, &rows[0], "x", 1, &done, NULL), 0);
        ck_assert(!done);
        ck_assert_int_eq(gram_kv_swap(session, &(struct gram_kv){ .key = "with\0nul", .key_size = 8 }, "x", 1,
                                      &done, &now),
                         0);
        ck_assert(done);
        ck_assert_ptr_null(now->value);
        ck_assert_mem_eq(now->key, "with\0nul", 8);
        gram_free(now);
        gram_free(kvs);
        ck_assert_int_eq(gram_kv_swap(session, &rows[1], "y", 1, &done, &now), 0);
        ck_assert(!done);
        ck_assert_uint_eq(now->size, 0);
        ck_assert_ptr_nonnull(now->value);
        gram_free(now);
        gram_client_free(client);
}
END_TEST

static void on_event(void *arg, const struct gram_event *event)
{
        char *told = arg;
        const char *const *keys;
        size_t n;

        if (event->type != GRAM_EVENT_CHANGED)
                return;
        keys = gram_changed_kv(event->changed, &n);
        for (size_t i = 0; i < n; i++) {
                strcat(told, keys[i]);
                strcat(told, " ");
        }
}

START_TEST(watchers_are_told_which_keys)
{
        DAEMON d = daemon_start();
        char told[100] = "", others[100] = "";
        struct gram_client *client = test_client_new(
                &(struct gram_options){ .socket = d->socket, .on_event = on_event, .event_arg = told });
        struct gram_client *other = test_client_new(
                &(struct gram_options){ .socket = d->socket, .on_event = on_event, .event_arg = others });
        struct gram_session *session = open_anna(client), *writer = open_anna(other);
        const struct gram_kv rows[] = { { .key = "a", .value = "1", .size = 1 },
                                        { .key = "b", .value = "1", .size = 1 } };
        bool done;

        ck_assert_int_eq(gram_watch(session, true), 0);
        ck_assert_int_eq(gram_watch(writer, true), 0);
        ck_assert_int_eq(gram_kv_set(writer, rows, 2), 0);
        ck_assert_int_eq(gram_kv_swap(writer, &rows[0], "2", 1, &done, NULL), 0); /* not done: not told */
        ck_assert_int_eq(gram_kv_swap(writer, &rows[1], "1", 1, &done, NULL), 0);
        ck_assert_int_eq(gram_ping(client), 0);
        ck_assert_str_eq(told, "a b b ");
        ck_assert_str_eq(others, "");
        gram_client_free(client);
        gram_client_free(other);
}
END_TEST

START_TEST(a_hundred_thousand_keys_are_scanned_in_flat_memory)
{
        enum { KEYS = 100000, PAGE = 1000, VALUE = 64 };
        DAEMON d = daemon_start();
        struct gram_client *client = test_client_new(&(struct gram_options){ .socket = d->socket });
        struct gram_session *session = open_anna(client);
        static char names[PAGE][16], value[VALUE];
        struct gram_kv rows[PAGE];
        struct gram_kvs *page = NULL;
        size_t n = 0, most = 0, pages = 0;
        long before_kb;

        for (int first = 0; first < KEYS; first += PAGE) {
                for (int i = 0; i < PAGE; i++) {
                        snprintf(names[i], sizeof(names[i]), "%06d", first + i);
                        rows[i] = (struct gram_kv){ .key = names[i], .value = value, .size = VALUE };
                }
                ck_assert_int_eq(gram_kv_set(session, rows, PAGE), 0);
        }
        before_kb = daemon_rss_kb(d);
        for (;;) {
                struct gram_kvs *last = page;
                size_t used;

                ck_assert_int_eq(
                        gram_kv_scan(session, "", last ? &last->rows[last->n - 1] : NULL, PAGE, &page), 0);
                used = mallinfo2().uordblks;
                gram_free(last);
                if (!page->n)
                        break;
                if (pages++ == 1) /* two pages are there at a time */
                        most = used;
                else if (pages > 2)
                        ck_assert_uint_le(used, most + 64 * 1024);
                for (size_t i = 0; i < page->n; i++) {
                        char name[16];

                        snprintf(name, sizeof(name), "%06zu", n++);
                        ck_assert_str_eq(page->rows[i].key, name);
                        ck_assert_uint_eq(page->rows[i].size, VALUE);
                }
        }
        gram_free(page);
        ck_assert_uint_eq(n, KEYS);
        ck_assert_int_lt(daemon_peak_rss_kb(d), before_kb + 16 * 1024 * test_memory_factor());
        gram_client_free(client);
}
END_TEST

enum { COUNTERS = 16, COUNTS = 40 };

static void *count_up(void *arg)
{
        const struct daemon *d = arg;
        struct gram_client *client = test_client_new(&(struct gram_options){ .socket = d->socket });
        struct gram_session *session = open_anna(client);
        const char *const key = "counter";
        struct gram_kvs *kvs;

        ck_assert_int_eq(gram_kv_get(session, &key, 1, &kvs), 0);
        for (int i = 0; i < COUNTS;) {
                const struct gram_kv *seen = kvs->rows;
                uint32_t number = 0;
                struct gram_kvs *next;
                bool done;

                if (seen->value)
                        memcpy(&number, seen->value, sizeof(number));
                number++;
                ck_assert_int_eq(gram_kv_swap(session,
                                              &(struct gram_kv){
                                                      .key = key, .value = &number, .size = sizeof(number) },
                                              seen->value, seen->size, &done, NULL),
                                 0);
                i += done;
                ck_assert_int_eq(gram_kv_get(session, &key, 1, &next), 0);
                gram_free(kvs);
                kvs = next;
        }
        gram_free(kvs);
        gram_client_free(client);
        return NULL;
}

START_TEST(sixteen_clients_count_right)
{
        DAEMON d = daemon_start();
        struct gram_client *client = test_client_new(&(struct gram_options){ .socket = d->socket });
        struct gram_session *session = open_anna(client);
        const char *const key = "counter";
        pthread_t threads[COUNTERS];
        struct gram_kvs *kvs;
        uint32_t number;

        for (int i = 0; i < COUNTERS; i++)
                ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up, d), 0);
        for (int i = 0; i < COUNTERS; i++)
                pthread_join(threads[i], NULL);
        ck_assert_int_eq(gram_kv_get(session, &key, 1, &kvs), 0);
        ck_assert_uint_eq(kvs->rows[0].size, sizeof(number));
        memcpy(&number, kvs->rows[0].value, sizeof(number));
        ck_assert_uint_eq(number, COUNTERS * COUNTS);
        gram_free(kvs);
        gram_client_free(client);
}
END_TEST

int main(void)
{
        return test_program("client-lib/kv",
                            (const TTest *const[]){ sends_what_it_is_given, refuses_malformed_answers,
                                                    keeps_bytes_as_they_are, watchers_are_told_which_keys,
                                                    a_hundred_thousand_keys_are_scanned_in_flat_memory,
                                                    sixteen_clients_count_right, NULL });
}
