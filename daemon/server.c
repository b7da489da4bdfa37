/*
 * Wires the floors together, and runs the loop. The daemon ends in this order: if the option drain-on-stop is
 * set, it hands its sessions over, while everything else goes on; it accepts no clients, takes
 * no requests, answers those under way, closes the sessions to plain files, closes the connections.
 */

#include "server.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/hidden.h"
#include "base/listener.h"
#include "events.h"
#include "handover.h"
#include "key_source.h"
#include "methods/dispatch.h"
#include "ownerless.h"
#include "reload.h"
#include "session/advance.h"
#include "session/held.h"
#include "session/renew.h"
#include "session/tidy.h"
#include "wire/turn.h"

enum {
        GRACE_MS = 2000,
        REAPED_AT_ONCE = 128, /* cache entries a turn */
        SERVER_TIMERS = 6, /* grace, telling, handover, clients.retry, sessions.confirming, sessions.tidy */
        TELL_MS = 10000,   /* how often the log says how many lines were left out */
};

struct server {
        uv_loop_t loop;
        struct config *config;
        struct log *log;

        struct store store;
        struct timers timers;
        struct counters counters;
        struct cache_pool *cache_pool;
        struct backend_config backend_config;
        struct keyring *keyring;
        struct storages storages;
        struct wire wire;
        struct sessions sessions;
        struct clients clients;
        struct context context;
        struct reload reload;
        struct ownerless ownerless;
        struct handover handover;

        uv_prepare_t turn; /* before the loop sleeps */
        uv_idle_t reap;    /* runs while dropped cache entries are to be freed */
        uv_idle_t slice;   /* runs while sessions wait for their turn */
        uv_signal_t signals[3];
        uv_poll_t news;         /* of backends */
        int news_fd;            /* an eventfd, which outlives their threads */
        atomic_bool tidy_asked; /* the news are that a backend wants a round of tidy.h */
        uv_timer_t watchdog;
        struct timer telling; /* until the log says how many lines were left out */
        struct timer grace;   /* while stopping: the time that clients have to read their answers */
        struct listener listener;
        int data_lock;
        char *data_dir;
        bool stopping;
        bool stopped;
};

/* ---- the end ---- */

static void close_handle(uv_handle_t *handle, void *arg)
{
        (void)arg;
        if (!uv_is_closing(handle))
                uv_close(handle, NULL);
}

static void on_grace(struct timer *timer)
{
        struct server *server = LINK_OF(timer, struct server, grace);

        log_write(server->log, LOG_WARNING,
                  "%zu clients did not read their answers: closing their connections", server->clients.n);
        while (!link_empty(&server->clients.list))
                connection_drop(&LINK_OF(server->clients.list.next, struct client, link)->connection);
}

