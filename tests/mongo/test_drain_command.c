/* `gramctl drain`: what it prints on a terminal, when it returns, and with which exit status. */

#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/mongo_server.h"
#include "../support/program.h"
#include "../support/wire.h"

/* gramctl on a terminal of its own. */
struct terminal {
        pid_t pid;
        int fd;
        size_t len;
        char text[8192];
};

static struct terminal gramctl(const char *const *arguments)
{
        TEST_FREED char *path = test_format("%s/gramctl", getenv("BUILD"));
        const char *argv[8] = { path, "drain" };
        struct terminal terminal = { 0 };

        for (int i = 0; arguments[i]; i++)
                argv[i + 2] = arguments[i];
        terminal.pid = forkpty(&terminal.fd, NULL, NULL, NULL);
        ck_assert_int_ge(terminal.pid, 0);
        if (terminal.pid == 0) {
                execv(path, (char **)(void *)argv);
                _exit(127);
        }
        return terminal;
}
#define gramctl(...) gramctl((const char *const[]){ __VA_ARGS__, NULL })

/* False: it has ended. */
static bool read_more(struct terminal *terminal)
{
        ssize_t n;

        ck_assert_uint_lt(terminal->len, sizeof(terminal->text) - 1);
        n = read(terminal->fd, terminal->text + terminal->len, sizeof(terminal->text) - 1 - terminal->len);
        if (n <= 0) /* EIO: no process has the terminal any more */
                return false;
        terminal->len += (size_t)n;
        return true;
}

static void expect_shown(struct terminal *terminal, const char *words)
{
        while (!strstr(terminal->text, words))
                ck_assert_msg(read_more(terminal), "no `%s` in: %s", words, terminal->text);
}

static void expect_ended(struct terminal *terminal, int exit_status)
{
        int status;

        while (read_more(terminal))
                continue;
        close(terminal->fd);
        ck_assert_int_eq(waitpid(terminal->pid, &status, 0), terminal->pid);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == exit_status, "status %d: %s", status,
                      terminal->text);
}

static struct daemon *started(const struct mongo_server *server)
{
        struct daemon *daemon = daemon_start(.flags = { "--mongo", server->uri, "--mongo-term", "600" });

        setenv("GRAMD_SOCKET", daemon->socket, 1);
        return daemon;
}

START_TEST(waits_until_the_sessions_are_handed_over)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *one = mongo_name("one");
        TEST_FREED char *two = mongo_name("two");
        struct terminal drain;

        if (!server)
                return;
        DAEMON a = started(server);
        CLIENT c = wire_connect(a);
        TEST_FREED char *holds =
                test_format("2 sessions left: a bot (pid %d, uid %u) holds 2", (int)getpid(), getuid());

        wire_call(c, "hello({client: 'a bot', features: ['leave']})");
        wire_open(c, "'a file', {}");
        wire_open(c, "'%s', {backend: 'mongo'}", one);
        wire_open(c, "'%s', {backend: 'mongo'}", two);
        drain = gramctl(NULL);
        expect_shown(&drain, holds);
        expect(c, "nil", "close(2)");
        expect_shown(&drain, "1 session left: a bot");
        expect(c, "nil", "close(3)");
        expect_ended(&drain, 0);
        expect_shown(&drain, "all sessions are handed over");
        drain = gramctl("--json");
        expect_ended(&drain, 0);
        expect_shown(&drain, "{\"draining\": true, \"sessions_owned\": 0}");
        drain = gramctl("--off");
        expect_ended(&drain, 0);
        wire_open(c, "'%s', {backend: 'mongo'}", one);
}
END_TEST

START_TEST(the_drain_goes_on_when_nobody_waits)
{
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);
        TEST_FREED char *name = mongo_name("stays");
        struct terminal drain;

        if (!server)
                return;
        DAEMON a = started(server);
        CLIENT c = wire_connect(a);
        CLIENT old = wire_connect(a);

        wire_call(c, "hello({client: 'a bot', features: ['leave']})");
        wire_open(c, "'%s', {backend: 'mongo'}", name);
        wire_open(old, "'%s', {backend: 'mongo'}", name);
        drain = gramctl("--wait", "0.3");
        expect_ended(&drain, 1);
        expect_shown(&drain, "1 session is not handed over yet. The drain goes on; `gramctl drain --off`");
        drain = gramctl(NULL);
        expect_shown(&drain, "1 session left");
        kill(drain.pid, SIGINT);
        expect_ended(&drain, 1);
        expect_shown(&drain, "The drain goes on");
        drain = gramctl("--no-wait");
        expect_ended(&drain, 0);
        expect_shown(&drain, "1 session to be handed over");
        ck_assert_int_eq(wire_number(wire_call(c, "stats()"), "draining"), 1);
        expect(c, "nil", "close(1)");
        drain = gramctl(NULL); /* the process of `old` is this one: its lease is waited out */
        expect_shown(&drain, "1 session left: the leases of clients that have gone are waited out");
        kill(drain.pid, SIGINT);
        expect_ended(&drain, 1);
}
END_TEST

START_TEST(refuses_wrong_command_lines)
{
        DAEMON a = daemon_start();
        struct terminal drain;

        setenv("GRAMD_SOCKET", a->socket, 1);
        drain = gramctl("--wait", "soon");
        expect_ended(&drain, 2);
        expect_shown(&drain, "--wait soon: not a number of seconds");
        drain = gramctl("--wait", "5", "--off");
        expect_ended(&drain, 2);
        expect_shown(&drain, "drain takes one of --wait, --no-wait and --off");
}
END_TEST

int main(void)
{
        return test_program("drain_command", (const TTest *const[]){ waits_until_the_sessions_are_handed_over,
                                                                     the_drain_goes_on_when_nobody_waits,
                                                                     refuses_wrong_command_lines, NULL });
}
