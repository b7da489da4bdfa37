#ifndef GRAMD_CLIENT_LIB_MAP_H
#define GRAMD_CLIENT_LIB_MAP_H

/*
 * Reading maps by table: a row says where in a structure the value of a key goes. Unknown keys are skipped: a
 * newer daemon may send more. A value that is nil or missing stays 0. Texts and arrays are copied into the
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
/* Reads names of identity fields and adds their bits to `*fields`; unknown names are skipped. */
int read_fields(struct cursor *cursor, unsigned *fields);

#endif
