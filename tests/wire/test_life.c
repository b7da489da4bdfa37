/*
 * A daemon's life: one daemon for each data directory and socket, what a killed one leaves, the orderly end,
 * reloading, and notifications to the service manager.
 */
#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../support/program.h"
#include "../support/wire.h"

static void expect_plain_files(struct daemon *d)
{
        TEST_FREED char *pattern = test_format("%s/*.session?*", d->data);
        glob_t found;

        ck_assert_msg(glob(pattern, 0, NULL, &found) == GLOB_NOMATCH, "left behind: %s", found.gl_pathv[0]);
}

START_TEST(the_log_names_who_opened_created_and_deleted)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT c = wire_connect(d);
        TEST_FREED char *who =
                test_format("by client \"a bot\" (id 1, pid %d, uid %u)", (int)getpid(), (unsigned)getuid());
        TEST_FREED char *created = test_format("session anna (file) created %s", who);
        TEST_FREED char *opened = test_format("session anna (file) opened %s", who);
        TEST_FREED char *deleted = test_format("session anna (file) deleted %s", who);
        TEST_FREED char *log = NULL;
        int s;

        wire_call(c, "hello({client: 'a bot'})");
        s = wire_open(c, "'anna', {}");
        expect(c, "nil", "close(%d)", s);
        daemon_stop(d);
        log = daemon_log(d);
        ck_assert_ptr_nonnull(strstr(log, created));
        daemon_resume(d);
        CLIENT again = wire_connect(d);
        wire_call(again, "hello({client: 'a bot'})");
        s = wire_open(again, "'anna', {}");
        expect(again, "nil", "delete(%d)", s);
        daemon_stop(d);
        free(log);
        log = daemon_log(d);
        ck_assert_ptr_nonnull(strstr(log, opened));
        ck_assert_ptr_nonnull(strstr(log, deleted));
}
END_TEST

/* Whoever reads the log sees where the name ends. */
START_TEST(a_name_does_not_imitate_the_log)
{
        DAEMON d = daemon_start(.config = "idle-close = 0\n");
        CLIENT c = wire_connect(d);
        TEST_FREED char *log = NULL;

        wire_open(c, "'a (file) closed \"', {}");
        daemon_stop(d);
        log = daemon_log(d);
        ck_assert_ptr_nonnull(
                strstr(log, "session \"a (file) closed \\\"\" (file) created by client without"));
        ck_assert_ptr_null(strstr(log, "session a (file)"));
}
END_TEST

START_TEST(the_log_names_whose_open_failed)
{
        static const char garbage[] = "this is no session file";
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *path = test_format("%s/bad.session", d->data);
        TEST_FREED char *failed = test_format(
                "cannot open session bad (file) for client \"a bot\" (id 1, pid %d, uid %u): ", (int)getpid(),
                (unsigned)getuid());
        TEST_FREED char *log = NULL;

        test_write_file(path, garbage, strlen(garbage));
        wire_call(c, "hello({client: 'a bot'})");
        expect(c, "!corrupt", "open('bad', {})");
        daemon_stop(d);
        log = daemon_log(d);
        ck_assert_ptr_nonnull(strstr(log, failed));
}
END_TEST

/*
 * In one turn the daemon reads the requests, then the signal. The loads that a worker has begun go on. The
 * others have no answer: who loses the connection so tries again.
 */
START_TEST(opens_that_wait_at_the_end_load_nothing)
{
        enum { OPENS = 200 };
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *pattern = test_format("%s/*.session", d->data);
        const char *answer;
        size_t granted = 0;
        glob_t found;

        expect(c, "1", "ping(1)");
        daemon_freeze(d);
        for (int i = 0; i < OPENS; i++)
                wire_send(c, "open('anna%d', {})", i);
        daemon_signal(d, SIGTERM);
        daemon_thaw(d);
        for (; (answer = wire_next(c)); granted++)
                ck_assert_msg(strstr(answer, "created: true"), "%s", answer);
        ck_assert_int_eq(daemon_wait(d), 0);
        ck_assert_uint_lt(granted, OPENS / 2);
        ck_assert_int_eq(glob(pattern, 0, NULL, &found), granted > 0 ? 0 : GLOB_NOMATCH);
        ck_assert_uint_eq(found.gl_pathc, granted);
        globfree(&found);
        ck_assert_int_eq(daemon_log_lines(d, "cannot open session"), 0);
}
END_TEST

