#ifndef GRAMD_TESTS_BENCH_PROTOCOL_H
#define GRAMD_TESTS_BENCH_PROTOCOL_H

/*
 * What the load program can say: a table with one row for each request to each kind of server. Requests are
 * written and answers are read by hand, so that what is measured is the server.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        ROWS_MAX = 1000,
        REQUEST_MAX_BYTES = 128 * ROWS_MAX,
        ANSWER_MAX_BYTES = 4096,
};

/* One request to be written. */
struct ask {
        uint32_t slot;    /* comes back with the answer, where the protocol has a place for it */
        int64_t session;  /* gramd's handle */
        uint64_t n;       /* of its first peer */
        uint32_t rows;    /* peers from there on */
        uint32_t answers; /* bytes of an answer, for what is told by their number */
};

struct answer {
        size_t bytes;
        uint32_t slot;
        bool is_error;
};

struct operation {
        const char *protocol;
        const char *name;
        bool writes;  /* its peers are new ones, in order; else those that are there, at random */
        bool by_slot; /* answers name their slot; else they come in order */
        bool opens;   /* a gramd session, first */
        size_t (*write)(const struct ask *ask, uint8_t *out);
        /* False: more bytes must come. */
        bool (*read)(const struct ask *ask, const uint8_t *in, size_t len, struct answer *answer);
};

/* NULL: there is none of these names. */
const struct operation *operation_find(const char *protocol, const char *name);

/* The request that opens the session `name`, and the handle in its answer; negative: refused. */
size_t gramd_write_open(const char *name, uint8_t *out);
int64_t gramd_read_open(const uint8_t *in, size_t len);

size_t gramd_write_get_id(const struct ask *ask, uint8_t *out);
size_t gramd_write_get_username(const struct ask *ask, uint8_t *out);
size_t gramd_write_get_phone(const struct ask *ask, uint8_t *out);
size_t gramd_write_update(const struct ask *ask, uint8_t *out);
bool gramd_read(const struct ask *ask, const uint8_t *in, size_t len, struct answer *answer);

#endif
