/* The envelope: reading requests, responses and notifications; writing answers, byte for byte. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/message.h"

#define BYTES(...) ((const uint8_t[]){ __VA_ARGS__ }), sizeof((const uint8_t[]){ __VA_ARGS__ })

static bool read_bytes(const uint8_t *data, size_t len, struct message *message)
{
        return message_read((struct slice){ (const char *)data, len }, message);
}

static void check_bytes(struct buffer *buffer, const uint8_t *data, size_t len)
{
        ck_assert(!buffer->failed);
        ck_assert_uint_eq(buffer->len, len);
        ck_assert_mem_eq(buffer->data, data, len);
        buffer_deinit(buffer);
}

START_TEST(reads_a_request)
{
        struct message message;
        int64_t value;

        ck_assert(read_bytes(BYTES(0x94, 0, 0xcd, 1, 0, 0xa3, 'g', 'e', 't', 0x92, 5, 0x90), &message));
        ck_assert_int_eq(message.kind, MESSAGE_REQUEST);
        ck_assert_uint_eq(message.id, 256);
        ck_assert(slice_is(message.method, "get"));
        ck_assert_uint_eq(message.n_params, 2);
        ck_assert_uint_eq(message.frame.len, 12);
        ck_assert(cursor_int(&message.params, &value) && value == 5);
        ck_assert_int_eq(cursor_peek(&message.params), CURSOR_ARRAY);
}
END_TEST

START_TEST(reads_a_notification)
{
        struct message message;

        ck_assert(read_bytes(BYTES(0x93, 2, 0xa4, 's', 'a', 'v', 'e', 0x91, 1), &message));
        ck_assert_int_eq(message.kind, MESSAGE_NOTIFICATION);
        ck_assert_uint_eq(message.id, 0);
        ck_assert(slice_is(message.method, "save"));
        ck_assert_uint_eq(message.n_params, 1);
}
END_TEST

START_TEST(reads_a_response)
{
        struct message message;
        int64_t value;

        ck_assert(read_bytes(BYTES(0x94, 1, 9, 0xc0, 42), &message));
        ck_assert_int_eq(message.kind, MESSAGE_RESPONSE);
        ck_assert_uint_eq(message.id, 9);
        ck_assert_ptr_null(message.method.data);
        ck_assert(cursor_nil(&message.params));
        ck_assert(cursor_int(&message.params, &value) && value == 42);
}
END_TEST

/* Some clients send the method as bin, and longer forms than needed. */
START_TEST(accepts_other_encodings_of_the_same)
{
        struct message message;

        ck_assert(read_bytes(BYTES(0x94, 0, 1, 0xc4, 3, 'g', 'e', 't', 0x90), &message));
        ck_assert(slice_is(message.method, "get"));
        ck_assert(read_bytes(BYTES(0xdc, 0, 4, 0xcc, 0, 0xcf, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xd9, 3,
                                   'g', 'e', 't', 0xdd, 0, 0, 0, 0),
                             &message));
        ck_assert_uint_eq(message.id, UINT32_MAX);
        ck_assert(slice_is(message.method, "get"));
        ck_assert(
                read_bytes(BYTES(0xdd, 0, 0, 0, 3, 0xd1, 0, 2, 0xdb, 0, 0, 0, 1, 'x', 0xdc, 0, 0), &message));
        ck_assert_int_eq(message.kind, MESSAGE_NOTIFICATION);
        ck_assert(slice_is(message.method, "x"));
}
END_TEST

/* The envelope does not know the methods. */
START_TEST(a_method_need_not_be_utf8)
{
        struct message message;

        ck_assert(read_bytes(BYTES(0x94, 0, 1, 0xa1, 0xff, 0x90), &message));
        ck_assert(slice_is(message.method, "\xff"));
        ck_assert(read_bytes(BYTES(0x93, 2, 0xc4, 2, 0xc0, 0x80, 0x90), &message));
        ck_assert(slice_is(message.method, "\xc0\x80"));
}
END_TEST

