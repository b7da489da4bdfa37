/*
 * The formats of session strings. A format is a list of parts in the order of their bytes
 * (session_string_parts.h), then perhaps run-length coding, base64, and perhaps a leading character. Reading
 * and writing use the same row.
 *
 * Texts are read strictly: every byte has a meaning, every value is in its field's range. That also
 * identifies the format if none is named: it is the first whose row reads the text. Formats with many checks
 * come first, those that check little but the length come last.
 */

#include "session_string.h"

#include <assert.h>

#include "base64.h"
#include "session_string_parts.h"

enum { LAYOUT_PARTS = 6, GRAMJS_ADDRESS_MAX = 100 }; /* GramJS takes a longer one for an IPv6 address */

struct session_string_layout {
        char prefix; /* 0: none */
        enum base64_alphabet alphabet;
        enum base64_padding padding;
        bool run_length;
        struct part parts[LAYOUT_PARTS + 1]; /* ends with one without functions */
};

/* clang-format off */
#define NUMBER(field, width) { part_number_read, part_number_write, field, width }
#define KEY { part_key_read, part_key_write, FIELD_AUTH_KEY, 0 }
#define TL_KEY { part_tl_key_read, part_tl_key_write, FIELD_AUTH_KEY, 0 }

static const struct session_string_layout layout_gramjs = {
        '1', BASE64_STANDARD, BASE64_PADDED, false, {
                NUMBER(FIELD_DC_ID, 1),
                { part_text_read, part_text_write, FIELD_SERVER_ADDRESS, GRAMJS_ADDRESS_MAX },
                NUMBER(FIELD_PORT, 2), KEY,
        },
};
static const struct session_string_layout layout_telethon = {
        '1', BASE64_URL, BASE64_PADDED, false, {
                NUMBER(FIELD_DC_ID, 1),
                { part_ip_read, part_ip_write, FIELD_SERVER_ADDRESS, 2 + AUTH_KEY_BYTES },
                NUMBER(FIELD_PORT, 2),
                { part_key_or_none_read, part_key_write, FIELD_AUTH_KEY, 0 },
        },
};
static const struct session_string_layout layout_mtcute = {
        0, BASE64_URL, BASE64_UNPADDED, false, {
                { part_mtcute_head_read, part_mtcute_head_write, FIELD_DC_ID, 0 }, TL_KEY,
        },
};
static const struct session_string_layout layout_mtkruto = {
        0, BASE64_URL, BASE64_UNPADDED, true, {
                { part_mtkruto_dc_read, part_mtkruto_dc_write, FIELD_DC_ID, 0 }, TL_KEY,
                { part_mtkruto_account_read, part_mtkruto_account_write, FIELD_USER_ID, 0 },
        },
};
static const struct session_string_layout layout_pyrogram = {
        0, BASE64_URL, BASE64_EITHER, false, {
                NUMBER(FIELD_DC_ID, 1), NUMBER(FIELD_API_ID, 4), NUMBER(FIELD_TEST_MODE, 1), KEY,
                NUMBER(FIELD_USER_ID, 8), NUMBER(FIELD_IS_BOT, 1),
        },
};
static const struct session_string_layout layout_pyrogram_old64 = {
        0, BASE64_URL, BASE64_EITHER, false, {
                NUMBER(FIELD_DC_ID, 1), NUMBER(FIELD_TEST_MODE, 1), KEY, NUMBER(FIELD_USER_ID, 8),
                NUMBER(FIELD_IS_BOT, 1),
        },
};
static const struct session_string_layout layout_pyrogram_old32 = {
        0, BASE64_URL, BASE64_EITHER, false, {
                NUMBER(FIELD_DC_ID, 1), NUMBER(FIELD_TEST_MODE, 1), KEY, NUMBER(FIELD_USER_ID, 4),
                NUMBER(FIELD_IS_BOT, 1),
        },
};

