#ifndef GRAMD_DAEMON_METHODS_METHODS_H
#define GRAMD_DAEMON_METHODS_METHODS_H

/*
 * The handlers, one for each row of the method table, in one file for each subject. A handler answers the
 * call's request or defers it. Loop thread only.
 */

#include "dispatch.h"

#define HANDLER(constant, name, shape, right, traits) void method_##name(struct call *call);
CONTRACT_METHODS(HANDLER)
#undef HANDLER

/* admin.c: tells every monitor of a request that was answered. `error` is NULL or a code. */
void monitors_tell(const struct clients *clients, const struct request *request, const char *error);

/* peer.c: checks the limit of a scan, 1 to 1000. False: it is wrong, and the request is answered. */
bool scan_limit(struct call *call, const struct param *limit);

enum { ROW_BYTES = 1024 }; /* upper bound of one row of a list */

/*
 * options.c: quote(); but of methods that take keys, and of unknown ones, no text that is long enough for a
 * key or a session string in the wrong place.
 */
const char *quote_public(const struct call *call, struct slice sent, char text[QUOTE_BYTES]);

/* options.c: reads the next key of a map. False: it is no str, and the request is answered. */
bool option_key(struct call *call, struct cursor *cursor, struct slice *key);
/* Answers that there is no such option, or that its value (at which `value` is) must be `must_be`. */
void option_unknown(struct call *call, struct slice key);
void option_wrong(struct call *call, struct slice key, struct cursor value, const char *must_be);

#endif
