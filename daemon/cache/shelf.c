/*
 * The life of entries: which of them are dirty, eviction, and the shelves of closed sessions, which are
 * emptied in steps.
 *
 * A use only marks its entry. When an entry is the oldest, it is evicted, or, if it has been used, becomes
 * the newest without its mark (second chance). Moving it at each use would touch three other entries, and a
 * cached read spends its time waiting for memory.
 */

#include "entry.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* ---- entries ---- */

static enum cache_index home(const struct entry *entry)
{
        static const enum cache_index homes[] = {
                [ENTRY_PEER] = BY_ID,   [ENTRY_ABSENT] = BY_ID,   [ENTRY_NAMES] = BY_OWNER,
                [ENTRY_NAME] = BY_NAME, [ENTRY_PHONE] = BY_PHONE,
        };

        return homes[entry->kind];
}

void *entry_new(struct shelf *shelf, enum entry_kind kind, size_t size)
{
        struct entry *entry = block_new(shelf->pool, size);

        assert(size >= sizeof(*entry));
        if (!entry)
                return NULL;
        entry->section = shelf->sections;
        entry->kind = kind & 7u;
        if (!table_ready(shelf->pool, &shelf->tables[home(entry)], home(entry))) {
                block_free(shelf->pool, entry);
                return NULL;
        }
        return entry;
}

void entry_insert(struct entry *entry)
{
        table_insert(entry, home(entry));
        order_add(entry);
        entry_shelf(entry)->pool->entries++;
}

void entry_use(struct entry *entry)
{
        entry->used = true;
}

void entry_free(struct entry *entry)
{
        struct cache_pool *pool = entry_shelf(entry)->pool;

        entry_unlist(entry, BY_NAME);
        entry_unlist(entry, BY_PHONE);
        if (entry->dirty)
                row_set_dirty((struct row *)entry, false);
        table_remove(entry, home(entry));
        order_remove(entry);
        assert(pool->entries > 0);
        pool->entries--;
        block_free(pool, entry);
}

void entry_evict(struct entry *entry)
{
        const struct shelf *shelf = entry_shelf(entry);

        if (entry->dirty && shelf->on_dirty)
                shelf->on_dirty(shelf->arg, entry->kind == ENTRY_NAMES,
                                (struct row_time){ entry_id(entry), entry_time(entry) });
        entry_free(entry);
}

void entry_list(struct entry *entry, enum cache_index index)
{
        struct shelf *shelf = entry_shelf(entry);
        bool listed = index == BY_NAME ? entry->by_name : entry->by_phone;

        assert(entry->kind == ENTRY_PEER && (index == BY_NAME || index == BY_PHONE));
        if (listed || !table_ready(shelf->pool, &shelf->tables[index], index))
                return;
        table_insert(entry, index);
        if (index == BY_NAME)
                entry->by_name = true;
        else
                entry->by_phone = true;
}

void entry_unlist(struct entry *entry, enum cache_index index)
{
        if (!(index == BY_NAME ? entry->by_name : entry->by_phone))
                return;
        table_remove(entry, index);
        if (index == BY_NAME)
                entry->by_name = false;
        else
                entry->by_phone = false;
}

void row_set_dirty(struct row *row, bool dirty)
{
        struct row **first = &entry_shelf(&row->entry)->dirty[row->entry.kind == ENTRY_NAMES];

        assert(row->entry.kind == ENTRY_PEER || row->entry.kind == ENTRY_NAMES);
        if (row->entry.dirty == dirty)
                return;
        row->entry.dirty = dirty;
        if (dirty) {
                row->dirty_before = NULL;
                row->dirty_after = *first;
                if (*first)
                        (*first)->dirty_before = row;
                *first = row;
                return;
        }
        *(row->dirty_before ? &row->dirty_before->dirty_after : first) = row->dirty_after;
        if (row->dirty_after)
                row->dirty_after->dirty_before = row->dirty_before;
        row->entry.ahead_s = 0;
}

/* ---- shelves ---- */

struct shelf *shelf_new(struct cache_pool *pool, uid_t uid, cache_dirty_fn on_dirty, void *arg)
{
        struct shelf *shelf = block_new(pool, sizeof(*shelf));

