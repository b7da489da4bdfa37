#ifndef GRAMD_TESTS_FUZZ_MODEL_H
#define GRAMD_TESTS_FUZZ_MODEL_H

/*
 * What PROTOCOL.md says of one session, in the simplest way: small tables of all peers, names and states that
 * there can be. A step does one request to it, and says what is to be answered.
 */

#include "../../proto/buffer.h"
#include "../../proto/contract.h"
#include "../../proto/records.h"
#include "fuzz.h"

enum {
        PEERS = 8,
        NAMES = 6,
        PHONES = 4,
        TYPES = 3,
        STATES = 4,
        AREA_KEYS = 6, /* of the key-value area */
        ROWS_MAX = 3,
        NO_ERROR = -1
};

/* Ascending. */
extern const int64_t model_ids[PEERS];
extern const int64_t model_state_ids[STATES];
extern const char *const model_phones[PHONES];
extern const char *const model_types[TYPES];
struct slice model_name(unsigned number); /* ascending, byte by byte, and so is: */
struct slice model_key(unsigned number);

/*
 * `floor`: when the row was last changed. A repetition changes only the time, and that may be lost when the
 * daemon is killed: then it is from `floor` to `time`.
 */
struct model_time {
        int64_t time, floor;
};

struct model {
        bool stored;
        bool in_memory;
        bool sealed;        /* its key is sealed, or will be */
        unsigned sealed_by; /* the number of the daemon's key; 0: it has no key yet */
        unsigned current;   /* the number of the daemon's current key */
        bool one_owner;     /* the dialect has one row for each name */
        bool names_timed;   /* it has a time for it */
        struct model_peer {
                bool there, has_hash;
                uint8_t type, name, phone; /* name and phone: 0: nil, else the number + 1 */
                int64_t hash;
                struct model_time at;
        } peers[PEERS];
        struct model_row {
                bool there;
                struct model_time at;
        } names[NAMES][PEERS];
        struct state states[STATES];
        bool has_state[STATES];
        /* Of the identity: only what may be nil and follows from nothing else. */
        unsigned fields;
        int64_t number[FIELD_COUNT];
        uint8_t key; /* all of its bytes are this one */
        struct model_value {
                uint8_t value;      /* 0: none, else its number */
                unsigned sealed_by; /* as above */
                int64_t expires_ms;
        } area[AREA_KEYS];
};

/* The fields that requests set. */
extern const enum field model_fields[];
enum { MODEL_FIELDS = 8 };
bool model_is_bool(enum field field);

/* What is changed, as watchers hear it: bits. */
struct changed {
        unsigned peers, states, fields, area;
        bool all;
};

/* One of those that the model knows. */
struct asked {
        enum method_number method;
        unsigned n; /* rows, or ids */
        union {
                struct model_peer peers[ROWS_MAX];
                struct {
                        unsigned n;
                        uint8_t names[2];
                } names[ROWS_MAX];
                struct state states[ROWS_MAX];
                struct {
                        uint8_t value, ttl; /* their numbers */
                } values[ROWS_MAX];
        };
        uint8_t places[ROWS_MAX]; /* in model_ids, or model_state_ids; or the number of a key */
        bool from_start, keep, all;
        uint8_t name, name_place;
        int64_t limit, max_age;
        unsigned fields, nil;
        int64_t number[FIELD_COUNT];
        uint8_t key;
        uint8_t expected; /* the number of a value */
        int64_t now, now_ms;
};

/* Chooses a request, and packs its parameters. */
void asked_choose(struct choices *choices, int64_t now_ms, struct asked *asked);
void asked_pack(const struct asked *asked, int64_t handle, struct buffer *out);
bool asked_writes(const struct asked *asked);

/* Returns the error that is to be answered, or NO_ERROR and in `result` its bytes. Changes the model. */
int model_step(struct model *model, const struct asked *asked, struct buffer *result,
               struct changed *changed);
/* Compares an answer to `info` with the model, and one to `import_string` with what it changed. */
bool model_is_info(const struct model *model, struct slice result);
bool model_is_imported(const struct changed *changed, struct slice result);

/* The text of the format `pyrogram` that has the fields of the request, or of the model. */
void asked_text(const struct asked *asked, struct buffer *text);
void model_text(const struct model *model, struct buffer *text);

/* ---- model_kv.c: the key-value area ---- */

void asked_choose_kv(struct choices *choices, struct asked *asked);
void asked_pack_kv(const struct asked *asked, int64_t handle, struct buffer *out);
/* Of a request that is refused before it has its turn, or NO_ERROR. */
int asked_error(const struct asked *asked);
int model_step_kv(struct model *model, const struct asked *asked, struct buffer *result,
                  struct changed *changed);
/* What a repeated swap that was not done is answered. */
void model_swap_not_done(const struct model *model, const struct asked *asked, struct buffer *result);
void model_expire(struct model *model, int64_t now_ms);
/* All values get this key of the daemon, or with 0 none. */
void model_seal_area(struct model *model, unsigned by);
void model_read_area(struct model *model, struct cursor cursor);

/* ---- model_read.c ---- */

enum { MODEL_ANSWERS = 6 };
/* Reads what the daemon has, of answers to get, scan_peers, scan_usernames, get_states, kv_scan, info. */
void model_read(struct model *model, const struct slice answers[MODEL_ANSWERS]);
void model_ask(int64_t handle, unsigned number, struct buffer *out); /* the request for answer `number` */
/*
 * Whether the daemon's session is that of the model. After a kill, repeated times may be lost; then the model
 * takes the daemon's.
 */
bool model_agrees(struct model *model, const struct model *seen, bool killed);

#endif
