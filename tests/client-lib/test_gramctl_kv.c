/* gramctl kv: bytes come back as they were given, and what was refused shows none of them. */
#include <stdlib.h>
#include <string.h>

#include "../support/client.h"
#include "../support/gramctl.h"
#include "../support/program.h"

static void make_session(const char *name)
{
        struct gram_client *client = test_client_new(NULL);
        struct gram_session *session;

        ck_assert_int_eq(gram_open(client, name, NULL, &session), 0);
        gram_client_free(client);
}

#define expect_output(run, text)                                                                             \
        do {                                                                                                 \
                expect_done(&(run));                                                                         \
                ck_assert_str_eq((run).out, text);                                                           \
        } while (0)

START_TEST(bytes_come_back_as_they_were_given)
{
        DAEMON daemon = gramctl_daemon();
        static char bytes[65536];

        make_session("anna");
        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (char)(i * 7 + i / 256);
        {
                RUN set = run_program_with("gramctl", bytes, sizeof(bytes),
                                           (const char *const[]){ "kv", "set", "anna", "bytes", NULL });
                RUN empty = gramctl("", "kv", "set", "anna", "empty");
                RUN text = gramctl("not this", "kv", "set", "anna", "text", "a value");
                RUN get = gramctl("", "kv", "get", "anna", "bytes");
                RUN get_empty = gramctl("", "kv", "get", "anna", "empty");
                RUN get_text = gramctl("", "kv", "get", "anna", "text");
                RUN all = gramctl("", "--json", "kv", "get", "anna", "text", "none", "empty");
                RUN scan = gramctl("", "kv", "scan", "anna");
                RUN some = gramctl("", "kv", "scan", "anna", "t", "--json");
                RUN none = gramctl("", "kv", "scan", "anna", "x", "--json");

                expect_output(set, "");
                expect_output(empty, "");
                expect_output(text, "");
                expect_done(&get);
                ck_assert_uint_eq(get.out_size, sizeof(bytes));
                ck_assert_mem_eq(get.out, bytes, sizeof(bytes));
                expect_output(get_empty, "");
                expect_output(get_text, "a value");
                expect_output(all, "[\n{\"key\": \"text\", \"value\": \"YSB2YWx1ZQ==\"},\n"
                                   "{\"key\": \"none\", \"value\": null},\n"
                                   "{\"key\": \"empty\", \"value\": \"\"}\n]\n");
                expect_output(scan, "   BYTES  KEY\n   65536  bytes\n       0  empty\n       7  text\n");
                expect_output(some, "[\n{\"key\": \"text\", \"value\": \"YSB2YWx1ZQ==\"}\n]\n");
                expect_output(none, "[]\n");
        }
}
END_TEST

START_TEST(swaps_what_is_expected)
{
        DAEMON daemon = gramctl_daemon();

        make_session("anna");
        test_write_file("value", "\0one", 4);
        {
                RUN taken = gramctl("", "kv", "swap", "anna", "lock", "mine", "--ttl", "1000");
                RUN again = gramctl("", "kv", "swap", "anna", "lock", "theirs");
                RUN json = gramctl("", "kv", "swap", "anna", "lock", "x", "--expected", "y", "--json");
                RUN bytes = run_program_with(
                        "gramctl", "\0one", 4,
                        (const char *const[]){ "kv", "swap", "anna", "lock", "--expected", "mine", NULL });
                RUN file = gramctl("", "kv", "swap", "anna", "lock", "", "--expected-file", "value");
                RUN kept = gramctl("", "kv", "delete", "anna", "lock", "--expected", "x");
                RUN gone = gramctl("", "kv", "delete", "anna", "lock", "--expected", "", "--json");
                RUN none = gramctl("", "kv", "swap", "anna", "lock", "x", "--expected", "");
                RUN get = gramctl("", "kv", "get", "anna", "lock");

                expect_output(taken, "");
                expect_failed(&again, 1, "lock has another value: nothing was changed");
                expect_not_in(again.err, "mine");
                expect_not_in(again.err, "theirs");
                ck_assert_int_eq(json.status, 1);
                ck_assert_str_eq(json.out, "{\"done\": false, \"value\": \"bWluZQ==\"}\n");
                expect_output(bytes, "");
                expect_output(file, "");
                expect_failed(&kept, 1, "lock has another value");
                expect_output(gone, "{\"done\": true, \"value\": null}\n");
                expect_failed(&none, 1, "lock has no value: nothing was changed");
                expect_failed(&get, 1, "lock has no value");
        }
        test_remove("value");
}
END_TEST

START_TEST(deletes_keys)
{
        DAEMON daemon = gramctl_daemon();

        make_session("anna");
        for (int i = 0; i < 4; i++) {
                TEST_FREED char *key = test_format("k%d", i);
                RUN set = gramctl("", "kv", "set", "anna", key, "v");

                expect_output(set, "");
        }
        {
                RUN deleted = gramctl("", "kv", "delete", "anna", "k1", "k3", "none");
                RUN scan = gramctl("", "kv", "scan", "anna", "k");

                expect_output(deleted, "");
                expect_output(scan, "   BYTES  KEY\n       1  k0\n       1  k2\n");
        }
}
END_TEST

