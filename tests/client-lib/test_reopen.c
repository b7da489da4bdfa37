/*
 * Sessions closed and opened again on one connection of the real daemon. A disconnected client opens its
 * sessions again, so a lost connection shows only in what happened to them meanwhile.
 */
#include <poll.h>
#include <signal.h>

#include "../support/client.h"
#include "../support/daemon.h"
#include "../support/program.h"

/* Fails the test with the message of the error. */
#define OK(client, call) ck_assert_msg((call) == 0, #call ": %s", gram_client_error(client)->message)

static struct gram_client *connected(const struct daemon *daemon)
{
        struct gram_client *client = test_client_new(&(struct gram_options){ .socket = daemon->socket });

        ck_assert_ptr_nonnull(client);
        return client;
}

static struct gram_session *opened(struct gram_client *client, const char *name,
                                   const struct gram_open_options *options)
{
        struct gram_session *session = NULL;

        OK(client, gram_open(client, name, options, &session));
        return session;
}

static void close_and_reopen(struct gram_client *client, const char *name,
                             const struct gram_open_options *options, int times)
{
        for (int i = 0; i < times; i++) {
                struct gram_session *session = opened(client, name, options);

                OK(client, gram_save(session));
                OK(client, gram_close(session));
        }
}

START_TEST(a_closed_session_is_opened_again_on_the_same_connection)
{
        DAEMON daemon = daemon_start();
        struct gram_client *client = connected(daemon);
        struct gram_session *other = opened(client, "berta", NULL);

        close_and_reopen(client, "anna", NULL, 100);
        OK(client, gram_save(other));
        gram_client_free(client);
}
END_TEST

/* It lives as long as there is a handle on it. */
START_TEST(a_memory_session_keeps_its_data_while_another_handle_holds_it)
{
        DAEMON daemon = daemon_start();
        struct gram_client *client = connected(daemon);
        const struct gram_open_options memory = { .backend = "memory" };
        const struct gram_peer row = { .id = 7, .type = "user" };
        struct gram_session *holder = opened(client, "m", &memory);
        struct gram_session *again;
        struct gram_peer *peer;

        OK(client, gram_update_peers(holder, &row, 1));
        close_and_reopen(client, "m", &memory, 3);
        again = opened(client, "m", &memory);
        ck_assert(!gram_session_opened(again)->created);
        OK(client, gram_get_peer_by_id(again, 7, &peer));
        gram_free(peer);
        OK(client, gram_get_peer_by_id(holder, 7, &peer));
        gram_free(peer);
        gram_client_free(client);
}
END_TEST

struct waiter {
        int opened;
        struct gram_session *session;
};

static void on_open(void *arg, struct gram_reply *reply)
{
        struct waiter *waiter = arg;

        ck_assert_ptr_null(reply->error);
        waiter->opened++;
        waiter->session = reply->session;
}

START_TEST(an_exclusive_session_is_not_lost_to_a_waiter)
{
        DAEMON daemon = daemon_start();
        struct gram_client *owner = connected(daemon), *other = connected(daemon);
        const struct gram_open_options exclusive = { .mode = GRAM_EXCLUSIVE };
        const struct gram_open_options waiting = { .mode = GRAM_EXCLUSIVE, .wait_ms = TEST_DEADLINE_MS };
        struct gram_session *session = opened(owner, "anna", &exclusive);
        struct waiter waiter = { 0 };

        ck_assert_int_eq(gram_async_open(other, "anna", &waiting, on_open, &waiter), 0);
        OK(other, gram_ping(other)); /* answered: the `open` that waits has arrived, too */
        close_and_reopen(owner, "berta", NULL, 3);
        OK(owner, gram_save(session));
        OK(other, gram_ping(other));
        ck_assert_int_eq(waiter.opened, 0);
        OK(owner, gram_close(session));
        while (!waiter.opened)
                OK(other, gram_ping(other));
        OK(other, gram_save(waiter.session));
        gram_client_free(owner);
        gram_client_free(other);
}
END_TEST

/* The daemon is to end before it has opened them; one of them waits for another client. */
START_TEST(opens_that_the_end_of_the_daemon_interrupts_are_granted_by_the_next)
{
        enum { OPENS = 200 };
        DAEMON daemon = daemon_start();
        struct gram_client *owner = connected(daemon), *other = connected(daemon);
        const struct gram_open_options exclusive = { .mode = GRAM_EXCLUSIVE };
        const struct gram_open_options waiting = { .mode = GRAM_EXCLUSIVE, .wait_ms = TEST_DEADLINE_MS };
        struct waiter waiter = { 0 };
        long long start = test_now_ms();

        opened(owner, "held", &exclusive);
        OK(other, gram_connect(other));
        daemon_freeze(daemon);
        ck_assert_int_eq(gram_async_open(other, "held", &waiting, on_open, &waiter), 0);
        for (int i = 0; i < OPENS; i++) {
                TEST_FREED char *name = test_format("anna%d", i);

                ck_assert_int_eq(gram_async_open(other, name, NULL, on_open, &waiter), 0);
        }
        gram_process(other); /* sends them */
        test_breaks_connections();
        daemon_signal(daemon, SIGTERM);
        daemon_thaw(daemon);
        ck_assert_int_eq(daemon_wait(daemon), 0);
        gram_client_free(owner);
        daemon_resume(daemon);
        while (waiter.opened < OPENS + 1) {
                struct pollfd fd = { .fd = gram_fd(other), .events = POLLIN };

                poll(&fd, 1, test_time_left(start, "the opens"));
                gram_process(other);
        }
        gram_client_free(other);
}
END_TEST

int main(void)
{
        return test_program(
                "client-lib/reopen",
                (const TTest *const[]){ a_closed_session_is_opened_again_on_the_same_connection,
                                        a_memory_session_keeps_its_data_while_another_handle_holds_it,
                                        an_exclusive_session_is_not_lost_to_a_waiter,
                                        opens_that_the_end_of_the_daemon_interrupts_are_granted_by_the_next,
                                        NULL });
}
