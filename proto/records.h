#ifndef GRAMD_PROTO_RECORDS_H
#define GRAMD_PROTO_RECORDS_H

/*
 * What a session consists of: its identity fields, peers, usernames and update states, and how each
 * of them is read from and written to the wire. Slices inside records borrow their bytes.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "cursor.h"
#include "slice.h"

enum {
        NAME_MAX_BYTES = 200, /* of a session's name */
        TEXT_MAX_BYTES = 255, /* of usernames, phone numbers, addresses */
        PEER_TYPE_MAX_BYTES = 32,
        AUTH_KEY_BYTES = 256,
        PEER_TIME_BYTES = 5,
};

/* Names of sessions: 1-200 bytes of UTF-8, no '/', no control characters, no leading '.'. */
bool session_name_valid(struct slice name);

/* ---- identity ---- */

enum field {
        FIELD_DC_ID,
        FIELD_API_ID,
        FIELD_TEST_MODE,
        FIELD_AUTH_KEY,
        FIELD_DATE,
        FIELD_USER_ID,
        FIELD_IS_BOT,
        FIELD_SERVER_ADDRESS,
        FIELD_PORT,
        FIELD_TAKEOUT_ID,
        FIELD_COUNT,
};

enum field_type { FIELD_NUMBER, FIELD_BOOL, FIELD_KEY, FIELD_TEXT };

struct field_info {
        const char *name;
        enum field_type type;
        bool never_nil;
        int64_t min;
        int64_t max;
};

extern const struct field_info field_infos[FIELD_COUNT];

/* FIELD_COUNT where there is none of this name. */
enum field field_by_name(struct slice name);

#define FIELD_BIT(field) (1u << (field))
#define FIELD_ALL ((1u << FIELD_COUNT) - 1)

/*
 * The values of one session. Change it through the functions only: they keep `present` right and
 * wipe the key where it leaves. Numbers and booleans (0, 1) live in `number`.
 */
struct identity {
        unsigned present; /* FIELD_BIT of all that are not nil */
        int64_t number[FIELD_COUNT];
        uint8_t auth_key[AUTH_KEY_BYTES];
        char *server_address; /* owned */
};

void identity_init(struct identity *identity); /* as a new session reads: dc_id 2, date 0, else nil */
void identity_wipe(struct identity *identity); /* frees, wipes, and leaves it as after init */
bool identity_copy(struct identity *to,
                   const struct identity *from); /* `to` is initialised; false: no memory */

void identity_set_nil(struct identity *identity, enum field field);
void identity_set_number(struct identity *identity, enum field field, int64_t value);
void identity_set_key(struct identity *identity, const uint8_t key[AUTH_KEY_BYTES]);
bool identity_set_address(struct identity *identity, struct slice address); /* false: no memory */
bool identity_equal(const struct identity *a, const struct identity *b, enum field field);

static inline bool identity_has(const struct identity *identity, enum field field)
{
        return identity->present & FIELD_BIT(field);
}

/* Reads one value off the wire into `identity`. 0, or an IDENTITY_E_… with field and cursor as they were. */
enum { IDENTITY_E_VALUE = -1, IDENTITY_E_NOMEM = -2 };
int identity_read(struct identity *identity, enum field field, struct cursor *cursor);
void identity_write(const struct identity *identity, enum field field, struct buffer *out);

/* ---- peers ---- */

struct peer {
        int64_t id;
        bool has_access_hash;
        int64_t access_hash;
        struct slice type;
        struct slice username;
        struct slice phone_number;
        int64_t last_update_on; /* unix seconds */
};

/*
 * [id, access_hash, type, username, phone_number(, last_update_on)] or [id, access_hash, type, phone_number].
 * False: it is neither; the cursor stands where it stood, and the record holds nothing of use.
 */
bool peer_read(struct cursor *cursor, int64_t now, struct peer *peer);

/*
 * The six-element row. Its last element is always PEER_TIME_BYTES long where the time fits 32 bits
 * unsigned, so that a cached row's time can be changed in place (peer_set_time).
 */
void peer_write(struct buffer *out, const struct peer *peer);

/* A row that peer_write() made: its parts, and a new time. False: the time does not fit in place. */
void peer_unpack(struct slice packed, struct peer *peer);
bool peer_set_time(uint8_t *packed, size_t len, int64_t last_update_on);

/* All but the time. */
bool peer_same(const struct peer *a, const struct peer *b);

/* ---- usernames ---- */

/* All rows of one peer in the usernames table. */
struct peer_names {
        int64_t peer_id;
        const struct slice *names; /* none twice */
        size_t n_names;
        int64_t last_update_on;
};

/* ---- update states ---- */

enum state_part { STATE_PTS, STATE_QTS, STATE_DATE, STATE_SEQ, STATE_PARTS };

struct state {
        int64_t id;
        unsigned present; /* 1 << part, of all that are not nil */
        int64_t part[STATE_PARTS];
};

bool state_read(struct cursor *cursor, struct state *state); /* [id, pts, qts, date, seq]; as peer_read() */
void state_write(struct buffer *out, const struct state *state);
void state_keep(struct state *state, const struct state *stored); /* nil parts take the stored value */
bool state_equal(const struct state *a, const struct state *b);
int state_by_date(const void *a, const void *b); /* for qsort: ascending date, nil first, then id */

#endif
