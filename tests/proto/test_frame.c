/*
 * The frame scanner: it finds the end of every message however its bytes arrive, and refuses impossible sizes
 * as soon as it reads them. Each buffer is an allocation of its exact length, so that AddressSanitizer and
 * valgrind notice a read beyond its end.
 */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/frame.h"
#include "../../proto/message.h"

static const struct frame_limits LIMITS = { 4 << 20, 8 };

/* A copy of the first `n` bytes that ends where its allocation ends. */
static uint8_t *exactly(const uint8_t *data, size_t n)
{
        uint8_t *copy = malloc(n ? n : 1);

        ck_assert_ptr_nonnull(copy);
        if (n)
                memcpy(copy, data, n);
        return copy;
}

static enum frame_result scan_some(struct frame *frame, const struct frame_limits *limits,
                                   const uint8_t *data, size_t n, size_t *end)
{
        uint8_t *copy = exactly(data, n);
        enum frame_result result = frame_scan(frame, limits, copy, n, end);

        free(copy);
        return result;
}

static enum frame_result scan_once(const struct frame_limits *limits, const uint8_t *data, size_t n)
{
        struct frame frame = { 0 };
        size_t end = 0;
        enum frame_result result = scan_some(&frame, limits, data, n, &end);

        if (result == FRAME_WHOLE)
                ck_assert_uint_eq(end, n);
        return result;
}

/* At once, in two parts of every length, and byte by byte: the end is always the same. */
static void check_whole(const uint8_t *data, size_t len)
{
        struct frame frame = { 0 };
        size_t end = 0;

        ck_assert_int_eq(scan_once(&LIMITS, data, len), FRAME_WHOLE);
        for (size_t split = 0; split < len; split++) {
                ck_assert_int_eq(scan_some(&frame, &LIMITS, data, split, &end), FRAME_MORE);
                ck_assert_int_eq(scan_some(&frame, &LIMITS, data, len, &end), FRAME_WHOLE);
                ck_assert_uint_eq(end, len);
                ck_assert_uint_eq(frame.scanned, 0);
        }
        for (size_t n = 0; n < len; n++)
                ck_assert_int_eq(scan_some(&frame, &LIMITS, data, n, &end), FRAME_MORE);
        ck_assert_int_eq(scan_some(&frame, &LIMITS, data, len, &end), FRAME_WHOLE);
        ck_assert_uint_eq(end, len);
}

/* Refused with `expected` when enough of it has arrived, and never accepted before. */
static void check_refused(const uint8_t *data, size_t len, enum frame_result expected)
{
        struct frame frame = { 0 };
        enum frame_result result = FRAME_MORE;
        size_t end;

        ck_assert_int_eq(scan_once(&LIMITS, data, len), expected);
        for (size_t n = 0; n <= len && result == FRAME_MORE; n++)
                result = scan_some(&frame, &LIMITS, data, n, &end);
        ck_assert_int_eq(result, expected);
}

#define BYTES(...) ((const uint8_t[]){ __VA_ARGS__ }), sizeof((const uint8_t[]){ __VA_ARGS__ })

/* One value of every type there is, at each of its widths, in one message. */
static void pack_everything(struct buffer *out)
{
        msgpack_packer packer = buffer_packer(out);
        static const int64_t numbers[] = { 0,      127,       128,         255,       256,
                                           65535,  65536,     4294967295,  INT64_MAX, -1,
                                           -32,    -33,       -128,        -129,      -32768,
                                           -32769, INT32_MIN, -2147483649, INT64_MIN };
        static const size_t lengths[] = { 0, 1, 31, 32, 255, 256, 65535, 65536 };
        static char body[65536];

        memset(body, 0xc1, sizeof(body));
        pack_array(out, 4);
        for (int i = 0; i < 3; i++)
                pack_int(out, i);
        pack_array(out, 19 + 3 * 8 + 8);
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
                pack_int(out, numbers[i]);
        for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
                pack_str(out, (struct slice){ body, lengths[i] });
                pack_bin(out, (struct slice){ body, lengths[i] });
                msgpack_pack_ext_with_body(&packer, body, lengths[i], 5);
        }
        pack_nil(out);
        pack_bool(out, true);
        pack_bool(out, false);
        msgpack_pack_float(&packer, 1.5f);
        msgpack_pack_double(&packer, 2.5);
        pack_map(out, 2);
        pack_cstr(out, "a");
        pack_array(out, 0);
        pack_cstr(out, "b");
        pack_map(out, 0);
        pack_array(out, 20);
        for (int i = 0; i < 20; i++)
                pack_map(out, 0);
        pack_map(out, 20);
        for (int i = 0; i < 40; i++)
                pack_int(out, i);
}

