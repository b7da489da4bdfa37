#ifndef GRAMD_CLIENT_LIB_MAP_H
#define GRAMD_CLIENT_LIB_MAP_H

/*
 * Reading maps by table: each row says where in a structure the value of a key goes. Keys that are not known
 * are passed over: a newer daemon may say more. What is nil, or not said, stays 0. Texts and arrays go to the
 * block of `result`.
 *
 * Each function returns 0, GRAM_E_PROTOCOL or GRAM_E_NOMEM.
 */

#include "../proto/cursor.h"
#include "gram.h"

enum key_type { KEY_INT, KEY_BOOL, KEY_NUMBER, KEY_TEXT, KEY_TEXTS, KEY_INTS, KEY_FIELDS, KEY_HOLDER };

struct key {
        const char *name;
        enum key_type type;
        size_t at;
        size_t count_at; /* KEY_TEXTS, KEY_INTS: of the number of elements */
};

#define KEYS_END                                                                                             \
        {                                                                                                    \
                NULL, KEY_INT, 0, 0                                                                          \
        }

int read_map(struct cursor *cursor, void *result, void *into, const struct key *keys);

int read_text(struct cursor *cursor, void *result, const char **text);
int read_number(struct cursor *cursor, double *number);
/* Names of identity fields, added to `*fields` as bits; unknown ones are passed over. */
int read_fields(struct cursor *cursor, unsigned *fields);

#endif
