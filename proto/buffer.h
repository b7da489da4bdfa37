#ifndef GRAMD_PROTO_BUFFER_H
#define GRAMD_PROTO_BUFFER_H

/*
 * A growing byte buffer. Writes do not report failure one by one: if there is no memory, or `limit` would be
 * exceeded, the write sets `failed` and changes nothing else, and later writes are ignored. The owner checks
 * `failed` once, at the end.
 *
 * Buffers hold keys, so a buffer wipes every byte that it gives up: when bytes are consumed or truncated,
 * when the buffer grows or is freed. Bytes that were written to reserved room but never counted in `len` are
 * not wiped.
 *
 * Owned by the struct that embeds it; used by one thread at a time. Zero-initialised: empty, no limit.
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
        bool full; /* it failed because of `limit`, not for lack of memory */
};

void buffer_deinit(struct buffer *buffer);

/* Room for `more` bytes at the end, or NULL and `failed`. The caller writes there, then adds to `len`. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t more);
void buffer_append(struct buffer *buffer, const void *data, size_t len);

/* Removes the first `n` bytes. */
void buffer_consume(struct buffer *buffer, size_t n);

/* Cuts to `len` bytes and clears `failed`: removes a half-written answer. */
void buffer_truncate(struct buffer *buffer, size_t len);

/* Frees the memory of a buffer that has grown and is empty. */
void buffer_shrink(struct buffer *buffer);

/* A msgpack-c `msgpack_packer_write`; `data` is the struct buffer. */
int buffer_msgpack_write(void *data, const char *bytes, size_t len);

#endif
