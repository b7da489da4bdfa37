/*
 * libgram with the real daemon: every method once, and many clients while the daemon is killed and restarted:
 * no call fails, and no acknowledged write is lost.
 */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../client-lib/gram.h"
#include "../support/client.h"
#include "../support/daemon.h"
#include "../support/program.h"

static struct gram_client *connected(const struct daemon *daemon)
{
        struct gram_client *client = test_client_new(&(struct gram_options){ .socket = daemon->socket });

        ck_assert_ptr_nonnull(client);
        return client;
}

/* Fails the test with the message of the error. */
#define OK(client, call) ck_assert_msg((call) == 0, #call ": %s", gram_client_error(client)->message)

static struct gram_session *opened(struct gram_client *client, const char *name,
                                   const struct gram_open_options *options)
{
        struct gram_session *session = NULL;

        OK(client, gram_open(client, name, options, &session));
        return session;
}

START_TEST(every_method_works)
{
        DAEMON daemon = daemon_start();
        struct gram_client *client = connected(daemon);
        struct gram_session *session = opened(client, "anna", NULL);
        struct gram_identity identity = { .fields = GRAM_DC_ID | GRAM_API_ID | GRAM_AUTH_KEY | GRAM_USER_ID |
                                                    GRAM_IS_BOT | GRAM_TEST_MODE | GRAM_SERVER_ADDRESS |
                                                    GRAM_PORT | GRAM_TAKEOUT_ID,
                                          .dc_id = 4,
                                          .api_id = 17,
                                          .user_id = 4711,
                                          .is_bot = true,
                                          .server_address = "1.2.3.4",
                                          .port = 80,
                                          .takeout_id = -1 };
        const struct gram_peer rows[] = {
                { .id = 1,
                  .has_access_hash = true,
                  .access_hash = -5,
                  .type = "user",
                  .username = "a",
                  .phone_number = "49" },
                { .id = 2, .type = "channel", .has_last_update_on = true, .last_update_on = 99 },
        };
        static const char *const names[] = { "x", "y" };
        const struct gram_names named = { .peer_id = 2, .names = names, .n_names = 2 };
        const struct gram_state state = { .id = 3, .has = GRAM_STATE_PTS, .pts = 30 };
        static const int64_t ids[] = { 2, 9, 1 };
        struct gram_identity read;
        struct gram_peer *peer;
        struct gram_peers *peers;
        struct gram_usernames *usernames;
        struct gram_states *states;
        struct gram_info *info;
        struct gram_hello *hello;
        struct gram_stored_sessions *sessions;
        struct gram_connected_clients *clients;
        struct gram_stats *stats;
        char *text;
        unsigned fields;
        int64_t lease_ms;

        ck_assert(gram_session_opened(session)->created);
        ck_assert_str_eq(gram_session_opened(session)->backend, "file");
        ck_assert_str_eq(gram_session_opened(session)->dialect, "pyrogram");
        memset(identity.auth_key, 0x5a, sizeof(identity.auth_key));
        OK(client, gram_set(session, &identity));
        OK(client, gram_get(session, GRAM_ALL_FIELDS, &read));
        ck_assert_uint_eq(read.nil, 0);
        ck_assert_int_eq(read.dc_id, 4);
        ck_assert_int_eq(read.user_id, 4711);
        ck_assert_int_eq(read.takeout_id, -1);
        ck_assert(read.is_bot && !read.test_mode);
        ck_assert_str_eq(read.server_address, "1.2.3.4");
        ck_assert_mem_eq(read.auth_key, identity.auth_key, sizeof(read.auth_key));

        OK(client, gram_update_peers(session, rows, 2));
        OK(client, gram_update_usernames(session, &named, 1));
        OK(client, gram_get_peer_by_id(session, 1, &peer));
        ck_assert_int_eq(peer->access_hash, -5);
        gram_free(peer);
        OK(client, gram_get_peer_by_phone_number(session, "49", &peer));
        ck_assert_int_eq(peer->id, 1);
        gram_free(peer);
        OK(client, gram_get_peer_by_username(session, "a", GRAM_MAX_AGE_DEFAULT_S, &peer));
        gram_free(peer);
        ck_assert_int_eq(gram_get_peer_by_username(session, "x", GRAM_MAX_AGE_DEFAULT_S, &peer),
                         GRAM_E_EXPIRED);
        OK(client, gram_get_peer_by_username(session, "x", 0, &peer));
        ck_assert_int_eq(peer->id, 2);
        gram_free(peer);
        OK(client, gram_get_peers(session, ids, 3, &peers));
        ck_assert_int_eq(peers->rows[0].last_update_on, 99);
        ck_assert_ptr_null(peers->rows[1].type);
        ck_assert_str_eq(peers->rows[2].type, "user");
        gram_free(peers);
        OK(client, gram_scan_peers(session, &rows[0].id, 10, &peers));
        ck_assert_uint_eq(peers->n, 1);
        gram_free(peers);
        OK(client, gram_scan_usernames(session, "x", 2, 10, &usernames));
        ck_assert_uint_eq(usernames->n, 1);
        ck_assert_str_eq(usernames->rows[0].username, "y");
        gram_free(usernames);

        OK(client, gram_update_states(session, &state, 1, false));
        OK(client,
           gram_update_states(session, &(struct gram_state){ .id = 3, .has = GRAM_STATE_QTS, .qts = 4 }, 1,
                              true));
        OK(client, gram_get_states(session, NULL, 0, &states));
        ck_assert_uint_eq(states->n, 1);
        ck_assert_uint_eq(states->rows[0].has, GRAM_STATE_PTS | GRAM_STATE_QTS);
        gram_free(states);
        OK(client, gram_remove_states(session, &state.id, 1));

        OK(client, gram_export_string(session, "pyrogram", &text));
        OK(client, gram_import_string(session, text, NULL, &fields));
        ck_assert_uint_ne(fields & GRAM_AUTH_KEY, 0);
        gram_free(text);
        OK(client, gram_save(session));
        OK(client, gram_info(session, &info));
        ck_assert_int_eq(info->peers, 2);
        ck_assert_int_eq(info->usernames, 2);
        gram_free(info);
        OK(client, gram_lease(session, &lease_ms));
        ck_assert_int_eq(lease_ms, -1);
        OK(client, gram_watch(session, true));

        OK(client, gram_ping(client));
        OK(client, gram_hello(client, &hello));
        ck_assert_int_eq(hello->protocol, 1);
        ck_assert_str_eq(hello->default_backend, "file");
        gram_free(hello);
        OK(client, gram_sessions(client, "an*", NULL, 10, &sessions));
        ck_assert_uint_eq(sessions->n, 1);
        ck_assert_int_eq(sessions->rows[0].handles, 1);
        gram_free(sessions);
        OK(client, gram_clients(client, &clients));
        ck_assert_uint_eq(clients->n, 1);
        ck_assert_str_eq(clients->rows[0].sessions[0], "anna");
        gram_free(clients);
        OK(client, gram_stats(client, &stats));
        ck_assert_uint_gt(stats->n, 5);
        gram_free(stats);
        OK(client, gram_monitor(client, true));
        ck_assert_int_eq(gram_disconnect(client, 1 << 30), GRAM_E_NOT_FOUND);

        OK(client, gram_delete(session, true));
        ck_assert_int_eq(gram_save(session), GRAM_E_NOT_FOUND);
        ck_assert_int_eq(gram_close(session), 0);
        ck_assert_int_eq(
                gram_open(client, "anna", &(struct gram_open_options){ .must_exist = true }, &session),
                GRAM_E_NOT_FOUND);
        gram_client_free(client);
}
END_TEST

