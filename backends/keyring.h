#ifndef GRAMD_BACKENDS_KEYRING_H
#define GRAMD_BACKENDS_KEYRING_H

/*
 * The keys with which the auth keys of stored sessions are sealed, and sealing itself: XChaCha20-Poly1305.
 *
 * A key file is text. Each line is `gramd-key-1 ` and the base64 of 32 bytes; the first line is the current
 * key, which seals, the others are former ones, which only open. Empty lines, and those that begin with `#`,
 * do not count.
 *
 * A sealed value belongs to one field of one session. It is
 *
 *     version (1 byte), id of the key (8), nonce (24), ciphertext and tag (the field's length + 16)
 *
 * Version, session id, name of the field and id of the key are authenticated with it: copied to another
 * session or field it does not open.
 *
 * Any thread may use a keyring; reading a file into it replaces all its keys at once. Keys are in memory
 * that is in no core dump, and locked as far as RLIMIT_MEMLOCK allows. No text that is returned has key
 * material.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../proto/slice.h"

enum {
        KEYRING_MAX = 64,       /* keys */
        KEY_ID_BYTES = 8,       /* made of the key, so that two hosts agree on it */
        KEY_ID_TEXT_BYTES = 17, /* hexadecimal, with its NUL */
        SESSION_ID_BYTES = 16,
        FIELD_NAME_MAX = 260,
        SEALED_EXTRA_BYTES = 1 + KEY_ID_BYTES + 24 + 16, /* a sealed value is so much longer than the field */
        KEY_LINE_BYTES = 64, /* of a line of a key file, with its newline and a NUL */
};

struct keyring;

struct keyring *keyring_new(void); /* without keys. NULL: no memory */
void keyring_free(struct keyring *keyring);

enum key_file {
        KEY_FILE_PRIVATE,    /* owner root or this user; nobody else may read it */
        KEY_FILE_ANY_OWNER,  /* the same, of any user: root changes the file of the daemon's user */
        KEY_FILE_CREDENTIAL, /* systemd's: its directory keeps others away */
};

/* False: `why` says what is wrong, and the keyring is as before. */
bool keyring_read(struct keyring *keyring, const char *path, enum key_file kind, char *why, size_t why_size);
/* Takes away all its keys. */
void keyring_clear(struct keyring *keyring);
/* Its one key is random, and ends with the process. False: no memory. */
bool keyring_make_random(struct keyring *keyring);

/* `keyring` may be NULL in these: it has no keys. Number 0 is the current key. False: there are not so many.
 */
bool keyring_id(struct keyring *keyring, size_t number, uint8_t id[KEY_ID_BYTES]);
bool keyring_has(struct keyring *keyring, const uint8_t id[KEY_ID_BYTES]);
bool keyring_is_locked(struct keyring *keyring); /* false: its keys may be swapped out */
bool keyring_is_current(struct keyring *keyring, const uint8_t id[KEY_ID_BYTES]);
void key_id_text(const uint8_t id[KEY_ID_BYTES], char text[KEY_ID_TEXT_BYTES]);

/* Writes a new key as a line of a key file. */
void key_line_new(char line[KEY_LINE_BYTES]);

enum seal_error {
        SEAL_E_NO_KEY = -1, /* none to seal with; or not the one that the value was sealed with */
        SEAL_E_FORM = -2,   /* not a sealed value of this length */
        SEAL_E_FORGED = -3, /* changed, or of another session or field */
};

void session_id_new(uint8_t session[SESSION_ID_BYTES]);

/* `sealed` has room for len + SEALED_EXTRA_BYTES, `field` at most FIELD_NAME_MAX. 0 or SEAL_E_NO_KEY. */
int keyring_seal(struct keyring *keyring, const uint8_t session[SESSION_ID_BYTES], struct slice field,
                 const uint8_t *value, size_t len, uint8_t *sealed);
/* Opens a value that is `len` bytes when it is open. After an error `value` is undefined, without key
 * material. */
int keyring_open(struct keyring *keyring, const uint8_t session[SESSION_ID_BYTES], struct slice field,
                 const uint8_t *sealed, size_t sealed_len, uint8_t *value, size_t len);
/* The id of the key in a sealed value of any length. False: it is none. */
bool sealed_key_id(const uint8_t *sealed, size_t sealed_len, uint8_t id[KEY_ID_BYTES]);

#endif
