/*
 * A result is a chain of chunks. The first one starts with the structure that the program sees; its size is
 * estimated from the answer, so that most results need no second chunk.
 */

#include "block.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gram.h"

enum { CHUNK_MIN_BYTES = 1024 };

struct chunk {
        struct chunk *next; /* in the first chunk: the newest; elsewhere: the one before it */
        size_t cap;
        size_t used;
        _Alignas(max_align_t) unsigned char data[];
};

static struct chunk *chunk_new(size_t cap)
{
        struct chunk *chunk;

        if (cap > SIZE_MAX / 2)
                return NULL;
        chunk = malloc(sizeof(*chunk) + cap);
        if (chunk) {
                chunk->next = NULL;
                chunk->cap = cap;
                chunk->used = 0;
        }
        return chunk;
}

static struct chunk *chunk_of(void *result)
{
        return (struct chunk *)(void *)((unsigned char *)result - offsetof(struct chunk, data));
}

static void *chunk_take(struct chunk *chunk, size_t size)
{
        size_t rounded = (size + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
        void *taken = chunk->data + chunk->used;

        if (rounded < size || rounded > chunk->cap - chunk->used)
                return NULL;
        chunk->used += rounded;
        return memset(taken, 0, rounded);
}

void *block_new(size_t size, size_t more)
{
        struct chunk *chunk = more > SIZE_MAX / 4 ? NULL : chunk_new(size + more + sizeof(max_align_t));

        return chunk ? chunk_take(chunk, size) : NULL;
}

void *block_alloc(void *result, size_t size)
{
        struct chunk *first = chunk_of(result);
        struct chunk *newest = first->next ? first->next : first;
        void *taken = chunk_take(newest, size);
        struct chunk *chunk;

        if (taken || size > SIZE_MAX / 4)
                return taken;
        chunk = chunk_new(size + CHUNK_MIN_BYTES);
        if (!chunk)
                return NULL;
        chunk->next = first->next;
        first->next = chunk;
        return chunk_take(chunk, size);
}

void *block_array(void *result, size_t n, size_t size)
{
        assert(size);
        return n > SIZE_MAX / 4 / size ? NULL : block_alloc(result, n * size);
}

char *block_text(void *result, struct slice text)
{
        char *copy = block_alloc(result, text.len + 1);

        if (copy && text.len)
                memcpy(copy, text.data, text.len);
        return copy;
}

GRAM_API void gram_free(void *result)
{
        struct chunk *chunk = result ? chunk_of(result) : NULL;

        while (chunk) {
                struct chunk *next = chunk->next;

                explicit_bzero(chunk->data, chunk->used);
                free(chunk);
                chunk = next;
        }
}
