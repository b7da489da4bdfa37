/*
 * No copies of auth keys and session strings are left in a client's memory: of a program that uses libgram,
 * and of gramctl at its end, which is held there. A program is run anew for that, because this one knows the
 * key.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/client.h"
#include "../support/leftover.h"
#include "../support/program.h"

static const char format[] = "telethon";

/* ---- the program that is searched ---- */

static void must(int code)
{
        if (code != 0)
                _exit(1);
}

/* Copies the key of one session to another in every way that there is. It stands after each. */
static int run_client(const char *socket)
{
        struct gram_client *client = gram_client_new(&(struct gram_options){ .socket = socket });
        const struct gram_import_options options = { .overwrite = true };
        struct gram_session *from, *to;
        struct gram_identity identity;
        char *text = NULL;
        unsigned fields;

        must(gram_open(client, "from", NULL, &from) || gram_open(client, "to", NULL, &to));
        must(gram_get(from, GRAM_AUTH_KEY, &identity) || gram_set(to, &identity));
        gram_identity_wipe(&identity);
        raise(SIGSTOP);

        must(gram_export_string(from, format, &text) || gram_import_string(to, text, &options, &fields));
        gram_free(text);
        raise(SIGSTOP);

        must(gram_get(from, GRAM_AUTH_KEY, &identity) || gram_async_set(to, &identity, NULL, NULL));
        gram_identity_wipe(&identity);
        gram_client_free(client); /* before the request is sent */
        raise(SIGSTOP);
        return 0;
}

/* ---- the search ---- */

struct setting {
        struct daemon *daemon;
        struct leftover_key key;
        struct leftover_key text; /* a part of its session string */
        char *string;
};

static struct setting begin(void)
{
        struct setting t = { .daemon = daemon_start() };
        struct gram_client *client = test_client_new(&(struct gram_options){ .socket = t.daemon->socket });
        struct gram_identity identity = { .fields = GRAM_AUTH_KEY };
        struct gram_session *session;
        char *text;

        leftover_key(&t.key, 1);
        memcpy(identity.auth_key, t.key.bytes, sizeof(identity.auth_key));
        ck_assert_int_eq(gram_open(client, "from", NULL, &session), 0);
        ck_assert_int_eq(gram_set(session, &identity), 0);
        ck_assert_int_eq(gram_export_string(session, format, &text), 0);
        t.string = strdup(text);
        ck_assert_uint_gt(strlen(text), 40 + sizeof(t.text.bytes));
        memcpy(t.text.bytes, text + 40, sizeof(t.text.bytes));
        gram_free(text);
        gram_client_free(client);
        return t;
}

static void end(struct setting *t)
{
        free(t->string);
        daemon_end(&t->daemon);
}

static bool is_searchable(void)
{
        if (test_memory_factor() == 1)
                return true;
        test_skipped("the search through a client's memory", "an allocator that is not a sanitizer's");
        return false;
}

static void expect_nothing(pid_t pid, const struct setting *t, const char *after)
{
        ck_assert_msg(leftover_in_process(pid, &t->key) == 0, "a key is in memory after %s", after);
        ck_assert_msg(leftover_in_process(pid, &t->text) == 0, "a session string is in memory after %s",
                      after);
}

