/* The daemon itself: hello, ping, and what only an operator may ask. */

#include <stdlib.h>

#include "../base/arena.h"
#include "../config/glob.h"
#include "../server.h"
#include "../session/opening.h"
#include "../wire/connection.h"
#include "methods.h"

enum { LIST_MAX = 1000, CLIENT_NAME_MAX = 255, LISTED_SESSIONS_MAX = 100 };

/* ---- hello, ping ---- */

static bool take_client(struct call *call)
{
        struct param *map = &call->params[0];

        for (uint32_t i = 0; i < map->count; i++) {
                struct slice key, client;
                char text[QUOTE_BYTES], *copy;

                if (!option_key(call, &map->cursor, &key))
                        return false;
                if (!slice_is(key, "client")) {
                        option_unknown(call, key);
                        return false;
                }
                if (!cursor_str(&map->cursor, CLIENT_NAME_MAX, &client)) {
                        option_wrong(call, key, map->cursor, "a str of at most 255 bytes");
                        return false;
                }
                copy = strdup(quote(client, text));
                if (!copy)
                        continue; /* a name less in the lists */
                free(call->connection->client);
                call->connection->client = copy;
        }
        return true;
}

static void pack_pair(struct buffer *out, const char *key, uint64_t value)
{
        pack_cstr(out, key);
        pack_int(out, (int64_t)value);
}

void method_hello(struct call *call)
{
        const struct config *config = call->server->config;
        struct buffer *out;
        uint32_t n = 0;

        if (!take_client(call))
                return;
        out = answer_begin(&call->request);
        pack_map(out, 9);
        pack_cstr(out, "server");
        pack_cstr(out, "gramd");
        pack_cstr(out, "version");
        pack_cstr(out, GRAMD_VERSION);
        pack_pair(out, "protocol", 1);
        pack_pair(out, "max_message", config->max_message_bytes);
        pack_pair(out, "max_depth", CONNECTION_DEPTH);
        pack_pair(out, "max_in_flight", config->max_in_flight);
        pack_pair(out, "max_sessions", config->max_sessions);
        for (size_t i = 0; backends[i]; i++)
                n += call->server->backend_envs[i] != NULL;
        pack_cstr(out, "backends");
        pack_array(out, n);
        for (size_t i = 0; backends[i]; i++)
                if (call->server->backend_envs[i])
                        pack_cstr(out, backends[i]->name);
        pack_cstr(out, "default_backend");
        pack_cstr(out, config->backend);
        answer_end(&call->request);
}

void method_ping(struct call *call)
{
        buffer_append(answer_begin(&call->request), call->params[0].text.data, call->params[0].text.len);
        answer_end(&call->request);
}

/* ---- sessions ---- */

struct row {
        struct slice name;
        int backend;
        int64_t bytes;
        int64_t modified;
};

/* A page of sessions: the stored ones are collected on a worker, the open ones join on the loop. */
struct listing {
        struct job job;
        struct request request;
        struct server *server;
        struct arena arena;
        struct slice glob;
        struct slice after;
        size_t limit;
        struct row *rows;
        size_t n_rows, rows_cap;
        int backend; /* under way */
        size_t n_of_backend;
        bool no_memory;
        int error;
        struct fault fault;
};

static bool add_row(struct listing *listing, struct slice name, int64_t bytes, int64_t modified)
{
        struct row *rows = array_grow(listing->rows, listing->n_rows, &listing->rows_cap, sizeof(*rows));

        if (!rows) {
                listing->no_memory = true;
                return false;
        }
        listing->rows = rows;
        rows[listing->n_rows] = (struct row){ arena_copy(&listing->arena, name, &listing->no_memory),
                                              listing->backend, bytes, modified };
        listing->n_rows += !listing->no_memory;
        return !listing->no_memory;
}

static bool wanted(const struct listing *listing, struct slice name)
{
        return (!listing->after.data || slice_compare(name, listing->after) > 0) &&
               (!listing->glob.data || glob_match(listing->glob, name));
}

/* One more than asked for: it tells whether the page's last name goes on. */
static bool on_stored(void *arg, const struct stored_session *stored)
{
        struct listing *listing = arg;

        if (!wanted(listing, stored->name))
                return true;
        return add_row(listing, stored->name, stored->bytes, stored->modified) &&
               ++listing->n_of_backend <= listing->limit;
}