START_TEST(a_busy_session_names_its_holder)
{
        DAEMON daemon = daemon_start();
        struct gram_client *holder =
                test_client_new(&(struct gram_options){ .socket = daemon->socket, .client = "the holder" });
        struct gram_client *other = connected(daemon);
        const struct gram_open_options exclusive = { .mode = GRAM_EXCLUSIVE };
        struct gram_session *session, *second;

        session = opened(holder, "anna", &exclusive);
        ck_assert_int_eq(gram_open(other, "anna", NULL, &second), GRAM_E_BUSY);
        ck_assert_ptr_nonnull(gram_client_error(other)->holder);
        ck_assert_str_eq(gram_client_error(other)->holder->client, "the holder");
        ck_assert_int_eq(gram_close(session), 0);
        second = opened(other, "anna", &exclusive);
        gram_close(second);
        gram_client_free(holder);
        gram_client_free(other);
}
END_TEST

/* ---- watching ---- */

struct watcher {
        int changed, all, ended;
        int64_t peer;
        int code;
};

static void on_event(void *arg, const struct gram_event *event)
{
        struct watcher *watcher = arg;

        if (event->type == GRAM_EVENT_CHANGED) {
                watcher->changed++;
                watcher->all += event->changed->all;
                watcher->peer = event->changed->n_peers ? event->changed->peers[0] : 0;
        } else if (event->type == GRAM_EVENT_ENDED) {
                watcher->ended++;
                watcher->code = event->error->code;
        }
}

