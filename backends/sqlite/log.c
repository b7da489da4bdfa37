/*
 * What gramd adds to SQLite's write-ahead log, as a VFS of that one file.
 *
 * Fewer and larger writes. SQLite writes each page of a transaction in two pieces, a header and the page; a
 * batch of new rows is some hundred pages. Pieces that follow one another are collected, and written at the
 * latest with the page that completes the transaction. So what has not been written is never part of a commit
 * that has returned: a killed process loses nothing that it has answered.
 *
 * Failed syncs. The kernel takes pages for clean after a sync that failed: the next one would succeed without
 * writing them. So everything that no good sync has covered is kept in memory, and is written again before
 * the next sync. Syncs in between bound that memory. Until one succeeds, the log takes no further write. The
 * same goes for what another process has left: its syncs may have failed. Recovery reads all of that, and
 * checks it.
 *
 * Failed writes. A refused transaction may be in the log in part, or whole: SQLite may also find that it has
 * no memory when all is written. The log is cut where the transaction began, and synced, so that it does not
 * come back after a kill or a power cut.
 *
 *
 *              its first piece      its last page
 *     IDLE ──────────────────► OPEN ─────────────► WHOLE ──► IDLE: SQLite has committed it
 *       ▲                        │                   │
 *       │ cut off            write failed       rolled back
 *       └──────────── TORN ◄─────┴───────────────────┘
 *
 * A transaction that SQLite rolls back while it is OPEN stays where it is: nobody reads it without its last
 * page, and the next transaction is written over it.
 *
 * SQLite's own VFS opens the file; only the calls below pass through here.
 */

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kept.h"
#include "sqlite.h"

enum {
        HEADER_BYTES = 24,
        UNSYNCED_MAX_BYTES = 4 << 20,      /* of a log */
        UNSYNCED_MAX_BYTES_ALL = 32 << 20, /* of all; a log that finds more is synced before it grows */
        FOUND_MAX_BYTES = 64 << 20,        /* of what another process has left; a longer log is not kept */
        FOUND_MAX_BYTES_ALL = 128 << 20,   /* of all such logs that are opened at a time */
        HEADER_COMMITS_AT = 4,             /* four bytes, zero unless the page completes a transaction */
        NONE = -1,
};

/* The transaction at `begin`. */
enum transaction {
        IDLE,  /* it is committed, or there is none */
        OPEN,  /* a part of it has been written */
        WHOLE, /* all of it has been written; SQLite has not said yet that it is committed */
        TORN,  /* it was refused, and may still be in the file: nothing is written before it is cut off */
};

/* Stands after SQLite's own part of a file. */
struct log {
        sqlite3_io_methods methods; /* the file's own, except those below */
        const sqlite3_io_methods *own;
        int dir;          /* of the file; the environment's */
        struct kept kept; /* what no good sync has covered */
        enum transaction transaction;
        sqlite3_int64 begin; /* where it begins */
        sqlite3_int64 after; /* where it ends; while it is OPEN: where the one before it does */
        sqlite3_int64 next;  /* where the last piece ends */
        sqlite3_int64 found; /* bytes that recovery has read of what another process left; NONE */
        bool in_frame;       /* the last piece was a header */
        bool commits;        /* its page completes the transaction */
        bool listed;         /* the directory has been synced since the file was opened */
        bool failed;         /* the last sync */
        bool wipes;          /* the next truncation overwrites it */
        bool unreadable;     /* a read has failed; of any file */
};

static sqlite3_vfs *own_vfs;
static sqlite3_vfs vfs;

static struct log *log_of(sqlite3_file *file)
{
        return (void *)((char *)file + vfs.szOsFile - sizeof(struct log));
}

static void move(struct log *log, enum transaction to)
{
        static const unsigned from[] = {
                [IDLE] = 1u << IDLE | 1u << OPEN | 1u << WHOLE | 1u << TORN, /* OPEN: the log is cut */
                [OPEN] = 1u << IDLE | 1u << OPEN | 1u << WHOLE, /* WHOLE: committed before anybody listened */
                [WHOLE] = 1u << IDLE | 1u << OPEN | 1u << WHOLE, /* again: sums of earlier pages followed */
                [TORN] = 1u << IDLE | 1u << OPEN | 1u << WHOLE | 1u << TORN,
        };

        assert(from[to] & 1u << log->transaction);
        log->transaction = to;
}

