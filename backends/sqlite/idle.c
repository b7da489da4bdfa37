/*
 * A session that nobody writes to gives back what it can take again: where thousands are open, that is most
 * of their memory.
 *
 * The index of the log (SQLite's WAL index, which is in memory because the file is locked exclusively) is a
 * block of 32 KiB, most of which is zero. Its pages that are zero go back to the kernel: they read as zero
 * again when they are next used. SQLite does not tell where the block is, so the allocator remembers it.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../wiping.h"
#include "sqlite.h"

enum {
        INDEX_VERSION = 3007000, /* the first number of an index, and of the copy of its header */
        INDEX_HEADER_BYTES = 48,
        FEW_SESSIONS = 64, /* do not matter: they keep what makes them fast */
};

/*
 * The block that this thread has allocated last, while it is there; looked at only during the `open` that has
 * allocated it. And the index of the session that this thread closes.
 */
static _Thread_local unsigned char *last_index, *closed_index;

void *sqlite_index_malloc(void)
{
        last_index = wiping_aligned_alloc((size_t)sysconf(_SC_PAGESIZE), SQLITE_INDEX_BYTES);
        return last_index;
}

void sqlite_index_moves(const void *block)
{
        if (block == last_index)
                last_index = NULL;
        if (block == closed_index)
                closed_index = NULL;
}

void sqlite_index_free(void *block)
{
        bool is_index = block && block == closed_index;

        sqlite_index_moves(block); /* another block may get its address */
        /* Wiped, but not by writing: that would take again what has been given back. */
        if (is_index && madvise(block, SQLITE_INDEX_BYTES, MADV_DONTNEED) == 0)
                free(block);
        else
                wiping_free(block);
}

static bool begins_header(const unsigned char *bytes)
{
        uint32_t version;

        memcpy(&version, bytes, sizeof(version));
        return version == INDEX_VERSION;
}

static void give_back_zeros(unsigned char *index)
{
        const size_t page = (size_t)sysconf(_SC_PAGESIZE);

        for (size_t at = 0; at + page <= SQLITE_INDEX_BYTES; at += page)
                if (index[at] == 0 && memcmp(index + at, index + at + 1, page - 1) == 0)
                        madvise(index + at, page, MADV_DONTNEED);
}

void sqlite_expect_index(struct backend_session *session)
{
        last_index = NULL;
        session->index = NULL;
}

void sqlite_find_index(struct backend_session *session)
{
        if (last_index && begins_header(last_index) && begins_header(last_index + INDEX_HEADER_BYTES))
                session->index = last_index;
        last_index = NULL;
        if (session->index)
                give_back_zeros(session->index);
}

void sqlite_close_index(struct backend_session *session)
{
        closed_index = session->index;
        session->index = NULL;
}

void sqlite_index_closed(void)
{
        closed_index = NULL;
}

int sqlite_sync_and_rest(struct backend_session *session, struct fault *fault)
{
        int error = sqlite_sync(session, fault);

        if (error || !session->path || atomic_load(&session->env->sessions) <= FEW_SESSIONS)
                return error;
        sqlite_forget_statements(session);
        sqlite3_db_release_memory(session->db);
        if (session->index)
                give_back_zeros(session->index);
        return 0;
}
