#include "memo.h"

#include <stdlib.h>
#include <string.h>

#include "instance.h"

enum { FORGET_MS = 3600000, PRUNE_MS = 60000 };

static void memo_free(struct mongo_memo *memo)
{
        free(memo->key);
        free(memo);
}

static void prune(struct mongo_memos *memos, int64_t now)
{
        size_t kept = 0;

        if (now - memos->pruned_ms < PRUNE_MS)
                return;
        memos->pruned_ms = now;
        for (size_t i = 0; i < memos->n; i++)
                if (now - memos->all[i]->used_ms < FORGET_MS)
                        memos->all[kept++] = memos->all[i];
                else
                        memo_free(memos->all[i]);
        memos->n = kept;
}

/* The first whose key is not less. */
static size_t place_of(const struct mongo_memos *memos, const char *key)
{
        size_t low = 0, high = memos->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(memos->all[middle]->key, key) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

struct mongo_memo *mongo_memo_find(const struct mongo_memos *memos, const char *key)
{
        size_t place = place_of(memos, key);

        return place < memos->n && strcmp(memos->all[place]->key, key) == 0 ? memos->all[place] : NULL;
}

static struct mongo_memo *add(struct mongo_memos *memos, const char *key, size_t size)
{
        size_t place = place_of(memos, key);
        struct mongo_memo *memo;

        if (memos->n == memos->cap) {
                size_t cap = memos->cap ? memos->cap * 2 : 16;
                struct mongo_memo **grown = reallocarray(memos->all, cap, sizeof(struct mongo_memo *));

                if (!grown)
                        return NULL;
                memos->all = grown;
                memos->cap = cap;
        }
        memo = calloc(1, size);
        if (memo)
                memo->key = strdup(key);
        if (!memo || !memo->key) {
                free(memo);
                return NULL;
        }
        memmove(&memos->all[place + 1], &memos->all[place],
                (memos->n++ - place) * sizeof(struct mongo_memo *));
        return memos->all[place] = memo;
}

struct mongo_memo *mongo_memo_use(struct mongo_memos *memos, const char *key, size_t size)
{
        int64_t now = mongo_boot_ms();
        struct mongo_memo *memo;

        prune(memos, now);
        memo = mongo_memo_find(memos, key);
        if (!memo)
                memo = add(memos, key, size);
        if (memo)
                memo->used_ms = now;
        return memo;
}

void mongo_memos_free(struct mongo_memos *memos)
{
        for (size_t i = 0; i < memos->n; i++)
                memo_free(memos->all[i]);
        free(memos->all);
}
