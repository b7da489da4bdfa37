/*
 * Session strings over the wire: export and import of every format, with the format named and recognised,
 * against vectors that are made here byte by byte; and what an import refuses.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/program.h"
#include "../support/wire.h"

struct vector {
        uint8_t bytes[512];
        size_t len;
};

static void add(struct vector *vector, uint64_t value, int width)
{
        while (width-- > 0)
                vector->bytes[vector->len++] = (uint8_t)(value >> (8 * width));
}

static void add_key(struct vector *vector, uint8_t first)
{
        for (int i = 0; i < 256; i++)
                vector->bytes[vector->len++] = first ? (uint8_t)(first + i) : 0;
}

/* URL-safe; malloc'ed. */
static char *base64(const char *before, const struct vector *vector, bool padded)
{
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        char *text = calloc(1, strlen(before) + vector->len * 2);
        char *to = stpcpy(text, before);

        for (size_t i = 0; i < vector->len; i += 3) {
                size_t n = vector->len - i < 3 ? vector->len - i : 3;
                uint32_t bits = (uint32_t)vector->bytes[i] << 16;

                bits |= n > 1 ? (uint32_t)vector->bytes[i + 1] << 8 : 0;
                bits |= n > 2 ? (uint32_t)vector->bytes[i + 2] : 0;
                for (size_t j = 0; j < 4; j++)
                        if (j <= n)
                                *to++ = digits[bits >> (18 - 6 * j) & 63];
                        else if (padded)
                                *to++ = '=';
        }
        *to = '\0';
        return text;
}

enum { USER = 0x7fffffff };

static char *current(uint8_t key, bool padded)
{
        struct vector vector = { .len = 0 };

        add(&vector, 4, 1);
        add(&vector, 0x01020304, 4);
        add(&vector, 1, 1);
        add_key(&vector, key);
        add(&vector, 0x123456789abcdef, 8);
        add(&vector, 1, 1);
        ck_assert_uint_eq(vector.len, 271);
        return base64("", &vector, padded);
}

static char *old(uint8_t key, int user_width)
{
        struct vector vector = { .len = 0 };

        add(&vector, 1, 1);
        add(&vector, 0, 1);
        add_key(&vector, key);
        add(&vector, USER, user_width);
        add(&vector, 0, 1);
        return base64("", &vector, false);
}

static char *telethon(uint8_t key, int family, const char *address, uint16_t port)
{
        struct vector vector = { .len = 0 };

        add(&vector, 5, 1);
        ck_assert_int_eq(inet_pton(family, address, vector.bytes + 1), 1);
        vector.len += family == AF_INET ? 4 : 16;
        add(&vector, port, 2);
        add_key(&vector, key);
        return base64("1", &vector, true);
}

static char *key_text(uint8_t first)
{
        char *text = calloc(1, 520);
        char *to = text;

        to += sprintf(to, "h'");
        for (int i = 0; i < 256; i++)
                to += sprintf(to, "%02x", (uint8_t)(first + i));
        sprintf(to, "'");
        return text;
}

#define FIELDS "['dc_id', 'api_id', 'test_mode', 'auth_key', 'date', 'user_id', 'is_bot']"

struct row {
        const char *format;
        char *text;
        size_t len;
        const char *fields; /* with %s for the key */
};

static size_t make_rows(struct row *rows)
{
        size_t n = 0;

        rows[n++] = (struct row){ "pyrogram", current(9, false), 362,
                                  "[4, 16909060, true, %s, 0, 81985529216486895, true]" };
        rows[n++] = (struct row){ "pyrogram", current(9, true), 364,
                                  "[4, 16909060, true, %s, 0, 81985529216486895, true]" };
        rows[n++] =
                (struct row){ "pyrogram-old32", old(9, 4), 351, "[1, nil, false, %s, 0, 2147483647, false]" };
        rows[n++] =
                (struct row){ "pyrogram-old64", old(9, 8), 356, "[1, nil, false, %s, 0, 2147483647, false]" };
        rows[n++] = (struct row){ "telethon", telethon(9, AF_INET, "91.108.56.130", 443), 353,
                                  "[5, nil, ..., %s, 0, nil, nil]" };
        rows[n++] = (struct row){ "telethon", telethon(9, AF_INET6, "2001:b28:f23f:f005::a", 8443), 369,
                                  "[5, nil, ..., %s, 0, nil, nil]" };
        return n;
}

START_TEST(imports_recognised_and_named)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *key = key_text(9);
        struct row rows[8];
        size_t n = make_rows(rows);

        for (size_t i = 0; i < n; i++) {
                TEST_FREED char *named = test_format("{format: '%s'}", rows[i].format);
                const char *const options[] = { "{}", "{format: nil, overwrite: false, api_id: nil}", named };
                TEST_FREED char *before = test_format(
                        "%.*s", (int)(strstr(rows[i].fields, "%s") - rows[i].fields), rows[i].fields);
                TEST_FREED char *fields =
                        test_format("%s%s%s", before, key, strstr(rows[i].fields, "%s") + 2);

                ck_assert_uint_eq(strlen(rows[i].text), rows[i].len);
                for (size_t j = 0; j < 3; j++) {
                        int s = wire_open(c, "'i%zu-%zu', {}", i, j);

                        expect(c, "nil", "set(%d, {date: 77})", s);
                        expect(c, "...dc_id...", "import_string(%d, '%s', %s)", s, rows[i].text, options[j]);
                        expect(c, fields, "get(%d, " FIELDS ")", s);
                }
                free(rows[i].text);
        }
}
END_TEST

