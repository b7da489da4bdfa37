#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

static int scratch = -1;

void scratch_make(char *path, size_t size)
{
        const char *dir = getenv("TMPDIR");

        snprintf(path, size, "%s/gramd-fuzz.XXXXXX",
                 dir                             ? dir
                 : access("/dev/shm", W_OK) == 0 ? "/dev/shm"
                                                 : "/tmp");
        require(mkdtemp(path));
        scratch = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        require(scratch >= 0);
}

void require_failed(const char *what, const char *file, int line)
{
        struct stat stat;

        fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
        if (scratch >= 0 && fstat(scratch, &stat) == 0 && stat.st_nlink == 0)
                fprintf(stderr, "The target's directory was removed by another program: no finding.\n");
        abort();
}
