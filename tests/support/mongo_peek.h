#ifndef GRAMD_TESTS_SUPPORT_MONGO_PEEK_H
#define GRAMD_TESTS_SUPPORT_MONGO_PEEK_H

/* Reads what a server holds, on a connection of the test's own, not through a daemon. */

#include <stdint.h>

#include "mongo_server.h"

struct mongo_peek;

struct mongo_peek *mongo_peek_new(const struct mongo_server *server);
void mongo_peek_end(struct mongo_peek **peek);
#define MONGO_PEEK __attribute__((cleanup(mongo_peek_end))) struct mongo_peek *

struct mongo_peer {
        bool exists;
        int64_t access_hash;
        int64_t fence;
};
/* Of this session, in whichever layout it is. */
struct mongo_peer mongo_peek_peer(struct mongo_peek *peek, const char *name, int64_t id);
/* Runs one command, as JSON, on the database admin. If it fails, so does the test. */
void mongo_peek_command(struct mongo_peek *peek, const char *json);

#endif