/* ---- syncs ---- */

/* Before it grows, it has to be synced. */
static bool is_full(const struct log *log)
{
        return log->kept.bytes >= UNSYNCED_MAX_BYTES || (log->transaction != OPEN && log->kept.bytes > 0 &&
                                                         kept_bytes_of_all() >= UNSYNCED_MAX_BYTES_ALL);
}

static bool must_be_rewritten(const struct log *log)
{
        return log->failed || log->found != NONE;
}

static int rewrite(sqlite3_file *file)
{
        struct log *log = log_of(file);
        int rc = SQLITE_OK;

        if (log->transaction == TORN) {
                rc = log->own->xTruncate(file, log->begin);
                if (rc == SQLITE_OK)
                        move(log, IDLE);
        }
        for (struct chunk *chunk = log->kept.newest; chunk && rc == SQLITE_OK; chunk = chunk->next)
                rc = log->own->xWrite(file, chunk->bytes, (int)chunk->n, chunk->offset);
        return rc;
}

static int write_waiting(sqlite3_file *file);

static int log_sync(sqlite3_file *file, int flags)
{
        struct log *log = log_of(file);
        int rc = write_waiting(file);

        if (rc != SQLITE_OK)
                return rc; /* refuse() has synced the rest, and has noted whether that failed */
        if (must_be_rewritten(log))
                rc = rewrite(file);
        else if (log->listed && !log->kept.newest)
                return SQLITE_OK;            /* a sync has covered everything */
        if (rc == SQLITE_OK && !log->listed) /* SQLite does it too, but ignores that it fails */
                rc = fsync(log->dir) == 0 ? SQLITE_OK : SQLITE_IOERR_DIR_FSYNC;
        if (rc == SQLITE_OK) {
                log->listed = true;
                rc = log->own->xSync(file, flags);
        }
        log->failed = rc != SQLITE_OK;
        if (log->failed)
                return rc;
        log->found = NONE;
        kept_forget_from(&log->kept, 0);
        return SQLITE_OK;
}

/* ---- writes ---- */

/* The transaction has failed. */
static void refuse(sqlite3_file *file)
{
        struct log *log = log_of(file);

        kept_forget_from(&log->kept, log->begin);
        move(log, TORN);
        log->failed = true; /* until it is cut off, and that is synced */
        log->after = log->begin;
        log->in_frame = false;
        log_sync(file, SQLITE_SYNC_NORMAL);
}

static int write_waiting(sqlite3_file *file)
{
        struct log *log = log_of(file);
        struct chunk *chunk = log->kept.newest;
        size_t n = log->kept.waiting;
        int rc;

        if (n == 0)
                return SQLITE_OK;
        log->kept.waiting = 0;
        rc = log->own->xWrite(file, chunk->bytes + chunk->n - n, (int)n,
                              chunk->offset + (sqlite3_int64)(chunk->n - n));
        if (rc != SQLITE_OK)
                refuse(file);
        return rc;
}

/* Writes over what is in memory, and in the file too. */
static int replace(sqlite3_file *file, unsigned char *former, const void *data, int len, sqlite3_int64 offset)
{
        int rc = write_waiting(file);

        if (rc != SQLITE_OK)
                return rc;
        memcpy(former, data, (size_t)len);
        rc = log_of(file)->own->xWrite(file, data, len, offset);
        if (rc != SQLITE_OK)
                refuse(file);
        return rc;
}

static int append(sqlite3_file *file, const void *data, size_t n, sqlite3_int64 offset)
{
        struct log *log = log_of(file);
        int rc = kept_fits(&log->kept, n, offset) ? SQLITE_OK : write_waiting(file);

        if (rc != SQLITE_OK)
                return rc;
        if (!kept_add(&log->kept, data, n, offset)) {
                refuse(file);
                return SQLITE_IOERR_NOMEM;
        }
        log->kept.waiting += n;
        return SQLITE_OK;
}