static void listing_run(struct job *job)
{
        struct listing *listing = (struct listing *)job;

        for (int i = 0; backends[i] && !listing->error && !listing->no_memory; i++) {
                if (!listing->server->backend_envs[i])
                        continue;
                listing->backend = i;
                listing->n_of_backend = 0;
                listing->error = backends[i]->list(listing->server->backend_envs[i], listing->after,
                                                   on_stored, listing, &listing->fault);
                if (listing->error == BACKEND_E_UNAVAILABLE && backends[i]->max_jobs) {
                        log_write(listing->server->log, LOG_WARNING, "sessions: without those on %s: %s",
                                  backends[i]->name, listing->fault.text);
                        listing->error = 0;
                }
        }
}

/* It asks every backend: where one may be slow, it must not take a thread of the others'. */
static struct gate *slow_gate(struct server *server)
{
        for (int i = 0; backends[i]; i++)
                if (server->backend_envs[i] && server->gates[i].max)
                        return &server->gates[i];
        return NULL;
}

static int compare_rows(const void *a, const void *b)
{
        const struct row *left = a, *right = b;
        int order = slice_compare(left->name, right->name);

        return order ? order : (left->backend > right->backend) - (left->backend < right->backend);
}

/* Sessions that are open and were not told by their backend: in memory, or just created. */
static void add_open(struct listing *listing)
{
        size_t n_stored = listing->n_rows;

        if (n_stored > 1)
                qsort(listing->rows, n_stored, sizeof(struct row), compare_rows);
        for (struct link *at = listing->server->sessions.list.next; at != &listing->server->sessions.list;
             at = at->next) {
                const struct session *session = LINK_OF(at, struct session, link);
                const struct row key = { .name = session->name, .backend = session->backend };

                if (session->phase != SESSION_OPEN || !wanted(listing, session->name) ||
                    (n_stored && bsearch(&key, listing->rows, n_stored, sizeof(struct row), compare_rows)))
                        continue;
                listing->backend = session->backend;
                if (!add_row(listing, session->name, 0, 0))
                        return;
        }
        if (listing->n_rows > 1)
                qsort(listing->rows, listing->n_rows, sizeof(struct row), compare_rows);
}

static void pack_row(struct buffer *out, struct server *server, const struct row *row)
{
        const struct session *session = sessions_find(&server->sessions, row->backend, row->name);
        const struct handle *holder = session ? ownership_holder(session) : NULL;

        pack_map(out, 6);
        pack_cstr(out, "name");
        pack_str(out, row->name);
        pack_cstr(out, "backend");
        pack_cstr(out, backends[row->backend]->name);
        pack_cstr(out, "bytes");
        pack_int(out, row->bytes);
        pack_cstr(out, "modified");
        pack_int(out, row->modified);
        pack_cstr(out, "handles");
        pack_int(out, session ? (int64_t)session->n_handles : 0);
        pack_cstr(out, "holder");
        if (holder)
                ownership_pack_holder(holder, out);
        else
                pack_nil(out);
}

/* A page does not part rows of one name: the next page begins after the name. */
static size_t page_size(const struct listing *listing)
{
        size_t most = listing->request.server->config->max_message_bytes / ROW_BYTES;
        size_t limit = listing->limit < most ? listing->limit : most;
        size_t n = listing->n_rows < limit ? listing->n_rows : limit;

        while (n > 0 && n < listing->n_rows && slice_equal(listing->rows[n - 1].name, listing->rows[n].name))
                n--;
        if (n == 0 && listing->n_rows > 0) /* a page smaller than one name's rows: all of them */
                for (n = 1; n < listing->n_rows && slice_equal(listing->rows[0].name, listing->rows[n].name);)
                        n++;
        return n;
}

static void listing_done(struct job *job)
{
        struct listing *listing = (struct listing *)job;
        struct server *server = listing->server;

        if (!listing->error)
                add_open(listing);
        if (listing->error) {
                answer_fault(&listing->request, listing->error, &listing->fault);
        } else if (listing->no_memory) {
                answer_error(&listing->request, WIRE_STORAGE, "the daemon is out of memory for this answer");
        } else {
                size_t n = page_size(listing);
                struct buffer *out = answer_begin(&listing->request);

                pack_array(out, (uint32_t)n);
                for (size_t i = 0; i < n; i++)
                        pack_row(out, listing->server, &listing->rows[i]);
                answer_end(&listing->request);
        }
        free(listing->rows);
        arena_deinit(&listing->arena);
        free(listing);
        server_check_stopped(server);
}

