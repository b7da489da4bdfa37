/*
 * Written beside its place, and named when it is whole: who opens the name sees the former file or this one.
 */

#include "private_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool write_all(int fd, const void *bytes, size_t len)
{
        const char *next = bytes;

        while (len > 0) {
                ssize_t n = write(fd, next, len);

                if (n < 0 && errno != EINTR)
                        return false;
                next += n < 0 ? 0 : n;
                len -= n < 0 ? 0 : (size_t)n;
        }
        return true;
}

bool private_file_begin(struct private_file *file, const char *path)
{
        file->path = path;
        file->fd = -1;
        if ((size_t)snprintf(file->beside, sizeof(file->beside), "%s.XXXXXX", path) >= sizeof(file->beside)) {
                errno = ENAMETOOLONG;
                return false;
        }
        file->fd = mkostemp(file->beside, O_CLOEXEC); /* 0600 */
        return file->fd >= 0;
}

/* A name is on the disk when its directory is. */
static bool sync_directory_of(const char *path)
{
        char copy[4096];
        bool good;
        int fd;

        snprintf(copy, sizeof(copy), "%s", path);
        fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return false;
        good = fsync(fd) == 0;
        close(fd);
        return good;
}

bool private_file_end(struct private_file *file, bool good, bool replaces)
{
        bool named = false;
        int failed;

        good = good && fsync(file->fd) == 0;
        if (good)
                named = (replaces ? rename(file->beside, file->path) : link(file->beside, file->path)) == 0;
        failed = errno;
        close(file->fd);
        if (!named || !replaces)
                unlink(file->beside);
        errno = failed;
        return named && sync_directory_of(file->path);
}

ssize_t read_all(int fd, char *to, size_t size)
{
        size_t len = 0;

        while (len < size) {
                ssize_t n = read(fd, to + len, size - len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -1;
                if (n == 0)
                        break;
                len += (size_t)n;
        }
        return (ssize_t)len;
}
