#ifndef GRAMD_TESTS_BENCH_PROTOCOL_H
#define GRAMD_TESTS_BENCH_PROTOCOL_H

/*
 * The requests of the load program: a table with a row for each request to each kind of server. No client
 * library is used, so that only the server is measured.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        ROWS_MAX = 1000,
        REQUEST_MAX_BYTES = 128 * ROWS_MAX,
        ANSWER_MAX_BYTES = 4096,
};

/* Of the key-value area, and of the servers that have nothing else. */
enum { VALUE_BYTES = 60 };

/* One request. */
struct ask {
        uint32_t slot;    /* in the answer too, if the protocol has a place for it */
        int64_t session;  /* gramd's handle */
        uint64_t n;       /* number of its first peer, or key */
        uint32_t rows;    /* number of peers, or values */
        uint32_t answers; /* bytes of an answer, for protocols that count bytes */
};

struct answer {
        size_t bytes;
        uint32_t slot;
        bool is_error;
};

struct operation {
        const char *protocol;
        const char *name;
        bool writes;  /* new peers, in order; otherwise it reads stored peers at random */
        bool by_slot; /* an answer contains its slot; otherwise answers come in order */
        bool opens;   /* first opens a session of gramd */
        size_t (*write)(const struct ask *ask, uint8_t *out);
        /* False: the answer is incomplete. */
        bool (*read)(const struct ask *ask, const uint8_t *in, size_t len, struct answer *answer);
};

/* NULL: no such operation. */
const struct operation *operation_find(const char *protocol, const char *name);

/* The request that tells gramd an id, made from a number that no other connection has. */
size_t gramd_write_hello(uint64_t number, uint8_t *out);

/* The request that opens the session `name`, and the handle in its answer; negative: refused. */
size_t gramd_write_open(const char *name, uint8_t *out);
int64_t gramd_read_open(const uint8_t *in, size_t len);

size_t gramd_write_get_id(const struct ask *ask, uint8_t *out);
size_t gramd_write_get_username(const struct ask *ask, uint8_t *out);
size_t gramd_write_get_phone(const struct ask *ask, uint8_t *out);
size_t gramd_write_update(const struct ask *ask, uint8_t *out);
size_t gramd_write_kv_get(const struct ask *ask, uint8_t *out);
size_t gramd_write_kv_set(const struct ask *ask, uint8_t *out);
bool gramd_read(const struct ask *ask, const uint8_t *in, size_t len, struct answer *answer);

#endif
