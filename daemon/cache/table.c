/*
 * The indexes: hash tables with linear hashing, whose memory the pool counts. With 2^n <= buckets < 2^(n+1),
 * the bucket of a hash is its low n+1 bits, or, if that bucket does not exist yet, its low n bits. A new
 * bucket takes entries from one other bucket only, so no call takes time in proportion to the number of
 * entries.
 */

#include "entry.h"

#include <assert.h>
#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
        FIRST_BUCKETS = 4, /* most sessions are small */
        SEGMENT_BUCKETS = 256,
        HEAP_HEADER_BYTES = sizeof(size_t), /* what malloc stores before a block */
        CACHE_LINE_BYTES = 64,
        ENTRY_LINES = 3, /* most peers fit */
};

_Static_assert(sizeof(struct entry) == 40, "an entry's fields fit without holes");
_Static_assert(sizeof(struct peer_row) == 72, "so do a peer's");

/* ---- memory, counted ---- */

size_t block_bytes(void *block)
{
        return malloc_usable_size(block) + HEAP_HEADER_BYTES;
}

void *block_new(struct cache_pool *pool, size_t size)
{
        void *block = calloc(1, size);

        if (block)
                pool->bytes += block_bytes(block);
        return block;
}

void block_free(struct cache_pool *pool, void *block)
{
        if (!block)
                return;
        assert(pool->bytes >= block_bytes(block));
        pool->bytes -= block_bytes(block);
        free(block);
}

/* ---- contents of entries ---- */

/* Reads a str or nil that peer_write() wrote, and moves past it. */
static struct slice take_text(const uint8_t **at)
{
        const uint8_t *head = *at;
        size_t len = 0, bytes = 1;

        if (*head == 0xc0) {
                *at = head + 1;
                return SLICE_NONE;
        }
        if (*head < 0xc0) {
                len = *head & 0x1f;
        } else if (*head == 0xd9) {
                len = head[1];
                bytes = 2;
        } else {
                len = (size_t)head[1] << 8 | head[2];
                bytes = 3;
        }
        *at = head + bytes + len;
        return (struct slice){ (const char *)head + bytes, len };
}

static struct cursor peer_cursor(const struct entry *entry, size_t at)
{
        const uint8_t *packed = ((const struct peer_row *)entry)->packed;

        return (struct cursor){ packed + at, packed + entry->len };
}

int64_t entry_id(const struct entry *entry)
{
        struct cursor cursor;
        int64_t id = 0;

        switch (entry->kind) {
        case ENTRY_ABSENT: return ((const struct absence *)entry)->id;
        case ENTRY_NAMES: return ((const struct names_row *)entry)->peer_id;
        default:
                cursor = peer_cursor(entry, 1);
                cursor_int(&cursor, &id);
                return id;
        }
}

int64_t entry_time(const struct entry *entry)
{
        struct cursor cursor;
        int64_t time = 0;

        if (entry->kind == ENTRY_NAMES)
                return ((const struct names_row *)entry)->time;
        assert(entry->kind == ENTRY_PEER);
        cursor = peer_cursor(entry, entry->phone_at);
        take_text(&cursor.at);
        cursor_int(&cursor, &time);
        return time;
}

void entry_peer(const struct entry *entry, struct peer *peer)
{
        struct cursor cursor = peer_cursor(entry, 1);

        *peer = (struct peer){ 0 };
        cursor_int(&cursor, &peer->id);
        if (!cursor_nil(&cursor))
                peer->has_access_hash = cursor_int(&cursor, &peer->access_hash);
        peer->type = take_text(&cursor.at);
        peer->username = take_text(&cursor.at);
        peer->phone_number = take_text(&cursor.at);
        cursor_int(&cursor, &peer->last_update_on);
}

struct slice entry_text(const struct entry *entry, enum cache_index index)
{
        const struct alias *alias = (const struct alias *)entry;
        const uint8_t *at;

        assert(index == BY_NAME || index == BY_PHONE);
        assert(entry->kind != ENTRY_ABSENT && entry->kind != ENTRY_NAMES);
        if (entry->kind != ENTRY_PEER)
                return (struct slice){ (const char *)&alias->candidates[alias->n], entry->len };
        at = ((const struct peer_row *)entry)->packed + (index == BY_NAME ? entry->name_at : entry->phone_at);
        return take_text(&at);
}

