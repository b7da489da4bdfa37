#ifndef GRAMD_CLIENT_LIB_BLOCK_H
#define GRAMD_CLIENT_LIB_BLOCK_H

/*
 * The memory of one result: a structure, its rows and its texts, handed to the program as one pointer and
 * freed by gram_free(). Whatever was in it is wiped then: it may have been a key.
 */

#include <stddef.h>

#include "../proto/slice.h"

/* `size` zeroed bytes, the result itself, and room for about `more` bytes beside it. NULL: no memory. */
void *block_new(size_t size, size_t more);

/* Zeroed bytes that live as long as the result. NULL: no memory. */
void *block_alloc(void *result, size_t size);
void *block_array(void *result, size_t n, size_t size); /* never NULL for memory that is there, n 0 too */

/* A copy that ends with NUL, cut at the first NUL inside. NULL: no memory. */
char *block_text(void *result, struct slice text);

#endif
