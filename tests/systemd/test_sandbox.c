/*
 * The daemon under the restrictions of the installed unit, applied by tests/support/sandbox: with sessions in
 * files, in memory and on MongoDB, with sealed keys, reloads, and stops and starts. A system call that the
 * unit refuses kills the daemon here, so that these tests show what it would lack.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../support/command.h"
#include "../support/mongo_server.h"
#include "../support/name_server.h"
#include "../support/probe.h"
#include "../support/program.h"
#include "../support/sandbox.h"
#include "../support/wire.h"

#define KEY "h'6b'*256"

/* ---- what is refused ---- */

#ifdef __x86_64__
#define NO_ARCHITECTURE "EINTR" /* killed */
#else
#define NO_ARCHITECTURE "ENOSYS" /* not tried */
#endif

START_TEST(the_sandbox_is_as_the_unit_says)
{
        TEST_FREED char *seen = NULL;
        char *limits;
        long long locked, descriptors;

        if (!sandbox_enter(NULL))
                return;
        seen = sandbox_probe("probe");
        limits = strstr(seen, "locked memory: ");
        ck_assert_ptr_nonnull(limits);
        ck_assert_int_eq(sscanf(limits, "locked memory: %lld\ndescriptors: %lld", &locked, &descriptors), 2);
        ck_assert_int_le(locked, 64 << 20); /* a container may have less */
        ck_assert_int_le(descriptors, 524288);
        ck_assert_ptr_nonnull(strstr(limits, "\nmask: 77, uid: 61230, gid: 61230\n"));
        *limits = '\0';
        ck_assert_str_eq(seen, "Unix socket: yes\n"
                               "network socket: EAFNOSUPPORT\n"
                               "netlink socket: EAFNOSUPPORT\n"
                               "packet socket: EAFNOSUPPORT\n"
                               "bind a port: EAFNOSUPPORT\n"
                               "send: EAFNOSUPPORT\n"
                               "the network of others: ENOENT\n"
                               "write here: yes\n"
                               "write above: no\n"
                               "write /etc: no\n"
                               "write /sys: no\n"
                               "write /proc: no\n"
                               "write control groups: no\n"
                               "read /home: no\n"
                               "read /root: no\n"
                               "/root of others: ENOENT\n"
                               "/tmp of others: ENOENT\n"
                               "mounts of others: ENOENT\n"
                               "IPC of others: ENOENT\n"
                               "users of others: ENOENT\n"
                               "see others: ENOENT\n"
                               "see the kernel: ENOENT\n"
                               "see disks: ENOENT\n"
                               "make a device: EPERM\n"
                               "new code: EPERM\n"
                               "written code: EPERM\n"
                               "another architecture: " NO_ARCHITECTURE "\n"
                               "personality: EPERM\n"
                               "trace: EPERM\n"
                               "namespace: EPERM\n"
                               "realtime: EPERM\n"
                               "batch: EPERM\n"
                               "lower priority: yes\n"
                               "leave a processor: yes\n"
                               "set-uid file: EPERM\n"
                               "remove a module: EPERM\n"
                               "the kernel's log: EPERM\n"
                               "the clock: EPERM\n"
                               "host name: EPERM\n"
                               "mount: EPERM\n"
                               "change the user: EPERM\n"
                               "no new privileges: yes\n"
                               "no capabilities: yes\n"
                               "none to gain: yes\n"
                               "none to pass on: yes\n"
                               "core: 0\n");
}
END_TEST

