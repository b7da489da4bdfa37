/* The typed cursor: reads what fits, does not move otherwise, and never reads past the end. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/cursor.h"
#include "../../proto/message.h"

/* A cursor over a copy that ends where its allocation ends. */
static struct cursor over(const void *data, size_t len)
{
        uint8_t *copy = malloc(len ? len : 1);

        ck_assert_ptr_nonnull(copy);
        if (len)
                memcpy(copy, data, len);
        return (struct cursor){ copy, copy + len };
}

static struct cursor over_buffer(struct buffer *buffer)
{
        struct cursor cursor = over(buffer->data, buffer->len);

        buffer_deinit(buffer);
        return cursor;
}

static void drop(const uint8_t *start)
{
        free((uint8_t *)start);
}

#define BYTES(...) ((const uint8_t[]){ __VA_ARGS__ }), sizeof((const uint8_t[]){ __VA_ARGS__ })

/* Reads the value in these bytes as an int; but for cursor_number() no other read function accepts it. */
static void check_int(const uint8_t *data, size_t len, int64_t expected)
{
        struct cursor cursor = over(data, len);
        const uint8_t *start = cursor.at;
        struct slice slice;
        uint32_t count;
        int64_t value = 12345;
        bool flag;

        ck_assert(cursor_peek(&cursor) == CURSOR_INT || cursor_peek(&cursor) == CURSOR_FLOAT);
        ck_assert(!cursor_has_float(cursor));
        ck_assert(!cursor_nil(&cursor) && !cursor_bool(&cursor, &flag) && !cursor_str(&cursor, 99, &slice));
        ck_assert(!cursor_bin(&cursor, 99, &slice) && !cursor_array(&cursor, &count) &&
                  !cursor_map(&cursor, &count));
        ck_assert_ptr_eq(cursor.at, start);
        if (expected != INT64_MIN)
                ck_assert(!cursor_int_in(&cursor, INT64_MIN, expected - 1, &value));
        if (expected != INT64_MAX)
                ck_assert(!cursor_int_in(&cursor, expected + 1, INT64_MAX, &value));
        ck_assert_int_eq(value, 12345);
        ck_assert_ptr_eq(cursor.at, start);
        ck_assert(cursor_int_in(&cursor, expected, expected, &value));
        ck_assert_int_eq(value, expected);
        ck_assert_ptr_eq(cursor.at, cursor.end);
        ck_assert_int_eq(cursor_peek(&cursor), CURSOR_END);
        ck_assert(!cursor_int(&cursor, &value));
        drop(start);
        for (size_t n = 0; n < len; n++) {
                cursor = over(data, n);
                start = cursor.at;
                ck_assert(!cursor_int(&cursor, &value));
                ck_assert_ptr_eq(cursor.at, start);
                drop(start);
        }
}

START_TEST(integers_of_every_width)
{
        check_int(BYTES(0x00), 0);
        check_int(BYTES(0x7f), 127);
        check_int(BYTES(0xe0), -32);
        check_int(BYTES(0xff), -1);
        check_int(BYTES(0xcc, 0xff), 255);
        check_int(BYTES(0xcd, 0xff, 0xfe), 65534);
        check_int(BYTES(0xce, 0xff, 0xff, 0xff, 0xff), UINT32_MAX);
        check_int(BYTES(0xcf, 0, 0, 0, 0, 0, 0, 0, 5), 5);
        check_int(BYTES(0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), INT64_MAX);
        check_int(BYTES(0xd0, 0x80), -128);
        check_int(BYTES(0xd0, 0x05), 5);
        check_int(BYTES(0xd1, 0x80, 0x00), -32768);
        check_int(BYTES(0xd2, 0x80, 0, 0, 0), INT32_MIN);
        check_int(BYTES(0xd2, 0xff, 0xff, 0xff, 0xff), -1);
        check_int(BYTES(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0), INT64_MIN);
        check_int(BYTES(0xd3, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), INT64_MAX);
}
END_TEST

