/*
 * Everything comes together here, in the order of start-up; the end takes it apart in the reverse order: no
 * new clients, no new requests, answers to what is under way, sessions closed to plain files, clients gone.
 */

#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "session/opening.h"
#include "wire/connection.h"

enum { BACKLOG = 1024, GRACE_MS = 2000, REAPED_AT_ONCE = 128, CONFIRM_MS = 250, SERVER_TIMERS = 3 };

int64_t unix_now(void)
{
        return (int64_t)time(NULL);
}

int server_backend(struct slice name)
{
        for (int i = 0; backends[i]; i++)
                if (slice_is(name, backends[i]->name))
                        return i;
        return -1;
}

/* ---- turns of the loop ---- */

static void on_flush(uv_prepare_t *prepare)
{
        struct server *server = prepare->data;

        while (!link_empty(&server->unflushed))
                connection_flush(LINK_OF(server->unflushed.next, struct connection, unflushed));
}

static void on_reap(uv_idle_t *idle)
{
        struct server *server = idle->data;

        if (!cache_pool_reap(server->cache_pool, REAPED_AT_ONCE))
                uv_idle_stop(idle);
}

void server_reap(struct server *server)
{
        if (!uv_is_closing((uv_handle_t *)&server->reap))
                uv_idle_start(&server->reap, on_reap);
}

static void on_connection(uv_stream_t *listening, int status)
{
        struct server *server = listening->data;

        if (status < 0)
                log_write(server->log, LOG_WARNING, "cannot accept a client: %s", uv_strerror(status));
        else
                connection_accept(server);
}

static void on_watchdog(uv_timer_t *timer)
{
        (void)timer;
        sd_notify(0, "WATCHDOG=1");
}

/* ---- the end ---- */

static void on_handle(uv_handle_t *handle, void *arg)
{
        (void)arg;
        if (!uv_is_closing(handle))
                uv_close(handle, NULL);
}

static void on_grace(struct timer *timer)
{
        struct server *server = LINK_OF(timer, struct server, grace);

        log_write(server->log, LOG_WARNING,
                  "%zu clients did not read their answers: closing their connections", server->n_connections);
        while (!link_empty(&server->connections))
                connection_drop(LINK_OF(server->connections.next, struct connection, link));
}

void server_check_stopped(struct server *server)
{
        if (!server->stopping || server->stopped || server->sessions.count > 0 || server->store.pending > 0)
                return;
        if (server->n_connections > 0) {
                if (!server->grace.slot)
                        timer_start(&server->timers, &server->grace, GRACE_MS, on_grace);
                return;
        }
        server->stopped = true;
        timer_stop(&server->timers, &server->grace);
        timer_stop(&server->timers, &server->confirming);
        timer_stop(&server->timers, &server->accept);
        uv_walk(&server->loop, on_handle, NULL);
}

static void stop(struct server *server)
{
        struct link *at;

        if (server->stopping)
                return;
        server->stopping = true;
        sd_notify(0, "STOPPING=1");
        log_write(server->log, LOG_INFO, "ending: %zu clients, %zu sessions", server->n_connections,
                  server->sessions.count);
        uv_close((uv_handle_t *)&server->listening, NULL);
        listener_remove(&server->listener);
        for (at = server->connections.next; at != &server->connections; at = at->next)
                connection_end(LINK_OF(at, struct connection, link));
        at = server->sessions.list.next;
        while (at != &server->sessions.list) {
                struct session *session = LINK_OF(at, struct session, link);

                at = at->next;
                session_check_idle(session);
        }
        server_check_stopped(server);
}

/* ---- reload ---- */

struct reload_job {
        struct job job;
        struct server *server;
        struct config fresh;
        struct config_error error;
        int failed;
};

static void reload_run(struct job *job)
{
        struct reload_job *reload = (struct reload_job *)job;
        struct server *server = reload->server;

        reload->failed =
                config_reload(server->config, server->argc, server->argv, &reload->fresh, &reload->error);
}

/* Rights follow the new rules at once, also of handles that are open. */
static void renew_rights(struct server *server)
{
        for (struct link *at = server->sessions.list.next; at != &server->sessions.list; at = at->next) {
                struct session *session = LINK_OF(at, struct session, link);

                for (struct link *of = session->handles.next; of != &session->handles; of = of->next) {
                        struct handle *handle = LINK_OF(of, struct handle, link);

                        handle->rights =
                                access_rights(&server->config->access, &handle->connection->credentials,
                                              session->name, backends[session->backend]->name);
                }
        }
}

