/*
 * The uid comes from SO_PEERCRED: the kernel took it when the process began to listen, so it holds for paths
 * and abstract names alike. With socket activation it is systemd's: root, or the user's own.
 */
#include "trust.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PASSWD_BYTES = 16 * 1024, OVERFLOW_UID = 65534 };

static const char service_user[] = "gramd";

/* What the kernel tells for a uid that has no number in this user namespace. */
static uid_t overflow_uid(void)
{
        FILE *file = fopen("/proc/sys/kernel/overflowuid", "re");
        unsigned uid = OVERFLOW_UID;

        if (!file)
                return OVERFLOW_UID;
        if (fscanf(file, "%u", &uid) != 1)
                uid = OVERFLOW_UID;
        fclose(file);
        return uid;
}

static bool is_service_user(uid_t uid)
{
        struct passwd entry, *found = NULL;
        char *room = malloc(PASSWD_BYTES);
        bool is = room && getpwnam_r(service_user, &entry, room, PASSWD_BYTES, &found) == 0 && found &&
                  found->pw_uid == uid;

        free(room);
        return is;
}

/* False: it is set to something that is no uid. `*uid` is -1 if it is not set. */
static bool uid_from_environment(int64_t *uid)
{
        const char *text = secure_getenv("GRAMD_SERVER_UID");
        char *end;

        *uid = -1;
        if (!text || !*text)
                return true;
        if (strspn(text, "0123456789") != strlen(text))
                return false;
        errno = 0;
        *uid = strtoll(text, &end, 10);
        return errno == 0 && *uid < (int64_t)UINT32_MAX; /* the last number means "no uid" */
}

bool trust_server(int socket_fd, int64_t server_uid, const char *path, char *why, size_t why_size)
{
        struct ucred peer;
        socklen_t len = sizeof(peer);
        int64_t named = server_uid;

        if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
                snprintf(why, why_size, "cannot tell who listens at %.150s: errno %d", path, errno);
                return false;
        }
        if (named == 0 && !uid_from_environment(&named)) {
                snprintf(why, why_size, "GRAMD_SERVER_UID is not a uid, so nobody at %.150s is trusted",
                         path);
                return false;
        }
        if (peer.uid == 0 || (int64_t)peer.uid == named)
                return true;
        if (peer.uid != overflow_uid() && (peer.uid == geteuid() || is_service_user(peer.uid)))
                return true;
        snprintf(why, why_size,
                 "%.100s is the socket of uid %u, and uid %u, this program's, does not trust it; "
                 "GRAMD_SERVER_UID=%u would",
                 path, (unsigned)peer.uid, (unsigned)geteuid(), (unsigned)peer.uid);
        return false;
}
