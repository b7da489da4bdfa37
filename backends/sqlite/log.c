/*
 * Fewer and larger writes to the write-ahead log. SQLite writes each page of a transaction in two calls, its
 * header and the page; a batch of new rows is some hundred pages. This VFS collects writes that follow one
 * another, and writes them at the latest with the page that completes the transaction. So what has not been
 * written is never part of a commit that has returned: a killed process loses nothing that it has answered.
 *
 * SQLite's own VFS opens the file; only the calls below pass through here. A write that is neither a header
 * nor the page after it goes to the file at once, after what has been collected.
 */

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite.h"

enum {
        WAITING_MAX_BYTES = 64 << 10,
        HEADER_BYTES = 24,
        HEADER_COMMITS_AT = 4, /* four bytes, zero unless the page completes a transaction */
        NOWHERE = -1,
};

/* Stands after SQLite's own part of a file. */
struct log {
        sqlite3_io_methods methods; /* the file's own, except those below */
        const sqlite3_io_methods *own;
        unsigned char *waiting; /* WAITING_MAX_BYTES; allocated while a transaction is written */
        size_t n;
        sqlite3_int64 end; /* where the last piece ends, written or waiting */
        bool in_frame;     /* the last piece was a header */
        bool commits;      /* its page completes the transaction */
};

static sqlite3_vfs *own_vfs;
static sqlite3_vfs vfs;

static struct log *log_of(sqlite3_file *file)
{
        return (void *)((char *)file + vfs.szOsFile - sizeof(struct log));
}

static void forget(struct log *log)
{
        free(log->waiting);
        log->waiting = NULL;
        log->n = 0;
        log->end = NOWHERE;
}

/* If it fails, the call that needed it fails, and with it the transaction. */
static int write_waiting(sqlite3_file *file)
{
        struct log *log = log_of(file);
        size_t n = log->n;
        int rc;

        if (n == 0)
                return SQLITE_OK;
        log->n = 0;
        rc = log->own->xWrite(file, log->waiting, (int)n, log->end - (sqlite3_int64)n);
        if (rc != SQLITE_OK)
                forget(log);
        return rc;
}

static int complete(sqlite3_file *file)
{
        struct log *log = log_of(file);
        int rc = write_waiting(file);

        free(log->waiting);
        log->waiting = NULL;
        return rc;
}

/* Is it a header, or the page after one, right after the last piece? Then it may wait, memory permitting. */
static bool may_wait(struct log *log, bool header, size_t n, sqlite3_int64 offset)
{
        if (offset != log->end || n > WAITING_MAX_BYTES || !(header || log->in_frame))
                return false;
        if (!log->waiting)
                log->waiting = malloc(WAITING_MAX_BYTES);
        return log->waiting;
}

static int log_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 offset)
{
        struct log *log = log_of(file);
        size_t n = (size_t)len;
        bool header = n == HEADER_BYTES;
        bool waits = may_wait(log, header, n, offset);
        int rc = SQLITE_OK;

        if (!waits || log->n + n > WAITING_MAX_BYTES)
                rc = write_waiting(file);
        if (rc == SQLITE_OK && !waits)
                rc = log->own->xWrite(file, data, len, offset);
        log->in_frame = waits && header;
        if (rc != SQLITE_OK)
                return rc;
        log->end = offset + len;
        if (!waits)
                return SQLITE_OK;
        assert(log->n + n <= WAITING_MAX_BYTES);
        memcpy(log->waiting + log->n, data, n);
        log->n += n;
        if (header)
                log->commits = memcmp((const char *)data + HEADER_COMMITS_AT, "\0\0\0\0", 4) != 0;
        return !header && log->commits ? complete(file) : SQLITE_OK;
}

/* SQLite reads pages of its own transaction back when the page cache is too small. */
static int log_read(sqlite3_file *file, void *data, int len, sqlite3_int64 offset)
{
        struct log *log = log_of(file);
        int rc = SQLITE_OK;

        if (log->n && offset + len > log->end - (sqlite3_int64)log->n)
                rc = write_waiting(file);
        return rc == SQLITE_OK ? log->own->xRead(file, data, len, offset) : rc;
}

/* SQLite truncates after a rollback: what waits does not count. */
static int log_truncate(sqlite3_file *file, sqlite3_int64 size)
{
        forget(log_of(file));
        return log_of(file)->own->xTruncate(file, size);
}

static int log_close(sqlite3_file *file)
{
        forget(log_of(file));
        return log_of(file)->own->xClose(file);
}

static int open_file(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *out)
{
        struct log *log;
        int rc = own_vfs->xOpen(own_vfs, name, file, flags, out);

        (void)self;
        if (rc != SQLITE_OK || !(flags & SQLITE_OPEN_WAL))
                return rc;
        log = log_of(file);
        *log = (struct log){ .methods = *file->pMethods, .own = file->pMethods, .end = NOWHERE };
        log->methods.xClose = log_close;
        log->methods.xRead = log_read;
        log->methods.xWrite = log_write;
        log->methods.xTruncate = log_truncate;
        file->pMethods = &log->methods;
        return SQLITE_OK;
}

void sqlite_log_register(void)
{
        if (own_vfs)
                return;
        own_vfs = sqlite3_vfs_find(NULL);
        vfs = *own_vfs;
        vfs.zName = SQLITE_LOG_VFS;
        vfs.szOsFile = (own_vfs->szOsFile + 7) / 8 * 8 + (int)sizeof(struct log);
        vfs.xOpen = open_file;
        sqlite3_vfs_register(&vfs, 0);
}
