#ifndef GRAMD_PROTO_STREAMS_H
#define GRAMD_PROTO_STREAMS_H

/*
 * A program that is started with a closed standard stream would get a socket or a database file under its
 * number, and then write messages to that.
 */

#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

/* Opens /dev/null as each standard stream that is closed. False: it cannot be opened. */
static inline bool streams_open(void)
{
        int fd;

        do
                fd = open("/dev/null", O_RDWR);
        while (fd >= STDIN_FILENO && fd <= STDERR_FILENO);
        if (fd < 0)
                return false;
        close(fd);
        return true;
}

#endif
