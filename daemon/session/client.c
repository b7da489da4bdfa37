/* Accepting clients, and the list of them. */

#include "client.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "../base/timers.h"

enum { ACCEPT_RETRY_MS = 100 };

const char *client_describe(const struct client *client, char text[CLIENT_TEXT_BYTES])
{
        snprintf(text, CLIENT_TEXT_BYTES, "client %s (id %llu, pid %d, uid %u)",
                 client->name ? client->name : "without a name", (unsigned long long)client->id,
                 (int)client->credentials.pid, (unsigned)client->credentials.uid);
        return text;
}

void client_set_monitoring(struct client *client, bool on)
{
        struct clients *clients = client->clients;

        clients->n_monitoring += on;
        clients->n_monitoring -= client->monitoring;
        clients->wire->monitored = clients->n_monitoring > 0;
        client->monitoring = on;
}

/* ---- the end ---- */

void client_leave(struct client *client)
{
        assert(client->handles.n == 0 && link_empty(&client->openings));
        client_set_monitoring(client, false);
        link_remove(&client->link);
        client->clients->n--;
}

void client_free(struct client *client)
{
        credentials_deinit(&client->credentials);
        if (client->pidfd >= 0)
                close(client->pidfd);
        free(client->name);
        free(client->handles.slots);
        free(client);
}

/* ---- the beginning ---- */

static struct client *client_new(struct clients *clients)
{
        struct client *client = calloc(1, sizeof(*client));

        if (!client)
                return NULL;
        client->clients = clients;
        client->pidfd = -1;
        link_init(&client->link);
        link_init(&client->openings);
        if (connection_init(&client->connection, clients->wire) < 0) {
                free(client);
                return NULL;
        }
        return client;
}

static void on_retry(struct timer *timer)
{
        struct clients *clients = LINK_OF(timer, struct clients, retry);

        if (!clients->stopping)
                clients_accept(clients);
}

/* False: the client has been refused. */
static bool admit(struct client *client)
{
        struct clients *clients = client->clients;
        const uint64_t max = clients->wire->config->max_clients;
        uv_os_fd_t fd;

        if (uv_fileno((uv_handle_t *)&client->connection.pipe, &fd) < 0 ||
            credentials_init(&client->credentials, fd) < 0) {
                connection_refuse(&client->connection, WIRE_DENIED, NULL);
                return false;
        }
        if (clients->n < max)
                return true;
        counters_add(clients->wire->counters, COUNT_CONNECTIONS_REFUSED, 1);
        log_write(clients->log, LOG_WARNING, "refused a client with pid %d, uid %u: max-clients is %llu",
                  (int)client->credentials.pid, (unsigned)client->credentials.uid, (unsigned long long)max);
        connection_refuse(&client->connection, WIRE_OVERLOADED,
                          "the daemon serves as many clients as max-clients allows; try again later");
        return false;
}

void clients_accept(struct clients *clients)
{
        struct client *client = client_new(clients);

        if (!client) { /* libuv reports no further client until this one is accepted */
                timer_start(clients->timers, &clients->retry, ACCEPT_RETRY_MS, on_retry);
                return;
        }
        if (uv_accept(clients->listening, (uv_stream_t *)&client->connection.pipe) < 0) {
                connection_refuse(&client->connection, WIRE_DENIED, NULL);
                return;
        }
        if (!admit(client))
                return;
        client->id = ++clients->last_id;
        client->since = unix_now();
        clients->n++;
        counters_add(clients->wire->counters, COUNT_CONNECTIONS, 1);
        link_append(&clients->list, &client->link);
        connection_start(&client->connection);
}
