#ifndef GRAMD_TESTS_SUPPORT_MODEL_DISK_H
#define GRAMD_TESTS_SUPPORT_MODEL_DISK_H

/*
 * To be included once in a test program: what the disk has of one session, `x.session` and its -wal, beside
 * the real files. SQLite's calls and all syncs pass through here, and may fail. As on Linux, a sync that
 * fails marks everything clean: later ones do not write it, unless it is written again. After a power cut,
 * what no sync has covered is there or not, in pieces of 512 bytes; so is a directory entry.
 *
 * The model is in memory that forked processes share: one that is killed leaves it as it was.
 */

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
        MODEL_FILE_BYTES = 12 << 20,
        MODEL_SECTOR = 512,
        MODEL_KILLED = 17, /* exit status */
};

/* An inode. Entry 0 is the session's file, the others are logs: the current one, and what a cut brings back.
 */
struct model_file {
        ino_t inode;
        bool used;
        size_t size, stored_size;
        size_t end; /* it has never been longer */
        unsigned char cached[MODEL_FILE_BYTES];
        unsigned char dirty[MODEL_FILE_BYTES]; /* written, and no sync has begun since */
        unsigned char stored[MODEL_FILE_BYTES];
};

enum { MODEL_FILES = 4, MODEL_NONE = -1 };

struct model {
        struct model_file files[MODEL_FILES];
        int log, stored_log; /* the directory's entry now, and on the disk */
        uint64_t random;

        /* What may fail: chances in 1000. */
        int sync_log, sync_db, sync_directory, write, read, truncate, unlink;
        int calls_to_kill; /* negative: it is not killed */
        size_t n_failed;   /* calls */
};

static struct model *model;
static bool model_sees;
static ssize_t (*model_pwrite)(int fd, const void *data, size_t len, off_t offset);
static ssize_t (*model_pread)(int fd, void *data, size_t len, off_t offset);
static int (*model_truncate)(int fd, off_t size);
static int (*model_unlink)(const char *path);

static unsigned model_random(unsigned below)
{
        model->random = model->random * 6364136223846793005u + 1442695040888963407u;
        return (unsigned)(model->random >> 33) % below;
}

static void model_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* MODEL_TRACE=1 shows what happens. */
static void model_trace(const char *format, ...)
{
        va_list args;

        if (!getenv("MODEL_TRACE"))
                return;
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
}

static bool model_fails(int chance)
{
        bool fails = (int)model_random(1000) < chance;

        model->n_failed += fails;
        return fails;
}

static void model_call(void)
{
        if (model->calls_to_kill >= 0 && model->calls_to_kill-- == 0)
                _exit(MODEL_KILLED);
}

/* ---- files ---- */

static void model_clear(struct model_file *file)
{
        memset(file->cached, 0, file->end);
        memset(file->dirty, 0, file->end);
        memset(file->stored, 0, file->end);
        file->used = false;
        file->size = file->stored_size = file->end = 0;
}

static void model_resize(struct model_file *file, size_t size)
{
        if (size < file->size) {
                memset(file->cached + size, 0, file->size - size);
                memset(file->dirty + size, 0, file->size - size);
        }
        file->size = size;
        if (file->end < size)
                file->end = size;
}

static int model_new_log(void)
{
        for (int i = 1; i < MODEL_FILES; i++) {
                if (i == model->log || i == model->stored_log)
                        continue;
                model_clear(&model->files[i]);
                return i;
        }
        abort();
}

static void model_find_log(const struct stat *stat)
{
        if (model->log == MODEL_NONE || model->files[model->log].inode != stat->st_ino)
                model->log = model_new_log();
        if (!model->files[model->log].used && stat->st_size != 0)
                abort(); /* it has been written to without this model */
        model->files[model->log].used = true;
        model->files[model->log].inode = stat->st_ino;
}

/* NULL: none of the session's files. */
static struct model_file *model_file(int fd)
{
        char link[64], path[4096] = "";
        struct stat stat;
        bool is_log;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (readlink(link, path, sizeof(path) - 1) < 0 || fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode))
                return NULL;
        is_log = strstr(path, "/x.session-wal");
        if (!is_log && !strstr(path, "/x.session"))
                return NULL;
        if (is_log)
                model_find_log(&stat);
        return &model->files[is_log ? model->log : 0];
}

/* A file as it is now is the disk's. */
static void model_take(int number, const char *path)
{
        struct model_file *file = &model->files[number];
        FILE *stream = fopen(path, "rb");
        struct stat stat;

        if (!stream || fstat(fileno(stream), &stat) != 0)
                abort();
        model_clear(file);
        file->used = true;
        file->inode = stat.st_ino;
        model_resize(file, fread(file->cached, 1, sizeof(file->cached), stream));
        file->stored_size = file->size;
        memcpy(file->stored, file->cached, file->size);
        fclose(stream);
}

static void model_store(struct model_file *file, bool all)
{
        size_t end = file->size > file->stored_size ? file->size : file->stored_size;

        for (size_t start = 0; start < end; start += MODEL_SECTOR) {
                if (!all && model_random(2))
                        continue;
                for (size_t i = start; i < start + MODEL_SECTOR; i++)
                        if (file->dirty[i])
                                file->stored[i] = file->cached[i];
        }
        if (all || model_random(2)) {
                if (file->stored_size > file->size)
                        memset(file->stored + file->size, 0, file->stored_size - file->size);
                file->stored_size = file->size;
        }
}

