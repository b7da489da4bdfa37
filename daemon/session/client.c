/*
 * Accepting clients, and the list of them. uv_listen() is not used: while accept(2) fails, it tries again and
 * again without ever returning to the loop.
 */

#include "client.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../proto/utf8.h"
#include "../base/clock.h"
#include "../base/log.h"
#include "../base/share.h"
#include "../base/timers.h"
#include "naming.h"

enum {
        BACKLOG = 1024,
        ACCEPT_RETRY_MS = 100,
        ACCEPTED_AT_ONCE = 64, /* then the connections that are there have their turn */
};

const char *client_describe(const struct client *client, char text[CLIENT_TEXT_BYTES])
{
        const char *mark = client->name ? "\"" : "";
        char name[2 * LIMIT_CLIENT_BYTES] = "without a name";

        if (client->name)
                utf8_quote(slice_of(client->name), *mark, name, sizeof(name));
        snprintf(text, CLIENT_TEXT_BYTES, "client %s%s%s (id %llu, pid %d, uid %u)", mark, name, mark,
                 (unsigned long long)client->id, (int)client->credentials.pid,
                 (unsigned)client->credentials.uid);
        return text;
}

void client_set_monitoring(struct client *client, bool on)
{
        struct clients *clients = client->clients;

        link_remove(&client->monitor);
        if (on)
                link_append(&clients->monitors, &client->monitor);
        clients->wire->monitored = !link_empty(&clients->monitors);
}

void clients_renew_rights(struct clients *clients)
{
        const struct access *access = &clients->wire->config->access;

        struct link *at = clients->monitors.next;

        while (at != &clients->monitors) {
                struct client *client = LINK_OF(at, struct client, monitor);
                char who[CLIENT_TEXT_BYTES];

                at = at->next;
                if (access_rights(access, &client->credentials, SLICE_NONE, NULL) & RIGHT_ADMIN)
                        continue;
                log_write_for(clients->log, client->credentials.uid, LOG_INFO,
                              "%s is no monitor any more: it has no right `admin`",
                              client_describe(client, who));
                client_set_monitoring(client, false);
        }
}

/* ---- the end ---- */

void client_leave(struct client *client)
{
        assert(client->handles.n == 0 && link_empty(&client->openings));
        client_set_monitoring(client, false);
        link_remove(&client->link);
        client->clients->n--;
        naming_end(client);
        user_unref(client->user);
        client->user = NULL;
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
        link_init(&client->monitor);
        link_init(&client->openings);
        if (connection_init(&client->connection, clients->wire) < 0) {
                free(client);
                return NULL;
        }
        return client;
}

static void refuse(struct client *client, const char *why, const char *text)
{
        struct clients *clients = client->clients;

        counters_add(clients->wire->counters, COUNT_CONNECTIONS_REFUSED, 1);
        log_write_for(clients->log, client->credentials.uid, LOG_WARNING,
                      "refused a client with pid %d, uid %u: %s", (int)client->credentials.pid,
                      (unsigned)client->credentials.uid, why);
        connection_refuse(&client->connection, WIRE_OVERLOADED, text);
}

/* False: the client has been refused. */
static bool admit(struct client *client)
{
        struct clients *clients = client->clients;
        const uint64_t max = clients->wire->config->max_clients;
        bool has_all;
        char why[160], descriptors[USER_WHY_BYTES] = "";
        struct user *user;
        uv_os_fd_t fd;

        if (uv_fileno((uv_handle_t *)&client->connection.pipe, &fd) < 0 ||
            credentials_init(&client->credentials, fd) < 0) {
                connection_refuse(&client->connection, WIRE_DENIED, NULL);
                return false;
        }
        user = user_ref(&clients->users, client->credentials.uid);
        if (!user) {
                refuse(client, "out of memory", "the daemon is out of memory; try again later");
                return false;
        }
        has_all = client->credentials.has_all;
        if (has_all ? clients->n < max
                    : share_allows(max, clients->users.n, clients->n, user->n_clients - 1, 1) &&
                              user_may_connect(user, descriptors)) {
                client->user = user;
                return true;
        }
        if (*descriptors) {
                refuse(client, "its share of the descriptors is used up", descriptors);
        } else if (clients->n >= max) {
                snprintf(why, sizeof(why), "max-clients is %llu", (unsigned long long)max);
                refuse(client, why,
                       "the daemon serves as many clients as max-clients allows; try again later");
        } else {
                snprintf(why, sizeof(why), "it has %zu clients, its share of max-clients %llu",
                         user->n_clients - 1, (unsigned long long)max);
                refuse(client, why,
                       "your user has its share of the clients that max-clients allows; end some of them");
        }
        user_unref(user);
        return false;
}

