#ifndef GRAMD_BACKENDS_MONGO_INSTANCE_H
#define GRAMD_BACKENDS_MONGO_INSTANCE_H

/*
 * Each start of the daemon is an instance: one document in the database `gramd`, renewed every third of its
 * term on a thread and a connection of its own. As long as its term runs, what its sessions' documents say
 * holds. The thread is also who notices that the deployment is away, and that it is back.
 */

#include "mongo.h"

/* Starts the thread; nothing is waited for. NULL: no memory or no thread. */
struct mongo_instance *mongo_instance_start(struct backend_env *env);
/* Ends the term in order. Every session has been closed. */
void mongo_instance_stop(struct mongo_instance *instance);

/* What sessions are taken for. */
struct mongo_term {
        char id[MONGO_ID_BYTES];
        uint64_t epoch;
        int64_t term_ms;
};

/* 0, or BACKEND_E_UNAVAILABLE: there is no term now. Right after the start it waits for the first. */
int mongo_instance_term(struct mongo_instance *instance, struct mongo_term *term, struct fault *fault);

/*
 * Milliseconds left of the term of the instance with this epoch; 0: it is over, and may go on; -1: the
 * instance is dead, a session of it has to be confirmed. From any thread; never waits.
 */
int64_t mongo_instance_left(const struct mongo_instance *instance, uint64_t epoch);

/* An operation could not reach the deployment: until a renewal succeeds all others fail at once. */
void mongo_instance_failed(struct mongo_instance *instance, const char *why);
bool mongo_instance_is_away(struct mongo_instance *instance, struct fault *fault);

/* Another instance's session is wanted. 0: that instance is dead for good; BACKEND_E_BUSY: it may live. */
int mongo_instance_contend(struct mongo_instance *instance, mongoc_client_t *client, const char *owner,
                           int64_t term_ms, int64_t since, struct fault *fault);

/* The session could not be released: it is tried again until it is known to be. */
void mongo_instance_owe(struct mongo_instance *instance, const struct backend_session *session);
/* One document, by compare-and-swap. 0: it is released, or was not ours any more. */
int mongo_instance_release(mongoc_client_t *client, const char *database, const char *owner, int64_t fence,
                           bson_error_t *error);

#endif
