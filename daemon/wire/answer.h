#ifndef GRAMD_DAEMON_WIRE_ANSWER_H
#define GRAMD_DAEMON_WIRE_ANSWER_H

/*
 * Requests and their answers: each request is answered exactly once, now or later. The wire's code for a
 * backend's error is chosen here and nowhere else. Loop thread only.
 */

#include "../../backends/backend.h"
#include "../../proto/contract.h"
#include "../../proto/link.h"
#include "../../proto/message.h"
#include "connection.h"

enum wire_error wire_error_of(int backend_error);

/*
 * A request starts on dispatch's stack. Its handler answers it there, or moves it with request_defer() into
 * an object of its own and answers it later. The answer is dropped if the connection has gone (`connection`
 * is NULL) or the message was a notification.
 */
struct request {
        struct wire *wire;
        struct connection *connection;
        struct account *orphaned; /* its connection has gone: where it is counted; else NULL */
        const struct method *method;
        struct slice session; /* name of its session, borrowed from it; absent: none */
        const char *backend;  /* of the session */
        struct link link;     /* connection->deferred */
        uint64_t started_ns;  /* 0: not monitored */
        size_t bytes;         /* memory that is counted for it while it is deferred */
        size_t params_at;     /* where its parameters begin in its frame */
        size_t answer_at;     /* where its answer begins in the connection's buffer */
        uint32_t id;
        bool is_notification;
        bool is_open;    /* not answered yet */
        uint8_t outcome; /* of the answer: 0, or its enum wire_error plus one */
        struct audited {
                uint8_t action; /* an enum audit_action, for the log; 0: none */
                bool is_hidden; /* it is denied, whatever the answer says */
                pid_t pid;      /* this and the next two: whose it is, also when the connection has gone */
                uid_t uid;
                uint64_t client_id;
        } audited;
};

/* What a client sent, for an error message, in which it stands between backticks: escaped, and cut. */
enum { QUOTE_BYTES = 80 };
const char *quote(struct slice sent, char text[QUOTE_BYTES]);
/*
 * The same for any value: text and numbers as they are, else the type. A bin is never shown: it may be a key.
 */
const char *quote_value(struct cursor value, char text[QUOTE_BYTES]);
/* The end of an error message: FLOAT_CAME if there is a float where an integer must be; else empty. */
#define FLOAT_CAME ": a float came that is no whole number up to 2^53"
const char *float_came(struct cursor value);

/* ---- answering ---- */

/* Between begin and end the caller packs one value into the buffer. It is never NULL. */
struct buffer *answer_begin(struct request *request);
void answer_end(struct request *request);
void answer_cancel(struct request *request); /* instead of answer_end(): the request is still open */
/*
 * Instead of both, with a message that begins with message_begin_result() and was packed before. Its limit
 * is `max-message`. It is not copied if nothing is before it. `message` is still the caller's to free.
 */
void answer_whole(struct request *request, struct buffer *message);
/* Whether one more row of at most `row` bytes fits into a page of `n` rows. The first row always does. */
bool answer_has_room(const struct request *request, const struct buffer *out, size_t n, size_t row);
void answer_nil(struct request *request);

/* It has taken so much of its connection's turn: rows that it looked at, bytes of its answer. */
void request_use(struct request *request, size_t rows, size_t bytes);

void answer_error(struct request *request, enum wire_error error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* Answers that the daemon has no memory for the request. */
void answer_no_memory(struct request *request);
void answer_detail(struct request *request, enum wire_error error, struct slice detail, const char *text);
void answer_fault(struct request *request, int backend_error, const struct fault *fault);

/* ---- requests that are answered later ---- */

/*
 * Moves the request into `to`, which lives until the answer. Until then `bytes` count towards the
 * connection's bound. `from` must not be used any more.
 */
void request_defer(struct request *from, struct request *to, size_t bytes);
/* Moves a deferred request to where it is answered now. */
void request_take(struct request *from, struct request *to);
/* Its connection has gone. The request must still be answered, but nobody gets the answer. */
void request_orphan(struct request *request);

#endif
