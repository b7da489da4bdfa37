/* A sample that each flag against exploits changes: a buffer and a large one on the stack, and a copy to
 * memory whose size is known only at run time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *sample(size_t size, const char *from, void (*use)(char *));

void *sample(size_t size, const char *from, void (*use)(char *))
{
        char small[32], large[100000];
        char *to = malloc(size);

        if (to)
                memcpy(to, from, strlen(from));
        use(small);
        use(large);
        return to;
}
