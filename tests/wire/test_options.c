/*
 * Flags and configuration as an operator sees them: each mistake is one line and exit status 2;
 * --check-config, --print-config, --version, --help.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/wire.h"

static void expect_one_line(const struct daemon_run *run, const char *what, const char *const *named)
{
        const char *end = strchr(run->err, '\n');

        ck_assert_msg(run->status == 2, "%s: status %d, %s", what, run->status, run->err);
        ck_assert_msg(end && end[1] == '\0' && end > run->err, "%s: not one line: %s", what, run->err);
        for (; *named; named++)
                ck_assert_msg(strstr(run->err, *named) != NULL, "%s: %s is not named: %s", what, *named,
                              run->err);
        ck_assert_str_eq(run->out, "");
}

static const struct {
        const char *arguments[4];
        const char *named[3];
} wrong_flags[] = {
        { { "--bogus" }, { "--bogus" } },
        { { "--bogus=5" }, { "bogus" } },
        { { "-x" }, { "-x" } },
        { { "stray" }, { "stray" } },
        { { "--socket" }, { "--socket" } },
        { { "--log-level", "loud" }, { "--log-level", "loud" } },
        { { "--backend", "nope" }, { "--backend", "nope" } },
        { { "--config", "/nonexistent/gramd.conf" }, { "/nonexistent/gramd.conf" } },
        { { "--version=5" }, { "--version" } },
        { { "--log-level", "" }, { "--log-level" } },
        { { "--data", "" }, { "--data" } },
};

START_TEST(wrong_flags_are_one_line)
{
        for (size_t i = 0; i < sizeof(wrong_flags) / sizeof(wrong_flags[0]); i++) {
                DAEMON_RUN run = daemon_run(wrong_flags[i].arguments);

                expect_one_line(&run, wrong_flags[i].arguments[0], wrong_flags[i].named);
        }
}
END_TEST

START_TEST(a_socket_path_too_long_is_one_line)
{
        TEST_FREED char *path = test_format("/tmp/%0200d", 0);
        const char *const arguments[] = { "--socket", path, NULL };
        const char *const named[] = { "--socket", NULL };
        DAEMON_RUN run = daemon_run(arguments);

        expect_one_line(&run, "a long socket path", named);
}
END_TEST

static const struct {
        const char *text;
        const char *named[4]; /* words of the message, apart from the file's name */
} wrong_files[] = {
        { "bogus = 5\n", { ":1:", "bogus" } },
        { "\n# a comment\n\nbogus = 5\n", { ":4:", "bogus" } },
        { "log-level = loud\n", { ":1:", "log-level", "loud" } },
        { "fsync = sometimes\n", { ":1:", "fsync", "sometimes" } },
        { "cache = lots\n", { ":1:", "cache", "lots" } },
        { "cache = -1\n", { ":1:", "cache", "-1" } },
        { "idle-close = soon\n", { ":1:", "idle-close", "soon" } },
        { "memory-max = 1X\n", { ":1:", "memory-max", "1X" } },
        { "backend = nope\n", { ":1:", "backend", "nope" } },
        { "log-level\n", { ":1:", "log-level" } },
        { "[bogus]\nx = y\n", { ":1:", "bogus" } },
        { "[access\n", { ":1:" } },
        { "cache = 1M\n[access]\nuser nobodyhere = read\n", { ":3:", "nobodyhere" } },
        { "[access]\neveryone = fly\n", { ":2:", "fly" } },
        { "[access]\neveryone = read in attic\n", { ":2:", "attic" } },
        { "[access]\nsomebody = read\n", { ":2:", "somebody" } },
};

START_TEST(wrong_files_are_one_line)
{
        for (size_t i = 0; i < sizeof(wrong_files) / sizeof(wrong_files[0]); i++) {
                static const char *const checks[][4] = { { "--config", "wrong.conf" },
                                                         { "--config", "wrong.conf", "--check-config" } };
                const char *const file[] = { "wrong.conf", NULL };

                test_write_file("wrong.conf", wrong_files[i].text, strlen(wrong_files[i].text));
                for (size_t j = 0; j < 2; j++) {
                        DAEMON_RUN run = daemon_run(checks[j]);

                        expect_one_line(&run, wrong_files[i].text, file);
                        expect_one_line(&run, wrong_files[i].text, wrong_files[i].named);
                }
        }
        unlink("wrong.conf");
}
END_TEST

