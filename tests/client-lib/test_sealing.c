/*
 * Sealing as an operator sees it: keys are made, sessions sealed, keys rotated, commands killed half-way. And
 * nothing that the daemon writes, or keeps in memory for a closed session, shows a key.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../client-lib/gram.h"
#include "../support/client.h"
#include "../support/command.h"
#include "../support/leftover.h"
#include "../support/program.h"

static struct leftover_key marked; /* of all sessions */

static bool file_shows_key(const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        bool shows;

        if (fd < 0 && errno == ENOENT) /* a log that the session's close has removed meanwhile */
                return false;
        ck_assert_int_ge(fd, 0);
        shows = leftover_in_file(fd, &marked) > 0;
        close(fd);
        return shows;
}

static void new_key(void)
{
        TEST_FREED char *out = command("$BUILD/gramctl key new key");

        ck_assert_ptr_nonnull(strstr(out, "is the current one"));
}

/* Begins a key file, `key`. Returns a configuration that names it, with these lines above and below;
 * malloc'ed. */
static char *begin_key(const char *above, const char *below)
{
        TEST_FREED char *path = NULL;

        test_remove("key");
        new_key();
        path = realpath("key", NULL);
        return test_format("%s[encryption]\nkey-file = %s\n%s", above, path, below);
}

static char *run(const struct daemon *daemon, const char *arguments)
{
        return command("GRAMD_SOCKET='%s' \"$BUILD/gramctl\" %s 2>&1 || true", daemon->socket, arguments);
}

static void expect_run(const struct daemon *daemon, const char *arguments, const char *part)
{
        TEST_FREED char *out = run(daemon, arguments);

        ck_assert_msg(strstr(out, part), "%s: no `%s` in: %s", arguments, part, out);
}

static void make(struct gram_client *client, const char *name)
{
        struct gram_identity identity = { .fields = GRAM_AUTH_KEY };
        struct gram_session *session;

        memcpy(identity.auth_key, marked.bytes, sizeof(identity.auth_key));
        ck_assert_int_eq(gram_open(client, name, NULL, &session), 0);
        ck_assert_int_eq(gram_set(session, &identity), 0);
        ck_assert_int_eq(gram_close(session), 0);
}

static void check(struct gram_client *client, const char *name)
{
        struct gram_identity identity;
        struct gram_session *session;
        int error = gram_open(client, name, &(struct gram_open_options){ .must_exist = true }, &session);

        ck_assert_msg(error == 0, "%s: %s", name, gram_client_error(client)->message);
        ck_assert_int_eq(gram_get(session, GRAM_AUTH_KEY, &identity), 0);
        ck_assert_mem_eq(identity.auth_key, marked.bytes, sizeof(identity.auth_key));
        gram_identity_wipe(&identity);
        gram_close(session);
}

static void free_client(struct gram_client **client)
{
        gram_client_free(*client);
}
#define GRAM __attribute__((cleanup(free_client))) struct gram_client *

static struct gram_client *connected(const struct daemon *daemon)
{
        setenv("GRAMD_SOCKET", daemon->socket, 1);
        return test_client_new(NULL);
}

START_TEST(a_key_file_grows_at_its_top)
{
        struct stat stat_key;
        TEST_FREED char *first = NULL, *second = NULL, *out = NULL;

        test_remove("key");
        new_key();
        first = test_read_file("key", NULL);
        ck_assert_int_eq(stat("key", &stat_key), 0);
        ck_assert_int_eq(stat_key.st_mode & 07777, 0600);
        new_key();
        second = test_read_file("key", NULL);
        ck_assert_uint_eq(strlen(second), 2 * strlen(first));
        ck_assert_str_eq(second + strlen(first), first);
        out = command("$BUILD/gramctl key new - | wc -l");
        ck_assert_str_eq(out, "1\n");
        chmod("key", 0644);
        TEST_FREED char *refused = command("$BUILD/gramctl key new key 2>&1 || true");
        ck_assert_ptr_nonnull(strstr(refused, "chmod 600"));
}
END_TEST

