#ifndef GRAMD_DAEMON_SESSION_OPENING_H
#define GRAMD_DAEMON_SESSION_OPENING_H

/*
 * An `open` that cannot be answered at once becomes an opening in its session's list. The session's state
 * tells what it waits for: a load (CLOSED, LOADING), handles that exclude it (OPEN), or the storage to be
 * closed before it is loaded again (ENDING, CLOSING). Loop thread only.
 *
 * They may be thousands. 256, of all sessions together, are answered in one turn of the loop. A session that
 * has more waits for a turn (session_wait_turn()), and then looks at all of them again.
 */

#include "handle.h"

struct opening_options {
        bool create;
        bool exclusive;
        bool seal; /* if the session is not open yet */
        uint64_t wait_ms;
        uint64_t linger_ms;
        struct slice dialect;
};

struct opening {
        struct link link;      /* session->openings */
        struct link of_client; /* client->openings */
        struct session *session;
        struct client *client; /* NULL: it has gone */
        struct request request;
        struct opening_options options;
        char dialect[PEER_TYPE_MAX_BYTES];
        uint64_t deadline_ms; /* of the loop's clock */
        uint64_t press_ms;    /* the same: from then on it ends handles of readers, see granting.c */
        int64_t begun_ms;     /* of CLOCK_BOOTTIME, like the lease of its client */
        struct timer timer;
        unsigned rights;                /* before the session is loaded: without those of an owner */
        unsigned rules;                 /* session_rules(), by which it has its rights */
        struct credentials credentials; /* the client's, who may go before the session is loaded */
        gid_t gids[];
};

extern const char opening_overdue_text[], opening_no_memory_text[], opening_draining_text[];

static inline struct opening *opening_of(const struct link *link)
{
        return LINK_OF(link, struct opening, link);
}

/* ---- one ---- */

/*
 * Whether one more of the client's user may wait for the session. False: it is refused, and the request is
 * answered. The openings are counted, as rows of the turn.
 */
bool opening_may_wait(struct client *client, struct request *request, struct session *session);
/* Appends it to the list. NULL: no memory, and the request is answered. */
struct opening *opening_new(struct session *session, struct client *client, struct request *request,
                            const struct opening_options *options, unsigned rights);
/* Its request is answered. The session is woken. */
void opening_free(struct opening *opening);

/* False: its wait is over, and it is to be answered now. */
bool opening_goes_on(struct opening *opening);
/* Both answer it and free it. */
void opening_refuse(struct opening *opening, enum wire_error error, const char *text);
void opening_deny(struct opening *opening);
/*
 * Called before it is looked at. Finds its rights anew if they may have changed. False: it is not allowed any
 * more, or a drain does not let it in; it has been answered and freed.
 */
bool opening_is_permitted(struct opening *opening);

/* ---- all of a session ---- */

/*
 * The opening at `*at`, which moves on. NULL: there is none, or the turn has answered its 256, and the
 * session waits for a later one.
 */
struct opening *openings_next(struct session *session, struct link **at);

void openings_refuse_all(struct session *session, enum wire_error error, const char *text);
/*
 * The daemon ends, and they have no answer: their clients repeat them, as all that a lost connection leaves
 * unanswered, and the next daemon may grant them.
 */
void openings_leave_all(struct session *session);
/* The session's job has missed its deadline: refuses those whose wait is over. */
void openings_overdue(struct session *session);
/* Refuses those that are not permitted any more. False: more are to be looked at in a later turn. */
bool openings_renew(struct session *session);

/* The client has gone: its openings go on without it, and their answers are dropped. */
void openings_abandon(struct client *client);

#endif
