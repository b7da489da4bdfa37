/* Goes through the list of sessions, and through each one's handles. Both may end meanwhile: session.c and
 * handle.c then move the places on. */

#include "renew.h"

#include "opening.h"

enum {
        RULES_A_SLICE = 16384, /* rules that are looked at */
        ENDED_RULES = 64,      /* an ended handle costs as much */
};

/* Takes from what is left of a slice. */
static void use(size_t *left, size_t n)
{
        *left -= n < *left ? n : *left;
}

/* True: all handles of the session have been found. */
static bool renew_handles(struct session *session, size_t *left)
{
        struct sessions *sessions = session->sessions;
        size_t cost = 1 + sessions->config->access.n_rules;

        if (!sessions->renewed_handle)
                sessions->renewed_handle = session->handles.next;
        while (sessions->renewed_handle != &session->handles && *left > 0) {
                struct handle *handle = LINK_OF(sessions->renewed_handle, struct handle, link);

                sessions->renewed_handle = handle->link.next;
                use(left, handle_is_permitted(handle) ? cost : cost + ENDED_RULES);
        }
        return sessions->renewed_handle == &session->handles;
}

bool renew_next(struct sessions *sessions)
{
        size_t left = RULES_A_SLICE;

        while (sessions->renewed && sessions->renewed != &sessions->list && left > 0) {
                struct session *session = LINK_OF(sessions->renewed, struct session, link);

                if (!renew_handles(session, &left))
                        break;
                openings_renew_rights(session);
                session_wake(session);
                use(&left, ENDED_RULES);
                sessions->renewed = session->link.next;
                sessions->renewed_handle = NULL;
        }
        if (sessions->renewed == &sessions->list)
                sessions->renewed = NULL;
        counters_add(sessions->counters, COUNT_SLICES, sessions->renewed != NULL);
        return sessions->renewed;
}

void renew_start(struct sessions *sessions)
{
        sessions->rules++;
        sessions->renewed = sessions->list.next;
        sessions->renewed_handle = NULL;
        renew_next(sessions);
}
