/* Calls on descriptors: files of the data directory, and the sockets of clients. */

#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- opening, closing ---- */

static int open_in(int dir, const char *path, int flags, mode_t mode)
{
        const char *name = shim_name(dir, path);
        enum operation operation = OP_OPEN;
        struct verdict verdict;
        struct entry entry;
        struct stat stat;
        int fd, error;

        if (!name) {
                fd = real_openat(dir, path, flags, mode);
                shim_forget(fd, false);
                return fd;
        }
        if (flags & O_CREAT && fstatat(dir, path, &stat, AT_SYMLINK_NOFOLLOW) != 0)
                operation = OP_CREATE;
        verdict = shim_enter(operation, shim_object(name), name);
        errno = verdict.error;
        fd = verdict.error ? -1 : real_openat(dir, path, flags, mode);
        error = errno;
        entry = shim_entry(operation, shim_object(name), fd);
        entry.fd = fd;
        entry.offset = flags;
        entry.flags = shim_flags(&verdict);
        entry.name_bytes = (uint32_t)strlen(name);
        shim_note(entry, name, NULL, 0);
        if (fd >= 0)
                shim_track(fd, name);
        shim_leave(error);
        return fd;
}

#define MODE_OF(flags, mode)                                                                                 \
        do {                                                                                                 \
                if ((flags) & (O_CREAT | O_TMPFILE)) {                                                       \
                        va_list list;                                                                        \
                        va_start(list, flags);                                                               \
                        (mode) = va_arg(list, mode_t);                                                       \
                        va_end(list);                                                                        \
                }                                                                                            \
        } while (0)