START_TEST(a_second_daemon_on_the_data_is_refused)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        TEST_FREED char *socket = daemon_beside(d, "socket2");
        const char *const arguments[] = {
                "--config", d->config, "--data", d->data, "--socket", socket, NULL
        };
        DAEMON_RUN second = daemon_run(arguments);

        ck_assert_int_ne(second.status, 0);
        ck_assert_int_lt(second.status, 126);
        ck_assert_msg(strstr(second.err, d->data) != NULL, "the directory is not named: %s", second.err);
        expect(c, "1", "ping(1)");
        ck_assert_int_ne(access(socket, F_OK), 0);
}
END_TEST

START_TEST(a_second_daemon_on_the_socket_is_refused)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        CLIENT late = NULL;
        TEST_FREED char *data = daemon_beside(d, "data2");
        const char *const arguments[] = {
                "--config", d->config, "--data", data, "--socket", d->socket, NULL
        };

        ck_assert_int_eq(mkdir(data, 0700), 0);
        DAEMON_RUN second = daemon_run(arguments);

        ck_assert_int_ne(second.status, 0);
        ck_assert_int_lt(second.status, 126);
        ck_assert_msg(strstr(second.err, d->socket) != NULL, "the socket is not named: %s", second.err);
        expect(c, "1", "ping(1)");
        late = wire_connect(d);
        expect(late, "1", "ping(1)");
}
END_TEST

START_TEST(a_frozen_daemons_socket_is_not_taken)
{
        DAEMON d = daemon_start();
        TEST_FREED char *data = daemon_beside(d, "data2");
        const char *const arguments[] = {
                "--config", d->config, "--data", data, "--socket", d->socket, NULL
        };

        ck_assert_int_eq(mkdir(data, 0700), 0);
        daemon_freeze(d);
        DAEMON_RUN second = daemon_run(arguments);
        ck_assert_int_ne(second.status, 0);
        daemon_thaw(d);
        CLIENT c = wire_connect(d);
        expect(c, "1", "ping(1)");
}
END_TEST

START_TEST(a_dead_daemons_socket_is_replaced)
{
        DAEMON d = daemon_start();
        struct stat before;
        struct wire *c;

        daemon_kill(d);
        ck_assert_int_eq(stat(d->socket, &before), 0);
        daemon_resume(d);
        c = wire_connect(d);
        expect(c, "1", "ping(1)");
        wire_end(&c);
}
END_TEST

/* gramd does not remove a file that is not a socket. */
START_TEST(a_file_in_the_sockets_place_is_kept)
{
        DAEMON d = daemon_start();
        TEST_FREED char *text = NULL;

        daemon_stop(d);
        test_write_file(d->socket, "precious", 8);
        const char *const arguments[] = { "--config", d->config, "--data", d->data,
                                          "--socket", d->socket, NULL };
        DAEMON_RUN run = daemon_run(arguments);
        ck_assert_int_ne(run.status, 0);
        ck_assert_ptr_nonnull(strstr(run.err, d->socket));
        text = test_read_file(d->socket, NULL);
        ck_assert_str_eq(text, "precious");
}
END_TEST

/* Writes under way when the signal comes are finished: every answered write is stored. */
static void orderly_end(int signal)
{
        enum { N = 200 };
        DAEMON d = daemon_start();
        struct wire *c = wire_connect(d);
        int s = wire_open(c, "'anna', {}");
        uint32_t id[N];
        bool written[N] = { false };
        const char *text;

        for (int i = 0; i < N; i++)
                id[i] = wire_send(c, "update_peers(%d, [[%d, 70, 'user', nil, nil]])", s, i + 1);
        daemon_signal(d, signal);
        while ((text = wire_next(c)))
                for (int i = 0; i < N; i++) {
                        TEST_FREED char *answer = test_format("%u: nil", id[i]);

                        written[i] = written[i] || strcmp(text, answer) == 0;
                }
        ck_assert_int_eq(daemon_wait(d), 0);
        wire_end(&c);
        expect_plain_files(d);
        daemon_resume(d);
        c = wire_connect(d);
        s = wire_open(c, "'anna', {create: false}");
        for (int i = 0; i < N; i++)
                if (written[i])
                        expect(c, "[...]", "get_peer_by_id(%d, %d)", s, i + 1);
        wire_end(&c);
}

START_TEST(sigterm_is_an_orderly_end)
{
        orderly_end(SIGTERM);
}
END_TEST

START_TEST(sigint_is_an_orderly_end)
{
        orderly_end(SIGINT);
}
END_TEST

