/*
 * Base64 for session strings. Other decoders skip unknown characters and left-over bits. This one refuses
 * them: a damaged string must not be read as another key.
 */

#include "base64.h"

static const char *const base64_characters[] = {
        [BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

/* 0-63, or -1. */
static int base64_value(char character, const char *characters)
{
        if (character >= 'A' && character <= 'Z')
                return character - 'A';
        if (character >= 'a' && character <= 'z')
                return character - 'a' + 26;
        if (character >= '0' && character <= '9')
                return character - '0' + 52;
        return character == characters[62] ? 62 : character == characters[63] ? 63 : -1;
}

/* Removes the padding. False: it is wrong. */
static bool base64_strip(struct slice *text, enum base64_padding padding)
{
        size_t stripped = 0;

        while (stripped < 2 && text->len && text->data[text->len - 1] == '=') {
                text->len--;
                stripped++;
        }
        if (stripped && (text->len + stripped) % 4)
                return false;
        if (padding == BASE64_UNPADDED)
                return !stripped;
        return padding == BASE64_EITHER || (text->len + stripped) % 4 == 0;
}

bool base64_decode(struct slice text, enum base64_alphabet alphabet, enum base64_padding padding,
                   struct buffer *out)
{
        uint32_t bits = 0;
        unsigned held = 0;
        uint8_t *at;

        if (!base64_strip(&text, padding) || text.len % 4 == 1)
                return false;
        at = buffer_reserve(out, text.len / 4 * 3 + 2);
        if (!at)
                return false;
        for (size_t i = 0; i < text.len; i++) {
                int value = base64_value(text.data[i], base64_characters[alphabet]);

                if (value < 0)
                        return false;
                bits = bits << 6 | (uint32_t)value;
                held += 6;
                if (held >= 8) {
                        held -= 8;
                        *at++ = (uint8_t)(bits >> held);
                        out->len++;
                }
        }
        return !(bits & ((1u << held) - 1));
}

void base64_encode(struct slice bytes, enum base64_alphabet alphabet, enum base64_padding padding,
                   struct buffer *out)
{
        const uint8_t *at = (const uint8_t *)bytes.data;

        for (size_t i = 0; i < bytes.len; i += 3) {
                size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
                uint32_t group = (uint32_t)at[i] << 16;
                char text[4] = "====";

                if (n > 1)
                        group |= (uint32_t)at[i + 1] << 8;
                if (n > 2)
                        group |= at[i + 2];
                for (size_t j = 0; j <= n; j++)
                        text[j] = base64_characters[alphabet][group >> (18 - 6 * j) & 63];
                buffer_append(out, text, padding == BASE64_PADDED ? 4 : n + 1);
        }
}
