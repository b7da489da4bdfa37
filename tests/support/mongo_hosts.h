#ifndef GRAMD_TESTS_SUPPORT_MONGO_HOSTS_H
#define GRAMD_TESTS_SUPPORT_MONGO_HOSTS_H

/* Hosts that share a MongoDB server: each is a daemon with a data directory of its own. */

#include "daemon.h"
#include "mongo_server.h"
#include "wire.h"

/* A daemon on the server of this URI; `term` is its mongo-term, a text in seconds. */
#define HOST(uri, term) daemon_start(.flags = { "--mongo", uri, "--mongo-term", term })

/* Declares the daemons a and b, and ca and cb, a client of each. They end with the scope. */
#define TWO_HOSTS(uri_a, uri_b, term)                                                                        \
        DAEMON a = HOST(uri_a, term);                                                                        \
        DAEMON b = HOST(uri_b, term);                                                                        \
        CLIENT ca = wire_connect(a);                                                                         \
        CLIENT cb = wire_connect(b)

#endif
