#ifndef GRAMD_DAEMON_CACHE_ENTRY_H
#define GRAMD_DAEMON_CACHE_ENTRY_H

/*
 * The cache's inside: entries, the shelves they stand on, the pool that counts their bytes. cache.c and
 * cache_rows.c decide what is remembered and what it means; cache_shelf.c keeps it and throws it out;
 * cache_table.c finds it.
 *
 * A shelf is what one session has in the cache: its entries, reachable through four indexes. Every
 * entry is one block of memory, on one shelf, in the pool's order of eviction, and in one index, which is its
 * home; a peer may be in two more.
 */

#include <assert.h>

#include "../../proto/buffer.h"
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
        struct entry *older, *newer; /* in the pool's order of eviction */
        struct shelf *shelf;
        struct entry *chain; /* in its home index */
        uint16_t len;        /* of the bytes behind the struct */
        uint16_t late_by;    /* seconds by which the time here is ahead of the backend's */
        uint16_t phone_at;   /* a peer's phone number, in its packed bytes */
        uint8_t name_at;     /* the same for its username */
        unsigned kind : 3;
        bool used : 1; /* since it took its place in the order */
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
        uint32_t n;                    /* 0: the name leads to nobody */
        uint32_t rows_epoch;           /* its shelf's, when it was made */
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
        struct row *late[2]; /* peers, names */
        /* Rises when names that are not held here get a new time: aliases made of rows before are wrong then.
         */
        uint32_t rows_epoch;
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

struct cache {
        struct shelf *shelf;
};

enum {
        ENTRY_MAX_BYTES = 16384, /* of a row or an alias: longer ones are not kept */
        EVICT_STEP = 1024,       /* entries that one call evicts, so that it does not hold up the loop */
};

/* ---- cache_table.c ---- */

/* Memory that counts in the pool, zeroed; NULL: none. */
void *block_new(struct cache_pool *pool, size_t size);
void block_free(struct cache_pool *pool, void *block);
size_t block_bytes(void *block);

/* Before an insertion. False: there is no memory for a first bucket. */
bool table_ready(struct cache_pool *pool, struct table *table, enum cache_index index);
void table_insert(struct entry *entry, enum cache_index index);
void table_remove(struct entry *entry, enum cache_index index);
void table_free(struct cache_pool *pool, struct table *table);
struct entry *table_bucket(const struct table *table, size_t n); /* its first entry, or NULL */

int64_t entry_id(const struct entry *entry);                   /* of a peer, an absence, names */
int64_t entry_time(const struct entry *entry);                 /* of a peer, names */
void entry_peer(const struct entry *entry, struct peer *peer); /* slices borrow the entry's memory */
struct slice entry_text(const struct entry *entry, enum cache_index index);

static inline struct slice entry_packed(const struct entry *entry)
{
        assert(entry->kind == ENTRY_PEER);
        return (struct slice){ (const char *)((const struct peer_row *)entry)->packed, entry->len };
}

void shelf_announce_id(const struct shelf *shelf, enum cache_index index, int64_t id); /* into the caches */
struct entry *shelf_find_id(const struct shelf *shelf, enum cache_index index, int64_t id);
struct entry *shelf_find_text(const struct shelf *shelf, enum cache_index index, struct slice text);

/* ---- cache_shelf.c ---- */

struct shelf *shelf_new(struct cache_pool *pool, cache_late_fn on_late, void *arg);
void shelf_drop(struct shelf *shelf);  /* takes it; emptied by and by */
void shelf_empty(struct shelf *shelf); /* at once */

/* `size`: the struct and what stands behind it. Zeroed, and not on the shelf yet. NULL: no memory. */
void *entry_new(struct shelf *shelf, enum entry_kind kind, size_t size);
void entry_insert(struct entry *entry); /* into its home index, as the newest */
void entry_use(struct entry *entry);    /* stays for another round */
void entry_free(struct entry *entry);   /* as if it had not been there; what was late of it is lost */
void entry_evict(struct entry *entry);  /* the same, but what is late is handed over first */

/* A peer enters and leaves the index of usernames or phone numbers. */
void entry_list(struct entry *entry, enum cache_index index);
void entry_unlist(struct entry *entry, enum cache_index index);

void row_set_late(struct row *row, bool late);

/* While the pool is over its budget, looks at up to `entries` and evicts those that were not used. */
void pool_evict(struct cache_pool *pool, size_t entries);

/* ---- cache.c ---- */

struct entry *shelf_find_peer(const struct shelf *shelf, int64_t id);
/* Nothing is known any more of whom this username or phone number leads to. */
void shelf_forget_text(struct shelf *shelf, enum cache_index index, struct slice text);
/* Puts the peer in the place of `old`, if not NULL; returns its entry, or NULL where it cannot be kept. */
struct entry *shelf_replace_peer(struct shelf *shelf, struct entry *old, const struct peer *peer);

#endif
