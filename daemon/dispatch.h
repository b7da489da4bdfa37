#ifndef GRAMD_DAEMON_DISPATCH_H
#define GRAMD_DAEMON_DISPATCH_H

/*
 * From a message to its method, and from a result or failure back to an answer. The method table is the one
 * list of what the daemon can do; parameters are checked against its shapes before a handler runs.
 * Wire error codes are assigned here alone.
 */

#include "../backends/backend.h"
#include "../proto/message.h"
#include "access.h"
#include "link.h"

struct connection;
struct handle;
struct server;
struct session;
struct lane;

/* The protocol's errors, in its table's order. */
enum wire_error {
        WIRE_BAD_REQUEST,
        WIRE_UNKNOWN_METHOD,
        WIRE_BAD_SESSION,
        WIRE_NOT_FOUND,
        WIRE_EXPIRED,
        WIRE_OVERLOADED,
        WIRE_BUSY,
        WIRE_FENCED,
        WIRE_EXISTS,
        WIRE_DENIED,
        WIRE_TOO_LARGE,
        WIRE_UNAVAILABLE,
        WIRE_STORAGE,
        WIRE_CORRUPT,
};

const char *wire_error_name(enum wire_error error);
enum wire_error wire_error_of(int backend_error);

/*
 * A request that must be answered exactly once. It starts on dispatch's stack; a handler either answers it
 * there, or moves it into an object of its own with request_defer() and answers later. Where its connection
 * has gone meanwhile (`connection` NULL), or it was a notification, the answer goes nowhere.
 */
struct request {
        struct server *server;
        struct connection *connection;
        const struct session *session; /* NULL: its method has no handle */
        const struct method *method;
        struct link link;    /* connection->deferred */
        uint64_t started_ns; /* 0: nobody watches */
        size_t bytes;        /* held for it while deferred */
        size_t answer_at;    /* where its answer begins in the connection's buffer */
        uint32_t id;
        bool is_notification;
        bool is_open; /* not yet answered */
};

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

/* One row of the method table. */
struct method {
        const char *name;
        /*
         * A letter a parameter: h handle, i integer, s str, b bool, a array, m map, x anything; a capital
         * takes nil too; those behind | may be left out.
         */
        const char *shape;
        enum right right; /* on the handle's session, or `admin`; what depends on more, the handler asks */
        bool secret;      /* key material among the parameters or in the answer */
        void (*handle)(struct call *call);
};

enum { METHODS_MAX = 32, METHOD_SLOTS = 128 };

extern const struct method methods[];
extern const size_t n_methods;

/* What is derived from the table once, at the start: an index by name, and the counts of parameters. */
struct method_index {
        struct slice names[METHODS_MAX];
        uint8_t least[METHODS_MAX];
        uint8_t most[METHODS_MAX];
        uint8_t slots[METHOD_SLOTS]; /* a method's number plus one; 0: free */
};

void method_index_init(struct method_index *index);

/* One whole frame of this connection's. False: it is no message, the connection must end (it has been told).
 */
bool dispatch(struct connection *connection, struct slice frame);

/* A frame that broke a limit, or cannot be read: the last answer of this connection. */
void dispatch_violation(struct connection *connection, uint32_t id, int frame_error);

/* What a client sent, made fit for a message: cut short, and nothing but text. */
enum { QUOTE_BYTES = 80 };
const char *quote(struct slice sent, char text[QUOTE_BYTES]);
/* A value: text and numbers as they are, of anything else its type. Binary may be a key: never shown. */
const char *quote_value(struct cursor value, char text[QUOTE_BYTES]);

/* ---- answering ---- */

/* Between the two the caller packs one value. The buffer is never NULL; it may lead nowhere. */
struct buffer *answer_begin(struct request *request);
void answer_end(struct request *request);
void answer_cancel(struct request *request); /* takes back what was begun: not answered yet */
/* A page of rows: is there room for one more of at most `row` bytes? Always for the first. */
bool answer_has_room(const struct request *request, const struct buffer *out, size_t n, size_t row);
void answer_nil(struct request *request);

void answer_error(struct request *request, enum wire_error error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void answer_detail(struct request *request, enum wire_error error, struct slice detail, const char *text);
void answer_fault(struct request *request, int backend_error, const struct fault *fault);

/*
 * Moves the call's request into `to`, which lives until it is answered and for which `bytes` of memory are
 * held. The call is done with.
 */
void request_defer(struct call *call, struct request *to, size_t bytes);
/* Moves a deferred request out, to be answered where it is now. */
void request_take(struct request *from, struct request *to);
/* Its connection ends: nobody waits for the answer any more. */
void request_orphan(struct request *request);
/* A deferred request's turn has come: its frame goes through its method as if it had just arrived. */
void dispatch_again(struct request *request, struct slice frame);

#endif