/* ---- tables ---- */

static uint64_t hash_id(const struct cache_pool *pool, int64_t id)
{
        uint64_t hash = ((uint64_t)id ^ pool->id_key[0]) * pool->id_key[1];

        hash = (hash ^ hash >> 32) * pool->id_key[2];
        return hash ^ hash >> 29;
}

static uint64_t hash_text(const struct cache_pool *pool, struct slice text)
{
        uint64_t hash;

        _Static_assert(crypto_shorthash_BYTES == sizeof(hash) && crypto_shorthash_KEYBYTES == 16,
                       "as we use it");
        crypto_shorthash((unsigned char *)&hash, (const unsigned char *)text.data, text.len, pool->text_key);
        return hash;
}

static uint64_t hash_entry(const struct entry *entry, enum cache_index index)
{
        const struct cache_pool *pool = entry_shelf(entry)->pool;

        return index <= BY_OWNER ? hash_id(pool, entry_id(entry)) : hash_text(pool, entry_text(entry, index));
}

/* The link to the next entry in the bucket. */
static struct entry **next_in(struct entry *entry, enum cache_index index)
{
        struct peer_row *peer = (struct peer_row *)entry;

        if (entry->kind != ENTRY_PEER || index == BY_ID)
                return &entry->chain;
        return index == BY_NAME ? &peer->name_chain : &peer->phone_chain;
}

static struct entry **bucket(const struct table *table, size_t n)
{
        return &table->segments[n / SEGMENT_BUCKETS][n % SEGMENT_BUCKETS];
}

static struct entry **bucket_of(const struct table *table, uint64_t hash)
{
        uint64_t mask = UINT64_MAX >> __builtin_clzll(table->buckets);
        uint64_t n = hash & mask;

        return bucket(table, n < table->buckets ? n : hash & (mask >> 1));
}

/* The bucket that has the entries of bucket n before that exists. */
static size_t buddy(size_t n)
{
        assert(n > 0);
        return n & (UINT64_MAX >> __builtin_clzll(n)) >> 1;
}

static bool is_power(size_t n)
{
        return (n & (n - 1)) == 0;
}

/* Replaces `*array` by another array with the same contents. */
static bool replace(struct cache_pool *pool, void *array, size_t bytes, size_t new_bytes)
{
        void **place = array, *longer = block_new(pool, new_bytes);

        if (!longer)
                return false;
        if (bytes)
                memcpy(longer, *place, bytes);
        block_free(pool, *place);
        *place = longer;
        return true;
}

/* Room for bucket number table->buckets. */
static bool make_room(struct cache_pool *pool, struct table *table)
{
        size_t n = table->buckets, segments = n / SEGMENT_BUCKETS;
        size_t link = sizeof(struct entry *);

        if (n % SEGMENT_BUCKETS == 0 && is_power(segments) &&
            !replace(pool, &table->segments, segments * sizeof(void *),
                     (segments ? 2 * segments : 1) * sizeof(void *)))
                return false;
        if (n == 0)
                return replace(pool, &table->segments[0], 0, FIRST_BUCKETS * link);
        if (n < SEGMENT_BUCKETS)
                return n < FIRST_BUCKETS || !is_power(n) ||
                       replace(pool, &table->segments[0], n * link, 2 * n * link);
        if (n % SEGMENT_BUCKETS == 0 && !table->segments[segments])
                table->segments[segments] = block_new(pool, SEGMENT_BUCKETS * link);
        return table->segments[segments] != NULL;
}

/* Adds a bucket. Without memory the chains get longer, and the next insertion tries again. */
static void grow(struct cache_pool *pool, struct table *table, enum cache_index index)
{
        size_t n = table->buckets;
        struct entry **from, **to;

        if (!make_room(pool, table))
                return;
        table->buckets++;
        if (n == 0)
                return;
        from = bucket(table, buddy(n));
        to = bucket(table, n);
        *to = NULL;
        while (*from) {
                struct entry *entry = *from;

                if (bucket_of(table, hash_entry(entry, index)) != to) {
                        from = next_in(entry, index);
                        continue;
                }
                *from = *next_in(entry, index);
                *next_in(entry, index) = *to;
                *to = entry;
        }
}

