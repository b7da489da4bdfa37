/* The C library's allocator. malloc_usable_size() tells how much of a block may have been used. */

#include "wiping.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

size_t wiping_size(void *block)
{
        return malloc_usable_size(block);
}

void *wiping_malloc(size_t size)
{
        return malloc(size);
}

void *wiping_calloc(size_t n, size_t size)
{
        return calloc(n, size);
}

void *wiping_aligned_alloc(size_t alignment, size_t size)
{
        return aligned_alloc(alignment, size);
}

void wiping_free(void *block)
{
        if (!block)
                return;
        explicit_bzero(block, wiping_size(block));
        free(block);
}

void *wiping_realloc(void *block, size_t size)
{
        size_t before;
        void *moved;

        if (size == 0) {
                wiping_free(block);
                return NULL;
        }
        if (!block)
                return malloc(size);
        before = wiping_size(block);
        if (size <= before && size >= before / 2) {
                explicit_bzero((char *)block + size, before - size);
                return block;
        }
        moved = malloc(size);
        if (!moved)
                return NULL;
        memcpy(moved, block, size < before ? size : before);
        wiping_free(block);
        return moved;
}
