#ifndef GRAMD_DAEMON_METHODS_DISPATCH_H
#define GRAMD_DAEMON_METHODS_DISPATCH_H

/*
 * From a message to its method. The method is found in the table of proto/contract.h, and the parameters are
 * checked against its shape before the handler runs. Loop thread only.
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

/*
 * What a handler is given. Slices and cursors borrow the connection's input: they are invalid when the
 * handler has returned.
 */
struct call {
        struct request request;
        struct context *context;
        struct client *client;
        struct slice frame;
        struct handle *handle; /* this and the next two: NULL unless the first parameter is a handle */
        struct session *session;
        struct lane *lane;
        struct param params[CALL_PARAMS_MAX]; /* those after the handle */
};

void method_index_init(struct method_index *index);

/*
 * Runs one whole message of a client. `next` is the message behind it, or absent. False: it is neither a
 * request nor a notification, and the error has been sent.
 */
bool dispatch(struct context *context, struct client *client, struct slice frame, struct slice next);

/* The bytes of the last messages are about to change. */
void dispatch_read_end(struct context *context);

/* Answers bytes that are no message, or a message over a limit. */
void dispatch_violation(struct context *context, struct client *client, uint32_t id, int frame_error);

/*
 * True: the call may be answered now. False: writes of its lane come first, or the session is in doubt. Then
 * the request has been deferred (or, without memory, refused), and the method runs again later. `answer` as
 * in op_new().
 */
bool call_is_next(struct call *call, size_t answer);

/* op_new() for the call's request. */
struct op *call_defer(struct call *call, enum op_kind kind, size_t extra, size_t answer);

#endif
