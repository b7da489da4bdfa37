#ifndef GRAMD_TESTS_SUPPORT_CLIENT_H
#define GRAMD_TESTS_SUPPORT_CLIENT_H

/*
 * A libgram client for tests. GRAM_EVENT_DISCONNECTED fails the test, unless the test has broken the
 * connection. (A client connects again by itself, so a test that only looks at results would not notice.)
 */

#include "../../client-lib/gram.h"

/* Like gram_client_new(); the handler of `options` gets all events. Freed by gram_client_free(). */
struct gram_client *test_client_new(const struct gram_options *options);

/*
 * The test breaks connections now: each client may be disconnected once. daemon_kill(), daemon_stop() and
 * puppet_drop() call it; a test that ends a connection in another way calls it itself. Any thread.
 */
void test_breaks_connections(void);

#endif
