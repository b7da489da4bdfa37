/* The session string of the format `pyrogram`, as PROTOCOL.md describes it. */

#include <string.h>

#include "model.h"

enum { API_ID_BYTES = 4, USER_ID_BYTES = 8, TEXT_BYTES = 271 };

static void put_number(uint8_t **at, int64_t number, int bytes)
{
        while (bytes--)
                *(*at)++ = (uint8_t)(number >> 8 * bytes);
}

/* URL-safe base64, without padding. */
static void encode(const uint8_t *bytes, size_t len, struct buffer *text)
{
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        unsigned bits = 0, n = 0;

        for (size_t i = 0; i < len; i++) {
                bits = bits << 8 | bytes[i];
                for (n += 8; n >= 6; n -= 6)
                        buffer_append(text, &digits[bits >> (n - 6) & 63], 1);
        }
        if (n)
                buffer_append(text, &digits[bits << (6 - n) & 63], 1);
}

static void put_text(const int64_t number[FIELD_COUNT], uint8_t key, struct buffer *text)
{
        uint8_t bytes[TEXT_BYTES], *at = bytes;

        put_number(&at, number[FIELD_DC_ID], 1);
        put_number(&at, number[FIELD_API_ID], API_ID_BYTES);
        put_number(&at, number[FIELD_TEST_MODE], 1);
        memset(at, key, AUTH_KEY_BYTES);
        at += AUTH_KEY_BYTES;
        put_number(&at, number[FIELD_USER_ID], USER_ID_BYTES);
        put_number(&at, number[FIELD_IS_BOT], 1);
        require(at == bytes + TEXT_BYTES);
        encode(bytes, TEXT_BYTES, text);
}

void asked_text(const struct asked *asked, struct buffer *text)
{
        put_text(asked->number, asked->key, text);
}

void model_text(const struct model *model, struct buffer *text)
{
        put_text(model->number, model->key, text);
}
