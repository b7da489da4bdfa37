#ifndef GRAMD_TESTS_SUPPORT_NO_MEMORY_H
#define GRAMD_TESTS_SUPPORT_NO_MEMORY_H

/*
 * Daemons whose allocations fail: builds a library and preloads it into the daemons that are started next.
 * Allocations of libuv never fail, because libuv ends the process when memory is short.
 */

#include "daemon.h"

/* Every `nth` allocation fails, while no_memory_now() is on. */
void no_memory_every(unsigned nth);
/* The first `times` allocations by this function of gramd fail. The function must not be inlined. */
void no_memory_in(const char *function, unsigned times);

void no_memory_now(const struct daemon *daemon, bool failing);

/* Daemons that are started next have memory. */
void no_memory_end(void);

#endif
