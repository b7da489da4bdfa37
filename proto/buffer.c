/*
 * The growing byte buffer for everything that is sent or received. Some of that is key material, and a buffer
 * cannot know which part: so it wipes every byte that it gives up. Bytes beyond `len` were never written or
 * are wiped; growing copies and wipes instead of calling realloc(); freeing wipes the rest. Each byte is
 * wiped once, which costs as much as one more copy.
 */

#include "buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
        BUFFER_FIRST_BYTES = 96, /* holds a peer's answer; thousands of idle connections keep one */
        BUFFER_NEXT_BYTES = 1024,
};

void buffer_deinit(struct buffer *buffer)
{
        size_t limit = buffer->limit;

        if (buffer->data)
                explicit_bzero(buffer->data, buffer->len);
        free(buffer->data);
        *buffer = (struct buffer){ .limit = limit };
}

/* Makes room for `need` bytes in all. It doubles, so that a message takes few allocations. */
static bool buffer_grow(struct buffer *buffer, size_t need)
{
        size_t cap = need > BUFFER_FIRST_BYTES ? BUFFER_NEXT_BYTES : BUFFER_FIRST_BYTES;
        uint8_t *data;

        while (cap < need)
                cap = cap > SIZE_MAX / 2 ? need : cap * 2;
        if (buffer->limit && cap > buffer->limit)
                cap = need > buffer->limit ? need : buffer->limit;
        data = malloc(cap);
        if (!data)
                return false;
        if (buffer->data) {
                memcpy(data, buffer->data, buffer->len);
                explicit_bzero(buffer->data, buffer->len);
                free(buffer->data);
        }
        buffer->data = data;
        buffer->cap = cap;
        return true;
}

/* The slow path of buffer_reserve(). */
static bool __attribute__((noinline)) buffer_make_room(struct buffer *buffer, size_t more)
{
        if (more > SIZE_MAX - buffer->len)
                return false;
        if (buffer->limit && buffer->len + more > buffer->limit) {
                buffer->full = true;
                return false;
        }
        return (buffer->data && more <= buffer->cap - buffer->len) || buffer_grow(buffer, buffer->len + more);
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t more)
{
        if (buffer->failed)
                return NULL;
        if (!buffer->data || more > buffer->cap - buffer->len ||
            (buffer->limit && buffer->len + more > buffer->limit)) {
                if (!buffer_make_room(buffer, more)) {
                        buffer->failed = true;
                        return NULL;
                }
        }
        return buffer->data + buffer->len;
}

void buffer_append(struct buffer *buffer, const void *data, size_t len)
{
        uint8_t *at = buffer_reserve(buffer, len);

        assert(data || !len);
        if (!at || !len)
                return;
        memcpy(at, data, len);
        buffer->len += len;
}

void buffer_consume(struct buffer *buffer, size_t n)
{
        size_t left;

        if (n > buffer->len)
                n = buffer->len;
        if (!n)
                return;
        left = buffer->len - n;
        memmove(buffer->data, buffer->data + n, left);
        explicit_bzero(buffer->data + left, n);
        buffer->len = left;
}

void buffer_truncate(struct buffer *buffer, size_t len)
{
        if (len < buffer->len) {
                explicit_bzero(buffer->data + len, buffer->len - len);
                buffer->len = len;
        }
        buffer->failed = buffer->full = false;
}

void buffer_shrink(struct buffer *buffer)
{
        if (buffer->len || buffer->cap <= BUFFER_FIRST_BYTES)
                return;
        free(buffer->data);
        buffer->data = NULL;
        buffer->cap = 0;
}

int buffer_msgpack_write(void *data, const char *bytes, size_t len)
{
        struct buffer *buffer = data;

        buffer_append(buffer, bytes, len);
        return buffer->failed ? -1 : 0;
}
