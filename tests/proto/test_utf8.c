/* Text of strangers as people see it: none of it leaves its line or its quotes, or turns the text around. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/utf8.h"

START_TEST(a_text_does_not_leave_its_quotes)
{
        static const struct {
                const char *text;
                char mark;
                const char *shown;
        } rows[] = {
                { "anna", '\'', "anna" },
                { "an'na \"x\"", '\'', "an\\'na \"x\"" },
                { "an'na \"x\"", '"', "an'na \\\"x\\\"" },
                { "x\\'", '\'', "x\\\\\\'" },
                { "x\\'", '\0', "x\\'" },
                { "a\nb\x1b\x7f\xc2\x85", '\'', "a\\nb\\u001b\\u007f\\u0085" },
                { "\xd8\x9c\xe2\x80\x8e\xe2\x80\x8f", '\0', "\\u061c\\u200e\\u200f" },
                { "\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa\xe2\x80\xae", '\0', "\\u2028\\u2029\\u202a\\u202e" },
                { "\xe2\x81\xa6\xe2\x81\xa9", '\0', "\\u2066\\u2069" },
                { "\xd8\x9b\xe2\x80\x8d\xe2\x80\x90\xe2\x80\xaf\xe2\x81\xa5", '\0',
                  "\xd8\x9b\xe2\x80\x8d\xe2\x80\x90\xe2\x80\xaf\xe2\x81\xa5" }, /* their neighbours */
                { "\xff\xf0\x9f\x98\x80", '\'', "\xef\xbf\xbd\xf0\x9f\x98\x80" },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                char out[64];

                ck_assert_str_eq(utf8_quote(slice_of(rows[i].text), rows[i].mark, out, sizeof(out)),
                                 rows[i].shown);
        }
}
END_TEST

/* An escape is not cut in two: half of one could take the quote behind it. */
START_TEST(a_long_text_is_cut_between_escapes)
{
        static const char text[] = "x'\xe2\x80\xae\xf0\x9f\x98\x80'";
        static const char whole[] = "x\\'\\u202e\xf0\x9f\x98\x80\\'";
        static const size_t pieces[] = { 0, 1, 3, 9, 13, 15 };

        for (size_t size = sizeof("\xe2\x80\xa6"); size <= sizeof(whole); size++) {
                char *out = malloc(size);
                size_t fits = 0;

                ck_assert_ptr_nonnull(out);
                utf8_quote(slice_of(text), '\'', out, size);
                if (size == sizeof(whole)) {
                        ck_assert_str_eq(out, whole);
                } else {
                        for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++)
                                if (pieces[i] + sizeof("\xe2\x80\xa6") <= size)
                                        fits = pieces[i];
                        ck_assert_int_eq(strncmp(out, whole, fits), 0);
                        ck_assert_str_eq(out + fits, "\xe2\x80\xa6");
                }
                free(out);
        }
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("utf8");
        TCase *tcase = tcase_create("utf8");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tcase, a_text_does_not_leave_its_quotes);
        tcase_add_test(tcase, a_long_text_is_cut_between_escapes);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
