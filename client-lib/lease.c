/*
 * The lease of a session: how long this host still owns it. The daemon is asked each third of that time, and
 * the time counts from when the question was sent. When it has run out, the program is told, whatever the
 * reason: also if the daemon could not be asked.
 *
 * The daemon has given a lease when it answers `open`, and waits it out before another host gets the session.
 * Until this library knows that lease, the session is not without a limit: the lease is over when the
 * connection is lost, or FIRST_ANSWER_MS later.
 */

#include "client.h"

#include <assert.h>

enum {
        ASK_AGAIN_MIN_MS = 20,
        ASK_AGAIN_MAX_MS = 1000, /* after an error */
        FIRST_ANSWER_MS = 5000,  /* well below the usual term, 15 s */
};

static void lease_answered(void *arg, struct gram_reply *reply)
{
        struct gram_session *session = arg;
        int64_t now = now_ms();
        int64_t left = session->lease_until_ms > now ? session->lease_until_ms - now : 0;
        int64_t pause = left / 3 < ASK_AGAIN_MAX_MS ? left / 3 : ASK_AGAIN_MAX_MS;

        if (reply->error) {
                session->lease_ask_ms = now + pause + ASK_AGAIN_MIN_MS;
                session->client->sessions_next_ms = 0;
        }
}

/* lease_check() repeats it each third of the lease. The session must be OPEN. */
static void lease_ask(struct gram_session *session)
{
        struct call call = call_begin(session->client, session, METHOD_LEASE, 0);

        assert(session->state == SESSION_OPEN);
        session->lease_ask_ms = NEVER_MS;
        call_send_internal(&call, lease_answered, session);
}

/* The lease counts from the sending: a program that was stopped may read the answer when it is over. */
void lease_begin(struct gram_session *session, int64_t lease_ms)
{
        if (lease_ms > 0) {
                if (!session->leased || later_ms(session->asked_ms, lease_ms) > session->lease_until_ms)
                        lease_take(session, session->asked_ms, lease_ms);
        } else if (!session->leased) {
                session->leased = session->lease_unknown = true;
                session->lease_until_ms = later_ms(now_ms(), FIRST_ANSWER_MS);
                session->client->sessions_next_ms = 0;
        }
        lease_ask(session);
}

void lease_connection_lost(struct gram_session *session)
{
        session->lease_ask_ms = NEVER_MS;
        if (!session->lease_unknown)
                return;
        session->lease_unknown = false;
        session->lease_until_ms = now_ms();
        session->client->sessions_next_ms = 0;
}

void lease_take(struct gram_session *session, int64_t sent_ms, int64_t lease_ms)
{
        session->leased = lease_ms >= 0;
        session->lease_unknown = false;
        session->lease_until_ms = session->leased ? later_ms(sent_ms, lease_ms) : NEVER_MS;
        session->lease_ask_ms = session->leased ? later_ms(sent_ms, lease_ms / 3 + 1) : NEVER_MS;
        if (session->lease_until_ms > now_ms())
                session->lease_told = false;
        session->client->sessions_next_ms = 0;
}

GRAM_API int64_t gram_session_lease_ms(const struct gram_session *session)
{
        int64_t now = now_ms();

        if (!session->leased)
                return -1;
        return session->lease_until_ms > now ? session->lease_until_ms - now : 0;
}

void lease_check(struct gram_session *session, int64_t now)
{
        struct gram_event event = { .type = GRAM_EVENT_LEASE_LOST, .session = session };

        if (session->leased && !session->lease_told && session->lease_until_ms <= now) {
                session->lease_told = true;
                client_event(session->client, &event);
        }
        if (session->state == SESSION_OPEN && session->lease_ask_ms <= now)
                lease_ask(session);
}