#define BIT_KEY    (FIELD_BIT(FIELD_AUTH_KEY))
#define BIT_API    (FIELD_BIT(FIELD_API_ID))
#define BIT_USER   (FIELD_BIT(FIELD_USER_ID))
#define BITS_DC    (FIELD_BIT(FIELD_DC_ID) | FIELD_BIT(FIELD_TEST_MODE))
#define BITS_USER  (BIT_USER | FIELD_BIT(FIELD_IS_BOT))
#define BITS_PLACE (FIELD_BIT(FIELD_SERVER_ADDRESS) | FIELD_BIT(FIELD_PORT))

/* name, fields, needs, layout */
const struct session_string_format session_string_formats[] = {
        { "gramjs", BIT_KEY | BITS_DC | BITS_PLACE, BIT_KEY, &layout_gramjs },
        { "telethon", BIT_KEY | BITS_DC | BITS_PLACE, BIT_KEY, &layout_telethon },
        { "mtcute", BIT_KEY | BITS_DC | BITS_PLACE | BITS_USER, BIT_KEY, &layout_mtcute },
        { "mtkruto", BIT_KEY | BITS_DC | BITS_USER | BIT_API, BIT_KEY | BIT_USER | BIT_API, &layout_mtkruto },
        { "pyrogram", BIT_KEY | BITS_DC | BITS_USER | BIT_API, BIT_KEY | BIT_USER | BIT_API,
          &layout_pyrogram },
        { "pyrogram-old64", BIT_KEY | BITS_DC | BITS_USER, BIT_KEY | BIT_USER, &layout_pyrogram_old64 },
        { "pyrogram-old32", BIT_KEY | BITS_DC | BITS_USER, BIT_KEY | BIT_USER, &layout_pyrogram_old32 },
        { NULL, 0, 0, NULL },
};
/* clang-format on */

static void cleanup_buffer(struct buffer *buffer)
{
        buffer_deinit(buffer);
}

#define WIPED __attribute__((cleanup(cleanup_buffer)))

const struct session_string_format *session_string_format_by_name(struct slice name)
{
        for (const struct session_string_format *format = session_string_formats; format->name; format++) {
                if (slice_is(name, format->name))
                        return format;
        }
        return NULL;
}

/*
 * A zero byte and a count stand for so many zero bytes. The count 0 stands for 256: some encoders do not
 * split a long run, and write the low byte of its length.
 */
static bool run_length_decode(const struct buffer *coded, struct buffer *out)
{
        static const uint8_t zeros[UINT8_MAX + 1];

        for (size_t i = 0; i < coded->len; i++) {
                if (coded->data[i]) {
                        buffer_append(out, coded->data + i, 1);
                        continue;
                }
                if (++i == coded->len)
                        return false;
                buffer_append(out, zeros, coded->data[i] ? coded->data[i] : sizeof(zeros));
        }
        return !out->failed;
}

static void run_length_encode(const struct buffer *plain, struct buffer *out)
{
        for (size_t i = 0; i < plain->len;) {
                uint8_t run[2] = { 0, 0 };

                while (i < plain->len && !plain->data[i] && run[1] < UINT8_MAX) {
                        run[1]++;
                        i++;
                }
                if (run[1])
                        buffer_append(out, run, 2);
                else
                        buffer_append(out, plain->data + i++, 1);
        }
}

/* Else its limit is reached. */
static bool has_no_memory(const struct buffer *buffer)
{
        return buffer->failed && !buffer->full;
}

/* From text to bytes. 0; 1: they are not of this layout; -1: no memory. */
static int session_string_decode(struct slice text, const struct session_string_layout *layout,
                                 struct buffer *bytes)
{
        WIPED struct buffer coded = { .limit = SESSION_STRING_MAX };
        struct buffer *decoded = layout->run_length ? &coded : bytes;

