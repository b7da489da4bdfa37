#ifndef GRAMD_DAEMON_SESSION_QUEUE_H
#define GRAMD_DAEMON_SESSION_QUEUE_H

/*
 * The work on one open session. Loop thread only.
 *
 * A *lane* is one connection's line of requests on one session; within a lane things happen in order. An
 * *operation* (op) is a request waiting in its lane. A session has one job under way at a time; when it comes
 * back, the next one takes from every lane its leading reads, then the writes behind them. All writes of a
 * job are one transaction: that is the group commit. A read behind a write of its own lane waits for the
 * job after; reads that the cache can answer, and that have no such write before them, never come here.
 */

#include "../methods/dispatch.h"
#include "session.h"

struct lane {
        struct session *session;
        struct connection *connection; /* NULL once it has gone */
        struct link link;              /* session->lanes */
        struct link ops;
        size_t n_handles;
        size_t n_ops;    /* unanswered: in the lane or in a job */
        size_t n_writes; /* of these, those that change something */
        size_t n_holds;  /* queue.c is looking at it */
        bool at_front;   /* its first op is being dispatched again: nothing is before it */
};

enum op_kind {
        OP_AGAIN, /* waits for the lane's writes, then is dispatched again */
        OP_FIND,
        OP_SCAN_PEERS,
        OP_SCAN_USERNAMES,
        OP_COUNT,
        OP_WRITE,
        OP_DELETE, /* goes alone */
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

struct op;
/* Answers the op's request from what was found. */
typedef void (*op_answer_fn)(struct op *op, const struct found *found);

/*
 * Called when the job is made, with the identity as it will then be: what the write means now. Changes
 * `next`, and returns the FIELD_BITs it changed, or answers the request itself and returns OP_ANSWERED.
 */
#define OP_ANSWERED (~0u)
typedef unsigned (*op_prepare_fn)(struct op *op, struct identity *next);

struct op {
        struct link link;
        struct lane *lane;
        int64_t handle_number;
        struct request request;
        enum op_kind kind;
        op_answer_fn answer;
        union {
                struct {
                        struct lookup *lookups;
                        size_t n_lookups;
                        int64_t max_age;
                } find;
                struct {
                        bool from_start;
                        int64_t after_id;
                        struct slice after_name;
                        size_t limit;
                } scan;
                struct {
                        op_prepare_fn prepare; /* NULL: `change` is what it is */
                        struct change change;
                        bool has_change;
                        bool keep;     /* states: nil parts keep what is stored */
                        bool to_disk;  /* whatever `fsync` says */
                        size_t n_told; /* peers: so many at the front are news for watchers */
                        const struct row_time *repeats; /* rows that only move their time, in the cache */
                        size_t n_repeats;
                        unsigned fields; /* what prepare() changed */
                        void *values;    /* prepare()'s own */
                        void (*free_values)(void *values);
                } write;
                bool remove_peers;
        };
        size_t n_bytes;
        uint64_t arrived_ms; /* of the loop's clock */
        /* Its job's: */
        size_t first_match;
        size_t n_found;
        struct counts counts;
        char bytes[]; /* a copy of the frame, and what the handler asked for besides */
};

/* The lane of this connection on this session, made where there is none. NULL: no memory. */
struct lane *lane_of(struct session *session, struct connection *connection);
/* A handle was closed, or an op answered: the lane goes with the last. */
void lane_release(struct lane *lane);

/*
 * Moves the call's request into an op with a copy of its frame. `extra` bytes lie behind the copy, at
 * op_extra(); `answer` is about the most that its answer will take: it counts for the connection's bound
 * already. NULL: no memory, and the request has been answered. op_slice() takes a slice of the call's frame
 * to the copy.
 */
struct op *op_new(struct call *call, enum op_kind kind, size_t extra, size_t answer);
void *op_extra(struct op *op);
struct slice op_slice(const struct call *call, struct op *op, struct slice slice);

/* Hands it to its lane; it runs as soon as it may, after queue_run_due(). */
void op_start(struct op *op);

/*
 * May this call be answered from memory now? Else it has been put in the lane, to be dispatched again;
 * `answer` as in op_new().
 */
bool call_is_next(struct call *call, size_t answer);

/*
 * Makes the jobs that op_start() asked for: when all messages of a read have been looked at, so that what one
 * client sends together is one transaction. Not later, so that the backend works while other clients are
 * read.
 */
void queue_run_due(struct server *server);
/* Makes the next job if there is one to make. */
void queue_run(struct session *session);
bool queue_is_empty(const struct session *session);

/* The job under way, and what waits behind it, has missed its deadline: those who asked are told. */
void queue_overdue(struct session *session);

/* Before closing: starts a job for rows that are late, if there are any. */
bool queue_flush_late(struct session *session);

/* cache.h's cache_late_fn; `arg` is the session. */
void queue_late(void *arg, bool is_names, struct row_time time);

#endif
