/* Texts of faults are sent to clients: they are UTF-8, also if they were cut. */

#include <check.h>
#include <string.h>

#include "../../backends/backend.h"
#include "../support/program.h"

START_TEST(a_fault_says_what_it_was_told)
{
        struct fault fault = { .file = "an older fault's" };

        ck_assert_int_eq(fault_session(&fault, BACKEND_E_CORRUPT, "x", "%d", 7), BACKEND_E_CORRUPT);
        ck_assert_str_eq(fault.text, "session 'x': 7");
        ck_assert_str_eq(fault.text + fault.why_at, "7");
        ck_assert_str_eq(fault.file, "");
        fault_session(&fault, BACKEND_E_CORRUPT, "y", "again: %s", fault.text + fault.why_at);
        ck_assert_str_eq(fault.text, "session 'y': again: 7");
        fault_set(&fault, BACKEND_E_CORRUPT, "%s", "a\nb\xe2\x80\x8e\xff'\\");
        ck_assert_str_eq(fault.text, "a\\nb\\u200e\xef\xbf\xbd'\\");
        ck_assert_uint_eq(fault.why_at, 0);
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
                ck_assert_str_eq(fault.text + strlen(fault.text) - 3, "\xe2\x80\xa6");
                ck_assert_int_eq(strncmp(fault.text, text, strlen(fault.text) - 3), 0);
        }
}
END_TEST

/* A name of any length and content leaves room for what is said of it. */
START_TEST(a_name_stays_in_its_quotes)
{
        static const char *const characters[] = { "'", "\\", "\xd8\x9c", "\xe2\x80\xae" };
        struct fault fault;
        char name[NAME_MAX_BYTES + 1] = "";

        while (strlen(name) + strlen(characters[_i]) < sizeof(name))
                strcat(name, characters[_i]);
        fault_session(&fault, BACKEND_E_CORRUPT, name, "%s", "its file is damaged");
        ck_assert_str_eq(fault.text + fault.why_at, "its file is damaged");
        for (const char *at = fault.text + strlen("session '"); at < fault.text + fault.why_at - 3; at++)
                if (*at == '\\')
                        at++;
                else
                        ck_assert_int_ne(*at, '\'');
}
END_TEST

/* A shell that is given the hint sees one word. */
START_TEST(a_word_for_a_shell_ends_at_its_end)
{
        static char text[2 * SHELL_WORD_BYTES];
        char word[SHELL_WORD_BYTES];

        ck_assert_str_eq(fault_shell_word("anna", word), "'anna'");
        ck_assert_str_eq(fault_shell_word("x'; id #$(id)", word), "'x'\\''; id #$(id)'");
        ck_assert_str_eq(fault_shell_word("a\xe2\x80\xae\\", word), "'a'$'\\u202e''\\'");
        for (size_t i = 0; i + 2 < sizeof(text); i += 2)
                memcpy(text + i, "\xd8\x9c", 2);
        ck_assert_uint_lt(strlen(fault_shell_word(text, word)), SHELL_WORD_BYTES);
        ck_assert_int_eq(word[strlen(word) - 1], '\'');
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
        tcase_add_loop_test(tcase, a_name_stays_in_its_quotes, 0, 4);
        tcase_add_test(tcase, a_word_for_a_shell_ends_at_its_end);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
