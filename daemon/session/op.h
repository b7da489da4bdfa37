#ifndef GRAMD_DAEMON_SESSION_OP_H
#define GRAMD_DAEMON_SESSION_OP_H

/*
 * The requests on an open session that cannot be answered at once. Loop thread only.
 *
 * A *lane* is one client's requests on one session: within a lane they take effect in order. An *operation*
 * (op) is a request that waits in its lane or in a job. A read that the cache can answer, with no write of
 * its lane before it, never becomes an op.
 */

#include "../wire/answer.h"
#include "remembered.h"
#include "session.h"

struct client;

struct lane {
        struct session *session;
        struct client *client; /* NULL once it has no handle on the session */
        uid_t uid;             /* the client's */
        struct link link;      /* session->lanes, if it has ops that wait */
        struct link ops;
        size_t n_handles;
        size_t n_ops;    /* in the lane or in a job */
        size_t n_writes; /* of these, those that change something */
        size_t n_holds;  /* while callers iterate over it: it is not freed */
        bool at_front;   /* its first op's method runs again: nothing is before it */
        bool reads_kv;   /* it has been answered values of the key-value area, which was audited */
};

enum op_kind {
        OP_AGAIN, /* waits until nothing is before it in its lane; then its method runs again */
        OP_FIND,
        OP_SCAN_PEERS,
        OP_SCAN_USERNAMES,
        OP_COUNT,
        OP_KV_GET,
        OP_KV_SCAN,
        OP_LOOK, /* looks at much of what is loaded: on the worker, not on the loop */
        OP_WRITE,
        OP_DELETE, /* alone in its job */
};

/* What a job found for an op. */
struct found_username {
        struct slice username;
        int64_t peer_id;
        bool has_time;
        int64_t last_update_on;
};

struct found {
        const struct match *matches; /* of OP_FIND (`lookup` counted from the op's first), OP_SCAN_PEERS */
        const struct found_username *usernames;
        size_t n;
        struct counts counts;
};

/* Of packed rows in an answer of kv_scan; but its first row is there, however long it is. */
enum { KV_PAGE_BYTES = 1 << 20 };

/* What a job found of one key; in the op's buffer. */
struct kv_place {
        bool is_there;
        size_t at, len;
};

/* What became of a write to the key-value area. Its worker sets it. */
struct kv_outcome {
        bool done;     /* kv_swap: it was */
        bool is_there; /* kv_swap, not done: a value stands, `stands` */
        int refused;   /* BACKEND_E_…; 0: it was not */
        char *why;     /* it was refused. NULL: no memory */
        struct buffer stands;
        size_t packed_at; /* remembered.c's */
};

/* What kv_swap needs; in its op's extra bytes. */
struct kv_swapping {
        struct kv_swap swap;
        struct kv_outcome outcome;
        struct kv_place place; /* if it is a repetition, and only reads */
};

struct op;
/* Answers the op's request from what was found. */
typedef void (*op_answer_fn)(struct op *op, const struct found *found);

/*
 * Called when the job is made. `next` is the identity after all writes before this one. Changes it and
 * returns the FIELD_BITs of the change; or answers the request and returns OP_ANSWERED.
 */
#define OP_ANSWERED (~0u)
typedef unsigned (*op_prepare_fn)(struct op *op, struct identity *next);

/* OP_AGAIN: takes the request. `frame` is the op's copy of it. */
typedef void (*op_again_fn)(void *arg, struct request *request, struct slice frame);

/*
 * OP_LOOK, on the worker: packs the result from the session's identity and states, which do not change while
 * it is busy; or sets `wrong`.
 */
typedef void (*op_look_fn)(struct op *op);

