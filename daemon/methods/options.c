/* What methods that take a map of options share. */

#include <stdio.h>

#include "methods.h"

enum { PUBLIC_MAX_BYTES = 32 }; /* no name of a field, option or format is longer; keys and strings are */

const char *quote_public(const struct call *call, struct slice sent, char text[QUOTE_BYTES])
{
        const struct method *method = call->request.method;

        if (sent.len <= PUBLIC_MAX_BYTES || (method && !(method->traits & METHOD_SECRET)))
                return quote(sent, text);
        snprintf(text, QUOTE_BYTES, "(%zu bytes)", sent.len);
        return text;
}

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
                     quote_public(call, key, text));
}

void option_wrong(struct call *call, struct slice key, struct cursor value, const char *must_be)
{
        char text[QUOTE_BYTES], sent[QUOTE_BYTES];
        struct cursor copy = value;
        struct slice string;

        answer_error(&call->request, WIRE_BAD_REQUEST, "%s: `%s` must be %s, not %s",
                     call->request.method->name, quote_public(call, key, text), must_be,
                     cursor_str(&copy, SIZE_MAX, &string) ? quote_public(call, string, sent)
                                                          : quote_value(value, sent));
}
