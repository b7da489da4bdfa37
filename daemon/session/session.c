/*
 * Sessions live in a tree by backend and name (tsearch: balanced, and names chosen by clients cannot make
 * it slow) and in a list. Opening and closing are jobs of their own; between them queue.c has the session.
 */

#include "session.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>

#include "../server.h"
#include "../wire/connection.h"
#include "job.h"
#include "opening.h"
#include "watch.h"

enum { SESSION_TIMERS = 3, NO_MEMORY_RETRY_MS = 100 };

/* ---- the table ---- */

static void close_now(struct session *session);

static int compare(const void *a, const void *b)
{
        const struct session *left = a, *right = b;

        if (left->backend != right->backend)
                return left->backend < right->backend ? -1 : 1;
        return slice_compare(left->name, right->name);
}

void sessions_init(struct sessions *sessions)
{
        *sessions = (struct sessions){ 0 };
        link_init(&sessions->list);
}

void sessions_deinit(struct sessions *sessions)
{
        while (!link_empty(&sessions->list))
                session_free(LINK_OF(sessions->list.next, struct session, link));
}

struct session *sessions_find(struct sessions *sessions, int backend, struct slice name)
{
        const struct session key = { .backend = backend, .name = name };
        void *node = tfind(&key, &sessions->tree, compare);

        return node ? *(struct session **)node : NULL;
}

struct session *session_new(struct server *server, int backend, struct slice name)
{
        struct session *session = calloc(1, sizeof(*session));
        char *copy = malloc(name.len + 1);

        if (!session || !copy || !timers_reserve(&server->timers, SESSION_TIMERS)) {
                free(session);
                free(copy);
                return NULL;
        }
        memcpy(copy, name.data, name.len);
        copy[name.len] = '\0';
        session->server = server;
        session->backend = backend;
        session->name = (struct slice){ copy, name.len };
        identity_init(&session->identity);
        link_init(&session->due);
        link_init(&session->handles);
        link_init(&session->openings);
        link_init(&session->lanes);
        if (!tsearch(session, &server->sessions.tree, compare)) {
                timers_release(&server->timers, SESSION_TIMERS);
                free(session);
                free(copy);
                return NULL;
        }
        link_append(&server->sessions.list, &session->link);
        server->sessions.count++;
        return session;
}

/* What was loaded goes; the session itself may be loaded again. */
static void unload(struct session *session)
{
        struct server *server = session->server;

        timer_stop(&server->timers, &session->idle);
        timer_stop(&server->timers, &session->fsync);
        timer_stop(&server->timers, &session->deadline);
        link_remove(&session->due);
        identity_wipe(&session->identity);
        states_clear(&session->states);
        for (int names = 0; names < 2; names++) {
                free(session->late[names]);
                session->late[names] = NULL;
                session->n_late[names] = session->late_cap[names] = 0;
        }
        if (session->cache) {
                cache_drop(session->cache);
                server_reap(server);
        }
        session->cache = NULL;
        session->stored = NULL;
        session->close_wanted = session->unsynced = session->sync_due = false;
        session->in_doubt = session->overdue = false;
        session->linger_ms = 0;
}

void session_free(struct session *session)
{
        struct server *server = session->server;

        unload(session);
        timers_release(&server->timers, SESSION_TIMERS);
        tdelete(session, &server->sessions.tree, compare);
        link_remove(&session->link);
        server->sessions.count--;
        free((char *)session->name.data);
        free(session);
        server_check_stopped(server);
}

const char *session_describe(const struct session *session, char *text, size_t size)
{
        snprintf(text, size, "session %.*s (%s)", (int)session->name.len, session->name.data,
                 backends[session->backend]->name);
        return text;
}

/* What is kept whole in memory becomes what was loaded; `opened` keeps nothing of it. */
static void take_opened(struct session *session, struct opened *opened)
{
        identity_wipe(&session->identity);
        session->identity = opened->identity; /* with all it owns */
        identity_init(&opened->identity);
        states_clear(&session->states);
        session->states = (struct states){ opened->states, opened->n_states, opened->n_states };
        opened->states = NULL;
        session->dialect = opened->dialect;
        session->version = opened->version;
        session->fence = opened->fence;
        session->keeps_address = opened->keeps_address;
}

/* ---- jobs and their deadline ---- */

static void on_deadline(struct timer *timer)
{
        struct session *session = LINK_OF(timer, struct session, deadline);
        char what[300];

        session->overdue = true;
        log_write(session->server->log, LOG_WARNING, "%s: the backend has not answered in time",
                  session_describe(session, what, sizeof(what)));
        if (session->phase == SESSION_OPEN)
                queue_overdue(session);
        else
                ownership_overdue(session);
}

