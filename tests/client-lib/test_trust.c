/*
 * Who listens at the socket: libgram and gramctl send nothing to another user's process. The kernel takes the
 * listener's uid in listen(2), so the puppet listens under the uid of the test.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../support/client.h"
#include "../support/command.h"
#include "../support/program.h"
#include "../support/puppet.h"

enum { SOMEBODY = 61234, SOMEBODY_ELSE = 61235, OVERFLOW_UID = 65534 };

static bool is_root(void)
{
        if (geteuid() == 0)
                return true;
        test_skipped("a socket of another user", "root");
        return false;
}

static void become(uid_t uid)
{
        ck_assert_int_eq(seteuid(0), 0);
        ck_assert_int_eq(seteuid(uid), 0);
}

static void listen_as(struct puppet *puppet, uid_t uid)
{
        become(uid);
        ck_assert_int_eq(listen(puppet->listen_fd, 16), 0);
        become(0);
        ck_assert_int_eq(chmod(puppet->socket, 0777), 0);
        ck_assert_int_eq(chmod(".", 0755), 0);
}

static struct gram_client *client_of(int64_t server_uid)
{
        struct gram_client *client = test_client_new(&(struct gram_options){ .socket = "puppet.sock" });

        if (server_uid)
                gram_client_trust(client, server_uid);
        return client;
}

/* Whether the server at the socket is trusted. If it is not, not a byte has reached it. */
static bool trusted(struct puppet *puppet, uid_t self, int64_t server_uid)
{
        struct gram_client *client;
        const char *message;
        char own[32], byte;
        int fd, code;

        become(self);
        client = client_of(server_uid);
        ck_assert_ptr_nonnull(client);
        gram_client_set_timeout(client, 20);
        code = gram_connect(client);
        message = gram_client_error(client)->message;
        snprintf(own, sizeof(own), "uid %u,", (unsigned)self);
        if (code == GRAM_E_UNTRUSTED)
                ck_assert_msg(strstr(message, "GRAMD_SERVER_UID"), "%s", message);
        else
                ck_assert_int_eq(code, GRAM_E_TIMEOUT); /* the puppet does not answer */
        if (code == GRAM_E_UNTRUSTED && !getenv("GRAMD_SERVER_UID"))
                ck_assert_msg(strstr(message, own), "%s", message);
        gram_client_free(client);
        become(0);
        fd = accept(puppet->listen_fd, NULL, NULL);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), code == GRAM_E_UNTRUSTED ? 0 : 1);
        close(fd);
        return code != GRAM_E_UNTRUSTED;
}

START_TEST(only_known_users_are_trusted)
{
        PUPPET puppet = puppet_new();

        if (!is_root())
                return;
        listen_as(puppet, SOMEBODY);
        ck_assert(!trusted(puppet, 0, 0));
        ck_assert(!trusted(puppet, SOMEBODY_ELSE, 0));
        ck_assert(!trusted(puppet, SOMEBODY_ELSE, SOMEBODY_ELSE));
        ck_assert(trusted(puppet, SOMEBODY, 0));
        ck_assert(trusted(puppet, 0, SOMEBODY));
        ck_assert(trusted(puppet, SOMEBODY_ELSE, SOMEBODY));
        listen_as(puppet, 0);
        ck_assert(trusted(puppet, SOMEBODY_ELSE, 0));
}
END_TEST

START_TEST(the_environment_names_a_user)
{
        static const char *const wrong[] = {
                "61235", "x", "-1", "61234x", " 61234", "4294967295", "99999999999999999999"
        };
        PUPPET puppet = puppet_new();

        if (!is_root())
                return;
        listen_as(puppet, SOMEBODY);
        setenv("GRAMD_SERVER_UID", "61234", 1);
        ck_assert(trusted(puppet, 0, 0));
        ck_assert(!trusted(puppet, 0, SOMEBODY_ELSE)); /* the option comes first */
        setenv("GRAMD_SERVER_UID", "", 1);
        ck_assert(!trusted(puppet, 0, 0));
        for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
                setenv("GRAMD_SERVER_UID", wrong[i], 1);
                ck_assert_msg(!trusted(puppet, 0, 0), "%s", wrong[i]);
        }
}
END_TEST

/* It stands for every user of other namespaces, so it is nobody's own. */
START_TEST(the_overflow_uid_must_be_named)
{
        PUPPET puppet = puppet_new();

        if (!is_root())
                return;
        listen_as(puppet, OVERFLOW_UID);
        ck_assert(!trusted(puppet, 0, 0));
        ck_assert(!trusted(puppet, OVERFLOW_UID, 0));
        ck_assert(trusted(puppet, OVERFLOW_UID, OVERFLOW_UID));
}
END_TEST

START_TEST(the_user_gramd_is_trusted)
{
        static const char users[] = "root:x:0:0::/:/bin/sh\ngramd:x:61234:61234::/:/bin/sh\n";
        PUPPET puppet = puppet_new();

        if (!is_root())
                return;
        test_write_file("passwd", users, sizeof(users) - 1);
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("passwd", "/etc/passwd", NULL, MS_BIND, NULL) != 0) {
                test_skipped("the user gramd", "a mount namespace");
                test_remove("passwd");
                return;
        }
        listen_as(puppet, SOMEBODY);
        ck_assert(trusted(puppet, 0, 0));
        listen_as(puppet, SOMEBODY_ELSE);
        ck_assert(!trusted(puppet, 0, 0));
        ck_assert_int_eq(umount("/etc/passwd"), 0);
        test_remove("passwd");
}
END_TEST

