#ifndef GRAMD_PROTO_SESSION_STRING_H
#define GRAMD_PROTO_SESSION_STRING_H

/*
 * Session strings: the identity of a session as one line of text, in the formats of the client libraries, one
 * table row for each. The strings are passwords: buffers that held one are wiped here, and callers wipe their
 * copies.
 */

#include "buffer.h"
#include "records.h"

enum { SESSION_STRING_MAX = 1024 }; /* characters of the longest that is read */

struct session_string_format {
        const char *name;
        /* FIELD_BITs of the fields that the format can hold. */
        unsigned fields;
        /* FIELD_BITs of the fields that must not be nil. A nil address or port is replaced. */
        unsigned needs;
        const struct session_string_layout *layout; /* session_string.c's own */
};

/* In the order in which they are tried if no format is named. Ends with a row whose name is NULL. */
extern const struct session_string_format session_string_formats[];

const struct session_string_format *session_string_format_by_name(struct slice name);

/*
 * Reads `text` as `format`; if that is NULL, as the first format that fits. Returns the format. `identity`,
 * which the caller has initialised, gets the values of the string, and `date` 0; `*set` gets their
 * FIELD_BITs, with that of `date`. A field in `*set` may be nil: Telethon can say that there is no key.
 *
 * NULL: the text is not a string of that format, or of any. `identity` is then as after identity_init(), and
 * `*why` says so for people, without quoting the text. `*why` NULL: there was no memory to read it.
 */
const struct session_string_format *session_string_read(struct slice text,
                                                        const struct session_string_format *format,
                                                        struct identity *identity, unsigned *set,
                                                        const char **why);

/*
 * Appends the text to `out`. False: a needed field is nil or out of the format's range; `*missing` is the
 * field's name, and nothing is appended. True with `out->failed`: no memory.
 */
bool session_string_write(const struct identity *identity, const struct session_string_format *format,
                          struct buffer *out, const char **missing);

#endif
