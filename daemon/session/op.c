/* Lanes and the operations in them. */

#include "op.h"
#include "client.h"
#include "reading.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

const char op_overdue_text[] = "the backend has not answered in time; a write may or may not have happened";

/* ---- lanes ---- */

static int by_client(const void *a, const void *b)
{
        uint64_t left = ((const struct lane *)a)->client->id, right = ((const struct lane *)b)->client->id;

        return (left > right) - (left < right);
}

struct lane *lane_of(struct session *session, struct client *client)
{
        const struct lane key = { .client = client };
        void *node = tfind(&key, &session->lanes_of_clients, by_client);
        struct lane *lane = node ? *(struct lane **)node : calloc(1, sizeof(*lane));

        if (node || !lane)
                return lane;
        lane->session = session;
        lane->client = client;
        lane->uid = client->credentials.uid;
        link_init(&lane->link);
        link_init(&lane->ops);
        if (!tsearch(lane, &session->lanes_of_clients, by_client)) {
                free(lane);
                return NULL;
        }
        return lane;
}

void lane_release(struct lane *lane)
{
        if (lane->n_handles == 0 && lane->client) {
                /* A new handle of the same client starts a lane of its own. */
                tdelete(lane, &lane->session->lanes_of_clients, by_client);
                lane->client = NULL;
        }
        if (lane->n_handles > 0 || lane->n_ops > 0 || lane->n_holds > 0)
                return;
        assert(lane->n_writes == 0 && link_empty(&lane->ops));
        link_remove(&lane->link);
        free(lane);
}

bool lanes_empty(const struct session *session)
{
        return session->n_ops == 0;
}

uint64_t lanes_oldest_ms(const struct session *session)
{
        uint64_t oldest_ms = timers_now(session->sessions->timers);

        for (const struct link *at = session->lanes.next; at != &session->lanes; at = at->next) {
                const struct lane *lane = LINK_OF(at, struct lane, link);
                const struct op *first = LINK_OF(lane->ops.next, struct op, link);

                if (!link_empty(&lane->ops) && first->arrived_ms < oldest_ms)
                        oldest_ms = first->arrived_ms;
        }
        return oldest_ms;
}

void lane_fail(struct lane *lane, enum wire_error error, const char *text)
{
        lane->n_holds++;
        while (!link_empty(&lane->ops)) {
                struct op *op = LINK_OF(lane->ops.next, struct op, link);

                answer_error(&op->request, error, "%s", text);
                op_free(op);
        }
        link_remove(&lane->link);
        lane->n_holds--;
        lane_release(lane);
}

bool lanes_fail_some(struct session *session, enum wire_error error, const char *text, size_t *left)
{
        while (!link_empty(&session->lanes) && *left > 0) {
                struct lane *lane = LINK_OF(session->lanes.next, struct lane, link);
                size_t cost = 1 + lane->n_ops;

                *left -= cost < *left ? cost : *left;
                lane_fail(lane, error, text);
        }
        return link_empty(&session->lanes);
}

void lanes_fail(struct session *session, enum wire_error error, const char *text)
{
        size_t left = SIZE_MAX;

        lanes_fail_some(session, error, text, &left);
}

/* ---- ops ---- */

bool op_changes(const struct op *op)
{
        return op->kind == OP_WRITE || op->kind == OP_DELETE;
}

/* The extra bytes after the copy are aligned for any type. */
static size_t aligned(size_t bytes)
{
        return (bytes + 15) & ~(size_t)15;
}

struct op *op_new(struct lane *lane, int64_t handle_number, struct request *request, struct slice frame,
                  enum op_kind kind, size_t extra, size_t answer)
{
        size_t size = sizeof(struct op) + aligned(frame.len) + extra;
        struct op *op = size > extra ? malloc(size) : NULL;

