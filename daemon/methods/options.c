/* What methods that take a map of options share. */

#include "methods.h"

bool option_key(struct call *call, struct cursor *cursor, struct slice *key)
{
        if (cursor_str(cursor, SIZE_MAX, key))
                return true;
        answer_error(&call->request, WIRE_BAD_REQUEST, "%s: the keys of the map must be str",
                     call->request.method->name);
        return false;
}

void option_unknown(struct call *call, struct slice key)
{
        char text[QUOTE_BYTES];

        answer_error(&call->request, WIRE_BAD_REQUEST, "%s has no option `%s`", call->request.method->name,
                     quote(key, text));
}

void option_wrong(struct call *call, struct slice key, struct cursor value, const char *must_be)
{
        char text[QUOTE_BYTES], sent[QUOTE_BYTES];

        answer_error(&call->request, WIRE_BAD_REQUEST, "%s: `%s` must be %s, not %s",
                     call->request.method->name, quote(key, text), must_be, quote_value(value, sent));
}
