#ifndef GRAMD_PROTO_HEAD_H
#define GRAMD_PROTO_HEAD_H

/*
 * What the first bytes of a MessagePack value say about it: how long it is, and how many values follow that
 * belong to it. The scanner (frame.c) and the cursor (cursor.c) see the format through this alone.
 */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cursor.h"

/* By the first byte. `size` is 0 where no value starts with it. */
struct head_shape {
        uint8_t size;     /* bytes of the value, as far as the first byte tells */
        uint8_t width;    /* bytes of the length field that follows it, counted in `size`; 0: none */
        uint8_t children; /* without a length field: how many values follow inside */
        uint8_t per;      /* what it counts: 0 bytes; values for each counted, 1 in arrays, 2 in maps */
        uint8_t type;     /* enum cursor_type; CURSOR_END where no value starts with it */
};

extern const struct head_shape head_shapes[256];

struct head {
        uint64_t size;     /* bytes up to the first value inside, or up to the next value */
        uint64_t children; /* values inside; 0 for all but arrays and maps */
};

/* False: the length field has not come whole. `len` is at least 1. */
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
