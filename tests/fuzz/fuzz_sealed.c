/*
 * Sealed values, and session files that have them. The first byte of the input chooses one of three:
 *
 * - The rest is a sealed value as a stranger may write it, with the id of the daemon's key or not. It does
 * not open, whatever it is.
 * - The rest is edits and a value. The value is sealed, and opens to the same. With an edit that changes it,
 *   with another session, another field or another key it does not open.
 * - The rest edits what a sealed session's file has of its key, as whoever can write the file could. It is
 *   refused and stays as it is, byte for byte. Or it opens to its own key, to one that was put into the
 *   library's column, to another session's if id and value are both that session's, or to none. Then no key
 * is in the file in the clear.
 */

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/backend.h"
#include "../../backends/keyring.h"
#include "fuzz.h"

enum {
        VALUE_MAX = 512,
        SEALED_MAX = VALUE_MAX + SEALED_EXTRA_BYTES,
        SEALED_KEY_BYTES = AUTH_KEY_BYTES + SEALED_EXTRA_BYTES,
        FILE_MAX_BYTES = 1 << 18,
        PATH_BYTES = 96,
        SHOWN_BYTES = 16, /* of a key: more are no accident */
};

extern const struct backend backend_file;

static const uint8_t here[SESSION_ID_BYTES] = "this session", there[SESSION_ID_BYTES] = "another session";
static const char *const dialects[] = { "pyrogram", "telethon" };
enum { DIALECTS = sizeof(dialects) / sizeof(dialects[0]) };

struct bytes {
        uint8_t bytes[FILE_MAX_BYTES];
        size_t len;
};

static struct world {
        char dir[PATH_BYTES / 2], data[PATH_BYTES], path[PATH_BYTES], keys[PATH_BYTES];
        struct keyring *keyring, *other_keyring;
        struct backend_env *env;
        struct backend_config config;
        union option_value values[2];
        uint8_t own_key[AUTH_KEY_BYTES], new_key[AUTH_KEY_BYTES], other_key[AUTH_KEY_BYTES];
        struct {
                struct bytes file;
                uint8_t sealed[SEALED_KEY_BYTES], id[SESSION_ID_BYTES];
        } whole[DIALECTS][2]; /* the second is another session, with another key */
} world;

/* ---- values ---- */

static void open_strange(const uint8_t *data, size_t size)
{
        static uint8_t value[SEALED_MAX], sealed[SEALED_MAX];
        bool named = size && data[0] & 1;

        if (size < 1 || size > SEALED_MAX)
                return;
        memcpy(sealed, data + 1, --size);
        if (named && size > KEY_ID_BYTES) {
                sealed[0] = 1;
                require(keyring_id(world.keyring, 0, sealed + 1));
        }
        for (size_t len = 0; len <= size; len++)
                require(keyring_open(world.keyring, here, slice_of("auth_key"), sealed, size, value, len) !=
                        0);
}

/* The first byte is the number of edits, each a place and what is added there. */
static void round_trip(struct choices choices)
{
        static uint8_t sealed[SEALED_MAX], edited[SEALED_MAX], value[VALUE_MAX];
        const unsigned edits = choose(&choices, 4);
        uint8_t places[2 * 4];
        size_t len, sealed_len;

        for (unsigned i = 0; i < 2 * edits; i++)
                places[i] = choose_byte(&choices);
        len = (size_t)(choices.end - choices.at);
        if (len > VALUE_MAX)
                return;
        sealed_len = len + SEALED_EXTRA_BYTES;
        require(keyring_seal(world.keyring, here, slice_of("auth_key"), choices.at, len, sealed) == 0);
        require(keyring_open(world.keyring, here, slice_of("auth_key"), sealed, sealed_len, value, len) == 0);
        require(memcmp(value, choices.at, len) == 0);
        require(keyring_open(world.keyring, there, slice_of("auth_key"), sealed, sealed_len, value, len) !=
                0);
        require(keyring_open(world.keyring, here, slice_of("auth_ke"), sealed, sealed_len, value, len) != 0);
        require(keyring_open(world.other_keyring, here, slice_of("auth_key"), sealed, sealed_len, value,
                             len) != 0);
        if (len)
                require(keyring_open(world.keyring, here, slice_of("auth_key"), sealed, sealed_len - 1, value,
                                     len - 1) != 0);
        memcpy(edited, sealed, sealed_len);
        for (unsigned i = 0; i < edits; i++)
                edited[places[2 * i] % sealed_len] ^= places[2 * i + 1];
        if (memcmp(edited, sealed, sealed_len) != 0)
                require(keyring_open(world.keyring, here, slice_of("auth_key"), edited, sealed_len, value,
                                     len) != 0);
}

/* ---- files ---- */

static void read_file(struct bytes *into)
{
        FILE *file = fopen(world.path, "re");

        require(file);
        into->len = fread(into->bytes, 1, FILE_MAX_BYTES, file);
        fclose(file);
}