START_TEST(idle_and_waiting_clients_do_not_hold_up_the_end)
{
        DAEMON d = daemon_start();
        CLIENT a = wire_connect(d);
        CLIENT b = wire_connect(d);
        static const char half[] = "\x94\x00\x05\xa4pi";

        wire_open(a, "'anna', {mode: 'exclusive'}");
        wire_send(b, "open('anna', {mode: 'exclusive', wait: 600000})");
        expect(b, "1", "ping(1)");
        wire_raw(a, half, sizeof(half) - 1);
        daemon_stop(d);
        wire_expect_closed(b); /* without an answer, as above */
        expect_plain_files(d);
        ck_assert_ptr_null(wire_connect_path(d->socket));
}
END_TEST

START_TEST(a_client_that_does_not_read_does_not_hold_up_the_end)
{
        DAEMON d = daemon_start();
        CLIENT c = wire_connect(d);
        size_t len, sent = 0, n;
        uint8_t *request = wire_pack(5, &len, "ping('x'*1000)");

        do {
                n = wire_raw_some(c, request + sent % len, len - sent % len);
                sent += n;
        } while (n || wire_writable(c, 300));
        daemon_stop(d);
        free(request);
}
END_TEST

/* The next start recovers what a killed daemon left, before any client opens it. */
START_TEST(the_start_recovers_files_after_a_kill)
{
        DAEMON d = daemon_start();
        struct wire *c = wire_connect(d);

        for (int i = 0; i < 20; i++) {
                int s = wire_open(c, "'s%d', {}", i);

                expect(c, "nil", "update_peers(%d, [[7, %d, 'user', nil, nil]])", s, i);
        }
        daemon_kill(d);
        wire_end(&c);
        daemon_resume(d);
        expect_plain_files(d);
        c = wire_connect(d);
        for (int i = 0; i < 20; i++) {
                TEST_FREED char *expected = test_format("[7, %d, 'user', nil, nil, ...]", i);

                expect(c, expected, "get_peer_by_id(%d, 7)", wire_open(c, "'s%d', {create: false}", i));
        }
        wire_end(&c);
}
END_TEST

/* No answered write is lost by a kill, whatever the policy for power cuts. */
START_TEST(writes_survive_a_kill_with_every_fsync_policy)
{
        static const char *const policies[] = { "fsync = always\n", "fsync = everysec\n", "fsync = no\n" };

        for (size_t i = 0; i < 3; i++) {
                DAEMON d = daemon_start(.config = policies[i]);
                struct wire *c = wire_connect(d);
                int s = wire_open(c, "'anna', {}");

                expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'a', nil, 5]])", s);
                expect(c, "nil", "update_states(%d, [[0, 1, 1, 1, 1]])", s);
                expect(c, "nil", "set(%d, {user_id: 9})", s);
                daemon_kill(d);
                wire_end(&c);
                daemon_resume(d);
                c = wire_connect(d);
                s = wire_open(c, "'anna', {create: false}");
                expect(c, "[7, 70, 'user', 'a', nil, 5]", "get_peer_by_id(%d, 7)", s);
                expect(c, "[[0, 1, 1, 1, 1]]", "get_states(%d)", s);
                expect(c, "[9]", "get(%d, ['user_id'])", s);
                wire_end(&c);
        }
}
END_TEST

/* ---- reloading ---- */

START_TEST(a_reload_changes_the_log_level)
{
        DAEMON d = daemon_start(.config = "log-level = error\n");
        CLIENT c = wire_connect(d);
        TEST_FREED char *quiet = daemon_log(d);
        TEST_FREED char *talking = NULL;

        ck_assert_str_eq(quiet, "");
        daemon_reload(d, "log-level = debug\n");
        wire_call(c, "hello({client: 'after'})");
        wire_open(c, "'anna', {}");
        expect(c, "!corrupt or {...}", "open('bella', {})");
        talking = daemon_log(d);
        ck_assert_uint_gt(strlen(talking), 0);
}
END_TEST