START_TEST(sessions_are_sealed_and_unsealed)
{
        TEST_FREED char *config = begin_key("", "");

        DAEMON d = daemon_start(.config = "");
        GRAM client = connected(d);

        make(client, "anna");
        expect_run(d, "seal anna", "this daemon has no key to seal with");
        daemon_reload(d, config);
        expect_run(d, "seal anna", "1 done, 0 failed");
        expect_run(d, "show anna", "sealed ");
        check(client, "anna");
        make(client, "bert");
        expect_run(d, "show bert", "sealed ");
        expect_run(d, "unseal --all", "2 done, 0 failed");
        expect_run(d, "unseal", "needs the names of sessions");
        expect_run(d, "seal --all anna", "needs the names of sessions");
        expect_run(d, "seal nobody anna", "1 done, 1 failed");
        check(client, "anna");
        check(client, "bert");
}
END_TEST

START_TEST(an_unsealed_session_outlives_a_kill)
{
        TEST_FREED char *config = begin_key("", "");

        DAEMON d = daemon_start(.config = config);
        GRAM client = connected(d);

        make(client, "anna");
        expect_run(d, "unseal anna", "1 done, 0 failed");
        daemon_kill(d);
        daemon_resume(d);
        check(client, "anna");
        TEST_FREED char *shown = run(d, "show anna");
        ck_assert(!strstr(shown, "sealed "));
        expect_run(d, "seal anna", "1 done, 0 failed");
        expect_run(d, "show anna", "sealed ");
        check(client, "anna");
}
END_TEST

enum { MANY = 60 };

/* `rotate` is killed again and again, and so is the daemon: every session can be read at any time. */
START_TEST(a_rotation_may_be_killed)
{
        TEST_FREED char *config = begin_key("idle-close = 0\n", "");
        char name[16];
        int rounds = 0;

        DAEMON d = daemon_start(.config = config);
        GRAM client = connected(d);

        for (int i = 0; i < MANY; i++) {
                snprintf(name, sizeof(name), "s%d", i);
                make(client, name);
        }
        new_key();
        daemon_reload(d, config);
        for (bool done = false; !done; rounds++) {
                pid_t pid = fork();
                int status;

                if (pid == 0) {
                        TEST_FREED char *program = test_format("%s/gramctl", getenv("BUILD"));

                        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
                        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
                        execl(program, "gramctl", "rotate", "--all", NULL);
                        _exit(127);
                }
                usleep((useconds_t)(20000 + rounds * 20000));
                if (rounds % 2) {
                        daemon_kill(d);
                        daemon_resume(d);
                }
                kill(pid, SIGKILL);
                waitpid(pid, &status, 0);
                done = rounds > 6;
                snprintf(name, sizeof(name), "s%d", rounds * 7 % MANY);
                check(client, name);
        }
        expect_run(d, "rotate --all", "60 done, 0 failed");
        daemon_stop(d);
        TEST_FREED char *none = command("head -n 1 key >one; mv one key; chmod 600 key");
        (void)none;
        daemon_resume(d);
        for (int i = 0; i < MANY; i++) {
                snprintf(name, sizeof(name), "s%d", i);
                check(client, name);
        }
}
END_TEST

START_TEST(what_is_not_sealed_can_be_refused)
{
        TEST_FREED char *config = begin_key("idle-close = 0\n", "require-sealed = yes\n");

        DAEMON d = daemon_start(.config = "");
        {
                GRAM client = connected(d);

                make(client, "anna");
        }
        daemon_stop(d);
        test_write_file(d->config, config, strlen(config));
        daemon_resume(d);
        expect_run(d, "show anna", "require-sealed is set: `gramctl seal 'anna'`");
        expect_run(d, "seal anna", "1 done");
        expect_run(d, "unseal anna", "so it stays sealed");
        GRAM client = connected(d);
        check(client, "anna");
}
END_TEST

static int start_status(const char *directory, const char *key, const char *text, char **err)
{
        TEST_FREED char *config = test_format("[encryption]\nkey-file = %s\n", key);
        TEST_FREED char *data = test_format("%s/data", directory);
        TEST_FREED char *socket = test_format("%s/socket", directory);
        const char *const arguments[] = { "--config", "conf", "--data", data, "--socket", socket, NULL };

        mkdir(directory, 0700);
        mkdir(data, 0700);
        test_write_file("conf", config, strlen(config));
        if (text) {
                test_write_file(key, text, strlen(text));
                chmod(key, 0600);
        }
        DAEMON_RUN run_ = daemon_run(arguments);
        *err = strdup(run_.err);
        test_remove("conf");
        test_remove(directory);
        return run_.status;
}