        bytes->limit = SESSION_STRING_MAX;
        if (layout->prefix) {
                if (!text.len || text.data[0] != layout->prefix)
                        return 1;
                text.data++;
                text.len--;
        }
        if (base64_decode(text, layout->alphabet, layout->padding, decoded) &&
            (!layout->run_length || run_length_decode(&coded, bytes)))
                return 0;
        return has_no_memory(decoded) || has_no_memory(bytes) ? -1 : 1;
}

/* If the string has an address but no test flag, the address says whether it is for the test servers. */
static void session_string_find_test_mode(struct identity *identity, unsigned *set)
{
        const struct datacentre *home;

        if (!(*set & FIELD_BIT(FIELD_SERVER_ADDRESS)) || *set & FIELD_BIT(FIELD_TEST_MODE))
                return;
        home = datacentre_by_address(slice_of(identity->server_address));
        identity_set_number(identity, FIELD_TEST_MODE, home && home->test);
        *set |= FIELD_BIT(FIELD_TEST_MODE);
}

/* 0; 1: it is none of this format; -1: no memory. */
static int session_string_read_as(struct slice text, const struct session_string_format *format,
                                  struct identity *identity, unsigned *set)
{
        WIPED struct buffer bytes = { 0 };
        struct reading reading = { .identity = identity, .set = FIELD_BIT(FIELD_DATE) };
        int error;

        identity_wipe(identity);
        error = session_string_decode(text, format->layout, &bytes);
        if (error)
                return error;
        reading.at = bytes.data;
        reading.left = bytes.len;
        for (const struct part *part = format->layout->parts; part->read; part++) {
                if (!part->read(&reading, part))
                        return reading.no_memory ? -1 : 1;
        }
        session_string_find_test_mode(identity, &reading.set);
        *set = reading.set;
        return reading.left ? 1 : 0;
}

const struct session_string_format *session_string_read(struct slice text,
                                                        const struct session_string_format *format,
                                                        struct identity *identity, unsigned *set,
                                                        const char **why)
{
        const struct session_string_format *tried = format ? format : session_string_formats;
        int error;

        *why = format ? "it is not a session string of this format, or it is damaged"
                      : "it is not a session string of any known format, or it is damaged";
        if (text.len > SESSION_STRING_MAX) {
                *why = "it is too long for a session string";
                identity_wipe(identity);
                return NULL;
        }
        do {
                error = session_string_read_as(text, tried, identity, set);
                if (!error)
                        return tried;
                tried++;
        } while (error > 0 && !format && tried->name);
        if (error < 0)
                *why = NULL;
        identity_wipe(identity);
        return NULL;
}

static bool session_string_write_parts(struct writing *writing, const struct session_string_format *format)
{
        for (unsigned field = 0; field < FIELD_COUNT; field++) {
                if (format->needs & FIELD_BIT(field) && !identity_has(writing->identity, (enum field)field))
                        return writing_lacks(writing, (enum field)field);
        }
        for (const struct part *part = format->layout->parts; part->write; part++) {
                if (!part->write(writing, part))
                        return false;
        }
        return true;
}

bool session_string_write(const struct identity *identity, const struct session_string_format *format,
                          struct buffer *out, const char **missing)
{
        const struct session_string_layout *layout = format->layout;
        WIPED struct buffer plain = { 0 }, coded = { 0 };
        const struct buffer *bytes = &plain;
        struct writing writing = { .identity = identity, .out = &plain };

        writing.home = datacentre_find(identity->number[FIELD_DC_ID], identity->number[FIELD_TEST_MODE]);
        if (!session_string_write_parts(&writing, format)) {
                assert(writing.missing < FIELD_COUNT);
                *missing = field_infos[writing.missing].name;
                return false;
        }
        if (layout->run_length) {
                run_length_encode(&plain, &coded);
                bytes = &coded;
        }
        if (plain.failed || coded.failed) {
                out->failed = true;
                return true;
        }
        if (layout->prefix)
                buffer_append(out, &layout->prefix, 1);
        base64_encode((struct slice){ (const char *)bytes->data, bytes->len }, layout->alphabet,
                      layout->padding, out);
        return true;
}
