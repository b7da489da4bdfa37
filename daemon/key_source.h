#ifndef GRAMD_DAEMON_KEY_SOURCE_H
#define GRAMD_DAEMON_KEY_SOURCE_H

/* Where the keys come from that seal sessions: the option key-file, else the systemd credential gramd.key. */

#include "../backends/keyring.h"
#include "config/config.h"

/*
 * Reads the keys, if their file is not below `data_dir`. Where there is neither file nor credential, the
 * keyring has no keys afterwards. Blocks. False: `why`, and the keyring is as before.
 */
bool key_source_read(struct keyring *keyring, const struct config *config, const char *data_dir, char *why,
                     size_t why_size);

/* Which keys there were. */
struct key_ids {
        uint8_t all[KEYRING_MAX][KEY_ID_BYTES];
        size_t n;
};
struct key_ids key_ids_of(struct keyring *keyring);

/* For people: which of `before` are gone, and what that means. False: none is. */
bool key_source_describe_lost(struct keyring *keyring, const struct key_ids *before, char *text, size_t size);

/* For people: which keys there are. False: none. */
bool key_source_describe(struct keyring *keyring, char *text, size_t size);

#endif