START_TEST(a_number_above_63_bits_does_not_fit)
{
        struct cursor cursor = over(BYTES(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0));
        const uint8_t *start = cursor.at;
        int64_t value;

        ck_assert(!cursor_int(&cursor, &value));
        ck_assert_ptr_eq(cursor.at, start);
        drop(start);
}
END_TEST

START_TEST(whole_floats_are_integers)
{
        check_int(BYTES(0xca, 0, 0, 0, 0), 0);
        check_int(BYTES(0xca, 0x80, 0, 0, 0), 0); /* -0 */
        check_int(BYTES(0xca, 0x3f, 0x80, 0, 0), 1);
        check_int(BYTES(0xca, 0xc3, 0x80, 0, 0), -256);
        check_int(BYTES(0xca, 0x5a, 0, 0, 0), 1ll << 53);
        check_int(BYTES(0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0), 0);
        check_int(BYTES(0xcb, 0xc2, 0x6d, 0x23, 0xc7, 0x62, 0x5a, 0x40, 0), -1001234567890);
        check_int(BYTES(0xcb, 0x43, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), (1ll << 53) - 1);
        check_int(BYTES(0xcb, 0x43, 0x40, 0, 0, 0, 0, 0, 0), 1ll << 53);
        check_int(BYTES(0xcb, 0xc3, 0x40, 0, 0, 0, 0, 0, 0), -(1ll << 53));
}
END_TEST

static void check_float(const uint8_t *data, size_t len)
{
        struct cursor cursor = over(data, len);
        const uint8_t *start = cursor.at;
        int64_t value;
        double number;

        ck_assert_int_eq(cursor_peek(&cursor), CURSOR_FLOAT);
        ck_assert(cursor_has_float(cursor));
        ck_assert(!cursor_int(&cursor, &value) && !cursor_int_in(&cursor, INT64_MIN, INT64_MAX, &value));
        ck_assert_ptr_eq(cursor.at, start);
        ck_assert(cursor_number(&cursor, &number));
        ck_assert_ptr_eq(cursor.at, cursor.end);
        drop(start);
}

START_TEST(other_floats_are_not_integers)
{
        check_float(BYTES(0xca, 0x3f, 0, 0, 0));                /* 0.5 */
        check_float(BYTES(0xca, 0x5a, 0, 0, 1));                /* above 2^53 */
        check_float(BYTES(0xca, 0x7f, 0x80, 0, 0));             /* infinity */
        check_float(BYTES(0xca, 0xff, 0x80, 0, 0));             /* the negative one */
        check_float(BYTES(0xca, 0x7f, 0xc0, 0, 0));             /* no number */
        check_float(BYTES(0xca, 0, 0, 0, 1));                   /* the smallest above 0 */
        check_float(BYTES(0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0)); /* 1.5 */
        check_float(BYTES(0xcb, 0x43, 0x40, 0, 0, 0, 0, 0, 1)); /* 2^53 + 2 */
        check_float(BYTES(0xcb, 0xc3, 0x40, 0, 0, 0, 0, 0, 1)); /* -2^53 - 2 */
        check_float(BYTES(0xcb, 0x43, 0xe0, 0, 0, 0, 0, 0, 0)); /* 2^63 */
        check_float(BYTES(0xcb, 0x7f, 0xef, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff));
        check_float(BYTES(0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0));
        check_float(BYTES(0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0));
}
END_TEST

