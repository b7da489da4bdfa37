/*
 * A stream cipher without a tag: whoever can write to this memory needs no key. sodium_malloc() takes 16 KiB
 * and four maps for each block, so it holds only the process's key, not those of all sessions.
 */

#include "hidden.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

_Static_assert(HIDDEN_NONCE_BYTES == crypto_stream_xchacha20_NONCEBYTES, "the nonce of the cipher");

/* Constant once it is made; the process's end frees it. */
static const uint8_t *process_key;

bool hidden_init(void)
{
        uint8_t *key;

        if (process_key)
                return true;
        key = sodium_init() < 0 ? NULL : sodium_malloc(crypto_stream_xchacha20_KEYBYTES);
        if (!key)
                return false;
        crypto_stream_xchacha20_keygen(key);
        sodium_mprotect_readonly(key);
        process_key = key;
        return true;
}

/* sodium_malloc() does not tell. Locking twice does no harm. */
bool hidden_is_locked(void)
{
        return sodium_mlock((void *)process_key, crypto_stream_xchacha20_KEYBYTES) == 0;
}

static void apply(const struct identity *identity, uint8_t key[AUTH_KEY_BYTES])
{
        assert(process_key);
        crypto_stream_xchacha20_xor(key, identity->auth_key, AUTH_KEY_BYTES, identity->key_nonce,
                                    process_key);
}

void hidden_put(struct identity *identity)
{
        if (!identity_has(identity, FIELD_AUTH_KEY) || identity->key_is_hidden)
                return;
        randombytes_buf(identity->key_nonce, sizeof(identity->key_nonce));
        apply(identity, identity->auth_key);
        identity->key_is_hidden = true;
}

void hidden_take(struct identity *identity)
{
        if (!identity->key_is_hidden)
                return;
        apply(identity, identity->auth_key);
        identity->key_is_hidden = false;
}

void hidden_show(const struct identity *identity, uint8_t key[AUTH_KEY_BYTES])
{
        assert(identity_has(identity, FIELD_AUTH_KEY));
        if (identity->key_is_hidden)
                apply(identity, key);
        else
                memcpy(key, identity->auth_key, AUTH_KEY_BYTES);
}

bool hidden_equal(const struct identity *a, const struct identity *b)
{
        uint8_t keys[2][AUTH_KEY_BYTES];
        bool equal;

        hidden_show(a, keys[0]);
        hidden_show(b, keys[1]);
        equal = sodium_memcmp(keys[0], keys[1], AUTH_KEY_BYTES) == 0;
        sodium_memzero(keys, sizeof(keys));
        return equal;
}
