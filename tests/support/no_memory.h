#ifndef GRAMD_TESTS_SUPPORT_NO_MEMORY_H
#define GRAMD_TESTS_SUPPORT_NO_MEMORY_H

/*
 * Daemons whose allocations fail: a library that is built here and preloaded into those that are started
 * next. The daemon's own, SQLite's and msgpack-c's allocations fail, libuv's do not: it ends a process that
 * has no memory.
 */

#include "daemon.h"

/* Every `nth` allocation fails, while no_memory_now() is on. */
void no_memory_every(unsigned nth);
/* The first `times` allocations that this function of gramd asks for fail. It must not be inlined. */
void no_memory_in(const char *function, unsigned times);

void no_memory_now(const struct daemon *daemon, bool failing);

/* Daemons that are started next have memory. */
void no_memory_end(void);

#endif
