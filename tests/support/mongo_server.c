/*
 * Starting and ending servers that speak MongoDB's protocol. As in daemon.c, the child ends with the test's
 * process.
 */

#include "mongo_server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "program.h"

static const char *const kind_names[MONGO_KINDS] = { "SecantusDB", "FerretDB" };
static const char *const programs[MONGO_KINDS] = { "mongo/bin/secantusd-py", "ferretdb" };

/* Servers are also started outside of Check's tests, where its assertions do not work. */
static void must(bool right, const char *what)
{
        if (right)
                return;
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

/* Where `make mongo-servers` puts them, once for all builds. */
static const char *servers_directory(void)
{
        const char *directory = getenv("VENVS");

        must(directory != NULL, "VENVS names the directory of what the tests fetch; it is not set");
        return directory;
}

static int free_port(void)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        must(fd >= 0, "socket");
        must(bind(fd, (struct sockaddr *)&address, len) == 0, "bind");
        must(getsockname(fd, (struct sockaddr *)&address, &len) == 0, "getsockname");
        close(fd);
        return ntohs(address.sin_port);
}

static bool accepts(int port)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool accepted;

        address.sin_port = htons((uint16_t)port);
        accepted = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
        close(fd);
        return accepted;
}

static void become(const struct mongo_server *server, const char *program, pid_t parent)
{
        TEST_FREED char *port = test_format("%d", server->port);
        TEST_FREED char *address = test_format("127.0.0.1:%d", server->port);
        TEST_FREED char *cert = test_format("%s/cert.pem", server->dir);
        TEST_FREED char *log = test_format("%s/log", server->dir);
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        const char *words[24] = { program };
        size_t n = 1;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(127);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        if (server->setup.kind == MONGO_FERRET) {
                words[n++] = address;
                words[n++] = server->dir;
        } else {
                words[n++] = "--host";
                words[n++] = "127.0.0.1";
                words[n++] = "--port";
                words[n++] = port;
                words[n++] = "--storage-path";
                words[n++] = server->dir;
                if (server->setup.auth)
                        words[n++] = "--auth";
                if (server->setup.test_commands)
                        words[n++] = "--enable-test-commands";
                if (server->setup.tls) {
                        words[n++] = "--tls-cert-file";
                        words[n++] = cert;
                        words[n++] = "--tls-key-file";
                        words[n++] = cert;
                }
        }
        execv(program, (char *const *)words);
        _exit(127);
}

static void launch(struct mongo_server *server)
{
        TEST_FREED char *program = test_format("%s/%s", servers_directory(), programs[server->setup.kind]);
        const struct timespec pause = { .tv_nsec = 20000000 };
        long long start = test_now_ms();
        pid_t parent = getpid();

        server->pid = fork();
        must(server->pid >= 0, "fork");
        if (server->pid == 0)
                become(server, program, parent);
        while (!accepts(server->port)) {
                must(waitpid(server->pid, NULL, WNOHANG) == 0, "the server ended instead of serving");
                test_time_left(start, server->name);
                nanosleep(&pause, NULL);
        }
}

static bool is_there(enum mongo_kind kind)
{
        TEST_FREED char *program = test_format("%s/%s", servers_directory(), programs[kind]);

        if (access(program, X_OK) == 0)
                return true;
        test_skipped(kind_names[kind], "it is not there: `make mongo-servers` fetches and builds it");
        return false;
}

static void add_certificate(const struct mongo_server *server)
{
        free(command("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 "
                     "-addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout %s/key.pem -out %s/ca.pem && "
                     "cat %s/key.pem %s/ca.pem >%s/cert.pem",
                     server->dir, server->dir, server->dir, server->dir, server->dir));
}

static struct mongo_server *foreign(const char *uri)
{
        struct mongo_server *server = calloc(1, sizeof(*server));

        must(server != NULL, "calloc");
        server->name = "the deployment of GRAMD_TEST_MONGO_URI";
        server->foreign = true;
        server->uri = test_format("%s", uri);
        return server;
}

struct mongo_server *mongo_server_start_setup(const struct mongo_setup *setup)
{
        const char *uri = getenv("GRAMD_TEST_MONGO_URI");
        struct mongo_server *server;
        char cwd[4096];

        if (uri && *uri && setup->kind == MONGO_SECANTUS && !setup->auth && !setup->tls)
                return foreign(uri);
        if (!is_there(setup->kind))
                return NULL;
        server = calloc(1, sizeof(*server));
        must(server != NULL, "calloc");
        must(getcwd(cwd, sizeof(cwd)) != NULL, "getcwd");
        server->setup = *setup;
        server->name = kind_names[setup->kind];
        server->dir = test_format("%s/mongo.XXXXXX", cwd);
        must(mkdtemp(server->dir) != NULL, "mkdtemp");
        server->port = free_port();
        server->uri = test_format("mongodb://127.0.0.1:%d", server->port);
        if (setup->tls)
                add_certificate(server);
        launch(server);
        return server;
}

void mongo_server_end(struct mongo_server **pointer)
{
        struct mongo_server *server = *pointer;

        *pointer = NULL;
        if (!server)
                return;
        if (server->pid)
                mongo_server_kill(server);
        if (server->dir)
                test_remove(server->dir);
        free(server->dir);
        free(server->uri);
        free(server);
}

bool mongo_server_is_ours(const struct mongo_server *server, const char *what)
{
        if (!server->foreign)
                return true;
        test_skipped(what, server->name);
        return false;
}

void mongo_server_kill(struct mongo_server *server)
{
        must(kill(server->pid, SIGKILL) == 0, "kill");
        must(waitpid(server->pid, NULL, 0) == server->pid, "waitpid");
        server->pid = 0;
}

void mongo_server_resume(struct mongo_server *server)
{
        ck_assert_int_eq(server->pid, 0);
        launch(server);
}

void mongo_server_freeze(struct mongo_server *server)
{
        int status;

        ck_assert_int_eq(kill(server->pid, SIGSTOP), 0);
        ck_assert_int_eq(waitpid(server->pid, &status, WUNTRACED), server->pid);
        ck_assert(WIFSTOPPED(status));
}

void mongo_server_thaw(struct mongo_server *server)
{
        ck_assert_int_eq(kill(server->pid, SIGCONT), 0);
}

char *mongo_name(const char *stem)
{
        return test_format("%s-%d-%llx", stem, (int)getpid(), test_now_ms());
}

char *mongo_python(const struct mongo_server *server, const char *script, ...)
{
        static const char head[] = "import sys, time\n"
                                   "import pymongo\n"
                                   "from bson.int64 import Int64\n"
                                   "db = pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=10000)\n"
                                   "names = sys.argv[2:]\n"
                                   "def document(name):\n"
                                   "    own = (db[name]['session'], {'_id': 0})\n"
                                   "    return own if own[0].find_one(own[1]) else (db['gramd']['session'], "
                                   "{'_id': name})\n";
        TEST_FREED char *path = test_format("script.%d.%llx.py", (int)getpid(), test_now_ms());
        TEST_FREED char *text = test_format("%s%s", head, script);
        char *words = test_format("%s", "");
        va_list args;
        char *output;

        test_write_file(path, text, strlen(text));
        va_start(args, script);
        for (const char *word = va_arg(args, const char *); word; word = va_arg(args, const char *)) {
                char *longer = test_format("%s '%s'", words, word);

                free(words);
                words = longer;
        }
        va_end(args);
        output = command("%s/mongo/bin/python %s '%s'%s", servers_directory(), path, server->uri, words);
        free(words);
        unlink(path);
        return output;
}
