/* Owners of sessions as an operator sees them: gramctl chown, show and list; and libgram's own calls. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../client-lib/gram.h"
#include "../support/client.h"
#include "../support/command.h"
#include "../support/daemon.h"
#include "../support/program.h"

static char *run(const struct daemon *daemon, const char *arguments)
{
        return command("GRAMD_SOCKET='%s' \"$BUILD/gramctl\" %s 2>&1 || echo status $?", daemon->socket,
                       arguments);
}

static void expect_run(const struct daemon *daemon, const char *arguments, const char *part)
{
        TEST_FREED char *out = run(daemon, arguments);

        ck_assert_msg(strstr(out, part), "%s: no `%s` in: %s", arguments, part, out);
}

static void expect_run_without(const struct daemon *daemon, const char *arguments, const char *part)
{
        TEST_FREED char *out = run(daemon, arguments);

        ck_assert_msg(!strstr(out, part) && !strstr(out, "status"), "%s: `%s` in: %s", arguments, part, out);
}

static void free_client(struct gram_client **client)
{
        gram_client_free(*client);
}
#define GRAM __attribute__((cleanup(free_client))) struct gram_client *

static struct gram_client *connected(const struct daemon *daemon)
{
        setenv("GRAMD_SOCKET", daemon->socket, 1);
        return test_client_new(NULL);
}

static void make(struct gram_client *client, const char *name, const char *backend)
{
        const struct gram_open_options options = { .backend = backend, .linger_s = 1000 };
        struct gram_session *session;

        ck_assert_int_eq(gram_open(client, name, &options, &session), 0);
        ck_assert_int_eq(gram_close(session), 0);
}

START_TEST(gramctl_gives_sessions_away)
{
        DAEMON d = daemon_start();
        GRAM client = connected(d);

        make(client, "anna", NULL);
        make(client, "bert", NULL);
        make(client, "cleo", "memory");
        expect_run(d, "chown bin:daemon anna bert", "2 done, 0 failed");
        expect_run(d, "show anna", "owner           bin:daemon\n");
        expect_run(d, "--json show bert", "\"owner\": \"bin:daemon\"");
        expect_run(d, "chown '#1234' --backend memory cleo", "1 done, 0 failed");
        expect_run(d, "show cleo --backend memory", "owner           #1234\n");
        expect_run(d, "chown - anna", "1 done, 0 failed");
        expect_run_without(d, "show anna", "owner");
        expect_run(d, "chown no-such-user anna nobodys bert",
                   "gramctl: anna: chown: this host has no user as in `no-such-user`");
        expect_run(d, "chown no-such-user anna nobodys bert", "0 done, 3 failed\nstatus 1");
        expect_run(d, "show bert", "owner           bin:daemon\n");
        expect_run(d, "chown bin", "chown needs the names of sessions");
        expect_run(d, "chown", "status 2");
}
END_TEST

/* As if older versions had made them. */
static void make_without_owner(const struct daemon *d, struct gram_client *client, const char *name,
                               const char *backend)
{
        char line[100];

        make(client, name, backend);
        snprintf(line, sizeof(line), "chown - --backend %s %s", backend, name);
        expect_run(d, line, "1 done");
}

START_TEST(sessions_without_an_owner_are_counted_and_get_one)
{
        DAEMON d = daemon_start();
        GRAM client = connected(d);
        static const char told[] = "sessions on file without an owner: 2.";

        make_without_owner(d, client, "anna", "file");
        make_without_owner(d, client, "bert", "file");
        make_without_owner(d, client, "cleo", "memory");
        make(client, "dora", NULL);
        make(client, "emil", NULL);
        expect_run(d, "chown bin:daemon emil", "1 done");
        ck_assert_int_eq(daemon_log_lines(d, told), 0);
        daemon_stop(d);
        daemon_resume(d);
        while (!daemon_log_lines(d, "without an owner")) /* a worker counts: there is no other event */
                ck_assert_int_eq(gram_ping(client), 0);
        ck_assert_int_eq(daemon_log_lines(d, told), 1);
        ck_assert_int_eq(
                daemon_log_lines(d, "`gramctl chown OWNER --all-without-owner --backend file` gives them"),
                1);
        make_without_owner(d, client, "cleo", "memory"); /* it has not been stored */
        expect_run(d, "list emil", "  bin:daemon  ");
        expect_run(d, "--json list", "\"name\": \"bert\"");
        expect_run(d, "--json list anna", "\"owner\": null}");
        expect_run(d, "--json list emil", "\"owner\": \"bin:daemon\"}");
        expect_run(d, "chown no-such-user --all-without-owner", "0 done, 3 failed\nstatus 1");
        expect_run(d, "chown daemon --all-without-owner --backend memory", "1 done, 0 failed");
        expect_run(d, "show cleo --backend memory", "owner           daemon\n");
        expect_run(d, "--json list anna", "\"owner\": null}");
        expect_run(d, "chown daemon --all-without-owner --backend file", "2 done, 0 failed");
        expect_run(d, "show anna", "owner           daemon\n");
        expect_run(d, "show bert", "owner           daemon\n");
        expect_run(d, "show dora", "owner           root\n");
        expect_run(d, "show emil", "owner           bin:daemon\n");
        expect_run(d, "chown bin --all-without-owner", "0 done, 0 failed");
        expect_run(d, "chown bin --all-without-owner anna",
                   "chown needs the names of sessions, or --all-without-owner");
        ck_assert_int_eq(daemon_log_lines(d, "without an owner"), 1);
}
END_TEST

START_TEST(libgram_gives_a_session_away)
{
        DAEMON d = daemon_start();
        GRAM client = connected(d);
        struct gram_stored_sessions *page;
        struct gram_session *session, *bert;
        struct gram_info *info;

        ck_assert_int_eq(gram_open(client, "anna", NULL, &session), 0);
        ck_assert_int_eq(gram_chown(session, "bin"), 0);
        ck_assert_int_eq(gram_info(session, &info), 0);
        ck_assert_str_eq(gram_info_owner(info), "bin");
        ck_assert_str_eq(info->name, "anna");
        gram_free(info);
        ck_assert_int_eq(gram_open(client, "bert", NULL, &bert), 0);
        ck_assert_int_eq(gram_chown(bert, NULL), 0);
        gram_close(bert);
        ck_assert_int_eq(gram_sessions(client, NULL, NULL, 10, &page), 0);
        ck_assert_uint_eq(page->n, 2);
        ck_assert_str_eq(gram_stored_session_owner(page, 0), "bin");
        ck_assert_str_eq(page->rows[1].name, "bert");
        ck_assert_ptr_null(gram_stored_session_owner(page, 1));
        gram_free(page);
        ck_assert_int_eq(gram_chown(session, NULL), 0);
        ck_assert_int_eq(gram_info(session, &info), 0);
        ck_assert_ptr_null(gram_info_owner(info));
        gram_free(info);
        ck_assert_int_eq(gram_chown(session, "bin:"), GRAM_E_BAD_REQUEST);
        gram_close(session);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                gramctl_gives_sessions_away,
                sessions_without_an_owner_are_counted_and_get_one,
                libgram_gives_a_session_away,
                NULL,
        };

        return test_program("chown", tests);
}
