#ifndef GRAMD_TESTS_SUPPORT_REPEATER_H
#define GRAMD_TESTS_SUPPORT_REPEATER_H

/* Clients that have told the daemon an id, and writes whose msgid the test chooses: it can repeat them. */

#include "wire.h"

#define ID "h'000102030405060708090a0b0c0d0e0f'"

enum { MSGID = 100000 };

/* A connection on which `hello` has told this id. */
struct wire *connect_as(const struct daemon *d, const char *id);
/* `hello` with this id on a connection that is there. Returns it. */
struct wire *greet(struct wire *c, const char *id);

/* Sends `METHOD(session PARAMETERS)` with this msgid. The parameters begin with a comma. */
void send_as(struct wire *c, uint32_t id, const char *method, int session, const char *parameters);
/* The same, and the answer to it is the expected one. */
#define write_as(...) repeater_write(__FILE__, __LINE__, __VA_ARGS__)
void repeater_write(const char *file, int line, struct wire *c, uint32_t id, const char *expected,
                    const char *method, int session, const char *parameters);

/* Until the daemon has no session open. The client may be any. */
void await_closed(struct wire *c);

#endif
