#ifndef GRAMD_DAEMON_METHODS_DISPATCH_H
#define GRAMD_DAEMON_METHODS_DISPATCH_H

/*
 * From a message to its method: found in the table of proto/contract.h, its parameters checked against their
 * shape before the handler runs. Loop thread only.
 */

#include "../config/access.h"
#include "../wire/answer.h"

struct handle;
struct lane;

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
        struct server *server;
        struct connection *connection;
        struct slice frame;
        struct handle *handle; /* of methods whose first parameter is one */
        struct session *session;
        struct lane *lane;
        struct param params[CALL_PARAMS_MAX]; /* behind the handle */
};

enum { METHOD_SLOTS = 128 };

/* What is derived from the table once, at the start: an index by name, and the counts of parameters. */
struct method_index {
        struct slice names[METHOD_COUNT];
        uint8_t least[METHOD_COUNT];
        uint8_t most[METHOD_COUNT];
        uint8_t slots[METHOD_SLOTS]; /* a method's number plus one; 0: free */
};

void method_index_init(struct method_index *index);

/* One whole frame of this connection's. False: it is no message, the connection must end (it has been told).
 */
bool dispatch(struct connection *connection, struct slice frame);

/* The frame will be dispatched after another one: what it looks up is on its way into the processor
 * meanwhile. */
void dispatch_announce(struct connection *connection, struct slice frame);

/* A frame that broke a limit, or cannot be read: the last answer of this connection. */
void dispatch_violation(struct connection *connection, uint32_t id, int frame_error);

/* A deferred request's turn has come: its frame goes through its method as if it had just arrived. */
void dispatch_again(struct request *request, struct slice frame);

#endif
