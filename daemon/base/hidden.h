#ifndef GRAMD_DAEMON_BASE_HIDDEN_H
#define GRAMD_DAEMON_BASE_HIDDEN_H

/*
 * Auth keys are encrypted while they wait in memory: with a random key of this process, which is in locked
 * memory that is in no core dump. A key is shown only on its way to a client or to the storage. Any thread
 * may call these; an identity is used by one thread at a time.
 */

#include "../../proto/records.h"

/* Before all others, once. False: no memory. */
bool hidden_init(void);
/* False: RLIMIT_MEMLOCK does not allow it, so the process's key may be swapped out. */
bool hidden_is_locked(void);

/* Encrypts the identity's auth key, if it has one that is not hidden. */
void hidden_put(struct identity *identity);
/* Decrypts it in place, until hidden_put(). */
void hidden_take(struct identity *identity);
/* Decrypts a copy; the caller wipes it. The identity has a key. */
void hidden_show(const struct identity *identity, uint8_t key[AUTH_KEY_BYTES]);
/* Both have a key. */
bool hidden_equal(const struct identity *a, const struct identity *b);

#endif
