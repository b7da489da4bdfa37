#ifndef GRAMD_CLIENT_LIB_METHOD_H
#define GRAMD_CLIENT_LIB_METHOD_H

/*
 * What the methods of the protocol share. Each method is in one file, method_SUBJECT.c, which is named like
 * the file in daemon/methods that handles it. The parts of a method stand next to each other:
 *
 *     RESULT(NAME, …) or RESULT_NIL(NAME)   how its result is read
 *     gram_async_NAME()                     packs the parameters and submits the request; optional parameters
 *                                           are left out where they have their default
 *     gram_NAME()                           waits for the answer (waiter.h)
 *
 * A few methods need more: answer.c has what a successful request changes in the client, cache.c which
 * answers are cached.
 *
 * The daemon is not trusted: every byte of an answer has passed the frame scanner, and the typed cursor
 * checks and reads in one step. (msgpack-c only writes here: its unpacker would build a tree first.)
 */

#include "../proto/message.h"
#include "block.h"
#include "client.h"
#include "map.h"
#include "waiter.h"

/* ---- results ---- */

/* Reads a result into `reply`. 0, GRAM_E_PROTOCOL or GRAM_E_NOMEM. */
typedef int result_reader(struct cursor *cursor, const struct call *call, struct gram_reply *reply);

#define RESULT_READER(constant, name, shape, right, traits) result_reader result_##name;
CONTRACT_METHODS(RESULT_READER)
#undef RESULT_READER

/* Defines the reader of a method. `read` is an expression of `cursor`, `call` and `reply`. */
#define RESULT(name, read)                                                                                   \
        int result_##name(struct cursor *cursor, const struct call *call, struct gram_reply *reply)          \
        {                                                                                                    \
                (void)cursor;                                                                                \
                (void)call;                                                                                  \
                (void)reply;                                                                                 \
                return read;                                                                                 \
        }
#define RESULT_NIL(name) RESULT(name, 0)

static inline size_t bytes_left(const struct cursor *cursor)
{
        return (size_t)(cursor->end - cursor->at);
}

/* A result that is one map, read by the table of its keys into a structure of `size` bytes. */
int read_map_result(struct cursor *cursor, struct gram_reply *reply, size_t size, const struct key *keys);

/* The same for the map of a notification. The result is for gram_free(). NULL: malformed, or no memory. */
void *notification_read(struct cursor *cursor, size_t size, const struct key *keys);

/* ---- requests: these return what call_submit() returns ---- */

/* A request with no parameter but the session. */
int submit_bare(struct gram_client *client, struct gram_session *session, enum method_number method,
                gram_callback *callback, void *arg);

/* A write of no rows: nothing is sent. The callback is called later, as for every request. */
int submit_nothing(struct gram_session *session, enum method_number method, gram_callback *callback,
                   void *arg);

/* A request with one parameter, `on`. */
int submit_switch(struct gram_client *client, struct gram_session *session, enum method_number method,
                  bool on, gram_callback *callback, void *arg);

void pack_ids(struct buffer *out, const int64_t *ids, size_t n);
/* The value, or nil. */
void pack_nullable(struct buffer *out, bool has, int64_t value);

#endif
