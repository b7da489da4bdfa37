#ifndef GRAMD_PROTO_BUFFER_H
#define GRAMD_PROTO_BUFFER_H

/*
 * A growing byte buffer that answers are written into. Writes never report failure one by one: when
 * memory runs out, or `limit` would be passed, `failed` is set, the buffer stays as it was and
 * ignores what follows, and its owner looks once, at the end.
 *
 * Keys pass through buffers, so a buffer wipes every byte it lets go of: when it is consumed or truncated,
 * when the buffer grows or is freed. Bytes written to a reserved place and never counted in `len` are not
 * wiped.
 *
 * Owned by whoever embeds it; used by one thread at a time. Zero-initialised is empty and unlimited.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
        uint8_t *data;
        size_t len;
        size_t cap;
        size_t limit; /* bytes; 0: none */
        bool failed;
        bool full; /* failed at `limit`, not for want of memory */
};

void buffer_deinit(struct buffer *buffer);

/* Room for `more` bytes at the end, or NULL (and `failed`). The caller then adds to `len`. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t more);
void buffer_append(struct buffer *buffer, const void *data, size_t len);

/* Forgets the first `n` bytes. */
void buffer_consume(struct buffer *buffer, size_t n);

/* Back to `len` bytes, and no longer failed: takes back a half-written answer. */
void buffer_truncate(struct buffer *buffer, size_t len);

/* Frees the memory of a buffer that has grown and is empty. */
void buffer_shrink(struct buffer *buffer);

/* A msgpack-c `msgpack_packer_write`; `data` is the struct buffer. */
int buffer_msgpack_write(void *data, const char *bytes, size_t len);

#endif
