/* Base64: one text for the same bytes, in both alphabets, with and without padding. */

#include <check.h>
#include <stdlib.h>

#include "../../proto/base64.h"

static void check_pair(const char *bytes, size_t len, enum base64_alphabet alphabet,
                       enum base64_padding padding, const char *text)
{
        struct buffer out = { 0 };

        base64_encode((struct slice){ bytes, len }, alphabet, padding, &out);
        ck_assert(slice_is((struct slice){ (char *)out.data, out.len }, text));
        buffer_truncate(&out, 0);
        ck_assert(base64_decode(slice_of(text), alphabet, padding, &out));
        ck_assert_uint_eq(out.len, len);
        ck_assert_mem_eq(out.data, bytes, len);
        buffer_deinit(&out);
}

/* The texts of RFC 4648, and the two characters in which the alphabets differ. */
START_TEST(known_texts)
{
        check_pair("f", 1, BASE64_STANDARD, BASE64_PADDED, "Zg==");
        check_pair("fo", 2, BASE64_STANDARD, BASE64_PADDED, "Zm8=");
        check_pair("foo", 3, BASE64_STANDARD, BASE64_PADDED, "Zm9v");
        check_pair("foob", 4, BASE64_STANDARD, BASE64_UNPADDED, "Zm9vYg");
        check_pair("fooba", 5, BASE64_URL, BASE64_UNPADDED, "Zm9vYmE");
        check_pair("foobar", 6, BASE64_URL, BASE64_EITHER, "Zm9vYmFy");
        check_pair("\xfb\xff\xbf", 3, BASE64_STANDARD, BASE64_PADDED, "+/+/");
        check_pair("\xfb\xff\xbf", 3, BASE64_URL, BASE64_PADDED, "-_-_");
        check_pair("\x00\x10\x83", 3, BASE64_URL, BASE64_PADDED, "ABCD");
}
END_TEST

static bool decodes(const char *text, enum base64_alphabet alphabet, enum base64_padding padding)
{
        struct buffer out = { 0 };
        bool good = base64_decode(slice_of(text), alphabet, padding, &out);

        buffer_deinit(&out);
        return good;
}

START_TEST(padding_as_asked_for)
{
        ck_assert(decodes("Zg==", BASE64_URL, BASE64_EITHER) && decodes("Zg", BASE64_URL, BASE64_EITHER));
        ck_assert(!decodes("Zg", BASE64_URL, BASE64_PADDED) && !decodes("Zg==", BASE64_URL, BASE64_UNPADDED));
        ck_assert(!decodes("Zg=", BASE64_URL, BASE64_EITHER) && !decodes("Zg===", BASE64_URL, BASE64_EITHER));
        ck_assert(!decodes("Zm8==", BASE64_URL, BASE64_EITHER) &&
                  !decodes("Zm9v=", BASE64_URL, BASE64_EITHER));
        ck_assert(!decodes("Zm9v====", BASE64_URL, BASE64_EITHER) &&
                  !decodes("====", BASE64_URL, BASE64_PADDED));
        ck_assert(!decodes("Z", BASE64_URL, BASE64_EITHER) && !decodes("Z===", BASE64_URL, BASE64_PADDED));
        ck_assert(decodes("", BASE64_URL, BASE64_PADDED));
}
END_TEST

START_TEST(one_spelling_only)
{
        static const char *const others[] = {
                "Zh", "Zm9", "Zm9v Zg", "Zm9v\n", "Zm9v-", "Zm9=Zm9v", "Zm9\x80"
        };

        ck_assert(decodes("Zm8", BASE64_STANDARD, BASE64_UNPADDED));
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
                ck_assert_msg(!decodes(others[i], BASE64_STANDARD, BASE64_UNPADDED), "%s", others[i]);
        ck_assert(!decodes("+/+/", BASE64_URL, BASE64_UNPADDED));
        ck_assert(!decodes("-_-_", BASE64_STANDARD, BASE64_UNPADDED));
}
END_TEST

START_TEST(a_full_buffer_is_a_failure)
{
        struct buffer out = { .limit = 2 };

        ck_assert(!base64_decode(slice_of("Zm9vYmFy"), BASE64_URL, BASE64_UNPADDED, &out));
        ck_assert(out.failed);
        buffer_deinit(&out);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("base64");
        TCase *tcase = tcase_create("base64");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tcase, known_texts);
        tcase_add_test(tcase, padding_as_asked_for);
        tcase_add_test(tcase, one_spelling_only);
        tcase_add_test(tcase, a_full_buffer_is_a_failure);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
