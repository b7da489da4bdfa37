#ifndef GRAMD_DAEMON_CACHE_CACHE_H
#define GRAMD_DAEMON_CACHE_CACHE_H

/*
 * The bounded cache of peers and usernames. Loop thread only.
 *
 * One pool holds the budget and the order of use for the whole daemon; each open session has a cache
 * in it. A peer is held as the bytes of its answer (peer_write), reachable by id, and, once a lookup
 * has shown that nobody else has them, by its own username and phone number. Misses are held too.
 * What has not been used for longest goes first.
 *
 * The cache holds committed values only: it is changed when the backend has committed (cache_stored_…,
 * cache_forget_…) or has been read (cache_found_…). One thing may be newer here than in the backend:
 * the times of rows that were repeated (cache_touch_…). Such a row is *late*; what is late and must
 * leave the memory is handed to the owner, who stores it, and before the backend is read again.
 *
 * Slices given out borrow the cache's memory until its next change.
 */

#include "../../backends/backend.h"

struct cache_pool;
struct cache;

enum { CACHE_LATE_MAX_S = 600 }; /* a repeated row's time reaches the backend at most this often */

/* A late row is being evicted: its time has to be stored. Must not call back into the cache. */
typedef void (*cache_late_fn)(void *arg, bool is_names, struct row_time time);

struct cache_stats {
        size_t bytes;
        size_t budget;
        uint64_t entries;
        uint64_t hits;
        uint64_t misses;
        uint64_t evictions;
};

struct cache_pool *cache_pool_new(size_t budget_bytes);
void cache_pool_free(struct cache_pool *pool); /* all its caches are gone, or dropped */
/* A smaller one is reached bit by bit: cache_pool_reap(). */
void cache_pool_set_budget(struct cache_pool *pool, size_t budget_bytes);
void cache_pool_stats(const struct cache_pool *pool, struct cache_stats *stats);

/*
 * What a dropped cache held, and what is over a smaller budget, is freed bit by bit: about `entries` of it in
 * a call, so that a big session does not hold up the loop. True: there is more to do.
 */
bool cache_pool_reap(struct cache_pool *pool, size_t entries);
/* There is something to reap. */
bool cache_pool_has_surplus(const struct cache_pool *pool);

struct cache *cache_new(struct cache_pool *pool, cache_late_fn late, void *arg);
void cache_drop(struct cache *cache); /* takes it; rows still late are lost: cache_take_late() first */

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

/* This peer is looked up next: a pipelined look-up costs what it waits for memory, else. Counts as nothing.
 */
void cache_announce_id(const struct cache *cache, int64_t id);

enum cache_answer cache_by_id(struct cache *cache, int64_t id, struct cache_hit *hit);
/* Protocol's order: newest last_update_on, of equals its own username first. */
enum cache_answer cache_by_username(struct cache *cache, struct slice username, struct cache_hit *hit);
/* Newest last_update_on, then the lowest id. */
enum cache_answer cache_by_phone(struct cache *cache, struct slice phone, struct cache_hit *hit);

/*
 * What a lookup of the backend's found: all its matches, or none. Peers that are here already stay as they
 * are (equal, or of a newer time). The answer can be read off `hit` at once, whatever the budget:
 * it holds until the next call on any cache of the pool. CACHE_MISS: no memory.
 */
enum cache_answer cache_found(struct cache *cache, const struct lookup *lookup, const struct match *matches,
                              size_t n, struct cache_hit *hit);

/* The time of this peer's row if it is here, else `stored`: for rows that were read past the cache. */
int64_t cache_peer_time(const struct cache *cache, int64_t id, int64_t stored);
int64_t cache_names_time(const struct cache *cache, int64_t peer_id, int64_t stored);

/* Committed. */
void cache_stored_peer(struct cache *cache, const struct peer *peer);
void cache_stored_names(struct cache *cache, const struct peer_names *names);
/* A name or number was gained or lost by somebody; a peer's rows in the usernames table changed. */
void cache_forget_username(struct cache *cache, struct slice username);
void cache_forget_phone(struct cache *cache, struct slice phone);
void cache_forget_names(struct cache *cache, int64_t peer_id);
void cache_forget_all(struct cache *cache);

/*
 * Does this row repeat what is stored, its time aside? REPEAT: answer it, and cache_touch_…() when the
 * request it came with is answered. LATE: it repeats, but the stored time is over CACHE_LATE_MAX_S older
 * (or is newer than the row's): store it like a new row.
 */
enum cache_repeat { CACHE_NEW, CACHE_REPEAT, CACHE_REPEAT_LATE };
enum cache_repeat cache_repeats_peer(const struct cache *cache, const struct peer *peer);
enum cache_repeat cache_repeats_names(const struct cache *cache, const struct peer_names *names);
void cache_touch_peer(struct cache *cache, int64_t id, int64_t last_update_on);
void cache_touch_names(struct cache *cache, int64_t peer_id, int64_t last_update_on);

/*
 * Takes up to `max` rows that are late, peers or names; they are not late any more. Before a session closes,
 * until it returns 0.
 */
size_t cache_take_late(struct cache *cache, bool names, struct row_time *times, size_t max);

#endif
