#ifndef GRAMD_DAEMON_CACHE_ENTRY_H
#define GRAMD_DAEMON_CACHE_ENTRY_H

/*
 * The inside of the cache: entries, the shelves that hold them, the pool that counts their bytes. cache.c and
 * rows.c decide what is cached and what it means; shelf.c stores and evicts entries; table.c finds them;
 * user.c knows for whom they count.
 *
 * A shelf holds the entries of one session, in four indexes. Every entry is one block of memory, in one
 * section of a shelf, in its user's order of eviction, and in one index, its home. A peer may be in two more.
 */

#include <assert.h>

#include "../../proto/buffer.h"
#include "../../proto/link.h"
#include "cache.h"

enum cache_index {
        BY_ID,    /* peers, and ids that no peer has */
        BY_OWNER, /* a peer's rows in the usernames table */
        BY_NAME,  /* peers with a username that leads to no other peer; aliases */
        BY_PHONE, /* the same for phone numbers */
        CACHE_INDEXES,
};

enum entry_kind {
        ENTRY_PEER,
        ENTRY_ABSENT, /* no peer of this id */
        ENTRY_NAMES,  /* all rows of one peer in the usernames table */
        ENTRY_NAME,   /* an alias: what a username leads to, if not to one peer by its own username */
        ENTRY_PHONE,  /* the same for a phone number */
};

struct entry {
        struct entry *older, *newer; /* in its user's order of eviction */
        struct section *section;
        struct entry *chain; /* in its home index */
        uint16_t len;        /* of the bytes after the struct */
        uint16_t ahead_s;    /* seconds by which the time here is ahead of the backend's */
        uint16_t phone_at;   /* where a peer's phone number is in its packed bytes */
        uint8_t name_at;     /* the same for its username */
        unsigned kind : 3;
        bool used : 1; /* since it entered the order of eviction */
        bool dirty : 1;
        bool by_name : 1; /* a peer that is also in this index */
        bool by_phone : 1;
        bool is_former : 1; /* a peer whose stored row has the fence of a former owner */
};

/* An entry with a time, which can be dirty: a peer, or its names. */
struct row {
        struct entry entry;
        struct row *dirty_before, *dirty_after; /* in the list of its shelf, while it is dirty */
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
        uint8_t bytes[]; /* each name after its length of one byte */
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
        uint32_t n;                    /* 0: the name leads to no peer */
        uint32_t rows_epoch;           /* of its shelf, when it was created */
        struct candidate candidates[]; /* the text follows them */
};

/* A hash table that grows and shrinks by one bucket at a time (linear hashing), in segments. */
struct table {
        struct entry ***segments;
        size_t buckets;
        size_t count;
};

/* The user for whom entries count. It lives while it has sections. */
struct cache_user {
        struct link link; /* pool->users */
        uid_t uid;
        size_t n_sections;
        size_t bytes; /* of its entries */
        struct entry *oldest, *newest;
};

/* The part of a shelf that counts for one user. It lives as long as the shelf. */
struct section {
        struct shelf *shelf;
        struct cache_user *user;
        struct section *next; /* of the shelf */
};

struct shelf {
        struct cache_pool *pool;
        struct section *sections; /* the first one takes new entries */
        struct table tables[CACHE_INDEXES];
        struct row *dirty[2]; /* peers, names */
        /* Rises when names that are not cached get a new time: aliases that use their rows are then wrong. */
        uint32_t rows_epoch;
        cache_dirty_fn on_dirty; /* NULL: the shelf has been dropped */
        void *arg;
        struct shelf *next_dropped;
        enum cache_index empty_index; /* how far a dropped shelf has been emptied */
        size_t empty_bucket;
};

struct cache_pool {
        size_t bytes;
        size_t budget;
        uint64_t entries;
        uint64_t hits;
        uint64_t misses;
        uint64_t evictions;
        struct link users;
        struct cache_user *greediest; /* user.c's; NULL: there are no users */
        struct shelf *dropped;
        struct buffer scratch; /* holds the peer that was packed last */
        uint8_t text_key[16];  /* random: strangers choose names, and must not know which collide */
        uint64_t id_key[3];
};