START_TEST(a_reload_changes_the_limits)
{
        DAEMON d = daemon_start();
        CLIENT old = wire_connect(d);
        CLIENT c = NULL;
        int s = wire_open(old, "'anna', {}");

        daemon_reload(d, "max-message = 8k\nmax-in-flight = 100\nmax-sessions = 2000\n");
        c = wire_connect(d);
        const char *hello = wire_call(c, "hello({client: 'after'})");
        ck_assert_int_eq(wire_number(hello, "max_message"), 8192);
        ck_assert_int_eq(wire_number(hello, "max_in_flight"), 100);
        ck_assert_int_eq(wire_number(hello, "max_sessions"), 2000);
        wire_send(c, "ping('x'*9000)");
        expect_text(wire_next(c), "2: !too_large");
        wire_expect_closed(c);
        expect(old, "nil", "set(%d, {dc_id: 4})", s);
}
END_TEST

START_TEST(a_wrong_configuration_is_not_adopted)
{
        DAEMON d = daemon_start(.config = "max-in-flight = 50\n");
        CLIENT c = wire_connect(d);
        TEST_FREED char *log = NULL;

        daemon_reload(d, "max-in-flight = 60\nmax-message = plenty\n");
        ck_assert_int_eq(wire_number(wire_call(c, "hello({client: 'x'})"), "max_in_flight"), 50);
        log = daemon_log(d);
        ck_assert_msg(strstr(log, "gramd.conf:2:") != NULL && strstr(log, "plenty") != NULL, "%s", log);
        daemon_reload(d, "max-in-flight = 70\n");
        ck_assert_int_eq(wire_number(wire_call(c, "hello({client: 'x'})"), "max_in_flight"), 70);
}
END_TEST

/* ---- the service manager ---- */

START_TEST(the_service_manager_is_notified)
{
        DAEMON d = daemon_start(.watchdog_us = 200000);

        daemon_await(d, "WATCHDOG=1");
        daemon_await(d, "WATCHDOG=1");
        daemon_signal(d, SIGHUP);
        daemon_await(d, "RELOADING=1");
        daemon_await(d, "READY=1");
        daemon_await(d, "WATCHDOG=1");
        daemon_signal(d, SIGTERM);
        daemon_await(d, "STOPPING=1");
        ck_assert_int_eq(daemon_wait(d), 0);
}
END_TEST

/* READY=1 means serving: a client that connects at that moment gets an answer. */
START_TEST(ready_means_serving)
{
        for (int i = 0; i < 5; i++) {
                DAEMON d = daemon_start();
                CLIENT c = wire_connect(d);

                expect(c, "1", "ping(1)");
        }
}
END_TEST

START_TEST(an_inherited_socket_is_served_and_kept)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "inherited" };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct wire *c;

        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(listen(fd, 128), 0);
        /* connects before there is a daemon, and gets its answer when it has started */
        c = wire_connect_path("inherited");
        ck_assert_ptr_nonnull(c);
        wire_send(c, "ping('early')");
        {
                DAEMON d = daemon_start(.listen_fd = fd);
                CLIENT other = wire_connect_path("inherited");

                expect_text(wire_next(c), "1: 'early'");
                expect(other, "1", "ping(1)");
                daemon_stop(d);
                ck_assert_int_eq(access("inherited", F_OK), 0);
                daemon_resume(d);
                wire_end(&other);
                other = wire_connect_path("inherited");
                expect(other, "2", "ping(2)");
        }
        wire_end(&c);
        close(fd);
        unlink("inherited");
}
END_TEST

START_TEST(an_ended_daemon_leaves_no_socket_of_its_own)
{
        DAEMON d = daemon_start();

        daemon_stop(d);
        ck_assert_int_ne(access(d->socket, F_OK), 0);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                the_log_names_who_opened_created_and_deleted,
                a_name_does_not_imitate_the_log,
                the_log_names_whose_open_failed,
                opens_that_wait_at_the_end_load_nothing,
                a_second_daemon_on_the_data_is_refused,
                a_second_daemon_on_the_socket_is_refused,
                a_frozen_daemons_socket_is_not_taken,
                a_dead_daemons_socket_is_replaced,
                a_file_in_the_sockets_place_is_kept,
                sigterm_is_an_orderly_end,
                sigint_is_an_orderly_end,
                idle_and_waiting_clients_do_not_hold_up_the_end,
                a_client_that_does_not_read_does_not_hold_up_the_end,
                the_start_recovers_files_after_a_kill,
                writes_survive_a_kill_with_every_fsync_policy,
                a_reload_changes_the_log_level,
                a_reload_changes_the_limits,
                a_wrong_configuration_is_not_adopted,
                the_service_manager_is_notified,
                ready_means_serving,
                an_inherited_socket_is_served_and_kept,
                an_ended_daemon_leaves_no_socket_of_its_own,
                NULL,
        };

        return test_program("life", tests);
}
