#ifndef GRAMD_TESTS_SUPPORT_FILE_TEST_H
#define GRAMD_TESTS_SUPPORT_FILE_TEST_H

/* To be included once in a test program: the `file` backend in the folder `data`, new for each test. */

#include <check.h>

#include "program.h"
#include "storage.h"

#define PATH "data/x.session"

static struct storage at;

static void setup(void)
{
        test_remove("data"); /* a failed test's */
        storage_start(&at, storage_backend("file"), "data");
}

static void teardown(void)
{
        storage_stop(&at);
        test_remove("data");
}

/* Runs in the test's own process. `_i` is the round of a loop test. */
#define FILE_TEST(name)                                                                                      \
        static void name##_body(int _i);                                                                     \
        START_TEST(name)                                                                                     \
        {                                                                                                    \
                setup();                                                                                     \
                name##_body(_i);                                                                             \
                teardown();                                                                                  \
        }                                                                                                    \
        END_TEST                                                                                             \
        static void name##_body(int _i __attribute__((unused)))

#endif
