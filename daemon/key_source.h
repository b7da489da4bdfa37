#ifndef GRAMD_DAEMON_KEY_SOURCE_H
#define GRAMD_DAEMON_KEY_SOURCE_H

/* Where the keys come from that seal sessions: the option key-file, else the systemd credential gramd.key. */

#include "../backends/keyring.h"
#include "config/config.h"

/*
 * Reads the keys, if their file is not below `data_dir`. Where there is neither file nor credential, the
 * keyring stays as it is. Blocks. False: `why`.
 */
bool key_source_read(struct keyring *keyring, const struct config *config, const char *data_dir, char *why,
                     size_t why_size);

/* For people: which keys there are. False: none. */
bool key_source_describe(struct keyring *keyring, char *text, size_t size);

#endif
