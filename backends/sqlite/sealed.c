/*
 * Sealed auth keys. The table gramd_sealed has the session's random id, and the sealed key; the library's
 * column is NULL, or empty where the library wants that. A row `id` makes the session a sealed one, even
 * while it has no key.
 *
 * A library that opens the file sees a session without a key, and leaves the table alone. A key that is in
 * the library's column is a new login: it counts, and is sealed when the session is opened.
 */

#include <sodium.h>
#include <string.h>

#include "sqlite.h"

enum { SEALED_KEY_BYTES = AUTH_KEY_BYTES + SEALED_EXTRA_BYTES };

static const char field_name[] = "auth_key";

static int refuse(const struct backend_session *session, const char *why, struct fault *fault)
{
        return fault_set(fault, BACKEND_E_CORRUPT, "session '%s': %s", session->name, why);
}

static int fault_of_seal(const struct backend_session *session, int error, const uint8_t *sealed, size_t len,
                         struct fault *fault)
{
        uint8_t id[KEY_ID_BYTES];
        char text[KEY_ID_TEXT_BYTES];

        if (error == SEAL_E_FORGED)
                return refuse(session, "its sealed key was changed, or is another session's", fault);
        if (error != SEAL_E_NO_KEY || !sealed_key_id(sealed, len, id))
                return refuse(session, "its sealed key is damaged", fault);
        key_id_text(id, text);
        return fault_set(fault, BACKEND_E_STORAGE,
                         "session '%s': it is sealed with key %s, which this daemon does not have",
                         session->name, text);
}

/* ---- reading ---- */

static int read_id(struct backend_session *session, struct fault *fault)
{
        SQLITE_STATEMENT row = NULL;
        int error = sqlite_prepare(session, &row, fault, "SELECT value FROM gramd_sealed WHERE field = 'id'");
        int rc;

        if (error)
                return error;
        rc = sqlite3_step(row);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
                return sqlite_fault(session, rc, NULL, fault);
        if (rc == SQLITE_DONE || sqlite3_column_type(row, 0) != SQLITE_BLOB ||
            sqlite3_column_bytes(row, 0) != SESSION_ID_BYTES)
                return refuse(session, "its table gramd_sealed has no id", fault);
        memcpy(session->seal.id, sqlite3_column_blob(row, 0), SESSION_ID_BYTES);
        session->seal.on = true;
        return 0;
}

static int open_value(struct backend_session *session, sqlite3_stmt *row, struct identity *identity,
                      struct fault *fault)
{
        uint8_t key[AUTH_KEY_BYTES];
        bool is_blob = sqlite3_column_type(row, 0) == SQLITE_BLOB;
        const uint8_t *sealed = sqlite3_column_blob(row, 0);
        size_t len = is_blob && sealed ? (size_t)sqlite3_column_bytes(row, 0) : 0;
        int error = keyring_open(session->env->keyring, session->seal.id, field_name, sealed, len, key,
                                 sizeof(key));

        if (error)
                return fault_of_seal(session, error, sealed, len, fault);
        sealed_key_id(sealed, len, session->seal.by);
        session->seal.has_key = true;
        identity_set_key(identity, key);
        sodium_memzero(key, sizeof(key));
        return 0;
}

int sqlite_load_sealed(struct backend_session *session, struct identity *identity, struct fault *fault)
{
        SQLITE_STATEMENT row = NULL;
        int error;
        int rc;

        if (!sqlite_has_extra(session, EXTRA_SEALED))
                return 0;
        error = read_id(session, fault);
        if (error)
                return error;
        if (identity_has(identity, FIELD_AUTH_KEY)) {
                session->seal.is_due = true;
                return 0;
        }
        error = sqlite_prepare(session, &row, fault, "SELECT value FROM gramd_sealed WHERE field = %Q",
                               field_name);
        if (error)
                return error;
        rc = sqlite3_step(row);
        if (rc == SQLITE_ROW)
                return open_value(session, row, identity, fault);
        return rc == SQLITE_DONE ? 0 : sqlite_fault(session, rc, NULL, fault);
}

/* ---- writing ---- */

/* `value` NULL: removes the row. */
static int put(struct backend_session *session, const char *field, const uint8_t *value, size_t len,
               struct fault *fault)
{
        sqlite3_stmt *statement = NULL;
        int error = sqlite_keep(session, &statement, fault,
                                value ? "INSERT OR REPLACE INTO gramd_sealed (field, value) VALUES (?2, ?1)"
                                      : "DELETE FROM gramd_sealed WHERE field = ?2");

        if (error)
                return error;
        if (value)
                sqlite3_bind_blob(statement, 1, value, (int)len, SQLITE_STATIC);
        sqlite3_bind_text(statement, 2, field, -1, SQLITE_STATIC);
        return sqlite_run(session, statement, fault);
}

int sqlite_store_sealed(struct backend_session *session, const struct identity *identity, struct fault *fault)
{
        uint8_t sealed[SEALED_KEY_BYTES];

        session->seal.is_due = false; /* the caller empties the column */
        session->seal.has_key = identity_has(identity, FIELD_AUTH_KEY);
        if (!session->seal.has_key)
                return put(session, field_name, NULL, 0, fault);
        if (keyring_seal(session->env->keyring, session->seal.id, field_name, identity->auth_key,
                         AUTH_KEY_BYTES, sealed))
                return fault_set(fault, BACKEND_E_STORAGE,
                                 "session '%s': it is sealed, and this daemon has no key to seal with",
                                 session->name);
        sealed_key_id(sealed, sizeof(sealed), session->seal.by);
        return put(session, field_name, sealed, sizeof(sealed), fault);
}

