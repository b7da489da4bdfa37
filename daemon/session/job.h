#ifndef GRAMD_DAEMON_SESSION_JOB_H
#define GRAMD_DAEMON_SESSION_JOB_H

/*
 * One round of work on a session, in four files. job.c makes the job on the loop, from the ops that queue.c
 * takes out of their lanes. job_work.c runs it on a worker, job_kv.c what concerns the key-value area.
 * job_result.c, on the loop again, gives the outcome to the cache, the watchers and the clients.
 */

#include "../base/arena.h"
#include "op.h"
#include "watch.h"

/* An effect as the backend reported it, with a copy of its text. */
struct noted {
        struct effect effect;
        struct slice text;
};

struct session_job {
        struct session_task task;
        const struct backend *backend;
        struct arena arena;

        struct row_time *dirty[2];
        size_t n_dirty[2];

        struct link reads; /* ops */
        struct link writes;
        struct op *delete;

        struct lookup *lookups;
        size_t n_lookups, lookups_cap;
        struct match *matches;
        size_t n_matches, matches_cap;
        size_t n_found; /* matches of lookups; those of scans come after them */
        struct found_username *usernames;
        size_t n_usernames, usernames_cap;
        bool no_memory;

        struct change *changes;
        size_t n_changes, changes_cap;
        size_t n_rows; /* of lookups and changes */
        struct noted *effects;
        size_t n_effects, effects_cap;
        struct op **kv_writes; /* those of the key-value area, ascending by their change */
        size_t n_kv_writes, kv_writes_cap;
        struct buffer remembered; /* of its writes, for the backend */
        struct identity next;
        unsigned fields;   /* that the job changes */
        bool has_identity; /* `next` is a copy of the session's identity */
        bool has_states;   /* a further write of states waits for the next job */
        bool has_kv;       /* it reads or writes the key-value area, */
        int64_t now_ms;    /* at this unix time */
        bool expires;      /* something there had expired and was to be deleted */
        bool looks;        /* it has an OP_LOOK, */
        bool asks;         /* and other reads: of the backend */
        bool has_sealing;  /* it is the only write */
        struct op *chown;  /* the write that changes the owner; a further one waits for the next job */
        enum durability durability;
        bool sync;
        bool tidy;
        size_t n_stored;   /* writes that are committed */
        uint64_t since_ms; /* when the first of its requests came */
        uid_t uid;         /* of that request's client; with no requests: of the session's last job */

        /* On the loop again: how far the outcome is worked off. */
        bool is_settling;
        size_t n_settled; /* matches of lookups that have been answered */
        size_t n_effects_taken;
        struct settling {
                bool begun;
                size_t n_effects; /* of the op, up to this place among all effects */
                size_t n_rows;    /* of its change, that cache and states have */
                size_t n_repeats; /* that the cache has */
                bool telling;     /* the rows are done: the watchers are being told */
                struct changed changed;
        } settling;         /* of the write that is first in `writes` */
        bool telling_doubt; /* after all of them */

        int dirty_error, expire_error, read_error, kv_error, write_error, sync_error, delete_error;
        struct fault dirty_fault, expire_fault, read_fault, kv_fault, write_fault, sync_fault, delete_fault;
};

struct session_job *session_job_new(struct session *session); /* NULL: no memory */
void session_job_free(struct session_job *job);

/* Takes the op out of its lane. False: it has to wait for the next job. */
bool session_job_add_read(struct session_job *job, struct op *op);
bool session_job_add_write(struct session_job *job, struct op *op);

/* Takes the job and sends it to a worker. False: there was nothing to do. */
bool session_job_submit(struct session_job *job);

/*
 * Answers all its requests with `unavailable`, because it has missed its deadline. Its outcome still counts
 * when it comes back.
 */
void session_job_overdue(struct session_job *job, const char *text);

void session_job_run(struct job *job); /* job_work.c, on a worker */
/* job_kv.c, on a worker: before the reads; one of them; an effect of a write. False: no memory. */
void session_job_expire(struct session_job *job);
void session_job_read_kv(struct session_job *job, struct op *op);
bool session_job_note_kv(struct session_job *job, const struct effect *effect);
bool session_job_settle(struct session_task *task); /* job_result.c, on the loop, in slices */
void session_job_finish(struct session_task *task); /* then */

#endif
