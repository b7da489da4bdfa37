#ifndef GRAMD_PROTO_HEAD_H
#define GRAMD_PROTO_HEAD_H

/*
 * The first bytes of a MessagePack value: they say how long it is, and how many values inside it follow. Only
 * this file and its table know the format; the scanner (frame.c) and the cursor (cursor.c) use them.
 */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cursor.h"

/* By first byte. `size` 0: no value starts with this byte. */
struct head_shape {
        uint8_t size;     /* bytes of the value, as far as the first byte says */
        uint8_t width;    /* bytes of the length field that follows it, counted in `size`; 0: none */
        uint8_t children; /* without a length field: the number of values inside */
        uint8_t per;  /* values for each that the length field counts: 1 in arrays, 2 in maps; 0: it counts
                         bytes */
        uint8_t type; /* enum cursor_type; CURSOR_END: no value starts with this byte */
};

extern const struct head_shape head_shapes[256];

struct head {
        uint64_t size;     /* bytes before the first value inside, or before the next value */
        uint64_t children; /* values inside; 0 for all but arrays and maps */
};

/* False: the length field is incomplete. `len` is at least 1. */
static inline bool head_read(const struct head_shape *shape, const uint8_t *at, size_t len, struct head *head)
{
        uint64_t length = 0;

        assert(len > 0);
        if (!shape->width) {
                *head = (struct head){ shape->size, shape->children };
                return true;
        }
        if (len < 1u + shape->width)
                return false;
        for (unsigned i = 1; i <= shape->width; i++)
                length = length << 8 | at[i];
        *head = (struct head){ shape->size + (shape->per ? 0 : length), length * shape->per };
        return true;
}

#endif