START_TEST(every_type_at_every_width)
{
        struct buffer out = { 0 };
        struct frame frame = { 0 };
        size_t end = 0;

        pack_everything(&out);
        ck_assert(!out.failed);
        ck_assert_int_eq(scan_once(&LIMITS, out.data, out.len), FRAME_WHOLE);
        for (size_t n = 0; n < out.len; n++)
                ck_assert_int_eq(frame_scan(&frame, &LIMITS, out.data, n, &end), FRAME_MORE);
        ck_assert_int_eq(frame_scan(&frame, &LIMITS, out.data, out.len, &end), FRAME_WHOLE);
        ck_assert_uint_eq(end, out.len);
        buffer_deinit(&out);
}
END_TEST

START_TEST(a_request_in_every_split)
{
        struct buffer out = { 0 };

        pack_array(&out, 4);
        pack_int(&out, MESSAGE_REQUEST);
        pack_int(&out, 70000);
        pack_cstr(&out, "update_peers");
        pack_array(&out, 2);
        pack_int(&out, 1);
        pack_array(&out, 2);
        for (int i = 0; i < 2; i++) {
                pack_array(&out, 5);
                pack_int(&out, -1001234567890 - i);
                pack_int(&out, INT64_MIN + i);
                pack_cstr(&out, "supergroup");
                pack_cstr(&out, "a_username_of_more_than_31_bytes_in_all");
                pack_nil(&out);
        }
        check_whole(out.data, out.len);
        buffer_deinit(&out);
}
END_TEST

