/*
 * Every dialect of `.session` files. A version number alone does not identify a dialect (four libraries have
 * a version 4, in two shapes), so version, tables and columns together do. The order of columns differs
 * between new and migrated files: columns are always addressed by name.
 *
 * The schemas are what the libraries create: names, types, order (Telethon inserts by position), keys,
 * indexes and the triggers that the libraries' statements need. Triggers do not run in gramd's own
 * connections.
 */

#include "dialect.h"

#define KEY_FIELDS                                                                                           \
        (FIELD_BIT(FIELD_DC_ID) | FIELD_BIT(FIELD_TEST_MODE) | FIELD_BIT(FIELD_AUTH_KEY) |                   \
         FIELD_BIT(FIELD_DATE) | FIELD_BIT(FIELD_USER_ID) | FIELD_BIT(FIELD_IS_BOT))
#define API_FIELDS (KEY_FIELDS | FIELD_BIT(FIELD_API_ID))
#define ADDRESS_FIELDS (FIELD_BIT(FIELD_SERVER_ADDRESS) | FIELD_BIT(FIELD_PORT))
#define TELETHON_FIELDS                                                                                      \
        (FIELD_BIT(FIELD_DC_ID) | ADDRESS_FIELDS | FIELD_BIT(FIELD_AUTH_KEY) | FIELD_BIT(FIELD_TAKEOUT_ID))

static const struct peers_layout pyrogram_peers = {
        "peers", "access_hash", "type", "username", "phone_number", "last_update_on", false,
};
static const struct peers_layout telethon_peers = {
        "entities", "hash", NULL, "username", "phone", "date", true,
};
static const struct names_layout pyrofork_names = { "usernames", "id", "peer_id", "last_update_on", true };
static const struct names_layout kurigram_names = { "usernames", "username", "id", NULL, false };

#define NOW "(CAST(STRFTIME('%s', 'now') AS INTEGER))"

#define PYROFORK_NAMES                                                                                       \
        "CREATE TABLE IF NOT EXISTS usernames (id TEXT PRIMARY KEY, peer_id INTEGER NOT NULL,"               \
        " last_update_on INTEGER NOT NULL DEFAULT " NOW ");"                                                 \
        "CREATE TRIGGER IF NOT EXISTS trg_usernames_last_update_on AFTER UPDATE ON usernames BEGIN"          \
        " UPDATE usernames SET last_update_on = CAST(STRFTIME('%s', 'now') AS INTEGER) WHERE id = NEW.id;"   \
        " END"

const struct dialect dialects[] = {
        { "pyrogram", "number", 1, 2, KEY_FIELDS, &pyrogram_peers, .names = NULL },
        { "pyrofork", "number", 3, 3, API_FIELDS, &pyrogram_peers, .names = &pyrofork_names },
        { "pyrogram", "number", 3, 3, API_FIELDS, &pyrogram_peers, .names = NULL },
        { "kurigram", "number", 4, 4, API_FIELDS, &pyrogram_peers, .username_optional = true,
          .names = &kurigram_names },
        { "pyrofork", "number", 4, 4, API_FIELDS, &pyrogram_peers, .names = &pyrofork_names,
          .names_ddl = PYROFORK_NAMES, .states = true },
        { "kurigram", "number", 5, 6, API_FIELDS, &pyrogram_peers, .username_optional = true,
          .names = &kurigram_names, .states = true },
        { "kurigram", "number", 7, 7, API_FIELDS | ADDRESS_FIELDS, &pyrogram_peers, .username_optional = true,
          .names = &kurigram_names, .states = true },
        { "telethon", "version", 7, 8, TELETHON_FIELDS, &telethon_peers, .states = true, .empty_key = true,
          .may_lack_session = true, .nil_state_is_zero = true },
        { .group = NULL },
};

/* ---- new files ---- */

#define SESSIONS_3                                                                                           \
        "CREATE TABLE sessions (dc_id INTEGER PRIMARY KEY, api_id INTEGER, test_mode INTEGER,"               \
        " auth_key BLOB, date INTEGER NOT NULL, user_id INTEGER, is_bot INTEGER)"
