#ifndef GRAMD_DAEMON_METHODS_DISPATCH_H
#define GRAMD_DAEMON_METHODS_DISPATCH_H

/*
 * From a message to its method: found in the table of proto/contract.h, its parameters checked against their
 * shape before the handler runs. Loop thread only.
 */

#include "../session/handle.h"
#include "context.h"

enum { CALL_PARAMS_MAX = 4 };

struct param {
        bool given; /* there, and not nil */
        bool boolean;
        uint32_t count; /* elements of an array, pairs of a map */
        int64_t integer;
        struct slice text;    /* of a str; the packed bytes of an `x` */
        struct cursor cursor; /* at the first element */
};

/* What a handler is given. Slices and cursors borrow the connection's input: gone when it returns. */
struct call {
        struct request request;
        struct context *context;
        struct client *client;
        struct slice frame;
        struct handle *handle; /* this and the next two: of methods whose first parameter is a handle */
        struct session *session;
        struct lane *lane;
        struct param params[CALL_PARAMS_MAX]; /* behind the handle */
};

void method_index_init(struct method_index *index);

/* One whole message of a client. False: it is no request and no notification, and the client has been told.
 */
bool dispatch(struct context *context, struct client *client, struct slice frame);

/* A message that will be dispatched soon: prefetches the peer that it looks up. */
void dispatch_prefetch(struct context *context, struct client *client, struct slice frame);

/* Answers bytes that are no message, or a message over a limit. */
void dispatch_violation(struct context *context, struct client *client, uint32_t id, int frame_error);

/*
 * False: writes of this client are before the call. Its request has been deferred, and the call comes again
 * when they are done. `answer` as in op_new().
 */
bool call_is_next(struct call *call, size_t answer);

/* op_new() for the call's request. */
struct op *call_defer(struct call *call, enum op_kind kind, size_t extra, size_t answer);

#endif
