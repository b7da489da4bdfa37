#ifndef GRAMD_DAEMON_CONFIG_URI_H
#define GRAMD_DAEMON_CONFIG_URI_H

/* URIs with secrets in them. Pure functions. */

#include <stddef.h>

/* The URI without passwords and other secrets, cut at `size`: for logs, errors and lists. */
void uri_mask(const char *uri, char *masked, size_t size);

#endif