/* Writes what may be there after a power cut to `path`. */
static void model_cut_file(const struct model_file *file, const char *path)
{
        bool sized = model_random(2);
        size_t size = sized ? file->size : file->stored_size;
        unsigned often = model_random(5); /* how much of it has reached the disk */
        FILE *stream = fopen(path, "wb");

        if (!stream)
                abort();
        for (size_t start = 0; start < size; start += MODEL_SECTOR) {
                unsigned char sector[MODEL_SECTOR];
                bool written = model_random(4) < often;

                for (size_t i = 0; i < MODEL_SECTOR; i++)
                        sector[i] = written && file->dirty[start + i] ? file->cached[start + i]
                                                                      : file->stored[start + i];
                fwrite(sector, 1, size - start < MODEL_SECTOR ? size - start : MODEL_SECTOR, stream);
        }
        fclose(stream);
}

/* The files after a power cut. */
static void model_cut(const char *path, const char *log_path)
{
        int log = model_random(2) ? model->log : model->stored_log;

        model_cut_file(&model->files[0], path);
        unlink(log_path);
        if (log != MODEL_NONE)
                model_cut_file(&model->files[log], log_path);
}

/* ---- calls ---- */

static ssize_t model_see_pwrite(int fd, const void *data, size_t len, off_t offset)
{
        struct model_file *file = model_file(fd);
        bool fails = file && model_fails(model->write);
        size_t done = fails ? model_random(3) * len / 2 : len; /* nothing, a half, all */

        if (!file)
                return model_pwrite(fd, data, len, offset);
        model_call();
        if ((size_t)offset + len > MODEL_FILE_BYTES)
                abort();
        if (done > 0) {
                memcpy(file->cached + offset, data, done);
                memset(file->dirty + offset, 1, done);
                if (file->size < (size_t)offset + done)
                        model_resize(file, (size_t)offset + done);
                if (model_pwrite(fd, data, done, offset) != (ssize_t)done)
                        abort();
        }
        model_trace("  write %d: %lld+%zu: %zu%s\n", (int)(file - model->files), (long long)offset, len, done,
                    fails ? " fails" : "");
        model_call();
        errno = model_random(2) ? EIO : ENOSPC;
        return !fails ? (ssize_t)len : done > 0 && done < len ? (ssize_t)done : -1;
}

static ssize_t model_see_pread(int fd, void *data, size_t len, off_t offset)
{
        if (model_file(fd) && model_fails(model->read)) {
                errno = EIO;
                return -1;
        }
        return model_pread(fd, data, len, offset);
}

static int model_see_truncate(int fd, off_t size)
{
        struct model_file *file = model_file(fd);

        if (!file)
                return model_truncate(fd, size);
        model_call();
        if (model_fails(model->truncate)) {
                errno = EIO;
                return -1;
        }
        model_trace("  truncate %d: %lld\n", (int)(file - model->files), (long long)size);
        model_resize(file, (size_t)size);
        return model_truncate(fd, size);
}

static int model_see_unlink(const char *path)
{
        bool is_log = strstr(path, "/x.session-wal");

        model_call();
        if (is_log && model_fails(model->unlink)) {
                errno = EIO;
                return -1;
        }
        model_trace("  unlink %s\n", path);
        if (is_log)
                model->log = MODEL_NONE;
        return model_unlink(path);
}

static int model_sync(int fd)
{
        struct model_file *file = model_sees ? model_file(fd) : NULL;
        struct stat stat;
        bool fails;

        if (!model_sees || fstat(fd, &stat) != 0)
                return 0;
        model_call();
        if (file) {
                fails = model_fails(file == &model->files[0] ? model->sync_db : model->sync_log);
                model_store(file, !fails);
                memset(file->dirty, 0, file->size);
        } else {
                fails = S_ISDIR(stat.st_mode) && model_fails(model->sync_directory);
                if (!fails && S_ISDIR(stat.st_mode)) {
                        if (fstatat(fd, "x.session-wal", &stat, 0) == 0)
                                model_find_log(&stat);
                        model->stored_log = model->log;
                }
        }
        model_trace("  sync %d%s\n", file ? (int)(file - model->files) : -1, fails ? " fails" : "");
        model_call();
        errno = EIO;
        return fails ? -1 : 0;
}

int fsync(int fd)
{
        return model_sync(fd);
}

int fdatasync(int fd)
{
        return model_sync(fd);
}

/* ---- the model's life ---- */

static void model_start(uint64_t seed)
{
        if (!model)
                model = mmap(NULL, sizeof(*model), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (model == MAP_FAILED)
                abort();
        for (int i = 0; i < MODEL_FILES; i++)
                model_clear(&model->files[i]);
        model->log = model->stored_log = MODEL_NONE;
        model->calls_to_kill = -1;
        model->random = seed * 1000003;
}

/* From now on, in this process. */
static void model_see(void)
{
        sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

        model_pwrite = (ssize_t(*)(int, const void *, size_t, off_t))vfs->xGetSystemCall(vfs, "pwrite64");
        model_pread = (ssize_t(*)(int, void *, size_t, off_t))vfs->xGetSystemCall(vfs, "pread64");
        model_truncate = (int (*)(int, off_t))vfs->xGetSystemCall(vfs, "ftruncate");
        model_unlink = (int (*)(const char *))vfs->xGetSystemCall(vfs, "unlink");
        vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)model_see_pwrite);
        vfs->xSetSystemCall(vfs, "pread64", (sqlite3_syscall_ptr)model_see_pread);
        vfs->xSetSystemCall(vfs, "ftruncate", (sqlite3_syscall_ptr)model_see_truncate);
        vfs->xSetSystemCall(vfs, "unlink", (sqlite3_syscall_ptr)model_see_unlink);
        model_sees = true;
}

#endif