/* While stopping: closes the loop's handles when nothing is left to wait for. */
static void check_stopped(struct server *server)
{
        if (server->sessions.count > 0 || server->store.pending > 0)
                return;
        if (server->clients.n > 0) {
                if (!server->grace.slot)
                        timer_start(&server->timers, &server->grace, GRACE_MS, on_grace);
                return;
        }
        server->stopped = true;
        timer_stop(&server->timers, &server->grace);
        timer_stop(&server->timers, &server->telling);
        timer_stop(&server->timers, &server->sessions.confirming);
        timer_stop(&server->timers, &server->sessions.tidy);
        timer_stop(&server->timers, &server->clients.retry);
        uv_walk(&server->loop, close_handle, NULL);
        /* Their handles are closed: a late one would end the process before the backends have ended. */
        signal(SIGHUP, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        signal(SIGINT, SIG_IGN);
}

void server_stop(struct server *server)
{
        if (server->stopping)
                return;
        handover_end(&server->handover);
        server->stopping = server->reload.stopping = true;
        atomic_store(&server->clients.stopping, true);
        atomic_store(&server->ownerless.stopping, true);
        sd_notify(0, "STOPPING=1");
        log_write(server->log, LOG_INFO, "ending: %zu clients, %zu sessions", server->clients.n,
                  server->sessions.count);
        clients_stop_listening(&server->clients);
        listener_remove(&server->listener);
        sessions_stop(&server->sessions); /* first: opens that wait for a client to close are not refused */
        for (struct link *at = server->clients.list.next; at != &server->clients.list; at = at->next)
                connection_end(&LINK_OF(at, struct client, link)->connection);
}

static void on_handed_over(struct handover *handover)
{
        server_stop(LINK_OF(handover, struct server, handover));
}

/* ---- turns of the loop ---- */

static void on_reap(uv_idle_t *idle)
{
        struct server *server = idle->data;

        if (!cache_pool_reap(server->cache_pool, REAPED_AT_ONCE))
                uv_idle_stop(idle);
}

static void send_answers(struct server *server)
{
        do {
                sessions_advance(&server->sessions);
                wire_flush(&server->wire);
        } while (!link_empty(&server->sessions.woken));
}

static void on_telling(struct timer *timer)
{
        log_tell_left_out(LINK_OF(timer, struct server, telling)->log);
}

static void on_slice(uv_idle_t *idle)
{
        struct server *server = idle->data;

        bool settles = sessions_next_turn(&server->sessions), renews = renew_next(&server->sessions);

        if (!settles && !renews)
                uv_idle_stop(idle);
}

/*
 * Before the loop sleeps: advances the sessions that were woken, sends the answers, serves connections that
 * have waited for their next turn, and checks whether the daemon can stop.
 */
static void on_turn(uv_prepare_t *prepare)
{
        struct server *server = prepare->data;

        send_answers(server);
        if (wire_next_turn(&server->wire))
                send_answers(server);
        server->sessions.n_answered = 0;
        if (!link_empty(&server->sessions.turns) || server->sessions.renewed)
                uv_idle_start(&server->slice, on_slice);
        if (cache_pool_has_surplus(server->cache_pool))
                uv_idle_start(&server->reap, on_reap);
        if (log_owes(server->log) && !server->telling.slot && !server->stopped)
                timer_start(&server->timers, &server->telling, TELL_MS, on_telling);
        if (server->stopping && !server->stopped)
                check_stopped(server);
}

static void on_watchdog(uv_timer_t *timer)
{
        (void)timer;
        sd_notify(0, "WATCHDOG=1");
}

static void on_adopted(struct reload *reload)
{
        struct server *server = LINK_OF(reload, struct server, reload);

        cache_pool_set_budget(server->cache_pool, server->config->cache_bytes);
        renew_start(&server->sessions);
        clients_renew_rights(&server->clients);
}

/* On a backend's thread. */
static void backend_news(void *arg)
{
        const struct server *server = arg;

        eventfd_write(server->news_fd, 1);
}

/* The same. */
static void backend_tidy(void *arg)
{
        struct server *server = arg;

        if (!atomic_exchange(&server->tidy_asked, true))
                eventfd_write(server->news_fd, 1);
}

static void on_news(uv_poll_t *poll, int status, int events)
{
        struct server *server = poll->data;
        eventfd_t count;

        (void)status;
        (void)events;
        eventfd_read(server->news_fd, &count);
        sessions_news(&server->sessions);
        if (atomic_exchange(&server->tidy_asked, false))
                sessions_tidy(&server->sessions);
}

static void on_signal(uv_signal_t *signal, int number)
{
        struct server *server = signal->data;

        if (number == SIGHUP) {
                if (!server->stopping)
                        reload_start(&server->reload);
        } else if (server->config->drain_on_stop && !server->handover.started && !server->stopping) {
                server->reload.stopping = true;
                handover_start(&server->handover);
        } else {
                server_stop(server); /* also during the hand-over: a second signal ends it */
        }
}

/* ---- the start ---- */

static int start_loop(struct server *server)
{
        static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };

        if (uv_loop_init(&server->loop) < 0)
                return -1;
        timers_init(&server->timers, &server->loop);
        uv_prepare_init(&server->loop, &server->turn);
        uv_idle_init(&server->loop, &server->reap);
        uv_timer_init(&server->loop, &server->watchdog);
        uv_idle_init(&server->loop, &server->slice);
        server->turn.data = server->reap.data = server->slice.data = server;
        for (int i = 0; i < 3; i++) {
                uv_signal_init(&server->loop, &server->signals[i]);
                server->signals[i].data = server;
                uv_signal_start(&server->signals[i], on_signal, numbers[i]);
        }
        signal(SIGPIPE, SIG_IGN);
        server->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (server->news_fd < 0 || uv_poll_init(&server->loop, &server->news, server->news_fd) < 0)
                return -1;
        server->news.data = server;
        uv_poll_start(&server->news, UV_READABLE, on_news);
        return 0;
}

