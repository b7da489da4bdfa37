/*
 * The parts of mtcute's and MTKruto's session strings. They are in TL, Telegram's serialisation:
 * little-endian numbers; bytes with their length in front, and zeros up to a multiple of four.
 */

#include "session_string_parts.h"

#include <stdio.h>

enum {
        TL_SHORT_MAX = 253,
        TL_LONG = 254
}; /* the longest with a length of one byte; the mark of a length of three bytes */

static const uint32_t tl_true = 0x997275b5, tl_false = 0xbc799737;

static const uint64_t user_max = (1ull << 53) - 1; /* a JavaScript number holds no more exactly */

static bool take_little_endian(struct reading *reading, unsigned width, uint64_t *value)
{
        const uint8_t *at = reading_take(reading, width);

        if (!at)
                return false;
        for (*value = 0; width--;)
                *value = *value << 8 | at[width];
        return true;
}

static void put_little_endian(struct buffer *out, unsigned width, uint64_t value)
{
        for (; width--; value >>= 8) {
                uint8_t byte = (uint8_t)value;

                buffer_append(out, &byte, 1);
        }
}

static unsigned tl_padding(size_t len)
{
        return (unsigned)(-(len + (len > TL_SHORT_MAX ? 4 : 1)) % 4);
}

static bool tl_take(struct reading *reading, struct slice *bytes)
{
        uint64_t len, zeros;
        const uint8_t *at;

        if (!take_little_endian(reading, 1, &len) || len > TL_LONG)
                return false;
        if (len == TL_LONG && (!take_little_endian(reading, 3, &len) || len <= TL_SHORT_MAX))
                return false;
        at = reading_take(reading, len);
        if (!at || !take_little_endian(reading, tl_padding(len), &zeros) || zeros)
                return false;
        *bytes = (struct slice){ (const char *)at, len };
        return true;
}

static void tl_put(struct buffer *out, const void *bytes, size_t len)
{
        if (len > TL_SHORT_MAX)
                put_little_endian(out, 1, TL_LONG);
        put_little_endian(out, len > TL_SHORT_MAX ? 3 : 1, len);
        buffer_append(out, bytes, len);
        put_little_endian(out, tl_padding(len), 0);
}

bool part_tl_key_read(struct reading *reading, const struct part *part)
{
        struct slice key;

        (void)part;
        return tl_take(reading, &key) && key.len == AUTH_KEY_BYTES &&
               reading_key(reading, (const uint8_t *)key.data);
}

bool part_tl_key_write(struct writing *writing, const struct part *part)
{
        (void)part;
        tl_put(writing->out, writing->identity->auth_key, AUTH_KEY_BYTES);
        return true;
}

/* ---- MTKruto: the data centre's number as text, on the test servers with `-test`; key; account ---- */

static const char mtkruto_test[] = "-test";

bool part_mtkruto_dc_read(struct reading *reading, const struct part *part)
{
        size_t suffix = sizeof(mtkruto_test) - 1;
        struct slice text;
        uint64_t dc_id = 0;
        bool test;

        (void)part;
        if (!tl_take(reading, &text))
                return false;
        test = text.len > suffix && memcmp(text.data + text.len - suffix, mtkruto_test, suffix) == 0;
        if (test)
                text.len -= suffix;
        if (!text.len || text.len > 3 || (text.data[0] == '0' && text.len > 1))
                return false;
        for (size_t i = 0; i < text.len; i++) {
                if (text.data[i] < '0' || text.data[i] > '9')
                        return false;
                dc_id = dc_id * 10 + (uint64_t)(text.data[i] - '0');
        }
        return reading_number(reading, FIELD_DC_ID, dc_id) && reading_number(reading, FIELD_TEST_MODE, test);
}

bool part_mtkruto_dc_write(struct writing *writing, const struct part *part)
{
        uint64_t dc_id, test;
        char text[32];
        int len;

        (void)part;
        if (!writing_number(writing, FIELD_DC_ID, UINT8_MAX, &dc_id) ||
            !writing_number(writing, FIELD_TEST_MODE, 1, &test))
                return false;
        len = snprintf(text, sizeof(text), "%u%s", (unsigned)dc_id, test ? mtkruto_test : "");
        tl_put(writing->out, text, (size_t)len);
        return true;
}

/* Strings from before March 2024 end with the key. They are read here, but not by later MTKruto versions. */
bool part_mtkruto_account_read(struct reading *reading, const struct part *part)
{
        uint64_t api_id, is_bot, user_id;

        (void)part;
        if (!reading->left)
                return true;
        return take_little_endian(reading, 4, &api_id) && take_little_endian(reading, 1, &is_bot) &&
               take_little_endian(reading, 8, &user_id) && api_id <= INT32_MAX && is_bot <= 1 &&
               user_id <= user_max && reading_number(reading, FIELD_API_ID, api_id) &&
               reading_number(reading, FIELD_IS_BOT, is_bot) &&
               reading_number(reading, FIELD_USER_ID, user_id);
}

