#ifndef GRAMD_TESTS_SUPPORT_MONGO_SERVER_H
#define GRAMD_TESTS_SUPPORT_MONGO_SERVER_H

/*
 * Servers that speak MongoDB's protocol: SecantusDB, and FerretDB on SQLite (slow: for correctness). Each has
 * a free port and a folder of its own, and ends with the test's process. If $GRAMD_TEST_MONGO_URI is set,
 * that deployment is used instead of SecantusDB; tests cannot start, stop or kill it.
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
        pid_t pid; /* 0: not running, or not started by the test */
        bool foreign;
};

#define MONGO_SERVER __attribute__((cleanup(mongo_server_end))) struct mongo_server *
#define mongo_server_start(...) mongo_server_start_setup(&(struct mongo_setup){ __VA_ARGS__ })

/* NULL: it is not installed, and the test says that it is skipped. */
struct mongo_server *mongo_server_start_setup(const struct mongo_setup *setup);
void mongo_server_end(struct mongo_server **server);

/* False: the test did not start this server; the rest of the test is skipped, with a message. */
bool mongo_server_is_ours(const struct mongo_server *server, const char *what);
void mongo_server_kill(struct mongo_server *server);
void mongo_server_resume(struct mongo_server *server); /* starts it again, on the same port and files */
void mongo_server_freeze(struct mongo_server *server); /* SIGSTOP, and waits until it has stopped */
void mongo_server_thaw(struct mongo_server *server);

/* An unused session name, malloc'ed: a deployment may hold sessions of earlier runs. */
char *mongo_name(const char *stem);

/*
 * Runs Python against the server, with `db` (pymongo's client), `names` (the further arguments),
 * `document(name)` (collection and filter of a session's document, in either layout) and the libraries of
 * mongo.txt. Returns what it prints, malloc'ed. If it fails, so does the test.
 */
char *mongo_python(const struct mongo_server *server, const char *script, ...) __attribute__((sentinel));

#endif
