/*
 * What libgram does without a daemon: names of codes, and where it looks for the socket.
 */
#include <stdlib.h>
#include <string.h>

#include "../support/client.h"
#include "../support/program.h"

/* The numbers are compiled into programs: they never change. */
START_TEST(names_every_code)
{
        static const char *const names[] = {
                "ok",          "bad_request", "unknown_method", "bad_session", "not_found", "expired",
                "overloaded",  "busy",        "fenced",         "exists",      "denied",    "too_large",
                "unavailable", "storage",     "corrupt",        "unknown",
        };

        for (int i = 0; i < (int)(sizeof(names) / sizeof(*names)); i++)
                ck_assert_str_eq(gram_code_name(-i), names[i]);
        ck_assert_int_eq(GRAM_E_CORRUPT, -14);
        ck_assert_int_eq(GRAM_E_UNKNOWN, -15);
        ck_assert_str_eq(gram_code_name(GRAM_E_UNREACHABLE), "unreachable");
        ck_assert_str_eq(gram_code_name(-99), "unknown");
        ck_assert_str_eq(gram_code_name(1), "unknown");
}
END_TEST

START_TEST(says_at_once_that_nobody_listens)
{
        struct gram_client *client =
                test_client_new(&(struct gram_options){ .socket = "no/such.sock", .timeout_ms = 20 });

        ck_assert_int_eq(gram_connect(client), GRAM_E_UNREACHABLE);
        ck_assert_ptr_nonnull(strstr(gram_client_error(client)->message, "no/such.sock"));
        ck_assert_int_eq(gram_ping(client), GRAM_E_UNREACHABLE);
        ck_assert_str_eq(gram_client_socket(client), "no/such.sock");
        gram_client_free(client);
        gram_client_free(NULL);
        gram_free(NULL);
}
END_TEST

START_TEST(finds_the_socket)
{
        struct gram_client *client;

        setenv("XDG_RUNTIME_DIR", ".", 1);
        setenv("GRAMD_SOCKET", "", 1);
        client = test_client_new(NULL);
        ck_assert_str_eq(gram_client_socket(client), "/run/gramd/gramd.sock");
        test_write_file("gramd.sock", "", 0); /* it is there now */
        ck_assert_str_eq(gram_client_socket(client), "./gramd.sock");
        gram_client_free(client);

        setenv("GRAMD_SOCKET", "/from/environment", 1);
        client = test_client_new(NULL);
        ck_assert_str_eq(gram_client_socket(client), "/from/environment");
        gram_client_free(client);

        client = test_client_new(&(struct gram_options){ .socket = "/explicit" });
        ck_assert_str_eq(gram_client_socket(client), "/explicit");
        gram_client_free(client);
        test_remove("gramd.sock");
}
END_TEST

int main(void)
{
        return test_program("client-lib/alone",
                            (const TTest *const[]){ names_every_code, says_at_once_that_nobody_listens,
                                                    finds_the_socket, NULL });
}