static void process_until(struct gram_client *client, const int *count, int at_least)
{
        long long start = test_now_ms();

        while (*count < at_least) {
                struct pollfd fd = { .fd = gram_fd(client), .events = POLLIN };

                poll(&fd, 1, test_time_left(start, "an event"));
                gram_process(client);
        }
}

START_TEST(a_watcher_hears_of_changes_restarts_and_the_end)
{
        DAEMON daemon = daemon_start();
        struct watcher watcher = { 0 };
        struct gram_client *client = test_client_new(&(struct gram_options){
                .socket = daemon->socket, .on_event = on_event, .event_arg = &watcher });
        struct gram_client *writer = connected(daemon);
        struct gram_session *session = opened(client, "anna", NULL);
        struct gram_session *other = opened(writer, "anna", NULL);
        struct gram_peer peer = { .id = 7, .type = "user" };

        OK(client, gram_watch(session, true));
        OK(writer, gram_update_peers(other, &peer, 1));
        process_until(client, &watcher.changed, 1);
        ck_assert_int_eq(watcher.peer, 7);
        ck_assert_int_eq(watcher.all, 0);

        daemon_kill(daemon);
        daemon_resume(daemon);
        process_until(client, &watcher.all, 1);
        peer.id = 8;
        OK(writer, gram_update_peers(other, &peer, 1));
        process_until(client, &watcher.changed, 3);
        ck_assert_int_eq(watcher.peer, 8);

        OK(writer, gram_delete(other, true));
        process_until(client, &watcher.ended, 1);
        ck_assert_int_eq(watcher.code, GRAM_E_NOT_FOUND);
        ck_assert_int_eq(gram_save(session), GRAM_E_NOT_FOUND);
        ck_assert_int_eq(gram_close(session), 0);
        ck_assert_int_eq(gram_close(other), 0);
        gram_client_free(client);
        gram_client_free(writer);
}
END_TEST

START_TEST(who_is_disconnected_by_an_operator_stays_away)
{
        DAEMON daemon = daemon_start();
        struct watcher watcher = { 0 };
        struct gram_client *client = test_client_new(&(struct gram_options){
                .socket = daemon->socket, .client = "victim", .on_event = on_event, .event_arg = &watcher });
        struct gram_client *operator= connected(daemon);
        struct gram_session *session = opened(client, "anna", NULL);
        struct gram_connected_clients *clients;

        OK(operator, gram_clients(operator, & clients));
        test_breaks_connections();
        for (size_t i = 0; i < clients->n; i++) {
                if (strcmp(clients->rows[i].client, "victim") == 0)
                        OK(operator, gram_disconnect(operator, clients->rows[i].id));
        }
        gram_free(clients);
        ck_assert_int_eq(gram_save(session), GRAM_E_DENIED);
        ck_assert_int_eq(watcher.ended, 1);
        OK(operator, gram_clients(operator, & clients));
        ck_assert_uint_eq(clients->n, 1);
        gram_free(clients);
        ck_assert_int_eq(gram_close(session), 0);
        gram_client_free(client);
        gram_client_free(operator);
}
END_TEST

/* ---- under load, with the daemon dying ---- */

enum { WRITERS = 6, SHARED_WRITERS = 3, DEATHS = 8, ROUNDS_BETWEEN = 40 };

struct writer {
        const struct daemon *daemon;
        pthread_t thread;
        int number;
        atomic_bool *stop;
        atomic_int *rounds;
        int64_t acknowledged; /* how many of its peers are stored */
        int code;
        char message[256];
};

static int64_t peer_id(const struct writer *writer, int64_t n)
{
        return n * WRITERS + writer->number;
}

static int writer_round(struct writer *writer, struct gram_session *session)
{
        struct gram_peer peer = { .id = peer_id(writer, writer->acknowledged + 1), .type = "user" };
        struct gram_state state = { .id = writer->number,
                                    .has = GRAM_STATE_PTS,
                                    .pts = writer->acknowledged + 1 };
        struct gram_peer *read = NULL;
        int code = gram_update_peers(session, &peer, 1);

        if (!code)
                code = gram_update_states(session, &state, 1, false);
        if (!code)
                code = gram_get_peer_by_id(session, peer.id, &read);
        gram_free(read);
        return code;
}

