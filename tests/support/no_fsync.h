#ifndef GRAMD_TESTS_SUPPORT_NO_FSYNC_H
#define GRAMD_TESTS_SUPPORT_NO_FSYNC_H

/*
 * For one file of a test program. Nothing is unplugged in it: what reaches the disk is test_durability's
 * subject, and waiting for it is slow.
 */

#include <unistd.h>

int fsync(int fd)
{
        (void)fd;
        return 0;
}

int fdatasync(int fd)
{
        (void)fd;
        return 0;
}

#endif
