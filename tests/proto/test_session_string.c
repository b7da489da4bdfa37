/*
 * Session strings: those that the libraries have written (vectors/), and damaged ones. A string that is not
 * exactly what a library writes is refused.
 */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/session_string.h"
#include "../support/failing_memory.h"

/* -1 or NULL: the format does not have it. */
struct vector {
        const char *format;
        const char *maker;
        int64_t dc_id, test_mode, api_id, user_id, is_bot;
        const char *address;
        int64_t port;
        unsigned key;
        bool same; /* gramd writes the very same text */
        const char *text;
};

static const struct vector vectors[] = {
#include "vectors/vectors.inc"
};

enum { VECTORS = sizeof(vectors) / sizeof(vectors[0]) };

/* The patterns of keys in the vectors: as in vectors/make.py. */
static void make_key(uint8_t key[AUTH_KEY_BYTES], unsigned pattern)
{
        for (unsigned i = 0; i < AUTH_KEY_BYTES; i++)
                key[i] = (uint8_t)(i * (2 * pattern + 1) + pattern * 37 + (i >> 3) * pattern * 5);
        if (pattern == 3)
                memset(key + 40, 0, 50);
        if (pattern == 7) /* with TL's head a run of 256 */
                memset(key, 0, 255);
        if (pattern == 8)
                memset(key + 1, 0, 255);
}

static const struct session_string_format *format_of(const char *name)
{
        const struct session_string_format *format = session_string_format_by_name(slice_of(name));

        ck_assert_ptr_nonnull(format);
        return format;
}

/* On success the caller wipes the identity. */
static const char *read_text(const char *format, const char *text, size_t len, struct identity *identity,
                             unsigned *set)
{
        static const uint8_t no_key[AUTH_KEY_BYTES];
        const struct session_string_format *read;
        const char *why = NULL;
        char *copy = malloc(len ? len : 1);

        memcpy(copy, text, len);
        identity_init(identity);
        read = session_string_read((struct slice){ copy, len }, format ? format_of(format) : NULL, identity,
                                   set, &why);
        free(copy);
        if (read)
                return read->name;
        ck_assert_ptr_nonnull(why);
        ck_assert_uint_eq(identity->present, FIELD_BIT(FIELD_DC_ID) | FIELD_BIT(FIELD_DATE));
        ck_assert(memcmp(identity->auth_key, no_key, AUTH_KEY_BYTES) == 0);
        return NULL;
}

static bool readable(const char *format, const char *text)
{
        struct identity identity;
        unsigned set;
        bool read = read_text(format, text, strlen(text), &identity, &set) != NULL;

        identity_wipe(&identity);
        return read;
}

static void check_number(const struct identity *identity, unsigned set, enum field field, int64_t expected)
{
        ck_assert_int_eq(identity_has(identity, field), expected >= 0);
        ck_assert_int_eq((set & FIELD_BIT(field)) != 0, expected >= 0);
        if (expected >= 0)
                ck_assert_int_eq(identity->number[field], expected);
}

static void check_vector(const struct vector *vector, const char *format)
{
        uint8_t key[AUTH_KEY_BYTES];
        struct identity identity;
        unsigned set = 0;
        const char *name = read_text(format, vector->text, strlen(vector->text), &identity, &set);

        ck_assert_msg(name && strcmp(name, vector->format) == 0, "%s by %s read as %s", vector->format,
                      vector->maker, name ? name : "nothing");
        check_number(&identity, set, FIELD_DC_ID, vector->dc_id);
        check_number(&identity, set, FIELD_TEST_MODE, vector->test_mode);
        check_number(&identity, set, FIELD_API_ID, vector->api_id);
        check_number(&identity, set, FIELD_USER_ID, vector->user_id);
        check_number(&identity, set, FIELD_IS_BOT, vector->is_bot);
        check_number(&identity, set, FIELD_PORT, vector->port);
        check_number(&identity, set, FIELD_DATE, 0);
        check_number(&identity, set, FIELD_TAKEOUT_ID, -1);
        ck_assert_int_eq((set & FIELD_BIT(FIELD_SERVER_ADDRESS)) != 0, vector->address != NULL);
        if (vector->address)
                ck_assert_str_eq(identity.server_address, vector->address);
        make_key(key, vector->key);
        ck_assert(identity_has(&identity, FIELD_AUTH_KEY) && set & FIELD_BIT(FIELD_AUTH_KEY));
        ck_assert(memcmp(identity.auth_key, key, AUTH_KEY_BYTES) == 0);
        ck_assert_uint_eq(set & ~(format_of(vector->format)->fields | FIELD_BIT(FIELD_DATE)), 0);
        identity_wipe(&identity);
}

