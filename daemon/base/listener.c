/*
 * A socket file does not say whether its daemon is alive. So a daemon that binds a path holds a lock on
 * PATH.lock while it runs. With the lock held, a socket file that nobody serves belongs to a dead daemon and
 * is replaced.
 *
 * The data directory is looked at once, at the start.
 */

#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define SYSTEM_SOCKET "/run/gramd/gramd.sock"
#define SYSTEM_GROUP "gramd"

__attribute__((format(printf, 3, 4))) static int fail(char *why, size_t why_size, const char *format, ...)
{
        va_list list;

        va_start(list, format);
        vsnprintf(why, why_size, format, list);
        va_end(list);
        return -1;
}

/* ---- locks ---- */

/* A daemon removes its lock file at its end. A lock on a removed file does not keep other daemons out. */
static bool is_still_there(int fd, const char *path)
{
        struct stat ours, there;

        if (fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_ino == there.st_ino &&
            ours.st_dev == there.st_dev)
                return true;
        errno = EWOULDBLOCK;
        return false;
}

/* The descriptor; -1: errno; -2: another process has the lock. */
static int lock_file(const char *path)
{
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        struct stat status;

        if (fd < 0)
                return -1;
        if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
                close(fd);
                errno = EINVAL;
                return -1;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && is_still_there(fd, path))
                return fd;
        int error = errno;

        close(fd);
        errno = error;
        return error == EWOULDBLOCK ? -2 : -1;
}

/* A new directory that is not on the disk takes all its sessions with it in a power cut. */
static int sync_parent(const char *path)
{
        const char *slash = strrchr(path, '/');
        char *parent = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
        int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        int result = fd < 0 ? -1 : fsync(fd);
        int error = errno;

        if (fd >= 0)
                close(fd);
        free(parent);
        errno = error;
        return fd < 0 && error == EACCES ? 0 : result; /* one may make directories where one may not look */
}

/* mkdir -p, 0700. */
static int make_directories(const char *path)
{
        char *copy = strdup(path);
        int result = copy ? 0 : -1;

        for (char *at = copy; at && *at;) {
                bool made;

                at = strchr(at + 1, '/');
                if (at)
                        *at = '\0';
                made = mkdir(copy, 0700) == 0;
                result = made ? sync_parent(copy) : errno == EEXIST ? 0 : -1;
                if (!at || (made && result < 0))
                        break;
                *at = '/';
        }
        free(copy);
        return result;
}

/* ---- the data directory ---- */

/* Who may write to the directory may plant files in it, or take a session away. */
static int check_rights(const char *path, char *why, size_t why_size)
{
        struct stat status;

        if (lstat(path, &status) < 0)
                return fail(why, why_size, "data directory %s: %s", path, strerror(errno));
        if (status.st_mode & S_IWOTH)
                return fail(why, why_size,
                            "data directory %s: everybody may write to it, and so exchange sessions: chmod "
                            "o-w %s",
                            path, path);
        if (status.st_uid != geteuid() && status.st_uid != 0)
                fail(why, why_size,
                     "data directory %s: it belongs to uid %u, who may exchange its sessions: chown %u %s",
                     path, status.st_uid, geteuid(), path);
        else if (status.st_mode & S_IWGRP)
                fail(why, why_size,
                     "data directory %s: its group may write to it, and so exchange sessions: chmod g-w %s",
                     path, path);
        return 0;
}

/* A directory in which everybody may exchange the next one. Without the sticky bit they may. */
static void check_above(const char *path, char *why, size_t why_size)
{
        char *above = strdup(path), *slash;
        struct stat status;

        while (above && !*why && (slash = strrchr(above, '/'))) {
                *slash = '\0';
                if (lstat(*above ? above : "/", &status) == 0 && (status.st_mode & S_IWOTH) &&
                    !(status.st_mode & S_ISVTX))
                        fail(why, why_size,
                             "data directory %s: everybody may write to %s, and so exchange the data "
                             "directory: "
                             "chmod o-w %s",
                             path, *above ? above : "/", *above ? above : "/");
        }
        free(above);
}

int data_directory_lock(const char *path, char **resolved, char *why, size_t why_size)
{
        char *lock_path;
        int fd;

        *why = '\0';
        *resolved = NULL;
        if (make_directories(path) < 0 || !(*resolved = realpath(path, NULL)))
                return fail(why, why_size, "data directory %s: %s", path, strerror(errno));
        if (check_rights(*resolved, why, why_size) < 0)
                return -1;
        check_above(*resolved, why, why_size);
        if (asprintf(&lock_path, "%s/gramd.lock", *resolved) < 0)
                return fail(why, why_size, "out of memory");
        fd = lock_file(lock_path);
        if (fd == -2)
                fail(why, why_size, "data directory %s: another gramd is using it", *resolved);
        else if (fd < 0)
                fail(why, why_size, "data directory %s: %s: %s", *resolved, lock_path, strerror(errno));
        free(lock_path);
        return fd < 0 ? -1 : fd;
}

