/* The session strings of mtcute and MTKruto, byte by byte: which values are accepted, and which are not. */

#include <check.h>
#include <stdlib.h>

#include "../../proto/base64.h"
#include "../../proto/session_string.h"

/* What a text of no named format set, if it is of `format`; else 0. The caller wipes the identity. */
static unsigned read_fields(const char *format, const struct buffer *text, struct identity *identity)
{
        const struct session_string_format *read;
        const char *why;
        unsigned set = 0;

        identity_init(identity);
        read = session_string_read((struct slice){ (char *)text->data, text->len }, NULL, identity, &set,
                                   &why);
        return read && slice_is(slice_of(format), read->name) ? set : 0;
}

static bool readable(const char *format, const struct buffer *text)
{
        struct identity identity;
        unsigned set = read_fields(format, text, &identity);

        identity_wipe(&identity);
        return set != 0;
}

/* The text of `head` followed by the key in TL, and of `tail`, is read as `format`, if it is `good`. */
static void check_bytes(const char *format, const void *head, size_t len, const void *tail, size_t tail_len,
                        bool good)
{
        struct buffer bytes = { 0 }, text = { 0 };
        uint8_t key[AUTH_KEY_BYTES];

        memset(key, 0x55, sizeof(key));
        buffer_append(&bytes, head, len);
        /* the length of the key, with its zero run-length coded in MTKruto's */
        if (strcmp(format, "mtkruto") == 0)
                buffer_append(&bytes, "\xfe\x00\x01\x01\x00\x01", 6);
        else
                buffer_append(&bytes, "\xfe\x00\x01\x00", 4);
        buffer_append(&bytes, key, sizeof(key));
        buffer_append(&bytes, tail, tail_len);
        base64_encode((struct slice){ (char *)bytes.data, bytes.len }, BASE64_URL, BASE64_UNPADDED, &text);
        ck_assert_msg(readable(format, &text) == good, "%s: %.24s", format, (char *)text.data);
        buffer_deinit(&bytes);
        buffer_deinit(&text);
}

#define HEAD(format, text, good) check_bytes(format, text, sizeof(text) - 1, "", 0, good)

START_TEST(mtkruto_strings_byte_by_byte)
{
        HEAD("mtkruto",
             "\x01"
             "2\x00\x02",
             true);
        HEAD("mtkruto",
             "\x03"
             "203",
             true);
        HEAD("mtkruto",
             "\x06"
             "1-test\x00\x01",
             true);
        HEAD("mtkruto",
             "\x03"
             "256",
             false); /* no data centre */
        HEAD("mtkruto",
             "\x02"
             "02\x00\x01",
             false); /* a leading zero */
        HEAD("mtkruto",
             "\x02"
             "2a\x00\x01",
             false);                        /* no number */
        HEAD("mtkruto", "\x00\x04", false); /* nothing */
        HEAD("mtkruto",
             "\x05"
             "-test\x00\x02",
             false); /* a test flag of nothing */
        HEAD("mtkruto",
             "\x01"
             "2\x00\x01\x01",
             false); /* padding that is not zero */
        HEAD("mtkruto",
             "\x01"
             "2\x00\x03",
             false); /* too much padding */
        HEAD("mtkruto",
             "\x01"
             "2\x00\x00",
             false); /* a run of 256, which is too much padding */
        HEAD("mtkruto",
             "\xff"
             "2\x00\x02",
             false); /* a length that TL does not have */
        HEAD("mtkruto",
             "\xfe\x01\x00\x02"
             "2\x00\x03",
             false); /* a short length in the long form */
        HEAD("mtkruto",
             "\xfe\x01\x00\x02"
             "2\x00\x02",
             false); /* a short length in the long form */
}
END_TEST

#define TAIL(text, good) check_bytes("mtkruto", "\x01\x32\x00\x02", 4, text, sizeof(text) - 1, good)

/* api_id, is_bot, user_id, with their zeros run-length coded */
START_TEST(mtkrutos_account_byte_by_byte)
{
        TAIL("", true); /* the form from before it had an account */
        TAIL("\x01\x00\x04\x01\x00\x07", true);
        TAIL("\x01\x00\x03\x01\x01\x00\x07", true);                                 /* a bot */
        TAIL("\x01\x00\x03\x02\x01\x00\x07", false);                                /* a flag of 2 */
        TAIL("\xff\xff\xff\x7f\x00\x01\xff\xff\xff\xff\xff\xff\x1f\x00\x01", true); /* the largest */
        TAIL("\x00\x03\x80\x00\x01\x01\x00\x07", false);                            /* an api_id below 0 */
        TAIL("\x01\x00\x0a\x20\x00\x01", false);                                    /* a user_id of 54 bits */
        TAIL("\x01\x00\x04\xff\xff\xff\xff\xff\xff\xff\xff", false);                /* one below 0 */
        TAIL("\x01\x00\x04\x01\x00\x06", false);                                    /* one byte too few */
        TAIL("\x01\x00\x04\x01\x00\x08", false);                                    /* one too many */
        TAIL("\x01\x00\x03", false);                                                /* an api_id alone */
        TAIL("\x01\x00\x04\x01\x00", false); /* a run without a length */
}
END_TEST