START_TEST(check_config_checks_and_ends)
{
        const char *const arguments[] = { "--config", "right.conf", "--check-config",
                                          "--data",   "nowhere",    NULL };
        static const char text[] = "cache = 1M\nfsync = always\n\n[access]\neveryone = read on pub-*\n";

        test_write_file("right.conf", text, sizeof(text) - 1);
        DAEMON_RUN run = daemon_run(arguments);
        ck_assert_msg(run.status == 0, "%s", run.err);
        ck_assert_int_ne(access("nowhere", F_OK), 0);
        unlink("right.conf");
}
END_TEST

/* --print-config prints a configuration file that means the same. */
START_TEST(print_config_can_be_read_back)
{
        static const char text[] =
                "cache = 3M\nfsync = always\nidle-close = 2.5\n\n[access]\neveryone = read on pub-*\n";
        const char *const first[] = { "--config", "a.conf", "--log-level",    "debug",
                                      "--data",   "d",      "--print-config", NULL };
        const char *const second[] = { "--config", "b.conf", "--print-config", NULL };

        test_write_file("a.conf", text, sizeof(text) - 1);
        DAEMON_RUN printed = daemon_run(first);
        ck_assert_msg(printed.status == 0, "%s", printed.err);
        ck_assert_ptr_nonnull(strstr(printed.out, "cache = 3M\n"));
        ck_assert_ptr_nonnull(strstr(printed.out, "log-level = debug\n"));
        ck_assert_ptr_nonnull(strstr(printed.out, "pub-*"));
        test_write_file("b.conf", printed.out, strlen(printed.out));
        DAEMON_RUN again = daemon_run(second);
        ck_assert_msg(again.status == 0, "%s", again.err);
        ck_assert_str_eq(again.out, printed.out);
        unlink("a.conf");
        unlink("b.conf");
}
END_TEST

START_TEST(secrets_of_the_mongo_uri_are_not_printed)
{
        const char *const arguments[] = { "--config",       "/dev/null",
                                          "--mongo",        "mongodb://me:hunter2@db.example/",
                                          "--print-config", NULL };
        DAEMON_RUN run = daemon_run(arguments);

        ck_assert_ptr_null(strstr(run.out, "hunter2"));
        ck_assert_ptr_null(strstr(run.err, "hunter2"));
}
END_TEST

START_TEST(version_and_help)
{
        static const char *const flags[] = { "--socket", "--data",         "--config",      "--backend",
                                             "--mongo",  "--log-level",    "--log-json",    "--version",
                                             "--help",   "--check-config", "--print-config" };
        const char *const version[] = { "--version", NULL };
        const char *const help[] = { "--help", NULL };
        DAEMON_RUN told = daemon_run(version);
        DAEMON_RUN helped = daemon_run(help);

        ck_assert_int_eq(told.status, 0);
        ck_assert_ptr_nonnull(strstr(told.out, "gramd"));
        ck_assert_int_eq(helped.status, 0);
        for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
                ck_assert_msg(strstr(helped.out, flags[i]) != NULL, "%s is not in the help", flags[i]);
}
END_TEST

START_TEST(json_lines_are_json)
{
        DAEMON d = daemon_start(.flags = { "--log-json", "--log-level", "debug" });
        CLIENT c = wire_connect(d);
        TEST_FREED char *log = NULL;
        char *rest;

        wire_call(c, "hello({client: 'quote \" and \\\\ and \\n'})");
        wire_open(c, "'quote \" and \\\\', {}");
        log = daemon_log(d);
        ck_assert_uint_gt(strlen(log), 0);
        for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
                bool quoted = false;

                ck_assert_msg(line[0] == '{' && line[strlen(line) - 1] == '}', "not an object: %s", line);
                for (const char *at = line; *at; at++) {
                        if (quoted && *at == '\\')
                                at++;
                        else if (*at == '"')
                                quoted = !quoted;
                        ck_assert_msg(*at, "ends in an escape: %s", line);
                }
                ck_assert_msg(!quoted, "an open quote: %s", line);
        }
}
END_TEST

START_TEST(the_data_directory_must_be_usable)
{
        const char *const arguments[] = { "--config", "/dev/null",     "--socket", "s",
                                          "--data",   "/proc/nowhere", NULL };
        DAEMON_RUN run = daemon_run(arguments);

        ck_assert_int_ne(run.status, 0);
        ck_assert_msg(strstr(run.err, "/proc/nowhere") != NULL, "%s", run.err);
        ck_assert_int_ne(access("s", F_OK), 0);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                wrong_flags_are_one_line,
                a_socket_path_too_long_is_one_line,
                wrong_files_are_one_line,
                check_config_checks_and_ends,
                print_config_can_be_read_back,
                secrets_of_the_mongo_uri_are_not_printed,
                version_and_help,
                json_lines_are_json,
                the_data_directory_must_be_usable,
                NULL,
        };

        return test_program("options", tests);
}
