/* Keys and sealed values. The keys are a few: sodium_malloc() takes whole pages for each block. */

#include "keyring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "why.h"

enum {
        KEY_BYTES = crypto_aead_xchacha20poly1305_ietf_KEYBYTES,
        NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
        TAG_BYTES = crypto_aead_xchacha20poly1305_ietf_ABYTES,
        BASE64_BYTES = sodium_base64_ENCODED_LEN(KEY_BYTES, sodium_base64_VARIANT_ORIGINAL),
        FILE_MAX_BYTES = 64 * 1024,
        STACK_BYTES = 4096, /* below a call, where the cipher leaves what it has worked on */
        VERSION = 1,
        AT_ID = 1,
        AT_NONCE = AT_ID + KEY_ID_BYTES,
        AT_TEXT = AT_NONCE + NONCE_BYTES,
};

static const char prefix[] = "gramd-key-1 ";

_Static_assert(SEALED_EXTRA_BYTES == AT_TEXT + TAG_BYTES, "the layout of a sealed value");
_Static_assert(KEY_LINE_BYTES >= sizeof(prefix) + BASE64_BYTES, "a line has room for a key");

struct key {
        uint8_t id[KEY_ID_BYTES];
        uint8_t bytes[KEY_BYTES];
};

struct keyring {
        pthread_rwlock_t lock;
        struct key *keys; /* of sodium_allocarray(): not in core dumps, wiped when it is freed */
        size_t n;
};

/* ---- reading a file ---- */

static void make_id(struct key *key)
{
        static const uint8_t purpose[] = "gramd key id";
        uint8_t hash[crypto_generichash_BYTES_MIN];

        crypto_generichash(hash, sizeof(hash), purpose, sizeof(purpose) - 1, key->bytes, KEY_BYTES);
        memcpy(key->id, hash, KEY_ID_BYTES);
}

