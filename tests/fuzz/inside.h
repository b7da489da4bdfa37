#ifndef GRAMD_TESTS_FUZZ_INSIDE_H
#define GRAMD_TESTS_FUZZ_INSIDE_H

/*
 * The whole daemon inside of the fuzzer's process, in its one thread: the loop turns when it is told to, jobs
 * run by hand (by_hand.h), and while the daemon runs, its clocks stand (clocks.h). So the same input does the
 * same again. Clients are connected through the daemon's socket. One daemon at a time.
 */

#include <sys/types.h>

#include "../../proto/buffer.h"
#include "../../proto/frame.h"
#include "../../proto/message.h"

enum {
        ENDS_MAX = 8,
        KEYS_MAX = 4,
        /* The options max-message and kv-max: there is room for one of the largest values, not for two. */
        INSIDE_MESSAGE_MAX = 2 * 65536,
        INSIDE_KV_MAX = 65536 + 300,
};

/* A client's end of a connection. */
struct end {
        int fd;      /* -1: there is none */
        bool closed; /* by the daemon */
        struct buffer in;
        size_t taken; /* of `in`: bytes of messages that have been taken */
        struct frame frame;
};

/* Once: makes the directories and the configuration. New sessions are sealed. */
void inside_init(void);

/* `hook` is called before and after the daemon's code runs. */
void inside_when_running(void (*hook)(bool runs));

/* The option fsync: `always`, as at first, or `everysec`. The daemon does not run. */
void inside_sync_always(bool always);
/* The option cache. The daemon does not run. */
void inside_cache(size_t bytes);
/* The only rule of [access]: this user may read every session; or there is none. The daemon does not run. */
void inside_let_read(uid_t uid);
void inside_let_nobody_read(void);
/* The daemon has the first `n` of KEYS_MAX keys; the last of them is the current one. It does not run. */
void inside_keys(unsigned n);
unsigned inside_key_number(struct slice id); /* from 1 */
/* Starts the daemon on what is in the data directory. */
void inside_start(void);
/* Ends the daemon in order, with its clients. */
void inside_stop(void);
/*
 * SIGKILL: the daemon ends, and its files are as they are now; or as they were before its `calls`th change of
 * a file from inside_kill_before() on, if that has come. From that moment no job comes back, until
 * inside_kill().
 */
void inside_kill(void);
void inside_kill_before(unsigned calls);
bool inside_is_killed(void);
/* A fault, to prove that it is found: the next kill leaves the files as they are now. */
void inside_plant_loss(void);
/* Removes all sessions. The daemon does not run. */
void inside_clear(void);

const char *inside_data(void); /* the data directory's path */

/* As in by_hand.h. */
void inside_job_run(size_t which);
void inside_job_finish(size_t which);
/* One turn of the loop, without a job. Then all ends have what was sent to them. */
void inside_turn(void);
/* Turns, and runs all jobs, until nothing is left to do, or the daemon is killed. */
void inside_settle(void);

struct end *inside_connect(void); /* NULL: ENDS_MAX are open */
/* For the daemon, those who are accepted from now on have this uid. It is the fuzzer's own at first. */
void inside_connect_as(uid_t uid);
void end_close(struct end *end);
/* What the daemon does not take any more is lost. */
void end_send(struct end *end, const void *bytes, size_t len);
/* The next message that has come. False: there is none. It is valid until the next turn. */
bool end_next(struct end *end, struct message *message);

#endif
