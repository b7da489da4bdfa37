#ifndef GRAMD_DAEMON_SESSION_OPENING_H
#define GRAMD_DAEMON_SESSION_OPENING_H

/*
 * Who gets a handle: shared and exclusive ones, and the opens that wait. Loop thread only.
 *
 * Opens of one session are granted in the order they came, as far as they fit the handles that are there: one
 * that fits does not wait behind one that does not.
 */

#include "handle.h"

struct opening_options {
        bool create;
        bool exclusive;
        uint64_t wait_ms;
        uint64_t linger_ms;
        struct slice dialect;
};

/* Takes the client's request. It is answered when the session is open, or cannot be had. */
void opening_start(struct client *client, struct request *request, struct sessions *sessions,
                   struct storage *storage, struct slice name, const struct opening_options *options);

/* Grants every open that fits; refuses those whose wait has run out. The session is OPEN. */
void openings_grant(struct session *session);

/* Loads a CLOSED session for the first open that waits. False: none waits. */
bool openings_load(struct session *session);

/* Refuses all: the session's job takes too long. */
void openings_overdue(struct session *session);

/* The client has ended: its opens that wait for others are refused, those whose session is being loaded go
 * on. */
void openings_end_of_client(struct client *client);
/* The client has gone: nobody waits for its opens. */
void openings_abandon(struct client *client);

/* The one that holds the session exclusively, or NULL. */
struct handle *session_holder(const struct session *session);

/* Packs {pid, uid, client, host, since}. */
void pack_holder(struct buffer *out, const struct handle *holder);

#endif
