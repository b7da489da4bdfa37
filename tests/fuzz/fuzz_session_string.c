/*
 * Any text as a session string. If it can be read, the identity is written again, and the new string reads
 * back as the same identity: with the format named, and with the format recognised.
 */

#include <stdlib.h>

#include "../../proto/base64.h"
#include "../../proto/session_string.h"
#include "fuzz.h"

static void require_equal(const struct identity *a, const struct identity *b, unsigned fields)
{
        for (enum field field = 0; field < FIELD_COUNT; field++)
                if (fields & FIELD_BIT(field))
                        require(identity_equal(a, b, field));
}

/* Writes `identity` as text, which must read back as the same identity. */
static void round_trip(const struct identity *identity, const struct session_string_format *format,
                       unsigned fields)
{
        struct identity again;
        struct buffer text = { 0 };
        const char *missing, *why = NULL;
        unsigned set = 0;

        identity_init(&again);
        if (session_string_write(identity, format, &text, &missing)) {
                struct slice written = { (const char *)text.data, text.len };

                require(!text.failed && text.len <= SESSION_STRING_MAX);
                require(session_string_read(written, format, &again, &set, &why) == format);
                require_equal(identity, &again, fields & set);
                require(slice_is_utf8(written));
        } else {
                require(missing);
        }
        identity_wipe(&again);
        buffer_deinit(&text);
}

static void try_text(struct slice text)
{
        for (const struct session_string_format *format = session_string_formats;; format++) {
                const struct session_string_format *named = format->name ? format : NULL, *read;
                struct identity identity;
                const char *why = NULL;
                unsigned set = 0;

                identity_init(&identity);
                read = session_string_read(text, named, &identity, &set, &why);
                if (read) {
                        require(!named || read == named);
                        require(text.len <= SESSION_STRING_MAX);
                        round_trip(&identity, read, set);
                } else {
                        require(why);
                }
                identity_wipe(&identity);
                if (!named)
                        break;
        }
}

/*
 * Uses the bytes as a text, and as the bytes that a text encodes: through base64 alone the fuzzer would reach
 * little of the code.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct slice bytes = { (const char *)data, size };

        try_text(bytes);
        for (int shape = 0; shape < 3; shape++) {
                struct buffer text = { 0 };

                if (shape)
                        buffer_append(&text, "1", 1);
                base64_encode(bytes, shape == 2 ? BASE64_STANDARD : BASE64_URL,
                              shape ? BASE64_PADDED : BASE64_UNPADDED, &text);
                if (text.len)
                        try_text((struct slice){ (const char *)text.data, text.len });
                buffer_deinit(&text);
        }
        return 0;
}
