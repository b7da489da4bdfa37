/*
 * The MessagePack-RPC envelope. Reading uses the cursor on a scanned frame and copies nothing. Writing packs
 * into a buffer with msgpack-c; the buffer remembers failures.
 */

#include "message.h"

#include <assert.h>
#include <string.h>

enum { RESULT_HEAD_MAX_BYTES = 8 };

static bool message_read_id(struct cursor *cursor, uint32_t *id)
{
        int64_t value;

        if (!cursor_int_in(cursor, 0, UINT32_MAX, &value))
                return false;
        *id = (uint32_t)value;
        return true;
}

/* The method and the parameters, which follow the kind and the id. */
static bool message_read_call(struct cursor *cursor, struct message *message)
{
        return cursor_bytes(cursor, &message->method) && cursor_array(cursor, &message->n_params);
}

bool message_read(struct slice frame, struct message *message)
{
        struct cursor cursor = { (const uint8_t *)frame.data, (const uint8_t *)frame.data + frame.len };
        uint32_t parts;
        int64_t kind;

        if (!cursor_array(&cursor, &parts) ||
            !cursor_int_in(&cursor, MESSAGE_REQUEST, MESSAGE_NOTIFICATION, &kind) ||
            parts != (kind == MESSAGE_NOTIFICATION ? 3 : 4))
                return false;
        message->kind = (enum message_kind)kind;
        message->id = 0;
        message->method = SLICE_NONE;
        message->n_params = 2;
        if (kind != MESSAGE_NOTIFICATION && !message_read_id(&cursor, &message->id))
                return false;
        if (kind != MESSAGE_RESPONSE && !message_read_call(&cursor, message))
                return false;
        message->params = cursor;
        message->frame = frame;
        return true;
}

uint32_t message_peek_id(const uint8_t *data, size_t len)
{
        struct cursor cursor = { data, data + len };
        uint32_t parts, id;
        int64_t kind;

        if (!cursor_array(&cursor, &parts) || parts < 2 ||
            !cursor_int_in(&cursor, MESSAGE_REQUEST, MESSAGE_REQUEST, &kind) ||
            !message_read_id(&cursor, &id))
                return 0;
        return id;
}

/* Without msgpack-c and in one write: every answer begins with this. */
void message_begin_result(struct buffer *out, uint32_t id)
{
        const unsigned bytes = id < 0x80 ? 0 : id <= UINT8_MAX ? 1 : id <= UINT16_MAX ? 2 : 4;
        uint8_t *at = buffer_reserve(out, RESULT_HEAD_MAX_BYTES);
        uint8_t *start = at;

        if (!at)
                return;
        *at++ = 0x94;
        *at++ = MESSAGE_RESPONSE;
        if (bytes > 0)
                *at++ = bytes == 1 ? 0xcc : bytes == 2 ? 0xcd : 0xce;
        for (unsigned left = bytes; left > 1; left--)
                *at++ = (uint8_t)(id >> (8 * (left - 1)));
        *at++ = (uint8_t)id;
        *at++ = 0xc0;
        out->len += (size_t)(at - start);
}

void message_begin_notification(struct buffer *out, const char *method, uint32_t n_params)
{
        pack_array(out, 3);
        pack_int(out, MESSAGE_NOTIFICATION);
        pack_cstr(out, method);
        pack_array(out, n_params);
}

void message_write_error(struct buffer *out, uint32_t id, const char *code, struct slice text,
                         struct slice detail)
{
        pack_array(out, 4);
        pack_int(out, MESSAGE_RESPONSE);
        pack_int(out, id);
        pack_array(out, 3);
        pack_cstr(out, code);
        pack_str(out, text);
        if (detail.data)
                buffer_append(out, detail.data, detail.len);
        else
                pack_nil(out);
        pack_nil(out);
}

void pack_str(struct buffer *out, struct slice text)
{
        msgpack_packer packer = buffer_packer(out);

        if (text.data)
                msgpack_pack_str_with_body(&packer, text.data, text.len);
        else
                msgpack_pack_nil(&packer);
}

void pack_cstr(struct buffer *out, const char *text)
{
        pack_str(out, slice_of(text));
}

void pack_bin(struct buffer *out, struct slice bytes)
{
        msgpack_packer packer = buffer_packer(out);

        if (bytes.data)
                msgpack_pack_bin_with_body(&packer, bytes.data, bytes.len);
        else
                msgpack_pack_nil(&packer);
}

void pack_int(struct buffer *out, int64_t value)
{
        msgpack_packer packer = buffer_packer(out);

        msgpack_pack_int64(&packer, value);
}

void pack_bool(struct buffer *out, bool value)
{
        msgpack_packer packer = buffer_packer(out);

        if (value)
                msgpack_pack_true(&packer);
        else
                msgpack_pack_false(&packer);
}

void pack_nil(struct buffer *out)
{
        msgpack_packer packer = buffer_packer(out);

        msgpack_pack_nil(&packer);
}

void pack_array(struct buffer *out, uint32_t count)
{
        msgpack_packer packer = buffer_packer(out);

        msgpack_pack_array(&packer, count);
}

void pack_map(struct buffer *out, uint32_t pairs)
{
        msgpack_packer packer = buffer_packer(out);

        msgpack_pack_map(&packer, pairs);
}

enum { ARRAY32 = 0xdd };

size_t pack_array_begin(struct buffer *out)
{
        const uint8_t header[5] = { ARRAY32 };
        size_t at = out->len;

        buffer_append(out, header, sizeof(header));
        return at;
}

void pack_array_end(struct buffer *out, size_t at, uint32_t count)
{
        if (out->failed)
                return;
        assert(at + 5 <= out->len && out->data[at] == ARRAY32);
        for (int i = 0; i < 4; i++)
                out->data[at + 1 + (size_t)i] = (uint8_t)(count >> (24 - 8 * i));
}