#define SESSIONS_7                                                                                           \
        "CREATE TABLE sessions (dc_id INTEGER PRIMARY KEY, server_address TEXT, port INTEGER,"               \
        " api_id INTEGER, test_mode INTEGER, auth_key BLOB, date INTEGER NOT NULL, user_id INTEGER,"         \
        " is_bot INTEGER)"
#define PEERS_3                                                                                              \
        "CREATE TABLE peers (id INTEGER PRIMARY KEY, access_hash INTEGER, type INTEGER NOT NULL,"            \
        " username TEXT, phone_number TEXT, last_update_on INTEGER NOT NULL DEFAULT " NOW ")"
#define PEERS_6                                                                                              \
        "CREATE TABLE peers (id INTEGER PRIMARY KEY, access_hash INTEGER, type INTEGER NOT NULL,"            \
        " phone_number TEXT, last_update_on INTEGER NOT NULL DEFAULT " NOW ")"
#define STATES                                                                                               \
        "CREATE TABLE update_state (id INTEGER PRIMARY KEY, pts INTEGER, qts INTEGER, date INTEGER,"         \
        " seq INTEGER)"
#define VERSION "CREATE TABLE version (number INTEGER PRIMARY KEY)"
#define PEERS_ID "CREATE INDEX idx_peers_id ON peers (id)"
#define PEERS_USERNAME "CREATE INDEX idx_peers_username ON peers (username)"
#define PEERS_PHONE "CREATE INDEX idx_peers_phone_number ON peers (phone_number)"
#define PEERS_TRIGGER                                                                                        \
        "CREATE TRIGGER trg_peers_last_update_on AFTER UPDATE ON peers BEGIN"                                \
        " UPDATE peers SET last_update_on = CAST(STRFTIME('%s', 'now') AS INTEGER) WHERE id = NEW.id;"       \
        " END"

/* Version 7 differs from 6 in `sessions` alone. */
#define FROM_PEERS_6                                                                                         \
        PEERS_6,                                                                                             \
                "CREATE TABLE usernames (id INTEGER, username TEXT, FOREIGN KEY (id) REFERENCES peers(id))", \
                STATES, VERSION, PEERS_ID, PEERS_PHONE, "CREATE INDEX idx_usernames_id ON usernames (id)",   \
                "CREATE INDEX idx_usernames_username ON usernames (username)", PEERS_TRIGGER

static const char *const schema_3[] = {
        SESSIONS_3, PEERS_3, VERSION, PEERS_ID, PEERS_USERNAME, PEERS_PHONE, PEERS_TRIGGER, NULL,
};

static const char *const schema_4[] = {
        SESSIONS_3,     PEERS_3,     STATES,        VERSION,        PEERS_ID,
        PEERS_USERNAME, PEERS_PHONE, PEERS_TRIGGER, PYROFORK_NAMES, NULL,
};

static const char *const schema_6[] = { SESSIONS_3, FROM_PEERS_6, NULL };
static const char *const schema_7[] = { SESSIONS_7, FROM_PEERS_6, NULL };

static const char *const schema_telethon[] = {
        "CREATE TABLE version (version integer primary key)",
        "CREATE TABLE sessions (dc_id integer primary key, server_address text, port integer, auth_key blob,"
        " takeout_id integer, tmp_auth_key blob)",
        "CREATE TABLE entities (id integer primary key, hash integer not null, username text, phone integer,"
        " name text, date integer)",
        "CREATE TABLE sent_files (md5_digest blob, file_size integer, type integer, id integer, hash integer,"
        " primary key(md5_digest, file_size, type))",
        "CREATE TABLE update_state (id integer primary key, pts integer, qts integer, date integer,"
        " seq integer)",
        NULL,
};

#define FIRST "INSERT INTO sessions (dc_id, date) VALUES (2, 0)"
#define FIRST_TELETHON "INSERT INTO sessions (dc_id, auth_key, tmp_auth_key) VALUES (2, x'', x'')"

