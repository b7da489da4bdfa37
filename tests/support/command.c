/*
 * sh runs the commands; their standard output and error are one text. A `make` in a test must not use the job
 * server of the make that runs the tests.
 */
#include "command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "program.h"

struct run {
        char *text;
        char *output;
        int status;
};

static struct run run(const char *format, va_list args)
{
        struct run run = { 0 };
        TEST_FREED char *line = NULL;
        size_t size = 0;
        FILE *pipe;

        ck_assert_int_ge(vasprintf(&run.text, format, args), 0);
        line = test_format("unset MAKEFLAGS MAKELEVEL MFLAGS; exec 2>&1; %s", run.text);
        pipe = popen(line, "re");
        ck_assert_ptr_nonnull(pipe);
        if (getdelim(&run.output, &size, '\0', pipe) < 0)
                *run.output = '\0';
        run.status = pclose(pipe);
        return run;
}

char *command(const char *format, ...)
{
        va_list args;
        struct run done;

        va_start(args, format);
        done = run(format, args);
        va_end(args);
        ck_assert_msg(done.status == 0, "status %d: %s\n%s", done.status, done.text, done.output);
        free(done.text);
        return done.output;
}
