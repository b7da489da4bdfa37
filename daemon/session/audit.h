#ifndef GRAMD_DAEMON_SESSION_AUDIT_H
#define GRAMD_DAEMON_SESSION_AUDIT_H

/*
 * Audit lines: who did, or was not allowed to do, what to which session. All have one shape, the record
 * `audit` of the log:
 *
 *     audit: action="delete" result="done" uid=1000 pid=4242 client_id=7 client="a bot" session="anna"
 *     backend="file"
 *
 * `user`, behind `uid`, is its name; it is missing if it has none, or while it is being looked up, or if the
 * client has gone. `client` is missing if the client has no name or has gone, `session` if the action
 * concerns none. `result` is `done`, `denied`, or the code of an error after which a change may have been
 * made. Other errors have changed and shown nothing, and have no line. Loop thread only.
 */

#include "../wire/answer.h"
#include "client.h"

/* X(CONSTANT, name in the line) */
#define AUDIT_ACTIONS(X)                                                                                     \
        X(OPEN, "open")                                                                                      \
        X(CREATE, "create") /* an open that has made the session */                                          \
        X(READ_KEY, "read_key")                                                                              \
        X(WRITE_KEY, "write_key")                                                                            \
        X(READ_KV, "read_kv") /* the first time that a client asks for values of a session's area */         \
        X(EXPORT, "export")                                                                                  \
        X(IMPORT, "import")                                                                                  \
        X(DELETE, "delete")                                                                                  \
        X(SEAL, "seal")                                                                                      \
        X(UNSEAL, "unseal")                                                                                  \
        X(ROTATE, "rotate")                                                                                  \
        X(CHOWN, "chown")                                                                                    \
        X(DISCONNECT, "disconnect")                                                                          \
        X(DRAIN, "drain")

#define AUDIT_ACTION(constant, name) AUDIT_##constant,
enum audit_action {
        AUDIT_NONE, /* its line is written if it is denied, and names the method */
        AUDIT_ACTIONS(AUDIT_ACTION) AUDIT_COUNT
};
#undef AUDIT_ACTION

/* Notes in the request whose it is, and its method's action. `get` and `set` have one only with a key. */
void audit_begin(struct request *request, const struct client *client);

/* For logs: whose request it is, also when it has been answered, or the client has gone. */
const char *audit_who(const struct request *request, char text[CLIENT_TEXT_BYTES]);

/* Writes the line of a request that has been answered, if it is to have one. `error` is NULL or a code. */
void audit_answered(const struct request *request, struct log *log, const char *error);

/*
 * Writes it now, because the action has a target other than a session: a client that is disconnected, a new
 * owner. The answer writes no other.
 */
void audit_target(struct request *request, struct log *log, const char *target);

#endif