static bool take_page(struct call *call, struct slice *after, int64_t *limit)
{
        struct param *map = &call->params[1];

        *after = SLICE_NONE;
        *limit = LIST_MAX;
        for (uint32_t i = 0; i < map->count; i++) {
                struct slice key;

                if (!option_key(call, &map->cursor, &key))
                        return false;
                if (slice_is(key, "after")) {
                        if (!cursor_nil(&map->cursor) && !cursor_str(&map->cursor, NAME_MAX_BYTES, after)) {
                                option_wrong(call, key, map->cursor, "a session's name");
                                return false;
                        }
                } else if (slice_is(key, "limit")) {
                        if (!cursor_nil(&map->cursor) && !cursor_int_in(&map->cursor, 1, LIST_MAX, limit)) {
                                option_wrong(call, key, map->cursor, "1 to 1000");
                                return false;
                        }
                } else {
                        option_unknown(call, key);
                        return false;
                }
        }
        return true;
}

void method_sessions(struct call *call)
{
        struct slice after, glob = call->params[0].text;
        struct listing *listing;
        int64_t limit;

        if (!take_page(call, &after, &limit))
                return;
        if (glob.len > NAME_MAX_BYTES) {
                answer_error(&call->request, WIRE_TOO_LARGE, "sessions: a glob is at most 200 bytes");
                return;
        }
        listing = calloc(1, sizeof(*listing));
        if (listing) {
                listing->server = call->server;
                listing->limit = (size_t)limit;
                listing->glob = arena_copy(&listing->arena, glob, &listing->no_memory);
                listing->after = arena_copy(&listing->arena, after, &listing->no_memory);
        }
        if (!listing || listing->no_memory) {
                if (listing)
                        arena_deinit(&listing->arena);
                free(listing);
                answer_error(&call->request, WIRE_STORAGE, "the daemon is out of memory for this request");
                return;
        }
        request_defer(&call->request, &listing->request, sizeof(*listing) + listing->limit * ROW_BYTES);
        store_submit(&call->server->store, slow_gate(call->server), &listing->job, listing_run, listing_done);
}

/* ---- clients ---- */

static void pack_client(struct buffer *out, const struct connection *connection)
{
        size_t n = connection->n_handles < LISTED_SESSIONS_MAX ? connection->n_handles : LISTED_SESSIONS_MAX;

        pack_map(out, 9);
        pack_pair(out, "id", connection->id);
        pack_pair(out, "pid", (uint64_t)connection->credentials.pid);
        pack_pair(out, "uid", connection->credentials.uid);
        pack_pair(out, "gid", connection->credentials.gids[0]);
        pack_cstr(out, "client");
        pack_str(out, slice_of(connection->client));
        pack_pair(out, "since", (uint64_t)connection->since);
        pack_cstr(out, "sessions");
        pack_array(out, (uint32_t)n);
        for (size_t i = 0; i < connection->handles_cap && n > 0; i++) {
                if (!connection->handles[i])
                        continue;
                pack_str(out, connection->handles[i]->session->name);
                n--;
        }
        pack_pair(out, "requests", connection->n_requests);
        pack_pair(out, "in_flight", connection->n_deferred);
}

void method_clients(struct call *call)
{
        struct server *server = call->server;
        struct buffer *out = answer_begin(&call->request);

        pack_array(out, (uint32_t)server->n_connections);
        for (struct link *at = server->connections.next; at != &server->connections; at = at->next)
                pack_client(out, LINK_OF(at, struct connection, link));
        answer_end(&call->request);
}

void method_disconnect(struct call *call)
{
        struct server *server = call->server;
        struct link *at = server->connections.next;
        struct connection *connection;
        char text[160];

        while (at != &server->connections &&
               LINK_OF(at, struct connection, link)->id != (uint64_t)call->params[0].integer)
                at = at->next;
        if (at == &server->connections) {
                answer_error(&call->request, WIRE_NOT_FOUND, "there is no client %lld",
                             (long long)call->params[0].integer);
                return;
        }
        connection = LINK_OF(at, struct connection, link);
        log_write(server->log, LOG_INFO, "%s is disconnected by an operator",
                  connection_describe(connection, text, sizeof(text)));
        for (size_t i = 0; i < connection->handles_cap; i++)
                if (connection->handles[i])
                        handle_end(connection->handles[i], "denied", "disconnected by an operator");
        answer_nil(&call->request);
        connection_end(connection);
}

/* ---- stats, monitor ---- */

void method_stats(struct call *call)
{
        metrics_pack(call->server, answer_begin(&call->request));
        answer_end(&call->request);
}

void method_monitor(struct call *call)
{
        struct connection *connection = call->connection;
        bool on = call->params[0].boolean;

        call->server->n_monitors += on;
        call->server->n_monitors -= connection->monitoring;
        connection->monitoring = on;
        answer_nil(&call->request);
}
