/*
 * Asks the clients to leave. Those that do not know the notification `leave` cannot be asked: their handles
 * end with `fenced`, which every client understands, and what they were lent is waited out.
 */

#include "drain.h"

#include <stdio.h>
#include <unistd.h>

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

/* By the drain that is on. */
static bool is_asked(const struct handle *handle)
{
        const struct sessions *sessions = handle->session->sessions;

        return sessions->draining && handle->drain == sessions->drains;
}

bool drain_asks(struct handle *handle)
{
        const struct session *session = handle->session;
        char text[REASON_BYTES], ended[REASON_BYTES + 64];

        if (!storage_is_drained(session->sessions, session->storage) || is_asked(handle))
                return false;
        handle->drain = session->sessions->drains;
        if (!handle->client->leaves) {
                snprintf(ended, sizeof(ended), "%s, and this client cannot be asked to leave", reason(text));
                handle_end(handle, wire_error_names[WIRE_FENCED], ended);
        } else if (connection_is_congested(&handle->client->connection)) {
                handle->is_owed_leave = handle->client->is_owed_leave = true;
        } else {
                tell(handle);
        }
        return true;
}

void drain_catch_up(struct client *client)
{
        if (!client->is_owed_leave)
                return;
        client->is_owed_leave = false;
        for (size_t i = 0; i < client->handles.n_slots; i++) {
                struct handle *handle = client->handles.slots[i].handle;

                if (handle && handle->is_owed_leave && is_asked(handle))
                        tell(handle);
        }
}

/* ---- all sessions ---- */

void drain_start(struct sessions *sessions, const char *who)
{
        if (sessions->draining)
                return;
        sessions->draining = true;
        sessions->drains++;
        log_write_for(sessions->log, LOG_NO_USER, LOG_INFO,
                      "drain: %zu sessions go to other hosts; asked for by %s", drain_left(sessions), who);
        sessions_renew(sessions);
}

void drain_end(struct sessions *sessions, const char *who)
{
        if (!sessions->draining)
                return;
        sessions->draining = false;
        log_write_for(sessions->log, LOG_NO_USER, LOG_INFO, "drain: ended by %s; %zu sessions have stayed",
                      who, drain_left(sessions));
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