START_TEST(floats_are_found_in_what_holds_them)
{
        static const struct {
                uint8_t bytes[16];
                size_t len;
                bool found;
        } values[] = {
                { { 0x01 }, 1, false },
                { { 0x92, 0x01, 0xca, 0x3f, 0x80, 0, 0 }, 7, false },
                { { 0x92, 0x01, 0xca, 0x3f, 0, 0, 0 }, 7, true },
                { { 0x93, 0x01, 0x92, 0x02, 0xca, 0x3f, 0, 0, 0, 0x03 }, 10, true },
                { { 0x81, 0x01, 0xca, 0x3f, 0, 0, 0 }, 7, true },
                { { 0x91, 0x01, 0xca, 0x3f, 0, 0, 0 }, 7, false }, /* of the value behind it */
                { { 0xc4, 0x05, 0xca, 0x3f, 0, 0, 0 }, 7, false }, /* of bytes that look so */
                { { 0 }, 0, false },
        };

        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
                struct cursor cursor = over(values[i].bytes, values[i].len);

                ck_assert_msg(cursor_has_float(cursor) == values[i].found, "value %zu", i);
                drop(cursor.at);
        }
}
END_TEST

START_TEST(an_empty_array_is_an_empty_map)
{
        static const struct {
                uint8_t bytes[8];
                size_t len;
                bool empty;
        } arrays[] = {
                { { 0x90 }, 1, true },
                { { 0xdc, 0, 0 }, 3, true },
                { { 0xdd, 0, 0, 0, 0 }, 5, true },
                { { 0x91, 0x01 }, 2, false },
                { { 0xdc, 0, 1, 0x01 }, 4, false },
                { { 0xdc, 0 }, 2, false }, /* incomplete */
                { { 0xc0 }, 1, false },
                { { 0xa0 }, 1, false },
        };

        for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++) {
                struct cursor cursor = over(arrays[i].bytes, arrays[i].len);
                const uint8_t *start = cursor.at;
                uint32_t pairs = 7;

                ck_assert_msg(cursor_map(&cursor, &pairs) == arrays[i].empty, "array %zu", i);
                if (arrays[i].empty)
                        ck_assert(pairs == 0 && cursor.at == cursor.end);
                else
                        ck_assert_ptr_eq(cursor.at, start);
                drop(start);
        }
}
END_TEST

START_TEST(types_by_first_byte)
{
        static const struct {
                uint8_t first, last;
                enum cursor_type type;
        } types[] = {
                { 0x00, 0x7f, CURSOR_INT },   { 0x80, 0x8f, CURSOR_MAP },   { 0x90, 0x9f, CURSOR_ARRAY },
                { 0xa0, 0xbf, CURSOR_STR },   { 0xc0, 0xc0, CURSOR_NIL },   { 0xc1, 0xc1, CURSOR_END },
                { 0xc2, 0xc3, CURSOR_BOOL },  { 0xc4, 0xc6, CURSOR_BIN },   { 0xc7, 0xc9, CURSOR_EXT },
                { 0xca, 0xcb, CURSOR_FLOAT }, { 0xcc, 0xd3, CURSOR_INT },   { 0xd4, 0xd8, CURSOR_EXT },
                { 0xd9, 0xdb, CURSOR_STR },   { 0xdc, 0xdd, CURSOR_ARRAY }, { 0xde, 0xdf, CURSOR_MAP },
                { 0xe0, 0xff, CURSOR_INT },
        };
        unsigned seen = 0;

        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
                for (unsigned first = types[i].first; first <= types[i].last; first++, seen++) {
                        uint8_t byte = (uint8_t)first;
                        struct cursor cursor = { &byte, &byte + 1 };

                        ck_assert_int_eq(cursor_peek(&cursor), types[i].type);
                }
        }
        ck_assert_uint_eq(seen, 256);
}
END_TEST

START_TEST(nil_and_booleans)
{
        struct cursor cursor = over(BYTES(0xc0, 0xc3, 0xc2));
        const uint8_t *start = cursor.at;
        bool value = false;

        ck_assert(!cursor_bool(&cursor, &value));
        ck_assert(cursor_nil(&cursor) && !cursor_nil(&cursor));
        ck_assert(cursor_bool(&cursor, &value) && value);
        ck_assert(cursor_bool(&cursor, &value) && !value);
        ck_assert(!cursor_bool(&cursor, &value) && !cursor_nil(&cursor));
        drop(start);
}
END_TEST

