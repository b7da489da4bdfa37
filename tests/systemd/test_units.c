/*
 * The units as `make install` installs them: systemd accepts them, their sandbox is as tight as they state,
 * and the daemon supports what they use (an inherited socket, notifications). No running systemd is needed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/command.h"
#include "../support/daemon.h"
#include "../support/program.h"
#include "../support/sandbox.h"
#include "../support/wire.h"

static double exposure(const char *unit)
{
        static const char label[] = "Overall exposure level for gramd.service: ";
        TEST_FREED char *output = command("systemd-analyze security --offline=true --no-pager %s", unit);
        const char *at = strstr(output, label);

        ck_assert_msg(at != NULL, "no figure in: %s", output);
        return strtod(at + strlen(label), NULL);
}

START_TEST(units_are_clean)
{
        TEST_FREED char *system = NULL, *user = NULL;

        install_here();
        system = command(
                "cd installed/lib/systemd/system && systemd-analyze verify --man=no \"$PWD/gramd.service\" "
                "\"$PWD/gramd.socket\"");
        ck_assert_str_eq(system, "");
        user = command("cd installed/lib/systemd/user && XDG_RUNTIME_DIR=$PWD systemd-analyze verify --user "
                       "--man=no "
                       "\"$PWD/gramd.service\" \"$PWD/gramd.socket\"");
        ck_assert_str_eq(user, "");
}
END_TEST

START_TEST(the_sandbox_is_tight)
{
        TEST_FREED char *made = NULL, *stated = NULL;
        char *with, *without;

        install_here();
        stated = command("sed -n 's/.* rates the service \\(.*\\) with it, and \\(.*\\) without.*/\\1 \\2/p' "
                         "installed/share/doc/gramd/mongodb.conf");
        with = stated;
        without = strchr(stated, ' ');
        ck_assert_ptr_nonnull(without);

        ck_assert_double_le(exposure("installed/lib/systemd/system/gramd.service"), 0.5);
        ck_assert_double_le(exposure("installed/lib/systemd/system/gramd.service"), strtod(without, NULL));
        made = command("cd installed/lib/systemd/system && mkdir gramd.service.d && "
                       "cp ../../../share/doc/gramd/mongodb.conf gramd.service.d/");
        ck_assert_double_le(exposure("installed/lib/systemd/system/gramd.service"), strtod(with, NULL));
}
END_TEST

/* In a user namespace every client's uid would read as 65534, and access rules could not name users. */
START_TEST(callers_keep_their_uids)
{
        TEST_FREED char *off = NULL;

        install_here();
        off = command("grep -x PrivateUsers=no installed/lib/systemd/system/gramd.service && "
                      "! grep -r '^PrivateUsers=yes' installed/lib/systemd");
}
END_TEST

/* The journal's limit is one for all lines of the service: one user's would push out those of others. */
START_TEST(the_journal_drops_no_lines)
{
        install_here();
        free(command("grep -x LogRateLimitIntervalSec=0 installed/lib/systemd/system/gramd.service"));
}
END_TEST

/*
 * MemoryMax= is above the sum of the budgets, which is in a comment. An option that is a size is a budget, or
 * named here.
 */
START_TEST(memory_is_limited_above_all_budgets)
{
        static const char unit[] = "installed/lib/systemd/system/gramd.service";
        TEST_FREED char *defaults = NULL, *stated = NULL, *max = NULL, *sum = NULL;

        install_here();
        defaults = command(
                "env -i STATE_DIRECTORY=/nowhere GRAMD_SOCKET=/nowhere/s \"$BUILD/gramd\" --config "
                "/dev/null --print-config | sed -n 's/^\\([a-z-]*\\) = \\([0-9]*[kMGT]\\)$/\\1 \\2/p' | "
                "grep -v -e '^max-message ' -e '^client-buffer ' -e '^log-max ' -e '^kv-max ' | sort");
        stated = command("sed -n 's/^# The budgets for memory, by default: \\(.*\\) = .*/\\1/p' %s | "
                         "sed 's/ + /\\n/g'",
                         unit);
        ck_assert_str_eq(stated, defaults);
        sum = command("echo $((0 $(echo '%s' | sed 's/.* \\([0-9]*\\)M$/+ \\1/')))", stated);
        max = command("sed -n 's/^# The budgets for memory.* = \\([0-9]*\\)M\\. .*/\\1/p' %s", unit);
        ck_assert_str_eq(sum, max);
        ck_assert_int_gt(atoi(sum), 0);
        free(max);
        max = command("sed -n 's/^MemoryMax=\\([0-9]*\\)G$/\\1/p' %s", unit);
        ck_assert_int_gt(atoi(max) * 1024, 2 * atoi(sum));
}
END_TEST

