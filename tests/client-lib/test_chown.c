/* Owners of sessions as an operator sees them: gramctl chown, show and list; and libgram's own calls. */

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

START_TEST(libgram_gives_a_session_away)
{
        DAEMON d = daemon_start();
        GRAM client = connected(d);
        struct gram_session *session;
        struct gram_info *info;

        ck_assert_int_eq(gram_open(client, "anna", NULL, &session), 0);
        ck_assert_int_eq(gram_chown(session, "bin"), 0);
        ck_assert_int_eq(gram_info(session, &info), 0);
        ck_assert_str_eq(gram_info_owner(info), "bin");
        ck_assert_str_eq(info->name, "anna");
        gram_free(info);
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
                libgram_gives_a_session_away,
                NULL,
        };

        return test_program("chown", tests);
}
