#ifndef GRAMD_BACKENDS_WIPING_H
#define GRAMD_BACKENDS_WIPING_H

/*
 * An allocator for libraries that hold auth keys and do not wipe them: it wipes what they free, and what they
 * leave behind when they move a block. Any thread.
 */

#include <stddef.h>

void *wiping_malloc(size_t size);
void *wiping_calloc(size_t n, size_t size);
void *wiping_realloc(void *block, size_t size); /* size 0: frees it, and returns NULL */
void *wiping_aligned_alloc(size_t alignment, size_t size);
void wiping_free(void *block);
size_t wiping_size(void *block); /* what may be used of it: at least what was asked for */

#endif
