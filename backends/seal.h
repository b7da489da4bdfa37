#ifndef GRAMD_BACKENDS_SEAL_H
#define GRAMD_BACKENDS_SEAL_H

/*
 * Whether a session's auth key may be sealed, must be, or can be opened: the same for every backend that
 * stores sessions. The backend stores the session's id, which makes it a sealed one, and the sealed value,
 * and empties the library's own place for the key. A key that is in the library's place is a new login: it
 * counts, and is to be sealed.
 */

#include "backend.h"

enum { SEALED_KEY_BYTES = AUTH_KEY_BYTES + SEALED_EXTRA_BYTES };

struct seal {
        bool on;                      /* the auth key is sealed, or will be when the session gets one */
        bool is_due;                  /* of a sealed session: the library's place has a key */
        bool has_key;                 /* there is a sealed value; `by` is its key */
        uint8_t id[SESSION_ID_BYTES]; /* of the session, random */
        uint8_t by[KEY_ID_BYTES];
};

/* What the functions below need to know of a session. They return 0, or an error with the fault. */
struct seal_terms {
        struct keyring *keyring; /* NULL, or without keys: nothing can be sealed */
        bool required;           /* require-sealed, of a session that is stored */
        const char *session;     /* its name */
        struct fault *fault;
};

/* Before the session is taken: may it be opened as it is? `wanted`: its client asks for sealing. */
int seal_check(const struct seal_terms *terms, const struct seal *seal, bool wanted);

/* When the session is opened: does its auth key have to be sealed now? */
bool seal_is_to_begin(const struct seal_terms *terms, const struct seal *seal, bool wanted);

/* May the sealing be changed like this? 1: there is nothing to change. */
int seal_check_change(const struct seal_terms *terms, const struct seal *seal, enum sealing sealing);

/* Is the key with this id there? */
int seal_check_key(const struct seal_terms *terms, const uint8_t id[KEY_ID_BYTES]);

/* Is there a key to seal with? Of a session that is sealed. */
int seal_check_current(const struct seal_terms *terms);

/* Opens the stored value into the identity, and sets `has_key` and `by`. */
int seal_open(const struct seal_terms *terms, struct seal *seal, struct slice sealed,
              struct identity *identity);

/* Seals the identity's key, if it has one, and sets `is_due`, `has_key` and `by`. */
int seal_close(const struct seal_terms *terms, struct seal *seal, const struct identity *identity,
               uint8_t sealed[SEALED_KEY_BYTES]);

/*
 * A value of the key-value area, of a sealed session: bound to the field `kv:` with its key. `opened` has
 * room for the sealed value, `sealed` for SEALED_EXTRA_BYTES more than the value; the outcome is in it.
 */
int seal_open_kv(const struct seal_terms *terms, const struct seal *seal, struct slice key,
                 struct slice sealed, uint8_t *opened, struct slice *value);
int seal_close_kv(const struct seal_terms *terms, const struct seal *seal, struct slice key,
                  struct slice value, uint8_t *sealed, struct slice *stored);

/* As `struct counts` has it. */
void seal_describe(const struct seal_terms *terms, const struct seal *seal, char text[KEY_ID_TEXT_BYTES]);

#endif
