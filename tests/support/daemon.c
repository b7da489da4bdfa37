/*
 * Starting, watching and ending a real daemon. PR_SET_PDEATHSIG ends the child with the test's process, so
 * that no daemon outlives a failed test; test_program() then removes its directory.
 */
#include "daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "program.h"

enum { ARGUMENTS_MAX = 32 };

struct arguments {
        const char *word[ARGUMENTS_MAX + 1];
        size_t n;
        char *wrapper; /* a copy, cut into words */
        char *program;
};

static void argument(struct arguments *arguments, const char *word)
{
        ck_assert_uint_lt(arguments->n, ARGUMENTS_MAX);
        arguments->word[arguments->n++] = word;
}

static void program_arguments(struct arguments *arguments, const char *name)
{
        const char *build = getenv("BUILD");
        const char *wrapper = getenv("GRAMD_WRAPPER");
        char *rest = NULL;

        ck_assert_msg(build != NULL, "BUILD names the directory of the built programs; it is not set");
        *arguments = (struct arguments){
                .wrapper = test_format("%s", wrapper ? wrapper : ""),
                .program = strchr(name, '/') ? test_format("%s", name) : test_format("%s/%s", build, name),
        };
        for (char *word = strtok_r(arguments->wrapper, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
                argument(arguments, word);
        argument(arguments, arguments->program);
}

static void arguments_deinit(struct arguments *arguments)
{
        free(arguments->wrapper);
        free(arguments->program);
}

/* 0 leaves a limit as it is. */
static void limit(__rlimit_resource_t resource, long soft, long hard)
{
        struct rlimit limit;

        getrlimit(resource, &limit);
        if (hard > 0)
                limit.rlim_cur = limit.rlim_max = (rlim_t)hard;
        if (soft > 0)
                limit.rlim_cur = (rlim_t)soft;
        setrlimit(resource, &limit);
}

static void set_number(const char *name, long value)
{
        char text[32];

        snprintf(text, sizeof(text), "%ld", value);
        setenv(name, text, 1);
}

/* What is set already stays. */
static void add_asan_option(const char *option)
{
        const char *given = getenv("ASAN_OPTIONS");
        TEST_FREED char *options = test_format("%s:%s", given ? given : "", option);

        setenv("ASAN_OPTIONS", options, 1);
}

/* In the child, between fork and exec. */
static void become(const struct daemon *daemon, const struct arguments *arguments, int err, int held,
                   pid_t parent)
{
        static const char *const unwanted[] = { "GRAMD_SOCKET", "XDG_RUNTIME_DIR", "STATE_DIRECTORY",
                                                "LISTEN_FDS",   "LISTEN_PID",      "WATCHDOG_USEC",
                                                "WATCHDOG_PID", "JOURNAL_STREAM",  "CREDENTIALS_DIRECTORY" };

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(127);
        for (size_t i = 0; i < sizeof(unwanted) / sizeof(unwanted[0]); i++)
                unsetenv(unwanted[i]);
        setenv("ASAN_OPTIONS", "quarantine_size_mb=16", 0); /* leak checkers look at the daemon, too */
        if (getenv("LD_PRELOAD"))
                add_asan_option("verify_asan_link_order=0"); /* ASan's library need not be the first */
        dup2(err, STDERR_FILENO);
        fcntl(held, F_SETFD, 0);
        if (daemon->setup.file_size_limit > 0)
                signal(SIGXFSZ, SIG_IGN);
        limit(RLIMIT_FSIZE, 0, daemon->setup.file_size_limit);
        limit(RLIMIT_NOFILE, daemon->setup.open_files_soft, daemon->setup.open_files);
        if (daemon->setup.listen_fd > 0) {
                dup2(daemon->setup.listen_fd, 3);
                fcntl(3, F_SETFD, 0);
                setenv("LISTEN_FDS", "1", 1);
                set_number("LISTEN_PID", getpid());
        }
        if (daemon->setup.watchdog_us > 0) {
                set_number("WATCHDOG_USEC", daemon->setup.watchdog_us);
                set_number("WATCHDOG_PID", getpid());
        }
        if (chdir(daemon->dir) == 0)
                execvp(arguments->word[0], (char *const *)arguments->word);
        _exit(127);
}

/*
 * A pipe whose writing end only the daemon holds: reading it returns when the daemon ends, in whatever way.
 * (A pidfd would do, but valgrind does not know it.)
 */
static int pipe_of_life(struct daemon *daemon)
{
        int ends[2], held;

        ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
        held = fcntl(ends[1], F_DUPFD_CLOEXEC, 10); /* not among the numbers of inherited sockets */
        close(ends[1]);
        daemon->ended = ends[0];
        return held;
}

static void launch(struct daemon *daemon)
{
        struct arguments arguments;
        pid_t parent = getpid();
        int err = open(daemon->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        int held = pipe_of_life(daemon);

        ck_assert_int_ge(err, 0);
        program_arguments(&arguments, daemon->setup.program ? daemon->setup.program : "gramd");
        argument(&arguments, "--config");
        argument(&arguments, daemon->config);
        argument(&arguments, "--data");
        argument(&arguments, daemon->data);
        if (daemon->setup.listen_fd <= 0) {
                argument(&arguments, "--socket");
                argument(&arguments, daemon->socket);
        }
        for (size_t i = 0; i < 8 && daemon->setup.flags[i]; i++)
                argument(&arguments, daemon->setup.flags[i]);
        if (getenv("GRAMD_TEST_MONGO_LAYOUT")) {
                argument(&arguments, "--mongo-layout");
                argument(&arguments, getenv("GRAMD_TEST_MONGO_LAYOUT"));
        }
        daemon->pid = fork();
        ck_assert_int_ge(daemon->pid, 0);
        if (daemon->pid == 0) {
                TEST_FREED char *notify = daemon_beside(daemon, "notify");

                setenv("NOTIFY_SOCKET", notify, 1);
                become(daemon, &arguments, err, held, parent);
        }
        close(err);
        arguments_deinit(&arguments);
        close(held);
        if (!daemon->setup.not_waited_for)
                daemon_await(daemon, "READY=1");
}

static int notify_socket(const struct daemon *daemon)
{
        TEST_FREED char *path = daemon_beside(daemon, "notify");
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
        strcpy(address.sun_path, path);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

struct daemon *daemon_start_setup(const struct daemon_setup *setup)
{
        struct daemon *daemon = calloc(1, sizeof(*daemon));
        char cwd[4096];

        ck_assert_ptr_nonnull(daemon);
        ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
        daemon->setup = *setup;
        daemon->dir = test_format("%s/gramd.XXXXXX", cwd);
        ck_assert_msg(mkdtemp(daemon->dir) != NULL, "mkdtemp: %s", strerror(errno));
        daemon->data = setup->data ? test_format("%s", setup->data) : daemon_beside(daemon, "data");
        daemon->socket = setup->socket ? test_format("%s", setup->socket) : daemon_beside(daemon, "socket");
        daemon->config = daemon_beside(daemon, "gramd.conf");
        daemon->log = daemon_beside(daemon, "stderr");
        if (!setup->data)
                ck_assert_int_eq(mkdir(daemon->data, 0700), 0);
        test_write_file(daemon->config, setup->config ? setup->config : "",
                        setup->config ? strlen(setup->config) : 0);
        daemon->notify = notify_socket(daemon);
        launch(daemon);
        return daemon;
}

void daemon_end(struct daemon **daemon_pointer)
{
        struct daemon *daemon = *daemon_pointer;

        *daemon_pointer = NULL;
        if (!daemon)
                return;
        if (daemon->pid)
                daemon_stop(daemon);
        close(daemon->notify);
        test_remove(daemon->dir);
        free(daemon->dir);
        free(daemon->data);
        free(daemon->socket);
        free(daemon->config);
        free(daemon->log);
        free(daemon);
}

/* ---- notifications and logs ---- */

static bool has_line(const char *text, const char *line)
{
        size_t len = strlen(line);

        for (const char *at = text; (at = strstr(at, line)); at++)
                if ((at == text || at[-1] == '\n') && (at[len] == '\0' || at[len] == '\n'))
                        return true;
        return false;
}

void daemon_await(struct daemon *daemon, const char *line)
{
        long long start = test_now_ms();

        for (;;) {
                struct pollfd fds[] = { { .fd = daemon->notify, .events = POLLIN },
                                        { .fd = daemon->ended, .events = POLLIN } };
                char text[4096];
                ssize_t len;

                if (poll(fds, 2, test_time_left(start, line)) < 0)
                        continue;
                if (!(fds[0].revents & POLLIN)) {
                        if (fds[1].revents)
                                ck_abort_msg("the daemon ended with status %d instead of sending %s",
                                             daemon_wait(daemon), line);
                        continue;
                }
                len = recv(daemon->notify, text, sizeof(text) - 1, MSG_DONTWAIT);
                if (len < 0)
                        continue;
                text[len] = '\0';
                if (has_line(text, line))
                        return;
        }
}

void daemon_reload(struct daemon *daemon, const char *config)
{
        test_write_file(daemon->config, config, strlen(config));
        daemon_signal(daemon, SIGHUP);
        daemon_await(daemon, "RELOADING=1");
        daemon_await(daemon, "READY=1");
}

char *daemon_log(const struct daemon *daemon)
{
        return test_read_file(daemon->log, NULL);
}

int daemon_log_lines(const struct daemon *daemon, const char *what)
{
        TEST_FREED char *log = daemon_log(daemon);
        int n = 0;

        for (const char *at = log; (at = strstr(at, what)); at++)
                n++;
        return n;
}

char *daemon_path(const struct daemon *daemon, const char *session)
{
        return test_format("%s/%s.session", daemon->data, session);
}

char *daemon_beside(const struct daemon *daemon, const char *name)
{
        return test_format("%s/%s", daemon->dir, name);
}

static long status_kb(const struct daemon *daemon, const char *key)
{
        TEST_FREED char *path = test_format("/proc/%d/status", (int)daemon->pid);
        TEST_FREED char *text = test_read_file(path, NULL);
        const char *at = text ? strstr(text, key) : NULL;

        ck_assert_msg(at != NULL, "no %s in %s", key, path);
        return strtol(at + strlen(key), NULL, 10);
}

long daemon_rss_kb(const struct daemon *daemon)
{
        return status_kb(daemon, "VmRSS:");
}

long daemon_peak_rss_kb(const struct daemon *daemon)
{
        return status_kb(daemon, "VmHWM:");
}

int daemon_open_files(const struct daemon *daemon)
{
        TEST_FREED char *path = test_format("/proc/%d/fd", (int)daemon->pid);
        DIR *dir = opendir(path);
        int n = -2; /* `.` and `..` */

        ck_assert_ptr_nonnull(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

/* ---- its end ---- */

void daemon_signal(struct daemon *daemon, int signal)
{
        ck_assert_int_gt(daemon->pid, 0);
        ck_assert_int_eq(kill(daemon->pid, signal), 0);
}

static int exit_status(int status)
{
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int daemon_wait(struct daemon *daemon)
{
        long long start = test_now_ms();
        struct pollfd fd = { .fd = daemon->ended, .events = POLLIN };
        int status = 0;

        while (poll(&fd, 1, test_time_left(start, "the daemon's end")) <= 0)
                continue;
        ck_assert_int_eq(waitpid(daemon->pid, &status, 0), daemon->pid);
        close(daemon->ended);
        daemon->pid = 0;
        return exit_status(status);
}

void daemon_stop(struct daemon *daemon)
{
        int status;

        test_breaks_connections();
        daemon_signal(daemon, SIGTERM);
        status = daemon_wait(daemon);
        ck_assert_msg(status == 0, "the daemon ended with status %d after SIGTERM", status);
}

void daemon_kill(struct daemon *daemon)
{
        test_breaks_connections();
        daemon_signal(daemon, SIGKILL);
        ck_assert_int_eq(daemon_wait(daemon), 128 + SIGKILL);
}

void daemon_resume(struct daemon *daemon)
{
        char text[4096];

        ck_assert_int_eq(daemon->pid, 0);
        while (recv(daemon->notify, text, sizeof(text), MSG_DONTWAIT) > 0)
                continue;
        launch(daemon);
}

void daemon_freeze(struct daemon *daemon)
{
        int status;

        daemon_signal(daemon, SIGSTOP);
        ck_assert_int_eq(waitpid(daemon->pid, &status, WUNTRACED), daemon->pid);
        ck_assert(WIFSTOPPED(status));
}

void daemon_thaw(struct daemon *daemon)
{
        daemon_signal(daemon, SIGCONT);
}

/* ---- runs that end by themselves ---- */

struct daemon_run daemon_run(const char *const *words)
{
        struct daemon daemon = { .dir = getcwd(NULL, 0) };
        struct daemon_run run = { 0 };
        struct arguments arguments;
        pid_t parent = getpid();
        int out = memfd_create("out", MFD_CLOEXEC);
        int err = memfd_create("err", MFD_CLOEXEC);
        int held = pipe_of_life(&daemon);
        char path[64];

        program_arguments(&arguments, "gramd");
        for (; *words; words++)
                argument(&arguments, *words);
        daemon.pid = fork();
        ck_assert_int_ge(daemon.pid, 0);
        if (daemon.pid == 0) {
                dup2(out, STDOUT_FILENO);
                unsetenv("NOTIFY_SOCKET");
                become(&daemon, &arguments, err, held, parent);
        }
        close(held);
        run.status = daemon_wait(&daemon);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", out);
        run.out = test_read_file(path, NULL);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", err);
        run.err = test_read_file(path, NULL);
        close(out);
        close(err);
        arguments_deinit(&arguments);
        free(daemon.dir);
        return run;
}

void daemon_run_deinit(struct daemon_run *run)
{
        free(run->out);
        free(run->err);
}