START_TEST(reads_what_the_libraries_wrote)
{
        for (size_t i = 0; i < VECTORS; i++) {
                check_vector(&vectors[i], vectors[i].format);
                check_vector(&vectors[i], NULL);
        }
}
END_TEST

static void fill(struct identity *identity, const struct vector *vector)
{
        uint8_t key[AUTH_KEY_BYTES];

        identity_init(identity);
        make_key(key, vector->key);
        identity_set_key(identity, key);
        identity_set_number(identity, FIELD_DC_ID, vector->dc_id);
        identity_set_number(identity, FIELD_TEST_MODE, vector->test_mode);
        if (vector->api_id >= 0)
                identity_set_number(identity, FIELD_API_ID, vector->api_id);
        if (vector->user_id >= 0)
                identity_set_number(identity, FIELD_USER_ID, vector->user_id);
        if (vector->is_bot >= 0)
                identity_set_number(identity, FIELD_IS_BOT, vector->is_bot);
        if (vector->address)
                ck_assert(identity_set_address(identity, slice_of(vector->address)));
        if (vector->port >= 0)
                identity_set_number(identity, FIELD_PORT, vector->port);
}

static void check_written(const struct vector *vector)
{
        struct buffer out = { 0 };
        struct identity identity;
        const char *missing = NULL;

        fill(&identity, vector);
        buffer_append(&out, "before", 6);
        ck_assert(session_string_write(&identity, format_of(vector->format), &out, &missing));
        ck_assert(!out.failed && !missing);
        ck_assert_msg(out.len == 6 + strlen(vector->text) &&
                              memcmp(out.data + 6, vector->text, out.len - 6) == 0,
                      "%s of %s differs", vector->format, vector->maker);
        buffer_deinit(&out);
        identity_wipe(&identity);
}

START_TEST(writes_what_the_libraries_wrote)
{
        for (size_t i = 0; i < VECTORS; i++) {
                if (vectors[i].same)
                        check_written(&vectors[i]);
        }
}
END_TEST

/*
 * Each text of another format is refused when one is named. Only GramJS's with an address of 14 characters
 * may be Telethon's with an IPv6 address, if no character tells the alphabets apart.
 */
static void check_not_another(const struct vector *vector)
{
        const struct session_string_format *format;
        const bool is_either = strcmp(vector->format, "gramjs") == 0 && !strpbrk(vector->text, "+/");

        for (format = session_string_formats; format->name; format++) {
                if (is_either && strcmp(format->name, "telethon") == 0)
                        continue;
                ck_assert_msg(readable(format->name, vector->text) ==
                                      (strcmp(format->name, vector->format) == 0),
                              "%s as %s", vector->format, format->name);
        }
}

START_TEST(a_named_format_takes_only_its_own)
{
        for (size_t i = 0; i < VECTORS; i++)
                check_not_another(&vectors[i]);
}
END_TEST

/*
 * Cut at any place, or with up to eight more characters. Cut behind the key, a new string of MTKruto may be
 * an old one, of which nobody can say that something is missing.
 */
static void check_other_lengths(const struct vector *vector)
{
        const bool has_older = strcmp(vector->format, "mtkruto") == 0 && vector->user_id >= 0;
        size_t len = strlen(vector->text);
        unsigned set, older = 0;
        char text[1200];

        memcpy(text, vector->text, len);
        memset(text + len, 'A', 8);
        for (size_t n = 0; n <= len + 8; n++) {
                struct identity identity;
                bool read = read_text(vector->format, text, n, &identity, &set) != NULL;

                ck_assert_msg(!read || n == len || (has_older && n < len), "%s, %zu characters of %zu",
                              vector->format, n, len);
                if (read && n != len) {
                        older++;
                        ck_assert(!(set & FIELD_BIT(FIELD_USER_ID)));
                }
                identity_wipe(&identity);
        }
        ck_assert_uint_le(older, 1);
}

START_TEST(other_lengths_are_refused)
{
        for (size_t i = 0; i < VECTORS; i++)
                check_other_lengths(&vectors[i]);
}
END_TEST

