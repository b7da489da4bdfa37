/*
 * Secrets of a MongoDB URI are in two places: the password before the '@', and the values of some options
 * after the '?'.
 */

#include "uri.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct masked {
        char *text;
        size_t len, size;
};

static void put(struct masked *masked, const char *text, size_t len)
{
        size_t room = masked->size - masked->len - 1;

        len = len < room ? len : room;
        memcpy(masked->text + masked->len, text, len);
        masked->len += len;
        masked->text[masked->len] = '\0';
}

static bool is_secret(const char *name, size_t len)
{
        /* authMechanismProperties may hold a session token. */
        static const char properties[] = "authMechanismProperties", password[] = "password";

        return (len == sizeof(properties) - 1 && strncasecmp(name, properties, len) == 0) ||
               (len >= sizeof(password) - 1 &&
                strncasecmp(name + len - (sizeof(password) - 1), password, sizeof(password) - 1) == 0);
}

/*
 * A password that was not percent-encoded may hold any of "/?@". So everything up to the last '@' counts as
 * the password: this may hide too much, but never shows a part of it.
 */
void uri_mask(const char *uri, char *text, size_t size)
{
        struct masked masked = { .text = text, .size = size };
        const char *authority = strstr(uri, "://"), *at = strrchr(uri, '@'), *colon;

        if (!size)
                return;
        *text = '\0';
        authority = authority ? authority + 3 : uri;
        colon = strchr(authority, ':');
        if (at && colon && colon < at) {
                put(&masked, uri, (size_t)(colon + 1 - uri));
                put(&masked, "***", 3);
                uri = at;
        }
        while (*uri) {
                size_t len = strcspn(uri, "?&"), name = strcspn(uri, "=?&");

                if (uri[name] == '=' && is_secret(uri, name)) {
                        put(&masked, uri, name + 1);
                        put(&masked, "***", 3);
                } else {
                        put(&masked, uri, len);
                }
                put(&masked, uri + len, uri[len] ? 1 : 0);
                uri += len + (uri[len] ? 1 : 0);
        }
}
