/*
 * The frame scanner: walks a message value by value, by the table of first bytes, and keeps three figures:
 * how far it has come, how many values are still owed, and how deep it stands. A value needs at least one
 * byte, so `scanned + owed` is the least the message can come to, and a claim that cannot be met within the
 * limit is refused when it is made, however many of the claimed elements are still to come.
 *
 * The levels need no counters of their own: a level is done when `owed` is back at what it was before the
 * level's elements were added to it.
 */

#include "frame.h"

#include "head.h"

/* clang-format off */
#define NONE             { 0, 0, 0, 0, 0 }
#define PLAIN(n)         { (n), 0, 0, 0, 0 }                     /* a value of n bytes */
#define SIZED(width, n)  { 1 + (width) + (n), (width), 0, 0, 0 } /* n bytes more than its length field says */
#define FEW(n)           { 1, 0, (n), 0, 1 }                     /* holds n values */
#define MANY(width, per) { 1 + (width), (width), 0, (per), 1 }   /* per values for each one counted */

/* Eight rows from X(first), each `step` further. */
#define EIGHT(X, first, step) \
        X((first)), X((first) + (step)), X((first) + 2 * (step)), X((first) + 3 * (step)), \
        X((first) + 4 * (step)), X((first) + 5 * (step)), X((first) + 6 * (step)), X((first) + 7 * (step))
#define THIRTY_TWO(X, n) EIGHT(X, n, 0), EIGHT(X, n, 0), EIGHT(X, n, 0), EIGHT(X, n, 0)

const struct head_shape head_shapes[256] = {
        /* 00-3f small int */ THIRTY_TWO(PLAIN, 1), THIRTY_TWO(PLAIN, 1),
        /* 40-7f */ THIRTY_TWO(PLAIN, 1), THIRTY_TWO(PLAIN, 1),
        /* 80-8f small map */ EIGHT(FEW, 0, 2), EIGHT(FEW, 16, 2),
        /* 90-9f small array */ EIGHT(FEW, 0, 1), EIGHT(FEW, 8, 1),
        /* a0-af small str */ EIGHT(PLAIN, 1, 1), EIGHT(PLAIN, 9, 1),
        /* b0-bf */ EIGHT(PLAIN, 17, 1), EIGHT(PLAIN, 25, 1),
        /* c0-c3 nil, -, bool */ PLAIN(1), NONE, PLAIN(1), PLAIN(1),
        /* c4-c6 bin */ SIZED(1, 0), SIZED(2, 0), SIZED(4, 0),
        /* c7-c9 ext */ SIZED(1, 1), SIZED(2, 1), SIZED(4, 1),
        /* ca-cb float */ PLAIN(5), PLAIN(9),
        /* cc-cf uint */ PLAIN(2), PLAIN(3), PLAIN(5), PLAIN(9),
        /* d0-d3 int */ PLAIN(2), PLAIN(3), PLAIN(5), PLAIN(9),
        /* d4-d8 fixext */ PLAIN(3), PLAIN(4), PLAIN(6), PLAIN(10), PLAIN(18),
        /* d9-db str */ SIZED(1, 0), SIZED(2, 0), SIZED(4, 0),
        /* dc-dd array */ MANY(2, 1), MANY(4, 1),
        /* de-df map */ MANY(2, 2), MANY(4, 2),
        /* e0-ff small int */ THIRTY_TWO(PLAIN, 1),
};
/* clang-format on */

static bool frame_starts_well(uint8_t first)
{
        return (first & 0xf0) == 0x90 || first == 0xdc || first == 0xdd;
}

static enum frame_result frame_finish(struct frame *frame, uint64_t scanned, size_t *end)
{
        *frame = (struct frame){ .scanned = 0 };
        *end = (size_t)scanned;
        return FRAME_WHOLE;
}

enum frame_result frame_scan(struct frame *frame, const struct frame_limits *limits, const uint8_t *data,
                             size_t len, size_t *end)
{
        unsigned max_depth = limits->depth < FRAME_DEPTH_LIMIT ? limits->depth : FRAME_DEPTH_LIMIT;
        uint64_t scanned = frame->scanned, owed = frame->owed;
        unsigned depth = frame->depth;

        if (!scanned) {
                if (!len)
                        return FRAME_MORE;
                if (!frame_starts_well(data[0]))
                        return FRAME_E_INVALID;
                owed = 1;
        }
        while (owed && scanned < len) {
                const struct head_shape *shape = &head_shapes[data[scanned]];
                struct head head;

                if (!shape->size)
                        return FRAME_E_INVALID;
                if (!head_read(shape, data + scanned, len - (size_t)scanned, &head))
                        break;
                if (shape->nests && depth == max_depth)
                        return FRAME_E_TOO_DEEP;
                owed--;
                if (head.children)
                        frame->floor[depth++] = owed;
                owed += head.children;
                scanned += head.size;
                if (scanned + owed > limits->bytes)
                        return FRAME_E_TOO_LARGE;
                while (depth && owed == frame->floor[depth - 1])
                        depth--;
        }
        if (!owed && scanned <= len)
                return frame_finish(frame, scanned, end);
        frame->scanned = (size_t)scanned;
        frame->owed = owed;
        frame->depth = depth;
        return FRAME_MORE;
}
