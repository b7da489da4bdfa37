/* A chain of blocks of growing size. An allocation takes the next bytes of the newest block. */

#include "arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>

enum { FIRST_BLOCK = 1024, LARGEST_BLOCK = 256 * 1024 };

struct arena_block {
        struct arena_block *next;
        size_t size;
        size_t used;
        alignas(max_align_t) char bytes[];
};

static struct arena_block *new_block(const struct arena *arena, size_t least)
{
        size_t size = arena->blocks ? arena->blocks->size * 2 : FIRST_BLOCK;
        struct arena_block *block;

        if (size > LARGEST_BLOCK)
                size = LARGEST_BLOCK;
        if (size < least)
                size = least;
        block = malloc(sizeof(*block) + size);
        if (block)
                *block = (struct arena_block){ .next = arena->blocks, .size = size };
        return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
        size_t aligned = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
        void *bytes;

        if (aligned < size)
                return NULL;
        if (!arena->blocks || arena->blocks->size - arena->blocks->used < aligned) {
                struct arena_block *block = new_block(arena, aligned);

                if (!block)
                        return NULL;
                arena->blocks = block;
        }
        bytes = arena->blocks->bytes + arena->blocks->used;
        arena->blocks->used += aligned;
        return bytes;
}

struct slice arena_copy(struct arena *arena, struct slice slice, bool *failed)
{
        char *bytes;

        if (!slice.data)
                return slice;
        bytes = arena_alloc(arena, slice.len + 1);
        if (!bytes) {
                *failed = true;
                return SLICE_NONE;
        }
        memcpy(bytes, slice.data, slice.len);
        bytes[slice.len] = '\0';
        return (struct slice){ bytes, slice.len };
}

void arena_deinit(struct arena *arena)
{
        while (arena->blocks) {
                struct arena_block *next = arena->blocks->next;

                free(arena->blocks);
                arena->blocks = next;
        }
}

void *array_grow(void *array, size_t n, size_t *cap, size_t element)
{
        size_t wanted = *cap ? *cap * 2 : 16;
        void *grown;

        if (n < *cap)
                return array;
        assert(n < wanted && element > 0);
        grown = reallocarray(array, wanted, element);
        if (grown)
                *cap = wanted;
        return grown;
}