/*
 * Whether the piece is the first one of a transaction. What lies before `after` belongs to the last one:
 * SQLite writes the headers of its frames again, with other sums. But at 0 the log begins anew.
 */
static bool begins(const struct log *log, sqlite3_int64 offset)
{
        return offset < log->begin || (log->transaction != OPEN && (offset == 0 || offset >= log->after));
}

/* Puts the piece in memory, and writes it if no other is to follow it in the same write. */
static int log_write(sqlite3_file *file, const void *data, int len, sqlite3_int64 offset)
{
        struct log *log = log_of(file);
        size_t n = (size_t)len;
        bool in_order = offset == log->next;
        bool header = n == HEADER_BYTES, page = log->in_frame && in_order && !header;
        unsigned char *former;
        int rc = SQLITE_OK;

        if (is_full(log) || must_be_rewritten(log))
                rc = log_sync(file, SQLITE_SYNC_NORMAL);
        if (rc != SQLITE_OK)
                return rc;
        assert(log->transaction != TORN);
        if (begins(log, offset)) {
                move(log, OPEN);
                log->begin = offset;
        }
        former = kept_find(&log->kept, n, offset);
        rc = former ? replace(file, former, data, len, offset) : append(file, data, n, offset);
        if (rc != SQLITE_OK)
                return rc;
        log->next = offset + len;
        log->in_frame = header;
        if (header)
                log->commits = memcmp((const char *)data + HEADER_COMMITS_AT, "\0\0\0\0", 4) != 0;
        if (in_order && (header || (page && !log->commits)))
                return SQLITE_OK;
        rc = write_waiting(file);
        if (rc == SQLITE_OK && page && log->commits) {
                if (!former)
                        kept_trim(&log->kept, UNSYNCED_MAX_BYTES_ALL / 4);
                move(log, WHOLE);
                log->after = log->next;
        }
        return rc;
}

/* ---- other calls ---- */

/* What recovery reads of a log that was found, from its start on. */
static void keep_found(struct log *log, const void *data, int len, sqlite3_int64 offset)
{
        if (offset != log->found)
                return;
        log->found += len;
        if (log->kept.bytes < FOUND_MAX_BYTES && kept_bytes_of_all() < FOUND_MAX_BYTES_ALL &&
            kept_add(&log->kept, data, (size_t)len, offset))
                return;
        log->found = NONE;
        kept_forget_from(&log->kept, 0);
}

/*
 * SQLite takes EIO for a sign of a damaged file, and says so: but the disk may be well again later. Its check
 * of a file does not tell the two apart either: see sqlite_read_failed().
 */
static int read_file(sqlite3_file *file, void *data, int len, sqlite3_int64 offset)
{
        struct log *log = log_of(file);
        int rc = log->own->xRead(file, data, len, offset);

        if (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ)
                log->unreadable = true;
        return rc == SQLITE_IOERR_CORRUPTFS ? SQLITE_IOERR_READ : rc;
}

/* SQLite reads pages of its own transaction back when the page cache is too small. */
static int log_read(sqlite3_file *file, void *data, int len, sqlite3_int64 offset)
{
        struct log *log = log_of(file);
        int rc = kept_waits(&log->kept, (size_t)len, offset) ? write_waiting(file) : SQLITE_OK;

        if (rc == SQLITE_OK)
                rc = read_file(file, data, len, offset);
        if (rc == SQLITE_OK)
                keep_found(log, data, len, offset);
        return rc;
}

static int write_zeros(sqlite3_file *file, sqlite3_int64 from, sqlite3_int64 to)
{
        static const char zeros[64 << 10];
        const sqlite3_io_methods *own = log_of(file)->own;
        int rc = SQLITE_OK;

        while (from < to && rc == SQLITE_OK) {
                sqlite3_int64 n =
                        to - from < (sqlite3_int64)sizeof(zeros) ? to - from : (sqlite3_int64)sizeof(zeros);

                rc = own->xWrite(file, zeros, (int)n, from);
                from += n;
        }
        return rc == SQLITE_OK ? own->xSync(file, SQLITE_SYNC_NORMAL) : rc;
}

/*
 * Overwrites the file, so that no block that it gives up shows what it was. The start of it goes first: a log
 * with a whole header and half of its pages would be taken for an older one.
 */
