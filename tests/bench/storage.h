#ifndef GRAMD_TESTS_BENCH_STORAGE_H
#define GRAMD_TESTS_BENCH_STORAGE_H

/*
 * Where a bot keeps its session: behind gramd, through the client library, or in a SQLite file of its own.
 * What goes wrong ends the program.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct storage;

struct storage_kind {
        const char *name;
        /* `place` is a socket, and the session `name` is behind it; or a directory, and it is a file in it.
         */
        struct storage *(*open)(const char *place, const char *name, bool durable);
        void (*put_peers)(struct storage *storage, const uint64_t *numbers, size_t n); /* sample peers */
        void (*put_state)(struct storage *storage, int64_t pts);
        void (*get_peer)(struct storage *storage, uint64_t number);
        void (*close)(struct storage *storage);
};

/* NULL: there is none of this name. */
const struct storage_kind *storage_kind(const char *name);

#endif