START_TEST(a_bad_key_file_ends_the_start)
{
        TEST_FREED char *err = NULL, *err2 = NULL, *err3 = NULL;

        test_remove("key");
        ck_assert_int_ne(start_status("d", "d/nothing", NULL, &err), 0);
        ck_assert_msg(strstr(err, "d/nothing: No such file"), "%s", err);
        ck_assert_int_ne(start_status("d", "d/key", "SECRET\n", &err2), 0);
        ck_assert_msg(strstr(err2, "d/key:1: not `gramd-key-1`") && !strstr(err2, "SECRET"), "%s", err2);
        mkdir("d", 0700);
        mkdir("d/data", 0700);
        ck_assert_int_ne(start_status("d", "d/data/key", "x\n", &err3), 0);
        ck_assert_msg(strstr(err3, "the key file is in the data directory"), "%s", err3);
}
END_TEST

/* Else the next start would fail. Also a FIFO, which nobody waits for, and one that others may read. */
START_TEST(a_bad_key_file_leaves_a_reload_without_effect)
{
        TEST_FREED char *config = begin_key("idle-close = 0\n", "");
        DAEMON d = daemon_start(.config = config);
        const struct {
                const char *command, *name, *why;
        } bad[] = {
                { "cp key $D/key && chmod 600 $D/key", "data/key", "is in the data directory" },
                { "rm $D/key; ln -s $PWD/key $D/key", "data/key", "a symbolic link" },
                { "rm $D/key; mkfifo -m 600 $D/../fifo", "fifo", "not a regular file" },
                { "rm $D/../fifo; cp key $D/../open && chmod 640 $D/../open", "open", "others may read" },
                { "rm $D/../open; : >$D/../none; chmod 600 $D/../none", "none", "holds no key" },
        };
        TEST_FREED char *data = daemon_beside(d, "data");

        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                TEST_FREED char *path = daemon_beside(d, bad[i].name);
                TEST_FREED char *reloaded =
                        test_format("idle-close = 0\n[encryption]\nkey-file = %s\n", path);

                free(command("D='%s'; %s", data, bad[i].command));
                daemon_reload(d, reloaded);
                ck_assert_msg(daemon_log_lines(d, bad[i].why) == 1, "%s", bad[i].why);
                GRAM client = connected(d);
                make(client, "anna");
                check(client, "anna");
        }
}
END_TEST

/* What a reload takes away is gone for the next start, too. So it is told, and holds at once. */
START_TEST(a_reload_tells_of_keys_that_are_gone)
{
        TEST_FREED char *config = begin_key("idle-close = 0\n", "");
        DAEMON d = daemon_start(.config = config);
        GRAM client = connected(d);

        make(client, "anna");
        free(command("cp key one"));
        new_key();
        daemon_reload(d, config);
        ck_assert_int_eq(daemon_log_lines(d, "gone"), 0);
        make(client, "bert");
        free(command("head -n 1 key >new; mv key both; mv new key; chmod 600 key"));
        daemon_reload(d, config);
        ck_assert_int_eq(daemon_log_lines(d, "these keys are gone: "), 1);
        expect_run(d, "show anna", "which this daemon does not have");
        check(client, "bert");
        free(command("mv both key"));
        daemon_reload(d, config);
        check(client, "anna");
        daemon_reload(d, "[encryption]\nrequire-sealed = yes\n");
        ck_assert_int_eq(daemon_log_lines(d, "stays as it was: require-sealed needs a key"), 1);
        check(client, "anna");

        daemon_reload(d, "idle-close = 0\n");
        ck_assert_int_eq(daemon_log_lines(d, "there is no key any more"), 1);
        for (int i = 0; i < 2; i++) {
                TEST_FREED char *shown = NULL;
                TEST_FREED char *name = test_format("carl%d", i);

                expect_run(d, "show anna", "which this daemon does not have");
                make(client, name);
                expect_run(d, "list", name);
                TEST_FREED char *arguments = test_format("show %s", name);
                shown = run(d, arguments);
                ck_assert_ptr_nonnull(strstr(shown, "dialect"));
                ck_assert_ptr_null(strstr(shown, "sealed"));
                daemon_stop(d);
                daemon_resume(d);
        }
}
END_TEST

