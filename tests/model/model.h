#ifndef GRAMD_TESTS_MODEL_MODEL_H
#define GRAMD_TESTS_MODEL_MODEL_H

/*
 * The ownership protocol of backends/OWNERSHIP.md as a state and its steps. protocol.c has the steps, beside
 * each the functions that it follows; search.c tries every order of them. All fields are small integers. Time
 * is in ticks: a term has TERM of them. How many hosts and sessions there are is fixed when it is compiled.
 */

#include <stdbool.h>
#include <stdint.h>

#ifndef HOSTS
#define HOSTS 2
#define SESSIONS 1
#endif

#ifndef TERM
#define TERM 3
#endif

enum { SLOTS = SESSIONS + 1, WATCH = (4 * TERM + 2) / 3, LOOK = 2 * TERM };

enum document { NO_DOCUMENT, ALIVE, DEAD, MISSING };
enum mode { NONE, TAKING, SWAPPED, OWNED };

/* One start of a daemon. Slot 0 is the current or last one of its host, the others are former ones still
 * named. */
struct instance {
        uint8_t document;
        uint8_t watch[HOSTS]; /* for how long this host has seen the counter unchanged; WATCH: long enough */
};

struct host {
        uint8_t up, registered, draining;
        uint8_t left;  /* of the term, by the daemon's clock */
        uint8_t drift; /* rounds until this host's clock may miss a tick again */
        struct instance instance[SLOTS];
};

struct write {
        uint8_t value, fence; /* value 0: there is none */
};

/* A session as one host has it: its daemon's part, its clients' part, and messages on their way to the
 * database. */
struct side {
        uint8_t mode, fence;
        uint8_t handle; /* a client has the session open here. In mode NONE it is suspended */
        uint8_t lease;  /* the longest that this client may have been told, by its own clock */
        uint8_t stray;  /* the longest lease of clients that have no handle any more, and may use the key */
        uint8_t given;  /* what the daemon knows of `stray` */
        uint8_t swap, swap_fence; /* swap: 0, or the slot of the instance that it names, plus 1 */
        uint8_t release;          /* valid as long as the document does not change, like a swap */
        uint8_t look, wait; /* ticks since the last look at the document; since it was seen to need a wait */
        uint8_t value, current; /* the cached row; `current`: it was stored with this fence */
        struct write write[2];  /* 0: the daemon waits for it; 1: it has stopped waiting */
};

struct session {
        uint8_t exists, owner, fence; /* owner: 0, or host * SLOTS + slot + 1 */
        uint8_t taken;                /* in gramd.fences; 0: there is no entry */
        uint8_t free;                 /* the fence with which it was last released: what a backup may have */
        uint8_t row, row_fence;
        uint8_t acked; /* the fence of the last acknowledged write */
        struct side side[HOSTS];
};

struct state {
        uint8_t restored, since; /* which restore, plus 1; ticks since then, plus 1 */
        uint8_t ends;            /* how many kills and orderly ends may still come, where they are bounded */
        uint8_t wrong;           /* enum property: what the last step has broken */
        struct host host[HOSTS];
        struct session session[SESSIONS];
};

enum property { P_NONE, P1_TWO_LEASES, P2_WRITE_LOST, P3_NOT_TAKEN };

