#ifndef GRAMD_TESTS_SUPPORT_PROGRAM_H
#define GRAMD_TESTS_SUPPORT_PROGRAM_H

/*
 * The main of a test program: a list of tests, which Check runs with a deadline that suits sanitizers and
 * valgrind. For a failed test, the stderr of its daemons is shown, and their directories are removed.
 */

#include <check.h>
#include <stddef.h>

enum {
        TEST_DEADLINE_MS = 60000, /* for one wait inside a test: a daemon that hangs fails it */
        TEST_TIMEOUT_S = 300,     /* for a whole test */
};

/* `tests` ends with NULL. Returns main's exit status. */
int test_program(const char *name, const TTest *const *tests);
/* Each test `times` times; inside it `_i` counts from 0. */
int test_program_repeated(const char *name, const TTest *const *tests, int times);

/*
 * Milliseconds that are left of a deadline that began at `start_ms` (test_now_ms()). Fails the test when none
 * are.
 */
int test_time_left(long long start_ms, const char *waiting_for);
long long test_now_ms(void);

/* Removes a file or a folder with all that is in it. */
void test_remove(const char *path);

/* A malloc'ed, zero-terminated copy of a file; NULL: there is no such file. */
char *test_read_file(const char *path, size_t *len);
void test_write_file(const char *path, const void *data, size_t len);

/* malloc'ed. */
char *test_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define TEST_FREED __attribute__((cleanup(test_free), unused)) /* a malloc'ed char * of this scope */
void test_free(char **text);

/* Says loudly that a part of a test cannot run here, and what is missing. */
void test_skipped(const char *what, const char *missing);

/* A factor for bounds on memory: sanitizers and valgrind ($GRAMD_WRAPPER) keep freed memory. */
int test_memory_factor(void);

#endif
