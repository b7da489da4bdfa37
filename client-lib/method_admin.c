/* What only an operator may ask: clients, disconnect, drain, stats, monitor. */

#include "method.h"

/* ---- clients ---- */

struct client_row {
        struct gram_connected_client client;
        int64_t leased;
};

static const struct key client_keys[] = {
        { "id", KEY_INT, offsetof(struct client_row, client.id), 0 },
        { "pid", KEY_INT, offsetof(struct client_row, client.pid), 0 },
        { "uid", KEY_INT, offsetof(struct client_row, client.uid), 0 },
        { "gid", KEY_INT, offsetof(struct client_row, client.gid), 0 },
        { "client", KEY_TEXT, offsetof(struct client_row, client.client), 0 },
        { "since", KEY_INT, offsetof(struct client_row, client.since), 0 },
        { "sessions", KEY_TEXTS, offsetof(struct client_row, client.sessions),
          offsetof(struct client_row, client.n_sessions) },
        { "requests", KEY_INT, offsetof(struct client_row, client.requests), 0 },
        { "in_flight", KEY_INT, offsetof(struct client_row, client.in_flight), 0 },
        { "leased", KEY_INT, offsetof(struct client_row, leased), 0 },
        KEYS_END,
};

/* A row has some 80 bytes. Counting 16 bounds the memory that a false count can claim. */
static int read_clients(struct cursor *cursor, struct gram_reply *reply)
{
        struct gram_connected_clients *clients;
        int64_t *leased;
        uint32_t count;
        int error = 0;

        if (!cursor_array(cursor, &count) || count > bytes_left(cursor) / 16)
                return GRAM_E_PROTOCOL;
        clients = block_new(sizeof(*clients),
                            count * (sizeof(*clients->rows) + sizeof(*leased)) + bytes_left(cursor));
        reply->clients = clients;
        if (!clients)
                return GRAM_E_NOMEM;
        clients->n = count;
        clients->rows = block_array(clients, count, sizeof(*clients->rows));
        clients->leased = leased = block_array(clients, count, sizeof(*leased));
        if (!clients->rows || !leased)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++) {
                struct client_row row = { 0 };

                error = read_map(cursor, clients, &row, client_keys);
                clients->rows[i] = row.client;
                leased[i] = row.leased;
        }
        return error;
}

RESULT(clients, read_clients(cursor, reply))

GRAM_API int gram_async_clients(struct gram_client *client, gram_callback *callback, void *arg)
{
        return submit_bare(client, NULL, METHOD_CLIENTS, callback, arg);
}

GRAM_API int gram_clients(struct gram_client *client, struct gram_connected_clients **clients)
{
        BLOCKING_RESULT(client, gram_async_clients(client, waiter_done, &waiter), clients);
}

/* ---- disconnect ---- */

RESULT_NIL(disconnect)

GRAM_API int gram_async_disconnect(struct gram_client *client, int64_t id, gram_callback *callback, void *arg)
{
        struct call call = call_begin(client, NULL, METHOD_DISCONNECT, 1);

        pack_int(&call.bytes, id);
        return call_submit(&call, callback, arg);
}

GRAM_API int gram_disconnect(struct gram_client *client, int64_t id)
{
        BLOCKING(client, gram_async_disconnect(client, id, waiter_done, &waiter));
}

/* ---- drain ---- */

RESULT_NIL(drain)

GRAM_API int gram_async_drain(struct gram_client *client, bool on, gram_callback *callback, void *arg)
{
        return submit_switch(client, NULL, METHOD_DRAIN, on, callback, arg);
}

GRAM_API int gram_drain(struct gram_client *client, bool on)
{
        BLOCKING(client, gram_async_drain(client, on, waiter_done, &waiter));
}

/* ---- stats ---- */

static int read_stats(struct cursor *cursor, struct gram_reply *reply)
{
        struct gram_stats *stats;
        uint32_t count;
        int error = 0;

        if (!cursor_map(cursor, &count) || count > bytes_left(cursor) / 2)
                return GRAM_E_PROTOCOL;
        reply->stats = stats = block_new(sizeof(*stats), count * sizeof(*stats->rows) + bytes_left(cursor));
        if (!stats)
                return GRAM_E_NOMEM;
        stats->n = count;
        stats->rows = block_array(stats, count, sizeof(*stats->rows));
        if (!stats->rows)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++) {
                error = read_text(cursor, stats, &stats->rows[i].name);
                if (!error)
                        error = read_number(cursor, &stats->rows[i].value);
        }
        return error;
}

RESULT(stats, read_stats(cursor, reply))

GRAM_API int gram_async_stats(struct gram_client *client, gram_callback *callback, void *arg)
{
        return submit_bare(client, NULL, METHOD_STATS, callback, arg);
}

GRAM_API int gram_stats(struct gram_client *client, struct gram_stats **stats)
{
        BLOCKING_RESULT(client, gram_async_stats(client, waiter_done, &waiter), stats);
}

/* ---- monitor; answer.c keeps `on` for the next connection ---- */

RESULT_NIL(monitor)

GRAM_API int gram_async_monitor(struct gram_client *client, bool on, gram_callback *callback, void *arg)
{
        return submit_switch(client, NULL, METHOD_MONITOR, on, callback, arg);
}

GRAM_API int gram_monitor(struct gram_client *client, bool on)
{
        BLOCKING(client, gram_async_monitor(client, on, waiter_done, &waiter));
}

static const struct key monitored_keys[] = {
        { "time", KEY_NUMBER, offsetof(struct gram_monitored, time), 0 },
        { "client", KEY_TEXT, offsetof(struct gram_monitored, client), 0 },
        { "method", KEY_TEXT, offsetof(struct gram_monitored, method), 0 },
        { "session", KEY_TEXT, offsetof(struct gram_monitored, session), 0 },
        { "microseconds", KEY_NUMBER, offsetof(struct gram_monitored, microseconds), 0 },
        { "error", KEY_TEXT, offsetof(struct gram_monitored, error), 0 },
        KEYS_END,
};

struct gram_monitored *monitored_read(struct cursor *cursor)
{
        return notification_read(cursor, sizeof(struct gram_monitored), monitored_keys);
}
