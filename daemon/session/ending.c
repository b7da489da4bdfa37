/* What the clients of a fenced or deleted session are told. */

#include "ending.h"

#include <assert.h>
#include <string.h>

#include "unsynced.h"

enum { SLICE = 512 }; /* handles, and requests that wait */

static void begin(struct session *session, enum wire_error of_ops, enum wire_error of_handles,
                  const char *text)
{
        session_move(session, SESSION_ENDING);
        session->ending = (struct ending){ true, of_ops, of_handles, strdup(text) };
}

void session_fenced(struct session *session, const char *text)
{
        char what[SESSION_TEXT_BYTES];

        log_write_for(session->sessions->log, session->uid, LOG_ERROR, "%s: %s",
                      session_describe(session, what), text);
        begin(session, WIRE_FENCED, WIRE_FENCED, text);
}

void session_deleted(struct session *session, struct handle *deleter)
{
        assert(!session->stored);
        begin(session, WIRE_BAD_SESSION, WIRE_NOT_FOUND, "the session was deleted");
        session_know_owner(session, NULL); /* one of this name that is made now is another one's */
        if (deleter)
                handle_close(deleter);
}

bool ending_slice(struct session *session)
{
        const struct ending *ending = &session->ending;
        const char *text = session_ending_text(session);
        size_t left = SLICE;

        if (!ending->is_told)
                return true;
        if (!lanes_fail_some(session, ending->of_ops, text, &left))
                return false;
        unsynced_end(session);
        return handles_end_of_session(session, wire_error_names[ending->of_handles], text, &left);
}
