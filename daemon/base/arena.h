#ifndef GRAMD_DAEMON_BASE_ARENA_H
#define GRAMD_DAEMON_BASE_ARENA_H

/* Many small allocations that are freed together: what a job collects. One thread at a time. */

#include <stddef.h>

#include "../../proto/slice.h"

struct arena_block;

/* Zero-initialised: empty. */
struct arena {
        struct arena_block *blocks;
};

void *arena_alloc(struct arena *arena, size_t size); /* NULL: no memory */
/* A copy of the slice, with a NUL after it; of an absent one, absent. Sets `*failed`: no memory. */
struct slice arena_copy(struct arena *arena, struct slice slice, bool *failed);
void arena_deinit(struct arena *arena);

/* Makes room for element number `n` of a growing array. NULL: no memory; the array has not changed. */
void *array_grow(void *array, size_t n, size_t *cap, size_t element);

#endif
