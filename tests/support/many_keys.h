#ifndef GRAMD_TESTS_SUPPORT_MANY_KEYS_H
#define GRAMD_TESTS_SUPPORT_MANY_KEYS_H

#include "wire.h"

/*
 * The session `s` has so many keys, key000000 and so on. Scans them page by page: all are there, in order,
 * and the daemon takes no more memory than for some pages.
 */
void many_keys_scan(struct daemon *d, struct wire *c, int s, int keys);

#endif