/* Its first message may be read. */
static void serve(struct client *client)
{
        link_append(&client->clients->list, &client->link);
        connection_start(&client->connection, &client->user->account);
}

static void on_named(struct client *client)
{
        if (!client->clients->stopping) {
                serve(client);
                return;
        }
        client->clients->n--;
        user_unref(client->user);
        client->user = NULL;
        connection_refuse(&client->connection, WIRE_DENIED, NULL);
}

/* Takes the socket. False: memory is short, and it is not taken. */
static bool take(struct clients *clients, int fd)
{
        struct client *client = client_new(clients);

        if (!client)
                return false;
        if (uv_pipe_open(&client->connection.pipe, fd) < 0) {
                close(fd);
                connection_refuse(&client->connection, WIRE_DENIED, NULL);
                return true;
        }
        if (!admit(client))
                return true;
        client->id = ++clients->last_id;
        client->since = unix_now();
        clients->n++;
        counters_add(clients->wire->counters, COUNT_CONNECTIONS, 1);
        if (!naming_start(client, on_named))
                serve(client);
        return true;
}

/* The next socket; -1: errno. */
static int next_socket(struct clients *clients)
{
        int fd = clients->accepted;

        clients->accepted = -1;
        return fd >= 0 ? fd : accept4(clients->listening_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

static void log_failing(const struct clients *clients, int error)
{
        const char *help =
                error == EMFILE ? ", or give the daemon more descriptors (LimitNOFILE of its unit)" : "";

        log_write_for(clients->log, LOG_NO_USER, LOG_WARNING,
                      "no client can be accepted: %s; those that are connected are served, new ones wait%s",
                      strerror(error), help);
}

static void on_waiting(uv_poll_t *listening, int status, int events);
static void on_retry(struct timer *timer);

static void accept_waiting(struct clients *clients)
{
        int error = 0;

        for (int n = 0; n < ACCEPTED_AT_ONCE && !error; n++) {
                int fd = next_socket(clients);

                if (fd >= 0 && !take(clients, fd)) {
                        clients->accepted = fd;
                        error = ENOMEM;
                } else if (fd < 0 && errno != EINTR && errno != ECONNABORTED) {
                        error = errno;
                }
        }
        if (error && error != EAGAIN) {
                if (!clients->failing)
                        log_failing(clients, error);
                clients->failing = true;
                uv_poll_stop(&clients->listening);
                timer_start(clients->timers, &clients->retry, ACCEPT_RETRY_MS, on_retry);
        } else if (clients->failing) {
                log_write_for(clients->log, LOG_NO_USER, LOG_INFO, "clients are accepted again");
                clients->failing = false;
                uv_poll_start(&clients->listening, UV_READABLE, on_waiting);
        }
}

static void on_accepting(uv_check_t *accepting)
{
        uv_check_stop(accepting);
        accept_waiting(LINK_OF(accepting, struct clients, accepting));
}

/*
 * After the signals of this turn: if one of them ends the daemon, the clients go on waiting at the socket,
 * for the next daemon if it is inherited.
 */
static void on_waiting(uv_poll_t *listening, int status, int events)
{
        (void)status; /* an error of the socket is one of accept(2), too */
        (void)events;
        uv_check_start(&LINK_OF(listening, struct clients, listening)->accepting, on_accepting);
}

static void on_retry(struct timer *timer)
{
        struct clients *clients = LINK_OF(timer, struct clients, retry);

        if (!clients->stopping)
                accept_waiting(clients);
}

int clients_listen(struct clients *clients, int fd)
{
        int error = listen(fd, BACKLOG) < 0 ? -errno : 0;

        clients->accepted = -1;
        if (!error)
                error = uv_poll_init(clients->wire->loop, &clients->listening, fd);
        if (error)
                return error;
        uv_check_init(clients->wire->loop, &clients->accepting);
        clients->listening_fd = fd;
        uv_poll_start(&clients->listening, UV_READABLE, on_waiting);
        return 0;
}

void clients_stop_listening(struct clients *clients)
{
        uv_close((uv_handle_t *)&clients->listening, NULL);
        uv_close((uv_handle_t *)&clients->accepting, NULL);
        close(clients->listening_fd);
        if (clients->accepted >= 0)
                close(clients->accepted);
        clients->accepted = -1;
}