/* Three share one session, the others have one each, exclusively. */
static void *writer_run(void *arg)
{
        struct writer *writer = arg;
        bool shared = writer->number < SHARED_WRITERS;
        struct gram_client *client = test_client_new(
                &(struct gram_options){ .socket = writer->daemon->socket, .timeout_ms = TEST_DEADLINE_MS });
        const struct gram_open_options options = { .mode = shared ? GRAM_SHARED : GRAM_EXCLUSIVE };
        struct gram_session *session;
        char name[32];

        snprintf(name, sizeof(name), shared ? "shared" : "own-%d", writer->number);
        writer->code = gram_open(client, name, &options, &session);
        while (!writer->code && !*writer->stop) {
                writer->code = writer_round(writer, session);
                if (!writer->code) {
                        writer->acknowledged++;
                        ++*writer->rounds;
                }
        }
        if (!writer->code)
                writer->code = gram_close(session);
        if (writer->code)
                snprintf(writer->message, sizeof(writer->message), "%s", gram_client_error(client)->message);
        gram_client_free(client);
        return NULL;
}

static void expect_written(struct gram_client *client, const struct writer *writer)
{
        struct gram_open_options options = { .must_exist = true };
        struct gram_session *session;
        struct gram_states *states;
        TEST_FREED char *name = writer->number < SHARED_WRITERS ? test_format("shared")
                                                                : test_format("own-%d", writer->number);
        const int64_t id = writer->number;

        ck_assert_msg(writer->code == 0, "writer %d: %s", writer->number, writer->message);
        ck_assert_int_gt(writer->acknowledged, 0);
        session = opened(client, name, &options);
        for (int64_t n = 1; n <= writer->acknowledged; n++) {
                struct gram_peer *peer;

                OK(client, gram_get_peer_by_id(session, peer_id(writer, n), &peer));
                gram_free(peer);
        }
        OK(client, gram_get_states(session, &id, 1, &states));
        ck_assert_uint_eq(states->n, 1);
        ck_assert_int_ge(states->rows[0].pts, writer->acknowledged);
        gram_free(states);
        OK(client, gram_close(session));
}

static void wait_for_rounds(atomic_int *rounds, int count)
{
        long long start = test_now_ms();

        while (*rounds < count) {
                test_time_left(start, "rounds of the writers");
                poll(NULL, 0, 1); /* nothing tells of a round: ask again */
        }
}

static void load_test(bool kill_it)
{
        DAEMON daemon = daemon_start();
        struct writer writers[WRITERS];
        atomic_bool stop = false;
        atomic_int rounds = 0;
        struct gram_client *client;

        for (int i = 0; i < WRITERS; i++) {
                writers[i] =
                        (struct writer){ .daemon = daemon, .number = i, .stop = &stop, .rounds = &rounds };
                ck_assert_int_eq(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]), 0);
        }
        for (int i = 0; i < DEATHS; i++) {
                wait_for_rounds(&rounds, rounds + ROUNDS_BETWEEN);
                if (kill_it)
                        daemon_kill(daemon);
                else
                        daemon_stop(daemon);
                daemon_resume(daemon);
        }
        wait_for_rounds(&rounds, rounds + ROUNDS_BETWEEN);
        stop = true;
        for (int i = 0; i < WRITERS; i++)
                pthread_join(writers[i].thread, NULL);
        client = connected(daemon);
        for (int i = 0; i < WRITERS; i++)
                expect_written(client, &writers[i]);
        gram_client_free(client);
}

START_TEST(no_call_fails_and_nothing_is_lost_when_the_daemon_is_killed)
{
        load_test(true);
}
END_TEST

START_TEST(no_call_fails_and_nothing_is_lost_when_the_daemon_is_restarted)
{
        load_test(false);
}
END_TEST

/* One client pipelines writes while the daemon is killed: all are stored, in their order. */
struct pipeline {
        struct gram_session *session;
        int64_t submitted, answered;
        int failed;
};

static void on_written(void *arg, struct gram_reply *reply)
{
        struct pipeline *pipeline = arg;

        pipeline->answered++;
        pipeline->failed += reply->error != NULL;
}

static void pipeline_fill(struct pipeline *pipeline, int64_t ahead)
{
        while (pipeline->submitted < pipeline->answered + ahead) {
                struct gram_state state = { .id = 1, .has = GRAM_STATE_PTS, .pts = pipeline->submitted + 1 };

                if (gram_async_update_states(pipeline->session, &state, 1, false, on_written, pipeline))
                        return;
                pipeline->submitted++;
        }
}