/* The rules of before, and assumptions that do not hold. A set bit brings one of them in. */
enum {
        OLD_END = 1 << 0, /* rule 1: an orderly end releases everything and deletes its instance's document */
        OLD_RESTART = 1 << 1,    /* rule 2: a restarted daemon marks its former instance dead first */
        OLD_REPEAT = 1 << 2,     /* rule 3: a repetition of the value read is acknowledged unwritten */
        OLD_CLOSE = 1 << 3,      /* rule 4: a connection's end counts as a close */
        OLD_FORMER = 1 << 4,     /* rule 4: leases that the former instance gave are forgotten at a restart */
        OLD_ANSWER = 1 << 5,     /* rule 5: an `open` is answered without a look at the term */
        OLD_DRAIN = 1 << 6,      /* rule 6: a drain releases sessions that clients still use */
        OLD_LOOK = 1 << 7,       /* rule 7: nobody looks at the session's document again */
        OLD_WAIT = 1 << 8,       /* rule 7: a low or unknown fence is no reason to wait */
        UNBOUND_LEASE = 1 << 9,  /* rule 7: leases run beyond the next look */
        MISSING_WAITS = 1 << 10, /* a missing instance document is waited for */
        BAD_CLOCK = 1 << 11,     /* a clock that misses a third of its ticks */
        COPIED_DIRECTORY = 1 << 12, /* two daemons believe that they hold the lock of the same directory */
        OLD_TRIED = 1 << 14,        /* rule 4: what a failed `open` may have taken is released at once */
        ASLEEP = 1 << 13,           /* a client's clock stands still while its machine sleeps */
};

/* Which backup is restored, or what is dropped. */
enum { R_SESSION, R_ALL, R_DROPPED, R_NO_FENCES, R_SESSION_NO_FENCES, R_NOTHING_LEFT, RESTORES };

/* What may happen in a scope. */
enum {
        DRIFT = 1 << 0,
        WRITES = 1 << 1,
        RESTORE = 1 << 2,
        DRAINS = 1 << 3,
        DELETES = 1 << 4,
        LOSSES = 1 << 5
};
enum { ANY = 15 };

struct rules {
        unsigned old;
        unsigned features;
        unsigned ends; /* how many kills and orderly ends; ANY */
};

/* False: it cannot happen in this state, which may have been changed nevertheless. */
typedef bool (*step_fn)(const struct rules *rules, struct state *state, int host, int session, int choice);

struct step {
        const char *text; /* for choices 0, 1, …, with `|` between them */
        const char *code; /* what it follows */
        step_fn run;
        int choices;
        unsigned features; /* 0, or one of which the scope must have */
        bool of_session;
};

extern const struct step steps[];

static inline uint8_t less(uint8_t value)
{
        return value ? value - 1 : 0;
}

static inline uint8_t most(uint8_t a, uint8_t b)
{
        return a > b ? a : b;
}

static inline uint8_t least(uint8_t a, uint8_t b)
{
        return a < b ? a : b;
}

/* The name of an instance in `owner`, and back. */
uint8_t name_of(int host, int slot);
int host_of(uint8_t name);
struct instance *instance_of(struct state *state, uint8_t name);
bool is_named(const struct state *state, uint8_t name);
void move_instance(struct state *state, int host, int from, int to);
bool names_us(const struct session *session, int host);
bool is_usable(const struct rules *rules, const struct host *host, const struct side *side);
bool needs_wait(const struct session *session);
uint8_t next_fence(const struct session *session);
uint8_t lease_of(const struct rules *rules, const struct host *host, const struct side *side);
void ask_leases(const struct rules *rules, struct state *state, int host);
void leave_stray(struct side *side, uint8_t lease);
void document_changed(struct session *session);
void suspend(struct side *side);

/* protocol.c */
#define STEP(name) bool name(const struct rules *rules, struct state *state, int h, int k, int choice)
STEP(tick);
STEP(land_renewal);
STEP(mark_dead);
STEP(delete_instance);
STEP(start);
STEP(kill_daemon);
STEP(end_orderly);
STEP(drain);
/* protocol_session.c: session k of host h */
STEP(send_swap);
STEP(land_swap);
STEP(give_up_swap);
STEP(write_taken);
STEP(answer_open);
STEP(look);
STEP(end_handle);
STEP(send_release);
STEP(land_release);
STEP(write_row);
STEP(land_write);
STEP(give_up_write);
STEP(restore);

void model_init(const struct rules *rules, struct state *state);
/* Renames fences and instances, so that states that differ in names only are one. */
void model_tidy(struct state *state);
/* What is wrong in this state. */
enum property model_check(const struct rules *rules, const struct state *state);

#endif