int open(const char *path, int flags, ...)
{
        mode_t mode = 0;

        shim_start();
        MODE_OF(flags, mode);
        return open_in(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
        mode_t mode = 0;

        shim_start();
        MODE_OF(flags, mode);
        return open_in(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
        mode_t mode = 0;

        shim_start();
        MODE_OF(flags, mode);
        return open_in(dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
        mode_t mode = 0;

        shim_start();
        MODE_OF(flags, mode);
        return open_in(dir, path, flags, mode);
}

/* The C library's own would not come through here. One at a time in a process. */
int mkostemp(char *name, int flags)
{
        snprintf(strrchr(name, '.'), sizeof(".XXXXXX"), ".%06x", (unsigned)getpid() & 0xffffff);
        return openat(AT_FDCWD, name, flags | O_RDWR | O_CREAT | O_EXCL, 0600);
}

/* Closes it whatever a rule says: a descriptor that stays open would be the shim's own leak. */
int close(int fd)
{
        struct file *file;
        struct verdict verdict;
        int result, error;

        shim_start();
        file = shim_file(fd);
        if (!file) {
                shim_forget(fd, false);
                return real_close(fd);
        }
        verdict = shim_enter(OP_CLOSE, file->object, file->name);
        result = real_close(fd);
        error = errno;
        shim_note_fd(OP_CLOSE, fd, result, 0, &verdict);
        file->tracked = false;
        if (verdict.error) {
                result = -1;
                error = verdict.error;
        }
        shim_leave(error);
        return result;
}

int closedir(DIR *directory)
{
        struct file *file;

        shim_start();
        file = shim_file(dirfd(directory));
        if (file)
                file->tracked = false;
        return real_closedir(directory);
}

/* ---- bytes ---- */

static size_t bytes_of(const struct iovec *data, int n)
{
        size_t total = 0;

        for (int i = 0; i < n; i++)
                total += data[i].iov_len;
        return total;
}

/* Does the file hold these bytes there already? */
static bool holds(int fd, const struct iovec *data, off_t offset)
{
        char *now = malloc(data->iov_len);
        bool same = now && real_pread(fd, now, data->iov_len, offset) == (ssize_t)data->iov_len &&
                    memcmp(now, data->iov_base, data->iov_len) == 0;

        free(now);
        return same;
}

/* Under the lock. `offset` -1: at the descriptor's position. */
static ssize_t write_now(int fd, const struct iovec *data, off_t offset, struct verdict *verdict)
{
        size_t len = data->iov_len;

        errno = verdict->error;
        if (verdict->error && !verdict->late)
                return -1;
        if (verdict->swallow && shim_file(fd)->sync_failed && offset >= 0 && holds(fd, data, offset))
                verdict->ignore = true;
        if (verdict->ignore)
                return (ssize_t)len;
        if (verdict->shorten >= 0 && (size_t)verdict->shorten < len)
                len = (size_t)verdict->shorten;
        return offset >= 0 ? real_pwrite(fd, data->iov_base, len, offset)
                           : real_write(fd, data->iov_base, len);
}

static ssize_t write_file(int fd, const void *bytes, size_t len, off_t offset)
{
        const struct iovec data = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
        struct file *file = shim_file(fd);
        struct verdict verdict = shim_enter(OP_WRITE, file->object, file->name);
        off_t at = offset >= 0 ? offset : lseek(fd, 0, SEEK_CUR);
        ssize_t n = write_now(fd, &data, offset, &verdict);
        int error = errno;
        struct entry entry = shim_entry(OP_WRITE, file->object, n);

        entry.fd = fd;
        entry.offset = at;
        entry.flags = shim_flags(&verdict);
        entry.name_bytes = (uint32_t)strlen(file->name);
        entry.data_bytes = n > 0 ? (uint32_t)n : 0;
        if (verdict.late) {
                entry.result = n = -1;
                entry.error = error = verdict.error;
        }
        shim_note(entry, file->name, &data, 1);
        shim_leave(error);
        return n;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
        shim_start();
        return shim_file(fd) ? write_file(fd, data, len, offset) : real_pwrite(fd, data, len, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset)
{
        return pwrite(fd, data, len, offset);
}

/* Under the lock, after the call. */
static void note_sent(int fd, const struct iovec *data, int n, ssize_t result)
{
        struct entry entry = shim_entry(OP_SEND, OBJECT_OTHER, result);

        entry.fd = fd;
        entry.data_bytes = result > 0 ? (uint32_t)result : 0;
        if (result > 0)
                shim_note(entry, NULL, data, n);
}

ssize_t write(int fd, const void *data, size_t len)
{
        const struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };
        ssize_t n;
        int error;

        shim_start();
        if (shim_file(fd))
                return write_file(fd, data, len, -1);
        if (!shim_is_client(fd))
                return real_write(fd, data, len);
        shim_lock();
        n = real_write(fd, data, len);
        error = errno;
        note_sent(fd, &part, 1, n);
        shim_leave(error);
        return n;
}

/* To a file: as one write of all the bytes. */
static ssize_t writev_file(int fd, const struct iovec *data, int n, off_t offset)
{
        size_t len = bytes_of(data, n);
        char *all = malloc(len + 1), *to = all;
        ssize_t result;
        int error;

        if (!all)
                return -1;
        for (int i = 0; i < n; i++)
                to = mempcpy(to, data[i].iov_base, data[i].iov_len);
        result = write_file(fd, all, len, offset);
        error = errno;
        free(all);
        errno = error;
        return result;
}

ssize_t writev(int fd, const struct iovec *data, int n)
{
        ssize_t result;
        int error;

        shim_start();
        if (shim_file(fd))
                return writev_file(fd, data, n, -1);
        if (!shim_is_client(fd))
                return real_writev(fd, data, n);
        shim_lock();
        result = real_writev(fd, data, n);
        error = errno;
        note_sent(fd, data, n, result);
        shim_leave(error);
        return result;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
        ssize_t result;
        int error;

        shim_start();
        if (!shim_is_client(fd))
                return real_sendmsg(fd, message, flags);
        shim_lock();
        result = real_sendmsg(fd, message, flags);
        error = errno;
        note_sent(fd, message->msg_iov, (int)message->msg_iovlen, result);
        shim_leave(error);
        return result;
}

ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
        struct file *file;
        struct verdict verdict;

        shim_start();
        file = shim_file(fd);
        if (!file)
                return real_pread(fd, data, len, offset);
        verdict = shim_enter(OP_READ, file->object, file->name);
        shim_leave(verdict.error);
        return verdict.error ? -1 : real_pread(fd, data, len, offset);
}

ssize_t pread64(int fd, void *data, size_t len, off64_t offset)
{
        return pread(fd, data, len, offset);
}

static int note_accepted(int fd)
{
        struct entry entry = shim_entry(OP_ACCEPT, OBJECT_OTHER, fd);
        int error = errno;

        if (fd < 0)
                return fd;
        shim_lock();
        shim_forget(fd, true);
        entry.fd = fd;
        shim_note(entry, NULL, NULL, 0);
        shim_leave(error);
        return fd;
}

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *len, int flags)
{
        shim_start();
        return note_accepted(real_accept4(fd, address.__sockaddr__, len, flags));
}

int accept(int fd, __SOCKADDR_ARG address, socklen_t *len)
{
        shim_start();
        return note_accepted(real_accept(fd, address.__sockaddr__, len));
}

/* ---- sizes ---- */

int ftruncate(int fd, off_t size)
{
        struct file *file;
        struct verdict verdict;
        int result, error;

        shim_start();
        file = shim_file(fd);
        if (!file)
                return real_ftruncate(fd, size);
        verdict = shim_enter(OP_TRUNCATE, file->object, file->name);
        result = shim_instead(&verdict);
        if (result > 0)
                result = real_ftruncate(fd, size);
        error = errno;
        shim_note_fd(OP_TRUNCATE, fd, result, size, &verdict);
        shim_leave(error);
        return result;
}

int ftruncate64(int fd, off64_t size)
{
        return ftruncate(fd, size);
}

/* Recorded with the size that the file has afterwards. The errno, or 0. */
static int allocate(int fd, int mode, off_t offset, off_t len, bool whole)
{
        struct file *file = shim_file(fd);
        struct verdict verdict = shim_enter(OP_ALLOCATE, file->object, file->name);
        struct stat stat = { 0 };
        int result = shim_instead(&verdict);
        int error;

        if (result > 0 && whole) {
                errno = real_posix_fallocate(fd, offset, len);
                result = errno ? -1 : 0;
        } else if (result > 0) {
                result = real_fallocate(fd, mode, offset, len);
        }
        error = result < 0 ? errno : 0;
        fstat(fd, &stat);
        errno = error;
        shim_note_fd(OP_ALLOCATE, fd, result, stat.st_size, &verdict);
        shim_leave(error);
        return error;
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
        shim_start();
        if (!shim_file(fd))
                return real_fallocate(fd, mode, offset, len);
        return allocate(fd, mode, offset, len, false) ? -1 : 0;
}

int fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
        return fallocate(fd, mode, offset, len);
}

