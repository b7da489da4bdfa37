/*
 * What every test program needs around its tests. Check runs each test in a process of its own. A failed test
 * ends at once, without cleaning up: the kernel ends its daemon (PR_SET_PDEATHSIG), and when all tests have
 * run, its directory is shown and removed here.
 */
#include "program.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

long long test_now_ms(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int test_time_left(long long start_ms, const char *waiting_for)
{
        long long left = start_ms + TEST_DEADLINE_MS - test_now_ms();

        if (left <= 0)
                ck_abort_msg("waited %d ms for %s", TEST_DEADLINE_MS, waiting_for);
        return (int)left;
}

static int remove_one(const char *path, const struct stat *stat, int flag, struct FTW *ftw)
{
        (void)stat;
        (void)flag;
        (void)ftw;
        remove(path);
        return 0;
}

void test_remove(const char *path)
{
        nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

char *test_read_file(const char *path, size_t *len)
{
        FILE *file = fopen(path, "re");
        char *text = NULL;
        size_t size = 0, n = 0, got;

        if (!file)
                return NULL;
        do {
                char *more = realloc(text, size * 2 + 4097);

                if (!more) /* no ck_assert: this is also called when the tests are over */
                        ck_abort_msg("no memory");
                text = more;
                size = size * 2 + 4096;
                got = fread(text + n, 1, size - n, file);
                n += got;
        } while (got && n == size);
        text[n] = '\0';
        fclose(file);
        if (len)
                *len = n;
        return text;
}

void test_write_file(const char *path, const void *data, size_t len)
{
        FILE *file = fopen(path, "we");

        ck_assert_msg(file != NULL, "cannot write %s", path);
        ck_assert_uint_eq(fwrite(data, 1, len, file), len);
        ck_assert_int_eq(fclose(file), 0);
}

char *test_format(const char *format, ...)
{
        char *text;
        va_list args;

        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                ck_abort_msg("no memory");
        va_end(args);
        return text;
}

void test_free(char **text)
{
        free(*text);
        *text = NULL;
}

void test_skipped(const char *what, const char *missing)
{
        fprintf(stderr, "\n*** SKIPPED: %s: %s ***\n\n", what, missing);
}

int test_memory_factor(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        return 8;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
        return 8;
#endif
#endif
        return getenv("GRAMD_WRAPPER") ? 8 : 1;
}

static void show_left_behind(void)
{
        glob_t found;

        if (glob("gramd.*", 0, NULL, &found) != 0)
                return;
        for (size_t i = 0; i < found.gl_pathc; i++) {
                TEST_FREED char *path = test_format("%s/stderr", found.gl_pathv[i]);
                TEST_FREED char *text = test_read_file(path, NULL);

                fprintf(stderr, "---- stderr of the daemon of a failed test (%s)\n%s----\n",
                        found.gl_pathv[i], text ? text : "");
                test_remove(found.gl_pathv[i]);
        }
        globfree(&found);
}

int test_program(const char *name, const TTest *const *tests)
{
        return test_program_repeated(name, tests, 1);
}

int test_program_repeated(const char *name, const TTest *const *tests, int times)
{
        Suite *suite = suite_create(name);
        TCase *tcase = tcase_create(name);
        SRunner *runner;
        int failed, run;

        tcase_set_timeout(tcase, TEST_TIMEOUT_S);
        for (; *tests; tests++)
                tcase_add_loop_test(tcase, *tests, 0, times);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        run = srunner_ntests_run(runner);
        srunner_free(runner);
        show_left_behind();
        return failed || !run ? EXIT_FAILURE : EXIT_SUCCESS;
}