START_TEST(refuses_other_shapes)
{
        static const struct {
                uint8_t bytes[12];
                size_t len;
        } shapes[] = {
                { { 0x90 }, 1 },                                         /* nothing */
                { { 0x94, 3, 1, 0xa1, 'x', 0x90 }, 6 },                  /* a fourth kind */
                { { 0x94, 0xff, 1, 0xa1, 'x', 0x90 }, 6 },               /* a negative kind */
                { { 0x94, 0xc0, 1, 0xa1, 'x', 0x90 }, 6 },               /* no kind */
                { { 0x93, 0, 1, 0xa1, 'x' }, 5 },                        /* no params */
                { { 0x95, 0, 1, 0xa1, 'x', 0x90, 0xc0 }, 7 },            /* one too many */
                { { 0x94, 0, 0xff, 0xa1, 'x', 0x90 }, 6 },               /* a negative id */
                { { 0x94, 0, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0, 0xa0 }, 12 }, /* an id beyond 32 bits */
                { { 0x94, 0, 0xc0, 0xa1, 'x', 0x90 }, 6 },               /* a nil id */
                { { 0x94, 0, 1, 5, 0x90 }, 5 },                          /* a number as method */
                { { 0x94, 0, 1, 0xc0, 0x90 }, 5 },                       /* a nil method */
                { { 0x94, 0, 1, 0xa1, 'x', 0x80 }, 6 },                  /* params as a map */
                { { 0x94, 0, 1, 0xa1, 'x', 0xc0 }, 6 },                  /* nil params */
                { { 0x94, 2, 0xa1, 'x', 0x90, 0xc0 }, 6 },               /* a notification of four */
                { { 0x93, 2, 0xa1, 'x', 5 }, 5 },                        /* a notification without params */
                { { 0x93, 1, 1, 0xc0 }, 4 },                             /* a response of three */
        };
        struct message message;

        for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
                ck_assert_msg(!read_bytes(shapes[i].bytes, shapes[i].len, &message), "shape %zu", i);
}
END_TEST

START_TEST(peeks_the_id_of_a_broken_message)
{
        static const uint8_t whole[] = { 0x94, 0, 0xce, 1, 2, 3, 4, 0xa1, 'x', 0xdd, 0xff, 0xff, 0xff, 0xff };

        for (size_t n = 0; n <= sizeof(whole); n++)
                ck_assert_uint_eq(message_peek_id(whole, n), n < 7 ? 0 : 0x01020304);
        ck_assert_uint_eq(message_peek_id(BYTES(0xdc, 0, 4, 0, 7)), 7);
        ck_assert_uint_eq(message_peek_id(BYTES(0x92, 0, 7)), 7);
        ck_assert_uint_eq(message_peek_id(BYTES(0x94, 1, 7)), 0);
        ck_assert_uint_eq(message_peek_id(BYTES(0x93, 2, 7)), 0);
        ck_assert_uint_eq(message_peek_id(BYTES(0x94, 0, 0xff)), 0);
        ck_assert_uint_eq(message_peek_id(BYTES(0x94, 0, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0)), 0);
        ck_assert_uint_eq(message_peek_id(BYTES(0x91, 0, 7)), 0);
        ck_assert_uint_eq(message_peek_id(BYTES(0x84, 0, 7)), 0);
        ck_assert_uint_eq(message_peek_id(BYTES('G', 'E', 'T', ' ', '/')), 0);
        ck_assert_uint_eq(message_peek_id(BYTES(0x94, 0, 0xc1)), 0);
        ck_assert_uint_eq(message_peek_id(NULL, 0), 0);
}
END_TEST

START_TEST(writes_a_result)
{
        struct buffer out = { 0 };

        message_begin_result(&out, 300);
        pack_bool(&out, true);
        check_bytes(&out, BYTES(0x94, 1, 0xcd, 1, 0x2c, 0xc0, 0xc3));
}
END_TEST

