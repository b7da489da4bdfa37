/* A key in the data directory would be in its backups, beside what it seals. So it is refused there. */

#include "key_source.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SOURCE_BYTES = PATH_MAX };

/* False: there is no source. */
static bool find(const struct config *config, char path[SOURCE_BYTES], enum key_file *kind)
{
        const char *credentials = getenv("CREDENTIALS_DIRECTORY");

        *kind = config->key_file ? KEY_FILE_PRIVATE : KEY_FILE_CREDENTIAL;
        if (config->key_file) {
                snprintf(path, SOURCE_BYTES, "%s", config->key_file);
                return true;
        }
        if (!credentials)
                return false;
        snprintf(path, SOURCE_BYTES, "%s/gramd.key", credentials);
        return access(path, F_OK) == 0;
}

static bool is_below(const char *path, const char *directory)
{
        char real[PATH_MAX];
        size_t len = strlen(directory);

        return realpath(path, real) && strncmp(real, directory, len) == 0 && real[len] == '/';
}

bool key_source_read(struct keyring *keyring, const struct config *config, const char *data_dir, char *why,
                     size_t why_size)
{
        char path[SOURCE_BYTES];
        enum key_file kind;
        uint8_t id[KEY_ID_BYTES];
        bool found = find(config, path, &kind);

        if (found && is_below(path, data_dir)) {
                snprintf(why, why_size,
                         "the key file is in the data directory %s, beside what it seals: move it elsewhere",
                         data_dir);
                return false;
        }
        if (found)
                return keyring_read(keyring, path, kind, why, why_size);
        if (!config->require_sealed || keyring_id(keyring, 0, id))
                return true;
        snprintf(why, why_size, "require-sealed needs a key: set key-file, or give the credential gramd.key");
        return false;
}

bool key_source_describe(struct keyring *keyring, char *text, size_t size)
{
        uint8_t id[KEY_ID_BYTES];
        char shown[KEY_ID_TEXT_BYTES];
        size_t n = 0;

        if (!keyring_id(keyring, 0, id))
                return false;
        key_id_text(id, shown);
        while (keyring_id(keyring, n, id))
                n++;
        snprintf(text, size, "sessions are sealed with key %s; former keys: %zu", shown, n - 1);
        return true;
}