START_TEST(a_client_of_libgram_keeps_nothing)
{
        static const char *const stages[] = { "get and set", "export and import", "the client's end" };
        struct setting t;
        int status;
        pid_t pid;

        if (!is_searchable())
                return;
        t = begin();
        pid = fork();
        if (pid == 0) {
                execl("/proc/self/exe", "client", t.daemon->socket, NULL);
                _exit(127);
        }
        for (int i = 0; i < 3; i++) {
                ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
                ck_assert_msg(WIFSTOPPED(status), "before %s: status %x", stages[i], (unsigned)status);
                expect_nothing(pid, &t, stages[i]);
                kill(pid, SIGCONT);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
        end(&t);
}
END_TEST

/* Stops the program when it has done all but free its memory. It must end well. */
static pid_t run_to_the_end(const char *program, const char *const *arguments, const char *input)
{
        unsigned long code = 1;
        int status, signal = 0;
        pid_t pid = fork();

        if (pid == 0) {
                dup2(open(input, O_RDONLY | O_CLOEXEC), STDIN_FILENO);
                dup2(open("output", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), STDOUT_FILENO);
                ptrace(PTRACE_TRACEME, 0, NULL, NULL);
                execv(program, (char *const *)(uintptr_t)arguments);
                _exit(127);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(WIFSTOPPED(status), "it cannot be traced: status %x", (unsigned)status);
        ck_assert_int_eq(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL), 0);
        for (;;) {
                ptrace(PTRACE_CONT, pid, NULL, signal);
                ck_assert_int_eq(waitpid(pid, &status, 0), pid);
                ck_assert_msg(WIFSTOPPED(status), "%s: status %x", arguments[1], (unsigned)status);
                if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8))
                        break;
                signal = WSTOPSIG(status);
        }
        ck_assert_int_eq(ptrace(PTRACE_GETEVENTMSG, pid, NULL, &code), 0);
        ck_assert_msg(code == 0, "gramctl %s: status %lx", arguments[1], code);
        return pid;
}

START_TEST(gramctl_keeps_nothing)
{
        static const char *const commands[][6] = {
                { "gramctl", "export", "from", "--format", format },
                { "gramctl", "export", "from", "--format", format, "--json" },
                { "gramctl", "import", "to", "string" },
                { "gramctl", "import", "to" },
                { "gramctl", "import", "to", "--json", "--overwrite" },
                { "gramctl", "show", "from" },
                { "gramctl", "show", "from", "--json" },
        };
        TEST_FREED char *program = test_format("%s/gramctl", getenv("BUILD"));
        struct setting t;
        int status;

        if (!is_searchable())
                return;
        t = begin();
        setenv("GRAMD_SOCKET", t.daemon->socket, 1);
        test_write_file("string", t.string, strlen(t.string));
        for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
                const char *arguments[7] = { NULL };
                pid_t pid;

                memcpy(arguments, commands[i], sizeof(commands[i]));
                pid = run_to_the_end(program, arguments, "string");
                expect_nothing(pid, &t, arguments[1]);
                ptrace(PTRACE_DETACH, pid, NULL, NULL);
                ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        }
        test_remove("string");
        test_remove("output");
        end(&t);
}
END_TEST

/* A key file's new line, too. */
START_TEST(gramctl_keeps_no_new_key)
{
        static const char *const arguments[] = { "gramctl", "key", "new", "-", NULL };
        TEST_FREED char *program = test_format("%s/gramctl", getenv("BUILD"));
        TEST_FREED char *line = NULL;
        struct leftover_key text;
        int status;
        pid_t pid;

        if (!is_searchable())
                return;
        pid = run_to_the_end(program, arguments, "/dev/null");
        line = test_read_file("output", NULL);
        ck_assert_uint_ge(strlen(line), 12 + 44);
        leftover_key(&text, 9);
        memcpy(text.bytes, line + 12, 16); /* the first block that is looked for */
        memcpy(text.bytes + 64, line + 12 + 16, 16);
        ck_assert_int_eq(leftover_in_process(pid, &text), 0);
        ptrace(PTRACE_DETACH, pid, NULL, NULL);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        test_remove("output");
}
END_TEST

int main(int argc, char **argv)
{
        const TTest *const tests[] = { a_client_of_libgram_keeps_nothing, gramctl_keeps_nothing,
                                       gramctl_keeps_no_new_key, NULL };

        if (argc == 2 && strcmp(argv[0], "client") == 0)
                return run_client(argv[1]);
        return test_program("client-lib/leftover", tests);
}
