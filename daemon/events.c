/* What the floors above `wire` do when something happens to a connection. */

#include "events.h"

#include "methods/dispatch.h"
#include "methods/methods.h"
#include "session/advance.h"
#include "session/audit.h"
#include "session/drain.h"
#include "session/granting.h"
#include "session/held.h"
#include "session/watch.h"

static struct context *context_of(const struct wire *wire)
{
        return wire->owner;
}

static bool on_message(struct connection *connection, struct slice frame, struct slice next)
{
        return dispatch(context_of(connection->wire), client_of(connection), frame, next);
}

static void on_violation(struct connection *connection, uint32_t id, int frame_error)
{
        dispatch_violation(context_of(connection->wire), client_of(connection), id, frame_error);
}

/*
 * After each read of a socket: requests on a session that arrived together are one job, and a worker starts
 * on it before the next socket is read.
 */
static void on_read(struct wire *wire)
{
        dispatch_read_end(context_of(wire));
        sessions_advance(context_of(wire)->sessions);
}

static void on_written(struct connection *connection)
{
        watch_catch_up(client_of(connection));
        drain_catch_up(client_of(connection));
}

static void on_ending(struct connection *connection)
{
        granting_end_of_client(client_of(connection));
}

static void on_emptying(struct connection *connection)
{
        handles_abandon(client_of(connection), false);
}

static void on_dropped(struct connection *connection)
{
        struct client *client = client_of(connection);

        openings_abandon(client);
        handles_abandon(client, true);
        client_leave(client);
}

static void on_closed(struct connection *connection)
{
        client_free(client_of(connection));
}

static void on_overfull(struct connection *connection, const char *why)
{
        const struct context *context = context_of(connection->wire);
        char who[CLIENT_TEXT_BYTES];

        counters_add(context->counters, COUNT_CONNECTIONS_OVERFULL, 1);
        log_write_for(context->log, client_of(connection)->credentials.uid, LOG_WARNING,
                      "closed the connection of %s: %s", client_describe(client_of(connection), who), why);
}

static void on_answered(const struct request *request, const char *error)
{
        const struct clients *clients = context_of(request->wire)->clients;

        if (request->started_ns)
                monitors_tell(clients, request, error);
        audit_answered(request, clients->log, error);
}

const struct wire_events connection_events = {
        .message = on_message,
        .violation = on_violation,
        .read = on_read,
        .written = on_written,
        .ending = on_ending,
        .emptying = on_emptying,
        .dropped = on_dropped,
        .closed = on_closed,
        .overfull = on_overfull,
        .answered = on_answered,
};