/* ---- while the client runs ---- */

struct outcome {
        bool done;
        int code;
};

static void on_reply(void *arg, struct gram_reply *reply)
{
        struct outcome *outcome = arg;

        outcome->done = true;
        outcome->code = reply->error ? reply->error->code : 0;
}

static void read_nothing(struct puppet *puppet)
{
        char byte;
        int fd;

        while ((fd = accept(puppet->listen_fd, NULL, NULL)) >= 0) {
                ck_assert_int_eq(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
                close(fd);
        }
}

START_TEST(requests_are_refused_at_once)
{
        PUPPET puppet = puppet_new();
        struct outcome pinged = { 0 }, opened = { 0 };
        struct gram_session *session = NULL;
        struct gram_client *client;

        if (!is_root())
                return;
        listen_as(puppet, SOMEBODY);
        client = puppet->pump = client_of(0);
        ck_assert_int_eq(gram_async_ping(client, on_reply, &pinged), 0);
        ck_assert_int_eq(gram_async_open(client, "anna", NULL, on_reply, &opened), 0);
        puppet_until(puppet, &pinged.done);
        puppet_until(puppet, &opened.done);
        ck_assert_int_eq(pinged.code, GRAM_E_UNTRUSTED);
        ck_assert_int_eq(opened.code, GRAM_E_UNTRUSTED);
        ck_assert_uint_eq(gram_pending(client), 0);
        ck_assert_int_eq(gram_open(client, "anna", NULL, &session), GRAM_E_UNTRUSTED);
        ck_assert_int_eq(gram_ping(client), GRAM_E_UNTRUSTED);
        gram_client_free(client);
        read_nothing(puppet);
}
END_TEST

static void on_open(void *arg, struct gram_reply *reply)
{
        *(struct gram_session **)arg = reply->error ? NULL : reply->session;
}

START_TEST(a_reconnection_looks_again)
{
        static const struct gram_peer row = { .id = 7, .type = "user" };
        PUPPET puppet = puppet_new();
        struct gram_session *session = NULL;
        struct gram_client *client;
        struct outcome outcome = { 0 };
        uint32_t id;

        if (!is_root())
                return;
        client = puppet->pump = client_of(0);
        ck_assert_int_eq(gram_async_open(client, "anna", NULL, on_open, &session), 0);
        puppet_greet(puppet);
        puppet_does(
                puppet, "open(...)",
                "{session: 3, created: true, backend: 'file', dialect: 'pyrogram', version: 3, fence: 0}");
        while (!session)
                gram_process(client);
        ck_assert_int_eq(gram_async_update_peers(session, &row, 1, on_reply, &outcome), 0);
        puppet_expect(puppet, "update_peers(...)");
        puppet_silence(puppet);
        puppet_listen(puppet);
        listen_as(puppet, SOMEBODY);
        puppet_until(puppet, &outcome.done);
        ck_assert_int_eq(outcome.code, GRAM_E_UNTRUSTED);
        read_nothing(puppet);

        close(puppet->listen_fd); /* the right one comes back */
        puppet_listen(puppet);
        puppet_greet(puppet);
        puppet_does(
                puppet, "open('anna', ...)",
                "{session: 5, created: false, backend: 'file', dialect: 'pyrogram', version: 3, fence: 0}");
        outcome = (struct outcome){ 0 };
        ck_assert_int_eq(gram_async_update_peers(session, &row, 1, on_reply, &outcome), 0);
        id = puppet_expect(puppet, "update_peers(5, ...)");
        puppet_answer(puppet, id, "nil");
        puppet_until(puppet, &outcome.done);
        ck_assert_int_eq(outcome.code, 0);
        gram_client_free(client);
}
END_TEST

START_TEST(gramctl_gives_its_key_to_nobody_else)
{
        PUPPET puppet = puppet_new();
        const char *build = getenv("BUILD");
        TEST_FREED char *said = NULL;

        if (!is_root())
                return;
        listen_as(puppet, SOMEBODY);
        said = command("echo 1secret | %s/gramctl --socket puppet.sock import anna 2>&1; echo status $?",
                       build ? build : "build");
        ck_assert_msg(strstr(said, "status 3"), "%s", said);
        ck_assert_msg(strstr(said, "uid 61234") && strstr(said, "uid 0,"), "%s", said);
        ck_assert_msg(strstr(said, "GRAMD_SERVER_UID=61234"), "%s", said);
        read_nothing(puppet);
}
END_TEST

int main(void)
{
        return test_program("client-lib/trust",
                            (const TTest *const[]){ only_known_users_are_trusted,
                                                    the_environment_names_a_user,
                                                    the_overflow_uid_must_be_named, the_user_gramd_is_trusted,
                                                    requests_are_refused_at_once, a_reconnection_looks_again,
                                                    gramctl_gives_its_key_to_nobody_else, NULL });
}
