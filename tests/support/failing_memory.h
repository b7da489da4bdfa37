#ifndef GRAMD_TESTS_SUPPORT_FAILING_MEMORY_H
#define GRAMD_TESTS_SUPPORT_FAILING_MEMORY_H

/*
 * To be included once in a test program: replaces malloc() and the like of the whole program, so that chosen
 * allocations fail: those of gramd's code, of SQLite and of libc. Only allocations between memory_arm() and
 * memory_disarm() are counted and can fail: around the calls under test, and not in the test's own code.
 * What is freed is overwritten, so that a use after free shows without a sanitizer.
 */

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum memory_mode {
        MEMORY_ONE,  /* one allocation fails */
        MEMORY_CALL, /* and all others of the same call */
        MEMORY_LIFE, /* and all others until memory_begin() */
        MEMORY_MODES,
};

static struct {
        enum memory_mode mode;
        long at;   /* fails, counted from 0; negative: none does */
        long seen; /* allocations since memory_begin() */
        long met;  /* of these have failed */
        bool failing;
} memory = { .at = -1 };

static _Thread_local bool memory_armed;
static __attribute__((unused)) atomic_long memory_blocks; /* that are allocated */

static inline void memory_begin(enum memory_mode mode, long at)
{
        memory.mode = mode;
        memory.at = at;
        memory.seen = memory.met = 0;
        memory.failing = false;
}

static inline void memory_arm(void)
{
        memory_armed = true;
}

static inline void memory_disarm(void)
{
        memory_armed = false;
        if (memory.mode != MEMORY_LIFE)
                memory.failing = false;
}

/* Also for callbacks of the test that stand for some that allocate. */
static inline bool memory_fails(void)
{
        bool fails;

        if (!memory_armed)
                return false;
        fails = memory.failing || memory.seen == memory.at;
        memory.seen++;
        memory.met += fails;
        memory.failing = fails && memory.mode != MEMORY_ONE;
        return fails;
}

/* A sanitizer has an allocator of its own, which cannot be replaced: then none fail. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);

static void *memory_counted(void *block)
{
        if (block)
                memory_blocks++;
        else
                errno = ENOMEM;
        return block;
}

void *malloc(size_t n)
{
        return memory_counted(memory_fails() ? NULL : __libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
        return memory_counted(memory_fails() ? NULL : __libc_calloc(n, size));
}

void *realloc(void *former, size_t n)
{
        void *block = memory_fails() ? NULL : __libc_realloc(former, n);

        return former && block ? block : memory_counted(block);
}

void free(void *block)
{
        int error = errno;

        if (!block)
                return;
        memory_blocks--;
        memset(block, 0xdd, malloc_usable_size(block));
        __libc_free(block);
        errno = error;
}

#endif

#endif