START_TEST(writes_a_notification)
{
        struct buffer out = { 0 };

        message_begin_notification(&out, "ended", 2);
        pack_int(&out, 1);
        pack_bin(&out, (struct slice){ "\xff", 1 });
        check_bytes(&out, BYTES(0x93, 2, 0xa5, 'e', 'n', 'd', 'e', 'd', 0x92, 1, 0xc4, 1, 0xff));
}
END_TEST

START_TEST(writes_an_error)
{
        struct buffer out = { 0 };

        message_write_error(&out, 7, "busy", slice_of("no"), SLICE_NONE);
        check_bytes(&out, BYTES(0x94, 1, 7, 0x93, 0xa4, 'b', 'u', 's', 'y', 0xa2, 'n', 'o', 0xc0, 0xc0));
        message_write_error(&out, UINT32_MAX, "x", slice_of(""), (struct slice){ "\x81\x01\x02", 3 });
        check_bytes(&out,
                    BYTES(0x94, 1, 0xce, 0xff, 0xff, 0xff, 0xff, 0x93, 0xa1, 'x', 0xa0, 0x81, 1, 2, 0xc0));
}
END_TEST

START_TEST(writes_values)
{
        struct buffer out = { 0 };

        pack_nil(&out);
        pack_str(&out, SLICE_NONE);
        pack_bin(&out, SLICE_NONE);
        pack_str(&out, (struct slice){ "", 0 });
        pack_bin(&out, (struct slice){ "", 0 });
        pack_cstr(&out, NULL);
        pack_bool(&out, false);
        pack_int(&out, INT64_MIN);
        pack_int(&out, -1);
        pack_map(&out, 1);
        pack_array(&out, 16);
        check_bytes(&out, BYTES(0xc0, 0xc0, 0xc0, 0xa0, 0xc4, 0, 0xc0, 0xc2, 0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0,
                                0xff, 0x81, 0xdc, 0, 16));
}
END_TEST

START_TEST(an_array_is_counted_when_it_ends)
{
        struct buffer out = { 0 };
        size_t at;

        pack_nil(&out);
        at = pack_array_begin(&out);
        pack_int(&out, 7);
        pack_array_end(&out, at, 0x01020304);
        check_bytes(&out, BYTES(0xc0, 0xdd, 1, 2, 3, 4, 7));
        out.limit = 3;
        at = pack_array_begin(&out);
        pack_array_end(&out, at, 1);
        ck_assert(out.failed);
        buffer_deinit(&out);
}
END_TEST

START_TEST(an_answer_over_the_limit_fails_and_can_be_taken_back)
{
        struct buffer out = { .limit = 20 };
        size_t before;

        message_begin_result(&out, 1);
        pack_nil(&out);
        before = out.len;
        message_begin_result(&out, 2);
        pack_cstr(&out, "more than there is room for");
        ck_assert(out.failed);
        buffer_truncate(&out, before);
        check_bytes(&out, BYTES(0x94, 1, 1, 0xc0, 0xc0));
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("message");
        TCase *tcase = tcase_create("message");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tcase, reads_a_request);
        tcase_add_test(tcase, reads_a_notification);
        tcase_add_test(tcase, reads_a_response);
        tcase_add_test(tcase, accepts_other_encodings_of_the_same);
        tcase_add_test(tcase, a_method_need_not_be_utf8);
        tcase_add_test(tcase, refuses_other_shapes);
        tcase_add_test(tcase, peeks_the_id_of_a_broken_message);
        tcase_add_test(tcase, writes_a_result);
        tcase_add_test(tcase, writes_a_notification);
        tcase_add_test(tcase, writes_an_error);
        tcase_add_test(tcase, writes_values);
        tcase_add_test(tcase, an_array_is_counted_when_it_ends);
        tcase_add_test(tcase, an_answer_over_the_limit_fails_and_can_be_taken_back);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
