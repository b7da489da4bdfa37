#ifndef GRAMD_DAEMON_SESSION_REMEMBERED_H
#define GRAMD_DAEMON_SESSION_REMEMBERED_H

/*
 * The last writes of a session and their outcomes. A client that has lost the answer to a write repeats it;
 * the repetition is answered from here and not executed. Loop thread only.
 *
 * A *caller* is all connections of one uid that have told `hello` the same id. A write is known by its caller
 * and its msgid. A session remembers the last writes of some callers; what it remembers outlives the session
 * while the daemon lives, within bounds. A backend that `remembers` also stores it, with the write itself:
 * then it outlives the daemon.
 *
 * A write is *begun* when it joins a job, and *ended* when its op is freed. What was refused before it was
 * begun is not remembered: its repetition is a first try.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../proto/buffer.h"
#include "../../proto/contract.h"
#include "../../proto/link.h"
#include "../../proto/slice.h"

struct client;
struct op;
struct opened;
struct remembered; /* of one session */
struct request;
struct session;
struct writes;

enum { REMEMBERED_BUCKETS = 256 };

struct caller {
        bool known; /* it has told an id */
        uint32_t uid;
        uint8_t id[LIMIT_ID_BYTES];
};

/* What is remembered of sessions that are closed. */
struct remembered_closed {
        struct link by_age; /* the one closed first comes first */
        struct link by_name[REMEMBERED_BUCKETS];
        size_t n;
        size_t bytes;
};

void remembered_closed_init(struct remembered_closed *closed);
void remembered_closed_deinit(struct remembered_closed *closed);

/* Before a write joins a job. */
enum repeat {
        REPEAT_NONE,      /* it is new */
        REPEAT_ANSWERED,  /* it has been answered and freed; the deleter's handle is closed */
        REPEAT_READ,      /* a kv_swap that was not done: it has become a read of what stands now */
        REPEAT_UNDER_WAY, /* the first one has no outcome yet: it has to wait for the next job */
};
enum repeat remembered_repeats(struct op *op);

/* False: no memory; nothing has changed. */
bool remembered_begin(struct op *op);
/* The op is being freed. `op->stored` or its answer is the outcome. Does nothing if it was not begun. */
void remembered_end(struct op *op);

/* Whether a write with this msgid is remembered: then it has to become an op. */
bool remembered_has(struct session *session, const struct client *client, const struct request *request);
/*
 * A new write that is answered without an op, because it changes nothing but times. No backend stores it:
 * after the death of the daemon its repetition is a first try. False: no memory.
 */
bool remembered_at_once(struct session *session, const struct client *client, const struct request *request,
                        struct slice frame);

/* Appends for the backend what to store with these writes; nothing, if no caller is known. */
void remembered_pack(const struct link *writes, struct buffer *out);
/*
 * On a worker, before the backend stores them: what became of the write of the key-value area that was packed
 * at `at`. 0: it was not packed.
 */
void remembered_note(struct buffer *packed, size_t at, bool done, bool refused);
/* The session has been loaded: takes what the backend had stored. */
void remembered_load(struct session *session, const struct opened *opened);

/* The session is closed or deleted. */
void remembered_close(struct session *session);

#endif
