#ifndef GRAMD_DAEMON_BASE_LISTENER_H
#define GRAMD_DAEMON_BASE_LISTENER_H

/*
 * The daemon's socket, inherited or bound, and the locks that keep a second daemon away from the socket and
 * the data directory. Used at the start and at the end, outside of the loop.
 */

#include <stdbool.h>
#include <stddef.h>

struct listener {
        int fd;
        int lock;   /* of a bound socket; -1: it was inherited */
        char *path; /* of a bound socket; NULL: it was inherited */
};

/* 0, or -1 and the reason. Uses an inherited socket if there is one, else binds `path`. */
int listener_open(struct listener *listener, const char *path, char *why, size_t why_size);
/* Removes the file of a bound socket. Does not close the descriptor. */
void listener_remove(struct listener *listener);

/*
 * Creates the directory (0700) if it is missing, and takes its lock. Returns the lock's descriptor, or -1 and
 * the reason: one is that everybody may write to the directory. With a descriptor, `why` is a warning or
 * empty. `*resolved` is the directory's path without links, malloc'ed.
 */
int data_directory_lock(const char *path, char **resolved, char *why, size_t why_size);

#endif