#define PLACE                                                                                                \
        "\x0e"                                                                                               \
        "149.154.167.51\x00\xbb\x01\x00\x00"
#define USER "\x07\x00\x00\x00\x00\x00\x00\x00"

START_TEST(mtcute_strings_byte_by_byte)
{
        HEAD("mtcute", "\x03\x00\x00\x00\x00\x17\x02\x02\x00" PLACE, true);
        HEAD("mtcute", "\x03\x00\x00\x00\x00\x17\x01\x02\x01" PLACE, true);  /* its first version */
        HEAD("mtcute", "\x02\x00\x00\x00\x00\x17\x02\x02\x00" PLACE, false); /* another version */
        HEAD("mtcute", "\x03\x08\x00\x00\x00\x17\x02\x02\x00" PLACE, false); /* an unknown flag */
        HEAD("mtcute", "\x03\x00\x00\x00\x80\x17\x02\x02\x00" PLACE, false);
        HEAD("mtcute", "\x03\x00\x00\x00\x00\x17\x03\x02\x00" PLACE, false); /* an unknown option */
        HEAD("mtcute", "\x03\x00\x00\x00\x00\x17\x02\x02\x08" PLACE, false);
        HEAD("mtcute",
             "\x03\x00\x00\x00\x00\x17\x02\x02\x00\x0e"
             "149.154.167.51\x00\xbb\x01\x01\x00",
             false);
        HEAD("mtcute",
             "\x03\x00\x00\x00\x00\x17\x02\x02\x00\x0e"
             "149.154 167.51\x00\xbb\x01\x00\x00",
             false);
        HEAD("mtcute", "\x03\x01\x00\x00\x00\x17\x02\x02\x00" PLACE USER "\xb5\x75\x72\x99", true);
        HEAD("mtcute", "\x03\x01\x00\x00\x00\x17\x02\x02\x00" PLACE USER "\xb5\x75\x72\x98", false);
        HEAD("mtcute",
             "\x03\x01\x00\x00\x00\x17\x02\x02\x00" PLACE "\x00\x00\x00\x00\x00\x00\x20\x00\xb5\x75\x72\x99",
             false);
        HEAD("mtcute", "\x03\x04\x00\x00\x00\x17\x02\x02\x00" PLACE "\x17\x02\x02\x02" PLACE, true);
        HEAD("mtcute", "\x03\x04\x00\x00\x00\x17\x02\x02\x00" PLACE "\x17\x02\x02\x06" PLACE, false);
        HEAD("mtcute", "\x03\x06\x00\x00\x00\x17\x02\x02\x00" PLACE "\x17\x02\x02\x06" PLACE, true);
        HEAD("mtcute", "\x03\x04\x00\x00\x00\x17\x02\x02\x00" PLACE, false); /* no media data centre */
}
END_TEST

/* The old test flag counts for the whole string. */
START_TEST(mtcutes_old_test_flag)
{
        static const char head[] = "\x03\x02\x00\x00\x00\x17\x01\x02\x00" PLACE "\xfe\x00\x01\x00";
        struct buffer bytes = { 0 }, text = { 0 };
        struct identity identity;

        buffer_append(&bytes, head, sizeof(head) - 1);
        for (int i = 0; i < AUTH_KEY_BYTES; i++)
                buffer_append(&bytes, "k", 1);
        base64_encode((struct slice){ (char *)bytes.data, bytes.len }, BASE64_URL, BASE64_UNPADDED, &text);
        ck_assert(FIELD_BIT(FIELD_AUTH_KEY) & read_fields("mtcute", &text, &identity));
        ck_assert_int_eq(identity.number[FIELD_TEST_MODE], 1);
        ck_assert(!identity_has(&identity, FIELD_USER_ID));
        identity_wipe(&identity);
        buffer_deinit(&bytes);
        buffer_deinit(&text);
}
END_TEST

/* A run that is longer than one code can express. */
START_TEST(a_run_of_257_zeros)
{
        static const uint8_t zeros[AUTH_KEY_BYTES];
        struct identity identity, back;
        struct buffer out = { 0 };
        const char *missing;

        identity_init(&identity);
        identity_set_key(&identity, zeros);
        identity_set_number(&identity, FIELD_API_ID, 1);
        identity_set_number(&identity, FIELD_USER_ID, 1);
        ck_assert(session_string_write(&identity, session_string_format_by_name(slice_of("mtkruto")), &out,
                                       &missing));
        ck_assert_uint_lt(out.len, 40);
        ck_assert(FIELD_BIT(FIELD_AUTH_KEY) & read_fields("mtkruto", &out, &back));
        ck_assert(identity_equal(&identity, &back, FIELD_AUTH_KEY));
        identity_wipe(&identity);
        identity_wipe(&back);
        buffer_deinit(&out);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("session_string_tl");
        TCase *tcase = tcase_create("session_string_tl");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tcase, mtkruto_strings_byte_by_byte);
        tcase_add_test(tcase, mtkrutos_account_byte_by_byte);
        tcase_add_test(tcase, mtcute_strings_byte_by_byte);
        tcase_add_test(tcase, mtcutes_old_test_flag);
        tcase_add_test(tcase, a_run_of_257_zeros);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