START_TEST(telethons_address_is_kept)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *four = telethon(9, AF_INET, "10.9.8.7", 8443);
        TEST_FREED char *six = telethon(9, AF_INET6, "2001:b28:f23f:f005::a", 8443);
        static const char *const dialects[] = { "pyrogram", "kurigram", "telethon" };

        for (size_t i = 0; i < 3; i++) {
                int s = wire_open(c, "'four-%s', {dialect: '%s'}", dialects[i], dialects[i]);

                expect(c, "...", "import_string(%d, '%s', {})", s, four);
                expect(c, "[5, '10.9.8.7', 8443]", "get(%d, ['dc_id', 'server_address', 'port'])", s);
                TEST_FREED char *four_again = test_format("'%s'", four);
                expect(c, four_again, "export_string(%d, 'telethon')", s);
                s = wire_open(c, "'six-%s', {dialect: '%s'}", dialects[i], dialects[i]);
                expect(c, "...", "import_string(%d, '%s', {})", s, six);
                expect(c, "[5, '2001:b28:f23f:f005::a', 8443]",
                       "get(%d, ['dc_id', 'server_address', 'port'])", s);
                TEST_FREED char *six_again = test_format("'%s'", six);
                expect(c, six_again, "export_string(%d, 'telethon')", s);
        }
}
END_TEST

START_TEST(an_all_zero_telethon_key_is_none)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *text = telethon(0, AF_INET, "91.108.56.130", 443);
        int s = wire_open(c, "'anna', {}");

        expect(c, "...", "import_string(%d, '%s', {})", s, text);
        expect(c, "[5, nil]", "get(%d, ['dc_id', 'auth_key'])", s);
}
END_TEST

START_TEST(exports_match_the_vectors)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *key = key_text(9);
        struct row rows[8];
        size_t n = make_rows(rows);
        int s = wire_open(c, "'anna', {}");

        for (size_t i = 0; i < n; i++) {
                TEST_FREED char *expected = test_format("'%s'", rows[i].text);

                if (strcmp(rows[i].format, "telethon") != 0 && !strchr(rows[i].text, '=')) {
                        bool is_current = i == 0;

                        expect(c, "nil",
                               "set(%d, {dc_id: %d, api_id: 16909060, test_mode: %s, auth_key: %s, "
                               "user_id: %lld, is_bot: %s})",
                               s, is_current ? 4 : 1, is_current ? "true" : "false", key,
                               is_current ? 0x123456789abcdefLL : (long long)USER,
                               is_current ? "true" : "false");
                        expect(c, expected, "export_string(%d, '%s')", s, rows[i].format);
                }
                free(rows[i].text);
        }
}
END_TEST

/* A session without an address is exported with its data centre's. */
START_TEST(telethon_exports_know_the_data_centres)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *key = key_text(9);
        TEST_FREED char *text = telethon(9, AF_INET, "91.108.56.130", 443);
        TEST_FREED char *expected = test_format("'%s'", text);
        int s = wire_open(c, "'anna', {}");

        expect(c, "nil", "set(%d, {dc_id: 5, auth_key: %s})", s, key);
        expect(c, expected, "export_string(%d, 'telethon')", s);
}
END_TEST

START_TEST(exports_need_their_fields)
{
        static const char *const without[] = { "api_id", "auth_key", "user_id" };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *key = key_text(9);
        int s = wire_open(c, "'anna', {}");

        expect(c, "!bad_request", "export_string(%d, 'pyrogram')", s);
        for (size_t i = 0; i < 3; i++) {
                expect(c, "nil",
                       "set(%d, {dc_id: 4, api_id: 1, test_mode: false, auth_key: %s, user_id: 7, is_bot: "
                       "false})",
                       s, key);
                expect(c, "'...'", "export_string(%d, 'pyrogram')", s);
                expect(c, "nil", "set(%d, {%s: nil})", s, without[i]);
                expect(c, "!bad_request", "export_string(%d, 'pyrogram')", s);
                ck_assert_msg(strstr(wire_error_message(c), without[i]) != NULL, "%s is not named in %s",
                              without[i], wire_error_message(c));
        }
        expect(c, "nil", "set(%d, {auth_key: %s, user_id: 4294967296, is_bot: false})", s, key);
        expect(c, "!bad_request", "export_string(%d, 'pyrogram-old32')", s);
        expect(c, "!bad_request", "export_string(%d, 'klingon')", s);
        expect(c, "!bad_request", "export_string(%d, nil)", s);
        expect(c, "!bad_request", "export_string(%d)", s);
}
END_TEST

