#ifndef GRAMD_DAEMON_SESSION_DENIED_H
#define GRAMD_DAEMON_SESSION_DENIED_H

/*
 * Whether an `open` is allowed, and what is answered if it is not. Loop thread only.
 *
 * A user who is confined (access_hides()) sees no sessions outside but his own: to all others the answer is
 * that there is none, and that he might make none. It is the same whether there is one or not, and whatever
 * its state is. It leaves a fixed time after the `open` came, so that neither its time nor its place among
 * other answers tells how long it took to find the owner.
 */

#include "../wire/answer.h"
#include "client.h"
#include "session.h"
#include "storage.h"

/* Whether it is known whose the session is; else loading it tells. */
bool open_knows_owner(const struct session *session);
/* By the rules, and by the owner only if that is known: what a former session had is another one's. */
unsigned open_rights(const struct session *session, const struct credentials *credentials);
/* Whether they are enough. */
bool open_suffices(unsigned rights, bool exclusive);
/* Whether the client's user may have one more session open. False: the request is answered. */
bool open_has_room(struct request *request, const struct client *client, const struct storage *storage);
/*
 * The rights on the session of the request, which may not be open. False: they are not enough, whoever the
 * owner is, and the request is answered.
 */
bool open_is_permitted(struct client *client, struct request *request, struct sessions *sessions,
                       const struct storage *storage, bool exclusive, bool create, unsigned *rights);

/*
 * `rights` are those on the session, `begun_ms` is when the `open` came, of boot_now_ms(), `create` is its
 * option.
 */
void deny_open(struct request *request, struct sessions *sessions, const struct credentials *credentials,
               unsigned rights, int64_t begun_ms, bool create);
/* To any user: it is not there, and he may not create it. */
void deny_create(struct request *request);
/* The daemon ends: answers all that wait. */
void denied_stop(struct sessions *sessions);

#endif
