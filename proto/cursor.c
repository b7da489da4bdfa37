/*
 * The typed cursor, with which every method reads its parameters. The frame scan has made sure that the
 * message is complete. The cursor checks `end` all the same: this costs almost nothing, and message_peek_id()
 * reads incomplete messages.
 */

#include "cursor.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "head.h"

static size_t cursor_left(const struct cursor *cursor)
{
        assert(cursor->at <= cursor->end);
        return (size_t)(cursor->end - cursor->at);
}

/* The head of the next value. False: the value is incomplete. */
static bool cursor_head(const struct cursor *cursor, struct head *head)
{
        const struct head_shape *shape;

        if (cursor->at >= cursor->end)
                return false;
        shape = &head_shapes[*cursor->at];
        return shape->size && head_read(shape, cursor->at, cursor_left(cursor), head) &&
               head->size <= cursor_left(cursor);
}

enum cursor_type cursor_peek(const struct cursor *cursor)
{
        return cursor->at < cursor->end ? (enum cursor_type)head_shapes[*cursor->at].type : CURSOR_END;
}

bool cursor_nil(struct cursor *cursor)
{
        if (cursor_peek(cursor) != CURSOR_NIL)
                return false;
        cursor->at++;
        return true;
}

bool cursor_bool(struct cursor *cursor, bool *value)
{
        if (cursor_peek(cursor) != CURSOR_BOOL)
                return false;
        *value = *cursor->at++ == 0xc3;
        return true;
}

/* 1, 2, 4 or 8 bytes: no integer has another width. */
static uint64_t big_endian(const uint8_t *at, unsigned width)
{
        uint16_t two;
        uint32_t four;
        uint64_t eight;

        switch (width) {
        case 1: return *at;
        case 2: memcpy(&two, at, sizeof(two)); return be16toh(two);
        case 4: memcpy(&four, at, sizeof(four)); return be32toh(four);
        default: memcpy(&eight, at, sizeof(eight)); return be64toh(eight);
        }
}

/* Of 4 or 8 bytes. */
static double float_at(const uint8_t *at, unsigned width)
{
        uint64_t bits = big_endian(at, width);
        uint32_t half = (uint32_t)bits;
        double number;
        float narrow;

        if (width == sizeof(narrow)) {
                memcpy(&narrow, &half, sizeof(narrow));
                return (double)narrow;
        }
        memcpy(&number, &bits, sizeof(number));
        return number;
}

/* False for what is not whole, for infinities and for what is no number. */
static bool float_is_int(double number, int64_t *value)
{
        const double max =
                9007199254740992.0; /* 2^53: up to here each whole number has a double of its own */

        if (!(number >= -max && number <= max) || number != (double)(int64_t)number)
                return false;
        *value = (int64_t)number;
        return true;
}

bool cursor_int(struct cursor *cursor, int64_t *value)
{
        const enum cursor_type type = cursor_peek(cursor);
        uint64_t bits;
        uint8_t first;
        unsigned width;

        if (type != CURSOR_INT && type != CURSOR_FLOAT)
                return false;
        first = *cursor->at;
        width = head_shapes[first].size - 1u;
        if (cursor_left(cursor) < 1 + width)
                return false;
        if (!width) {
                *value = (int8_t)first;
                cursor->at++;
                return true;
        }
        if (type == CURSOR_FLOAT) {
                if (!float_is_int(float_at(cursor->at + 1, width), value))
                        return false;
                cursor->at += 1 + width;
                return true;
        }
        bits = big_endian(cursor->at + 1, width);
        if (first >= 0xd0) { /* signed: extend the sign bit */
                uint64_t sign = 1ull << (8 * width - 1);

                bits = (bits ^ sign) - sign;
        } else if (bits > INT64_MAX) {
                return false;
        }
        *value = (int64_t)bits;
        cursor->at += 1 + width;
        return true;
}

