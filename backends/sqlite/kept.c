/* What a log keeps in memory until a good sync covers it. */

#include "kept.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
        CHUNK_BYTES = KEPT_PIECE_MAX_BYTES,
        SPARES_MAX = 8, /* chunks for the next log that needs one */
};

static atomic_size_t all_bytes;

static pthread_mutex_t spares_lock = PTHREAD_MUTEX_INITIALIZER;
static struct chunk *spares;
static size_t n_spares;

size_t kept_bytes_of_all(void)
{
        return atomic_load(&all_bytes);
}

/*
 * Chunks come and go with each transaction. free() would give their memory back to the kernel, and the next
 * one would cost a page fault for each of its pages.
 */
static struct chunk *chunk_new(void)
{
        struct chunk *chunk;

        pthread_mutex_lock(&spares_lock);
        chunk = spares;
        if (chunk) {
                spares = chunk->next;
                n_spares--;
        }
        pthread_mutex_unlock(&spares_lock);
        return chunk ? chunk : malloc(sizeof(*chunk) + CHUNK_BYTES);
}

/* The first `n` bytes were in use: they may hold an auth key. */
static void chunk_free(struct chunk *chunk, size_t n)
{
        bool kept = false;

        explicit_bzero(chunk->bytes, n);
        pthread_mutex_lock(&spares_lock);
        if (chunk->size == CHUNK_BYTES && n_spares < SPARES_MAX) {
                chunk->next = spares;
                spares = chunk;
                n_spares++;
                kept = true;
        }
        pthread_mutex_unlock(&spares_lock);
        if (!kept)
                free(chunk);
}

void kept_trim(struct kept *kept, size_t bytes_of_all)
{
        struct chunk *chunk = kept->newest;
        size_t unused = chunk->size - chunk->n;
        struct chunk *trimmed = NULL;

        if (kept_bytes_of_all() > bytes_of_all)
                trimmed = malloc(sizeof(*chunk) + chunk->n);
        if (!trimmed)
                return;
        memcpy(trimmed, chunk, sizeof(*chunk) + chunk->n);
        trimmed->size = trimmed->n;
        chunk_free(chunk, chunk->n);
        kept->newest = trimmed;
        kept->bytes -= unused;
        atomic_fetch_sub(&all_bytes, unused);
}

void kept_forget_from(struct kept *kept, int64_t offset)
{
        struct chunk **at = &kept->newest, *chunk;

        kept->waiting = 0;
        kept->end = 0;
        while ((chunk = *at)) {
                size_t n = chunk->n;

                if (chunk->offset + (int64_t)n > offset)
                        chunk->n = chunk->offset < offset ? (size_t)(offset - chunk->offset) : 0;
                if (chunk->n == 0) {
                        *at = chunk->next;
                        kept->bytes -= chunk->size;
                        atomic_fetch_sub(&all_bytes, chunk->size);
                        chunk_free(chunk, n);
                        continue;
                }
                explicit_bzero(chunk->bytes + chunk->n, n - chunk->n);
                if (chunk->offset + (int64_t)chunk->n > kept->end)
                        kept->end = chunk->offset + (int64_t)chunk->n;
                at = &chunk->next;
        }
}

unsigned char *kept_find(const struct kept *kept, size_t n, int64_t offset)
{
        if (offset >= kept->end)
                return NULL;
        for (struct chunk *chunk = kept->newest; chunk; chunk = chunk->next)
                if (offset >= chunk->offset && offset + (int64_t)n <= chunk->offset + (int64_t)chunk->n)
                        return chunk->bytes + (offset - chunk->offset);
        return NULL;
}

bool kept_fits(const struct kept *kept, size_t n, int64_t offset)
{
        const struct chunk *chunk = kept->newest;

        return chunk && chunk->offset + (int64_t)chunk->n == offset && chunk->n + n <= chunk->size;
}

bool kept_add(struct kept *kept, const void *data, size_t n, int64_t offset)
{
        struct chunk *chunk = kept->newest;

        assert(n <= CHUNK_BYTES);
        if (!kept_fits(kept, n, offset)) {
                chunk = chunk_new();
                if (!chunk)
                        return false;
                *chunk = (struct chunk){ .next = kept->newest, .offset = offset, .size = CHUNK_BYTES };
                kept->newest = chunk;
                kept->bytes += CHUNK_BYTES;
                atomic_fetch_add(&all_bytes, CHUNK_BYTES);
        }
        memcpy(chunk->bytes + chunk->n, data, n);
        chunk->n += n;
        if (offset + (int64_t)n > kept->end)
                kept->end = offset + (int64_t)n;
        return true;
}

bool kept_waits(const struct kept *kept, size_t n, int64_t offset)
{
        const struct chunk *chunk = kept->newest;

        return kept->waiting > 0 &&
               offset + (int64_t)n > chunk->offset + (int64_t)(chunk->n - kept->waiting) &&
               offset < chunk->offset + (int64_t)chunk->n;
}
