/* gramctl for who is connected: clients, disconnect, monitor; and delete, which others may be in the way of.
 */

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../client-lib/gram.h"
#include "../support/client.h"
#include "../support/daemon.h"
#include "../support/gramctl.h"
#include "../support/program.h"

static struct gram_session *open_session(struct gram_client *client, const char *name)
{
        struct gram_session *session;

        ck_assert_int_eq(gram_open(client, name, NULL, &session), 0);
        return session;
}

START_TEST(lists_and_ends_clients)
{
        DAEMON daemon = gramctl_daemon();
        struct gram_client *bot = test_client_new(&(struct gram_options){ .client = "bot\x1b[2J" });
        struct gram_session *session = open_session(bot, "anna");
        TEST_FREED char *pid = test_format("%d", (int)getpid());
        RUN text = gramctl("", "clients");
        RUN json = gramctl("", "clients", "--json");
        RUN wrong = gramctl("", "disconnect", "bot");
        RUN nobody = gramctl("", "disconnect", "4711");
        TEST_FREED char *id = NULL;

        expect_done(&text);
        expect_in(text.out, pid);
        expect_in(text.out, "bot\\");
        expect_in(text.out, "  anna\n");
        expect_not_in(text.out, "\x1b");
        expect_done(&json);
        expect_in(json.out, "\"sessions\": [\"anna\"]}");
        expect_not_in(json.out, "\x1b");
        expect_failed(&wrong, 2, "bot is no id of a client");
        expect_failed(&nobody, 5, "4711");
        id = test_format("%lld", strtoll(strstr(json.out, "\"id\": ") + 6, NULL, 10));
        {
                test_breaks_connections();
                RUN ended = gramctl("", "disconnect", id);

                expect_done(&ended);
                expect_in(ended.out, "is disconnected");
        }
        ck_assert_int_eq(gram_save(session), GRAM_E_DENIED);
        gram_client_free(bot);
        daemon_stop(daemon);
}
END_TEST

/* Makes requests until the monitor shows one. Returns what it has shown. */
static char *first_line(struct gram_session *session, int out)
{
        static char text[4096];
        size_t n = 0;

        while (!memchr(text, '\n', n)) {
                struct pollfd shown = { .fd = out, .events = POLLIN };

                ck_assert_int_eq(gram_save(session), 0);
                if (poll(&shown, 1, 10) == 0)
                        continue;
                ssize_t got = read(out, text + n, sizeof(text) - 1 - n);

                ck_assert_int_gt(got, 0);
                n += (size_t)got;
        }
        text[n] = '\0';
        return text;
}

START_TEST(monitors_what_is_wanted)
{
        DAEMON daemon = gramctl_daemon();
        struct gram_client *client = test_client_new(&(struct gram_options){ .client = "bot\x1b[2J" });
        struct gram_session *anna = open_session(client, "anna"), *berta = open_session(client, "berta");
        int out[2], status;
        pid_t monitor;

        ck_assert_int_eq(pipe(out), 0);
        monitor = fork();
        if (monitor == 0) {
                dup2(out[1], STDOUT_FILENO);
                child_exec("gramctl", (const char *const[]){ "monitor", "--session", "b*", "--method", "save",
                                                             "--json", NULL });
        }
        close(out[1]);
        ck_assert_int_eq(gram_save(anna), 0);
        {
                const char *text = first_line(berta, out[0]);

                expect_in(text, "\"method\": \"save\", \"session\": \"berta\"");
                expect_not_in(text, "anna");
                expect_not_in(text, "\x1b");
                expect_in(text, "\"microseconds\": ");
        }
        kill(monitor, SIGTERM);
        ck_assert_int_eq(waitpid(monitor, &status, 0), monitor);
        close(out[0]);
        gram_client_free(client);
        daemon_stop(daemon);
}
END_TEST

START_TEST(deletes_what_nobody_uses)
{
        DAEMON daemon = gramctl_daemon();
        struct gram_client *client = test_client_new(NULL);
        struct gram_session *anna = open_session(client, "anna");
        int status;

        gram_close(open_session(client, "berta"));
        {
                RUN asks = gramctl("y\n", "delete", "berta");
                TEST_FREED char *refused = run_on_terminal(
                        "[y/N] ", "n\n", (const char *const[]){ "delete", "berta", NULL }, &status);
                RUN kept = gramctl("", "show", "berta");

                expect_failed(&asks, 2, "--yes");
                ck_assert_int_eq(status, 1);
                expect_in(refused, "delete berta, with the key of its account?");
                expect_in(refused, "nothing is deleted");
                expect_done(&kept);
        }
        {
                RUN part = gramctl("", "delete", "--yes", "anna", "berta");
                RUN gone = gramctl("", "delete", "--yes", "--quiet", "berta");

                ck_assert_int_eq(part.status, 7);
                expect_in(part.err, "anna: ");
                expect_in(part.err, "held by");
                ck_assert_str_eq(part.out, "1 done, 1 failed\n");
                expect_failed(&gone, 5, "berta: ");
        }
        {
                TEST_FREED char *agreed = run_on_terminal(
                        "[y/N] ", "y\n", (const char *const[]){ "delete", "--force", "anna", NULL }, &status);

                ck_assert_msg(status == 0, "%s", agreed);
        }
        ck_assert_int_lt(gram_save(anna), 0);
        gram_client_free(client);
        daemon_stop(daemon);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { lists_and_ends_clients, monitors_what_is_wanted,
                                       deletes_what_nobody_uses, NULL };

        return test_program("client-lib/gramctl_clients", tests);
}
