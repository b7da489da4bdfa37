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
        bool is_owed_changes; /* its client did not read: it is to get one `changed` with `all` */
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

/* Closes the handles of a client: all of them, or only those whose lanes have no unanswered request. */
void handles_close(struct client *client, bool all);
/* Ends all handles of a session or a client. */
void handles_end_of_session(struct session *session, const char *code, const char *text);
void handles_end_of_client(struct client *client, const char *code, const char *text);

/* Finds the rights of all handles anew, because the access rules have changed. */
void handles_renew_rights(struct sessions *sessions);

#endif
