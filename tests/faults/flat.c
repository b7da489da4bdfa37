/*
 * Preloaded into a daemon: tells what it has allocated. $FAULTS_FLAT is a file with the numbers of `struct
 * flat` (flat.py). The leaks are planted: the test must find them.
 */

#include "mapped.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LEAK_BYTES = 400 };

static struct flat {
        _Atomic uint64_t allocated;   /* bytes */
        _Atomic uint64_t wanted;      /* counted up by the test */
        _Atomic uint64_t told;        /* `allocated` is as new as that */
        _Atomic uint64_t leak_memory; /* at each accept(2) */
        _Atomic uint64_t leak_descriptors;
} none, *flat = &none;

static void *tell(void *arg)
{
        (void)arg;
        for (;;) {
                struct timespec pause = { .tv_nsec = 2000000 };
                uint64_t wanted = flat->wanted;

                if (flat->told != wanted) {
                        struct mallinfo2 info = mallinfo2();

                        flat->allocated = info.uordblks + info.hblkhd;
                        flat->told = wanted;
                }
                nanosleep(&pause, NULL);
        }
        return NULL;
}

__attribute__((constructor)) static void start(void)
{
        void *at = mapped("FAULTS_FLAT", sizeof(none));
        sigset_t all, former;
        pthread_t thread;

        if (!at)
                return;
        flat = at;
        sigfillset(&all); /* signals are for the daemon's threads */
        pthread_sigmask(SIG_SETMASK, &all, &former);
        if (pthread_create(&thread, NULL, tell, NULL) == 0)
                pthread_detach(thread);
        pthread_sigmask(SIG_SETMASK, &former, NULL);
}

static int accepted(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
        int client = (int)syscall(SYS_accept4, fd, address, len, flags);

        if (client >= 0 && flat->leak_memory) {
                void *volatile lost = malloc(LEAK_BYTES);

                (void)lost;
        }
        if (client >= 0 && flat->leak_descriptors)
                (void)!dup(client);
        return client;
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
        return accepted(fd, address, len, flags);
}
