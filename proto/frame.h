#ifndef GRAMD_PROTO_FRAME_H
#define GRAMD_PROTO_FRAME_H

/*
 * Finds the end of the first MessagePack message in a stream of bytes. It comes before everything else that
 * reads the wire. It looks only at types, lengths and counts, allocates nothing and does not recurse. It can
 * stop after any byte and go on when more have arrived; at most one length field of five bytes is then read
 * again. A message that it accepts is complete and within the limits: the cursor (cursor.h) and msgpack-c
 * need no further check of its bounds.
 */

#include <stddef.h>
#include <stdint.h>

enum { FRAME_DEPTH_LIMIT = 16 }; /* upper bound for frame_limits.depth */

struct frame_limits {
        uint32_t bytes; /* of one message */
        unsigned depth; /* nested arrays and maps; the message's own array is the first */
};

enum frame_result {
        FRAME_WHOLE = 0,
        FRAME_MORE = 1,
        FRAME_E_INVALID = -1, /* not MessagePack, or does not start with an array */
        FRAME_E_TOO_LARGE =
                -2, /* longer than limits.bytes, or with counts and lengths that cannot fit in them */
        FRAME_E_TOO_DEEP = -3,
};

/* Zero-initialised: at the start of a message. */
struct frame {
        size_t scanned; /* bytes of values read so far; inside a str, bin or ext, more than have arrived */
        uint64_t owed;  /* values still to come, over all levels */
        unsigned depth;
        uint32_t floor[FRAME_DEPTH_LIMIT]; /* for each level: `owed` when the level ends */
};

/*
 * `data` points to the first byte of the message, `len` counts the bytes that have arrived, perhaps including
 * some of the next message. On FRAME_WHOLE, `*end` is the message's length, and the scanner is ready for the
 * next message. After an error nothing more can be read from the stream.
 */
enum frame_result frame_scan(struct frame *frame, const struct frame_limits *limits, const uint8_t *data,
                             size_t len, size_t *end);

#endif
