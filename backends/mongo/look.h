#ifndef GRAMD_BACKENDS_MONGO_LOOK_H
#define GRAMD_BACKENDS_MONGO_LOOK_H

/*
 * Looks: the documents of this daemon's sessions are read again, each at least once a term. One that is
 * missing, or has another owner or fence, was changed behind this daemon's back: by a restored backup, an
 * operator, or another host. Threads with connections of their own do that, so that it delays no renewal.
 */

#include "mongo.h"

struct mongo_looks;
struct mongo_looked; /* one session, as the looks know it */

/* NULL: no memory or no thread. */
struct mongo_looks *mongo_looks_start(struct backend_env *env);
void mongo_looks_stop(struct mongo_looks *looks); /* all sessions have ended */

/* A session is about to be taken: from now on a document of this key is no stray. NULL: no memory. */
struct mongo_looked *mongo_looked_new(struct mongo_looks *looks, const char *key);
/* NULL is fine. */
void mongo_looked_end(struct mongo_looks *looks, struct mongo_looked *looked);

/* The document has the session's owner and fence: that was the answer to a request sent at `since_ms`. */
void mongo_looked_is_ours(struct mongo_looks *looks, const struct backend_session *session, int64_t since_ms);

/*
 * Milliseconds for which leases may be given without another look: two terms from the start of the last one.
 * -1: the document is not ours, only a confirmation can tell. Any thread may call it; it never blocks.
 */
int64_t mongo_looked_left(const struct mongo_looks *looks, const struct mongo_looked *looked);

/* Documents of sessions that have ended are to go on naming this daemon's instance. */
void mongo_looks_leave(struct mongo_looks *looks);

#endif
