#ifndef GRAMD_DAEMON_METHODS_METHODS_H
#define GRAMD_DAEMON_METHODS_METHODS_H

/*
 * The handlers, one for each row of the method table, in the files of their subject. A handler answers
 * the call's request, or defers it. Loop thread only.
 */

#include "dispatch.h"

/* methods_session.c */
void method_open(struct call *call);
void method_close(struct call *call);
void method_lease(struct call *call);
void method_save(struct call *call);
void method_delete(struct call *call);
void method_info(struct call *call);
void method_watch(struct call *call);

/* methods_identity.c */
void method_get(struct call *call);
void method_set(struct call *call);
void method_export_string(struct call *call);
void method_import_string(struct call *call);

/* methods_peer.c */
void method_update_peers(struct call *call);
void method_get_peer_by_id(struct call *call);
void method_get_peer_by_username(struct call *call);
void method_get_peer_by_phone_number(struct call *call);
void method_get_peers(struct call *call);
void method_scan_peers(struct call *call);

/* methods_username.c */
void method_update_usernames(struct call *call);
void method_scan_usernames(struct call *call);

/* methods_state.c */
void method_update_states(struct call *call);
void method_get_states(struct call *call);
void method_remove_states(struct call *call);

/* methods_admin.c */
void method_hello(struct call *call);
void method_ping(struct call *call);
void method_sessions(struct call *call);
void method_clients(struct call *call);
void method_disconnect(struct call *call);
void method_stats(struct call *call);
void method_monitor(struct call *call);

/* methods_peer.c: the limit of a scan, 1 to 1000. False: answered. */
bool scan_limit(struct call *call, const struct param *limit);

enum { ROW_BYTES = 1024 }; /* more than any row of a list takes */

/* For options maps: reads the next key. False (and answered) where it is no str. */
bool option_key(struct call *call, struct cursor *cursor, struct slice *key);
/* Answers: an unknown option, or a wrong value, at which the cursor still is. */
void option_unknown(struct call *call, struct slice key);
void option_wrong(struct call *call, struct slice key, struct cursor value, const char *must_be);

#endif
