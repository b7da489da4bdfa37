#ifndef GRAMD_CLIENT_LIB_BLOCK_H
#define GRAMD_CLIENT_LIB_BLOCK_H

/*
 * The memory of one result: a structure with its rows and texts. The program gets one pointer and frees all
 * of it with gram_free(), which also wipes it: it may hold a key.
 */

#include <stddef.h>

#include "../proto/slice.h"

/* A new result of `size` zeroed bytes, with room for some `more` bytes beside it. NULL: no memory. */
void *block_new(size_t size, size_t more);

/* Zeroed bytes that live as long as the result. NULL: no memory; an array of 0 elements is not NULL. */
void *block_alloc(void *result, size_t size);
void *block_array(void *result, size_t n, size_t size);

/* A copy that ends with NUL. A NUL inside ends it for the program. NULL: no memory. */
char *block_text(void *result, struct slice text);

#endif
