/* What is UTF-8, and the table of the characters that are not shown as they are. */

#include "utf8.h"

#include <assert.h>
#include <stdio.h>

/* What may follow a lead byte. The bounds of the second byte exclude overlong forms and surrogates. */
struct lead {
        uint8_t first, last;   /* lead bytes of this row */
        uint8_t low, high;     /* the second byte */
        uint8_t continuations; /* number of bytes after the lead byte */
};

static const struct lead leads[] = {
        { 0xc2, 0xdf, 0x80, 0xbf, 1 }, { 0xe0, 0xe0, 0xa0, 0xbf, 2 }, { 0xe1, 0xec, 0x80, 0xbf, 2 },
        { 0xed, 0xed, 0x80, 0x9f, 2 }, { 0xee, 0xef, 0x80, 0xbf, 2 }, { 0xf0, 0xf0, 0x90, 0xbf, 3 },
        { 0xf1, 0xf3, 0x80, 0xbf, 3 }, { 0xf4, 0xf4, 0x80, 0x8f, 3 },
};

/* The length in bytes of the non-ASCII character at `at`; 0: it is not valid. */
static size_t character_bytes(const uint8_t *at, size_t len)
{
        const struct lead *lead = leads;
        const struct lead *end = leads + sizeof(leads) / sizeof(leads[0]);

        while (lead < end && at[0] > lead->last)
                lead++;
        if (lead == end || at[0] < lead->first || len <= lead->continuations)
                return 0;
        if (at[1] < lead->low || at[1] > lead->high)
                return 0;
        for (size_t i = 2; i <= lead->continuations; i++) {
                if ((at[i] & 0xc0) != 0x80)
                        return 0;
        }
        return 1u + lead->continuations;
}

bool slice_is_utf8(struct slice text)
{
        const uint8_t *at = (const uint8_t *)text.data;
        size_t left = text.len;

        while (left) {
                uint64_t eight;
                size_t step;

                if (left >= sizeof(eight)) {
                        memcpy(&eight, at, sizeof(eight));
                        if (!(eight & 0x8080808080808080u)) {
                                at += sizeof(eight);
                                left -= sizeof(eight);
                                continue;
                        }
                }
                step = *at < 0x80 ? 1 : character_bytes(at, left);
                if (!step)
                        return false;
                at += step;
                left -= step;
        }
        return true;
}

size_t utf8_read(const char *text, size_t len, uint32_t *code)
{
        const uint8_t *at = (const uint8_t *)text;
        size_t used;

        assert(len > 0);
        used = at[0] < 0x80 ? 1 : character_bytes(at, len);
        *code = used > 1 ? at[0] & (0xffu >> (used + 1)) : at[0];
        for (size_t i = 1; i < used; i++)
                *code = *code << 6 | (at[i] & 0x3fu);
        return used;
}

/* ---- how it is shown ---- */

bool utf8_is_unsafe(uint32_t code)
{
        static const struct {
                uint32_t first, last;
        } ranges[] = {
                { 0x00, 0x1f },     { 0x7f, 0x9f },     /* control characters */
                { 0x2028, 0x2029 },                     /* line separators */
                { 0x061c, 0x061c }, { 0x200e, 0x200f }, /* marks of direction, */
                { 0x202a, 0x202e }, { 0x2066, 0x2069 }, /* embeddings, overrides and isolates */
        };

        for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
                if (code >= ranges[i].first && code <= ranges[i].last)
                        return true;
        return false;
}

/* It is shown as it is. Nearly all are, and each error's text is looked at: it must be fast. */
static bool is_plain(char character, char mark)
{
        return character >= ' ' && character < 0x7f && (!mark || (character != mark && character != '\\'));
}

size_t utf8_show(const char *text, size_t len, char mark, char out[UTF8_SHOWN_BYTES])
{
        static const char shorts[] = "\nn\rr\tt"; /* a character, and its letter */
        uint32_t code;
        size_t used;

        if (is_plain(*text, mark)) {
                out[0] = *text;
                out[1] = '\0';
                return 1;
        }
        used = utf8_read(text, len, &code);
        if (!used) {
                memcpy(out, "\xef\xbf\xbd", 4);
                return 1;
        }
        for (const char *at = shorts; *at; at += 2) {
                if (*at == *text) {
                        snprintf(out, UTF8_SHOWN_BYTES, "\\%c", at[1]);
                        return used;
                }
        }
        if (utf8_is_unsafe(code))
                snprintf(out, UTF8_SHOWN_BYTES, "\\u%04x", (unsigned)code & 0xffff);
        else
                snprintf(out, UTF8_SHOWN_BYTES, "%s%.*s",
                         mark && (*text == mark || *text == '\\') ? "\\" : "", (int)used, text);
        return used;
}

const char *utf8_quote(struct slice text, char mark, char *out, size_t size)
{
        static const char ellipsis[] = "\xe2\x80\xa6";
        size_t len = 0, whole = 0; /* `whole`: so much leaves room for the ellipsis */

        assert(size >= sizeof(ellipsis));
        for (size_t at = 0; at < text.len;) {
                char piece[UTF8_SHOWN_BYTES];
                size_t used, n, begun = len;

                while (at < text.len && len + 1 < size && is_plain(text.data[at], mark))
                        out[len++] = text.data[at++];
                if (begun + sizeof(ellipsis) <= size)
                        whole = len + sizeof(ellipsis) <= size ? len : size - sizeof(ellipsis);
                if (at == text.len)
                        break;
                used = utf8_show(text.data + at, text.len - at, mark, piece);
                n = strlen(piece);
                if (len + n >= size) {
                        memcpy(out + whole, ellipsis, sizeof(ellipsis));
                        return out;
                }
                memcpy(out + len, piece, n);
                len += n;
                at += used;
                if (len + sizeof(ellipsis) <= size)
                        whole = len;
        }
        out[len] = '\0';
        return out;
}
