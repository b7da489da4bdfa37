#ifndef GRAMD_PROTO_RECORDS_H
#define GRAMD_PROTO_RECORDS_H

/*
 * The parts of a session: identity fields, peers, usernames and update states, and how they are read from and
 * written to messages. Slices in records borrow their bytes.
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
        KV_KEY_MAX_BYTES = 255,
        KV_VALUE_MAX_BYTES = 64 * 1024,
        PEER_TIME_BYTES = 5,
        HIDDEN_NONCE_BYTES = 24,
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

/* FIELD_COUNT: there is no field of this name. */
enum field field_by_name(struct slice name);

#define FIELD_BIT(field) (1u << (field))
#define FIELD_ALL ((1u << FIELD_COUNT) - 1)

/*
 * The values of one session. Only the functions below change it: they keep `present` right and wipe keys that
 * are replaced. Numbers and booleans (0, 1) are in `number`.
 */
struct identity {
        unsigned present; /* FIELD_BIT of each field that is not nil */
        int64_t number[FIELD_COUNT];
        uint8_t auth_key[AUTH_KEY_BYTES];
        uint8_t key_nonce[HIDDEN_NONCE_BYTES]; /* the daemon's; see its hidden.h */
        bool key_is_hidden;                    /* only copied and wiped here */
        char *server_address;                  /* owned */
};

void identity_init(struct identity *identity); /* the values of a new session: dc_id 2, date 0, else nil */
void identity_wipe(struct identity *identity); /* frees and wipes; then as after identity_init() */
bool identity_copy(struct identity *to,
                   const struct identity *from); /* `to` is initialised; false: no memory */

void identity_set_nil(struct identity *identity, enum field field);
void identity_set_number(struct identity *identity, enum field field, int64_t value);
void identity_set_key(struct identity *identity, const uint8_t key[AUTH_KEY_BYTES]);
void identity_copy_key(struct identity *to, const struct identity *from);   /* `from` has one */
bool identity_set_address(struct identity *identity, struct slice address); /* false: no memory */
bool identity_equal(const struct identity *a, const struct identity *b, enum field field);

static inline bool identity_has(const struct identity *identity, enum field field)
{
        return identity->present & FIELD_BIT(field);
}

/* Reads one value. 0, or an IDENTITY_E_…; then neither field nor cursor has changed. */
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
 * False: it is neither. The cursor has not moved, and the record is undefined.
 */
bool peer_read(struct cursor *cursor, int64_t now, struct peer *peer);

/*
 * The row of six elements. A time that fits in 32 bits, unsigned, always takes PEER_TIME_BYTES: so the time
 * of a cached row can be changed in place (peer_set_time()).
 */
void peer_write(struct buffer *out, const struct peer *peer);

/* For rows that peer_write() wrote: read them; set their time. False: the time does not fit in place. */
void peer_unpack(struct slice packed, struct peer *peer);
bool peer_set_time(uint8_t *packed, size_t len, int64_t last_update_on);

/* Compares everything but the time. */
bool peer_same(const struct peer *a, const struct peer *b);

/* ---- usernames ---- */

/* All rows of one peer in the usernames table. */
struct peer_names {
        int64_t peer_id;
        const struct slice *names; /* without duplicates */
        size_t n_names;
        int64_t last_update_on;
};

/* ---- update states ---- */

enum state_part { STATE_PTS, STATE_QTS, STATE_DATE, STATE_SEQ, STATE_PARTS };

struct state {
        int64_t id;
        unsigned present; /* 1 << part for each part that is not nil */
        int64_t part[STATE_PARTS];
};

bool state_read(struct cursor *cursor, struct state *state); /* [id, pts, qts, date, seq]; as peer_read() */
void state_write(struct buffer *out, const struct state *state);
void state_keep(struct state *state, const struct state *stored); /* nil parts take the stored value */
bool state_equal(const struct state *a, const struct state *b);
int state_by_date(const void *a, const void *b); /* for qsort: ascending date, nil first, then id */

#endif
