#ifndef GRAMD_BACKENDS_MONGO_RIVAL_H
#define GRAMD_BACKENDS_MONGO_RIVAL_H

/*
 * The instances of other daemons. One thread with its own connection reads the documents of those whose
 * sessions are wanted here, all in one query, while something waits. It marks each dead once, when that is
 * due: OWNERSHIP.md.
 */

#include "mongo.h"

struct mongo_rivals;

/* NULL: no memory or no thread. */
struct mongo_rivals *mongo_rivals_start(struct backend_env *env);
void mongo_rivals_stop(struct mongo_rivals *rivals);

/* What a session's document says of its owner. */
struct mongo_owner {
        const char *id;
        int64_t term_ms;
        int64_t since;
};

/*
 * To take a session of another instance. 0: no client can rely on a lease of that instance. 1: it is this
 * daemon's former start, whose clients may. BACKEND_E_BUSY: it may be alive; `fault->wait` is for
 * mongo_rivals_may_open(), if the session's document still names it afterwards.
 */
int mongo_rivals_contend(struct mongo_rivals *rivals, mongoc_client_t *client,
                         const struct mongo_owner *owner, struct fault *fault);

/* `key` is the session's, as in the news of releases. The loop may call it: it never blocks. */
bool mongo_rivals_may_open(struct mongo_rivals *rivals, const struct backend_wait *wait, const char *key);

#endif
