#ifndef GRAMD_TESTS_BENCH_STORAGE_H
#define GRAMD_TESTS_BENCH_STORAGE_H

/*
 * A bot's storage: gramd, through the client library, or a SQLite file of the bot. An error ends the program.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct storage;

struct storage_kind {
        const char *name;
        /* `place` is gramd's socket, or the directory of the file `name`. */
        struct storage *(*open)(const char *place, const char *name, bool durable);
        void (*put_peers)(struct storage *storage, const uint64_t *numbers, size_t n); /* sample peers */
        void (*put_state)(struct storage *storage, int64_t pts);
        void (*get_peer)(struct storage *storage, uint64_t number);
        void (*close)(struct storage *storage);
};

/* NULL: no storage of this name. */
const struct storage_kind *storage_kind(const char *name);

#endif
