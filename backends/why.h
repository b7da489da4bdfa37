#ifndef GRAMD_BACKENDS_WHY_H
#define GRAMD_BACKENDS_WHY_H

/* Room for the reason of a failure, which the caller has. */

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

struct why {
        char *text;
        size_t size;
};

/* Writes the reason. Always false, for `return`. */
__attribute__((format(printf, 2, 3))) static inline bool fail(struct why why, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(why.text, why.size, format, args);
        va_end(args);
        return false;
}

#endif