struct cache {
        struct shelf *shelf;
};

enum {
        ENTRY_MAX_BYTES = 16384, /* of a row or an alias; longer ones are not cached */
        EVICT_STEP = 1024,       /* entries that one call looks at, so that it does not block the loop */
};

/* ---- table.c ---- */

/* Zeroed memory that the pool counts. NULL: no memory. */
void *block_new(struct cache_pool *pool, size_t size);
void block_free(struct cache_pool *pool, void *block);
size_t block_bytes(void *block);

/* Called before an insertion. False: no memory for a first bucket. */
bool table_ready(struct cache_pool *pool, struct table *table, enum cache_index index);
void table_insert(struct entry *entry, enum cache_index index);
void table_remove(struct entry *entry, enum cache_index index);
void table_free(struct cache_pool *pool, struct table *table);
struct entry *table_bucket(const struct table *table, size_t n); /* its first entry, or NULL */

int64_t entry_id(const struct entry *entry);                   /* of a peer, an absence, names */
int64_t entry_time(const struct entry *entry);                 /* of a peer, names */
void entry_peer(const struct entry *entry, struct peer *peer); /* slices borrow the entry's memory */
struct slice entry_text(const struct entry *entry, enum cache_index index);

static inline struct shelf *entry_shelf(const struct entry *entry)
{
        return entry->section->shelf;
}

static inline struct slice entry_packed(const struct entry *entry)
{
        assert(entry->kind == ENTRY_PEER);
        return (struct slice){ (const char *)((const struct peer_row *)entry)->packed, entry->len };
}

void shelf_prefetch_id(const struct shelf *shelf, enum cache_index index,
                       int64_t id); /* into the processor's caches */
struct entry *shelf_find_id(const struct shelf *shelf, enum cache_index index, int64_t id);
struct entry *shelf_find_text(const struct shelf *shelf, enum cache_index index, struct slice text);

/* ---- user.c ---- */

/* New entries of the shelf count for this user. False: no memory, and they count as before. */
bool shelf_count_for(struct shelf *shelf, uid_t uid);
/* The shelf has no entries any more. */
void shelf_free_sections(struct shelf *shelf);

/* Adds it to its user's order as the newest, and counts it; the opposite. */
void order_add(struct entry *entry);
void order_remove(struct entry *entry);
/* The oldest entry of the user who has most. NULL: ask again. The pool has entries. */
struct entry *pool_oldest(struct cache_pool *pool);

/* ---- shelf.c ---- */

/* Its entries count for the user `uid`. */
struct shelf *shelf_new(struct cache_pool *pool, uid_t uid, cache_dirty_fn on_dirty, void *arg);
void shelf_drop(struct shelf *shelf);  /* takes it; cache_pool_reap() empties it */
void shelf_empty(struct shelf *shelf); /* at once */

/* `size`: the struct and the bytes after it. Zeroed, and not on the shelf yet. NULL: no memory. */
void *entry_new(struct shelf *shelf, enum entry_kind kind, size_t size);
void entry_insert(struct entry *entry); /* into its home index, as the newest */
void entry_use(struct entry *entry);    /* marks it as used: it is not evicted this round */
void entry_free(struct entry *entry);   /* a dirty time is lost */
void entry_evict(struct entry *entry);  /* hands a dirty time to the owner first */

/* Adds a peer to the index of usernames or phone numbers; removes it. */
void entry_list(struct entry *entry, enum cache_index index);
void entry_unlist(struct entry *entry, enum cache_index index);

void row_set_dirty(struct row *row, bool dirty);

/* While the pool exceeds its budget, looks at up to `entries` entries and evicts those that were not used. */
void pool_evict(struct cache_pool *pool, size_t entries);

/* ---- cache.c ---- */

struct entry *shelf_find_peer(const struct shelf *shelf, int64_t id);
/* Forgets which peers this username or phone number leads to. */
void shelf_forget_text(struct shelf *shelf, enum cache_index index, struct slice text);
/* Caches the peer instead of `old`, which may be NULL. Returns its entry; NULL: it cannot be cached. */
struct entry *shelf_replace_peer(struct shelf *shelf, struct entry *old, const struct peer *peer);

#endif
