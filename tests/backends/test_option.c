/*
 * Options of a backend: the toy backend has one, `toy-rows`, and no part of the daemon knows it. It is
 * printed, read and checked, and reaches the backend.
 */

#include <stdlib.h>
#include <string.h>

#include "../support/command.h"
#include "../support/program.h"
#include "../support/wire.h"

#define TOY "tests/gramd-toy"

/* What the toy daemon prints when it is run with these arguments. */
static char *run(const char *arguments)
{
        return command("\"$BUILD/" TOY "\" --config /dev/null --data x %s 2>&1 || true", arguments);
}

START_TEST(it_is_printed)
{
        TEST_FREED char *help = run("--help");
        TEST_FREED char *values = run("--toy-rows 7 --print-config");

        ck_assert_ptr_nonnull(strstr(help, "  --toy-rows N\n        Rows of one session.\n"
                                           "        Default: 100000.\n"));
        ck_assert_ptr_nonnull(strstr(values, "# Rows of one session.\ntoy-rows = 7\n"));
        /* After the option `backend`, with those of the other backends. */
        ck_assert(strstr(values, "\nmemory-max = ") < strstr(values, "\ntoy-rows = "));
        ck_assert(strstr(values, "\ntoy-rows = ") < strstr(values, "\nlog-level = "));
        ck_assert_ptr_null(strstr(values, "mongo"));
}
END_TEST

START_TEST(it_is_checked)
{
        TEST_FREED char *small = run("--toy-rows 0");
        TEST_FREED char *large = run("--toy-rows=1000001");
        TEST_FREED char *text = run("--toy-rows=many");
        TEST_FREED char *missing = run("--toy-rows");

        ck_assert_str_eq(small, "gramd: --toy-rows 0: out of range: 1 to 1000000\n");
        ck_assert_str_eq(large, "gramd: --toy-rows 1000001: out of range: 1 to 1000000\n");
        ck_assert_str_eq(text, "gramd: --toy-rows many: not a number\n");
        ck_assert_str_eq(missing, "gramd: --toy-rows: its value is missing\n");
}
END_TEST

START_TEST(it_reaches_the_backend)
{
        TEST_FREED char *program = test_format("%s/" TOY, getenv("BUILD"));
        DAEMON d = daemon_start(.program = program, .config = "backend = toy\ntoy-rows = 2\n");
        CLIENT c = wire_connect(d);
        int s = wire_open(c, "'a', {}");

        expect(c, "nil", "update_peers(%d, [[1, 1, 'user', nil, nil], [2, 2, 'user', nil, nil]])", s);
        expect(c, "!too_large", "update_peers(%d, [[3, 3, 'user', nil, nil]])", s);
        ck_assert_ptr_nonnull(strstr(wire_error_message(c), "more than 2 rows: option `toy-rows`"));
}
END_TEST

START_TEST(a_change_needs_a_restart)
{
        TEST_FREED char *program = test_format("%s/" TOY, getenv("BUILD"));
        DAEMON d = daemon_start(.program = program, .config = "toy-rows = 2\n");
        TEST_FREED char *log = NULL;

        daemon_reload(d, "toy-rows = 3\n");
        log = daemon_log(d);
        ck_assert_ptr_nonnull(strstr(log, "toy-rows"));
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                it_is_printed, it_is_checked, it_reaches_the_backend, a_change_needs_a_restart, NULL,
        };

        return test_program("option", tests);
}