/* ---- the socket ---- */

/* 1: inherited. 0: there is none. */
static int inherit(struct listener *listener, char *why, size_t why_size)
{
        int n = sd_listen_fds(1);

        if (n <= 0)
                return 0;
        if (n > 1)
                return fail(why, why_size, "%d sockets were inherited; gramd serves one", n);
        listener->fd = SD_LISTEN_FDS_START;
        if (sd_is_socket_unix(listener->fd, SOCK_STREAM, -1, NULL, 0) <= 0)
                return fail(why, why_size, "the inherited descriptor is not a Unix stream socket");
        return 1;
}

/* Removes the socket file of a dead daemon, if there is one. */
static int clear_way(const struct sockaddr_un *address, char *why, size_t why_size)
{
        const char *path = address->sun_path;
        struct stat status;
        int probe, connected;

        if (lstat(path, &status) < 0)
                return errno == ENOENT ? 0 : fail(why, why_size, "socket %s: %s", path, strerror(errno));
        if (!S_ISSOCK(status.st_mode))
                return fail(why, why_size,
                            "socket %s: there is a file that is not a socket; move it or name another "
                            "socket",
                            path);
        probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connected = connect(probe, (const struct sockaddr *)address, sizeof(*address));
        close(probe);
        if (connected == 0 || errno == EAGAIN)
                return fail(why, why_size, "socket %s: another daemon is serving it", path);
        if (unlink(path) < 0)
                return fail(why, why_size, "socket %s: cannot remove the socket of a dead daemon: %s", path,
                            strerror(errno));
        return 0;
}

/* The group may use the system's socket; only the owner any other. */
static int set_mode(const char *path)
{
        struct group *group = strcmp(path, SYSTEM_SOCKET) == 0 ? getgrnam(SYSTEM_GROUP) : NULL;

        if (!group)
                return chmod(path, 0600);
        if (chown(path, (uid_t)-1, group->gr_gid) < 0)
                return -1;
        return chmod(path, 0660);
}

static int bind_path(struct listener *listener, const struct sockaddr_un *address, char *why, size_t why_size)
{
        const char *path = address->sun_path;
        int fd;
        mode_t former;
        bool bound;

        if (clear_way(address, why, why_size) < 0)
                return -1;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return fail(why, why_size, "socket %s: %s", path, strerror(errno));
        former = umask(0177);
        bound = bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
        umask(former);
        if (!bound || set_mode(path) < 0) {
                fail(why, why_size, "socket %s: %s", path, strerror(errno));
                close(fd);
                return -1;
        }
        listener->fd = fd;
        return 0;
}

int listener_open(struct listener *listener, const char *path, char *why, size_t why_size)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        char *lock_path;
        int inherited;

        *listener = (struct listener){ .fd = -1, .lock = -1 };
        inherited = inherit(listener, why, why_size);
        if (inherited)
                return inherited < 0 ? -1 : 0;
        if (!path)
                return fail(why, why_size, "no socket: give --socket PATH, or set XDG_RUNTIME_DIR");
        if (strlen(path) >= sizeof(address.sun_path))
                return fail(why, why_size, "socket %s: a path of a socket is at most %zu bytes", path,
                            sizeof(address.sun_path) - 1);
        strcpy(address.sun_path, path);
        if (asprintf(&lock_path, "%s.lock", path) < 0)
                return fail(why, why_size, "out of memory");
        listener->lock = lock_file(lock_path);
        if (listener->lock == -2)
                fail(why, why_size, "socket %s: another daemon is serving it", path);
        else if (listener->lock < 0)
                fail(why, why_size, "socket %s: %s: %s", path, lock_path, strerror(errno));
        free(lock_path);
        if (listener->lock < 0 || bind_path(listener, &address, why, why_size) < 0)
                return -1;
        listener->path = strdup(path);
        return 0;
}

void listener_remove(struct listener *listener)
{
        char *lock_path;

        if (!listener->path)
                return;
        unlink(listener->path);
        if (asprintf(&lock_path, "%s.lock", listener->path) >= 0) {
                unlink(lock_path); /* while it is held: see is_still_there() */
                free(lock_path);
        }
        free(listener->path);
        listener->path = NULL;
}
