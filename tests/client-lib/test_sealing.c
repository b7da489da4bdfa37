/*
 * Sealing as an operator sees it: keys are made, sessions sealed, keys rotated, commands killed half-way. And
 * nothing that the daemon writes, or keeps in memory for a closed session, shows a key.
 */

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
#include "../support/daemon.h"
#include "../support/program.h"

enum { KEY_BYTES = sizeof(((struct gram_identity *)0)->auth_key) };

static uint8_t marked[KEY_BYTES];

static void mark(void)
{
        for (int i = 0; i < KEY_BYTES; i++)
                marked[i] = (uint8_t)(i * 37 ^ 0xa5);
}

static bool shows_key(const char *bytes, size_t len)
{
        for (int at = 0; at + 16 <= KEY_BYTES; at += 16)
                if (memmem(bytes, len, marked + at, 16))
                        return true;
        return false;
}

static bool file_shows_key(const char *path)
{
        size_t len = 0;
        TEST_FREED char *bytes = test_read_file(path, &len);

        return bytes && shows_key(bytes, len);
}

static void new_key(void)
{
        TEST_FREED char *out = command("$BUILD/gramctl key new key");

        ck_assert_ptr_nonnull(strstr(out, "is the current one"));
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

        memcpy(identity.auth_key, marked, KEY_BYTES);
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
        ck_assert_mem_eq(identity.auth_key, marked, KEY_BYTES);
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

        mark();
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
        test_remove("key");
}
END_TEST

START_TEST(sessions_are_sealed_and_unsealed)
{
        TEST_FREED char *config = NULL;

        mark();
        test_remove("key");
        new_key();
        TEST_FREED char *here = realpath("key", NULL);
        config = test_format("[encryption]\nkey-file = %s\n", here);
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
        test_remove("key");
}
END_TEST

enum { MANY = 60 };

/* `rotate` is killed again and again, and so is the daemon: every session can be read at any time. */
START_TEST(a_rotation_may_be_killed)
{
        TEST_FREED char *config = NULL;
        char name[16];
        int rounds = 0;

        mark();
        test_remove("key");
        new_key();
        TEST_FREED char *here = realpath("key", NULL);
        config = test_format("idle-close = 0\n[encryption]\nkey-file = %s\n", here);
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
        test_remove("key");
}
END_TEST

START_TEST(what_is_not_sealed_can_be_refused)
{
        TEST_FREED char *config = NULL;

        mark();
        test_remove("key");
        new_key();
        TEST_FREED char *here = realpath("key", NULL);
        config = test_format("idle-close = 0\n[encryption]\nkey-file = %s\nrequire-sealed = yes\n", here);
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
        test_remove("key");
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
        mark();
        test_remove("key");
        new_key();
        TEST_FREED char *here = realpath("key", NULL);
        TEST_FREED char *config = test_format("idle-close = 0\n[encryption]\nkey-file = %s\n", here);
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
        test_remove("key");
}
END_TEST

START_TEST(keys_that_cannot_be_locked_are_told_of)
{
        const struct rlimit none = { 0, 0 };
        static const char text[] = "the memory of the keys is not locked";

        mark();
        if (test_memory_factor() > 1) {
                test_skipped("keys that cannot be locked", "no sanitizer, which makes mlock(2) do nothing");
                return;
        }
        test_remove("key");
        new_key();
        TEST_FREED char *here = realpath("key", NULL);
        TEST_FREED char *config = test_format("[encryption]\nkey-file = %s\n", here);
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
        test_remove("key");
}
END_TEST

START_TEST(nothing_on_the_disk_or_in_the_log_shows_the_key)
{
        TEST_FREED char *config = NULL;
        TEST_FREED char *listed = NULL;
        char *at;

        mark();
        test_remove("key");
        new_key();
        TEST_FREED char *here = realpath("key", NULL);
        config = test_format("log-level = debug\nidle-close = 0\n[encryption]\nkey-file = %s\n", here);
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
        test_remove("key");
}
END_TEST

/* How many pieces of the key are in the daemon's memory. It has to have its socket's path. */
static int pieces_in_memory(const struct daemon *daemon)
{
        enum { CHUNK = 1 << 20 };
        TEST_FREED char *maps_path = test_format("/proc/%d/maps", daemon->pid);
        TEST_FREED char *mem_path = test_format("/proc/%d/mem", daemon->pid);
        FILE *maps = fopen(maps_path, "re");
        int mem = open(mem_path, O_RDONLY | O_CLOEXEC);
        TEST_FREED char *chunk = malloc(CHUNK);
        unsigned long from, to;
        bool has_path = false;
        int pieces = 0;
        char line[512];

        ck_assert(maps && mem >= 0);
        while (fgets(line, sizeof(line), maps)) {
                if (sscanf(line, "%lx-%lx r", &from, &to) != 2 || strstr(line, "[v"))
                        continue;
                for (unsigned long at = from; at < to; at += CHUNK - 16) {
                        size_t want = to - at < CHUNK ? to - at : CHUNK;
                        ssize_t n = pread(mem, chunk, want, (off_t)at);

                        has_path |= n > 0 && memmem(chunk, (size_t)n, daemon->socket, strlen(daemon->socket));
                        for (int piece = 0; n > 0 && piece + 16 <= KEY_BYTES; piece += 16)
                                pieces += memmem(chunk, (size_t)n, marked + piece, 16) != NULL;
                        if (want < CHUNK)
                                break;
                }
        }
        fclose(maps);
        close(mem);
        ck_assert(has_path);
        return pieces;
}

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
        TEST_FREED char *config = NULL;
        struct gram_peer peers[1000];
        struct gram_session *session;

        mark();
        test_remove("key");
        new_key();
        TEST_FREED char *here = realpath("key", NULL);
        config = test_format("[encryption]\nkey-file = %s\n", here);
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
        test_remove("key");
}
END_TEST

START_TEST(no_key_is_in_memory)
{
        TEST_FREED char *config = NULL;

        mark();
        if (geteuid() != 0) {
                test_skipped("the search of the daemon's memory", "root");
                return;
        }
        if (test_memory_factor() > 1) {
                test_skipped("the search of the daemon's memory", "no sanitizer, which maps terabytes");
                return;
        }
        test_remove("key");
        new_key();
        TEST_FREED char *here = realpath("key", NULL);
        config = test_format("idle-close = 0\n[encryption]\nkey-file = %s\n", here);
        DAEMON d = daemon_start(.config = config);
        GRAM client = connected(d);

        make(client, "anna");
        check(client, "anna");
        ck_assert_int_eq(pieces_in_memory(d), 0); /* while it is open, too */
        await_closed(d);
        gram_ping(client);
        ck_assert_int_eq(pieces_in_memory(d), 0);
        test_remove("key");
}
END_TEST

int main(void)
{
        const TTest *const tests[] = {
                a_key_file_grows_at_its_top,
                sessions_are_sealed_and_unsealed,
                a_rotation_may_be_killed,
                what_is_not_sealed_can_be_refused,
                a_bad_key_file_ends_the_start,
                a_bad_key_file_leaves_a_reload_without_effect,
                keys_that_cannot_be_locked_are_told_of,
                nothing_on_the_disk_or_in_the_log_shows_the_key,
                no_key_is_in_memory,
                a_large_file_is_sealed,
                NULL,
        };

        return test_program("client-lib/sealing", tests);
}
