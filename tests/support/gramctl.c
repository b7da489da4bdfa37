/* Both outputs are read from files. */

#include "gramctl.h"

#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"

void run_deinit(struct run *run)
{
        free(run->out);
        free(run->err);
}

void child_exec(const char *program, const char *const *arguments)
{
        TEST_FREED char *path = test_format("%s/%s", getenv("BUILD"), program);
        const char *argv[12] = { path };

        for (int i = 0; arguments[i]; i++)
                argv[i + 1] = arguments[i];
        execv(path, (char **)(void *)argv);
        _exit(127);
}

struct run run_program_with(const char *program, const void *input, size_t size, const char *const *arguments)
{
        struct run run = { 0 };
        pid_t pid;
        int status;

        test_write_file("in", input, size);
        pid = fork();
        if (pid == 0) {
                dup2(open("in", O_RDONLY), STDIN_FILENO);
                dup2(open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600), STDOUT_FILENO);
                dup2(open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600), STDERR_FILENO);
                child_exec(program, arguments);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFEXITED(status));
        run.status = WEXITSTATUS(status);
        run.out = test_read_file("out", &run.out_size);
        run.err = test_read_file("err", NULL);
        test_remove("in");
        test_remove("out");
        test_remove("err");
        return run;
}

struct run run_program(const char *program, const char *input, const char *const *arguments)
{
        return run_program_with(program, input, strlen(input), arguments);
}

void expect_done(const struct run *run)
{
        ck_assert_msg(run->status == 0, "exit %d: %s", run->status, run->err);
        ck_assert_str_eq(run->err, "");
}

void expect_failed(const struct run *run, int status, const char *words)
{
        ck_assert_int_eq(run->status, status);
        ck_assert_str_eq(run->out, "");
        expect_in(run->err, words);
        ck_assert_ptr_eq(strchr(run->err, '\n'), run->err + strlen(run->err) - 1);
}

struct daemon *gramctl_daemon(void)
{
        struct daemon *daemon = daemon_start();

        setenv("GRAMD_SOCKET", daemon->socket, 1);
        return daemon;
}

char *run_on_terminal(const char *prompt, const char *typed, const char *const *arguments, int *status)
{
        char *screen = calloc(1, 65536);
        size_t len = 0;
        int terminal;
        pid_t pid = forkpty(&terminal, NULL, NULL, &(struct winsize){ .ws_row = 24, .ws_col = 80 });

        if (pid == 0)
                child_exec("gramctl", arguments);
        for (;;) {
                ssize_t n = read(terminal, screen + len, 65535 - len);

                if (n <= 0)
                        break;
                len += (size_t)n;
                if (prompt && strstr(screen, prompt)) {
                        ck_assert_int_eq(write(terminal, typed, strlen(typed)), (ssize_t)strlen(typed));
                        prompt = NULL;
                }
        }
        close(terminal);
        ck_assert_int_eq(waitpid(pid, status, 0), pid);
        *status = WEXITSTATUS(*status);
        return screen;
}
