#ifndef GRAMD_BACKENDS_MONGO_INSTANCE_PARTS_H
#define GRAMD_BACKENDS_MONGO_INSTANCE_PARTS_H

/* What instance.c (this daemon's instance) and rival.c (those of others) share. */

#include <pthread.h>
#include <time.h>

#include "instance.h"

enum { PLACE_BYTES = 4400 };

/* Another instance, whose counter has not changed since `since_ms`. */
struct watched {
        char id[MONGO_ID_BYTES];
        int64_t counter;
        int64_t since_ms;
        int64_t used_ms; /* when a session of it was last wanted */
};

/* A session that could not be released yet. */
struct pending_release {
        struct pending_release *next;
        struct mongo_place place;
        char owner[MONGO_ID_BYTES];
        int64_t fence;
        int64_t after_ms; /* of CLOCK_BOOTTIME: not before */
};

/*
 *     UNNAMED ──► NAMED ──► REGISTERED
 *        ▲                      │
 *        └──────────────────────┘ another daemon has marked it dead
 */
enum instance_phase {
        INSTANCE_UNNAMED,
        INSTANCE_NAMED, /* its document may be stored: no answer has said so */
        INSTANCE_REGISTERED,
};

struct mongo_instance {
        struct backend_env *env;
        mongoc_uri_t *uri; /* with timeouts that fit the term */
        mongoc_client_t *client;
        int64_t term_ms;
        char host[256];
        char boot_id[64];
        char place[PLACE_BYTES]; /* the data directory: one daemon at a time holds its lock */

        /* Only the thread uses these. */
        enum instance_phase phase;
        char id[MONGO_ID_BYTES];
        int64_t counter;
        bool logged_away;

        _Atomic int64_t end_ms; /* of CLOCK_BOOTTIME */
        _Atomic uint64_t epoch; /* 0: no instance now */
        _Atomic bool away;
        _Atomic bool left; /* some session names it after its end */

        pthread_t thread;
        pthread_mutex_t lock; /* protects what follows; never held while anything blocks */
        pthread_cond_t wake;  /* wakes the thread */
        pthread_cond_t tried; /* the first attempt has ended */
        bool stopping;
        bool hurry; /* do not wait for the next renewal */
        bool tried_once;
        uint64_t last_epoch;
        char current[MONGO_ID_BYTES]; /* the id of `epoch` */
        char why[256];                /* the last failure */
        struct pending_release *pending;
        struct watched *watched; /* ascending by id */
        size_t n_watched, watched_cap;
        int64_t pruned_ms;
};

static inline mongoc_collection_t *mongo_instances(mongoc_client_t *client)
{
        return mongoc_client_get_collection(client, MONGO_OWN_DATABASE, "instances");
}

#endif
