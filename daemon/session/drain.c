/*
 * Asks the clients to leave. Those that do not know the notification `leave` cannot be asked: their handles
 * end with `fenced`, which every client understands, and what they were lent is waited out.
 */

#include "drain.h"

#include <stdio.h>
#include <unistd.h>

#include "opening.h"

enum { REASON_BYTES = 400 };

/* ---- what clients are told ---- */

static const char *reason(char text[REASON_BYTES])
{
        char host[256] = "";

        gethostname(host, sizeof(host) - 1);
        snprintf(text, REASON_BYTES, "%s hands its sessions over to other hosts", host);
        return text;
}

static void tell(struct handle *handle)
{
        struct buffer *out = connection_out(&handle->client->connection);
        char text[REASON_BYTES];

        handle->is_owed_leave = false;
        message_begin_notification(out, "leave", 2);
        pack_int(out, handle->number);
        pack_cstr(out, reason(text));
}

static void ask_to_leave(struct handle *handle)
{
        char text[REASON_BYTES], ended[REASON_BYTES + 64];

        if (!handle->client->leaves) {
                snprintf(ended, sizeof(ended), "%s, and this client cannot be asked to leave", reason(text));
                handle_end(handle, wire_error_names[WIRE_FENCED], ended);
        } else if (connection_is_congested(&handle->client->connection)) {
                handle->is_owed_leave = handle->client->is_owed_leave = true;
        } else {
                tell(handle);
        }
}

void drain_catch_up(struct client *client)
{
        if (!client->is_owed_leave)
                return;
        client->is_owed_leave = false;
        for (size_t i = 0; i < client->handles.n_slots; i++) {
                struct handle *handle = client->handles.slots[i].handle;

                if (handle && handle->is_owed_leave)
                        tell(handle);
        }
}

/* ---- all sessions ---- */

static void drain_session(struct session *session)
{
        struct link *at = session->handles.next;

        openings_drained(session);
        while (at != &session->handles) {
                struct handle *handle = LINK_OF(at, struct handle, link);

                at = at->next;
                ask_to_leave(handle);
        }
}

void drain_start(struct sessions *sessions, const char *who)
{
        if (sessions->draining)
                return;
        sessions->draining = true;
        log_write_for(sessions->log, LOG_NO_USER, LOG_INFO,
                      "drain: %zu sessions go to other hosts; asked for by %s", drain_left(sessions), who);
        for (struct link *at = sessions->list.next; at != &sessions->list; at = at->next) {
                struct session *session = LINK_OF(at, struct session, link);

                if (storage_is_drained(sessions, session->storage))
                        drain_session(session);
        }
}

void drain_end(struct sessions *sessions, const char *who)
{
        if (!sessions->draining)
                return;
        sessions->draining = false;
        log_write_for(sessions->log, LOG_NO_USER, LOG_INFO, "drain: ended by %s; %zu sessions have stayed",
                      who, drain_left(sessions));
        for (struct link *at = sessions->list.next; at != &sessions->list; at = at->next) {
                struct session *session = LINK_OF(at, struct session, link);

                for (struct link *of = session->handles.next; of != &session->handles; of = of->next)
                        LINK_OF(of, struct handle, link)->is_owed_leave = false;
        }
}

size_t drain_left(const struct sessions *sessions)
{
        const struct storages *storages = sessions->storages;
        size_t n = sessions->n_leased;

        for (size_t i = 0; i < storages->n; i++)
                if (storages->all[i].env && storages->all[i].backend->unreleased)
                        n += storages->all[i].backend->unreleased(storages->all[i].env);
        return n;
}
