/*
 * The frame scanner. It walks a message value by value, with the table of first bytes, and keeps three
 * figures: the bytes scanned, the number of values still to come (`owed`), and the depth. A value has at
 * least one byte, so the message has at least `scanned + owed` bytes: a count that cannot fit in the limit is
 * refused as soon as it is read.
 *
 * Levels need no counters of their own. A level ends when `owed` is back at its value before the elements of
 * that level were added.
 */

#include "frame.h"

#include <assert.h>

#include "head.h"

/* clang-format off */
#define PLAIN(n, type)         { (n), 0, 0, 0, type }                     /* a value of n bytes */
#define SIZED(width, n, type)  { 1 + (width) + (n), (width), 0, 0, type } /* its length and n bytes more */
#define MANY(width, per, type) { 1 + (width), (width), 0, (per), type }   /* `per` values for each that is counted */
#define INT(n)                 PLAIN(n, CURSOR_INT)
#define STR(n)                 PLAIN(n, CURSOR_STR)
#define ELEMENTS(n)            { 1, 0, (n), 1, CURSOR_ARRAY }
#define PAIRS(n)               { 1, 0, 2 * (n), 2, CURSOR_MAP }

/* Eight rows: X(first), X(first + step), … */
#define EIGHT(X, first, step) \
        X((first)), X((first) + (step)), X((first) + 2 * (step)), X((first) + 3 * (step)), \
        X((first) + 4 * (step)), X((first) + 5 * (step)), X((first) + 6 * (step)), X((first) + 7 * (step))
#define THIRTY_TWO(X, n) EIGHT(X, n, 0), EIGHT(X, n, 0), EIGHT(X, n, 0), EIGHT(X, n, 0)

const struct head_shape head_shapes[256] = {
        /* 00-3f small int */ THIRTY_TWO(INT, 1), THIRTY_TWO(INT, 1),
        /* 40-7f */ THIRTY_TWO(INT, 1), THIRTY_TWO(INT, 1),
        /* 80-8f small map */ EIGHT(PAIRS, 0, 1), EIGHT(PAIRS, 8, 1),
        /* 90-9f small array */ EIGHT(ELEMENTS, 0, 1), EIGHT(ELEMENTS, 8, 1),
        /* a0-af small str */ EIGHT(STR, 1, 1), EIGHT(STR, 9, 1),
        /* b0-bf */ EIGHT(STR, 17, 1), EIGHT(STR, 25, 1),
        /* c0-c1 nil, nothing */ PLAIN(1, CURSOR_NIL), PLAIN(0, CURSOR_END),
        /* c2-c3 bool */ PLAIN(1, CURSOR_BOOL), PLAIN(1, CURSOR_BOOL),
        /* c4-c6 bin */ SIZED(1, 0, CURSOR_BIN), SIZED(2, 0, CURSOR_BIN), SIZED(4, 0, CURSOR_BIN),
        /* c7-c9 ext */ SIZED(1, 1, CURSOR_EXT), SIZED(2, 1, CURSOR_EXT), SIZED(4, 1, CURSOR_EXT),
        /* ca-cb float */ PLAIN(5, CURSOR_FLOAT), PLAIN(9, CURSOR_FLOAT),
        /* cc-cf uint */ INT(2), INT(3), INT(5), INT(9),
        /* d0-d3 int */ INT(2), INT(3), INT(5), INT(9),
        /* d4-d6 fixext */ PLAIN(3, CURSOR_EXT), PLAIN(4, CURSOR_EXT), PLAIN(6, CURSOR_EXT),
        /* d7-d8 */ PLAIN(10, CURSOR_EXT), PLAIN(18, CURSOR_EXT),
        /* d9-db str */ SIZED(1, 0, CURSOR_STR), SIZED(2, 0, CURSOR_STR), SIZED(4, 0, CURSOR_STR),
        /* dc-dd array */ MANY(2, 1, CURSOR_ARRAY), MANY(4, 1, CURSOR_ARRAY),
        /* de-df map */ MANY(2, 2, CURSOR_MAP), MANY(4, 2, CURSOR_MAP),
        /* e0-ff small int */ THIRTY_TWO(INT, 1),
};
/* clang-format on */

/* The figures during a scan, so that they are in registers. */
struct scan {
        uint64_t scanned;
        uint64_t owed;
        uint64_t floor; /* of the innermost level; 0 outside of the message's array */
        unsigned depth;
};

static void scan_open_level(struct scan *scan, struct frame *frame, uint64_t children)
{
        assert(scan->depth < FRAME_DEPTH_LIMIT);
        frame->floor[scan->depth++] = (uint32_t)scan->owed;
        scan->floor = scan->owed;
        scan->owed += children;
}

/* Several levels may end with one value. */
static void scan_close_levels(struct scan *scan, const struct frame *frame)
{
        while (scan->depth && scan->owed == frame->floor[scan->depth - 1])
                scan->depth--;
        scan->floor = scan->depth ? frame->floor[scan->depth - 1] : 0;
}

static enum frame_result frame_stop(struct frame *frame, const struct scan *scan, size_t len, size_t *end)
{
        bool whole = !scan->owed && scan->scanned <= len;

        if (whole)
                *end = (size_t)scan->scanned;
        frame->scanned = whole ? 0 : (size_t)scan->scanned;
        frame->owed = whole ? 0 : scan->owed;
        frame->depth = whole ? 0 : scan->depth;
        return whole ? FRAME_WHOLE : FRAME_MORE;
}

enum frame_result frame_scan(struct frame *frame, const struct frame_limits *limits, const uint8_t *data,
                             size_t len, size_t *end)
{
        unsigned max_depth = limits->depth < FRAME_DEPTH_LIMIT ? limits->depth : FRAME_DEPTH_LIMIT;
        struct scan scan = { frame->scanned, frame->owed, 0, frame->depth };

        if (!scan.scanned) {
                if (len && head_shapes[data[0]].type != CURSOR_ARRAY)
                        return FRAME_E_INVALID;
                scan.owed = 1;
        }
        scan_close_levels(&scan, frame);
        while (scan.owed && scan.scanned < len) {
                const uint8_t *at = data + scan.scanned;
                const struct head_shape *shape = &head_shapes[*at];
                struct head head;

                if (!shape->size)
                        return FRAME_E_INVALID;
                if (!head_read(shape, at, len - (size_t)scan.scanned, &head))
                        break;
                scan.scanned += head.size;
                scan.owed--;
                if (shape->per) {
                        if (scan.depth == max_depth)
                                return FRAME_E_TOO_DEEP;
                        scan_open_level(&scan, frame, head.children);
                }
                if (scan.scanned + scan.owed > limits->bytes)
                        return FRAME_E_TOO_LARGE;
                if (scan.owed == scan.floor)
                        scan_close_levels(&scan, frame);
        }
        return frame_stop(frame, &scan, len, end);
}