START_TEST(keys_that_cannot_be_locked_are_told_of)
{
        const struct rlimit none = { 0, 0 };
        static const char text[] = "the memory of the keys is not locked";

        if (test_memory_factor() > 1) {
                test_skipped("keys that cannot be locked", "no sanitizer, which makes mlock(2) do nothing");
                return;
        }
        TEST_FREED char *config = begin_key("", "");
        {
                DAEMON d = daemon_start(.config = config);

                ck_assert_int_eq(daemon_log_lines(d, text), 0);
        }
        ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
        if (geteuid() == 0)
                ck_assert_int_eq(prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK), 0);
        DAEMON d = daemon_start(.config = config);
        GRAM client = connected(d);

        ck_assert_int_eq(daemon_log_lines(d, text), 1);
        make(client, "anna");
        check(client, "anna");
}
END_TEST

START_TEST(nothing_on_the_disk_or_in_the_log_shows_the_key)
{
        TEST_FREED char *config = begin_key("log-level = debug\nidle-close = 0\n", "");
        TEST_FREED char *listed = NULL;
        char *at;

        DAEMON d = daemon_start(.config = "");
        GRAM client = connected(d);

        make(client, "old"); /* in the clear */
        daemon_stop(d);
        test_write_file(d->config, config, strlen(config));
        daemon_resume(d);
        make(client, "new");
        expect_run(d, "seal --all", "2 done");
        check(client, "old");
        check(client, "new");
        daemon_kill(d);
        daemon_resume(d);
        check(client, "old");
        listed = command("find '%s' -type f", d->dir);
        for (at = strtok(listed, "\n"); at; at = strtok(NULL, "\n"))
                ck_assert_msg(!file_shows_key(at), "%s shows the key", at);
}
END_TEST

static void await_closed(const struct daemon *d)
{
        for (int i = 0; i < 200; i++) {
                TEST_FREED char *log = daemon_log(d);

                if (strstr(log, " closed"))
                        return;
                usleep(20000);
        }
        ck_abort_msg("the session is not closed");
}

/* The peak of memory and the copy are bounded by the file: a large one is sealed, too. */
START_TEST(a_large_file_is_sealed)
{
        TEST_FREED char *config = begin_key("", "");
        struct gram_peer peers[1000];
        struct gram_session *session;

        DAEMON d = daemon_start(.config = "");
        GRAM client = connected(d);

        make(client, "anna");
        ck_assert_int_eq(gram_open(client, "anna", NULL, &session), 0);
        for (int i = 0; i < 30; i++) {
                for (int j = 0; j < 1000; j++)
                        peers[j] = (struct gram_peer){ .id = i * 1000 + j + 1,
                                                       .access_hash = j,
                                                       .has_access_hash = true,
                                                       .type = "user" };
                ck_assert_int_eq(gram_update_peers(session, peers, 1000), 0);
        }
        gram_close(session);
        daemon_reload(d, config);
        expect_run(d, "seal anna", "1 done, 0 failed");
        check(client, "anna");
        expect_run(d, "show anna", "30000");
        TEST_FREED char *path = daemon_path(d, "anna");
        ck_assert(!file_shows_key(path));
        daemon_kill(d);
        daemon_resume(d);
        check(client, "anna");
        expect_run(d, "show anna", "30000");
}
END_TEST

START_TEST(no_key_is_in_memory)
{
        TEST_FREED char *config = begin_key("idle-close = 0\n", "");

        if (!leftover_is_searchable())
                return;
        DAEMON d = daemon_start(.config = config);
        GRAM client = connected(d);

        make(client, "anna");
        check(client, "anna");
        ck_assert_int_eq(leftover_in_memory(d, &marked), 0); /* while it is open, too */
        await_closed(d);
        gram_ping(client);
        ck_assert_int_eq(leftover_in_memory(d, &marked), 0);
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                a_key_file_grows_at_its_top,
                sessions_are_sealed_and_unsealed,
                an_unsealed_session_outlives_a_kill,
                a_rotation_may_be_killed,
                what_is_not_sealed_can_be_refused,
                a_bad_key_file_ends_the_start,
                a_bad_key_file_leaves_a_reload_without_effect,
                a_reload_tells_of_keys_that_are_gone,
                keys_that_cannot_be_locked_are_told_of,
                nothing_on_the_disk_or_in_the_log_shows_the_key,
                no_key_is_in_memory,
                a_large_file_is_sealed,
                NULL,
        };

        leftover_key(&marked, 1);
        return test_program("client-lib/sealing", tests);
}