static bool can_seal(const struct backend_session *session)
{
        uint8_t id[KEY_ID_BYTES];

        return keyring_id(session->env->keyring, 0, id);
}

static int begin_sealing(struct backend_session *session, struct fault *fault)
{
        int error = sqlite_need_extra(session, EXTRA_SEALED, fault);

        if (error)
                return error;
        session->seal.on = true;
        session_id_new(session->seal.id);
        return put(session, "id", session->seal.id, sizeof(session->seal.id), fault);
}

static int end_sealing(struct backend_session *session, struct fault *fault)
{
        session->seal = (struct session_seal){ 0 };
        return sqlite_exec(session, fault, "DELETE FROM gramd_sealed");
}

int sqlite_change_sealing(struct backend_session *session, enum sealing sealing,
                          const struct identity *identity, struct fault *fault)
{
        struct session_seal *seal = &session->seal;
        int error = 0;

        if (!session->path)
                return fault_set(fault, BACKEND_E_OPTION, "session '%s': it is in memory: nothing is stored",
                                 session->name);
        if (sealing != SEALING_OFF && !can_seal(session))
                return fault_set(fault, BACKEND_E_OPTION,
                                 "session '%s': this daemon has no key to seal with; see the option key-file",
                                 session->name);
        if (sealing == SEALING_OFF && session->env->config->require_sealed)
                return fault_set(fault, BACKEND_E_OPTION,
                                 "session '%s': require-sealed is set, so it stays sealed", session->name);
        if (sealing == SEALING_ANEW && !seal->is_due &&
            (!seal->on || !seal->has_key || keyring_is_current(session->env->keyring, seal->by)))
                return 0;
        seal->purge = true;
        if (sealing == SEALING_ON && seal->on && !seal->is_due)
                return 0;
        if (sealing == SEALING_ON && !seal->on)
                error = begin_sealing(session, fault);
        else if (sealing == SEALING_OFF && seal->on)
                error = end_sealing(session, fault);
        return error ? error : sqlite_store_fields(session, FIELD_BIT(FIELD_AUTH_KEY), identity, fault);
}

int sqlite_seal_new(struct backend_session *session, struct fault *fault)
{
        uint8_t id[SESSION_ID_BYTES];
        char hex[2 * SESSION_ID_BYTES + 1];

        if (!can_seal(session))
                return 0;
        session_id_new(id);
        sodium_bin2hex(hex, sizeof(hex), id, sizeof(id));
        return sqlite_exec(session, fault, "%s; INSERT INTO gramd_sealed (field, value) VALUES ('id', x'%s')",
                           extra_tables[EXTRA_SEALED].ddl, hex);
}

/*
 * Former values are in free parts of the file, and in its log. VACUUM copies only what is in use.
 * Outside a transaction.
 */
static int purge_once(struct backend_session *session, struct fault *fault)
{
        int error = sqlite_enter(session, fault);

        if (error)
                return error;
        sqlite_forget_statements(session);
        sqlite_room_share(session->env);
        sqlite3_limit(session->db, SQLITE_LIMIT_ATTACHED, 1); /* VACUUM attaches its copy */
        error = sqlite_exec(session, fault, "VACUUM");
        sqlite3_limit(session->db, SQLITE_LIMIT_ATTACHED, 0);
        if (!error)
                error = sqlite_write_back(session, fault);
        sqlite_room_done(session->env);
        return error;
}

int sqlite_purge(struct backend_session *session, struct fault *fault)
{
        const struct backend_config *config = session->env->config;
        struct fault why;
        int error;

        if (!session->path || !session->seal.purge)
                return 0;
        session->seal.purge = false;
        error = purge_once(session, &why);
        if (error && sqlite_await_room(session))
                error = purge_once(session, &why);
        session->unsynced = true;
        if (!error)
                return 0;
        fault_set(fault, error,
                  "session '%s': that is done, but its file may still have the key in the clear, in free "
                  "parts: "
                  "it could not be copied. `gramctl seal '%s'` tries that again",
                  session->name, session->name);
        if (config->log)
                config->log(config->log_arg, LOG_WARNING, fault->text);
        return error;
}

/* ---- opening ---- */

int sqlite_seal_at_open(struct backend_session *session, bool wanted, const struct identity *identity,
                        struct fault *fault)
{
        int error;

        if (session->seal.on ? !session->seal.is_due || !can_seal(session) : !wanted)
                return 0;
        error = sqlite_begin(session, fault);
        if (error)
                return error;
        if (session->seal.on) {
                error = sqlite_store_fields(session, FIELD_BIT(FIELD_AUTH_KEY), identity, fault);
                session->seal.purge = true;
        } else {
                error = sqlite_change_sealing(session, SEALING_ON, identity, fault);
        }
        error = sqlite_end(session, error, fault);
        if (!error)
                sqlite_purge(session, fault); /* it has told of a failure itself */
        return error;
}

int sqlite_check_sealed(struct backend_session *session, bool wanted, struct fault *fault)
{
        if (!session->path || !session->env->config->require_sealed ||
            (session->seal.on && !session->seal.is_due) ||
            ((wanted || session->seal.on) && can_seal(session)))
                return 0;
        return fault_set(fault, BACKEND_E_STORAGE,
                         "session '%s': it is not sealed, and require-sealed is set: `gramctl seal '%s'`",
                         session->name, session->name);
}

void sqlite_describe_seal(const struct backend_session *session, char text[KEY_ID_TEXT_BYTES])
{
        uint8_t id[KEY_ID_BYTES];

        *text = '\0';
        if (!session->path || !session->seal.on || session->seal.is_due)
                return;
        memcpy(id, session->seal.by, sizeof(id));
        if (!session->seal.has_key)
                keyring_id(session->env->keyring, 0, id);
        key_id_text(id, text);
}
