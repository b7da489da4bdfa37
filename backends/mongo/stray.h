#ifndef GRAMD_BACKENDS_MONGO_STRAY_H
#define GRAMD_BACKENDS_MONGO_STRAY_H

/*
 * Strays: documents of the shared layout that name this daemon's instance although no session here has them:
 * an operator or a backup has put them back. As long as the instance lives, no other host can take them. So
 * they are released. One looker's only.
 */

#include "mongo.h"

struct mongo_strays;

/* Is a session of this key open here, or being taken? */
typedef bool (*mongo_known_fn)(void *arg, const char *key);

struct mongo_strays *mongo_strays_new(struct backend_env *env, mongo_known_fn is_known, void *arg);
void mongo_strays_free(struct mongo_strays *strays);

/* To be called once a term: a stray is released when it is found for the second time. False: no answer. */
bool mongo_strays_release(struct mongo_strays *strays, mongoc_client_t *client);

#endif
