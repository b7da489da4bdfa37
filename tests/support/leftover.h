#ifndef GRAMD_TESTS_SUPPORT_LEFTOVER_H
#define GRAMD_TESTS_SUPPORT_LEFTOVER_H

/*
 * Looks for auth keys where none should be left. A key is found if any of four blocks of 16 bytes in it is:
 * so a copy counts that was overwritten in part. The number is that of the block that occurs most often.
 */

#include "daemon.h"

#include <stdint.h>

enum { LEFTOVER_KEY_BYTES = 256, LEFTOVER_HEX_BYTES = 2 * LEFTOVER_KEY_BYTES + 1 };

struct leftover_key {
        uint8_t bytes[LEFTOVER_KEY_BYTES];
        char hex[LEFTOVER_HEX_BYTES];
};

/* Without blocks that repeat. Equal numbers give equal keys. */
void leftover_key(struct leftover_key *key, unsigned number);

/*
 * The configuration of a daemon that closes sessions at once, and seals them with the key in ./sealing-key,
 * which is made; malloc'ed.
 */
char *leftover_configuration(bool is_sealed);

/*
 * False: leftover_in_memory() needs root; and a sanitizer keeps what was freed, and maps terabytes. The test
 * is skipped, and says so.
 */
bool leftover_is_searchable(void);
/* In the daemon's memory. It stands meanwhile. Where copies are is written to stderr. Needs root. */
int leftover_in_memory(struct daemon *daemon, const struct leftover_key *key);
/* In that of a process that stands, and that this one may look into. */
int leftover_in_process(pid_t pid, const struct leftover_key *key);
/* In all files of a folder, together. */
int leftover_in_folder(const char *path, const struct leftover_key *key);
/* In what a descriptor reads, from its start. */
int leftover_in_file(int fd, const struct leftover_key *key);

#endif
