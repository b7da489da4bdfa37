#ifndef GRAMD_DAEMON_BASE_LISTENER_H
#define GRAMD_DAEMON_BASE_LISTENER_H

/*
 * What the daemon holds on the machine: its socket, inherited or bound, and the locks that keep a second
 * daemon away from the socket and the data directory. Used at the start and at the end, off the loop.
 */

#include <stdbool.h>
#include <stddef.h>

struct listener {
        int fd;
        int lock;   /* beside a socket that was bound; -1 where it was inherited */
        char *path; /* of a socket that was bound; NULL where it was inherited */
};

/* 0, or -1 and the reason. An inherited socket comes first; else `path` is bound. */
int listener_open(struct listener *listener, const char *path, char *why, size_t why_size);
/* Removes a socket file that was bound. The descriptor is its user's. */
void listener_remove(struct listener *listener);

/*
 * Makes the directory (0700) where it is missing, and takes its lock. The lock's descriptor, or -1 and the
 * reason; `*resolved` is the directory without links, malloc'ed.
 */
int data_directory_lock(const char *path, char **resolved, char *why, size_t why_size);

#endif
