#ifndef GRAMD_CLIENT_LIB_CACHE_H
#define GRAMD_CLIENT_LIB_CACHE_H

/*
 * What a session has read before, answered without asking again: peers, and the identity without its key. It
 * is kept right by watching: the daemon tells of every change by others before that is acknowledged to them.
 * What this handle changes itself it is not told of; those changes are seen as they are submitted.
 *
 * Only what the daemon has said is remembered, never that something is missing. An entry's `last_update_on`
 * may be too old (a repeated row moves it, and nobody is told), so it serves to find a record fresh, never to
 * find it expired.
 *
 * Owned by its session; one thread.
 */

#include "client.h"

struct cache;

/* NULL: no memory. */
struct cache *cache_new(size_t max_bytes);
void cache_free(struct cache *cache);

/* Empty, and not to be filled until the watch stands. */
void cache_stop(struct cache *cache);
void cache_start(struct cache *cache);

/* Changes with everything that is forgotten: an answer to a question from before is not remembered. */
uint64_t cache_epoch(const struct cache *cache);

/* The result of a request, to be gram_free()d; NULL: the daemon must be asked. */
void *cache_find(struct cache *cache, const struct call *call, int64_t now_s);

/* An answer to a question asked at `epoch`. */
void cache_learn(struct cache *cache, uint64_t epoch, const struct call *call,
                 const struct gram_reply *reply);

void cache_changed(struct cache *cache, const struct gram_changed *changed);

/* This handle's own changes, at their submission. */
void cache_wrote_peers(struct cache *cache, const struct gram_peer *rows, size_t n);
void cache_wrote_names(struct cache *cache, const struct gram_names *rows, size_t n);
void cache_wrote_identity(struct cache *cache);

#endif
