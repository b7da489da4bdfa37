/* The rules of sealing, and the texts that tell of them. */

#include "seal.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { KV_FIELD_MAX = 3 + KV_KEY_MAX_BYTES, WHY_BYTES = 128 };

_Static_assert((int)KV_FIELD_MAX <= (int)FIELD_NAME_MAX, "a value can be bound to any key");

static const struct slice field_name = { "auth_key", 8 };

static bool can_seal(const struct seal_terms *terms)
{
        uint8_t id[KEY_ID_BYTES];

        return keyring_id(terms->keyring, 0, id);
}

static int refuse(const struct seal_terms *terms, int error, const char *why)
{
        return fault_session(terms->fault, error, terms->session, "%s", why);
}

static int seal_without_key(const struct seal_terms *terms)
{
        return refuse(terms, BACKEND_E_STORAGE, "it is sealed, and this daemon has no key to seal with");
}

int seal_check_current(const struct seal_terms *terms)
{
        return can_seal(terms) ? 0 : seal_without_key(terms);
}

int seal_check(const struct seal_terms *terms, const struct seal *seal, bool wanted)
{
        char word[SHELL_WORD_BYTES];

        if (!terms->required || (seal->on && !seal->is_due) || ((wanted || seal->on) && can_seal(terms)))
                return 0;
        return fault_session(terms->fault, BACKEND_E_STORAGE, terms->session,
                             "it is not sealed, and require-sealed is set: `gramctl seal %s`",
                             fault_shell_word(terms->session, word));
}

bool seal_is_to_begin(const struct seal_terms *terms, const struct seal *seal, bool wanted)
{
        return seal->on ? seal->is_due && can_seal(terms) : wanted;
}

int seal_check_change(const struct seal_terms *terms, const struct seal *seal, enum sealing sealing)
{
        bool is_current = seal->has_key && keyring_is_current(terms->keyring, seal->by);

        if (sealing != SEALING_OFF && !can_seal(terms))
                return refuse(terms, BACKEND_E_OPTION,
                              "this daemon has no key to seal with; see the option key-file");
        if (sealing == SEALING_OFF && terms->required)
                return refuse(terms, BACKEND_E_OPTION, "require-sealed is set, so it stays sealed");
        switch (sealing) {
        case SEALING_OFF: return !seal->on;
        case SEALING_ON: return seal->on && !seal->is_due;
        case SEALING_ANEW: return !seal->is_due && (!seal->on || !seal->has_key || is_current);
        }
        return 1;
}

/* What is said of something that is sealed with this key. */
static void say_missing(const uint8_t id[KEY_ID_BYTES], char why[WHY_BYTES])
{
        char text[KEY_ID_TEXT_BYTES];

        key_id_text(id, text);
        snprintf(why, WHY_BYTES, "is sealed with key %s, which this daemon does not have", text);
}

int seal_check_key(const struct seal_terms *terms, const uint8_t id[KEY_ID_BYTES])
{
        char why[WHY_BYTES];

        if (keyring_has(terms->keyring, id))
                return 0;
        say_missing(id, why);
        return fault_session(terms->fault, BACKEND_E_STORAGE, terms->session, "it %s", why);
}

int seal_open(const struct seal_terms *terms, struct seal *seal, struct slice sealed,
              struct identity *identity)
{
        const uint8_t *bytes = (const uint8_t *)sealed.data;
        uint8_t key[AUTH_KEY_BYTES], id[KEY_ID_BYTES];
        int error;

        if (!bytes || sealed.len != SEALED_KEY_BYTES || !sealed_key_id(bytes, sealed.len, id))
                return refuse(terms, BACKEND_E_CORRUPT, "its sealed key is damaged");
        error = keyring_open(terms->keyring, seal->id, field_name, bytes, sealed.len, key, sizeof(key));
        if (error == SEAL_E_NO_KEY)
                return seal_check_key(terms, id);
        if (error)
                return refuse(terms, BACKEND_E_CORRUPT,
                              "its sealed key was changed, or is another session's");
        memcpy(seal->by, id, sizeof(id));
        seal->has_key = true;
        identity_set_key(identity, key);
        sodium_memzero(key, sizeof(key));
        return 0;
}

int seal_close(const struct seal_terms *terms, struct seal *seal, const struct identity *identity,
               uint8_t sealed[SEALED_KEY_BYTES])
{
        bool has_key = identity_has(identity, FIELD_AUTH_KEY);

        if (has_key &&
            keyring_seal(terms->keyring, seal->id, field_name, identity->auth_key, AUTH_KEY_BYTES, sealed))
                return seal_without_key(terms);
        seal->is_due = false;
        seal->has_key = has_key;
        if (has_key)
                sealed_key_id(sealed, SEALED_KEY_BYTES, seal->by);
        return 0;
}

void seal_describe(const struct seal_terms *terms, const struct seal *seal, char text[KEY_ID_TEXT_BYTES])
{
        uint8_t id[KEY_ID_BYTES];

        *text = '\0';
        if (!seal->on || seal->is_due)
                return;
        memcpy(id, seal->by, sizeof(id));
        if (!seal->has_key)
                keyring_id(terms->keyring, 0, id);
        key_id_text(id, text);
}

/* ---- values of the key-value area ---- */

/* No other field has a name like this. */
static struct slice kv_field(struct slice key, char field[KV_FIELD_MAX])
{
        static const char prefix[] = { 'k', 'v', ':' };

        memcpy(field, prefix, sizeof(prefix));
        memcpy(field + sizeof(prefix), key.data, key.len);
        return (struct slice){ field, sizeof(prefix) + key.len };
}

int seal_open_kv(const struct seal_terms *terms, const struct seal *seal, struct slice key,
                 struct slice sealed, uint8_t *opened, struct slice *value)
{
        const uint8_t *bytes = (const uint8_t *)sealed.data;
        char field[KV_FIELD_MAX], why[WHY_BYTES] = "was changed, or is another key's or session's";
        uint8_t id[KEY_ID_BYTES];
        size_t len = sealed.len - SEALED_EXTRA_BYTES;
        int error;

        if (!sealed_key_id(bytes, sealed.len, id))
                return fault_set_value(terms->fault, BACKEND_E_CORRUPT, terms->session, key, "is not sealed");
        error = keyring_open(terms->keyring, seal->id, kv_field(key, field), bytes, sealed.len, opened, len);
        *value = (struct slice){ (const char *)opened, len };
        if (!error)
                return 0;
        if (error == SEAL_E_NO_KEY)
                say_missing(id, why);
        return fault_set_value(terms->fault, error == SEAL_E_NO_KEY ? BACKEND_E_STORAGE : BACKEND_E_CORRUPT,
                               terms->session, key, why);
}

int seal_close_kv(const struct seal_terms *terms, const struct seal *seal, struct slice key,
                  struct slice value, uint8_t *sealed, struct slice *stored)
{
        char field[KV_FIELD_MAX];

        if (keyring_seal(terms->keyring, seal->id, kv_field(key, field), (const uint8_t *)value.data,
                         value.len, sealed))
                return seal_without_key(terms);
        *stored = (struct slice){ (const char *)sealed, value.len + SEALED_EXTRA_BYTES };
        return 0;
}
