#ifndef GRAMD_DAEMON_BASE_SHARE_H
#define GRAMD_DAEMON_BASE_SHARE_H

/* How much of a common resource one user may hold. Arithmetic alone; loop thread only. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHARE_KEPT = 16 }; /* one part of so many is kept for others */

/* `max` less the part that is kept, which is at least 1. */
uint64_t share_of(uint64_t max);

/*
 * Whether one of `n` users, who holds `own`, may take `more`. All together hold `held` of `max`. A user never
 * gets all that others leave: a sixteenth stays for who comes next. And the last sixteenth of the whole is
 * only for users who hold less than an equal part. The first unit is never refused while one is left.
 */
bool share_allows(uint64_t max, size_t n, uint64_t held, uint64_t own, uint64_t more);

#endif
