#ifndef GRAMD_TESTS_SUPPORT_LOOP_FREES_H
#define GRAMD_TESTS_SUPPORT_LOOP_FREES_H

/*
 * How many bytes the daemon's loop frees in one turn: the kernel takes as long to take them back. Builds a
 * library and preloads it into the daemons that are started next. Blocks of less than 64 KiB do not count.
 */

#include "daemon.h"

void loop_frees_count(void);
/* Of the turn that freed most. The daemon has been stopped. */
size_t loop_frees_most(const struct daemon *daemon);
/* Daemons that are started next are not counted. */
void loop_frees_end(void);

#endif
