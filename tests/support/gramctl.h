#ifndef GRAMD_TESTS_SUPPORT_GRAMCTL_H
#define GRAMD_TESTS_SUPPORT_GRAMCTL_H

/*
 * gramctl as a shell runs it: what it printed on which stream, and its exit status. The daemon is named by
 * $GRAMD_SOCKET.
 */

#include <stddef.h>
#include <string.h>

#include <check.h>

#include "daemon.h"

struct run {
        int status;
        char *out; /* a NUL follows the bytes */
        size_t out_size;
        char *err;
};

#define RUN __attribute__((cleanup(run_deinit))) struct run
void run_deinit(struct run *run);

/* A program of $BUILD, with `input` on standard input. `arguments` ends with NULL. */
struct run run_program(const char *program, const char *input, const char *const *arguments);
struct run run_program_with(const char *program, const void *input, size_t size,
                            const char *const *arguments);

/* In the child of a fork(): becomes the program. */
void child_exec(const char *program, const char *const *arguments);

#define gramctl(input, ...) run_program("gramctl", input, (const char *const[]){ __VA_ARGS__, NULL })

/* On a terminal of 80 columns and 24 lines: types `typed` once it shows `prompt`, returns all that the
 * terminal showed. */
char *run_on_terminal(const char *prompt, const char *typed, const char *const *arguments, int *status);

#define expect_in(text, part) ck_assert_msg(strstr(text, part) != NULL, "no `%s` in: %s", part, text)
#define expect_not_in(text, part) ck_assert_msg(strstr(text, part) == NULL, "`%s` in: %s", part, text)

void expect_done(const struct run *run);
/* It printed one line, on stderr only. */
void expect_failed(const struct run *run, int status, const char *words);

/* A daemon; $GRAMD_SOCKET names it. */
struct daemon *gramctl_daemon(void);

#endif