static void close_fd(const int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

static void free_secret(char **text)
{
        sodium_free(*text);
}

static bool check_file(const struct stat *stat, enum key_file kind, const char *path, struct why why)
{
        mode_t others = kind == KEY_FILE_CREDENTIAL ? S_IWGRP | S_IRWXO : S_IRWXG | S_IRWXO;

        if (!S_ISREG(stat->st_mode))
                return fail(why, "key file %s: not a regular file", path);
        if (kind != KEY_FILE_ANY_OWNER && stat->st_uid != 0 && stat->st_uid != geteuid())
                return fail(
                        why,
                        "key file %s: it belongs to uid %u; it must belong to root or to this daemon's user",
                        path, (unsigned)stat->st_uid);
        if (stat->st_mode & others)
                return fail(why, "key file %s: others may read or change it: `chmod 600 %s`", path, path);
        if (stat->st_size > FILE_MAX_BYTES)
                return fail(why, "key file %s: too large for a key file", path);
        return true;
}

/* The whole file, with a NUL at its end, in memory of sodium_malloc(). NULL: `why`. */
static char *read_file(const char *path, enum key_file kind, struct why why)
{
        /* O_NONBLOCK: a FIFO is refused, not waited for. */
        __attribute__((cleanup(close_fd))) int fd = open(
                path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (kind == KEY_FILE_CREDENTIAL ? 0 : O_NOFOLLOW));
        __attribute__((cleanup(free_secret))) char *text = sodium_malloc(FILE_MAX_BYTES + 1);
        char *result = text;
        struct stat stat;
        size_t len = 0;
        ssize_t n;

        if (fd < 0 || fstat(fd, &stat) < 0) {
                fail(why, "key file %s: %s", path,
                     errno == ELOOP ? "a symbolic link" : strerrordesc_np(errno));
                return NULL;
        }
        if (!check_file(&stat, kind, path, why))
                return NULL;
        if (!text) {
                fail(why, "key file %s: no memory", path);
                return NULL;
        }
        while ((n = read(fd, text + len, FILE_MAX_BYTES - len)) > 0)
                len += (size_t)n;
        if (n < 0) {
                fail(why, "key file %s: %s", path, strerrordesc_np(errno));
                return NULL;
        }
        text[len] = '\0';
        if (strlen(text) != len) {
                fail(why, "key file %s: holds a zero byte", path);
                return NULL;
        }
        text = NULL;
        return result;
}

static bool read_line(const char *line, size_t len, struct key *key)
{
        const size_t skip = sizeof(prefix) - 1;
        size_t n = 0;

        return len > skip && memcmp(line, prefix, skip) == 0 &&
               sodium_base642bin(key->bytes, KEY_BYTES, line + skip, len - skip, NULL, &n, NULL,
                                 sodium_base64_VARIANT_ORIGINAL) == 0 &&
               n == KEY_BYTES;
}

static bool has_id(const struct key *keys, size_t n, const uint8_t id[KEY_ID_BYTES])
{
        for (size_t i = 0; i < n; i++)
                if (memcmp(keys[i].id, id, KEY_ID_BYTES) == 0)
                        return true;
        return false;
}

static bool parse(const char *text, const char *path, struct key *keys, size_t *n, struct why why)
{
        unsigned number = 0;

        *n = 0;
        while (*text) {
                const char *end = strchrnul(text, '\n');
                size_t len = (size_t)(end - text);
                const char *line = text;

                number++;
                text = *end ? end + 1 : end;
                while (len && strchr(" \t\r", line[len - 1]))
                        len--;
                if (!len || *line == '#')
                        continue;
                if (*n == KEYRING_MAX)
                        return fail(why, "key file %s: more than %d keys", path, KEYRING_MAX);
                if (!read_line(line, len, &keys[*n])) /* the line is not shown: it may hold a key */
                        return fail(why, "key file %s:%u: not `gramd-key-1` and the base64 of 32 bytes", path,
                                    number);
                make_id(&keys[*n]);
                if (has_id(keys, *n, keys[*n].id))
                        return fail(why, "key file %s:%u: this key is in the file twice", path, number);
                ++*n;
        }
        return *n > 0 || fail(why, "key file %s: holds no key; `gramctl key new %s` makes one", path, path);
}

/* ---- the keyring ---- */

struct keyring *keyring_new(void)
{
        struct keyring *keyring = sodium_init() < 0 ? NULL : calloc(1, sizeof(*keyring));

        if (!keyring)
                return NULL;
        if (pthread_rwlock_init(&keyring->lock, NULL) == 0)
                return keyring;
        free(keyring);
        return NULL;
}

void keyring_free(struct keyring *keyring)
{
        if (!keyring)
                return;
        sodium_free(keyring->keys);
        pthread_rwlock_destroy(&keyring->lock);
        free(keyring);
}

/* Takes the keys. NULL: none. */
static void replace(struct keyring *keyring, struct key *keys, size_t n)
{
        struct key *former;

        if (keys)
                sodium_mprotect_readonly(keys);
        pthread_rwlock_wrlock(&keyring->lock);
        former = keyring->keys;
        keyring->keys = keys;
        keyring->n = n;
        pthread_rwlock_unlock(&keyring->lock);
        sodium_free(former);
}

bool keyring_read(struct keyring *keyring, const char *path, enum key_file kind, char *why, size_t why_size)
{
        const struct why reason = { why, why_size };
        __attribute__((cleanup(free_secret))) char *text = read_file(path, kind, reason);
        struct key *keys;
        size_t n;

        if (!text)
                return false;
        keys = sodium_allocarray(KEYRING_MAX, sizeof(*keys));
        if (!keys)
                return fail(reason, "key file %s: no memory", path);
        if (!parse(text, path, keys, &n, reason)) {
                sodium_free(keys);
                return false;
        }
        replace(keyring, keys, n);
        return true;
}

void keyring_clear(struct keyring *keyring)
{
        replace(keyring, NULL, 0);
}

bool keyring_make_random(struct keyring *keyring)
{
        struct key *key = sodium_allocarray(1, sizeof(*key));

        if (!key)
                return false;
        randombytes_buf(key->bytes, KEY_BYTES);
        make_id(key);
        replace(keyring, key, 1);
        return true;
}

bool keyring_id(struct keyring *keyring, size_t number, uint8_t id[KEY_ID_BYTES])
{
        bool there;

        if (!keyring)
                return false;
        pthread_rwlock_rdlock(&keyring->lock);
        there = number < keyring->n;
        if (there)
                memcpy(id, keyring->keys[number].id, KEY_ID_BYTES);
        pthread_rwlock_unlock(&keyring->lock);
        return there;
}

bool keyring_has(struct keyring *keyring, const uint8_t id[KEY_ID_BYTES])
{
        bool there;

        if (!keyring)
                return false;
        pthread_rwlock_rdlock(&keyring->lock);
        there = has_id(keyring->keys, keyring->n, id);
        pthread_rwlock_unlock(&keyring->lock);
        return there;
}

/* sodium_malloc() does not tell. Locking twice does no harm. */
bool keyring_is_locked(struct keyring *keyring)
{
        bool locked;

        if (!keyring)
                return true;
        pthread_rwlock_rdlock(&keyring->lock);
        locked = keyring->n == 0 || sodium_mlock(keyring->keys, keyring->n * sizeof(*keyring->keys)) == 0;
        pthread_rwlock_unlock(&keyring->lock);
        return locked;
}

bool keyring_is_current(struct keyring *keyring, const uint8_t id[KEY_ID_BYTES])
{
        uint8_t current[KEY_ID_BYTES];

        return keyring_id(keyring, 0, current) && memcmp(current, id, KEY_ID_BYTES) == 0;
}

void key_id_text(const uint8_t id[KEY_ID_BYTES], char text[KEY_ID_TEXT_BYTES])
{
        sodium_bin2hex(text, KEY_ID_TEXT_BYTES, id, KEY_ID_BYTES);
}

void key_line_new(char line[KEY_LINE_BYTES])
{
        uint8_t key[KEY_BYTES];
        size_t len = sizeof(prefix) - 1;

        randombytes_buf(key, sizeof(key));
        memcpy(line, prefix, len);
        sodium_bin2base64(line + len, BASE64_BYTES, key, sizeof(key), sodium_base64_VARIANT_ORIGINAL);
        len += BASE64_BYTES - 1;
        line[len] = '\n';
        line[len + 1] = '\0';
        sodium_memzero(key, sizeof(key));
}

/* ---- sealing ---- */

void session_id_new(uint8_t session[SESSION_ID_BYTES])
{
        randombytes_buf(session, SESSION_ID_BYTES);
}

/* What is authenticated with a value. Only the field's name has no fixed length, and it is the last. */
struct bound {
        uint8_t bytes[1 + SESSION_ID_BYTES + KEY_ID_BYTES + FIELD_NAME_MAX];
        size_t len;
};

static struct bound bind_to(const uint8_t session[SESSION_ID_BYTES], struct slice field,
                            const uint8_t id[KEY_ID_BYTES])
{
        struct bound bound = { .bytes = { VERSION }, .len = 1 };

        assert(field.len <= FIELD_NAME_MAX);
        memcpy(bound.bytes + bound.len, session, SESSION_ID_BYTES);
        bound.len += SESSION_ID_BYTES;
        memcpy(bound.bytes + bound.len, id, KEY_ID_BYTES);
        bound.len += KEY_ID_BYTES;
        memcpy(bound.bytes + bound.len, field.data, field.len);
        bound.len += field.len;
        return bound;
}

int keyring_seal(struct keyring *keyring, const uint8_t session[SESSION_ID_BYTES], struct slice field,
                 const uint8_t *value, size_t len, uint8_t *sealed)
{
        struct bound bound;
        int error = SEAL_E_NO_KEY;

        if (!keyring)
                return error;
        pthread_rwlock_rdlock(&keyring->lock);
        if (keyring->n > 0) {
                const struct key *key = &keyring->keys[0];

                sealed[0] = VERSION;
                memcpy(sealed + AT_ID, key->id, KEY_ID_BYTES);
                randombytes_buf(sealed + AT_NONCE, NONCE_BYTES);
                bound = bind_to(session, field, key->id);
                error = crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + AT_TEXT, NULL, value, len,
                                                                   bound.bytes, bound.len, NULL,
                                                                   sealed + AT_NONCE, key->bytes);
        }
        pthread_rwlock_unlock(&keyring->lock);
        sodium_stackzero(STACK_BYTES);
        return error;
}