/* Removes a bucket. Frees memory where grow() would allocate it. */
static void shrink(struct cache_pool *pool, struct table *table, enum cache_index index)
{
        size_t n = --table->buckets, segments = n / SEGMENT_BUCKETS;
        struct entry **from = bucket(table, n), **to = bucket(table, buddy(n));

        while (*to)
                to = next_in(*to, index);
        *to = *from;
        *from = NULL;
        if (n < SEGMENT_BUCKETS && is_power(n)) {
                replace(pool, &table->segments[0], n * sizeof(*to), n * sizeof(*to));
        } else if (n % SEGMENT_BUCKETS == 0) {
                block_free(pool, table->segments[segments]);
                table->segments[segments] = NULL;
                if (is_power(segments))
                        replace(pool, &table->segments, segments * sizeof(to), segments * sizeof(to));
        }
}

void table_free(struct cache_pool *pool, struct table *table)
{
        for (size_t n = 0; n < table->buckets; n += SEGMENT_BUCKETS)
                block_free(pool, table->segments[n / SEGMENT_BUCKETS]);
        block_free(pool, table->segments);
        *table = (struct table){ NULL, 0, 0 };
}

/* Most lookups are by id, and a lookup waits for memory at each entry of the chain: keep those short. */
static size_t buckets_for(size_t count, enum cache_index index)
{
        return index == BY_ID ? count + count / 2 : count;
}

bool table_ready(struct cache_pool *pool, struct table *table, enum cache_index index)
{
        size_t wanted = buckets_for(table->count + 1, index);

        for (int i = 0; i < 2 && table->buckets < wanted; i++)
                grow(pool, table, index);
        return table->buckets > 0;
}

void table_insert(struct entry *entry, enum cache_index index)
{
        struct table *table = &entry_shelf(entry)->tables[index];
        struct entry **first;

        assert(table->buckets > 0); /* table_ready() came first */
        first = bucket_of(table, hash_entry(entry, index));

        *next_in(entry, index) = *first;
        *first = entry;
        table->count++;
}

void table_remove(struct entry *entry, enum cache_index index)
{
        struct cache_pool *pool = entry_shelf(entry)->pool;
        struct table *table = &entry_shelf(entry)->tables[index];
        struct entry **link = bucket_of(table, hash_entry(entry, index));

        while (*link != entry) {
                assert(*link);
                link = next_in(*link, index);
        }
        *link = *next_in(entry, index);
        table->count--;
        /* Shrinks only when more than an eighth of the buckets is too many. */
        for (int i = 0; i < 3 && table->buckets > FIRST_BUCKETS + buckets_for(table->count, index) / 8 * 9;
             i++)
                shrink(pool, table, index);
}

/* ---- finding ---- */

void shelf_prefetch_id(const struct shelf *shelf, enum cache_index index, int64_t id)
{
        const struct table *table = &shelf->tables[index];
        uintptr_t entry;

        if (!table->buckets)
                return;
        entry = (uintptr_t)*bucket_of(table, hash_id(shelf->pool, id));
        for (int line = 0; line < ENTRY_LINES; line++)
                __builtin_prefetch((const void *)(entry + (uintptr_t)line * CACHE_LINE_BYTES));
}

struct entry *shelf_find_id(const struct shelf *shelf, enum cache_index index, int64_t id)
{
        const struct table *table = &shelf->tables[index];
        struct entry *entry = table->buckets ? *bucket_of(table, hash_id(shelf->pool, id)) : NULL;

        while (entry && entry_id(entry) != id)
                entry = entry->chain;
        return entry;
}

struct entry *shelf_find_text(const struct shelf *shelf, enum cache_index index, struct slice text)
{
        const struct table *table = &shelf->tables[index];
        struct entry *entry = table->buckets ? *bucket_of(table, hash_text(shelf->pool, text)) : NULL;

        while (entry && !slice_equal(entry_text(entry, index), text))
                entry = *next_in(entry, index);
        return entry;
}

struct entry *table_bucket(const struct table *table, size_t n)
{
        assert(n < table->buckets);
        return *bucket(table, n);
}
