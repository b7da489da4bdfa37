#ifndef GRAMD_TESTS_FUZZ_HISTORY_H
#define GRAMD_TESTS_FUZZ_HISTORY_H

/*
 * What was asked of one session since its content was known, and what was answered. There must be an order
 * that explains it: each request takes effect once, between the moment when it was sent and the one when it
 * was answered; those of one lane in their order, but reads between two writes in any; and one that was not
 * answered, at some time or not at all.
 */

#include "model.h"

enum { EVENTS_MAX = 12, UNKNOWN = -2 };

struct event {
        enum { EVENT_REQUEST, EVENT_SEEN } kind;
        struct asked asked;
        struct model seen; /* EVENT_SEEN: all that the session has */
        bool killed;       /* before that: times may be lost */
        bool repeated;
        unsigned lane;
        unsigned sent, answered; /* moments; `answered` 0: it was not */
        unsigned dead;           /* from this moment on it cannot take effect any more; 0: it can */
        int error;               /* NO_ERROR, or a wire_error */
        struct buffer result;
        struct changed changed; /* after history_explains(): what it did */
};

struct history {
        struct model begin;
        struct event events[EVENTS_MAX];
        size_t n;
        unsigned now; /* moments */
};

/* A new event, sent now. The history has room. */
struct event *history_add(struct history *history);

/* False: nothing explains it. Else the last event is EVENT_SEEN, and `begin` becomes what was seen. */
bool history_explains(struct history *history);
void history_print(const struct history *history); /* to stderr */
void history_clear(struct history *history);

#endif