const struct library libraries[] = {
        { "pyrogram", "number", 3, false, false, schema_3, FIRST },
        { "hydrogram", "number", 3, true, false, schema_3, FIRST },
        { "electrogram", "number", 4, true, false, schema_4, FIRST },
        { "pyrofork", "number", 4, false, false, schema_4, FIRST },
        { "kurigram", "number", 7, false, true, schema_7, FIRST },
        { "irenogram", "number", 7, false, true, schema_7, FIRST },
        { "pyrotgfork", "number", 6, true, false, schema_6, FIRST },
        { "telethon", "version", 8, false, true, schema_telethon, FIRST_TELETHON },
        { .name = NULL },
};

/* ---- gramd's own ---- */

/*
 * `was` is what the library's column held when gramd wrote `value`; where there is no column yet, it is what
 * the library's migration will put there. If the column still holds that, `value` counts. If not, the library
 * has written since, and its column counts. Columns have no type, so that SQLite converts nothing.
 */
const struct extra_table extra_tables[EXTRA_COUNT] = {
        [EXTRA_FIELDS] = { "gramd_fields", "gramd_fields",
                           "CREATE TABLE gramd_fields (field TEXT PRIMARY KEY, value, was) WITHOUT ROWID" },
        /* `kept`: 1 << enum peer_part for each part that is kept here. */
        [EXTRA_PEERS] = { "gramd_peers", "gramd_peers_username",
                          "CREATE TABLE gramd_peers (id INTEGER PRIMARY KEY, kept INTEGER NOT NULL,"
                          " access_hash, type, username, phone_number,"
                          " was_access_hash, was_type, was_username, was_phone_number);"
                          "CREATE INDEX gramd_peers_username ON gramd_peers (username)"
                          " WHERE username IS NOT NULL" },
        [EXTRA_NAMES] = { "gramd_usernames", "gramd_usernames_peer_id",
                          "CREATE TABLE gramd_usernames (username TEXT NOT NULL, peer_id INTEGER NOT NULL,"
                          " last_update_on INTEGER NOT NULL, PRIMARY KEY (username, peer_id)) WITHOUT ROWID;"
                          "CREATE INDEX gramd_usernames_peer_id ON gramd_usernames (peer_id)" },
        [EXTRA_STATES] = { "gramd_update_state", "gramd_update_state",
                           "CREATE TABLE gramd_update_state (id INTEGER PRIMARY KEY, pts INTEGER,"
                           " qts INTEGER, date INTEGER, seq INTEGER)" },
        /* The same columns as Telethon's entities. */
        [EXTRA_ZERO] = { "gramd_entity_0", "gramd_entity_0",
                         "CREATE TABLE gramd_entity_0 (id INTEGER PRIMARY KEY, hash INTEGER NOT NULL,"
                         " username TEXT, phone INTEGER, date INTEGER)" },
        /* `parts`: 1 << enum state_part for each part that is nil, while the library's column says 0. */
        [EXTRA_NILS] = { "gramd_update_state_nil", "gramd_update_state_nil",
                         "CREATE TABLE gramd_update_state_nil (id INTEGER PRIMARY KEY,"
                         " parts INTEGER NOT NULL)" },
        /* `place`: the number modulo how many are kept. `at`: unix seconds. */
        [EXTRA_REMEMBERED] = { "gramd_remembered", "gramd_remembered",
                               "CREATE TABLE gramd_remembered (place INTEGER PRIMARY KEY,"
                               " number INTEGER NOT NULL, at INTEGER NOT NULL, writes BLOB NOT NULL)" },
        [EXTRA_SEALED] = { "gramd_sealed", "gramd_sealed",
                           "CREATE TABLE gramd_sealed (field TEXT PRIMARY KEY, value) WITHOUT ROWID" },
        /* With rowids: a search in an index would read whole values. `expires`: unix milliseconds. */
        [EXTRA_KV] = { "gramd_kv", "gramd_kv_expires",
                       "CREATE TABLE gramd_kv (key BLOB NOT NULL UNIQUE, value BLOB NOT NULL,"
                       " expires INTEGER);"
                       "CREATE INDEX gramd_kv_expires ON gramd_kv (expires) WHERE expires IS NOT NULL" },
};

const struct names_layout extra_names = { "gramd_usernames", "username", "peer_id", "last_update_on", false };
