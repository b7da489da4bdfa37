#ifndef GRAMD_TESTS_SUPPORT_NAME_SERVER_H
#define GRAMD_TESTS_SUPPORT_NAME_SERVER_H

/*
 * A name server on port 53 of a loopback address of its own, for daemons whose /etc/resolv.conf names it. It
 * knows every name as 127.0.0.1, and every service as one at `port` of mongo.gramd.test. Needs root. Ends
 * with the test's process.
 */

struct name_server;

struct name_server *name_server_start(int port);
const char *name_server_address(const struct name_server *server);
/* How many questions it has answered. Any thread. */
int name_server_answered(const struct name_server *server);

#endif
