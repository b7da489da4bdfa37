#ifndef GRAMD_DAEMON_SESSION_HANDLE_H
#define GRAMD_DAEMON_SESSION_HANDLE_H

/* One client's right to use an open session. Loop thread only. */

#include "client.h"
#include "lent.h"
#include "op.h"

struct handle {
        struct session *session;
        struct client *client;
        struct lane *lane;
        struct link link;       /* session->handles */
        struct link of_writers; /* session->writers, if it has the right `write` */
        int64_t number;         /* `s` on the wire */
        int64_t since;          /* unix seconds */
        uint64_t lent_until_ms; /* the end of the lease that its client was told of last; of the loop's clock
                                 */
        unsigned rights;
        unsigned rules; /* session_rules(), by which it has its rights */
        unsigned drain; /* sessions->drains: its client has been asked to leave, or is owed that */
        bool exclusive;
        bool watching;
        bool is_owed_changes; /* its client did not read: it is to get one `changed` with `all` */
        bool is_owed_leave;   /* its client did not read: it is to get the `leave` of the drain */
};

/* The session must be OPEN. NULL: no memory or no number. */
struct handle *handle_new(struct session *session, struct client *client);
/* The client's handle of this number, or NULL. */
struct handle *handle_find(const struct client *client, int64_t number);
void handle_set_watching(struct handle *handle, bool watching);

/* Its client is told of a lease of so many milliseconds. */
void handle_lend(struct handle *handle, int64_t left_ms);

/* Its client has closed it. The session is woken. */
void handle_close(struct handle *handle);
/* Its client has gone without closing it: a lease that it was told of is kept. */
void handle_abandon(struct handle *handle);
/* The same, and the client gets an `ended` notification. */
void handle_end(struct handle *handle, const char *code, const char *text);

/* Abandons the handles of a client: all of them, or only those whose lanes have no unanswered request. */
void handles_abandon(struct client *client, bool all);
/* Ends handles of a session: as many as `left`, which it takes them from. True: none is left. */
bool handles_end_of_session(struct session *session, const char *code, const char *text, size_t *left);
/* Ends all handles of a client. */
void handles_end_of_client(struct client *client, const char *code, const char *text);

/* The handle that holds the session exclusively, or NULL. */
struct handle *session_holder(const struct session *session);
/* The handle that has had the right `write` for longest, or NULL. */
struct handle *session_first_writer(const struct session *session);
/* Who holds it: packs {pid, uid, client, host, since}. */
void pack_holder(struct buffer *out, const struct handle *holder);
/* Answers that handles keep the session from who wants it. */
void answer_busy(struct request *request, const struct session *session);
/* Answers an `open` with this handle. `lease_ms` -1: no limit. */
void answer_open(struct request *request, const struct handle *handle, bool created, int64_t lease_ms);

/* What the client may do with the session now. */
unsigned handle_rights(const struct session *session, struct client *client);
/*
 * Called before it is used. Ends it if its session ends. If the access rules or the owner have changed, finds
 * its rights anew, and ends it if it has no `read`, or is exclusive and has no `write`. False: it has been
 * ended.
 */
bool handle_is_permitted(struct handle *handle);

#endif
