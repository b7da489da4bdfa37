/* Texts of faults are sent to clients: they are UTF-8, also if they were cut. */

#include <check.h>
#include <string.h>

#include "../../backends/backend.h"
#include "../support/program.h"

START_TEST(a_fault_says_what_it_was_told)
{
        struct fault fault = { .file = "an older fault's" };

        ck_assert_int_eq(fault_set(&fault, BACKEND_E_CORRUPT, "session '%s': %d", "x", 7), BACKEND_E_CORRUPT);
        ck_assert_str_eq(fault.text, "session 'x': 7");
        ck_assert_str_eq(fault.file, "");
}
END_TEST

/* Characters of one to four bytes, cut at each of their bytes. */
START_TEST(a_long_fault_is_cut_between_characters)
{
        static const char *const characters[] = { "x", "\xd0\xb1", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };
        struct fault fault;

        for (size_t shift = 0; shift < 4; shift++) {
                char text[1024] = "abcd";

                text[shift] = '\0';
                while (strlen(text) < sizeof(fault.text) + 8)
                        strcat(text, characters[_i]);
                fault_set(&fault, BACKEND_E_STORAGE, "%s", text);
                ck_assert(slice_is_utf8(slice_of(fault.text)));
                ck_assert_uint_ge(strlen(fault.text), sizeof(fault.text) - 1 - 4);
                ck_assert_int_eq(strncmp(fault.text, text, strlen(fault.text)), 0);
        }
}
END_TEST

/* A shell that is given the hint sees one word. */
START_TEST(a_word_for_a_shell_ends_at_its_end)
{
        static char text[2 * SHELL_WORD_BYTES];
        char word[SHELL_WORD_BYTES];

        ck_assert_str_eq(fault_shell_word("anna", word), "'anna'");
        ck_assert_str_eq(fault_shell_word("x'; id #$(id)", word), "'x'\\''; id #$(id)'");
        memset(text, '\'', sizeof(text) - 1);
        ck_assert_uint_lt(strlen(fault_shell_word(text, word)), SHELL_WORD_BYTES);
        ck_assert_int_eq(word[strlen(word) - 1], '\'');
        memset(text, 'x', sizeof(text) - 1);
        ck_assert_uint_lt(strlen(fault_shell_word(text, word)), SHELL_WORD_BYTES);
        ck_assert_int_eq(word[strlen(word) - 1], '\'');
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("fault");
        TCase *tcase = tcase_create("fault");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tcase, a_fault_says_what_it_was_told);
        tcase_add_loop_test(tcase, a_long_fault_is_cut_between_characters, 0, 4);
        tcase_add_test(tcase, a_word_for_a_shell_ends_at_its_end);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
