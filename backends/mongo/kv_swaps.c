/*
 * The swaps of one key that were done: a client that got no answer repeats its swap, perhaps on another host
 * after the owner's death, and gets the same answer. An entry is a caller and the number of a request, the
 * newest is the last. A caller may have sent several at once.
 */

#include <stdlib.h>
#include <string.h>

#include "kv.h"

enum { ENTRY_BYTES = KV_CALLER_BYTES + 4, ENTRIES_MAX = 256, OF_ONE_MAX = 16 };

static void entry_of(const struct kv_swap *swap, uint8_t entry[ENTRY_BYTES])
{
        memcpy(entry, swap->caller, KV_CALLER_BYTES);
        for (int i = 0; i < 4; i++)
                entry[KV_CALLER_BYTES + i] = (uint8_t)(swap->msgid >> 8 * i);
}

bool mongo_kv_swaps_copy(struct mongo_kv_swaps *swaps, struct slice stored)
{
        if (!stored.data || stored.len % ENTRY_BYTES || stored.len > (size_t)ENTRIES_MAX * ENTRY_BYTES)
                return true;
        swaps->bytes = malloc(stored.len + 1);
        if (!swaps->bytes)
                return false;
        memcpy(swaps->bytes, stored.data, stored.len);
        swaps->len = stored.len;
        return true;
}

bool mongo_kv_swaps_has(const struct mongo_kv_swaps *swaps, const struct kv_swap *swap)
{
        uint8_t entry[ENTRY_BYTES];

        if (!swap->has_caller)
                return false;
        entry_of(swap, entry);
        for (size_t at = 0; at < swaps->len; at += ENTRY_BYTES)
                if (memcmp(swaps->bytes + at, entry, ENTRY_BYTES) == 0)
                        return true;
        return false;
}

static void forget(struct mongo_kv_swaps *swaps, size_t at)
{
        swaps->len -= ENTRY_BYTES;
        memmove(swaps->bytes + at, swaps->bytes + at + ENTRY_BYTES, swaps->len - at);
}

/* Makes room: no caller takes it from all others. */
static void make_room(struct mongo_kv_swaps *swaps, const uint8_t *caller)
{
        size_t of_one = 0, oldest = 0;

        for (size_t at = swaps->len; at > 0; at -= ENTRY_BYTES) {
                if (memcmp(swaps->bytes + at - ENTRY_BYTES, caller, KV_CALLER_BYTES) == 0) {
                        oldest = at - ENTRY_BYTES;
                        of_one++;
                }
        }
        if (of_one >= OF_ONE_MAX)
                forget(swaps, oldest);
        else if (swaps->len >= (size_t)ENTRIES_MAX * ENTRY_BYTES)
                forget(swaps, 0);
}

bool mongo_kv_swaps_add(struct mongo_kv_swaps *swaps, const struct kv_swap *swap)
{
        uint8_t *grown;

        if (!swap->has_caller)
                return true;
        make_room(swaps, swap->caller);
        grown = realloc(swaps->bytes, swaps->len + ENTRY_BYTES);
        if (!grown)
                return false;
        swaps->bytes = grown;
        entry_of(swap, swaps->bytes + swaps->len);
        swaps->len += ENTRY_BYTES;
        return true;
}
