#ifndef GRAMD_CTL_PRIVATE_FILE_H
#define GRAMD_CTL_PRIVATE_FILE_H

/* A file with a key, which its user alone can read. It is written whole, and on the disk, or not at all. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct private_file {
        const char *path;
        char beside[4096]; /* where it is written first */
        int fd;
};

/* All of them: false and errno. After a begin that has succeeded the caller ends the file. */
bool private_file_begin(struct private_file *file, const char *path);
/*
 * `good` false: the file is removed, and false is returned with the caller's errno. Without `replaces`, one
 * that is there makes it fail with EEXIST.
 */
bool private_file_end(struct private_file *file, bool good, bool replaces);

/* To and from any descriptor. Without stdio, whose buffer would keep a copy. */
bool write_all(int fd, const void *bytes, size_t len);
/* Until the end of the file or `size` bytes. Returns their number, or -1 and errno. */
ssize_t read_all(int fd, char *to, size_t size);

#endif
