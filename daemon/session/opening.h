#ifndef GRAMD_DAEMON_SESSION_OPENING_H
#define GRAMD_DAEMON_SESSION_OPENING_H

/*
 * Who may hold a session: shared and exclusive handles, and the opens that wait. Loop thread only.
 *
 * Opens of one session are granted in the order they came, as far as they can be: an open that fits the
 * handles that are there does not wait behind one that does not.
 */

#include "../methods/dispatch.h"
#include "session.h"

struct opening_options {
        bool create;
        bool exclusive;
        uint64_t wait_ms;
        uint64_t linger_ms;
        struct slice dialect;
};

/* Takes the call's request; answers it when the session is open, or cannot be had. */
void ownership_open(struct call *call, int backend, struct slice name, const struct opening_options *options);

/* The session's load has ended: 0, or the backend's error and fault. */
void ownership_opened(struct session *session, int error, const struct fault *fault, bool created);

/* A handle has gone, or the last work is done: perhaps somebody's turn. */
void ownership_released(struct session *session);

/* The session is closed and will be freed unless somebody waits for it. True: it is being opened again. */
bool ownership_closed(struct session *session);

/* Its load or closing takes too long: nobody waits for it any longer. */
void ownership_overdue(struct session *session);

/* The connection takes no more requests: its opens that wait for others are refused, those that load go on.
 */
void ownership_forget(struct connection *connection);
/* The connection is gone: nobody waits for its opens. */
void ownership_abandon(struct connection *connection);

/* The handle that stands in the way of others, for `busy` and for lists; NULL: none. */
struct handle *ownership_holder(const struct session *session);

/* Packs {pid, uid, client, host, since}. */
void ownership_pack_holder(const struct handle *holder, struct buffer *out);

#endif
