/*
 * SQLite's memory holds pages and cells with auth keys, and SQLite does not wipe it. So its allocator does:
 * whatever it frees, and what it leaves behind when it moves a block.
 */

#include "../wiping.h"
#include "sqlite.h"

static void *allocate(int size)
{
        return size == SQLITE_INDEX_BYTES ? sqlite_index_malloc() : wiping_malloc((size_t)size);
}

static void *reallocate(void *block, int size)
{
        sqlite_index_moves(block);
        return wiping_realloc(block, (size_t)size);
}

static int size_of(void *block)
{
        return (int)wiping_size(block);
}

static int round_up(int size)
{
        return (size + 7) & ~7;
}

static int start(void *arg)
{
        (void)arg;
        return SQLITE_OK;
}

static void stop(void *arg)
{
        (void)arg;
}

void sqlite_heap_register(void)
{
        static const sqlite3_mem_methods methods = {
                allocate, sqlite_index_free, reallocate, size_of, round_up, start, stop, NULL
        };

        sqlite3_mem_methods known;

        if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &known) == SQLITE_OK && known.xFree != sqlite_index_free)
                sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}
