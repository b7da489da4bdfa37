/* Goes through the list of sessions, and through each one's handles. Both may end meanwhile: session.c and
 * handle.c then move the places on. One that has another owner comes once more, at the list's end. */

#include "renew.h"

#include "drain.h"
#include "opening.h"

enum {
        RULES_A_SLICE = 16384, /* rules that are looked at */
        HANDLE_RULES = 8,      /* a handle costs as much as these */
        TOLD_RULES = 64,       /* a handle that is ended, or asked to leave, costs as much */
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
        const struct access *access = &sessions->config->access;

        if (!sessions->renewed_handle)
                sessions->renewed_handle = session->handles.next;
        while (sessions->renewed_handle != &session->handles && *left > 0) {
                struct handle *handle = LINK_OF(sessions->renewed_handle, struct handle, link);
                size_t cost =
                        HANDLE_RULES + access->n_rules + access_cost(access, &handle->client->credentials);

                sessions->renewed_handle = handle->link.next;
                use(left, handle_is_permitted(handle) && !drain_asks(handle) ? cost : cost + TOLD_RULES);
        }
        return sessions->renewed_handle == &session->handles;
}

bool renew_next(struct sessions *sessions)
{
        size_t left = RULES_A_SLICE;

        while (sessions->renewed && sessions->renewed != &sessions->list && left > 0) {
                struct session *session = LINK_OF(sessions->renewed, struct session, link);

                if (!renew_handles(session, &left) || !openings_renew(session))
                        break;
                session->owner_is_new = false;
                session_wake(session);
                use(&left, TOLD_RULES);
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
        sessions_renew(sessions);
}