        if (!shelf)
                return NULL;
        shelf->pool = pool;
        shelf->on_dirty = on_dirty;
        shelf->arg = arg;
        if (shelf_count_for(shelf, uid))
                return shelf;
        block_free(pool, shelf);
        return NULL;
}

void shelf_drop(struct shelf *shelf)
{
        assert(shelf->pool->dropped != shelf);
        shelf->on_dirty = NULL;
        shelf->empty_index = 0;
        shelf->empty_bucket = SIZE_MAX;
        shelf->next_dropped = shelf->pool->dropped;
        shelf->pool->dropped = shelf;
}

/*
 * Frees one entry, or moves on from an empty bucket. False: nothing is left. It goes from the last bucket to
 * the first: a table that shrinks meanwhile moves no entry to a bucket that was passed.
 */
static bool empty_step(struct shelf *shelf)
{
        struct table *table = &shelf->tables[shelf->empty_index];
        struct entry *entry;

        if (!table->count) {
                table_free(shelf->pool, table);
                shelf->empty_bucket = SIZE_MAX;
                return ++shelf->empty_index < CACHE_INDEXES;
        }
        if (shelf->empty_bucket >= table->buckets)
                shelf->empty_bucket = table->buckets - 1;
        entry = table_bucket(table, shelf->empty_bucket);
        if (entry)
                entry_free(entry);
        else
                shelf->empty_bucket--;
        return true;
}

void shelf_empty(struct shelf *shelf)
{
        shelf->empty_index = 0;
        shelf->empty_bucket = SIZE_MAX;
        while (empty_step(shelf))
                continue;
}

/* ---- the pool ---- */

struct cache_pool *cache_pool_new(size_t budget_bytes)
{
        struct cache_pool *pool = calloc(1, sizeof(*pool));

        if (!pool || sodium_init() < 0) {
                free(pool);
                return NULL;
        }
        pool->budget = budget_bytes;
        pool->bytes = block_bytes(pool);
        link_init(&pool->users);
        randombytes_buf(pool->text_key, sizeof(pool->text_key));
        randombytes_buf(pool->id_key, sizeof(pool->id_key));
        pool->id_key[1] |= 1;
        pool->id_key[2] |= 1;
        return pool;
}

void cache_pool_free(struct cache_pool *pool)
{
        if (!pool)
                return;
        while (cache_pool_reap(pool, SIZE_MAX))
                continue;
        assert(!pool->entries && link_empty(&pool->users)); /* every cache has been dropped */
        buffer_deinit(&pool->scratch);
        free(pool);
}

void pool_evict(struct cache_pool *pool, size_t entries)
{
        for (; pool->bytes > pool->budget && pool->entries && entries; entries--) {
                struct entry *entry = pool_oldest(pool);

                if (!entry)
                        continue;
                if (entry->used) {
                        entry->used = false;
                        order_remove(entry);
                        order_add(entry);
                } else {
                        entry_evict(entry);
                        pool->evictions++;
                }
        }
}

bool cache_pool_has_surplus(const struct cache_pool *pool)
{
        return pool->dropped || (pool->bytes > pool->budget && pool->entries);
}

bool cache_pool_reap(struct cache_pool *pool, size_t entries)
{
        for (; pool->dropped && entries; entries--) {
                struct shelf *shelf = pool->dropped;

                if (!empty_step(shelf)) {
                        pool->dropped = shelf->next_dropped;
                        shelf_free_sections(shelf);
                        block_free(pool, shelf);
                }
        }
        pool_evict(pool, entries);
        return cache_pool_has_surplus(pool);
}

void cache_pool_set_budget(struct cache_pool *pool, size_t budget_bytes)
{
        pool->budget = budget_bytes;
        pool_evict(pool, EVICT_STEP);
}

void cache_pool_stats(const struct cache_pool *pool, struct cache_stats *stats)
{
        *stats = (struct cache_stats){
                .bytes = pool->bytes,
                .budget = pool->budget,
                .entries = pool->entries,
                .hits = pool->hits,
                .misses = pool->misses,
                .evictions = pool->evictions,
        };
}
