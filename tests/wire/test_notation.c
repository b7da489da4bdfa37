/* The notation of the tests: text is packed as meant and printed back the same. */
#include <stdlib.h>
#include <string.h>

#include "../support/notation.h"
#include "../support/program.h"

static char *hex_of(const char *text)
{
        msgpack_sbuffer out;
        char *hex;

        msgpack_sbuffer_init(&out);
        ck_assert_str_eq(notation_pack(&out, text), "");
        hex = calloc(1, out.size * 2 + 1);
        for (size_t i = 0; i < out.size; i++)
                sprintf(hex + i * 2, "%02x", (unsigned char)out.data[i]);
        msgpack_sbuffer_destroy(&out);
        return hex;
}

START_TEST(packs)
{
        static const struct {
                const char *text;
                const char *hex;
        } rows[] = {
                { "nil", "c0" },
                { "[true, false]", "92c3c2" },
                { "-1", "ff" },
                { "-9223372036854775808", "d38000000000000000" },
                { "18446744073709551615", "cfffffffffffffffff" },
                { "'a'", "a161" },
                { "'a\\x00\\''", "a3610027" },
                { "'ab'*2", "a461626162" },
                { "''", "a0" },
                { "h''", "c400" },
                { "h'0102'*2", "c40401020102" },
                { "e'05'", "d40105" },
                { "1.5", "cb3ff8000000000000" },
                { "[1..4]", "9401020304" },
                { "{a: 1, 'b c': [ ]}", "82a16101a362206390" },
                { "(1, {})", "920180" },
        };

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                TEST_FREED char *hex = hex_of(rows[i].text);

                ck_assert_str_eq(hex, rows[i].hex);
        }
}
END_TEST

START_TEST(prints_what_it_packs)
{
        static const char text[] = "[nil, true, -5, 7, 'it\\'s', h'00ff', {'b c': {}, a: []}, 1.5]";
        msgpack_sbuffer out;
        msgpack_unpacked unpacked;
        TEST_FREED char *printed = NULL;

        msgpack_sbuffer_init(&out);
        notation_pack(&out, text);
        msgpack_unpacked_init(&unpacked);
        ck_assert_int_eq(msgpack_unpack_next(&unpacked, out.data, out.size, NULL), MSGPACK_UNPACK_SUCCESS);
        printed = notation_print(&unpacked.data);
        ck_assert_str_eq(printed, text);
        msgpack_unpacked_destroy(&unpacked);
        msgpack_sbuffer_destroy(&out);
}
END_TEST

START_TEST(matches)
{
        ck_assert(notation_match("[1, ..., 3]", "[1, 2, 3]"));
        ck_assert(notation_match("...", ""));
        ck_assert(notation_match("!busy", "!busy"));
        ck_assert(notation_match("...a...b", "xaxab"));
        ck_assert(notation_match("!busy or !storage", "!storage"));
        ck_assert(!notation_match("!busy or !storage", "!corrupt"));
        ck_assert(!notation_match("!busy", "!busy "));
        ck_assert(!notation_match("[1, ..., 3]", "[1, 2, 4]"));
        ck_assert(!notation_match("nil", ""));
}
END_TEST

int main(void)
{
        const TTest *const tests[] = { packs, prints_what_it_packs, matches, NULL };

        return test_program("notation", tests);
}
