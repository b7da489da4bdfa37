#ifndef GRAMD_DAEMON_WIRE_ANSWER_H
#define GRAMD_DAEMON_WIRE_ANSWER_H

/*
 * Requests and their answers: each is answered exactly once, now or later. Wire error codes are assigned
 * here, from one table, and nowhere else. Loop thread only.
 */

#include "../../backends/backend.h"
#include "../../proto/contract.h"
#include "../../proto/link.h"
#include "../../proto/message.h"

struct connection;
struct server;
struct session;

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

/* ---- requests that are answered later ---- */

/*
 * Moves the request into `to`, which lives until it is answered and for which `bytes` of memory are held. The
 * former is done with.
 */
void request_defer(struct request *from, struct request *to, size_t bytes);
/* Moves a deferred request out, to be answered where it is now. */
void request_take(struct request *from, struct request *to);
/* Its connection ends: nobody waits for the answer any more. */
void request_orphan(struct request *request);

#endif