void session_job_off(struct session *session, struct job *job, job_fn run, job_fn done, uint64_t since_ms)
{
        struct server *server = session->server;
        uint64_t now = uv_now(&server->loop), patience = backends[session->backend]->deadline_ms;

        session->busy = true;
        if (patience)
                timer_start(&server->timers, &session->deadline,
                            since_ms + patience > now ? since_ms + patience - now : 0, on_deadline);
        store_submit(&server->store, &server->gates[session->backend], job, run, done);
}

void session_job_back(struct session *session)
{
        timer_stop(&session->server->timers, &session->deadline);
        session->busy = session->overdue = false;
}

/* ---- whose it is ---- */

bool session_is_ours(const struct session *session)
{
        const struct backend *backend = backends[session->backend];

        return !backend->lease || !session->stored || backend->lease(session->stored) > 0;
}

void session_doubt(struct session *session)
{
        if (!backends[session->backend]->confirm)
                return;
        session->in_doubt = true;
        cache_forget_all(session->cache);
        watch_tell_all(session);
}

void session_confirm(struct session *session)
{
        const struct backend *backend = backends[session->backend];

        if (session->phase != SESSION_OPEN || session->busy || !backend->confirm)
                return;
        if (backend->lease(session->stored) < 0)
                session->in_doubt = true;
        if (session->in_doubt)
                queue_run(session);
}

void session_confirmed(struct session *session, struct opened *opened)
{
        take_opened(session, opened);
        session->in_doubt = false;
}

void session_fenced(struct session *session, const char *text)
{
        char what[300];

        log_write(session->server->log, LOG_ERROR, "%s: %s", session_describe(session, what, sizeof(what)),
                  text);
        session->phase = SESSION_CLOSING; /* nobody is granted a handle meanwhile */
        cache_forget_all(session->cache);
        queue_fail_all(session, WIRE_FENCED, text);
        while (!link_empty(&session->handles))
                handle_end(LINK_OF(session->handles.next, struct handle, link), "fenced", text);
        close_now(session);
}

/* ---- opening ---- */

struct load_job {
        struct job job;
        struct session *session;
        struct backend_env *env;
        struct open_options options;
        char dialect[PEER_TYPE_MAX_BYTES];
        struct backend_session *stored;
        struct opened opened;
        int error;
        struct fault fault;
};

static void load_run(struct job *job)
{
        struct load_job *load = (struct load_job *)job;
        const struct backend *backend = backends[load->session->backend];

        load->error = backend->open(load->env, &load->options, &load->stored, &load->opened, &load->fault);
}

static void load_done(struct job *job)
{
        struct load_job *load = (struct load_job *)job;
        struct session *session = load->session;
        struct server *server = session->server;
        char what[300];

        session_job_back(session);
        if (load->error == 0) {
                session->stored = load->stored;
                session->phase = SESSION_OPEN;
                take_opened(session, &load->opened);
                server->metrics.counters[METRIC_SESSIONS_OPENED]++;
                log_write(server->log, LOG_INFO, "%s %s: %s, version %d",
                          load->opened.created ? "created" : "opened",
                          session_describe(session, what, sizeof(what)), session->dialect, session->version);
        } else if (load->error != BACKEND_E_NOT_FOUND) {
                log_write(server->log, LOG_WARNING, "cannot open %s: %s",
                          session_describe(session, what, sizeof(what)), load->fault.text);
        }
        ownership_opened(session, load->error, &load->fault, load->opened.created);
        identity_wipe(&load->opened.identity);
        free(load->opened.states);
        free(load);
}

bool session_load(struct session *session, bool create, struct slice dialect)
{
        struct load_job *load = calloc(1, sizeof(*load));

        if (!session->cache)
                session->cache = cache_new(session->server->cache_pool, queue_late, session);
        if (!load || !session->cache) {
                free(load);
                return false;
        }
        load->session = session;
        load->env = session->server->backend_envs[session->backend];
        load->options = (struct open_options){ .name = session->name, .create = create };
        if (dialect.data) {
                memcpy(load->dialect, dialect.data, dialect.len);
                load->options.dialect = (struct slice){ load->dialect, dialect.len };
        }
        identity_init(&load->opened.identity);
        session->phase = SESSION_OPENING;
        session_job_off(session, &load->job, load_run, load_done, uv_now(&session->server->loop));
        return true;
}

/* ---- closing ---- */

struct close_job {
        struct job job;
        struct session *session;
        struct backend_session *stored;
        int error;
        struct fault fault;
};

