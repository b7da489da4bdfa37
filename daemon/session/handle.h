#ifndef GRAMD_DAEMON_SESSION_HANDLE_H
#define GRAMD_DAEMON_SESSION_HANDLE_H

/* One client's right to use an open session. Loop thread only. */

#include "client.h"
#include "op.h"

struct handle {
        struct session *session;
        struct client *client;
        struct lane *lane;
        struct link link; /* session->handles */
        int64_t number;   /* `s` on the wire */
        int64_t since;    /* unix seconds */
        unsigned rights;
        bool exclusive;
        bool watching;
        bool is_owed_changes; /* it did not read: it is owed one `changed` with `all` */
};

/* The session must be OPEN. NULL: no memory or no number. */
struct handle *handle_new(struct session *session, struct client *client);
/* The client's handle of this number, or NULL. */
struct handle *handle_find(const struct client *client, int64_t number);
void handle_set_watching(struct handle *handle, bool watching);

/* Closes the handle without notifying the client. The session is woken. */
void handle_close(struct handle *handle);
/* The same, and the client gets an `ended` notification. */
void handle_end(struct handle *handle, const char *code, const char *text);

/* Closes all handles of a client; unless `all`, only those on whose sessions no request of it is unanswered.
 */
void handles_close(struct client *client, bool all);
/* Ends all handles of a session or a client. */
void handles_end_of_session(struct session *session, const char *code, const char *text);
void handles_end_of_client(struct client *client, const char *code, const char *text);

/* The access rules have changed: rights follow at once. */
void handles_renew_rights(struct sessions *sessions);

#endif