struct activator {
        pid_t pid;
        FILE *err;
};

/* systemd-socket-activate executes the daemon when the first client connects. */
static struct activator activator_start(const char *socket)
{
        TEST_FREED char *listen = test_format("--listen=%s", socket);
        TEST_FREED char *gramd = test_format("%s/gramd", getenv("BUILD"));
        pid_t parent = getpid();
        struct activator activator;
        int ends[2];

        ck_assert_int_eq(pipe(ends), 0);
        activator.pid = fork();
        ck_assert_int_ge(activator.pid, 0);
        if (activator.pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(127);
                dup2(ends[1], STDERR_FILENO);
                close(ends[0]);
                close(ends[1]);
                execlp("systemd-socket-activate", "systemd-socket-activate", listen, gramd, "--config",
                       "/dev/null", "--data", "data", NULL);
                _exit(127);
        }
        close(ends[1]);
        activator.err = fdopen(ends[0], "re");
        return activator;
}

static void activator_await(struct activator *activator, const char *text)
{
        TEST_FREED char *line = NULL;
        size_t size = 0;

        while (getline(&line, &size, activator->err) >= 0)
                if (strstr(line, text))
                        return;
        ck_abort_msg("systemd-socket-activate ended without: %s", text);
}

START_TEST(the_first_client_starts_the_daemon)
{
        TEST_FREED char *cwd = getcwd(NULL, 0);
        TEST_FREED char *socket = test_format("%s/activated", cwd);
        struct activator activator = activator_start(socket);
        int status;

        activator_await(&activator, "Listening on");
        {
                CLIENT c = wire_connect_path(socket);

                ck_assert_ptr_nonnull(c);
                expect(c, "{...server: 'gramd'...}", "hello({client: 'first'})");
                wire_open(c, "'anna', {create: true}");
        }
        ck_assert_int_eq(kill(activator.pid, SIGTERM), 0);
        ck_assert_int_eq(waitpid(activator.pid, &status, 0), activator.pid);
        ck_assert_int_eq(status, 0);
        ck_assert_int_eq(access("data/anna.session", F_OK), 0);
        ck_assert_int_ne(access("data/anna.session-wal", F_OK), 0);
        /* The daemon does not remove a socket that it has inherited. */
        ck_assert_int_eq(access(socket, F_OK), 0);
        fclose(activator.err);
        test_remove(socket);
        test_remove("data");
}
END_TEST

START_TEST(the_manager_is_notified)
{
        DAEMON d = daemon_start(.watchdog_us = 2000000, .not_waited_for = true);

        daemon_await(d, "READY=1");
        daemon_await(d, "WATCHDOG=1");
        daemon_reload(d, "");
        daemon_signal(d, SIGTERM);
        daemon_await(d, "STOPPING=1");
        ck_assert_int_eq(daemon_wait(d), 0);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { units_are_clean,
                                       the_sandbox_is_tight,
                                       callers_keep_their_uids,
                                       the_journal_drops_no_lines,
                                       memory_is_limited_above_all_budgets,
                                       the_manager_is_notified,
                                       the_first_client_starts_the_daemon,
                                       NULL };

        return test_program("systemd", tests);
}
