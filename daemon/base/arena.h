#ifndef GRAMD_DAEMON_BASE_ARENA_H
#define GRAMD_DAEMON_BASE_ARENA_H

/* Many small allocations that end together: what a job collects. One thread at a time. */

#include <stddef.h>

#include "../../proto/slice.h"

struct arena_block;

/* Zero-initialised: empty. */
struct arena {
        struct arena_block *blocks;
};

void *arena_alloc(struct arena *arena, size_t size); /* NULL: no memory */
/* A copy of the slice; `*failed` is set where there is no memory. An absent one stays absent. */
struct slice arena_copy(struct arena *arena, struct slice slice, bool *failed);
void arena_deinit(struct arena *arena);

/* Room for one more element in a growing array. NULL: no memory, the array is as it was. */
void *array_grow(void *array, size_t n, size_t *cap, size_t element);

#endif