bool sealed_key_id(const uint8_t *sealed, size_t sealed_len, uint8_t id[KEY_ID_BYTES])
{
        if (sealed_len < SEALED_EXTRA_BYTES || sealed[0] != VERSION)
                return false;
        memcpy(id, sealed + AT_ID, KEY_ID_BYTES);
        return true;
}

static int open_with(const struct keyring *keyring, const uint8_t *sealed, size_t len,
                     const struct bound *bound, uint8_t *value)
{
        for (size_t i = 0; i < keyring->n; i++) {
                const struct key *key = &keyring->keys[i];

                if (memcmp(key->id, sealed + AT_ID, KEY_ID_BYTES) != 0)
                        continue;
                return crypto_aead_xchacha20poly1305_ietf_decrypt(value, NULL, NULL, sealed + AT_TEXT,
                                                                  len + TAG_BYTES, bound->bytes, bound->len,
                                                                  sealed + AT_NONCE, key->bytes) == 0
                               ? 0
                               : SEAL_E_FORGED;
        }
        return SEAL_E_NO_KEY;
}

int keyring_open(struct keyring *keyring, const uint8_t session[SESSION_ID_BYTES], struct slice field,
                 const uint8_t *sealed, size_t sealed_len, uint8_t *value, size_t len)
{
        uint8_t id[KEY_ID_BYTES];
        struct bound bound;
        int error;

        if (!sealed_key_id(sealed, sealed_len, id) || sealed_len != len + SEALED_EXTRA_BYTES)
                return SEAL_E_FORM;
        if (!keyring)
                return SEAL_E_NO_KEY;
        bound = bind_to(session, field, id);
        pthread_rwlock_rdlock(&keyring->lock);
        error = open_with(keyring, sealed, len, &bound, value);
        pthread_rwlock_unlock(&keyring->lock);
        sodium_stackzero(STACK_BYTES);
        return error;
}
