#ifndef GRAMD_TESTS_FUZZ_SNAPSHOT_H
#define GRAMD_TESTS_FUZZ_SNAPSHOT_H

/*
 * The files of a directory as a SIGKILL leaves them: what the process has written, whether synced or not.
 * Copied in the thread that writes, between two system calls.
 */

#include <stdbool.h>

/* Once SQLite is initialised: its calls that change files pass through here. */
void snapshot_watch(void);

void snapshot_take(const char *dir);
/* Takes it before the `calls`th call that changes a file; 0: not. `dir` stays valid. */
void snapshot_take_before(const char *dir, unsigned calls);
bool snapshot_is_taken(void);
/* From now on it is not taken, but what was taken is kept for snapshot_restore(), the first one first. */
void snapshot_hold(void);
/* Writes the files into the empty directory, and forgets them. */
void snapshot_restore(const char *dir);

#endif
