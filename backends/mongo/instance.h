#ifndef GRAMD_BACKENDS_MONGO_INSTANCE_H
#define GRAMD_BACKENDS_MONGO_INSTANCE_H

/*
 * Each start of the daemon is an instance: a document in the database `gramd`. A thread with its own
 * connection renews it every third of its term. Until the term ends, this daemon owns the sessions whose
 * documents name the instance. The thread also notices when the deployment is away, and when it is back.
 */

#include <time.h>

#include "mongo.h"

/* This clock also counts while the machine is suspended. */
static inline int64_t mongo_boot_ms(void)
{
        struct timespec now;

        clock_gettime(CLOCK_BOOTTIME, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Starts the thread; does not wait for it. NULL: no memory or no thread. */
struct mongo_instance *mongo_instance_start(struct backend_env *env);
/* Ends the instance and its thread. All sessions have been closed. */
void mongo_instance_stop(struct mongo_instance *instance);

/* What a session's document gets when this daemon takes it. */
struct mongo_term {
        char id[MONGO_ID_BYTES];
        uint64_t epoch;
        int64_t term_ms;
};

/* 0, or BACKEND_E_UNAVAILABLE: no term is running. Right after the start it waits for the first attempt. */
int mongo_instance_term(struct mongo_instance *instance, struct mongo_term *term, struct fault *fault);

/*
 * Milliseconds left of the term of the instance with this epoch. 0: it is over, but may be renewed. -1: the
 * instance is dead, and a session of it has to be confirmed. Any thread may call it; it never blocks.
 */
int64_t mongo_instance_left(const struct mongo_instance *instance, uint64_t epoch);

/* An operation could not reach the deployment. Until a renewal succeeds all operations fail at once. */
void mongo_instance_failed(struct mongo_instance *instance, const char *why);
bool mongo_instance_is_away(struct mongo_instance *instance, struct fault *fault);

/* Is it the document of a former start of this daemon: same data directory, same boot? */
bool mongo_instance_is_former(const struct mongo_instance *instance, const bson_t *document);

/* There is something to write now: a release, or the news of one. */
void mongo_instance_hurry(struct mongo_instance *instance);

/* Sessions go on naming the instance after its end: its document stays as it is. Any thread may call it. */
void mongo_instance_leave(struct mongo_instance *instance);

static inline mongoc_collection_t *mongo_instances(mongoc_client_t *client)
{
        return mongoc_client_get_collection(client, MONGO_OWN_DATABASE, "instances");
}

#endif
