#ifndef GRAMD_BACKENDS_MONGO_MEMO_H
#define GRAMD_BACKENDS_MONGO_MEMO_H

/*
 * What this daemon remembers of instances and documents of others, by key. What has not been used for an hour
 * is forgotten. The caller's lock protects it.
 */

#include <stddef.h>
#include <stdint.h>

/* The first member of what is remembered. */
struct mongo_memo {
        char *key;
        int64_t used_ms; /* of CLOCK_BOOTTIME */
};

/* Zero-initialised: empty. */
struct mongo_memos {
        struct mongo_memo **all; /* ascending by key */
        size_t n, cap;
        int64_t pruned_ms;
};

/* NULL: it is not remembered. */
struct mongo_memo *mongo_memo_find(const struct mongo_memos *memos, const char *key);
/* Used now. A new one is `size` bytes of zero but for the memo. NULL: no memory. */
struct mongo_memo *mongo_memo_use(struct mongo_memos *memos, const char *key, size_t size);
void mongo_memos_free(struct mongo_memos *memos);

#endif