START_TEST(text_and_bytes_at_every_length)
{
        static const size_t lengths[] = { 0, 1, 31, 32, 255, 256, 65535, 65536 };
        static char body[65536];

        memset(body, 'x', sizeof(body));
        for (size_t i = 0; i < 2 * sizeof(lengths) / sizeof(lengths[0]); i++) {
                struct buffer buffer = { 0 };
                bool bin = i & 1;
                size_t len = lengths[i / 2];
                bool (*read)(struct cursor *, size_t, struct slice *) = bin ? cursor_bin : cursor_str;
                bool (*other)(struct cursor *, size_t, struct slice *) = bin ? cursor_str : cursor_bin;
                struct slice slice = SLICE_NONE;
                struct cursor cursor;
                const uint8_t *start;

                (bin ? pack_bin : pack_str)(&buffer, (struct slice){ body, len });
                cursor = over_buffer(&buffer);
                start = cursor.at;
                ck_assert(!other(&cursor, SIZE_MAX, &slice));
                if (len)
                        ck_assert(!read(&cursor, len - 1, &slice));
                ck_assert_ptr_null(slice.data);
                cursor.end--;
                if (len)
                        ck_assert(!read(&cursor, len, &slice));
                cursor.end++;
                ck_assert_ptr_eq(cursor.at, start);
                ck_assert(read(&cursor, len, &slice));
                ck_assert(slice_equal(slice, (struct slice){ body, len }));
                ck_assert_ptr_eq(cursor.at, cursor.end);
                drop(start);
        }
}
END_TEST

START_TEST(counts_of_arrays_and_maps)
{
        static const uint32_t counts[] = { 0, 1, 15, 16, 65535, 65536, UINT32_MAX };

        for (size_t i = 0; i < 2 * sizeof(counts) / sizeof(counts[0]); i++) {
                struct buffer buffer = { 0 };
                bool map = i & 1;
                struct cursor cursor;
                const uint8_t *start;
                uint32_t count = 7;

                (map ? pack_map : pack_array)(&buffer, counts[i / 2]);
                cursor = over_buffer(&buffer);
                start = cursor.at;
                if (map || counts[i / 2] > 0) /* an empty array is a map, too */
                        ck_assert(!(map ? cursor_array : cursor_map)(&cursor, &count));
                ck_assert((map ? cursor_map : cursor_array)(&cursor, &count));
                ck_assert_uint_eq(count, counts[i / 2]);
                ck_assert_ptr_eq(cursor.at, cursor.end);
                drop(start);
        }
}
END_TEST

START_TEST(skip_passes_over_one_value_whole)
{
        static const uint8_t data[] = { 0x92, 0x82, 0xa1, 'a',  0x92, 0xc0, 0xc4, 1, 0xff, 0xcd,
                                        1,    2,    0x90, 0xd6, 1,    2,    3,    4, 0x80, 0xc3 };
        struct cursor cursor = over(data, sizeof(data));
        const uint8_t *start = cursor.at;
        struct slice raw;
        bool value;

        cursor_skip(&cursor, &raw);
        ck_assert_ptr_eq(raw.data, start);
        ck_assert_uint_eq(raw.len, sizeof(data) - 1);
        ck_assert(cursor_bool(&cursor, &value) && value);
        cursor_skip(&cursor, NULL);
        ck_assert_ptr_eq(cursor.at, cursor.end);
        drop(start);
}
END_TEST

START_TEST(skip_stays_within_what_is_there)
{
        struct cursor cursor = over(BYTES(0xdd, 0xff, 0xff, 0xff, 0xff, 0xa5, 'a', 'b'));
        const uint8_t *start = cursor.at;

        cursor_skip(&cursor, NULL);
        ck_assert(cursor.at >= start && cursor.at <= cursor.end);
        drop(start);
        cursor = over(BYTES(0xc1));
        start = cursor.at;
        cursor_skip(&cursor, NULL);
        ck_assert_ptr_eq(cursor.at, start);
        drop(start);
}
END_TEST

