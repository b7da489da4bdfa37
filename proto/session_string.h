#ifndef GRAMD_PROTO_SESSION_STRING_H
#define GRAMD_PROTO_SESSION_STRING_H

/*
 * Session strings: the identity of a session as one line of text, in the formats of the client
 * libraries. One table row a format. The strings are passwords: buffers that held one are wiped
 * here, and whoever keeps one wipes it too.
 */

#include "buffer.h"
#include "records.h"

enum { SESSION_STRING_MAX = 1024 }; /* characters of the longest that is read */

struct session_string_format {
        const char *name;
        /* What the format may carry; the rest of the identity it knows nothing of. */
        unsigned fields;
        /* Without these there is nothing to export. An address or port that is nil is the data centre's. */
        unsigned needs;
        const struct session_string_layout *layout; /* session_string.c's own */
};

/* In the order in which a text of no named format is tried. Ends with a row whose name is NULL. */
extern const struct session_string_format session_string_formats[];

const struct session_string_format *session_string_format_by_name(struct slice name);

/*
 * Reads `text` as `format`, or where that is NULL as the format that its length and shape give away.
 * Returns the format, and in `identity` (initialised by the caller) the values it carried, `date` 0;
 * in `*set` their FIELD_BITs, `date` among them. A field in `*set` may be nil: Telethon's key that is none.
 * NULL: it is not a string of that format, or of any; `identity` is as after identity_init(), and `*why` says
 * so for people, without quoting the text.
 */
const struct session_string_format *session_string_read(struct slice text,
                                                        const struct session_string_format *format,
                                                        struct identity *identity, unsigned *set,
                                                        const char **why);

/*
 * Appends the text to `out`. False: a needed field is nil or out of the format's range; `*missing` is the
 * field's name, and nothing is appended.
 */
bool session_string_write(const struct identity *identity, const struct session_string_format *format,
                          struct buffer *out, const char **missing);

#endif
