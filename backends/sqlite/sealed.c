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

#include "kv.h"

static const char field_name[] = "auth_key";

static struct seal_terms terms_of(const struct backend_session *session, struct fault *fault)
{
        return (struct seal_terms){
                .keyring = session->env->keyring,
                .required = session->path && session->env->config->require_sealed,
                .session = session->name,
                .fault = fault,
        };
}

/* ---- reading ---- */

static int read_id(struct backend_session *session, struct fault *fault)
{
        SQLITE_STATEMENT row = NULL;
        int error = sqlite_prepare(session, &row, fault, "SELECT value FROM gramd_sealed WHERE field = 'id'");
        int64_t left = 0;
        int rc;

        if (error)
                return error;
        rc = sqlite3_step(row);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE)
                return sqlite_fault(session, rc, NULL, fault);
        if (rc == SQLITE_DONE)
                error = sqlite_number(session, &left, fault, "SELECT count(*) FROM gramd_sealed");
        if (error)
                return error;
        if (rc == SQLITE_DONE && left == 0)
                return 0; /* the daemon was killed after it unsealed the session */
        if (rc == SQLITE_DONE || sqlite3_column_type(row, 0) != SQLITE_BLOB ||
            sqlite3_column_bytes(row, 0) != SESSION_ID_BYTES)
                return fault_session(fault, BACKEND_E_CORRUPT, session->name,
                                     "its table gramd_sealed has no id");
        memcpy(session->seal.id, sqlite3_column_blob(row, 0), SESSION_ID_BYTES);
        session->seal.on = true;
        return 0;
}

int sqlite_load_sealed(struct backend_session *session, struct identity *identity, struct fault *fault)
{
        const struct seal_terms terms = terms_of(session, fault);
        struct slice sealed = SLICE_NONE;
        SQLITE_STATEMENT row = NULL;
        int error;
        int rc;

        if (!sqlite_has_extra(session, EXTRA_SEALED))
                return 0;
        error = read_id(session, fault);
        if (error || !session->seal.on)
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
        if (rc != SQLITE_ROW)
                return rc == SQLITE_DONE ? 0 : sqlite_fault(session, rc, NULL, fault);
        if (sqlite3_column_type(row, 0) == SQLITE_BLOB) {
                sealed.data = sqlite3_column_blob(row, 0);
                sealed.len = (size_t)sqlite3_column_bytes(row, 0);
        }
        return seal_open(&terms, &session->seal, sealed, identity);
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
        const struct seal_terms terms = terms_of(session, fault);
        uint8_t sealed[SEALED_KEY_BYTES];
        int error = seal_close(&terms, &session->seal, identity, sealed); /* the caller empties the column */

        if (error)
                return error;
        return put(session, field_name, session->seal.has_key ? sealed : NULL, sizeof(sealed), fault);
}

static int begin_sealing(struct backend_session *session, struct fault *fault)
{
        int error = sqlite_need_extra(session, EXTRA_SEALED, fault);

        if (error)
                return error;
        session->seal.on = true;
        session_id_new(session->seal.id);
        error = put(session, "id", session->seal.id, sizeof(session->seal.id), fault);
        return error ? error : sqlite_convert_kv(session, SEALING_ON, fault);
}

static int end_sealing(struct backend_session *session, struct fault *fault)
{
        int error = sqlite_convert_kv(session, SEALING_OFF, fault);

        if (error)
                return error;
        session->seal = (struct seal){ 0 };
        return sqlite_exec(session, fault, "DELETE FROM gramd_sealed");
}

int sqlite_change_sealing(struct backend_session *session, enum sealing sealing,
                          const struct identity *identity, struct fault *fault)
{
        const struct seal_terms terms = terms_of(session, fault);
        int error;

        if (!session->path)
                return fault_session(fault, BACKEND_E_OPTION, session->name,
                                     "it is in memory: nothing is stored");
        error = seal_check_change(&terms, &session->seal, sealing);
        if (error < 0)
                return error;
        if (sealing == SEALING_ON || (sealing == SEALING_ANEW && !error)) /* a former purge may have failed */
                session->purge = true;
        if (error) /* of the auth key. Values may still be sealed with a former key */
                return sealing == SEALING_ANEW && session->seal.on
                               ? sqlite_convert_kv(session, sealing, fault)
                               : 0;
        if (sealing == SEALING_ON && !session->seal.on)
                error = begin_sealing(session, fault);
        else if (sealing == SEALING_OFF)
                error = end_sealing(session, fault);
        else if (sealing == SEALING_ANEW)
                error = sqlite_convert_kv(session, sealing, fault);
        return error ? error : sqlite_store_fields(session, FIELD_BIT(FIELD_AUTH_KEY), identity, fault);
}

