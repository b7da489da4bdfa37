#ifndef GRAM_CLIENT_TRUST_H
#define GRAM_CLIENT_TRUST_H

/*
 * Whom this program gives keys to: the uid of the process that listens at the socket. Whoever may write to
 * the folder of the socket, or is there first, could listen there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Before a byte is sent on a connection. Trusted are root, the program's own effective uid, the user `gramd`,
 * and `server_uid`; if that is 0, what $GRAMD_SERVER_UID names. The overflow uid, which stands for every user
 * of another user namespace, is trusted only if it is named. If it returns false, `why` says so.
 */
bool trust_server(int socket_fd, int64_t server_uid, const char *path, char *why, size_t why_size);

#endif