/* A page is not the end. Names from other clients stay harmless on a terminal. */
START_TEST(scans_more_than_a_page)
{
        enum { KEYS = 2500 };
        DAEMON daemon = gramctl_daemon();
        struct gram_client *client = test_client_new(NULL);
        struct gram_session *session;
        const struct gram_kv odd = { .key = "\033[2J\0\"", .key_size = 6, .value = "v", .size = 1 };
        int rows = 0, keys = 0;

        ck_assert_int_eq(gram_open(client, "anna", NULL, &session), 0);
        for (int i = 0; i < KEYS; i++) {
                TEST_FREED char *key = test_format("k%05d", i);

                ck_assert_int_eq(
                        gram_kv_set(session, &(struct gram_kv){ .key = key, .value = "v", .size = 1 }, 1), 0);
        }
        ck_assert_int_eq(gram_kv_set(session, &odd, 1), 0);
        {
                RUN text = gramctl("", "kv", "scan", "anna");
                RUN json = gramctl("", "kv", "scan", "anna", "--json");

                expect_done(&text);
                expect_in(text.out, "       1  \\x1b[2J\\x00\"\n");
                expect_in(text.out, "       1  k02499\n");
                for (const char *at = text.out; *at; at++)
                        rows += *at == '\n';
                ck_assert_int_eq(rows, KEYS + 2);
                expect_done(&json);
                expect_in(json.out, "{\"key\": \"\\u001b[2J\\u0000\\\"\", \"value\": \"dg==\"},\n");
                for (const char *at = json.out; (at = strstr(at, "\"key\"")) != NULL; at++)
                        keys++;
                ck_assert_int_eq(keys, KEYS + 1);
        }
        gram_client_free(client);
}
END_TEST

/* What is no text has no bytes beyond ASCII there: a terminal may take 9b for the beginning of a command. */
START_TEST(shows_any_value_on_a_terminal)
{
        static const struct {
                const char *value, *shown;
        } rows[] = {
                { "\033]0;evil\a", "\\x1b]0;evil\\x07\r\n" },
                { "caf\xc3\xa9\xc2\x9b", "caf\xc3\xa9\\xc2\\x9b\r\n" },
                { "caf\xc3\xa9\x9b", "caf\\xc3\\xa9\\x9b\r\n" },
        };
        DAEMON daemon = gramctl_daemon();

        make_session("anna");
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                RUN set = gramctl("", "kv", "set", "anna", "k", rows[i].value);
                int status;
                TEST_FREED char *screen = run_on_terminal(
                        NULL, "", (const char *const[]){ "kv", "get", "anna", "k", NULL }, &status);

                expect_output(set, "");
                ck_assert_int_eq(status, 0);
                ck_assert_str_eq(screen, rows[i].shown);
        }
}
END_TEST

START_TEST(refuses_without_showing_a_value)
{
        static const struct {
                const char *arguments[8];
                int status;
                const char *words;
        } rows[] = {
                { { "kv" }, 2, "usage: gramctl [OPTION]... kv VERB SESSION [KEY...]" },
                { { "kv", "fly", "anna" }, 2, "unknown command kv fly" },
                { { "kv", "get", "anna" }, 2, "kv get SESSION KEY..." },
                { { "kv", "set", "anna", "k", "v", "w" }, 2, "kv set SESSION KEY [VALUE]" },
                { { "kv", "get", "anna", "a", "b" }, 2, "several values are printed with --json only" },
                { { "kv", "get", "anna", "a", "--ttl", "5" }, 2, "kv get does not take --ttl" },
                { { "kv", "set", "anna", "a", "v", "--expected", "x" }, 2, "does not take --expected" },
                { { "kv", "set", "anna", "a", "v", "--ttl", "0" }, 2, "--ttl 0: not a number of seconds" },
                { { "kv", "set", "anna", "a", "v", "--ttl", "soon" }, 2, "--ttl soon" },
                { { "kv", "set", "anna", "a", "v", "--ttl", "2147483648" }, 2, "--ttl 2147483648" },
                { { "kv", "swap", "anna", "a", "v", "--expected-file", "none" }, 1, "cannot read none" },
                { { "kv", "set", "nobody", "k", "secret" }, 5, "nobody: " },
                { { "kv", "set", "anna", "", "secret" }, 1, "[bad_request]" },
                { { "list", "--ttl", "5" }, 2, "list does not take --ttl" },
        };
        DAEMON daemon = gramctl_daemon();
        static char large[65537];

        make_session("anna");
        memset(large, 's', sizeof(large));
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                RUN run = run_program("gramctl", "", rows[i].arguments);

                expect_failed(&run, rows[i].status, rows[i].words);
                expect_not_in(run.err, "secret");
        }
        {
                RUN run = run_program_with("gramctl", large, sizeof(large),
                                           (const char *const[]){ "kv", "set", "anna", "k", NULL });

                expect_failed(&run, 1, "[too_large]");
                expect_not_in(run.err, "sss");
        }
}
END_TEST

int main(void)
{
        return test_program("client-lib/gramctl_kv",
                            (const TTest *const[]){ bytes_come_back_as_they_were_given,
                                                    swaps_what_is_expected, deletes_keys,
                                                    scans_more_than_a_page, shows_any_value_on_a_terminal,
                                                    refuses_without_showing_a_value, NULL });
}