/* Each floor gets pointers to what it needs of the floors below. */
static void wire_up(struct server *server, int argc, char **argv)
{
        server->wire.loop = &server->loop;
        server->wire.config = server->config;
        server->wire.counters = &server->counters;
        server->wire.events = &connection_events;
        server->wire.owner = &server->context;
        server->sessions = (struct sessions){
                .config = server->config,
                .log = server->log,
                .counters = &server->counters,
                .store = &server->store,
                .timers = &server->timers,
                .cache_pool = server->cache_pool,
                .storages = &server->storages,
        };
        server->clients = (struct clients){
                .wire = &server->wire,
                .log = server->log,
                .timers = &server->timers,
                .store = &server->store,
                .naming = &server->sessions.names,
        };
        server->context = (struct context){
                .config = server->config,
                .log = server->log,
                .counters = &server->counters,
                .store = &server->store,
                .storages = &server->storages,
                .sessions = &server->sessions,
                .clients = &server->clients,
                .started = unix_now(),
        };
        server->reload = (struct reload){
                .config = server->config,
                .log = server->log,
                .keyring = server->keyring,
                .store = &server->store,
                .argc = argc,
                .argv = argv,
                .adopted = on_adopted,
        };
        server->ownerless.log = server->log;
        server->ownerless.store = &server->store;
        server->ownerless.storages = &server->storages;
        server->handover = (struct handover){
                .config = server->config,
                .sessions = &server->sessions,
                .done = on_handed_over,
        };
        wire_init(&server->wire);
        sessions_init(&server->sessions);
        link_init(&server->clients.list);
        link_init(&server->clients.monitors);
        users_init(&server->clients.users, &server->wire);
        method_index_init(&server->context.method_index);
}

/* A client of sessions with leases is watched by a second descriptor. */
static void count_client_descriptors(struct server *server)
{
        for (size_t i = 0; i < server->storages.n; i++)
                if (server->storages.all[i].env && server->storages.all[i].backend->lease)
                        server->clients.users.client_descriptors = 2;
}

static void backend_log(void *arg, enum log_level level, const char *text)
{
        log_write_for(arg, LOG_NO_USER, level, "%s", text);
}

static int read_keys(struct server *server)
{
        char text[600];

        if (!server->keyring || !hidden_init()) {
                log_write(server->log, LOG_ERROR, "no memory for the keys");
                return -1;
        }
        if (!key_source_read(server->keyring, server->config, server->data_dir, text, sizeof(text))) {
                log_write(server->log, LOG_ERROR, "%s", text);
                return -1;
        }
        if (!hidden_is_locked() || !keyring_is_locked(server->keyring))
                log_write(server->log, LOG_WARNING,
                          "the memory of the keys is not locked, so they may be swapped out: raise "
                          "RLIMIT_MEMLOCK (LimitMEMLOCK= of the unit)");
        if (key_source_describe(server->keyring, text, sizeof(text)))
                log_write(server->log, LOG_INFO, "%s", text);
        return 0;
}

