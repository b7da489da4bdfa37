/* Which patterns match which names. */

#include <check.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "../../daemon/config/glob.h"

START_TEST(patterns)
{
        static const struct {
                const char *pattern, *text;
                bool matches;
        } rows[] = {
                { "", "", true },
                { "", "a", false },
                { "a", "", false },
                { "abc", "abc", true },
                { "abc", "abcd", false },
                { "abc", "ab", false },
                { "*", "", true },
                { "*", "anything", true },
                { "**", "a", true },
                { "alice-*", "alice-1", true },
                { "alice-*", "alice-", true },
                { "alice-*", "alice", false },
                { "*-1", "a-1-1", true },
                { "a*b*c", "a-b-b-c", true },
                { "a*b*c", "a-c-b", false },
                { "?", "a", true },
                { "?", "", false },
                { "a?c", "abc", true },
                { "?", "\xc3\xa4", true }, /* a character, not a byte */
                { "??", "\xc3\xa4", false },
                { "[a-c]x", "bx", true },
                { "[a-c]x", "dx", false },
                { "[!a-c]", "d", true },
                { "[!a-c]", "a", false },
                { "[^a-c]", "d", true },
                { "[]]", "]", true },
                { "[!]]", "]", false },
                { "[a-]", "-", true },
                { "[\\]]", "]", true },
                { "[\xc3\xa4-\xc3\xbc]", "\xc3\xb6", true },
                { "[\xc3\xa4-\xc3\xbc]", "a", false },
                { "[!a]", "\xc3\xb6", true },
                { "[c-a]", "b", false },
                { "[", "[", true }, /* no ']': itself */
                { "[a", "[a", true },
                { "[a", "a", false },
                { "\\*", "*", true },
                { "\\*", "a", false },
                { "\\[a]", "[a]", true },
                { "a\\", "a\\", true },
                { "*[0-9]", "bot7", true },
                { "*[0-9]", "bot", false },
                { "A", "a", false },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
                ck_assert_msg(glob_match(slice_of(rows[i].pattern), slice_of(rows[i].text)) ==
                                      rows[i].matches,
                              "'%s' and '%s'", rows[i].pattern, rows[i].text);
}
END_TEST

/* Slices end where they say, not at a NUL. */
START_TEST(borrowed_slices)
{
        ck_assert(glob_match((struct slice){ "a*zzz", 2 }, (struct slice){ "abczzz", 3 }));
        ck_assert(!glob_match((struct slice){ "abc", 3 }, (struct slice){ "abc", 2 }));
        ck_assert(glob_match((struct slice){ "[ab]", 2 }, (struct slice){ "[axx", 2 }));
}
END_TEST

/* Random patterns over a small alphabet, against the C library's matcher. */
START_TEST(agrees_with_fnmatch)
{
        static const char pattern_letters[] = "ab*?[]!-\\", text_letters[] = "ab-!]";
        int matched = 0;

        srandom(1);
        for (int i = 0; i < 200000; i++) {
                char pattern[8] = "", text[8] = "";
                size_t pattern_len = (size_t)random() % 7, text_len = (size_t)random() % 6;

                for (size_t k = 0; k < pattern_len; k++)
                        pattern[k] = pattern_letters[(size_t)random() % (sizeof(pattern_letters) - 1)];
                for (size_t k = 0; k < text_len; k++)
                        text[k] = text_letters[(size_t)random() % (sizeof(text_letters) - 1)];
                /* Not decided alike everywhere: a backslash at the end, and sets that nothing ends. */
                if (strchr(pattern, '\\') || (strchr(pattern, '[') && random() % 4))
                        continue;
                if (strchr(pattern, '[') &&
                    (!strchr(strchr(pattern, '['), ']') || strstr(pattern, "[]") || strstr(pattern, "[!]") ||
                     strstr(pattern, "--") || strchr(strchr(pattern, '[') + 1, '[')))
                        continue;
                ck_assert_msg(glob_match(slice_of(pattern), slice_of(text)) ==
                                      (fnmatch(pattern, text, 0) == 0),
                              "'%s' and '%s'", pattern, text);
                matched += fnmatch(pattern, text, 0) == 0;
        }
        ck_assert_int_gt(matched, 1000);
}
END_TEST

/* Would take longer than the test may if stars were tried in every combination. */
START_TEST(many_stars)
{
        char pattern[201], text[201];

        for (size_t i = 0; i < 200; i += 2)
                memcpy(pattern + i, "*a", 3);
        pattern[199] = 'b';
        memset(text, 'a', 200);
        text[200] = '\0';
        ck_assert(!glob_match(slice_of(pattern), slice_of(text)));
        text[199] = 'b';
        ck_assert(glob_match(slice_of(pattern), slice_of(text)));
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("glob");
        TCase *tcase = tcase_create("patterns");
        SRunner *runner;
        int failed;

        tcase_add_test(tcase, patterns);
        tcase_add_test(tcase, borrowed_slices);
        tcase_add_test(tcase, agrees_with_fnmatch);
        tcase_add_test(tcase, many_stars);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed != 0;
}