START_TEST(long_forms_of_short_things)
{
        check_whole(BYTES(0x90));
        check_whole(BYTES(0xdc, 0, 0));
        check_whole(BYTES(0xdd, 0, 0, 0, 0));
        check_whole(BYTES(0xdc, 0, 2, 0xcd, 0, 1, 0xd3, 0, 0, 0, 0, 0, 0, 0, 1));
        check_whole(BYTES(0xdd, 0, 0, 0, 1, 0xdb, 0, 0, 0, 2, 'a', 'b'));
        check_whole(BYTES(0x91, 0xde, 0, 1, 0xd9, 1, 'a', 0xc6, 0, 0, 0, 1, 'b'));
        check_whole(BYTES(0x91, 0xdf, 0, 0, 0, 1, 0xda, 0, 1, 'a', 0xc5, 0, 1, 'b'));
        check_whole(BYTES(0x93, 0xc7, 0, 9, 0xc8, 0, 1, 9, 'x', 0xc9, 0, 0, 0, 1, 9, 'x'));
        check_whole(BYTES(0x92, 0xd4, 1, 2, 0xd8, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}
END_TEST

/* Several messages in one buffer come one after the other. */
START_TEST(the_next_message_is_left_alone)
{
        const uint8_t data[] = { 0x92, 1, 0xa1, 'x', 0x90, 0x91 };
        struct frame frame = { 0 };
        size_t end = 0;

        ck_assert_int_eq(frame_scan(&frame, &LIMITS, data, 6, &end), FRAME_WHOLE);
        ck_assert_uint_eq(end, 4);
        ck_assert_int_eq(frame_scan(&frame, &LIMITS, data + 4, 2, &end), FRAME_WHOLE);
        ck_assert_uint_eq(end, 1);
        ck_assert_int_eq(frame_scan(&frame, &LIMITS, data + 5, 1, &end), FRAME_MORE);
}
END_TEST

/* The head of a value that starts with this byte, by the MessagePack specification; 0: there is none. */
static size_t specified_size(unsigned first)
{
        static const uint8_t from_c0[32] = { 1, 0, 1, 1, 2, 3, 5, 3,  4,  6, 5, 9, 2, 3, 5, 9,
                                             2, 3, 5, 9, 3, 4, 6, 10, 18, 2, 3, 5, 3, 5, 3, 5 };

        if (first >= 0xa0 && first < 0xc0)
                return 1 + (first & 0x1f);
        if (first >= 0xc0 && first < 0xe0)
                return from_c0[first - 0xc0];
        return 1;
}

/* Zero bytes after the first: lengths and counts are 0, and so are elements of small arrays and maps. */
START_TEST(every_first_byte)
{
        for (unsigned first = 0; first < 256; first++) {
                uint8_t data[64] = { 0x91, (uint8_t)first };
                size_t size = specified_size(first);

                if (first >= 0x80 && first < 0x90)
                        size += 2 * (size_t)(first & 15);
                if (first >= 0x90 && first < 0xa0)
                        size += first & 15;
                if (size)
                        check_whole(data, 1 + size);
                else
                        check_refused(data, sizeof(data), FRAME_E_INVALID);
        }
}
END_TEST

START_TEST(a_message_starts_with_an_array)
{
        for (unsigned first = 0; first < 256; first++) {
                uint8_t data[1] = { (uint8_t)first };
                bool array = (first >= 0x90 && first < 0xa0) || first == 0xdc || first == 0xdd;
                enum frame_result result = scan_once(&LIMITS, data, 1);

                if (array)
                        ck_assert_int_ge(result, FRAME_WHOLE);
                else
                        ck_assert_int_eq(result, FRAME_E_INVALID);
        }
}
END_TEST

START_TEST(claims_that_cannot_fit)
{
        check_refused(BYTES(0xdd, 0xff, 0xff, 0xff, 0xff), FRAME_E_TOO_LARGE);
        check_refused(BYTES(0xdd, 0xd6, 0x93, 0xa4, 0x00), FRAME_E_TOO_LARGE); /* 3.6 billion elements */
        check_refused(BYTES(0x91, 0xdf, 0xff, 0xff, 0xff, 0xff), FRAME_E_TOO_LARGE);
        check_refused(BYTES(0x91, 0xdf, 0x80, 0, 0, 0), FRAME_E_TOO_LARGE);
        check_refused(BYTES(0x91, 0xdb, 0xff, 0xff, 0xff, 0xff), FRAME_E_TOO_LARGE);
        check_refused(BYTES(0x91, 0xc6, 0xff, 0xff, 0xff, 0xff), FRAME_E_TOO_LARGE);
        check_refused(BYTES(0x91, 0xc9, 0xff, 0xff, 0xff, 0xff, 1), FRAME_E_TOO_LARGE);
        check_refused(BYTES(0x91, 0xdb, 0x00, 0x40, 0x00, 0x00), FRAME_E_TOO_LARGE);
}
END_TEST

/* Each size alone would fit: the sum over the levels does not. */
START_TEST(claims_are_added_up_over_the_levels)
{
        check_refused(BYTES(0xdd, 0, 0x20, 0, 0, 0xdd, 0, 0x20, 0, 0), FRAME_E_TOO_LARGE);
        check_refused(BYTES(0xdd, 0, 0x30, 0, 0, 0xdb, 0, 0x20, 0, 0), FRAME_E_TOO_LARGE);
        check_refused(BYTES(0xdd, 0, 0x10, 0, 0, 0xdf, 0, 0x10, 0, 0, 0xdd, 0, 0x10, 0, 0),
                      FRAME_E_TOO_LARGE);
}
END_TEST

/* Empty arrays need nothing more; the longest allowed message is accepted, one byte more is not. */
START_TEST(the_limit_is_exact)
{
        struct frame_limits limits = { 100, 8 };
        uint8_t data[101] = { 0x92, 0xd9, 96 };

        data[99] = 0xc0;
        ck_assert_int_eq(scan_once(&limits, data, 100), FRAME_WHOLE);
        data[2] = 97;
        ck_assert_int_eq(scan_once(&limits, data, 3), FRAME_E_TOO_LARGE);
        memset(data, 0x90, sizeof(data));
        data[0] = 0xdc;
        data[1] = 0;
        data[2] = 97;
        ck_assert_int_eq(scan_once(&limits, data, 100), FRAME_WHOLE);
        data[2] = 98;
        ck_assert_int_eq(scan_once(&limits, data, 3), FRAME_E_TOO_LARGE);
}
END_TEST

START_TEST(depth_is_counted_with_the_messages_own_array)
{
        const uint8_t arrays[] = { 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0xc0 };
        const uint8_t maps[] = { 0x91, 0x81, 0, 0x81, 0, 0x81, 0, 0x81, 0, 0x81, 0, 0x81, 0, 0x80 };
        struct frame_limits deep = { 4 << 20, 1000 };
        uint8_t nested[100];

        check_whole(arrays + 2, 8);
        check_refused(arrays, 9, FRAME_E_TOO_DEEP);
        check_whole(maps, sizeof(maps));
        check_whole(BYTES(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x90));
        check_refused(BYTES(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x90), FRAME_E_TOO_DEEP);
        check_refused(BYTES(0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0xde, 0, 0), FRAME_E_TOO_DEEP);
        memset(nested, 0x91, sizeof(nested));
        ck_assert_int_eq(scan_once(&deep, nested, FRAME_DEPTH_LIMIT), FRAME_MORE);
        ck_assert_int_eq(scan_once(&deep, nested, FRAME_DEPTH_LIMIT + 1), FRAME_E_TOO_DEEP);
}
END_TEST

/* Depth is about what encloses a value, not about what came before it. */
START_TEST(levels_close_again)
{
        check_whole(BYTES(0x94, 0x91, 0x91, 0x91, 0xc0, 0x91, 0x91, 0x91, 0xc0, 0x91, 0x91, 0x91, 0x91, 0x91,
                          0x91, 0x90, 0x92, 0x91, 0x91, 0x91, 0x91, 0x91, 0x90, 0x91, 0x91, 0x91, 0x91, 0x91,
                          0x90));
}
END_TEST

START_TEST(the_invalid_byte_is_refused_anywhere)
{
        check_refused(BYTES(0xc1), FRAME_E_INVALID);
        check_refused(BYTES(0x94, 0, 1, 0xa1, 'x', 0xc1), FRAME_E_INVALID);
        check_refused(BYTES(0x91, 0x81, 0xa1, 'x', 0xc1), FRAME_E_INVALID);
        check_whole(BYTES(0x91, 0xa1, 0xc1));
}
END_TEST

/* The result does not depend on the pieces in which the bytes arrive. */
START_TEST(noise_gives_one_result_however_it_is_cut)
{
        uint64_t seed = 0x9e3779b97f4a7c15u + (uint64_t)_i;

        for (int round = 0; round < 2000; round++) {
                uint8_t data[48];
                struct frame frame = { 0 };
                enum frame_result whole, cut = FRAME_MORE;
                size_t end_whole = 0, end_cut = 0;

                for (size_t i = 0; i < sizeof(data); i++) {
                        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
                        data[i] = (uint8_t)seed;
                }
                data[0] = (uint8_t)(0x90 | (data[0] & 15));
                whole = frame_scan(&frame, &LIMITS, data, sizeof(data), &end_whole);
                frame = (struct frame){ 0 };
                for (size_t n = 1; n <= sizeof(data) && cut == FRAME_MORE; n++)
                        cut = scan_some(&frame, &LIMITS, data, n, &end_cut);
                ck_assert_int_eq(whole, cut);
                if (whole == FRAME_WHOLE)
                        ck_assert_uint_eq(end_whole, end_cut);
        }
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("frame");
        TCase *tcase = tcase_create("frame");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tcase, every_type_at_every_width);
        tcase_add_test(tcase, a_request_in_every_split);
        tcase_add_test(tcase, long_forms_of_short_things);
        tcase_add_test(tcase, the_next_message_is_left_alone);
        tcase_add_test(tcase, every_first_byte);
        tcase_add_test(tcase, a_message_starts_with_an_array);
        tcase_add_test(tcase, claims_that_cannot_fit);
        tcase_add_test(tcase, claims_are_added_up_over_the_levels);
        tcase_add_test(tcase, the_limit_is_exact);
        tcase_add_test(tcase, depth_is_counted_with_the_messages_own_array);
        tcase_add_test(tcase, levels_close_again);
        tcase_add_test(tcase, the_invalid_byte_is_refused_anywhere);
        tcase_add_loop_test(tcase, noise_gives_one_result_however_it_is_cut, 0, 4);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
