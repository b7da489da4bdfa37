#ifndef GRAMD_BACKENDS_SQLITE_KEPT_H
#define GRAMD_BACKENDS_SQLITE_KEPT_H

/*
 * What a log keeps in memory until a good sync covers it. One thread at a time uses a log's; chunks that are
 * free are shared by all.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEPT_PIECE_MAX_BYTES = (64 << 10) + 24 }; /* recovery reads a header and its page in one piece */

/* Bytes that follow one another in the log. Chunks do not overlap: the pieces of a log are on a grid. */
struct chunk {
        struct chunk *next;
        int64_t offset;
        size_t n;
        size_t size;
        unsigned char bytes[];
};

/* Zero-initialised: empty. */
struct kept {
        struct chunk *newest;
        size_t bytes;   /* of all chunks, with what they do not use */
        size_t waiting; /* bytes at the end of the newest chunk that are still to be written to the file */
        int64_t end;    /* of the chunk that ends last */
};

/* Of all logs of the process. */
size_t kept_bytes_of_all(void);

/* Adds a piece that is not there yet. False: no memory. */
bool kept_add(struct kept *kept, const void *data, size_t n, int64_t offset);
/* Whether kept_add() would put the piece behind the last one. */
bool kept_fits(const struct kept *kept, size_t n, int64_t offset);
/* Where the piece is, or NULL. */
unsigned char *kept_find(const struct kept *kept, size_t n, int64_t offset);
/*
 * Whether a part of it has still to be written. The newest chunk need not be the one that ends last: later
 * ones may be of a transaction that was rolled back.
 */
bool kept_waits(const struct kept *kept, size_t n, int64_t offset);
/* Forgets and wipes what stands at `offset` and after it. */
void kept_forget_from(struct kept *kept, int64_t offset);
/* If all logs keep more than `bytes_of_all`: gives back what the newest chunk does not use. */
void kept_trim(struct kept *kept, size_t bytes_of_all);

#endif
