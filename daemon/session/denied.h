#ifndef GRAMD_DAEMON_SESSION_DENIED_H
#define GRAMD_DAEMON_SESSION_DENIED_H

/* What is answered to an `open` that is not allowed. Loop thread only. */

#include "../wire/answer.h"
#include "client.h"
#include "session.h"
#include "storage.h"

/*
 * `rights` are those that he has on the session. Without `read`, a user who is confined does not see it
 * (unseen.h): `begun_ms` and `create` are for that.
 */
void deny_open(struct request *request, struct sessions *sessions, const struct credentials *credentials,
               unsigned rights, int64_t begun_ms, bool create);
/* Whether the client's user may have one more session open. False: the request is answered. */
bool open_has_room(struct request *request, const struct client *client, const struct storage *storage);

#endif
