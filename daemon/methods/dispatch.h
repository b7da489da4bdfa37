#ifndef GRAMD_DAEMON_METHODS_DISPATCH_H
#define GRAMD_DAEMON_METHODS_DISPATCH_H

/*
 * From a message to its method. The method is found in the table of proto/contract.h, and the parameters are
 * checked against its shape before the handler runs. Loop thread only.
 */

#include "../session/handle.h"
#include "../session/reading.h"
#include "context.h"

enum {
        CALL_PARAMS_MAX = 4,
        LIST_MAX = LIMIT_ROWS,       /* of what is answered at once; of what the loop works off in one go */
        LONG_FRAME_BYTES = 16 * 1024 /* a longer one may take the loop a millisecond to read */
};

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
        uint32_t n_unread; /* parameters after a list in a long frame; they follow its last element */
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
 * True: the call may be answered now. False: writes of its lane come first, or the session is in doubt or
 * settling. Then the request has been deferred (or, without memory, refused), and the method runs again
 * later. `answer` as in op_new().
 */
bool call_is_next(struct call *call, size_t answer);

/* The list of `param` in the op's copy of the frame, up to its end. */
struct cursor call_list(struct op *op, const struct call *call, const struct param *param);

/*
 * For a write with a long list: reading_start() with the list of `param` in the op's own copy. `memory` is
 * about how many bytes `read` allocates.
 */
void call_read_later(struct call *call, const struct param *param, size_t memory,
                     bool (*read)(struct op_reading *reading));
/* For a read that looks at much of what is loaded: an OP_LOOK with the list of `param`, or all. */
void call_look_later(struct call *call, const struct param *param, size_t answer, op_look_fn run);

/* op_new() for the call's request. */
struct op *call_defer(struct call *call, enum op_kind kind, size_t extra, size_t answer);

#endif
