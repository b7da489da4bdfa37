#ifndef GRAMD_PROTO_FRAME_H
#define GRAMD_PROTO_FRAME_H

/*
 * Where does the first MessagePack message in these bytes end? The scanner stands in front of
 * everything that reads the wire: it looks at nothing but types, lengths and counts, allocates
 * nothing, never recurses, and can be stopped after any byte and resumed when more have come: at most the
 * length field it was stopped in, five bytes, is looked at again. What it has let through is complete and
 * within the limits, so that the cursor (cursor.h) and msgpack-c may walk it without checking bounds against
 * the wire again.
 */

#include <stddef.h>
#include <stdint.h>

enum { FRAME_DEPTH_LIMIT = 16 }; /* upper bound for frame_limits.depth */

struct frame_limits {
        uint32_t bytes; /* of one message, its first byte to its last */
        unsigned depth; /* nested arrays and maps; the message's own array is the first */
};

enum frame_result {
        FRAME_WHOLE = 0,
        FRAME_MORE = 1,
        FRAME_E_INVALID = -1,   /* not MessagePack, or does not start with an array */
        FRAME_E_TOO_LARGE = -2, /* longer than limits.bytes, or claims what cannot fit in them */
        FRAME_E_TOO_DEEP = -3,
};

/* Zero-initialised: at the start of a message. */
struct frame {
        size_t scanned; /* bytes understood; may lie beyond the bytes at hand, inside a str, bin or ext */
        uint64_t owed;  /* values still to come, over all levels */
        unsigned depth;
        uint32_t floor[FRAME_DEPTH_LIMIT]; /* level by level: `owed` when its last element has come */
};

/*
 * `data` is the message's first byte, `len` what has come of it so far (and perhaps of the next
 * one). On FRAME_WHOLE, `*end` is the message's length and the scanner is at a start again. On an
 * error nothing more can be read from this stream.
 */
enum frame_result frame_scan(struct frame *frame, const struct frame_limits *limits, const uint8_t *data,
                             size_t len, size_t *end);

#endif
