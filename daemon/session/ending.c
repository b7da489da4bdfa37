/* What the clients of a fenced or deleted session are told. */

#include "ending.h"

#include <assert.h>

#include "unsynced.h"

void session_fenced(struct session *session, const char *text)
{
        char what[SESSION_TEXT_BYTES];

        log_write_for(session->sessions->log, session->uid, LOG_ERROR, "%s: %s",
                      session_describe(session, what), text);
        session_move(session, SESSION_ENDING);
        cache_forget_all(session->cache);
        lanes_fail(session, WIRE_FENCED, text);
        handles_end_of_session(session, wire_error_names[WIRE_FENCED], text);
}

void session_deleted(struct session *session, struct handle *deleter)
{
        assert(!session->stored);
        lanes_fail(session, WIRE_BAD_SESSION, "the session was deleted");
        unsynced_end(session);
        if (deleter)
                handle_close(deleter);
        handles_end_of_session(session, wire_error_names[WIRE_NOT_FOUND], "the session was deleted");
        session_move(session, SESSION_CLOSED);
}
