#ifndef GRAMD_TESTS_SUPPORT_NO_FSYNC_H
#define GRAMD_TESTS_SUPPORT_NO_FSYNC_H

/*
 * To be included once in a test program that needs no durability: replaces fsync() and the like, because
 * waiting for the disk is slow. test_durability tests what reaches the disk.
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