/* One character that no format has at this place: refused under any name, and under none. */
static void check_foreign_characters(const struct vector *vector)
{
        static const char others[] = "= \n\x80*";
        size_t len = strlen(vector->text);
        char text[1200];

        snprintf(text, sizeof(text), "%s", vector->text);
        for (size_t i = 0; i < len; i += 7) {
                for (const char *other = others; *other; other++) {
                        if (*other == vector->text[i])
                                continue;
                        text[i] = *other;
                        ck_assert_msg(!readable(NULL, text), "%s, %02x at %zu", vector->format,
                                      (unsigned char)*other, i);
                }
                text[i] = vector->text[i];
        }
}

START_TEST(foreign_characters_are_refused)
{
        for (size_t i = 0; i < VECTORS; i++)
                check_foreign_characters(&vectors[i]);
}
END_TEST

static const struct vector *vector_of(const char *format)
{
        for (size_t i = 0; i < VECTORS; i++) {
                if (strcmp(vectors[i].format, format) == 0)
                        return &vectors[i];
        }
        ck_abort_msg("no vector of %s", format);
        return NULL;
}

START_TEST(pyrogram_strings_may_be_padded)
{
        static const struct {
                const char *format, *padding;
                bool good;
        } paddings[] = {
                { "pyrogram", "==", true },        { "pyrogram", "=", false },
                { "pyrogram", "===", false },      { "pyrogram-old32", "=", true },
                { "pyrogram-old32", "==", false }, { "pyrogram-old64", "=", false },
                { "mtcute", "=", false },          { "mtkruto", "=", false },
                { "mtcute", "==", false },         { "mtkruto", "==", false },
                { "pyrogram", "\n", false },       { "pyrogram", " ", false },
        };

        for (size_t i = 0; i < sizeof(paddings) / sizeof(paddings[0]); i++) {
                char text[1200];

                snprintf(text, sizeof(text), "%s%s", vector_of(paddings[i].format)->text,
                         paddings[i].padding);
                ck_assert_msg(readable(paddings[i].format, text) == paddings[i].good, "%s%s",
                              paddings[i].format, paddings[i].padding);
        }
}
END_TEST

/* The four bits that are left over in the last character have one spelling. */
START_TEST(left_over_bits_must_be_zero)
{
        char text[1200];
        size_t last;

        snprintf(text, sizeof(text), "%s", vector_of("pyrogram")->text);
        last = strlen(text) - 1;
        ck_assert_int_eq(text[last], 'A');
        ck_assert(readable("pyrogram", text));
        text[last] = 'B';
        ck_assert(!readable("pyrogram", text));
}
END_TEST

START_TEST(an_all_zero_telethon_key_is_none)
{
        char text[400];
        struct identity identity;
        unsigned set;

        /* 1, then dc 2, 149.154.167.51, port 443, and zeros */
        snprintf(text, sizeof(text), "1ApWapzMBuw");
        memset(text + 11, 'A', 341);
        memcpy(text + 352, "=", 2);
        ck_assert_str_eq(read_text(NULL, text, strlen(text), &identity, &set), "telethon");
        ck_assert_str_eq(identity.server_address, "149.154.167.51");
        ck_assert_int_eq(identity.number[FIELD_PORT], 443);
        ck_assert(!identity_has(&identity, FIELD_AUTH_KEY));
        ck_assert(set & FIELD_BIT(FIELD_AUTH_KEY));
        identity_wipe(&identity);
}
END_TEST

START_TEST(texts_that_are_nothing)
{
        char longest[SESSION_STRING_MAX + 2];

        ck_assert(!readable(NULL, ""));
        ck_assert(!readable(NULL, "1"));
        ck_assert(!readable(NULL, "="));
        ck_assert(!readable(NULL, "hello"));
        ck_assert(!readable("pyrogram", ""));
        for (size_t n = 1; n < sizeof(longest); n++) {
                memset(longest, 'A', n);
                longest[n] = '\0';
                ck_assert(n == 351 || n == 352 || n == 356 || n == 362 || n == 364 ||
                          !readable(NULL, longest));
        }
        ck_assert(!session_string_format_by_name(slice_of("Pyrogram")));
        ck_assert(!session_string_format_by_name(SLICE_NONE));
}
END_TEST

