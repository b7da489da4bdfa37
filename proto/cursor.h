#ifndef GRAMD_PROTO_CURSOR_H
#define GRAMD_PROTO_CURSOR_H

/*
 * A typed reader of bytes that frame_scan() has accepted. Every read function either reads the whole next
 * value and returns true, or does not move the cursor and returns false. Slices point into the frame.
 */

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"
#include "utf8.h"

struct cursor {
        const uint8_t *at;
        const uint8_t *end;
};

enum cursor_type {
        CURSOR_END,
        CURSOR_NIL,
        CURSOR_BOOL,
        CURSOR_INT,
        CURSOR_FLOAT,
        CURSOR_STR,
        CURSOR_BIN,
        CURSOR_ARRAY,
        CURSOR_MAP,
        CURSOR_EXT,
};

enum cursor_type cursor_peek(const struct cursor *cursor);

bool cursor_nil(struct cursor *cursor);
bool cursor_bool(struct cursor *cursor, bool *value);
/*
 * An integer of any width, except a uint64 above INT64_MAX; or a float that is a whole number from -2^53 to
 * 2^53: some encoders write every integer beyond 32 bits so.
 */
bool cursor_int(struct cursor *cursor, int64_t *value);
/* An integer or any float. */
bool cursor_number(struct cursor *cursor, double *number);
bool cursor_int_in(struct cursor *cursor, int64_t low, int64_t high, int64_t *value);
/* Valid UTF-8 (no surrogates, nothing overlong), at most `max` bytes. */
bool cursor_str(struct cursor *cursor, size_t max, struct slice *text);
bool cursor_bin(struct cursor *cursor, size_t max, struct slice *bytes);
/* A str or a bin; a str need not be UTF-8. */
bool cursor_bytes(struct cursor *cursor, struct slice *bytes);
/*
 * Reads the header; the elements, or keys and values, are read one by one. An empty array is an empty map,
 * too: encoders of languages without maps of their own cannot tell them apart.
 */
bool cursor_array(struct cursor *cursor, uint32_t *count);
bool cursor_map(struct cursor *cursor, uint32_t *pairs);
/* Skips one value of any type; `raw`, if not NULL, gets its bytes. */
void cursor_skip(struct cursor *cursor, struct slice *raw);

/* Whether the next value is a float that is no integer, or has one among its first parts. */
bool cursor_has_float(struct cursor cursor);

#endif
