#include "thread.h"

#include <errno.h>
#include <time.h>

void mongo_cond_init(pthread_cond_t *cond)
{
        pthread_condattr_t attributes;

        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(cond, &attributes);
        pthread_condattr_destroy(&attributes);
}

struct timespec mongo_time_in_us(int64_t us)
{
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += us / 1000000;
        until.tv_nsec += us % 1000000 * 1000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        return until;
}

bool mongo_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until)
{
        return pthread_cond_timedwait(cond, lock, until) != ETIMEDOUT;
}

mongoc_client_t *mongo_connection(mongoc_client_t **client, const mongoc_uri_t *uri)
{
        if (!*client)
                *client = mongoc_client_new_from_uri(uri);
        if (*client)
                mongoc_client_set_error_api(*client, MONGOC_ERROR_API_VERSION_2);
        return *client;
}

void mongo_connection_end(mongoc_client_t **client)
{
        if (*client)
                mongoc_client_destroy(*client);
        *client = NULL;
}
