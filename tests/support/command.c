/*
 * Commands are run by sh, their standard output and error are read as one. `make` inside of a test must not
 * take part in the job server of the make that runs the tests.
 */
#include "command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "program.h"

static char *run(const char *format, va_list args, int *status)
{
        TEST_FREED char *text = NULL;
        TEST_FREED char *line = NULL;
        char *output = NULL;
        size_t size = 0;
        FILE *pipe;

        ck_assert_int_ge(vasprintf(&text, format, args), 0);
        line = test_format("unset MAKEFLAGS MAKELEVEL MFLAGS; exec 2>&1; %s", text);
        pipe = popen(line, "re");
        ck_assert_ptr_nonnull(pipe);
        if (getdelim(&output, &size, '\0', pipe) < 0)
                *output = '\0';
        *status = pclose(pipe);
        return output;
}

char *command(const char *format, ...)
{
        va_list args;
        char *output;
        int status;

        va_start(args, format);
        output = run(format, args, &status);
        va_end(args);
        ck_assert_msg(status == 0, "status %d of the command %s\n%s", status, format, output);
        return output;
}

char *command_fails(const char *format, ...)
{
        va_list args;
        char *output;
        int status;

        va_start(args, format);
        output = run(format, args, &status);
        va_end(args);
        ck_assert_msg(status != 0, "it was expected to fail: %s\n%s", format, output);
        return output;
}