int posix_fallocate(int fd, off_t offset, off_t len)
{
        shim_start();
        return shim_file(fd) ? allocate(fd, 0, offset, len, true) : real_posix_fallocate(fd, offset, len);
}

int posix_fallocate64(int fd, off64_t offset, off64_t len)
{
        return posix_fallocate(fd, offset, len);
}

/* ---- syncs ---- */

static int sync_file(int fd, int (*sync)(int))
{
        struct file *file = shim_file(fd);
        struct verdict verdict;
        int result, error;

        if (!file)
                return sync(fd);
        shim_lock();
        shim_note_fd(OP_SYNC_BEGIN, fd, 0, 0, NULL);
        shim_leave(0);
        verdict = shim_enter(OP_SYNC, file->object, file->name);
        shim_leave(0);
        result = shim_instead(&verdict);
        if (result > 0)
                result = sync(fd);
        error = errno;
        shim_lock();
        errno = error;
        shim_note_fd(OP_SYNC, fd, result, 0, &verdict);
        file->sync_failed = result != 0;
        shim_leave(error);
        return result;
}

int fsync(int fd)
{
        shim_start();
        return sync_file(fd, real_fsync);
}

int fdatasync(int fd)
{
        shim_start();
        return sync_file(fd, real_fdatasync);
}
