#ifndef GRAMD_DAEMON_SESSION_OPENING_H
#define GRAMD_DAEMON_SESSION_OPENING_H

/*
 * Who gets a handle, shared or exclusive, and the openings: opens that wait. Loop thread only.
 *
 * Openings of one session are looked at in the order they came. One that fits the open handles is granted
 * even if an earlier one keeps waiting.
 *
 * Handles with the right `read` alone do not hold off an exclusive open for long: when its wait is over,
 * after five seconds at most, they are ended with `busy`.
 */

#include "handle.h"

struct opening_options {
        bool create;
        bool exclusive;
        bool seal; /* if the session is not open yet */
        uint64_t wait_ms;
        uint64_t linger_ms;
        struct slice dialect;
};

/* Takes the client's request. It is answered when the open is granted or refused. */
void opening_start(struct client *client, struct request *request, struct sessions *sessions,
                   struct storage *storage, struct slice name, const struct opening_options *options);

/*
 * Grants every open that fits; refuses those whose wait has run out. If the daemon ends, none gets an answer.
 * The session is OPEN.
 */
void openings_grant(struct session *session);

/* Loads a CLOSED session for the first open that waits. False: none waits. */
bool openings_load(struct session *session);

/* The session's job has missed its deadline: refuses those whose wait is over. */
void openings_overdue(struct session *session);
/* Refuses all, because of a drain. A load under way goes on: the session is closed again after it. */
void openings_drained(struct session *session);

/* Finds the rights of the session's openings anew, and refuses those that are not allowed any more. */
void openings_renew_rights(struct session *session);

/*
 * The client's connection is ending: those of its openings that wait for other handles are refused; those
 * that wait for a load go on.
 */
void openings_end_of_client(struct client *client);
/* The client has gone: its openings go on without it, and their answers are dropped. */
void openings_abandon(struct client *client);

#endif
