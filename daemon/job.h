#ifndef GRAMD_DAEMON_JOB_H
#define GRAMD_DAEMON_JOB_H

/*
 * One round of work on a session: what queue.c collected goes to a worker, and comes back into cache,
 * watchers and answers. Made and finished on the loop; between session_job_submit() and its completion a
 * worker has it.
 */

#include "queue.h"

struct session_job;

struct session_job *session_job_new(struct session *session); /* NULL: no memory */

/* Takes the op out of its lane. False: it has to wait for the next job. */
bool session_job_add_read(struct session_job *job, struct op *op);
bool session_job_add_write(struct session_job *job, struct op *op);

/* Off to a worker. False: there was nothing to do, and the job is gone. */
bool session_job_submit(struct session_job *job);

/* queue.c's, for jobs. */
void op_free(struct op *op); /* its request is answered */
void queue_fail_all(struct session *session, enum wire_error error, const char *text);

#endif
