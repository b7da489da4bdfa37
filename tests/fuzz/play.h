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
        READER, /* by a rule it may read, and not write */
        ANSWERS = ID_OF_CONTROL + 1,
        WAIT_MS = 5000, /* of an open that waits, */
        LATE_MS = 1000, /* about */
        USER = 70001,   /* the first of the uids that have no names */
        KILLED = -3,    /* as an error: the daemon was killed, and there is no answer */
};

static const uid_t NOBODY = (uid_t)-1;

struct handle {
        int64_t number; /* 0: closed */
        unsigned session;
        bool exclusive, watching;
        struct changed heard;
};

/* An open that has not been answered. */
struct waiting {
        uint32_t id; /* 0: there is none */
        unsigned session, handle;
        bool create, exclusive;
        int64_t until_ms; /* then it is answered */
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
                uid_t uid;
                uint32_t next_id;
                unsigned lane;
                bool owes; /* it has requests to repeat, before it sends others */
                struct handle handles[HANDLES];
                struct waiting waiting;
        } clients[READER + 1];
        struct session {
                char name[2];
                const char *dialect, *backend;
                struct history history;
                struct sent {
                        unsigned client, handle;
                        uint32_t id;
                } sent[EVENTS_MAX];
                uid_t owner;      /* NOBODY: everyone may use it */
                bool interrupted; /* notifications may have been lost */
                /* The daemon was killed when it made or deleted the session: it is as it was, or as `other`
                 * is. */
                bool uncertain;
                struct model other;
        } sessions[SESSIONS];
        struct answer answers[ANSWERS]; /* of the client that waits */
        unsigned waiting;               /* its number */
        uint32_t control_id;
        unsigned lanes;
        bool traced;   /* $PLAY_TRACE is set */
        unsigned keys; /* the daemon has: the last one is the current one */
        bool has_reader;
} play;

extern enum plant { NO_PLANT, LOST, TWICE, STALE, UNHEARD } plant;

/* Runs the daemon until nothing is left to do, and takes what has come. */
void settle(void);
/* Takes what has come: answers into their histories, what watchers are told into their handles. */
void take_all(void);

/* Requests that are waited for: they return the error, or NO_ERROR. */
int ask_handle(unsigned client, enum method_number method, int64_t handle);
int ask_request(unsigned client, int64_t handle, const struct asked *asked);
int ask_chown(unsigned client, int64_t handle, uid_t owner);
int ask_open(unsigned client, const struct session *session, bool create, bool exclusive, int64_t *handle,
             bool *created);
void connect_client(unsigned number); /* and tells its id */
void send_request(unsigned client, uint32_t id, enum method_number method, const struct buffer *params);
void send_open(unsigned client, uint32_t id, const struct session *session, bool create, bool exclusive,
               int64_t wait_ms);
void read_open(const struct buffer *result, int64_t *handle, bool *created);

void lose_connection(unsigned client);

/* Adds what the session has to its history. */
void observe(unsigned number, bool killed);

/* ---- play_bursts.c ---- */

/* Nothing is left to do, and all is explained. */
void finish_burst(unsigned session);
void explain(unsigned session);
void step_ask(struct choices *choices, unsigned client, unsigned handle);

/* ---- play_handles.c ---- */

bool in_memory(const struct session *session);
void forget_if_over(unsigned session);
void take_open(unsigned client, int error, const struct buffer *result); /* of one that waits */
void check_waiting(void); /* when nothing is left to do: all opens that wait have to */
void step_open(struct choices *choices, unsigned client, unsigned handle);
void step_close(unsigned client, unsigned handle);
void step_delete(struct choices *choices, unsigned client, unsigned handle, bool kills);
void step_chown(unsigned client, unsigned handle, unsigned to);
void step_read_only(unsigned session);
void step_lose(unsigned client, bool repeats);
void step_kill(struct choices *choices);
/* `how`: bits of the clients that repeat their requests; 128: the daemon has a new key. */
void die(uint8_t how);

#endif
