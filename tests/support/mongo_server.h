#ifndef GRAMD_TESTS_SUPPORT_MONGO_SERVER_H
#define GRAMD_TESTS_SUPPORT_MONGO_SERVER_H

/*
 * Servers that speak MongoDB's protocol, each on a free port, in a folder of its own, and gone with the
 * test's process: SecantusDB, and FerretDB on SQLite (slow: for correctness). With $GRAMD_TEST_MONGO_URI set,
 * the deployment it names takes the place of the first; it cannot be started, stopped or killed.
 */

#include <stdbool.h>
#include <sys/types.h>

enum mongo_kind { MONGO_SECANTUS, MONGO_FERRET, MONGO_KINDS };

struct mongo_setup {
        enum mongo_kind kind;
        bool auth;          /* SecantusDB: clients must give a name and a password */
        bool tls;           /* SecantusDB: with a certificate of its own making */
        bool test_commands; /* SecantusDB: configureFailPoint */
};

struct mongo_server {
        struct mongo_setup setup;
        const char *name; /* for messages */
        char *dir;        /* absolute */
        char *uri;        /* without options and database */
        int port;
        pid_t pid; /* 0: not running, or not ours */
        bool foreign;
};

#define MONGO_SERVER __attribute__((cleanup(mongo_server_end))) struct mongo_server *
#define mongo_server_start(...) mongo_server_start_setup(&(struct mongo_setup){ __VA_ARGS__ })

/* NULL: there is none here, and that has been said. */
struct mongo_server *mongo_server_start_setup(const struct mongo_setup *setup);
void mongo_server_end(struct mongo_server **server);

/* Only a server that the test started; else the rest of the test is skipped, and that has been said. */
bool mongo_server_is_ours(const struct mongo_server *server, const char *what);
void mongo_server_kill(struct mongo_server *server);
void mongo_server_resume(struct mongo_server *server); /* starts it again, on the same port and files */
void mongo_server_freeze(struct mongo_server *server); /* SIGSTOP, and waits until it has stopped */
void mongo_server_thaw(struct mongo_server *server);

/* A free name for a session: a deployment may hold those of earlier runs. malloc'ed. */
char *mongo_name(const char *stem);

/*
 * Runs Python against the server, with `db` (pymongo's client), `names` (the further arguments) and the
 * libraries of mongo.txt. What it prints, malloc'ed; a failure fails the test.
 */
char *mongo_python(const struct mongo_server *server, const char *script, ...) __attribute__((sentinel));

#endif