START_TEST(an_import_does_not_replace_another_key)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *mine = current(9, false);
        TEST_FREED char *theirs = current(99, false);
        TEST_FREED char *key = key_text(99);
        TEST_FREED char *keys = test_format("[%s]", key);
        int s = wire_open(c, "'anna', {}");

        expect(c, "...", "import_string(%d, '%s', {})", s, mine);
        expect(c, "...", "import_string(%d, '%s', {})", s, mine); /* an import may be repeated */
        expect(c, "!exists", "import_string(%d, '%s', {})", s, theirs);
        expect(c, "!exists", "import_string(%d, '%s', {overwrite: false})", s, theirs);
        expect(c, "[h'090a0b...]", "get(%d, ['auth_key'])", s);
        expect(c, "...", "import_string(%d, '%s', {overwrite: true})", s, theirs);
        expect(c, keys, "get(%d, ['auth_key'])", s);
}
END_TEST

/* With another key it is another account: what the new string does not carry becomes nil. */
START_TEST(another_key_is_another_account)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *first = current(9, false);
        TEST_FREED char *second = telethon(99, AF_INET, "91.108.56.130", 443);
        int s = wire_open(c, "'anna', {}");

        expect(c, "...", "import_string(%d, '%s', {})", s, first);
        expect(c, "nil", "set(%d, {takeout_id: 5})", s);
        expect(c, "[16909060, 81985529216486895, true, 5]",
               "get(%d, ['api_id', 'user_id', 'is_bot', 'takeout_id'])", s);
        expect(c, "...", "import_string(%d, '%s', {overwrite: true})", s, second);
        expect(c, "[16909060, nil, nil, nil]", "get(%d, ['api_id', 'user_id', 'is_bot', 'takeout_id'])", s);
}
END_TEST

START_TEST(an_import_takes_the_api_id_given)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *text = old(9, 8);
        int s = wire_open(c, "'anna', {}");

        expect(c, "...api_id...", "import_string(%d, '%s', {api_id: 4711})", s, text);
        expect(c, "[4711]", "get(%d, ['api_id'])", s);
}
END_TEST

START_TEST(wrong_strings_are_refused)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *right = current(9, false);
        TEST_FREED char *broken = test_format("%s", right);
        int s = wire_open(c, "'anna', {}");

        broken[100] = '$';
        expect(c, "!bad_request", "import_string(%d, '%s', {})", s, broken);
        expect(c, "!bad_request", "import_string(%d, '%sA', {})", s, right);
        expect(c, "!bad_request", "import_string(%d, '%s', {})", s, right + 1);
        expect(c, "!bad_request", "import_string(%d, '', {})", s);
        expect(c, "!bad_request or !too_large", "import_string(%d, 'A'*100000, {})", s);
        expect(c, "!bad_request", "import_string(%d, '1', {})", s);
        expect(c, "!bad_request", "import_string(%d, '%s', {format: 'telethon'})", s, right);
        expect(c, "!bad_request", "import_string(%d, '%s', {format: 'klingon'})", s, right);
        expect(c, "!bad_request", "import_string(%d, '%s', {format: 5})", s, right);
        expect(c, "!bad_request", "import_string(%d, '%s', {overwrite: 1})", s, right);
        expect(c, "!bad_request", "import_string(%d, '%s', {api_id: 'x'})", s, right);
        expect(c, "!bad_request", "import_string(%d, '%s', {bogus: 1})", s, right);
        expect(c, "!bad_request", "import_string(%d, '%s', 5)", s, right);
        expect(c, "!bad_request", "import_string(%d, 5, {})", s);
        expect(c, "!bad_request", "import_string(%d, h'3141', {})", s);
        expect(c, "!bad_request", "import_string(%d)", s);
        expect(c, "[2, nil, nil]", "get(%d, ['dc_id', 'auth_key', 'user_id'])", s);
}
END_TEST

START_TEST(an_import_survives_a_kill)
{
        DAEMON d = daemon_start();
        struct wire *c = wire_connect(d);
        TEST_FREED char *text = current(9, false);
        TEST_FREED char *expected = test_format("'%s'", text);

        expect(c, "...", "import_string(%d, '%s', {})", wire_open(c, "'anna', {}"), text);
        daemon_kill(d);
        wire_end(&c);
        daemon_resume(d);
        c = wire_connect(d);
        expect(c, expected, "export_string(%d, 'pyrogram')", wire_open(c, "'anna', {create: false}"));
        wire_end(&c);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                imports_recognised_and_named,
                telethons_address_is_kept,
                an_all_zero_telethon_key_is_none,
                exports_match_the_vectors,
                telethon_exports_know_the_data_centres,
                exports_need_their_fields,
                an_import_does_not_replace_another_key,
                another_key_is_another_account,
                an_import_takes_the_api_id_given,
                wrong_strings_are_refused,
                an_import_survives_a_kill,
                NULL,
        };

        return test_program("strings", tests);
}