static void write_file(const struct bytes *from)
{
        int fd = open(world.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        require(fd >= 0 && write(fd, from->bytes, from->len) == (ssize_t)from->len);
        close(fd);
}

/* Serves x.session. `key`: if not NULL, stored as its auth key. 0 and its identity, or the error. */
static int serve(const char *dialect, const uint8_t *key, struct identity *identity, struct fault *fault)
{
        const struct open_options options = { .name = slice_of("x"),
                                              .create = key,
                                              .dialect = slice_of(dialect) };
        struct backend_session *session;
        struct opened opened;
        int error;

        opened_init(&opened);
        error = backend_file.open(world.env, &options, &session, &opened, fault);
        if (!error && key) {
                const struct change change = { .kind = CHANGE_IDENTITY,
                                               .fields = FIELD_BIT(FIELD_AUTH_KEY),
                                               .identity = &opened.identity };

                identity_set_key(&opened.identity, key);
                require(backend_file.apply(session, &change, 1, DURABLE_DISK, NULL, NULL, fault) == 0);
        }
        if (!error)
                require(identity_copy(identity, &opened.identity) && backend_file.close(session, fault) == 0);
        opened_deinit(&opened);
        return error;
}

static void bind(sqlite3_stmt *row, struct choices *choices, size_t dialect, bool is_id)
{
        static uint8_t value[SEALED_KEY_BYTES];
        const unsigned how = choose(choices, 7);
        size_t len = is_id ? SESSION_ID_BYTES : SEALED_KEY_BYTES, place;

        memcpy(value, is_id ? world.whole[dialect][how == 0].id : world.whole[dialect][how == 0].sealed, len);
        switch (how) {
        case 0: break; /* the other session's */
        case 1: sqlite3_bind_text(row, 1, "a text", -1, SQLITE_STATIC); return;
        case 2: sqlite3_bind_int64(row, 1, 7); return;
        case 3: sqlite3_bind_null(row, 1); return;
        case 4: len = choose_byte(choices); break;
        case 5: len = choices_left(choices) ? (size_t)(choices->end - choices->at) : 0; break;
        default:
                place = (size_t)choose_byte(choices) << 8;
                place |= choose_byte(choices);
                value[place % len] ^= choose_byte(choices);
        }
        if (how == 5) {
                len = len < sizeof(value) ? len : sizeof(value);
                memcpy(value, choices->at, len);
                choices->at += len;
        }
        sqlite3_bind_blob(row, 1, value, (int)len, SQLITE_TRANSIENT);
}

static void run(sqlite3 *db, const char *sql, struct choices *choices, size_t dialect, bool is_id)
{
        sqlite3_stmt *row;

        require(sqlite3_prepare_v2(db, sql, -1, &row, NULL) == SQLITE_OK);
        if (choices)
                bind(row, choices, dialect, is_id);
        sqlite3_step(row); /* what the table's constraints refuse is not written */
        sqlite3_finalize(row);
}

struct edited {
        bool new_key; /* in the library's column */
        bool other;   /* the id and maybe the value are another session's */
        bool unsealed;
};

static struct edited edit(struct choices *choices, size_t dialect)
{
        const uint8_t what = choose_byte(choices);
        const bool emptied = (what & 12) == 12; /* as a kill leaves the table after an unseal */
        struct edited edited = { .other = (what & 3) == 3, .unsealed = (what & 64) || emptied };
        sqlite3 *db;

        require(sqlite3_open(world.path, &db) == SQLITE_OK);
        if (what & 1)
                run(db, "UPDATE gramd_sealed SET value = ? WHERE field = 'id'", choices, dialect, true);
        if (what & 2)
                run(db, "UPDATE gramd_sealed SET value = ? WHERE field = 'auth_key'", choices, dialect,
                    false);
        if (what & 4)
                run(db, "DELETE FROM gramd_sealed WHERE field = 'id'", NULL, dialect, false);
        if (what & 8)
                run(db, "DELETE FROM gramd_sealed WHERE field = 'auth_key'", NULL, dialect, false);
        if (what & 16) {
                sqlite3_stmt *row;

                edited.new_key = what & 32;
                require(sqlite3_prepare_v2(db, "UPDATE sessions SET auth_key = ?", -1, &row, NULL) ==
                        SQLITE_OK);
                sqlite3_bind_blob(row, 1, world.new_key,
                                  edited.new_key ? AUTH_KEY_BYTES : choose_byte(choices), SQLITE_STATIC);
                sqlite3_step(row);
                sqlite3_finalize(row);
        }
        if (edited.unsealed)
                run(db, "DROP TABLE gramd_sealed", NULL, dialect, false);
        sqlite3_close(db);
        return edited;
}

static void require_no_key(const void *bytes, size_t len)
{
        require(!memmem(bytes, len, world.own_key, SHOWN_BYTES));
        require(!memmem(bytes, len, world.new_key, SHOWN_BYTES));
        require(!memmem(bytes, len, world.other_key, SHOWN_BYTES));
}

static void edit_session(struct choices choices)
{
        static struct bytes before, after;
        const size_t dialect = choose(&choices, DIALECTS);
        struct identity identity;
        struct fault fault = { 0 };
        struct edited edited;

        write_file(&world.whole[dialect][0].file);
        edited = edit(&choices, dialect);
        read_file(&before);
        identity_init(&identity);
        if (serve(NULL, NULL, &identity, &fault)) {
                require(fault.text[0]);
                require_no_key(fault.text, strlen(fault.text));
                read_file(&after);
                require(after.len == before.len && memcmp(after.bytes, before.bytes, after.len) == 0);
        } else if (identity_has(&identity, FIELD_AUTH_KEY)) {
                if (memcmp(identity.auth_key, world.new_key, AUTH_KEY_BYTES) == 0)
                        require(edited.new_key);
                else if (memcmp(identity.auth_key, world.other_key, AUTH_KEY_BYTES) == 0)
                        require(edited.other && !edited.new_key);
                else
                        require(!edited.new_key &&
                                memcmp(identity.auth_key, world.own_key, AUTH_KEY_BYTES) == 0);
                read_file(&after);
                if (!edited.unsealed)
                        require_no_key(after.bytes, after.len);
        }
        identity_wipe(&identity);
        unlink(world.path);
}

/* ---- the start ---- */

static void take(sqlite3 *db, const char *field, uint8_t *into, size_t len)
{
        sqlite3_stmt *row;

        require(sqlite3_prepare_v2(db, "SELECT value FROM gramd_sealed WHERE field = ?", -1, &row, NULL) ==
                SQLITE_OK);
        sqlite3_bind_text(row, 1, field, -1, SQLITE_STATIC);
        require(sqlite3_step(row) == SQLITE_ROW && (size_t)sqlite3_column_bytes(row, 0) == len);
        memcpy(into, sqlite3_column_blob(row, 0), len);
        sqlite3_finalize(row);
}

static void make_whole(size_t dialect, bool other)
{
        struct identity identity;
        struct fault fault;
        sqlite3 *db;

        identity_init(&identity);
        require(serve(dialects[dialect], other ? world.other_key : world.own_key, &identity, &fault) == 0);
        identity_wipe(&identity);
        read_file(&world.whole[dialect][other].file);
        require(sqlite3_open(world.path, &db) == SQLITE_OK);
        take(db, "id", world.whole[dialect][other].id, SESSION_ID_BYTES);
        take(db, "auth_key", world.whole[dialect][other].sealed, SEALED_KEY_BYTES);
        sqlite3_close(db);
        require(unlink(world.path) == 0);
}

static struct keyring *make_keyring(void)
{
        struct keyring *keyring = keyring_new();
        char line[KEY_LINE_BYTES], why[256];
        FILE *file = fopen(world.keys, "we");

        key_line_new(line);
        require(file && fputs(line, file) >= 0 && fclose(file) == 0);
        require(keyring && keyring_read(keyring, world.keys, KEY_FILE_PRIVATE, why, sizeof(why)));
        unlink(world.keys);
        return keyring;
}

static void leave(void)
{
        backend_file.stop(world.env);
        unlink(world.path);
        rmdir(world.data);
        rmdir(world.dir);
        keyring_free(world.keyring);
        keyring_free(world.other_keyring);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        struct fault fault;

        (void)argc;
        (void)argv;
        umask(0077);
        scratch_make(world.dir, sizeof(world.dir));
        snprintf(world.data, PATH_BYTES, "%s/data", world.dir);
        snprintf(world.path, PATH_BYTES, "%s/data/x.session", world.dir);
        snprintf(world.keys, PATH_BYTES, "%s/keys", world.dir);
        require(mkdir(world.data, 0700) == 0);
        world.keyring = make_keyring();
        world.other_keyring = make_keyring();
        for (size_t i = 0; i < AUTH_KEY_BYTES; i++) {
                world.own_key[i] = (uint8_t)(i * i * 7 + i * 13 + 5);
                world.new_key[i] = (uint8_t)(i * i * 11 + i * 29 + 3);
                world.other_key[i] = (uint8_t)(i * i * 5 + i * 31 + 9);
        }
        world.config = (struct backend_config){ .data_dir = world.data,
                                                .keyring = world.keyring,
                                                .kv_max = 1 << 20 };
        world.values[0].number = world.values[1].number = 1 << 20;
        require(backend_file.start(&world.config, world.values, &world.env, &fault) == 0);
        for (size_t dialect = 0; dialect < DIALECTS; dialect++)
                for (int other = 0; other < 2; other++)
                        make_whole(dialect, other);
        atexit(leave);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct choices choices = { data, data + size };

        switch (choose(&choices, 3)) {
        case 0: open_strange(choices.at, (size_t)(choices.end - choices.at)); break;
        case 1: round_trip(choices); break;
        default: edit_session(choices);
        }
        return 0;
}