static int overwrite(sqlite3_file *file)
{
        enum { START_BYTES = 512 };
        sqlite3_int64 bytes = 0;
        sqlite3_int64 start;
        int rc = log_of(file)->own->xFileSize(file, &bytes);

        start = bytes < START_BYTES ? bytes : START_BYTES;
        if (rc == SQLITE_OK && bytes > 0)
                rc = write_zeros(file, 0, start);
        return rc == SQLITE_OK && bytes > start ? write_zeros(file, start, bytes) : rc;
}

/* SQLite has copied all pages to the database, and synced that. */
static int log_truncate(sqlite3_file *file, sqlite3_int64 size)
{
        struct log *log = log_of(file);
        int rc = log->wipes && size == 0 ? overwrite(file) : SQLITE_OK;

        if (rc != SQLITE_OK)
                return rc;
        log->wipes = false;
        kept_forget_from(&log->kept, size);
        if (log->transaction != TORN || size <= log->begin)
                move(log, IDLE);
        log->after = 0;
        return log->own->xTruncate(file, size);
}

static int log_close(sqlite3_file *file)
{
        kept_forget_from(&log_of(file)->kept, 0);
        return log_of(file)->own->xClose(file);
}

static int open_file(sqlite3_vfs *self, const char *name, sqlite3_file *file, int flags, int *out)
{
        sqlite3_int64 bytes = 0;
        struct log *log;
        int rc;

        (void)self;
        file->pMethods = NULL;
        if (flags & SQLITE_OPEN_SUPER_JOURNAL) /* a name out of a journal: SQLite would delete that file */
                return SQLITE_CANTOPEN;
        rc = own_vfs->xOpen(own_vfs, name, file, flags, out);
        if (rc != SQLITE_OK)
                return rc;
        log = log_of(file);
        *log = (struct log){ .methods = *file->pMethods, .own = file->pMethods, .dir = -1, .next = NONE };
        log->methods.xRead = read_file;
        file->pMethods = &log->methods;
        if (!(flags & SQLITE_OPEN_WAL))
                return SQLITE_OK;
        log->found = log->own->xFileSize(file, &bytes) == SQLITE_OK && bytes == 0 ? NONE : 0;
        log->methods.xClose = log_close;
        log->methods.xRead = log_read;
        log->methods.xWrite = log_write;
        log->methods.xTruncate = log_truncate;
        log->methods.xSync = log_sync;
        return SQLITE_OK;
}

/* ---- the log of a connection ---- */

static sqlite3_file *file_of_db(sqlite3 *db)
{
        sqlite3_file *file = NULL;

        sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
        return file && file->pMethods && file->pMethods->xSync == log_sync ? file : NULL;
}

static struct log *log_of_db(sqlite3 *db)
{
        sqlite3_file *file = file_of_db(db);

        return file ? log_of(file) : NULL;
}

void sqlite_log_attach(sqlite3 *db, int dir)
{
        struct log *log = log_of_db(db);

        if (log)
                log->dir = dir;
}

void sqlite_log_wipe(sqlite3 *db)
{
        struct log *log = log_of_db(db);

        if (log)
                log->wipes = true;
}

void sqlite_overwrite(sqlite3 *db)
{
        sqlite3_file *wal = file_of_db(db), *file = NULL;

        sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
        if (file && file->pMethods)
                overwrite(file);
        if (wal)
                overwrite(wal);
}

void sqlite_log_committed(sqlite3 *db)
{
        struct log *log = log_of_db(db);

        if (log && log->transaction == WHOLE)
                move(log, IDLE);
}

void sqlite_log_rolled_back(sqlite3 *db)
{
        sqlite3_file *file = file_of_db(db);

        if (file && log_of(file)->transaction == WHOLE)
                refuse(file);
}

bool sqlite_log_failed(sqlite3 *db)
{
        struct log *log = log_of_db(db);

        return log && log->failed;
}

bool sqlite_read_failed(sqlite3 *db)
{
        const struct log *log = log_of_db(db);
        sqlite3_file *file = NULL;

        sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
        return (log && log->unreadable) || log_of(file)->unreadable;
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
