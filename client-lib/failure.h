#ifndef GRAMD_CLIENT_LIB_FAILURE_H
#define GRAMD_CLIENT_LIB_FAILURE_H

/* A struct gram_error with buffers for its texts. Owns no other memory. */

#include "../proto/cursor.h"
#include "gram.h"

struct failure {
        struct gram_error error; /* points into this struct: copy with failure_copy() */
        struct gram_holder holder;
        char name[40];
        char message[640];
        char client[256];
        char host[256];
        char file[512];
};

/* Returns `code`. */
int failure_set(struct failure *failure, int code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void failure_copy(struct failure *to, const struct gram_error *from);

/* Reads `[code, message, detail]`. False: malformed. */
bool failure_read(struct failure *failure, struct cursor *cursor);
/* Reads the elements of such an array, `parts` of them. */
bool failure_read_parts(struct failure *failure, struct cursor *cursor, uint32_t parts);

#endif
