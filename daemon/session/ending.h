#ifndef GRAMD_DAEMON_SESSION_ENDING_H
#define GRAMD_DAEMON_SESSION_ENDING_H

/* An open session ends under its clients: they are told, and nothing more is written. Loop thread only. */

#include "handle.h"

/* Another host owns it. `text` says so for people. */
void session_fenced(struct session *session, const char *text);

/* It is no longer stored. The deleter's own handle (or NULL) is closed without an `ended`. */
void session_deleted(struct session *session, struct handle *deleter);

#endif
