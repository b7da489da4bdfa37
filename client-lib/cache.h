#ifndef GRAMD_CLIENT_LIB_CACHE_H
#define GRAMD_CLIENT_LIB_CACHE_H

/*
 * The cache of a session: peers, and the identity without its key. The session is watched, so the daemon
 * tells of every change by others, and before their write is acknowledged. It does not tell of changes by
 * this handle: those are removed from the cache when they are submitted.
 *
 * The cache remembers answers, never that something is missing. The `last_update_on` of an entry may be too
 * old: a write that repeats a row changes the stored time, and nobody is told. So an entry can prove that a
 * record is fresh, but not that it has expired.
 *
 * Owned by its session; one thread.
 */

#include "client.h"

struct cache;

/* NULL: no memory. */
struct cache *cache_new(size_t max_bytes);
void cache_free(struct cache *cache);

/* Empties the cache. It neither learns nor answers until cache_start(), when the session is watched. */
void cache_stop(struct cache *cache);
void cache_start(struct cache *cache);

/* Changes when something is forgotten: answers to earlier requests are then not remembered. */
uint64_t cache_epoch(const struct cache *cache);

/* The result of a request, for gram_free(). NULL: ask the daemon. */
void *cache_find(struct cache *cache, const struct call *call, int64_t now_s);

/* Remembers the answer to a request that was submitted at `epoch`, unless it is older than a change. */
void cache_learn(struct cache *cache, uint64_t epoch, const struct call *call,
                 const struct gram_reply *reply);

/* Changes by others. */
void cache_changed(struct cache *cache, const struct gram_changed *changed);

/* Changes by this handle, at their submission. */
void cache_wrote_peers(struct cache *cache, const struct gram_peer *rows, size_t n);
void cache_wrote_names(struct cache *cache, const struct gram_names *rows, size_t n);
void cache_wrote_identity(struct cache *cache);

#endif