START_TEST(a_pipeline_goes_on_where_it_broke)
{
        DAEMON daemon = daemon_start();
        struct gram_client *client = connected(daemon);
        struct pipeline pipeline = { .session = opened(client, "anna", NULL) };
        struct gram_states *states;
        long long start = test_now_ms();

        for (int64_t round = 1; round <= 6; round++) {
                while (pipeline.answered < round * 2000) {
                        struct pollfd fd = { .fd = gram_fd(client), .events = POLLIN };

                        pipeline_fill(&pipeline, 600);
                        poll(&fd, 1, test_time_left(start, "answers"));
                        gram_process(client);
                }
                daemon_kill(daemon);
                daemon_resume(daemon);
        }
        OK(client, gram_get_states(pipeline.session, NULL, 0, &states));
        ck_assert_uint_eq(gram_pending(client), 0); /* answers come in order: all earlier ones are there */
        ck_assert_int_eq(pipeline.failed, 0);
        ck_assert_int_eq(pipeline.answered, pipeline.submitted);
        ck_assert_int_eq(states->rows[0].pts, pipeline.submitted);
        gram_free(states);
        gram_client_free(client);
}
END_TEST

/* The daemon is killed before an import, a deletion and so on: none of them fails. */
START_TEST(calls_that_can_happen_once_survive_a_kill)
{
        DAEMON daemon = daemon_start();
        struct gram_client *client = connected(daemon);
        const struct gram_open_options exclusive = { .mode = GRAM_EXCLUSIVE };
        struct gram_session *session = opened(client, "anna", &exclusive);
        struct gram_identity identity = { .fields = GRAM_AUTH_KEY | GRAM_API_ID | GRAM_USER_ID |
                                                    GRAM_TEST_MODE | GRAM_IS_BOT,
                                          .api_id = 1,
                                          .user_id = 2 };
        char *text;

        memset(identity.auth_key, 3, sizeof(identity.auth_key));
        OK(client, gram_set(session, &identity));
        OK(client, gram_export_string(session, "pyrogram", &text));
        daemon_kill(daemon);
        daemon_resume(daemon);
        OK(client, gram_import_string(session, text, NULL, NULL));
        daemon_kill(daemon);
        daemon_resume(daemon);
        OK(client, gram_import_string(session, text, NULL, NULL)); /* the key that is stored already */
        gram_free(text);
        daemon_kill(daemon);
        daemon_resume(daemon);
        OK(client, gram_delete(session, true));
        OK(client, gram_close(session));
        gram_client_free(client);
}
END_TEST

/* A memory session dies with the daemon: the session ends, and the program is told. */
START_TEST(a_memory_session_ends_with_the_daemon)
{
        DAEMON daemon = daemon_start();
        struct watcher watcher = { 0 };
        struct gram_client *client = test_client_new(&(struct gram_options){
                .socket = daemon->socket, .on_event = on_event, .event_arg = &watcher });
        struct gram_session *session =
                opened(client, "m", &(struct gram_open_options){ .backend = "memory" });

        OK(client, gram_save(session));
        daemon_kill(daemon);
        daemon_resume(daemon);
        ck_assert_int_eq(gram_save(session), GRAM_E_NOT_FOUND);
        ck_assert_int_eq(watcher.ended, 1);
        OK(client, gram_close(session));
        session = opened(client, "m", &(struct gram_open_options){ .backend = "memory" });
        ck_assert(gram_session_opened(session)->created);
        daemon_kill(daemon);
        daemon_resume(daemon);
        OK(client, gram_delete(session, true)); /* it is gone already, which is no error */
        gram_client_free(client);
}
END_TEST

/* A call to a frozen daemon takes as long as the timeout. Once the daemon goes on, so does the client. */
START_TEST(a_frozen_daemon_is_a_timeout)
{
        DAEMON daemon = daemon_start();
        struct gram_client *client = connected(daemon);
        struct gram_session *session = opened(client, "anna", NULL);

        daemon_freeze(daemon);
        gram_client_set_timeout(client, 50);
        ck_assert_int_eq(gram_save(session), GRAM_E_TIMEOUT);
        daemon_thaw(daemon);
        gram_client_set_timeout(client, 0);
        OK(client, gram_save(session));
        gram_client_free(client);
}
END_TEST

int main(void)
{
        return test_program(
                "client-lib/daemon",
                (const TTest *const[]){
                        every_method_works, a_busy_session_names_its_holder,
                        a_watcher_hears_of_changes_restarts_and_the_end,
                        who_is_disconnected_by_an_operator_stays_away,
                        no_call_fails_and_nothing_is_lost_when_the_daemon_is_killed,
                        no_call_fails_and_nothing_is_lost_when_the_daemon_is_restarted,
                        a_pipeline_goes_on_where_it_broke, calls_that_can_happen_once_survive_a_kill,
                        a_memory_session_ends_with_the_daemon, a_frozen_daemon_is_a_timeout, NULL });
}