static bool writable(const struct identity *identity, const char *format, const char *expected)
{
        struct buffer out = { 0 };
        const char *missing = NULL;
        bool written = session_string_write(identity, format_of(format), &out, &missing);

        if (!written) {
                ck_assert_uint_eq(out.len, 0);
                ck_assert_ptr_nonnull(expected);
                ck_assert_str_eq(missing, expected);
        }
        buffer_deinit(&out);
        return written;
}

START_TEST(missing_fields_are_named)
{
        const struct session_string_format *format;
        struct identity identity;

        fill(&identity, vector_of("pyrogram"));
        for (format = session_string_formats; format->name; format++)
                ck_assert_msg(writable(&identity, format->name, NULL), "%s", format->name);
        identity_set_nil(&identity, FIELD_API_ID);
        ck_assert(!writable(&identity, "pyrogram", "api_id"));
        ck_assert(!writable(&identity, "mtkruto", "api_id"));
        ck_assert(writable(&identity, "pyrogram-old64", NULL));
        identity_set_nil(&identity, FIELD_USER_ID);
        ck_assert(!writable(&identity, "pyrogram-old32", "user_id"));
        ck_assert(!writable(&identity, "pyrogram-old64", "user_id"));
        ck_assert(writable(&identity, "mtcute", NULL));
        identity_set_nil(&identity, FIELD_IS_BOT);
        identity_set_nil(&identity, FIELD_TEST_MODE);
        for (format = session_string_formats; format->name; format++) {
                if (!(format->needs & FIELD_BIT(FIELD_USER_ID)))
                        ck_assert(writable(&identity, format->name, NULL));
        }
        identity_set_nil(&identity, FIELD_AUTH_KEY);
        for (format = session_string_formats; format->name; format++)
                ck_assert(!writable(&identity, format->name,
                                    format->needs & FIELD_BIT(FIELD_API_ID) ? "api_id" : "auth_key"));
        identity_wipe(&identity);
}
END_TEST

START_TEST(values_out_of_a_formats_range_are_named)
{
        struct identity identity;
        char address[200];

        fill(&identity, vector_of("pyrogram"));
        identity_set_number(&identity, FIELD_USER_ID, 1LL << 32);
        ck_assert(!writable(&identity, "pyrogram-old32", "user_id"));
        identity_set_number(&identity, FIELD_USER_ID, 1LL << 53);
        ck_assert(!writable(&identity, "mtcute", "user_id"));
        ck_assert(!writable(&identity, "mtkruto", "user_id"));
        ck_assert(writable(&identity, "pyrogram", NULL));
        identity_set_number(&identity, FIELD_USER_ID, -1);
        ck_assert(!writable(&identity, "pyrogram", "user_id"));
        memset(address, 'a', sizeof(address));
        ck_assert(identity_set_address(&identity, (struct slice){ address, 101 }));
        ck_assert(!writable(&identity, "gramjs", "server_address"));
        ck_assert(!writable(&identity, "telethon", "server_address"));
        ck_assert(identity_set_address(&identity, slice_of("two words")));
        ck_assert(!writable(&identity, "gramjs", "server_address"));
        ck_assert(identity_set_address(&identity, slice_of("")));
        ck_assert(!writable(&identity, "telethon", "server_address"));
        identity_set_number(&identity, FIELD_USER_ID, 1);
        ck_assert(!writable(&identity, "mtcute", "server_address"));
        ck_assert(writable(&identity, "mtkruto", NULL));
        identity_set_number(&identity, FIELD_API_ID, 1LL << 31);
        ck_assert(!writable(&identity, "mtkruto", "api_id"));
        identity_wipe(&identity);
}
END_TEST

/* Sessions of dialects without these columns are exported with the data centre's own. */
START_TEST(an_address_that_is_nil_is_the_data_centres)
{
        struct identity identity, back;
        struct buffer out = { 0 };
        const char *missing;
        unsigned set;

        fill(&identity, vector_of("pyrogram"));
        identity_set_number(&identity, FIELD_DC_ID, 3);
        identity_set_number(&identity, FIELD_TEST_MODE, true);
        ck_assert(session_string_write(&identity, format_of("telethon"), &out, &missing));
        ck_assert_str_eq(read_text(NULL, (char *)out.data, out.len, &back, &set), "telethon");
        ck_assert_str_eq(back.server_address, "149.154.175.117");
        ck_assert_int_eq(back.number[FIELD_PORT], 80);
        ck_assert_int_eq(back.number[FIELD_TEST_MODE], 1);
        identity_wipe(&back);
        buffer_deinit(&out);
        identity_set_number(&identity, FIELD_DC_ID, 77);
        ck_assert(!writable(&identity, "telethon", "server_address"));
        ck_assert(identity_set_address(&identity, slice_of("1.2.3.4")));
        ck_assert(!writable(&identity, "telethon", "port"));
        ck_assert(writable(&identity, "mtkruto", NULL));
        identity_wipe(&identity);
}
END_TEST

