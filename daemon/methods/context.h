#ifndef GRAMD_DAEMON_METHODS_CONTEXT_H
#define GRAMD_DAEMON_METHODS_CONTEXT_H

/* What the methods work on. Loop thread only. server.c owns it, and it outlives every call. */

#include "../../proto/message.h"
#include "../session/client.h"
#include "../session/session.h"

enum { METHOD_SLOTS = 128 };

/* Made from the method table at the start: an index by name, and how many parameters a method takes. */
struct method_index {
        struct slice names[METHOD_COUNT];
        uint8_t least[METHOD_COUNT];
        uint8_t most[METHOD_COUNT];
        uint8_t slots[METHOD_SLOTS]; /* a method's number + 1; 0: free */
};

/* A message that was read before its turn. Its frame is borrowed until the end of the read. */
struct ahead {
        const struct method *method; /* NULL: none */
        struct message message;
};

struct context {
        const struct config *config;
        struct log *log;
        struct counters *counters;
        struct store *store;
        struct storages *storages;
        struct sessions *sessions;
        struct clients *clients;
        struct method_index method_index;
        struct ahead ahead;
        int64_t started; /* unix seconds */
};

#endif