        if (!op) {
                answer_no_memory(request);
                return NULL;
        }
        memset(op, 0, sizeof(*op));
        memcpy(op->bytes, frame.data, frame.len);
        op->n_bytes = frame.len;
        op->kind = kind;
        op->secret = request->method->traits & METHOD_SECRET;
        op->lane = lane;
        op->handle_number = handle_number;
        op->arrived_ms = timers_now(lane->session->sessions->timers);
        link_init(&op->link);
        if (op_changes(op) && !request->is_notification)
                op->caller = lane->client->caller;
        request_defer(request, &op->request, size + answer);
        lane->n_ops++;
        lane->session->n_ops++;
        lane->n_writes += op_changes(op);
        return op;
}

void *op_extra(struct op *op)
{
        return op->bytes + aligned(op->n_bytes);
}

struct slice op_slice(struct op *op, struct slice frame, struct slice slice)
{
        if (!slice.data)
                return slice;
        assert(slice.data >= frame.data && slice.data + slice.len <= frame.data + frame.len);
        return (struct slice){ op->bytes + (slice.data - frame.data), slice.len };
}

void op_free(struct op *op)
{
        struct lane *lane = op->lane;

        assert(!op->request.is_open);
        remembered_end(op);
        link_remove(&op->link);
        lane->n_ops--;
        lane->session->n_ops--;
        lane->n_writes -= op_changes(op);
        if (op->reading)
                reading_abandon(op);
        else
                op_free_memory(op, lane->session->sessions->store);
        lane_release(lane);
}

static void free_memory(void *memory)
{
        struct op *op = memory;

        if (op->kind == OP_LOOK)
                buffer_deinit(&op->look.message);
        if (op->kind == OP_KV_GET || op->kind == OP_KV_SCAN) {
                buffer_deinit(&op->kv.bytes);
                free(op->kv.why);
        }
        if (op->kind == OP_WRITE && op->write.kv) {
                buffer_deinit(&op->write.kv->stands);
                free(op->write.kv->why);
        }
        if (op->kind == OP_WRITE && op->write.free_values)
                op->write.free_values(op->write.values);
        if (op->secret)
                explicit_bzero(op->bytes, op->n_bytes);
        free(op);
}

/* With what `read` has made of a longer list, it is a few megabytes. */
enum { FREED_AT_ONCE_BYTES = 256 * 1024 };

void op_free_memory(struct op *op, struct store *store)
{
        if (op_bytes(op) > FREED_AT_ONCE_BYTES)
                store_discard(store, op, free_memory);
        else
                free_memory(op);
}

size_t op_bytes(const struct op *op)
{
        switch (op->kind) {
        case OP_LOOK: return op->n_bytes + op->look.message.len;
        case OP_KV_GET:
        case OP_KV_SCAN: return op->n_bytes + op->kv.bytes.len;
        default: return op->n_bytes;
        }
}

void op_answer_look(struct op *op, const struct found *found)
{
        (void)found;
        if (op->look.wrong)
                answer_error(&op->request, op->look.error, "%s: %s", op->request.method->name,
                             op->look.wrong);
        else
                answer_whole(&op->request, &op->look.message);
}

void op_answer_stored(struct op *op)
{
        if (op->request.is_open && op->answer)
                op->answer(op, NULL);
        else if (op->request.is_open)
                answer_nil(&op->request);
        op_free(op);
}

void op_reads_again(struct op *op)
{
        struct kv_swapping *swapping = op_extra(op);

        assert(op->kind == OP_WRITE && op->write.change.kind == CHANGE_KV_SWAP && !op->begun);
        memset(&op->kv, 0, sizeof(op->kv));
        op->kind = OP_KV_GET;
        op->kv.keys = &swapping->swap.row.key;
        op->kv.places = &swapping->place;
        op->kv.n = 1;
        op->lane->n_writes--;
}

void op_start(struct op *op)
{
        struct session *session = op->lane->session;

        assert(session->state == SESSION_OPEN && op->request.is_open);
        if (session->overdue) {
                answer_error(&op->request, WIRE_UNAVAILABLE, "%s", op_overdue_text);
                op_free(op);
                return;
        }
        link_append(&op->lane->ops, &op->link);
        if (link_empty(&op->lane->link))
                link_append(&session->lanes, &op->lane->link);
        if (!session->busy) /* else it is woken when its job is back */
                session_wake(session);
}