struct op {
        struct link link;
        struct lane *lane;
        int64_t handle_number;
        struct request request;
        enum op_kind kind;
        struct op_reading *reading; /* its list is being read: it cannot join a job yet; reading.h */
        bool secret;                /* holds key material: wiped when it is freed */
        op_answer_fn answer;
        union {
                struct {
                        op_again_fn run;
                        void *arg;
                } again;
                struct {
                        struct lookup *lookups;
                        size_t n_lookups;
                        int64_t max_age;
                } find;
                struct {
                        op_look_fn run;
                        struct cursor list; /* n elements */
                        uint32_t n;
                        bool all; /* instead of a list */
                        unsigned rights;
                        struct buffer message; /* the answer */
                        enum wire_error error;
                        const char *wrong; /* NULL: nothing */
                } look;
                struct {
                        bool from_start;
                        int64_t after_id;
                        struct slice after_name;
                        size_t limit;
                } scan;
                struct {
                        const struct slice *keys; /* kv_get: n */
                        struct kv_place *places;
                        size_t n;
                        struct slice prefix, after; /* kv_scan */
                        size_t limit;
                        struct buffer bytes; /* values; of kv_scan packed rows, n */
                        int error;           /* BACKEND_E_…, of this op alone */
                        char *why;           /* NULL: no memory */
                } kv;
                struct {
                        op_prepare_fn prepare; /* NULL: `change` is complete */
                        struct change change;
                        bool has_change;
                        bool keep;     /* states: nil parts keep what is stored */
                        bool to_disk;  /* sync before the answer, whatever `fsync` says */
                        size_t n_told; /* peers: watchers are told of the first so many rows */
                        const struct row_time *repeats; /* rows that change only their time, in the cache */
                        size_t n_repeats;
                        unsigned fields;           /* what prepare() changed */
                        struct kv_outcome *kv;     /* CHANGE_KV, CHANGE_KV_SWAP */
                        const struct owner *owner; /* CHANGE_OWNER: with what was looked up */
                        void *values;              /* prepare()'s own */
                        void (*free_values)(void *values);
                } write;
                bool remove_peers;
        };
        size_t n_bytes;
        uint64_t arrived_ms;  /* of the loop's clock */
        struct caller caller; /* of a write: as whom it may be repeated */
        /* set by its job: */
        bool begun; /* this and the next two are remembered.c's */
        uint32_t digest;
        struct writes *writes; /* while it is begun */
        bool stored;           /* the write is done, whatever its request has been answered */
        size_t first_match;
        size_t n_found;
        struct counts counts;
        char bytes[]; /* a copy of the frame, then the extra bytes */
};

/* What requests are told whose job takes too long. */
extern const char op_overdue_text[];

/* The lane of this client on this session. Makes it if there is none. NULL: no memory. */
struct lane *lane_of(struct session *session, struct client *client);
/* Called when a handle was closed or an op answered. Frees the lane if it has neither any more. */
void lane_release(struct lane *lane);

/* No op waits in a lane of the session, nor in its job. */
bool lanes_empty(const struct session *session);
/* When the oldest op that is first in its lane arrived, by the loop's clock. Now, if there is none. */
uint64_t lanes_oldest_ms(const struct session *session);
/* Answers every op that waits in a lane, but not those of the job. */
void lanes_fail(struct session *session, enum wire_error error, const char *text);
/* The same, for some of the lanes: takes what that costs from `left`. True: nothing waits in any of them. */
bool lanes_fail_some(struct session *session, enum wire_error error, const char *text, size_t *left);
/* The same, for this one. May free it. */
void lane_fail(struct lane *lane, enum wire_error error, const char *text);

/*
 * Moves the request into an op with a copy of its frame. `extra` more bytes are at op_extra(). `answer` is
 * about how many bytes the answer takes at most: they count towards the connection's bound from now on. NULL:
 * no memory, and the request has been answered.
 */
struct op *op_new(struct lane *lane, int64_t handle_number, struct request *request, struct slice frame,
                  enum op_kind kind, size_t extra, size_t answer);
void *op_extra(struct op *op);
/* The slice of the op's copy that is at the same place as `slice` in `frame`. An absent one stays absent. */
struct slice op_slice(struct op *op, struct slice frame, struct slice slice);
/* Frees it (while its list is being read: afterwards). Its request is answered. */
void op_free(struct op *op);
bool op_changes(const struct op *op);
/* Of its frame, and of what was found for it. */
size_t op_bytes(const struct op *op);
/* Of one that op_free() has left, because a worker was using it. */
void op_free_memory(struct op *op, struct store *store);

/* An OP_LOOK's `answer`: what was packed, or what was wrong. */
void op_answer_look(struct op *op, const struct found *found);

/* Answers a write that is done, and frees it. */
void op_answer_stored(struct op *op);

/* A kv_swap that was not done when it was sent first: from now on it reads what stands. */
void op_reads_again(struct op *op);

/* Appends it to its lane and wakes the session. */
void op_start(struct op *op);

#endif
