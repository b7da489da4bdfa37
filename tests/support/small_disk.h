#ifndef GRAMD_TESTS_SUPPORT_SMALL_DISK_H
#define GRAMD_TESTS_SUPPORT_SMALL_DISK_H

/*
 * A data directory on a small disk of its own, and sessions that fill it. The disk is a tmpfs, mounted in a
 * mount namespace of the test's own.
 */

#include "program.h"
#include "wire.h"

enum { SMALL_SESSIONS = 12, SMALL_PEERS = 150, SMALL_ROWS = 10 };

#define SMALL_6M "size=6m,mode=0700"

struct small {
        char *data;
        bool mounted;
};
#define SMALL __attribute__((cleanup(small_end))) struct small

/* `options`: of the mount. Not mounted: not possible here, and the test says that it is skipped. */
struct small small_begin(const char *options);
void small_end(const struct small *small);

int64_t small_free_bytes(const struct small *small);
void small_fill(const struct small *small); /* takes all that is left, with the file `ballast` */
bool small_has(const struct small *small, const char *name);
void small_remove(const struct small *small, const char *name);
/* Files of the data directory whose names end so: their bytes, and how many there are. */
int64_t small_bytes(const struct small *small, const char *suffix, int *n);
int64_t small_log_bytes(const struct small *small);
int small_logs(const struct small *small);

/* SMALL_PEERS new rows from `first` on: the file has to grow when its log goes back to it. */
void small_put(struct wire *c, int s, int first);
void small_expect(struct wire *c, int s, int first);
void small_open_all(struct wire *c, int sessions[SMALL_SESSIONS]);
void small_put_all(struct wire *c, const int sessions[SMALL_SESSIONS], int first);
void small_expect_all(struct wire *c, const int sessions[SMALL_SESSIONS], int first);

/* A client of its own makes all sessions and their first rows, or finds them; then it goes. */
void small_make_sessions(const struct daemon *d);
void small_find_sessions(const struct daemon *d);

/* Until no session has a log; each was closed in order. */
void small_await_closed(const struct small *small, const struct daemon *d);

#endif