static void close_run(struct job *job)
{
        struct close_job *closing = (struct close_job *)job;

        closing->error = backends[closing->session->backend]->close(closing->stored, &closing->fault);
}

/* Nothing is stored or open of it any more: whoever waits opens it anew. */
static void session_gone(struct session *session)
{
        unload(session);
        session->phase = SESSION_OPENING;
        if (!ownership_closed(session))
                session_free(session);
}

static void close_done(struct job *job)
{
        struct close_job *closing = (struct close_job *)job;
        struct session *session = closing->session;
        char what[300];

        session_job_back(session);
        session_describe(session, what, sizeof(what));
        if (closing->error)
                log_write(session->server->log, LOG_WARNING, "%s was not closed in order: %s", what,
                          closing->fault.text);
        else
                log_write(session->server->log, LOG_INFO, "closed %s", what);
        free(closing);
        session_gone(session);
}

static void on_idle(struct timer *timer)
{
        struct session *session = LINK_OF(timer, struct session, idle);

        session->close_wanted = true;
        session_check_idle(session);
}

static void close_now(struct session *session)
{
        struct close_job *closing = calloc(1, sizeof(*closing));

        if (!closing) { /* it stays open until there is memory for closing it */
                timer_start(&session->server->timers, &session->idle, NO_MEMORY_RETRY_MS, on_idle);
                return;
        }
        closing->session = session;
        closing->stored = session->stored;
        session->phase = SESSION_CLOSING;
        session_job_off(session, &closing->job, close_run, close_done, uv_now(&session->server->loop));
}

static uint64_t idle_ms(const struct session *session)
{
        if (session->server->stopping)
                return 0;
        return backends[session->backend]->ephemeral ? session->linger_ms
                                                     : session->server->config->idle_close_ms;
}

void session_check_idle(struct session *session)
{
        if (session->phase != SESSION_OPEN)
                return;
        if (session->n_handles > 0 || !link_empty(&session->openings)) {
                if (queue_is_empty(session)) /* else it may be queue.c's, which waits for memory */
                        timer_stop(&session->server->timers, &session->idle);
                session->close_wanted = false;
                return;
        }
        if (!session->close_wanted && idle_ms(session) > 0) {
                if (!session->idle.slot)
                        timer_start(&session->server->timers, &session->idle, idle_ms(session), on_idle);
                return;
        }
        timer_stop(&session->server->timers, &session->idle);
        session->close_wanted = true;
        if (!session->busy && queue_is_empty(session) && !queue_flush_late(session))
                close_now(session);
}

void session_removed(struct session *session, struct handle *deleter)
{
        session->phase = SESSION_CLOSING; /* nobody is granted a handle meanwhile */
        session->stored = NULL;
        if (deleter)
                handle_close(deleter);
        while (!link_empty(&session->handles))
                handle_end(LINK_OF(session->handles.next, struct handle, link), "not_found",
                           "the session was deleted");
        session_gone(session);
}

/* ---- handles ---- */

struct handle *handle_new(struct session *session, struct connection *connection)
{
        struct server *server = session->server;
        struct handle *handle = calloc(1, sizeof(*handle));

        if (!handle)
                return NULL;
        handle->session = session;
        handle->connection = connection;
        handle->since = unix_now();
        handle->rights = access_rights(&server->config->access, &connection->credentials, session->name,
                                       backends[session->backend]->name);
        handle->lane = lane_of(session, connection);
        if (!handle->lane) {
                free(handle);
                return NULL;
        }
        handle->number = connection_add_handle(connection, handle);
        if (!handle->number) {
                lane_release(handle->lane);
                free(handle);
                return NULL;
        }
        handle->lane->n_handles++;
        link_append(&session->handles, &handle->link);
        session->n_handles++;
        session_check_idle(session);
        return handle;
}

void handle_close(struct handle *handle)
{
        struct session *session = handle->session;

        watch_set(handle, false);
        link_remove(&handle->link);
        session->n_handles--;
        connection_remove_handle(handle->connection, handle->number);
        handle->lane->n_handles--;
        lane_release(handle->lane);
        free(handle);
        if (session->phase == SESSION_OPEN) {
                ownership_released(session);
                session_check_idle(session);
        }
}

void handle_end(struct handle *handle, const char *code, const char *text)
{
        struct buffer *out = connection_out(handle->connection);

        message_begin_notification(out, "ended", 3);
        pack_int(out, handle->number);
        pack_cstr(out, code);
        pack_cstr(out, text);
        handle_close(handle);
}
