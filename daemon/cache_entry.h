#ifndef GRAMD_DAEMON_CACHE_ENTRY_H
#define GRAMD_DAEMON_CACHE_ENTRY_H

/*
 * The cache's inside: entries, the shelves they stand on, the pool that counts their bytes. cache.c decides
 * what is remembered and what it means; cache_shelf.c keeps it, finds it and throws it out.
 *
 * A shelf is what one session has in the cache: its entries, reachable through four indexes. Every
 * entry is one block of memory, on one shelf, in the pool's order of use, and in one index, which is its
 * home; a peer may be in two more.
 */

#include "../proto/buffer.h"
#include "cache.h"

enum cache_index {
        BY_ID,    /* peers, and ids that are known to be nobody's */
        BY_OWNER, /* a peer's rows in the usernames table */
        BY_NAME,  /* peers that are all that a username leads to; aliases */
        BY_PHONE, /* the same for phone numbers */
        CACHE_INDEXES,
};

enum entry_kind {
        ENTRY_PEER,
        ENTRY_ABSENT, /* no peer of this id */
        ENTRY_NAMES,  /* all rows of one peer in the usernames table */
        ENTRY_NAME,   /* an alias: what a username leads to, where that is not one peer by its own username */
        ENTRY_PHONE,  /* the same for a phone number */
};

struct entry {
        struct entry *older, *newer; /* in the pool's order of use */
        struct shelf *shelf;
        struct entry *chain; /* in its home index */
        uint16_t len;        /* of the bytes behind the struct */
        uint16_t late_by;    /* seconds by which the time here is ahead of the backend's */
        uint16_t phone_at;   /* a peer's phone number, in its packed bytes */
        uint8_t name_at;     /* the same for its username */
        unsigned kind : 3;
        bool late : 1;
        bool by_name : 1; /* a peer that is also in this index */
        bool by_phone : 1;
};

/* What has a time that can be late: a peer, or its names. */
struct row {
        struct entry entry;
        struct row *late_before, *late_behind; /* in its shelf's list, while late */
};

struct peer_row {
        struct row row;
        struct entry *name_chain, *phone_chain;
        uint8_t packed[]; /* peer_write() */
};

struct names_row {
        struct row row;
        int64_t peer_id;
        int64_t time;
        size_t n;
        uint8_t bytes[]; /* each name behind its length, one byte */
};

struct absence {
        struct entry entry;
        int64_t id;
};

struct candidate {
        int64_t peer_id;
        int64_t row_time;
        bool from_table;
        bool has_row_time;
};

struct alias {
        struct entry entry;
        size_t n;                      /* 0: the name leads to nobody */
        struct candidate candidates[]; /* the text stands behind them */
};

/* A hash table that grows and shrinks by one bucket at a time (linear hashing), in segments. */
struct table {
        struct entry ***segments;
        size_t buckets;
        size_t count;
};

struct shelf {
        struct cache_pool *pool;
        struct table tables[CACHE_INDEXES];
        struct row *late[2];   /* peers, names */
        cache_late_fn on_late; /* NULL: dropped, nobody cares any more */
        void *arg;
        struct shelf *next_dropped;
        enum cache_index empty_index; /* where its emptying has come to */
        size_t empty_bucket;
};

struct cache_pool {
        size_t bytes;
        size_t budget;
        uint64_t entries;
        uint64_t hits;
        uint64_t misses;
        uint64_t evictions;
        struct entry *oldest, *newest;
        struct shelf *dropped;
        struct buffer scratch; /* the peer being packed, or given out */
        uint8_t text_key[16];  /* names are chosen by strangers: which collide must not be known */
        uint64_t id_key[3];
};

struct shelf *shelf_new(struct cache_pool *pool, cache_late_fn on_late, void *arg);
void shelf_drop(struct shelf *shelf);  /* takes it; emptied by and by */
void shelf_empty(struct shelf *shelf); /* at once */

struct entry *shelf_find_id(const struct shelf *shelf, enum cache_index index, int64_t id);
struct entry *shelf_find_text(const struct shelf *shelf, enum cache_index index, struct slice text);

/* A new block for an entry of `size` bytes, struct and what stands behind it, zeroed; not on the shelf yet.
 */
void *entry_new(struct shelf *shelf, enum entry_kind kind, size_t size);
void entry_insert(struct entry *entry); /* into its home index, as the newest */
void entry_use(struct entry *entry);    /* is the newest again */
void entry_free(struct entry *entry);   /* as if it had not been there; what was late of it is lost */
void entry_evict(struct entry *entry);  /* the same, but what is late is handed over first */

/* A peer enters and leaves the index of usernames or phone numbers. */
void entry_list(struct entry *entry, enum cache_index index);
void entry_unlist(struct entry *entry, enum cache_index index);

void row_set_late(struct row *row, bool late);

enum { EVICT_STEP = 1024 }; /* entries: what one call may take, so that it does not hold up the loop */

/* Evicts what was used longest ago while the pool is over its budget, at most `entries`; true: still is. */
bool pool_evict(struct cache_pool *pool, size_t entries);

/* ---- what entries hold ---- */

int64_t entry_id(const struct entry *entry);                   /* of a peer, an absence, names */
int64_t entry_time(const struct entry *entry);                 /* of a peer, names */
void entry_peer(const struct entry *entry, struct peer *peer); /* slices borrow the entry's memory */
struct slice entry_text(const struct entry *entry, enum cache_index index);

static inline struct slice entry_packed(const struct entry *entry)
{
        return (struct slice){ (const char *)((const struct peer_row *)entry)->packed, entry->len };
}

#endif
