/* A key in the data directory would be in its backups, beside what it seals. So it is refused there. */

#include "key_source.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SOURCE_BYTES = PATH_MAX, NAMED_MAX = 8 };

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
        /* One that cannot be read is no missing one: without it sessions would not be sealed. */
        return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
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
        bool found = find(config, path, &kind);

        if (found && is_below(path, data_dir)) {
                snprintf(why, why_size,
                         "the key file is in the data directory %s, beside what it seals: move it elsewhere",
                         data_dir);
                return false;
        }
        if (found)
                return keyring_read(keyring, path, kind, why, why_size);
        if (config->require_sealed) {
                snprintf(why, why_size,
                         "require-sealed needs a key: set key-file, or give the credential gramd.key");
                return false;
        }
        keyring_clear(keyring);
        return true;
}

struct key_ids key_ids_of(struct keyring *keyring)
{
        struct key_ids ids = { .n = 0 };

        while (ids.n < KEYRING_MAX && keyring_id(keyring, ids.n, ids.all[ids.n]))
                ids.n++;
        return ids;
}

bool key_source_describe_lost(struct keyring *keyring, const struct key_ids *before, char *text, size_t size)
{
        char shown[KEY_ID_TEXT_BYTES], names[NAMED_MAX * (KEY_ID_TEXT_BYTES + 2)] = "";
        uint8_t id[KEY_ID_BYTES];
        size_t n = 0, len = 0;

        for (size_t i = 0; i < before->n; i++) {
                if (keyring_has(keyring, before->all[i]) || n++ >= NAMED_MAX)
                        continue;
                key_id_text(before->all[i], shown);
                len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "", shown);
        }
        if (!n)
                return false;
        snprintf(text, size,
                 "%s: %s%s. A session that is still sealed with one of them is refused when it is opened "
                 "next. If there are any, put the keys back, and run `gramctl rotate --all` first",
                 keyring_id(keyring, 0, id)
                         ? "these keys are gone"
                         : "there is no key any more: nothing is sealed now. These keys are gone",
                 names, n > NAMED_MAX ? ", ..." : "");
        return true;
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
