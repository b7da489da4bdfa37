/*
 * Each allocation fails in turn while the configuration is read, as after SIGHUP: the result is the whole
 * configuration, or an error that blames the memory. Nothing is lost.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/failing_memory.h"

#include "../../daemon/config/config.h"

static const char text[] =
        "socket = /s\ndata = /d\nbackend = memory\nmongo = mongodb://user:word@host/?tls=true\n"
        "log-level = debug\ncache = 1G\n[encryption]\nkey-file = /keys\n"
        "[access]\nuser root = read,write on a-*,b\\,c in file\ngroup root = admin\n"
        "everyone = read on public-*\n";

static char *argv[] = { (char *)"gramd",     (char *)"--config", (char *)"gramd.conf",
                        (char *)"--workers", (char *)"7",        NULL };
enum { ARGC = sizeof(argv) / sizeof(argv[0]) - 1 };

static void count_rule(void *arg, const char *who, const char *rule)
{
        (void)who;
        (void)rule;
        ++*(size_t *)arg;
}

static void expect_whole(const struct config *config, long failed)
{
        size_t rules = 0;

        ck_assert_msg(strcmp(config->socket, "/s") == 0, "allocation %ld: the socket is %s", failed,
                      config->socket);
        ck_assert_str_eq(config->data, "/d");
        ck_assert_str_eq(config->backend, "memory");
        ck_assert_str_eq(config->key_file, "/keys");
        ck_assert_uint_eq(config->cache_bytes, 1u << 30);
        ck_assert_uint_eq(config->workers, 7);
        access_each(&config->access, count_rule, &rules);
        ck_assert_uint_eq(rules, 3);
}

/* How many allocations that takes. */
static long read_config(enum memory_mode mode, long fails)
{
        struct config config;
        struct config_error error = { "" };
        enum config_action action;
        int result;

        memory_begin(mode, fails);
        memory_arm();
        result = config_init(&config, ARGC, argv, &action, &error);
        memory_disarm();
        if (result == 0)
                expect_whole(&config, fails);
        else
                ck_assert_msg(memory.met > 0 && strstr(error.text, "memory"), "allocation %ld of mode %d: %s",
                              fails, (int)mode, error.text);
        config_deinit(&config);
        return memory.seen;
}

START_TEST(without_memory_it_is_whole_or_an_error)
{
        FILE *file = fopen("gramd.conf", "w");
        long blocks, all;

        ck_assert_ptr_nonnull(file);
        fputs(text, file);
        ck_assert_int_eq(fclose(file), 0);
        all = read_config(MEMORY_ONE, -1);
        for (int mode = MEMORY_ONE; mode < MEMORY_MODES; mode++) {
                for (long i = 0; i < all; i++) {
                        /* Twice: the C library keeps what it has read of the users' database, once. */
                        read_config((enum memory_mode)mode, i);
                        blocks = memory_blocks;
                        read_config((enum memory_mode)mode, i);
                        ck_assert_msg(memory_blocks <= blocks,
                                      "allocation %ld of mode %d: %ld blocks are lost", i, mode,
                                      memory_blocks - blocks);
                }
        }
}
END_TEST

int main(void)
{
        TCase *tests = tcase_create("memory");
        Suite *suite = suite_create("configuration");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tests, without_memory_it_is_whole_or_an_error);
        suite_add_tcase(suite, tests);
        srunner_run_all(runner, CK_NORMAL);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