START_TEST(a_line_of_the_unit_is_followed_or_refused)
{
        TEST_FREED char *seen = NULL;
        TEST_FREED char *error = NULL;

        if (!sandbox_enter(
                    "[Service]\nSystemCallFilter=sched_setscheduler\nSystemCallFilter=~sched_setaffinity\n"
                    "RestrictAddressFamilies=AF_NETLINK\nUMask=0027\n"))
                return;
        seen = sandbox_probe("probe");
        ck_assert_msg(strstr(seen, "\nwrite here: yes\n"), "%s", seen);
        ck_assert_msg(strstr(seen, "\nbatch: yes\nlower priority: yes\nleave a processor: EPERM\n"), "%s",
                      seen);
        ck_assert_ptr_nonnull(strstr(seen, "\nnetlink socket: yes\n"));
        ck_assert_ptr_nonnull(strstr(seen, "\nmask: 27,"));
        sandbox_enter("[Service]\nProtectMoon=yes\n");
        error = command("mkdir -p probe; cd probe; ! $GRAMD_WRAPPER /bin/true");
        ck_assert_ptr_nonnull(strstr(error, "not known here: ProtectMoon"));
        sandbox_enter("[Service]\nProtectSystem=full\n");
        free(error);
        error = command("cd probe; ! $GRAMD_WRAPPER /bin/true");
        ck_assert_ptr_nonnull(strstr(error, "ProtectSystem=full: only no, strict can be applied"));
}
END_TEST

/* ---- sessions ---- */

/* Whose log has a warning or an error lacks something. */
static void is_content(const struct daemon *d)
{
        TEST_FREED char *log = daemon_log(d);

        ck_assert_msg(!strstr(log, " warning ") && !strstr(log, " error "), "%s", log);
}

static void fill(struct wire *c, const char *name, const char *backend)
{
        int s = wire_open(c, "'%s', {backend: '%s'}", name, backend);

        expect(c, "nil", "set(%d, {auth_key: " KEY ", user_id: 7, is_bot: false, api_id: 1})", s);
        expect(c, "nil", "update_peers(%d, [[7, 70, 'user', 'anna', nil]])", s);
        expect(c, "nil", "save(%d)", s);
        expect(c, "nil", "close(%d)", s);
}

static void reads(struct wire *c, const char *name, const char *backend)
{
        int s = wire_open(c, "'%s', {backend: '%s', create: false}", name, backend);

        expect(c, "[h'6b6b...']", "get(%d, ['auth_key'])", s);
        expect(c, "[7, 70, 'user', 'anna', nil, ...]", "get_peer_by_id(%d, 7)", s);
        expect(c, "'1...'", "export_string(%d, 'telethon')", s);
        expect(c, "nil", "close(%d)", s);
}

/* Each kind of job of a backend, and the recovery after a kill. */
static void work(struct daemon *d, const char *backend)
{
        {
                CLIENT c = wire_connect(d);

                fill(c, "anna", backend);
                reads(c, "anna", backend);
                fill(c, "bert", backend);
        }
        daemon_kill(d);
        daemon_resume(d);
        CLIENT c = wire_connect(d);
        reads(c, "anna", backend);
        int s = wire_open(c, "'bert', {backend: '%s'}", backend);

        expect(c, "nil", "delete(%d)", s);
        expect(c, "{...}", "stats()");
}

START_TEST(files_and_memory)
{
        if (!sandbox_enter(NULL))
                return;
        DAEMON d = daemon_start();

        work(d, "file");
        CLIENT c = wire_connect(d);
        fill(c, "anna", "memory"); /* is gone when it is closed */
        is_content(d);
        daemon_reload(d, "log-level = debug\n");
        daemon_reload(d, "");
        is_content(d);
}
END_TEST

/* As in a unit that refuses all of @resources: the threads that open files get in the way of others, no more.
 */
START_TEST(no_thread_may_step_aside)
{
        if (!sandbox_enter("[Service]\nSystemCallFilter=~sched_setaffinity setpriority\n"))
                return;
        unsetenv("SANDBOX_KILLS");
        DAEMON d = daemon_start();

        work(d, "file");
        is_content(d);
}
END_TEST

START_TEST(the_manager_is_notified)
{
        if (!sandbox_enter(NULL))
                return;
        DAEMON d = daemon_start(.not_waited_for = true);

        daemon_await(d, "READY=1");
        daemon_await(d, "WATCHDOG=1"); /* WATCHDOG_USEC is the unit's */
        daemon_signal(d, SIGTERM);
        daemon_await(d, "STOPPING=1");
        ck_assert_int_eq(daemon_wait(d), 0);
}
END_TEST