bool cursor_number(struct cursor *cursor, double *number)
{
        int64_t whole;

        if (cursor_int(cursor, &whole)) {
                *number = (double)whole;
                return true;
        }
        if (cursor_peek(cursor) != CURSOR_FLOAT || cursor_left(cursor) < head_shapes[*cursor->at].size)
                return false;
        *number = float_at(cursor->at + 1, head_shapes[*cursor->at].size - 1u);
        cursor->at += head_shapes[*cursor->at].size;
        return true;
}

bool cursor_int_in(struct cursor *cursor, int64_t low, int64_t high, int64_t *value)
{
        const uint8_t *start = cursor->at;
        int64_t found;

        if (!cursor_int(cursor, &found))
                return false;
        if (found < low || found > high) {
                cursor->at = start;
                return false;
        }
        *value = found;
        return true;
}

/* The body of the next value, if it has this type and is not too long. The cursor does not move. */
static bool cursor_body(const struct cursor *cursor, enum cursor_type type, size_t max, struct slice *body)
{
        struct head head;
        size_t header;

        if (cursor_peek(cursor) != type || !cursor_head(cursor, &head))
                return false;
        header = 1u + head_shapes[*cursor->at].width;
        if (head.size - header > max)
                return false;
        *body = (struct slice){ (const char *)cursor->at + header, (size_t)head.size - header };
        return true;
}

static bool cursor_take_body(struct cursor *cursor, struct slice body)
{
        cursor->at = (const uint8_t *)body.data + body.len;
        return true;
}

bool cursor_str(struct cursor *cursor, size_t max, struct slice *text)
{
        struct slice body;

        if (!cursor_body(cursor, CURSOR_STR, max, &body) || !slice_is_utf8(body))
                return false;
        *text = body;
        return cursor_take_body(cursor, body);
}

bool cursor_bytes(struct cursor *cursor, struct slice *bytes)
{
        if (!cursor_body(cursor, CURSOR_STR, SIZE_MAX, bytes) &&
            !cursor_body(cursor, CURSOR_BIN, SIZE_MAX, bytes))
                return false;
        return cursor_take_body(cursor, *bytes);
}

bool cursor_bin(struct cursor *cursor, size_t max, struct slice *bytes)
{
        return cursor_body(cursor, CURSOR_BIN, max, bytes) && cursor_take_body(cursor, *bytes);
}

static bool cursor_enter(struct cursor *cursor, enum cursor_type type, unsigned per, uint32_t *count)
{
        struct head head;

        if (cursor_peek(cursor) != type || !cursor_head(cursor, &head))
                return false;
        *count = (uint32_t)(head.children / per);
        cursor->at += head.size;
        return true;
}

bool cursor_array(struct cursor *cursor, uint32_t *count)
{
        return cursor_enter(cursor, CURSOR_ARRAY, 1, count);
}

bool cursor_map(struct cursor *cursor, uint32_t *pairs)
{
        struct cursor array = *cursor;
        uint32_t count;

        if (cursor_enter(cursor, CURSOR_MAP, 2, pairs))
                return true;
        if (!cursor_array(&array, &count) || count > 0)
                return false;
        *pairs = 0;
        *cursor = array;
        return true;
}

void cursor_skip(struct cursor *cursor, struct slice *raw)
{
        const uint8_t *from = cursor->at;
        struct head head;

        for (uint64_t owed = 1; owed && cursor_head(cursor, &head); owed += head.children - 1)
                cursor->at += head.size;
        if (raw)
                *raw = (struct slice){ (const char *)from, (size_t)(cursor->at - from) };
}

bool cursor_has_float(struct cursor cursor)
{
        enum { LOOKED_AT = 1000 }; /* values: more than a row has, and soon done */
        uint64_t owed = 1;
        struct head head;
        int64_t value;

        for (int i = 0; i < LOOKED_AT && owed && cursor_head(&cursor, &head); i++) {
                struct cursor copy = cursor;

                if (cursor_peek(&cursor) == CURSOR_FLOAT && !cursor_int(&copy, &value))
                        return true;
                cursor.at += head.size;
                owed += head.children - 1;
        }
        return false;
}
