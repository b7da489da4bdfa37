#ifndef GRAMD_TESTS_FUZZ_PLAY_H
#define GRAMD_TESTS_FUZZ_PLAY_H

/* The clients of fuzz_play.c, and what they hear. */

#include "../../proto/message.h"
#include "fuzz.h"
#include "history.h"
#include "inside.h"

enum {
        CLIENTS = 3,
        SESSIONS = 2,
        HANDLES = 3, /* of one client */
        BURST = 6,   /* requests in a history, before it is explained */
        STEPS_MAX = 96,
        FIRST_ID = 16,                 /* below: what a session has */
        ID_OF_CONTROL = MODEL_ANSWERS, /* the answer's place */
        OBSERVER = CLIENTS,
        ANSWERS = ID_OF_CONTROL + 1,
};

struct handle {
        int64_t number; /* 0: closed */
        unsigned session;
        bool exclusive, watching;
        struct changed heard;
};

struct answer {
        bool came;
        int error;
        struct buffer result;
};

extern struct play {
        struct client {
                struct end *end;
                uint8_t id[LIMIT_ID_BYTES];
                uint32_t next_id;
                unsigned lane;
                bool owes; /* it has requests to repeat, before it sends others */
                struct handle handles[HANDLES];
        } clients[CLIENTS + 1];
        struct session {
                char name[2];
                const char *dialect, *backend;
                struct history history;
                struct sent {
                        unsigned client, handle;
                        uint32_t id;
                } sent[EVENTS_MAX];
                bool interrupted; /* notifications may have been lost */
        } sessions[SESSIONS];
        struct answer answers[ANSWERS]; /* of the client that waits */
        unsigned waiting;               /* its number */
        uint32_t control_id;
        unsigned lanes;
        bool traced;   /* $PLAY_TRACE is set */
        unsigned keys; /* the daemon has: the last one is the current one */
} play;

extern enum plant { NO_PLANT, LOST, TWICE, STALE, UNHEARD } plant;

/* Runs the daemon until nothing is left to do, and takes what has come. */
void settle(void);
/* Takes what has come: answers into their histories, what watchers are told into their handles. */
void take_all(void);

/* Requests that are waited for: they return the error, or NO_ERROR. */
int ask_handle(unsigned client, enum method_number method, int64_t handle);
int ask_open(unsigned client, const struct session *session, bool create, bool exclusive, int64_t *handle,
             bool *created);
void connect_client(unsigned number); /* and tells its id */

/* Adds what the session has to its history. */
void observe(unsigned number, bool killed);

#endif
