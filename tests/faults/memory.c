/*
 * Preloaded into a daemon or a client: its allocations fail, one, or some by chance. $FAULTS_MEMORY is a file
 * with the numbers of `struct memory`, which the test changes meanwhile (memory.py). Those of libuv never
 * fail, because it ends the process then, nor those of the dynamic linker, at a thread's start.
 */

#include "mapped.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

static struct memory {
        _Atomic uint64_t on;
        _Atomic uint64_t seen;   /* allocations since it was switched on */
        _Atomic uint64_t met;    /* of these have failed */
        _Atomic uint64_t at;     /* this one fails, counted from 0 */
        _Atomic uint64_t times;  /* and those that follow it, so many in all */
        _Atomic uint64_t one_in; /* or one of so many, by chance; 0: none */
} none, *memory = &none;

__attribute__((constructor)) static void start(void)
{
        void *at = mapped("FAULTS_MEMORY", sizeof(none));

        if (at)
                memory = at;
}

static int is_chosen(uint64_t number)
{
        uint64_t one_in = memory->one_in;

        if (one_in) /* a hash instead of a generator with a state: threads race */
                return (number * 0x9e3779b97f4a7c15u >> 32) % one_in == 0;
        return number >= memory->at && number < memory->at + memory->times;
}

static int fails(void *caller)
{
        int error = errno;
        Dl_info info;

        if (!memory->on)
                return 0;
        if (!is_chosen(atomic_fetch_add(&memory->seen, 1)) || !dladdr(caller, &info) ||
            strstr(info.dli_fname, "libuv") || strstr(info.dli_fname, "/ld-")) {
                errno = error;
                return 0;
        }
        memory->met++;
        errno = ENOMEM;
        return 1;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t n)
{
        return fails(CALLER) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
        return fails(CALLER) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *former, size_t n)
{
        return fails(CALLER) ? NULL : __libc_realloc(former, n);
}
