/* What only an operator may ask: clients, disconnect, drain, stats, monitor. */

#include "../base/clock.h"
#include "../session/audit.h"
#include "../session/drain.h"
#include "../wire/turn.h"
#include "methods.h"
#include "metrics.h"

enum { LISTED_SESSIONS_MAX = 100 };

/* ---- clients ---- */

static void pack_number(struct buffer *out, const char *key, uint64_t value)
{
        pack_cstr(out, key);
        pack_int(out, (int64_t)value);
}

/* Handles on sessions that a drain hands over. */
static uint64_t count_leased(const struct client *client)
{
        uint64_t n = 0;

        for (size_t i = 0; i < client->handles.n_slots; i++) {
                const struct handle *handle = client->handles.slots[i].handle;

                n += handle && handle->session->storage->backend->lease;
        }
        return n;
}

static void pack_client(struct buffer *out, const struct client *client)
{
        size_t n = client->handles.n < LISTED_SESSIONS_MAX ? client->handles.n : LISTED_SESSIONS_MAX;

        pack_map(out, 10);
        pack_number(out, "id", client->id);
        pack_number(out, "pid", (uint64_t)client->credentials.pid);
        pack_number(out, "uid", client->credentials.uid);
        pack_number(out, "gid", client->credentials.gids[0]);
        pack_cstr(out, "client");
        pack_str(out, slice_of(client->name));
        pack_number(out, "since", (uint64_t)client->since);
        pack_cstr(out, "sessions");
        pack_array(out, (uint32_t)n);
        for (size_t i = 0; i < client->handles.n_slots && n > 0; i++) {
                if (!client->handles.slots[i].handle)
                        continue;
                pack_str(out, client->handles.slots[i].handle->session->name);
                n--;
        }
        pack_number(out, "requests", client->n_requests);
        pack_number(out, "in_flight", client->connection.n_deferred);
        pack_number(out, "leased", count_leased(client));
}

void method_clients(struct call *call)
{
        const struct clients *clients = call->context->clients;
        struct buffer *out = answer_begin(&call->request);

        pack_array(out, (uint32_t)clients->n);
        for (struct link *at = clients->list.next; at != &clients->list; at = at->next)
                pack_client(out, LINK_OF(at, struct client, link));
        answer_end(&call->request);
}

static struct client *find_client(const struct clients *clients, int64_t id)
{
        for (struct link *at = clients->list.next; at != &clients->list; at = at->next)
                if (LINK_OF(at, struct client, link)->id == (uint64_t)id)
                        return LINK_OF(at, struct client, link);
        return NULL;
}

void method_disconnect(struct call *call)
{
        struct client *client = find_client(call->context->clients, call->params[0].integer);
        char who[CLIENT_TEXT_BYTES];

        if (!client) {
                answer_error(&call->request, WIRE_NOT_FOUND, "there is no client %lld",
                             (long long)call->params[0].integer);
                return;
        }
        client_describe(client, who);
        log_write_for(call->context->log, call->client->credentials.uid, LOG_INFO,
                      "%s is disconnected by an operator", who);
        audit_target(&call->request, call->context->log, who);
        handles_end_of_client(client, wire_error_names[WIRE_DENIED], "disconnected by an operator");
        answer_nil(&call->request);
        connection_end(&client->connection);
}

/* ---- drain, stats, monitor ---- */

void method_drain(struct call *call)
{
        const struct param *on = &call->params[0];
        char who[CLIENT_TEXT_BYTES];

        client_describe(call->client, who);
        if (!on->given || on->boolean)
                drain_start(call->context->sessions, who);
        else
                drain_end(call->context->sessions, who);
        answer_nil(&call->request);
}

void method_stats(struct call *call)
{
        metrics_pack(call->context, answer_begin(&call->request));
        answer_end(&call->request);
}

void method_monitor(struct call *call)
{
        client_set_monitoring(call->client, call->params[0].boolean);
        answer_nil(&call->request);
}

static void pack_event(struct buffer *out, const struct request *request, const char *error)
{
        message_begin_notification(out, "request", 1);
        pack_map(out, 6);
        pack_cstr(out, "time");
        pack_int(out, unix_now());
        pack_cstr(out, "client");
        pack_str(out, slice_of(request->connection ? client_of(request->connection)->name : NULL));
        pack_cstr(out, "method");
        pack_cstr(out, request->method->name);
        pack_cstr(out, "session");
        pack_str(out, request->session);
        pack_cstr(out, "microseconds");
        pack_int(out, (int64_t)((uv_hrtime() - request->started_ns) / 1000));
        pack_cstr(out, "error");
        pack_str(out, slice_of(error));
}

void monitors_tell(const struct clients *clients, const struct request *request, const char *error)
{
        struct buffer event = { 0 };

        pack_event(&event, request, error);
        for (struct link *at = clients->monitors.next; at != &clients->monitors; at = at->next) {
                struct connection *monitor = &LINK_OF(at, struct client, monitor)->connection;
                struct buffer *out;

                if (connection_is_congested(monitor))
                        continue;
                out = connection_out(monitor);
                if (event.failed)
                        out->failed = true; /* then it is dropped, as when its own memory is short */
                else
                        buffer_append(out, event.data, event.len);
                turn_use(monitor, 0, event.len);
        }
        buffer_deinit(&event);
}
