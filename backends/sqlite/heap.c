/*
 * SQLite's memory holds pages and cells with auth keys, and SQLite does not wipe it. So its allocator does:
 * whatever it frees, and what it leaves behind when it moves a block.
 */

#include <string.h>

#include "sqlite.h"

/* SQLite's own allocator. Constant once it is known. */
static sqlite3_mem_methods own;

static void wiping_free(void *block)
{
        if (!block)
                return;
        explicit_bzero(block, (size_t)own.xSize(block));
        own.xFree(block);
}

static void *wiping_realloc(void *block, int size)
{
        int before = own.xSize(block);
        void *moved;

        if (size <= before && size >= before / 2)
                return block;
        moved = own.xMalloc(size);
        if (!moved)
                return NULL;
        memcpy(moved, block, (size_t)(size < before ? size : before));
        wiping_free(block);
        return moved;
}

void sqlite_heap_register(void)
{
        sqlite3_mem_methods wiping;

        if (own.xMalloc || sqlite3_config(SQLITE_CONFIG_GETMALLOC, &own) != SQLITE_OK)
                return;
        wiping = own;
        wiping.xFree = wiping_free;
        wiping.xRealloc = wiping_realloc;
        sqlite3_config(SQLITE_CONFIG_MALLOC, &wiping);
}
