#ifndef GRAMD_TESTS_FAULTS_MAPPED_H
#define GRAMD_TESTS_FAULTS_MAPPED_H

/* Numbers that a test and a preloaded library both map (mapped.py). */

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Maps the file whose path is in the environment variable. NULL: there is none. The system call is made
 * directly, because the library may have replaced open().
 */
static inline void *mapped(const char *variable, size_t bytes)
{
        const char *path = getenv(variable);
        int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
        void *at = fd < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        if (fd >= 0)
                close(fd);
        return at == MAP_FAILED ? NULL : at;
}

#endif
