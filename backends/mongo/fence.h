#ifndef GRAMD_BACKENDS_MONGO_FENCE_H
#define GRAMD_BACKENDS_MONGO_FENCE_H

/*
 * The entry of a session in gramd.fences: `fence`, the highest that its documents have had, and `taken`, the
 * fence of the last swap that succeeded. A swap's fence is one above these and that of the session's
 * document. `taken` goes with the session, `fence` stays: so fences rise even if a session is created anew.
 *
 * A document whose fence is below `taken` comes from a backup: a newer one may have an owner that is still
 * alive. It is taken only after a watch, like the sessions of another host's instance.
 */

#include "mongo.h"

struct mongo_fences; /* old documents that this daemon has seen, and since when */

struct mongo_fences *mongo_fences_new(void); /* NULL: no memory */
void mongo_fences_free(struct mongo_fences *fences);

/* What a session's document says. */
struct mongo_seen {
        const char *owner; /* empty: none */
        int64_t fence;     /* 0: none */
        int64_t term_ms;   /* the longest that a host may have used */
};

/* A fence that no owner has had, above `above`. */
int mongo_fence_next(struct backend_session *session, mongoc_client_t *client, int64_t above, int64_t *fence,
                     struct fault *fault);
/* The same, to take a session. BACKEND_E_BUSY: its document is old, the watch is not over. */
int mongo_fence_take(struct backend_session *session, mongoc_client_t *client, const struct mongo_seen *seen,
                     int64_t *fence, struct fault *fault);
/* The session cannot be taken yet for another reason. If its document is old, that watch begins now. */
void mongo_fence_watch(struct backend_session *session, mongoc_client_t *client,
                       const struct mongo_seen *seen);

/* No daemon comes to a fence like this: somebody else has written it into a row. */
#define MONGO_FENCE_MAX (INT64_C(1) << 53)

/* The highest fence of the session's rows, if it is above the session's own; else 0. */
int64_t mongo_fence_of_rows(struct backend_session *session, mongoc_client_t *client);

/*
 * A swap has given the document this fence, and the entry gets it before the session is used. 1: it had this
 * fence or a higher one already, so another owner may have used it: the session needs a higher one.
 */
int mongo_fence_note_taken(struct backend_session *session, mongoc_client_t *client, int64_t fence,
                           struct fault *fault);
/* The document is about to be deleted: one that is created anew has no fence, and is not old. */
int mongo_fence_forget_taken(struct backend_session *session, mongoc_client_t *client, struct fault *fault);

#endif