static void is_sealed(struct daemon *d, const char *name)
{
        CLIENT c = wire_connect(d);
        int s;

        fill(c, name, "file");
        s = wire_open(c, "'%s', {}", name);
        expect(c, "{...sealed: '...'...}", "info(%d)", s);
        expect(c, "[h'6b6b...']", "get(%d, ['auth_key'])", s);
        is_content(d);
}

START_TEST(sealing_with_a_key_file)
{
        if (!sandbox_enter(NULL))
                return;
        TEST_FREED char *made =
                command("rm -f key; \"$BUILD/gramctl\" key new key && chown %d key", SANDBOX_UID);
        TEST_FREED char *path = realpath("key", NULL);
        TEST_FREED char *config = test_format("[encryption]\nkey-file = %s\nrequire-sealed = yes\n", path);
        DAEMON d = daemon_start(.config = config);

        is_sealed(d, "anna");
        free(command("\"$BUILD/gramctl\" key new key")); /* keeps its owner */
        daemon_reload(d, config);
        is_sealed(d, "bert");
        CLIENT c = wire_connect(d);
        reads(c, "anna", "file");
}
END_TEST

/* `how` is the directive, which names ./key. */
static void seals_with_credential(const char *how)
{
        TEST_FREED char *cwd = getcwd(NULL, 0);
        TEST_FREED char *drop_in = test_format("[Service]\n%s=gramd.key:%s/key\n", how, cwd);

        sandbox_enter(drop_in);
        DAEMON d = daemon_start(.config = "[encryption]\nrequire-sealed = yes\n");

        is_sealed(d, "anna");
}

START_TEST(sealing_with_a_credential)
{
        if (!sandbox_enter(NULL))
                return;
        free(command("rm -f key; \"$BUILD/gramctl\" key new key"));
        seals_with_credential("LoadCredential");
}
END_TEST

START_TEST(sealing_with_an_encrypted_credential)
{
        if (!sandbox_enter(NULL))
                return;
        /* tpm2-absent: a key that is known to all, so that the test makes no key of this host. */
        free(command("rm -f key; \"$BUILD/gramctl\" key new - | "
                     "systemd-creds encrypt --with-key=tpm2-absent --name=gramd.key - key"));
        seals_with_credential("LoadCredentialEncrypted");
}
END_TEST

START_TEST(a_credential_that_cannot_be_read_is_an_error)
{
        TEST_FREED char *cwd = getcwd(NULL, 0);
        TEST_FREED char *drop_in =
                test_format("[Service]\nEnvironment=CREDENTIALS_DIRECTORY=%s/locked\n", cwd);
        TEST_FREED char *line = test_format("key file %s/locked/gramd.key: Permission denied", cwd);

        ck_assert_int_eq(mkdir("locked", 0700), 0);
        if (!sandbox_enter(drop_in))
                return;
        DAEMON d = daemon_start(.not_waited_for = true);

        ck_assert_int_eq(daemon_wait(d), 1);
        ck_assert_int_eq(daemon_log_lines(d, line), 1);
}
END_TEST

/* ---- MongoDB ---- */

static void works_with_mongodb(const char *uri)
{
        TEST_FREED char *drop_in = sandbox_mongodb_drop_in();

        sandbox_enter(drop_in);
        DAEMON d = daemon_start(.flags = { "--mongo", uri });

        work(d, "mongo");
        is_content(d);
}