/* The byte after the text would complete the character that is cut off. */
static bool utf8_at(const char *text, size_t len, size_t before, size_t after)
{
        char *copy = malloc(before + len + after + 3);
        bool valid;

        memset(copy, 'a', before + len + after);
        memset(copy + before + len + after, 0x80, 3);
        memcpy(copy + before, text, len);
        valid = slice_is_utf8((struct slice){ copy, before + len + after });
        free(copy);
        return valid;
}

/* The answer is the same wherever the character stands among the eight-byte steps. */
static void check_utf8(const char *text, bool expected)
{
        for (size_t before = 0; before < 18; before++) {
                for (size_t after = 0; after < 10; after++)
                        ck_assert_msg(utf8_at(text, strlen(text), before, after) == expected, "%s at %zu",
                                      text, before);
        }
}

START_TEST(valid_utf8)
{
        static const char *const texts[] = { "",
                                             "plain",
                                             "\x7f",
                                             "\xc2\x80",
                                             "\xdf\xbf",
                                             "\xe0\xa0\x80",
                                             "\xef\xbf\xbf",
                                             "\xed\x9f\xbf",
                                             "\xee\x80\x80",
                                             "\xf0\x90\x80\x80",
                                             "\xf4\x8f\xbf\xbf",
                                             "\xd0\xbf\xd1\x80",
                                             "\xf3\xa0\x80\x81",
                                             "\xe4\xb8\xad\xe6\x96\x87" };

        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
                check_utf8(texts[i], true);
        ck_assert(slice_is_utf8((struct slice){ "a\0b", 3 }));
}
END_TEST

START_TEST(invalid_utf8)
{
        static const char *const texts[] = {
                "\x80",
                "\xbf",
                "\xc0\x80",
                "\xc1\xbf",
                "\xc2",
                "\xc2\x41",
                "\xc2\xc0",
                "\xe0\x9f\xbf",
                "\xe0\x80\x80",
                "\xe1\x80",
                "\xed\xa0\x80",
                "\xed\xbf\xbf",
                "\xe2\x28\xa1",
                "\xe2\x82\x28",
                "\xf0\x8f\xbf\xbf",
                "\xf0\x90\x80",
                "\xf0\x90\x80\xc0",
                "\xf4\x90\x80\x80",
                "\xf5\x80\x80\x80",
                "\xff",
                "\xfe\x80\x80",
                "\xf8\x88\x80\x80\x80",
                "\xf1\x80\x41\x80",
        };

        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
                check_utf8(texts[i], false);
}
END_TEST

START_TEST(a_str_must_be_utf8)
{
        struct cursor cursor = over(BYTES(0xa2, 0xc0, 0x80));
        const uint8_t *start = cursor.at;
        struct slice text;

        ck_assert(!cursor_str(&cursor, 99, &text));
        ck_assert_ptr_eq(cursor.at, start);
        drop(start);
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("cursor");
        TCase *tcase = tcase_create("cursor");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_add_test(tcase, integers_of_every_width);
        tcase_add_test(tcase, a_number_above_63_bits_does_not_fit);
        tcase_add_test(tcase, whole_floats_are_integers);
        tcase_add_test(tcase, other_floats_are_not_integers);
        tcase_add_test(tcase, floats_are_found_in_what_holds_them);
        tcase_add_test(tcase, an_empty_array_is_an_empty_map);
        tcase_add_test(tcase, types_by_first_byte);
        tcase_add_test(tcase, nil_and_booleans);
        tcase_add_test(tcase, text_and_bytes_at_every_length);
        tcase_add_test(tcase, counts_of_arrays_and_maps);
        tcase_add_test(tcase, skip_passes_over_one_value_whole);
        tcase_add_test(tcase, skip_stays_within_what_is_there);
        tcase_add_test(tcase, valid_utf8);
        tcase_add_test(tcase, invalid_utf8);
        tcase_add_test(tcase, a_str_must_be_utf8);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
