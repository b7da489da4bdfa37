#ifndef GRAMD_BACKENDS_MONGO_THREAD_H
#define GRAMD_BACKENDS_MONGO_THREAD_H

/* What the backend's own threads share: how they sleep, and a connection of their own. */

#include <mongoc/mongoc.h>
#include <pthread.h>

/* Waits by CLOCK_MONOTONIC. */
void mongo_cond_init(pthread_cond_t *cond);

/* The time so long from now, for mongo_cond_wait(). */
struct timespec mongo_time_in_us(int64_t us);
/* False: the time has come. The wait may end earlier for no reason. */
bool mongo_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until);

/* A connection, made where there is none. NULL: no memory. */
mongoc_client_t *mongo_connection(mongoc_client_t **client, const mongoc_uri_t *uri);
/* After a failure: the next connection resolves the names of the hosts again. NULL is fine. */
void mongo_connection_end(mongoc_client_t **client);

#endif
