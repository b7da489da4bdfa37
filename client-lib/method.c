/* What the methods share: finding the reader of a result, and requests of a shape that several have. */

#include "method.h"

#include <assert.h>

/* A method without a reader does not link. */
#define READER(constant, name, shape, right, traits) [METHOD_##constant] = result_##name,
static result_reader *const readers[METHOD_COUNT] = { CONTRACT_METHODS(READER) };
#undef READER

int result_read(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        assert(call->method < METHOD_COUNT);
        return readers[call->method](cursor, call, reply);
}

int read_map_result(struct cursor *cursor, struct gram_reply *reply, size_t size, const struct key *keys)
{
        reply->result = block_new(size, bytes_left(cursor) + 64);
        return reply->result ? read_map(cursor, reply->result, reply->result, keys) : GRAM_E_NOMEM;
}

void *notification_read(struct cursor *cursor, size_t size, const struct key *keys)
{
        void *result = block_new(size, bytes_left(cursor));

        if (result && read_map(cursor, result, result, keys)) {
                gram_free(result);
                return NULL;
        }
        return result;
}

int submit_bare(struct gram_client *client, struct gram_session *session, enum method_number method,
                gram_callback *callback, void *arg)
{
        struct call call = call_begin(client, session, method, 0);

        return call_submit(&call, callback, arg);
}

int submit_nothing(struct gram_session *session, enum method_number method, gram_callback *callback,
                   void *arg)
{
        struct call call = call_begin(session->client, session, method, 0);
        struct request *request;
        int error = call_hold(&call, callback, arg, &request);

        if (!error)
                request_complete(request, 0);
        return error;
}

int submit_switch(struct gram_client *client, struct gram_session *session, enum method_number method,
                  bool on, gram_callback *callback, void *arg)
{
        struct call call = call_begin(client, session, method, 1);

        call.on = on;
        pack_bool(&call.bytes, on);
        return call_submit(&call, callback, arg);
}

void pack_ids(struct buffer *out, const int64_t *ids, size_t n)
{
        pack_array(out, (uint32_t)n);
        for (size_t i = 0; i < n; i++)
                pack_int(out, ids[i]);
}

void pack_nullable(struct buffer *out, bool has, int64_t value)
{
        if (has)
                pack_int(out, value);
        else
                pack_nil(out);
}
