/*
 * Any bytes on the wire. The scanner decides the same whether they come at once or in pieces. What it
 * accepts, msgpack-c reads, too, and ends at the same byte. The cursor reads every value as msgpack-c does.
 * The first input byte is the size of the pieces.
 */

#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "../../proto/frame.h"
#include "../../proto/message.h"
#include "../../proto/records.h"
#include "fuzz.h"

static const struct frame_limits limits = { .bytes = 65536, .depth = 8 };

static enum frame_result scan_in_pieces(const uint8_t *data, size_t size, size_t piece, size_t *end)
{
        struct frame frame = { 0 };
        enum frame_result result = FRAME_MORE;

        for (size_t len = 0; result == FRAME_MORE && len < size;) {
                len = size - len < piece ? size : len + piece;
                result = frame_scan(&frame, &limits, data, len, end);
        }
        return result;
}

/* ---- the cursor reads every value as msgpack-c does ---- */

static void compare(struct cursor *cursor, const msgpack_object *object);

static void compare_bytes(struct cursor *cursor, const msgpack_object *object)
{
        bool is_str = object->type == MSGPACK_OBJECT_STR;
        struct slice expected = is_str ? (struct slice){ object->via.str.ptr, object->via.str.size }
                                       : (struct slice){ object->via.bin.ptr, object->via.bin.size };
        struct slice got;

        if (is_str && !slice_is_utf8(expected)) {
                require(!cursor_str(cursor, SIZE_MAX, &got));
                cursor_skip(cursor, NULL);
                return;
        }
        if (expected.len)
                require(!(is_str ? cursor_str : cursor_bin)(cursor, expected.len - 1, &got));
        require((is_str ? cursor_str : cursor_bin)(cursor, expected.len, &got));
        require(got.len == expected.len && (!got.len || memcmp(got.data, expected.data, got.len) == 0));
}

static void compare_number(struct cursor *cursor, const msgpack_object *object)
{
        bool fits = object->type == MSGPACK_OBJECT_NEGATIVE_INTEGER || object->via.u64 <= INT64_MAX;
        int64_t got;

        require(cursor_int(cursor, &got) == fits);
        if (fits)
                require(got == object->via.i64);
        else
                cursor_skip(cursor, NULL);
}

/* Of 53 bits: a float of that size that is whole has no digits behind the point. */
static void compare_float(struct cursor *cursor, double number)
{
        bool whole = fabs(number) <= 0x1p53 && fmod(number, 1) == 0;
        struct cursor copy = *cursor;
        double same;
        int64_t got;

        require(cursor_peek(cursor) == CURSOR_FLOAT && cursor_has_float(*cursor) == !whole);
        require(cursor_number(&copy, &same) && (same == number || (isnan(same) && isnan(number))));
        require(cursor_int(cursor, &got) == whole);
        if (whole)
                require((double)got == number);
        else
                cursor_skip(cursor, NULL);
        require(cursor->at == copy.at);
}

static void compare_children(struct cursor *cursor, const msgpack_object *object)
{
        uint32_t count;

        if (object->type == MSGPACK_OBJECT_ARRAY) {
                struct cursor map = *cursor;

                require(cursor_map(&map, &count) == (object->via.array.size == 0));
                require(cursor_array(cursor, &count) && count == object->via.array.size);
                for (uint32_t i = 0; i < count; i++)
                        compare(cursor, &object->via.array.ptr[i]);
                return;
        }
        require(cursor_map(cursor, &count) && count == object->via.map.size);
        for (uint32_t i = 0; i < count; i++) {
                compare(cursor, &object->via.map.ptr[i].key);
                compare(cursor, &object->via.map.ptr[i].val);
        }
}

static void compare(struct cursor *cursor, const msgpack_object *object)
{
        struct cursor whole = *cursor;
        struct slice raw;
        bool flag;

        cursor_skip(&whole, &raw);
        switch (object->type) {
        case MSGPACK_OBJECT_NIL: require(cursor_nil(cursor)); break;
        case MSGPACK_OBJECT_BOOLEAN:
                require(cursor_bool(cursor, &flag) && flag == object->via.boolean);
                break;
        case MSGPACK_OBJECT_POSITIVE_INTEGER:
        case MSGPACK_OBJECT_NEGATIVE_INTEGER: compare_number(cursor, object); break;
        case MSGPACK_OBJECT_STR:
        case MSGPACK_OBJECT_BIN: compare_bytes(cursor, object); break;
        case MSGPACK_OBJECT_ARRAY:
        case MSGPACK_OBJECT_MAP: compare_children(cursor, object); break;
        case MSGPACK_OBJECT_FLOAT32:
        case MSGPACK_OBJECT_FLOAT64: compare_float(cursor, object->via.f64); break;
        case MSGPACK_OBJECT_EXT:
                require(cursor_peek(cursor) == CURSOR_EXT);
                cursor_skip(cursor, NULL);
                break;
        }
        require(cursor->at == whole.at && raw.len == (size_t)(whole.at - (const uint8_t *)raw.data));
}

static void read_records(struct cursor params)
{
        struct cursor cursor = params;
        struct peer peer;
        struct state state;

        if (!peer_read(&cursor, 0, &peer))
                require(cursor.at == params.at);
        for (enum field field = 0; field < FIELD_COUNT; field++) {
                struct identity identity;

                identity_init(&identity);
                cursor = params;
                if (identity_read(&identity, field, &cursor) != 0)
                        require(cursor.at == params.at);
                identity_wipe(&identity);
        }
        cursor = params;
        if (!state_read(&cursor, &state))
                require(cursor.at == params.at);
}

static void read_message(const uint8_t *data, size_t len)
{
        struct message message;
        struct cursor cursor = { data, data + len };
        msgpack_unpacked unpacked;
        size_t off = 0;

        msgpack_unpacked_init(&unpacked);
        require(msgpack_unpack_next(&unpacked, (const char *)data, len, &off) == MSGPACK_UNPACK_SUCCESS);
        require(off == len);
        compare(&cursor, &unpacked.data);
        require(cursor.at == cursor.end);
        msgpack_unpacked_destroy(&unpacked);

        if (message_read((struct slice){ (const char *)data, len }, &message)) {
                require(message_peek_id(data, len) == (message.kind == MESSAGE_REQUEST ? message.id : 0));
                read_records(message.params);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct frame frame = { 0 };
        size_t end = 0, end_in_pieces = 0, piece;
        enum frame_result result;

        if (size < 2)
                return 0;
        piece = data[0] ? data[0] : 1;
        data++;
        size--;

        result = frame_scan(&frame, &limits, data, size, &end);
        require(scan_in_pieces(data, size, piece, &end_in_pieces) == result);
        if (result == FRAME_WHOLE) {
                require(end == end_in_pieces && end <= size && end <= limits.bytes);
                read_message(data, end);
        } else {
                message_peek_id(data, size);
        }
        return 0;
}
