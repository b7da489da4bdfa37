/*
 * The wire's bytes, as a stranger may send them. Whatever they are: the scanner says the same whether they
 * come at once or in pieces; what it lets through msgpack-c reads too, to the same end; and the cursor
 * walks it without leaving it. The first input byte is the size of the pieces.
 */

#include <msgpack.h>
#include <stdlib.h>

#include "../../proto/frame.h"
#include "../../proto/message.h"
#include "../../proto/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct frame_limits limits = { .bytes = 65536, .depth = 8 };

static void require(bool holds)
{
        if (!holds)
                abort();
}

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

/* Every value is read as what it says it is. */
static void walk(struct cursor *cursor)
{
        struct slice bytes;
        int64_t number;
        uint32_t count;
        bool truth;

        while (cursor_peek(cursor) != CURSOR_END) {
                const uint8_t *before = cursor->at;

                switch (cursor_peek(cursor)) {
                case CURSOR_NIL: require(cursor_nil(cursor)); break;
                case CURSOR_BOOL: require(cursor_bool(cursor, &truth)); break;
                case CURSOR_BIN: require(cursor_bin(cursor, SIZE_MAX, &bytes)); break;
                case CURSOR_ARRAY: require(cursor_array(cursor, &count)); break;
                case CURSOR_MAP: require(cursor_map(cursor, &count)); break;
                case CURSOR_INT:
                        if (!cursor_int(cursor, &number))
                                cursor_skip(cursor, NULL); /* above INT64_MAX */
                        break;
                case CURSOR_STR:
                        if (!cursor_str(cursor, SIZE_MAX, &bytes))
                                cursor_skip(cursor, NULL); /* not UTF-8 */
                        break;
                default: cursor_skip(cursor, &bytes);
                }
                require(cursor->at > before && cursor->at <= cursor->end);
        }
}

static void read_records(struct cursor params)
{
        struct cursor cursor = params;
        struct peer peer;
        struct state state;

        if (!peer_read(&cursor, 0, &peer))
                require(cursor.at == params.at);
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
        msgpack_unpacked_destroy(&unpacked);

        walk(&cursor);
        if (message_read((struct slice){ (const char *)data, len }, &message))
                read_records(message.params);
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