bool part_mtkruto_account_write(struct writing *writing, const struct part *part)
{
        uint64_t api_id, is_bot, user_id;

        (void)part;
        if (!writing_number(writing, FIELD_API_ID, INT32_MAX, &api_id) ||
            !writing_number(writing, FIELD_IS_BOT, 1, &is_bot) ||
            !writing_number(writing, FIELD_USER_ID, user_max, &user_id))
                return false;
        put_little_endian(writing->out, 4, api_id);
        put_little_endian(writing->out, 1, is_bot);
        put_little_endian(writing->out, 8, user_id);
        return true;
}

/* ---- mtcute: version, flags, the main data centre, optionally one for media, optionally the user ---- */

enum { MTCUTE_VERSION = 3 };
enum { MTCUTE_SELF = 1, MTCUTE_OLD_TEST = 2, MTCUTE_MEDIA = 4 };
enum { OPTION_OLD_VERSION = 1, OPTION_VERSION = 2 };
enum { OPTION_IPV6 = 1, OPTION_MEDIA_ONLY = 2, OPTION_TEST = 4 };

struct dc_option {
        uint64_t dc_id;
        uint64_t port;
        struct slice address;
        bool test;
};

static bool dc_option_take(struct reading *reading, struct dc_option *option)
{
        struct reading inner = { 0 };
        uint64_t version, flags;
        struct slice bytes;

        if (!tl_take(reading, &bytes))
                return false;
        inner.at = (const uint8_t *)bytes.data;
        inner.left = bytes.len;
        if (!take_little_endian(&inner, 1, &version) || !take_little_endian(&inner, 1, &option->dc_id) ||
            !take_little_endian(&inner, 1, &flags) || !tl_take(&inner, &option->address) ||
            !take_little_endian(&inner, 4, &option->port))
                return false;
        option->test = version == OPTION_VERSION && flags & OPTION_TEST;
        return (version == OPTION_VERSION || version == OPTION_OLD_VERSION) && !inner.left &&
               flags <= (OPTION_IPV6 | OPTION_MEDIA_ONLY | OPTION_TEST);
}

static bool mtcute_self_take(struct reading *reading)
{
        uint64_t user_id, is_bot;

        return take_little_endian(reading, 8, &user_id) && take_little_endian(reading, 4, &is_bot) &&
               user_id <= user_max && (is_bot == tl_true || is_bot == tl_false) &&
               reading_number(reading, FIELD_USER_ID, user_id) &&
               reading_number(reading, FIELD_IS_BOT, is_bot == tl_true);
}

bool part_mtcute_head_read(struct reading *reading, const struct part *part)
{
        struct dc_option main, media;
        uint64_t version, flags;

        (void)part;
        if (!take_little_endian(reading, 1, &version) || version != MTCUTE_VERSION ||
            !take_little_endian(reading, 4, &flags) || flags > (MTCUTE_SELF | MTCUTE_OLD_TEST | MTCUTE_MEDIA))
                return false;
        if (!dc_option_take(reading, &main))
                return false;
        if (flags & MTCUTE_MEDIA && !dc_option_take(reading, &media))
                return false;
        if (flags & MTCUTE_OLD_TEST)
                main.test = true;
        else if (flags & MTCUTE_MEDIA && main.test != media.test)
                return false;
        return reading_number(reading, FIELD_DC_ID, main.dc_id) &&
               reading_number(reading, FIELD_TEST_MODE, main.test) &&
               reading_address(reading, main.address) && reading_number(reading, FIELD_PORT, main.port) &&
               (!(flags & MTCUTE_SELF) || mtcute_self_take(reading));
}

static bool dc_option_put(struct writing *writing)
{
        const char *address = writing_address(writing);
        struct buffer option = { 0 };
        uint64_t dc_id, test, port;

        if (!address || !writing_number(writing, FIELD_DC_ID, UINT8_MAX, &dc_id) ||
            !writing_number(writing, FIELD_TEST_MODE, 1, &test) ||
            !writing_number(writing, FIELD_PORT, UINT16_MAX, &port))
                return false;
        put_little_endian(&option, 1, OPTION_VERSION);
        put_little_endian(&option, 1, dc_id);
        put_little_endian(&option, 1, (strchr(address, ':') ? OPTION_IPV6 : 0) | (test ? OPTION_TEST : 0));
        tl_put(&option, address, strlen(address));
        put_little_endian(&option, 4, port);
        if (option.failed)
                writing->out->failed = true;
        else
                tl_put(writing->out, option.data, option.len);
        buffer_deinit(&option);
        return true;
}

/* The user is written if it is known; else mtcute asks the server. */
bool part_mtcute_head_write(struct writing *writing, const struct part *part)
{
        bool self = identity_has(writing->identity, FIELD_USER_ID);
        uint64_t user_id, is_bot;

        (void)part;
        put_little_endian(writing->out, 1, MTCUTE_VERSION);
        put_little_endian(writing->out, 4, self ? MTCUTE_SELF : 0);
        if (!dc_option_put(writing))
                return false;
        if (!self)
                return true;
        if (!writing_number(writing, FIELD_USER_ID, user_max, &user_id) ||
            !writing_number(writing, FIELD_IS_BOT, 1, &is_bot))
                return false;
        put_little_endian(writing->out, 8, user_id);
        put_little_endian(writing->out, 4, is_bot ? tl_true : tl_false);
        return true;
}
