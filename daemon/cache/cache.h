#ifndef GRAMD_DAEMON_CACHE_CACHE_H
#define GRAMD_DAEMON_CACHE_CACHE_H

/*
 * The bounded cache of peers and usernames. Loop thread only.
 *
 * One pool holds the budget for the whole daemon. Each open session has a cache in it. A peer is stored as
 * the bytes of its answer (peer_write()). It is found by its id and, after a lookup has shown that no other
 * peer has them, by its username and phone number. Absent peers are cached too.
 *
 * What is cached counts for the user whose request has brought it, also in a session that several users
 * share. If the budget is exceeded, the user who has most loses what he has not used for the longest time. So
 * nobody pushes out what others have brought, unless they have more than he. One user alone has the whole
 * budget.
 *
 * The cache holds committed values: it changes when the backend has committed (cache_stored_…,
 * cache_forget_…) or has been read (cache_found()). Only the time of a row can be newer here than in the
 * backend: when a write repeats the row (cache_touch_…). Such a row is *dirty*. A dirty row that is evicted
 * is handed to the owner of the cache, who stores its time before it reads that row from the backend again.
 *
 * Slices point into the cache's memory, and are valid until its next change.
 */

#include <sys/types.h>

#include "../../backends/backend.h"

struct cache_pool;
struct cache;

enum { CACHE_DIRTY_MAX_S = 600 }; /* seconds by which a time may be ahead of the backend's */

/* A dirty row is being evicted: its time must be stored. Must not call into the cache. */
typedef void (*cache_dirty_fn)(void *arg, bool is_names, struct row_time time);

struct cache_stats {
        size_t bytes;
        size_t budget;
        uint64_t entries;
        uint64_t hits;
        uint64_t misses;
        uint64_t evictions;
};

struct cache_pool *cache_pool_new(size_t budget_bytes);
void cache_pool_free(struct cache_pool *pool); /* all its caches have been dropped */
/* A smaller budget is reached in steps: cache_pool_reap(). */
void cache_pool_set_budget(struct cache_pool *pool, size_t budget_bytes);
void cache_pool_stats(const struct cache_pool *pool, struct cache_stats *stats);

/*
 * Frees about `entries` entries of dropped caches, or of what exceeds the budget: in steps, so that a big
 * session does not block the loop. True: there is more to free.
 */
bool cache_pool_reap(struct cache_pool *pool, size_t entries);
/* There is something to reap. */
bool cache_pool_has_surplus(const struct cache_pool *pool);

/* NULL: no memory. */
struct cache *cache_new(struct cache_pool *pool, uid_t uid, cache_dirty_fn dirty, void *arg);
/* What is cached from now on counts for this user; at first for that of cache_new(). */
void cache_count_for(struct cache *cache, uid_t uid);
/* Takes it. The times of dirty rows are lost: call cache_take_dirty() first. */
void cache_drop(struct cache *cache);

enum cache_answer {
        CACHE_MISS, /* ask the backend */
        CACHE_HIT,
        CACHE_ABSENT, /* known not to be there */
};

/* A peer as peer_write() wrote it, and how a name led to it. */
struct cache_hit {
        struct slice packed;
        bool from_table; /* by a row of the usernames table, not by its own username */
        bool has_row_time;
        int64_t row_time;
};

/* Prefetches the peer that the next request will look up; counts neither as hit nor as miss. */
void cache_prefetch_id(const struct cache *cache, int64_t id);

enum cache_answer cache_by_id(struct cache *cache, int64_t id, struct cache_hit *hit);
/* In the protocol's order: the newest last_update_on; of equals, a peer's own username first. */
enum cache_answer cache_by_username(struct cache *cache, struct slice username, struct cache_hit *hit);
/* Newest last_update_on, then the lowest id. */
enum cache_answer cache_by_phone(struct cache *cache, struct slice phone, struct cache_hit *hit);

/*
 * Caches what a lookup in the backend found: all its matches, or none. A peer that is cached already keeps
 * its time, which may be newer. `hit` is the answer, whatever the budget; it is valid until the next call on
 * any cache of the pool. CACHE_MISS: no memory.
 */
enum cache_answer cache_found(struct cache *cache, const struct lookup *lookup, const struct match *matches,
                              size_t n, struct cache_hit *hit);

/* The cached time of this peer's row, else `stored`: for rows that were read from the backend directly. */
int64_t cache_peer_time(const struct cache *cache, int64_t id, int64_t stored);
int64_t cache_names_time(const struct cache *cache, int64_t peer_id, int64_t stored);

/* The backend has committed this. */
void cache_stored_peer(struct cache *cache, const struct peer *peer);
void cache_stored_names(struct cache *cache, const struct peer_names *names);
/* A peer has gained or lost this name or number; a peer's rows in the usernames table have changed. */
void cache_forget_username(struct cache *cache, struct slice username);
void cache_forget_phone(struct cache *cache, struct slice phone);
void cache_forget_names(struct cache *cache, int64_t peer_id);
/*
 * The times of CACHE_KEPT_DIRTY peers, and of as many peers' names, are reported as dirty. Where there are
 * more, the stored ones stay too old.
 */
enum { CACHE_KEPT_DIRTY = 65536 };
void cache_forget_all(struct cache *cache);

/*
 * Does this row repeat what is stored, apart from its time? CACHE_REPEAT: it need not be stored; call
 * cache_touch_…() when its request is answered. CACHE_REPEAT_STORE: it does, but store it like a new row: the
 * stored time is more than CACHE_DIRTY_MAX_S older, or newer than the row's.
 */
enum cache_repeat { CACHE_NEW, CACHE_REPEAT, CACHE_REPEAT_STORE };
enum cache_repeat cache_repeats_peer(const struct cache *cache, const struct peer *peer);
enum cache_repeat cache_repeats_names(const struct cache *cache, const struct peer_names *names);
void cache_touch_peer(struct cache *cache, int64_t id, int64_t last_update_on);
void cache_touch_names(struct cache *cache, int64_t peer_id, int64_t last_update_on);

/*
 * Returns the times of up to `max` dirty rows, peers or names, which are then clean. Before a session closes
 * it is called until it returns 0.
 */
size_t cache_take_dirty(struct cache *cache, bool names, struct row_time *times, size_t max);

#endif