START_TEST(a_full_buffer_fails_as_a_whole)
{
        struct buffer out = { .limit = 100 };
        struct identity identity;
        const char *missing;

        fill(&identity, vector_of("telethon"));
        ck_assert(session_string_write(&identity, format_of("telethon"), &out, &missing));
        ck_assert(out.failed);
        buffer_deinit(&out);
        identity_wipe(&identity);
}
END_TEST

/* Each allocation fails in turn. With a sanitizer none does. */
static void check_without_memory(const struct vector *vector, const char *format)
{
        const struct session_string_format *named = format ? format_of(format) : NULL;
        struct slice text = slice_of(vector->text);

        for (long n = 0;; n++) {
                const struct session_string_format *read;
                struct identity identity;
                const char *why = "";
                unsigned set;

                identity_init(&identity);
                memory_begin(MEMORY_ONE, n);
                memory_arm();
                read = session_string_read(text, named, &identity, &set, &why);
                memory_disarm();
                identity_wipe(&identity);
                ck_assert_msg((read != NULL) == (memory.met == 0), "%s, allocation %ld", vector->format, n);
                if (read)
                        return;
                ck_assert_msg(!why, "%s, allocation %ld: %s", vector->format, n, why);
        }
}

START_TEST(a_lack_of_memory_is_no_damage)
{
        for (size_t i = 0; i < VECTORS; i++) {
                check_without_memory(&vectors[i], vectors[i].format);
                check_without_memory(&vectors[i], NULL);
        }
}
END_TEST

START_TEST(a_lack_of_memory_fails_the_text)
{
        for (size_t i = 0; i < VECTORS; i++) {
                const struct session_string_format *format = format_of(vectors[i].format);
                struct identity identity;
                bool done = !vectors[i].same;

                fill(&identity, &vectors[i]);
                for (long n = 0; !done; n++) {
                        struct buffer out = { 0 };
                        const char *missing = NULL;
                        bool written;

                        memory_begin(MEMORY_ONE, n);
                        memory_arm();
                        written = session_string_write(&identity, format, &out, &missing);
                        memory_disarm();
                        ck_assert(written);
                        done = memory.met == 0;
                        ck_assert_int_eq(out.failed, !done);
                        buffer_deinit(&out);
                }
                identity_wipe(&identity);
        }
}
END_TEST

int main(void)
{
        Suite *suite = suite_create("session_string");
        TCase *tcase = tcase_create("session_string");
        SRunner *runner = srunner_create(suite);
        int failed;

        tcase_set_timeout(tcase, 60);
        tcase_add_test(tcase, reads_what_the_libraries_wrote);
        tcase_add_test(tcase, writes_what_the_libraries_wrote);
        tcase_add_test(tcase, a_named_format_takes_only_its_own);
        tcase_add_test(tcase, other_lengths_are_refused);
        tcase_add_test(tcase, foreign_characters_are_refused);
        tcase_add_test(tcase, pyrogram_strings_may_be_padded);
        tcase_add_test(tcase, left_over_bits_must_be_zero);
        tcase_add_test(tcase, an_all_zero_telethon_key_is_none);
        tcase_add_test(tcase, texts_that_are_nothing);
        tcase_add_test(tcase, missing_fields_are_named);
        tcase_add_test(tcase, values_out_of_a_formats_range_are_named);
        tcase_add_test(tcase, an_address_that_is_nil_is_the_data_centres);
        tcase_add_test(tcase, a_full_buffer_fails_as_a_whole);
        tcase_add_test(tcase, a_lack_of_memory_is_no_damage);
        tcase_add_test(tcase, a_lack_of_memory_fails_the_text);
        suite_add_tcase(suite, tcase);
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
