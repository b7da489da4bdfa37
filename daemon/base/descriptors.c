/* The soft limit is for programs that use select(2): the hard one counts. */

#include "descriptors.h"

#include <stdint.h>
#include <sys/resource.h>

#include "log.h"

enum { SPARE = 128 }; /* for what is neither a client nor an open session; of a low limit a quarter */

size_t descriptors_raise(struct log *log)
{
        struct rlimit limit;
        rlim_t soft;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return SIZE_MAX;
        soft = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                limit.rlim_cur = soft;
        log_write(log, LOG_DEBUG, "up to %llu descriptors", (unsigned long long)limit.rlim_cur);
        return (size_t)(limit.rlim_cur - (limit.rlim_cur / 4 < SPARE ? limit.rlim_cur / 4 : SPARE));
}
