#ifndef GRAMD_PROTO_SLICE_H
#define GRAMD_PROTO_SLICE_H

/*
 * Borrowed bytes: text or binary in a message, a row, a file. The function that returns a slice says how long
 * the bytes stay valid. `data == NULL` means absent (nil), which is not the same as empty.
 */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
        const char *data;
        size_t len;
};

#define SLICE_NONE ((struct slice){ NULL, 0 })

static inline struct slice slice_of(const char *text)
{
        return text ? (struct slice){ text, strlen(text) } : SLICE_NONE;
}

static inline bool slice_equal(struct slice a, struct slice b)
{
        if (!a.data || !b.data)
                return !a.data && !b.data;
        return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static inline bool slice_is(struct slice a, const char *text)
{
        return a.data && slice_equal(a, slice_of(text));
}

/* Compares byte by byte; a prefix is less. Neither may be absent. */
static inline int slice_compare(struct slice a, struct slice b)
{
        int order;

        assert(a.data && b.data);
        order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
        return order ? order : (a.len > b.len) - (a.len < b.len);
}

#endif