static void works_by_name(bool is_service)
{
        if (!sandbox_enter(NULL))
                return;
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS);

        if (!server || !mongo_server_is_ours(server, "a MongoDB server by its name"))
                return;
        struct name_server *names = name_server_start(server->port);
        TEST_FREED char *conf = test_format("nameserver %s\n", name_server_address(names));
        TEST_FREED char *path = NULL;
        TEST_FREED char *uri = is_service ? test_format("mongodb+srv://cluster.gramd.test/?tls=false")
                                          : test_format("mongodb://mongo.gramd.test:%d/", server->port);

        test_write_file("resolv.conf", conf, strlen(conf));
        path = realpath("resolv.conf", NULL);
        setenv("SANDBOX_RESOLV_CONF", path, 1);
        works_with_mongodb(uri);
        ck_assert_int_gt(name_server_answered(names), 0);
}

START_TEST(mongodb_by_name)
{
        works_by_name(false);
}
END_TEST

/* As mongodb+srv:// names it. */
START_TEST(mongodb_by_service)
{
        works_by_name(true);
}
END_TEST

START_TEST(mongodb_with_tls)
{
        if (!sandbox_enter(NULL))
                return;
        MONGO_SERVER server = mongo_server_start(.kind = MONGO_SECANTUS, .tls = true);
        TEST_FREED char *ca = NULL;
        TEST_FREED char *uri = NULL;

        if (!server)
                return;
        free(command("install -m 644 %s/ca.pem ca.pem", server->dir));
        ca = realpath("ca.pem", NULL);
        uri = test_format("mongodb://localhost:%d/?tls=true&tlsCAFile=%s", server->port, ca);
        works_with_mongodb(uri);
}
END_TEST

/* ---- stops and starts with an inherited socket ---- */

enum { WAITING = 40, STARTS = 3 };

static int listening_socket(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        strcpy(address.sun_path, path);
        unlink(path);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        ck_assert_int_eq(listen(fd, 4096), 0);
        return fd;
}

/* Those that come while the daemon notices the signal, while it ends, and while there is none, are served by
 * the next. */
START_TEST(a_stop_and_start_drops_no_connection_attempt)
{
        if (!sandbox_enter(NULL))
                return;
        TEST_FREED char *path = test_format("%s", "inherited");
        int fd = listening_socket(path);
        DAEMON d = daemon_start(.listen_fd = fd, .socket = path);
        struct wire *waiting[3 * WAITING];
        uint32_t ids[3 * WAITING];
        size_t n;

        for (int start = 0; start < STARTS; start++) {
                n = 0;
                daemon_freeze(d);
                for (int i = 0; i < WAITING; i++) {
                        waiting[n] = wire_connect(d);
                        ids[n] = wire_send(waiting[n], "ping(1)");
                        n++;
                }
                daemon_signal(d, SIGTERM);
                daemon_thaw(d);
                for (int i = 0; i < WAITING; i++) {
                        waiting[n] = wire_connect(d);
                        ids[n] = wire_send(waiting[n], "ping(1)");
                        n++;
                }
                ck_assert_int_eq(daemon_wait(d), 0);
                for (int i = 0; i < WAITING; i++) {
                        waiting[n] = wire_connect(d);
                        ids[n] = wire_send(waiting[n], "ping(1)");
                        n++;
                }
                daemon_resume(d);
                while (n > 0) {
                        n--;
                        expect_text(wire_answer(waiting[n], ids[n]), "1");
                        wire_end(&waiting[n]);
                }
        }
        close(fd);
}
END_TEST

int main(int argc, char **argv)
{
        const TTest *const tests[] = { the_sandbox_is_as_the_unit_says,
                                       a_line_of_the_unit_is_followed_or_refused,
                                       files_and_memory,
                                       no_thread_may_step_aside,
                                       the_manager_is_notified,
                                       sealing_with_a_key_file,
                                       sealing_with_a_credential,
                                       sealing_with_an_encrypted_credential,
                                       a_credential_that_cannot_be_read_is_an_error,
                                       mongodb_by_name,
                                       mongodb_by_service,
                                       mongodb_with_tls,
                                       a_stop_and_start_drops_no_connection_attempt,
                                       NULL };

        if (argc > 1)
                return probe(argv[1]);
        return test_program("sandbox", tests);
}
