#ifndef GRAMD_BACKENDS_MONGO_KEYS_H
#define GRAMD_BACKENDS_MONGO_KEYS_H

/*
 * Which hosts have which keys: each instance's document has the ids of its keys. What a host without the
 * current key could not open is not sealed with it. Any thread.
 */

#include "mongo.h"

struct mongo_keys;

struct mongo_keys *mongo_keys_new(void); /* NULL: no memory */
void mongo_keys_free(struct mongo_keys *keys);

/* For an instance's document. */
void mongo_keys_append(const struct backend_env *env, bson_t *document);

/*
 * Does every live host have the current key? Else BACKEND_E_STORAGE, and the fault names one. It waits for up
 * to half a term where it has to find out whether a host lives. Hosts are asked each time: one may start at
 * any time. A host that starts after that is refused the session until it has the key.
 */
int mongo_keys_check(struct backend_session *session, mongoc_client_t *client, struct fault *fault);

/*
 * A reload may bring another key at any time: other hosts were not asked about that. BACKEND_E_STORAGE if the
 * current key is not `asked` any more.
 */
int mongo_keys_same(struct backend_session *session, const uint8_t asked[KEY_ID_BYTES], struct fault *fault);

#endif
