#ifndef GRAMD_TESTS_BENCH_SAMPLE_H
#define GRAMD_TESTS_BENCH_SAMPLE_H

/*
 * The rows of the benchmark: peer number `n` is the same for every server. Ids are spread like real ones, so
 * neighbours by number are not neighbours in a table. No two peers share an id or a text.
 */

#include <stdint.h>

enum { SAMPLE_TEXT_BYTES = 24 };

struct sample {
        int64_t id;
        int64_t access_hash;
        char username[SAMPLE_TEXT_BYTES];
        char phone_number[SAMPLE_TEXT_BYTES];
};

int64_t sample_id(uint64_t n);
void sample_username(uint64_t n, char text[SAMPLE_TEXT_BYTES]);
void sample_phone_number(uint64_t n, char text[SAMPLE_TEXT_BYTES]);
void sample_init(struct sample *sample, uint64_t n);

/* A random generator, fast beside what is measured. The state must not be 0. */
static inline uint64_t sample_random(uint64_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

/* A random number below `limit`, which is below 2^32. */
static inline uint64_t sample_random_below(uint64_t *state, uint64_t limit)
{
        return ((sample_random(state) >> 32) * limit) >> 32;
}

#endif