static void start_reload(struct server *server);

static void reload_done(struct job *job)
{
        struct reload_job *reload = (struct reload_job *)job;
        struct server *server = reload->server;

        if (reload->failed) {
                log_write(server->log, LOG_ERROR, "the configuration stays as it was: %s",
                          reload->error.text);
        } else {
                config_adopt(server->config, &reload->fresh);
                server->log->level = server->config->log_level;
                cache_pool_set_budget(server->cache_pool, server->config->cache_bytes);
                server_reap(server);
                renew_rights(server);
                log_write(server->log, LOG_INFO, "configuration read again%s%s",
                          reload->fresh.restart[0] ? "; these need a restart: " : "", reload->fresh.restart);
        }
        config_deinit(&reload->fresh);
        free(reload);
        server->reloading = false;
        sd_notify(0, "READY=1");
        if (server->reload_again && !server->stopping)
                start_reload(server);
        server_check_stopped(server);
}

static void start_reload(struct server *server)
{
        struct reload_job *job;
        struct timespec now;

        if (server->reloading || server->stopping) {
                server->reload_again = true;
                return;
        }
        job = calloc(1, sizeof(*job));
        if (!job) {
                log_write(server->log, LOG_ERROR, "the configuration stays as it was: out of memory");
                return;
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
                   (long long)now.tv_sec * 1000000 + (long long)now.tv_nsec / 1000);
        job->server = server;
        server->reloading = true;
        server->reload_again = false;
        store_submit(&server->store, NULL, &job->job, reload_run, reload_done);
}

static void on_signal(uv_signal_t *signal, int number)
{
        struct server *server = signal->data;

        if (number == SIGHUP)
                start_reload(server);
        else
                stop(server);
}

/* ---- the start ---- */

static int start_loop(struct server *server)
{
        static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };

        if (uv_loop_init(&server->loop) < 0)
                return -1;
        timers_init(&server->timers, &server->loop);
        store_init(&server->store, &server->loop);
        sessions_init(&server->sessions);
        method_index_init(&server->method_index);
        link_init(&server->connections);
        link_init(&server->due);
        link_init(&server->unflushed);
        uv_pipe_init(&server->loop, &server->listening, 0);
        uv_prepare_init(&server->loop, &server->flush);
        uv_idle_init(&server->loop, &server->reap);
        uv_timer_init(&server->loop, &server->watchdog);
        server->listening.data = server->flush.data = server->reap.data = server;
        for (int i = 0; i < 3; i++) {
                uv_signal_init(&server->loop, &server->signals[i]);
                server->signals[i].data = server;
                uv_signal_start(&server->signals[i], on_signal, numbers[i]);
        }
        signal(SIGPIPE, SIG_IGN);
        return 0;
}

/* A file session takes two descriptors, a client one. */
static void raise_descriptor_limit(struct server *server)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
                log_write(server->log, LOG_DEBUG, "up to %llu descriptors",
                          (unsigned long long)limit.rlim_cur);
}

static void backend_log(void *arg, int level, const char *text)
{
        log_write(arg, (enum log_level)level, "%s", text);
}

/* Sessions that others may have taken, or whose last write is in doubt, though nobody asks for them. */
static void on_confirming(struct timer *timer)
{
        struct server *server = LINK_OF(timer, struct server, confirming);
        struct link *at = server->sessions.list.next;

        while (at != &server->sessions.list) {
                struct session *session = LINK_OF(at, struct session, link);

                at = at->next;
                session_confirm(session);
        }
        timer_start(&server->timers, timer, CONFIRM_MS, on_confirming);
}

