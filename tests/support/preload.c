/* The library stands beside its source. Which one is preloaded is in the environment. */

#include "preload.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "program.h"

void preload_begin(const char *name, const char *source)
{
        TEST_FREED char *file = test_format("%s.c", name);
        TEST_FREED char *path = NULL;
        char directory[4096];

        ck_assert_ptr_nonnull(getcwd(directory, sizeof(directory)));
        test_write_file(file, source, strlen(source));
        free(command("%s -shared -fPIC -O1 -o %s.so %s -ldl", getenv("CC") ? getenv("CC") : "cc", name,
                     file));
        path = test_format("%s/%s.so", directory, name);
        setenv("LD_PRELOAD", path, 1);
}

void preload_end(void)
{
        unsetenv("LD_PRELOAD");
}