int sqlite_seal_new(struct backend_session *session, struct fault *fault)
{
        uint8_t id[SESSION_ID_BYTES], key[KEY_ID_BYTES];
        char hex[2 * SESSION_ID_BYTES + 1];

        if (!keyring_id(session->env->keyring, 0, key))
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
        char word[SHELL_WORD_BYTES];
        struct fault why;
        int error;

        if (!session->path || !session->purge)
                return 0;
        session->purge = false;
        error = purge_once(session, &why);
        if (error && sqlite_await_room(session))
                error = purge_once(session, &why);
        session->unsynced = true;
        if (!error)
                return 0;
        fault_session(fault, error, session->name,
                      "that is done, but its file may still have the key in the clear, in free "
                      "parts: "
                      "it could not be copied. `gramctl seal %s` tries that again",
                      fault_shell_word(session->name, word));
        if (config->log)
                config->log(config->log_arg, LOG_WARNING, fault->text);
        return error;
}

/* ---- opening ---- */

int sqlite_seal_at_open(struct backend_session *session, bool wanted, const struct identity *identity,
                        struct fault *fault)
{
        const struct seal_terms terms = terms_of(session, fault);
        int error;

        if (!seal_is_to_begin(&terms, &session->seal, wanted))
                return 0;
        error = sqlite_begin(session, fault);
        if (error)
                return error;
        if (session->seal.on) {
                error = sqlite_store_fields(session, FIELD_BIT(FIELD_AUTH_KEY), identity, fault);
                session->purge = true;
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
        const struct seal_terms terms = terms_of(session, fault);

        return seal_check(&terms, &session->seal, wanted);
}

#define IS_FORMER "iif(" SQLITE_KV_VALUE("%d") ", substr(value, 2, %d) <> x'%s', false)"

/* The id of a former key that a value of the key-value area is sealed with: `text` stays if there is none. */
static int find_former(struct backend_session *session, char text[KEY_ID_TEXT_BYTES], struct fault *fault)
{
        uint8_t current[KEY_ID_BYTES];
        char hex[KEY_ID_TEXT_BYTES];
        SQLITE_STATEMENT row = NULL;
        struct slice by;
        int error, rc;

        if (!session->path || !session->seal.on || !sqlite_has_extra(session, EXTRA_KV) ||
            !keyring_id(session->env->keyring, 0, current) ||
            memcmp(current, session->values_by, sizeof(current)) == 0)
                return 0;
        key_id_text(current, hex);
        error = sqlite_prepare(session, &row, fault,
                               "SELECT substr(value, 2, %d) FROM gramd_kv WHERE " IS_FORMER " LIMIT 1",
                               KEY_ID_BYTES, (int)SQLITE_SCRATCH_BYTES, KEY_ID_BYTES, hex);
        if (error)
                return error;
        rc = sqlite3_step(row);
        by = rc == SQLITE_ROW ? sqlite_blob(row, 0, KEY_ID_BYTES, KEY_ID_BYTES) : SLICE_NONE;
        if (by.data)
                key_id_text((const uint8_t *)by.data, text);
        else if (rc == SQLITE_DONE)
                memcpy(session->values_by, current, sizeof(current));
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sqlite_fault(session, rc, NULL, fault);
}

int sqlite_describe_seal(struct backend_session *session, char text[KEY_ID_TEXT_BYTES], struct fault *fault)
{
        const struct seal_terms terms = terms_of(session, NULL);
        const struct seal in_memory = { 0 };

        seal_describe(&terms, session->path ? &session->seal : &in_memory, text);
        return find_former(session, text, fault);
}
