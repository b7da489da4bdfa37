#ifndef GRAMD_DAEMON_SESSION_DENIED_H
#define GRAMD_DAEMON_SESSION_DENIED_H

/*
 * What is answered to an `open` that is not allowed. To a user who is confined by patterns (access_hides()),
 * every session outside of them that he does not own is as if it were not there, and he might make none:
 * code, text and audit line are the same in all cases.
 */

#include "../wire/answer.h"
#include "client.h"
#include "storage.h"

/* `rights` are those that he has on the session; `create` is the option of the `open`. */
void deny_open(struct request *request, const struct access *access, const struct credentials *credentials,
               unsigned rights, bool create);
/* It is not there, and he may not create it. */
void deny_create(struct request *request);
/* Whether the client's user may have one more session open. False: the request is answered. */
bool open_has_room(struct request *request, const struct client *client, const struct storage *storage);

#endif
