/* A user alone gets fifteen sixteenths of a resource, the next one as much of the rest, and so on. */

#include "share.h"

#include <assert.h>

uint64_t share_of(uint64_t max)
{
        uint64_t kept = max / SHARE_KEPT + (max % SHARE_KEPT != 0);

        return max - kept;
}

bool share_allows(uint64_t max, size_t n, uint64_t held, uint64_t own, uint64_t more)
{
        assert(n > 0 && own <= held);
        if (held >= max || more > max - held)
                return false;
        if (own == 0 && more <= 1)
                return true;
        if (own + more > share_of(max - (held - own)))
                return false;
        return own + more <= max / n || held + more <= share_of(max);
}
