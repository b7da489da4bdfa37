#ifndef GRAMD_TESTS_FUZZ_BY_HAND_H
#define GRAMD_TESTS_FUZZ_BY_HAND_H

/*
 * Instead of the worker threads of daemon/base/store.c: jobs wait until they are told to run, and their ends
 * until they are told to come back. Any order is one that threads can have.
 */

#include <stddef.h>

size_t jobs_waiting(void); /* to run */
size_t jobs_back(void);    /* they have run, and the loop has not heard of it */

/* Number `which` of them, from 0. */
void job_run(size_t which);
void job_finish(size_t which);

#endif
