/* A job of its own for each long list. It uses nothing but its op's copy of the frame. */

#include "reading.h"

#include <stdlib.h>

#include "client.h"

static void run(struct job *job)
{
        struct op_reading *reading = (struct op_reading *)job;

        reading->is_right = reading->read(reading);
}

static void refuse(const struct op_reading *reading)
{
        struct op *op = reading->op;

        if (reading->no_memory)
                answer_no_memory(&op->request);
        else
                answer_error(&op->request, reading->error, "%s: %s", op->request.method->name,
                             reading->wrong);
        op_free(op);
}

static void done(struct job *job)
{
        struct op_reading *reading = (struct op_reading *)job;
        struct op *op = reading->op;

        account_remove_orphan(reading->account, reading->abandoned ? reading->bytes : 0);
        if (reading->abandoned) {
                op_free_memory(op, job->store);
        } else {
                struct session *session = op->lane->session;
                struct sessions *sessions = session->sessions;

                op->reading = NULL;
                session->n_unread--;
                if (!session->busy)
                        session_wake(session);
                if (!reading->is_right)
                        refuse(reading);
                sessions->advance(sessions);
        }
        free(reading);
}

void reading_start(struct op *op, struct gate *gate, struct cursor list, uint32_t n,
                   bool (*read)(struct op_reading *reading))
{
        struct session *session = op->lane->session;
        struct op_reading *reading = calloc(1, sizeof(*reading));

        if (!reading) {
                answer_no_memory(&op->request);
                op_free(op);
                return;
        }
        reading->op = op;
        reading->account = op->request.connection ? op->request.connection->account : op->request.orphaned;
        reading->bytes = op->request.bytes;
        account_add_orphan(reading->account, 0); /* it lives until the job is back */
        reading->list = list;
        reading->n = n;
        reading->read = read;
        op->reading = reading;
        session->n_unread++;
        store_submit(session->sessions->store, gate, op->lane->uid, &reading->job, run, done);
        op_start(op); /* may free it */
}

void reading_abandon(struct op *op)
{
        op->reading->abandoned = true;
        account_add_orphan(op->reading->account, op->reading->bytes); /* of the request, which is answered */
        account_remove_orphan(op->reading->account, 0);
        op->lane->session->n_unread--;
}