static int start_backends(struct server *server)
{
        struct fault fault = { 0 };
        unsigned workers = (unsigned)server->config->workers;
        char why[600];

        server->data_lock = data_directory_lock(server->config->data, &server->data_dir, why, sizeof(why));
        if (server->data_lock < 0) {
                log_write(server->log, LOG_ERROR, "%s", why);
                return -1;
        }
        server->backend_config = (struct backend_config){
                .data_dir = server->data_dir,
                .mongo_uri = server->config->mongo,
                .mongo_prefix = server->config->mongo_prefix,
                .mongo_term_ms = (int64_t)server->config->mongo_term_ms,
                .page_cache_bytes = server->config->page_cache_bytes,
                .memory_max_bytes = server->config->memory_max_bytes,
                .log = backend_log,
                .log_arg = server->log,
        };
        for (int i = 0; backends[i] && i < SERVER_BACKENDS_MAX; i++) {
                if (backends[i]->start(&server->backend_config, &server->backend_envs[i], &fault) < 0) {
                        log_write(server->log, LOG_ERROR, "cannot start the backend %s: %s",
                                  backends[i]->name, fault.text);
                        return -1;
                }
                store_gate(&server->gates[i], backends[i]->max_jobs);
                if (server->backend_envs[i])
                        workers += backends[i]->max_jobs;
                if (server->backend_envs[i] && backends[i]->lease)
                        timer_start(&server->timers, &server->confirming, CONFIRM_MS, on_confirming);
        }
        store_set_workers(workers);
        if (server->backend_envs[server_backend(slice_of(server->config->backend))])
                return 0;
        log_write(server->log, LOG_ERROR, "the default backend %s is not set up: option `%s` is missing",
                  server->config->backend, server->config->backend);
        return -1;
}

static int start_listening(struct server *server)
{
        char why[600];
        int error;

        if (listener_open(&server->listener, server->config->socket, why, sizeof(why)) < 0) {
                log_write(server->log, LOG_ERROR, "%s", why);
                return -1;
        }
        error = uv_pipe_open(&server->listening, server->listener.fd);
        if (error == 0)
                error = uv_listen((uv_stream_t *)&server->listening, BACKLOG, on_connection);
        if (error < 0)
                log_write(server->log, LOG_ERROR, "cannot listen: %s", uv_strerror(error));
        return error;
}

static void start_watchdog(struct server *server)
{
        uint64_t microseconds;

        if (sd_watchdog_enabled(0, &microseconds) > 0)
                uv_timer_start(&server->watchdog, on_watchdog, 0, microseconds / 1000 / 2);
}

static int start(struct server *server)
{
        server->cache_pool = cache_pool_new(server->config->cache_bytes);
        if (!server->cache_pool || !timers_reserve(&server->timers, SERVER_TIMERS)) {
                log_write(server->log, LOG_ERROR, "out of memory");
                return -1;
        }
        raise_descriptor_limit(server);
        if (start_backends(server) < 0 || start_listening(server) < 0)
                return -1;
        uv_prepare_start(&server->flush, on_flush);
        start_watchdog(server);
        server->started = unix_now();
        log_write(server->log, LOG_INFO, "gramd " GRAMD_VERSION " serves %s, sessions in %s",
                  server->listener.path ? server->listener.path : "an inherited socket", server->data_dir);
        sd_notify(0, "READY=1");
        return 0;
}

/* What start() made, and the loop's end has left. */
static void take_apart(struct server *server)
{
        uv_walk(&server->loop, on_handle, NULL);
        uv_run(&server->loop, UV_RUN_DEFAULT);
        uv_loop_close(&server->loop);
        sessions_deinit(&server->sessions);
        timers_deinit(&server->timers);
        for (int i = 0; i < SERVER_BACKENDS_MAX; i++)
                if (server->backend_envs[i])
                        backends[i]->stop(server->backend_envs[i]);
        if (server->cache_pool) {
                while (cache_pool_reap(server->cache_pool, REAPED_AT_ONCE))
                        ;
                cache_pool_free(server->cache_pool);
        }
        buffer_deinit(&server->sink);
        explicit_bzero(server->read_buffer, sizeof(server->read_buffer));
        listener_remove(&server->listener);
        if (server->listener.lock >= 0)
                close(server->listener.lock);
        if (server->data_lock >= 0)
                close(server->data_lock);
        free(server->data_dir);
        free(server);
}

int server_run(struct config *config, struct log *log, int argc, char **argv)
{
        struct server *server = calloc(1, sizeof(*server));
        int result;

        if (!server)
                return -1;
        server->config = config;
        server->log = log;
        server->argc = argc;
        server->argv = argv;
        server->data_lock = server->listener.lock = -1;
        if (start_loop(server) < 0) {
                free(server);
                return -1;
        }
        result = start(server);
        if (result == 0) {
                uv_run(&server->loop, UV_RUN_DEFAULT);
                log_write(log, LOG_INFO, "ended in order");
        }
        take_apart(server);
        return result;
}