static int start_backends(struct server *server)
{
        const struct config *config = server->config;
        struct store_threads threads = { .workers = (unsigned)config->workers,
                                         .gated = SESSIONS_NAMES_MAX,
                                         .aside = SESSIONS_READS_MAX + SESSIONS_LOOKS_MAX };
        char why[600];
        int error;

        server->data_lock = data_directory_lock(config->data, &server->data_dir, why, sizeof(why));
        if (server->data_lock < 0) {
                log_write(server->log, LOG_ERROR, "%s", why);
                return -1;
        }
        if (*why)
                log_write(server->log, LOG_WARNING, "%s", why);
        server->reload.data_dir = server->data_dir;
        if (read_keys(server) < 0)
                return -1;
        server->backend_config = (struct backend_config){
                .data_dir = server->data_dir,
                .data_lock = server->data_lock,
                .log = backend_log,
                .log_arg = server->log,
                .news = backend_news,
                .news_arg = server,
                .tidy = backend_tidy,
                .tidy_arg = server,
                .keyring = server->keyring,
                .require_sealed = config->require_sealed,
                .kv_max = (int64_t)config->kv_max_bytes,
        };
        if (storages_start(&server->storages, config, &server->backend_config, server->log, &threads) < 0)
                return -1;
        error = store_start(&server->store, &server->loop, threads);
        if (error < 0) {
                log_write(server->log, LOG_ERROR, "cannot start %u worker threads: %s",
                          threads.workers + threads.gated + threads.aside, uv_strerror(error));
                return -1;
        }
        sessions_watch_doubt(&server->sessions);
        if (storages_find(&server->storages, slice_of(config->backend)))
                return 0;
        log_write(server->log, LOG_ERROR, "the default backend %s is not set up: option `%s` is missing",
                  config->backend, config->backend);
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
        error = clients_listen(&server->clients, server->listener.fd);
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
        if (!server->cache_pool || !timers_reserve(&server->timers, SERVER_TIMERS)) {
                log_write(server->log, LOG_ERROR, "out of memory");
                return -1;
        }
        server->clients.users.max_descriptors = descriptors_raise(server->log);
        if (start_backends(server) < 0)
                return -1;
        count_client_descriptors(server);
        if (start_listening(server) < 0)
                return -1;
        uv_prepare_start(&server->turn, on_turn);
        start_watchdog(server);
        log_write(server->log, LOG_INFO, "gramd " GRAMD_VERSION " serves %s, sessions in %s",
                  server->listener.path ? server->listener.path : "an inherited socket", server->data_dir);
        sd_notify(0, "READY=1");
        ownerless_count(&server->ownerless);
        return 0;
}

void server_free(struct server *server)
{
        store_stop(&server->store);
        uv_walk(&server->loop, close_handle, NULL);
        uv_run(&server->loop, UV_RUN_DEFAULT);
        uv_loop_close(&server->loop);
        sessions_deinit(&server->sessions);
        timers_deinit(&server->timers);
        storages_stop(&server->storages);
        close(server->news_fd);
        if (server->cache_pool) {
                while (cache_pool_reap(server->cache_pool, REAPED_AT_ONCE))
                        ;
                cache_pool_free(server->cache_pool);
        }
        wire_deinit(&server->wire);
        listener_remove(&server->listener);
        if (server->listener.lock >= 0)
                close(server->listener.lock);
        if (server->data_lock >= 0)
                close(server->data_lock);
        free(server->data_dir);
        keyring_free(server->keyring);
        free(server);
}

uv_loop_t *server_loop(struct server *server)
{
        return &server->loop;
}

struct server *server_start(struct config *config, struct log *log, int argc, char **argv)
{
        struct server *server = calloc(1, sizeof(*server));

        if (!server)
                return NULL;
        server->config = config;
        server->log = log;
        server->data_lock = server->listener.lock = -1;
        if (start_loop(server) < 0) {
                free(server);
                return NULL;
        }
        server->cache_pool = cache_pool_new(config->cache_bytes);
        server->keyring = keyring_new();
        wire_up(server, argc, argv);
        if (start(server) == 0)
                return server;
        server_free(server);
        return NULL;
}

int server_run(struct config *config, struct log *log, int argc, char **argv)
{
        struct server *server = server_start(config, log, argc, argv);

        if (!server)
                return -1;
        uv_run(server_loop(server), UV_RUN_DEFAULT);
        log_tell_left_out(log);
        log_write(log, LOG_INFO, "ended in order");
        server_free(server);
        return 0;
}
