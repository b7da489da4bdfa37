/*
 * The identity fields: in the one row of `sessions`, and in gramd_fields if they have no column or their
 * column cannot hold the value. A row of gramd_fields says what gramd left in the library's column (`was`).
 * If the column holds something else now, the library has written since, and the row does not count.
 */

#include <assert.h>
#include <stdio.h>

#include "../../proto/datacentre.h"
#include "sqlite.h"

static bool has_column(const struct backend_session *session, enum field field)
{
        return session->columns & FIELD_BIT(field);
}

/* Telethon stores the account's own id in the row of `entities` with id 0. */
static bool in_row_zero(const struct backend_session *session, enum field field)
{
        return field == FIELD_USER_ID && session->peers.own_row_zero && !has_column(session, field);
}

/* ---- reading ---- */

static bool read_number(const struct field_info *info, sqlite3_stmt *statement, int at, int64_t *value)
{
        if (!sqlite_integer(statement, at, value))
                return false;
        if (info->type == FIELD_BOOL)
                *value = *value != 0;
        return *value >= info->min && *value <= info->max;
}

/* False: a value that cannot be served, or no memory. */
static bool read_cell(enum field field, sqlite3_stmt *statement, int at, struct identity *identity,
                      bool *no_memory)
{
        const struct field_info *info = &field_infos[field];
        int type = sqlite3_column_type(statement, at);
        struct slice text;
        int64_t number;

        if (type == SQLITE_NULL) {
                if (!info->never_nil)
                        identity_set_nil(identity, field);
                return !info->never_nil;
        }
        switch (info->type) {
        case FIELD_KEY:
                if (type != SQLITE_BLOB)
                        return false;
                if (sqlite3_column_bytes(statement, at) == 0)
                        identity_set_nil(identity, field);
                else if (sqlite3_column_bytes(statement, at) == AUTH_KEY_BYTES)
                        identity_set_key(identity, sqlite3_column_blob(statement, at));
                else
                        return false;
                return true;
        case FIELD_TEXT:
                text = sqlite_text(statement, at, TEXT_MAX_BYTES);
                if (!text.data)
                        return false;
                *no_memory = !identity_set_address(identity, text);
                return !*no_memory;
        case FIELD_NUMBER:
        case FIELD_BOOL:
                if (!read_number(info, statement, at, &number))
                        return false;
                identity_set_number(identity, field, number);
                return true;
        }
        return false;
}

static int load_cell(const struct backend_session *session, enum field field, sqlite3_stmt *statement, int at,
                     struct identity *identity, struct fault *fault)
{
        bool no_memory = false;

        if (read_cell(field, statement, at, identity, &no_memory))
                return 0;
        if (no_memory || sqlite3_errcode(session->db) == SQLITE_NOMEM)
                return sqlite_fault_memory(session, fault);
        return fault_session(fault, BACKEND_E_CORRUPT, session->name, "its file has an invalid %s",
                             field_infos[field].name);
}

static int load_row(struct backend_session *session, struct identity *identity, struct fault *fault)
{
        SQLITE_STATEMENT row = NULL;
        int error = sqlite_prepare(session, &row, fault, "SELECT * FROM sessions ORDER BY dc_id LIMIT 1");
        int rc;

        if (error)
                return error;
        rc = sqlite3_step(row);
        if (rc == SQLITE_DONE && session->dialect->may_lack_session)
                return 0;
        if (rc == SQLITE_DONE)
                return fault_session(fault, BACKEND_E_CORRUPT, session->name, "its file holds no session");
        if (rc != SQLITE_ROW)
                return sqlite_fault(session, rc, NULL, fault);
        for (int at = 0; !error && at < sqlite3_column_count(row); at++) {
                enum field field = field_by_name(slice_of(sqlite3_column_name(row, at)));

                if (field != FIELD_COUNT)
                        error = load_cell(session, field, row, at, identity, fault);
        }
        return error;
}

enum { EXPRESSION_BYTES = 96 };

/* SQL for what the library's column holds now; `otherwise` if there is no column. */
static const char *column_now(const struct backend_session *session, enum field field, const char *otherwise,
                              char text[EXPRESSION_BYTES])
{
        if (in_row_zero(session, field))
                return "(SELECT hash FROM entities WHERE id = 0)";
        if (!has_column(session, field))
                return otherwise;
        snprintf(text, EXPRESSION_BYTES, "(SELECT %s FROM sessions ORDER BY dc_id LIMIT 1)",
                 field_infos[field].name);
        return text;
}

static int load_kept(struct backend_session *session, struct identity *identity, struct fault *fault)
{
        int error = 0;

        for (int i = 0; !error && i < FIELD_COUNT; i++) {
                SQLITE_STATEMENT row = NULL;
                char now[EXPRESSION_BYTES];
                int rc;

                error = sqlite_prepare(session, &row, fault,
                                       "SELECT value FROM gramd_fields WHERE field = %Q AND was IS %s",
                                       field_infos[i].name, column_now(session, (enum field)i, "was", now));
                if (error)
                        break;
                rc = sqlite3_step(row);
                if (rc == SQLITE_ROW)
                        error = load_cell(session, (enum field)i, row, 0, identity, fault);
                else if (rc != SQLITE_DONE)
                        error = sqlite_fault(session, rc, NULL, fault);
        }
        return error;
}

static int load_row_zero(struct backend_session *session, struct identity *identity, struct fault *fault)
{
        SQLITE_STATEMENT row = NULL;
        int error = sqlite_prepare(session, &row, fault, "SELECT hash FROM entities WHERE id = 0");
        bool no_memory;
        int rc;

        if (error)
                return error;
        rc = sqlite3_step(row);
        if (rc == SQLITE_ROW)
                read_cell(FIELD_USER_ID, row, 0, identity, &no_memory);
        return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : sqlite_fault(session, rc, NULL, fault);
}

int sqlite_load_owner(struct backend_session *session, char text[OWNER_TEXT_BYTES], struct fault *fault)
{
        SQLITE_STATEMENT row = NULL;
        struct slice owner;
        int error;
        int rc;

        text[0] = '\0';
        if (!sqlite_has_extra(session, EXTRA_FIELDS))
                return 0;
        error = sqlite_prepare(session, &row, fault, "SELECT value FROM gramd_fields WHERE field = 'owner'");
        if (error)
                return error;
        rc = sqlite3_step(row);
        if (rc != SQLITE_ROW)
                return rc == SQLITE_DONE ? 0 : sqlite_fault(session, rc, NULL, fault);
        owner = sqlite_text(row, 0, OWNER_TEXT_BYTES - 1);
        if (!owner.len || memchr(owner.data, '\0', owner.len)) /* it cannot be read: nobody is the owner */
                owner = slice_of(":");
        memcpy(text, owner.data, owner.len);
        text[owner.len] = '\0';
        return 0;
}

int sqlite_store_owner(struct backend_session *session, struct slice owner, struct fault *fault)
{
        sqlite3_stmt *put = NULL;
        int error;

        if (!owner.data) {
                if (!sqlite_has_extra(session, EXTRA_FIELDS))
                        return 0;
                return sqlite_exec(session, fault, "DELETE FROM gramd_fields WHERE field = 'owner'");
        }
        error = sqlite_need_extra(session, EXTRA_FIELDS, fault);
        if (!error)
                error = sqlite_keep(session, &put, fault,
                                    "INSERT INTO gramd_fields (field, value) VALUES ('owner', ?1)"
                                    " ON CONFLICT (field) DO UPDATE SET value = excluded.value");
        if (error)
                return error;
        sqlite_bind_slice(put, 1, owner);
        return sqlite_run(session, put, fault);
}

int sqlite_put_owner(struct backend_session *session, struct fault *fault)
{
        if (!session->new_owner.len)
                return 0;
        return sqlite_exec(
                session, fault, "%s; INSERT INTO gramd_fields (field, value) VALUES ('owner', %.*Q)",
                extra_tables[EXTRA_FIELDS].ddl, (int)session->new_owner.len, session->new_owner.data);
}

int sqlite_load_fields(struct backend_session *session, struct identity *identity, struct fault *fault)
{
        int error = load_row(session, identity, fault);

        if (!error && in_row_zero(session, FIELD_USER_ID))
                error = load_row_zero(session, identity, fault);
        if (!error && sqlite_has_extra(session, EXTRA_FIELDS))
                error = load_kept(session, identity, fault);
        session->has_key = identity_has(identity, FIELD_AUTH_KEY);
        return error ? error : sqlite_load_sealed(session, identity, fault);
}

/* ---- writing ---- */

static void bind_field(sqlite3_stmt *statement, int at, const struct identity *identity, enum field field)
{
        if (!identity_has(identity, field))
                sqlite3_bind_null(statement, at);
        else if (field_infos[field].type == FIELD_KEY)
                sqlite3_bind_blob(statement, at, identity->auth_key, AUTH_KEY_BYTES, SQLITE_STATIC);
        else if (field_infos[field].type == FIELD_TEXT)
                sqlite_bind_slice(statement, at, slice_of(identity->server_address));
        else
                sqlite3_bind_int64(statement, at, identity->number[field]);
}

/* Binds what stands for nil. True: it does not read back as nil, so gramd_fields has to say so. */
static bool bind_nil(const struct backend_session *session, sqlite3_stmt *statement, enum field field)
{
        enum field_type type = field_infos[field].type;
        bool refuses = session->not_null & FIELD_BIT(field);

        if (type == FIELD_KEY && (refuses || session->dialect->empty_key)) {
                sqlite3_bind_zeroblob(statement, 1, 0);
                return false;
        }
        if (!refuses)
                sqlite3_bind_null(statement, 1);
        else if (type == FIELD_TEXT)
                sqlite3_bind_text(statement, 1, "", 0, SQLITE_STATIC);
        else
                sqlite3_bind_int64(statement, 1, 0);
        return refuses;
}

/*
 * A value of another length: else SQLite would keep the former cell in the memory where it builds cells. The
 * next checkpoint clears the log.
 */
static int overwrite_key(struct backend_session *session, struct fault *fault)
{
        sqlite3_stmt *update = NULL;
        int error = sqlite_keep(session, &update, fault, "UPDATE sessions SET auth_key = zeroblob(?1)");

        if (error)
                return error;
        session->log.shows_key = session->path;
        sqlite3_bind_int(update, 1, AUTH_KEY_BYTES + 64);
        return sqlite_run(session, update, fault);
}

/* Writes the library's column. `*keep`: it does not hold the exact value. */
static int store_column(struct backend_session *session, enum field field, const struct identity *identity,
                        bool *keep, struct fault *fault)
{
        sqlite3_stmt *update = NULL;
        int error =
                sqlite_keep(session, &update, fault, "UPDATE sessions SET %w = ?1", field_infos[field].name);

        *keep = false;
        if (error)
                return error;
        if (identity_has(identity, field))
                bind_field(update, 1, identity, field);
        else
                *keep = bind_nil(session, update, field);
        return sqlite_run(session, update, fault);
}

static int store_kept(struct backend_session *session, enum field field, const struct identity *identity,
                      struct fault *fault)
{
        sqlite3_stmt *put = NULL;
        char now[EXPRESSION_BYTES];
        int error = sqlite_need_extra(session, EXTRA_FIELDS, fault);

        if (!error)
                error = sqlite_keep(
                        session, &put, fault,
                        "INSERT INTO gramd_fields (field, value, was) VALUES (%Q, ?1, %s)"
                        " ON CONFLICT (field) DO UPDATE SET value = excluded.value, was = excluded.was",
                        field_infos[field].name, column_now(session, field, "NULL", now));
        if (error)
                return error;
        bind_field(put, 1, identity, field);
        return sqlite_run(session, put, fault);
}

/* In gramd_sealed. The library's column says that there is none. */
static int store_sealed(struct backend_session *session, const struct identity *identity, struct fault *fault)
{
        struct identity none;
        bool keep;
        int error = sqlite_store_sealed(session, identity, fault);

        identity_init(&none);
        return error ? error : store_column(session, FIELD_AUTH_KEY, &none, &keep, fault);
}

static int store_field(struct backend_session *session, enum field field, const struct identity *identity,
                       struct fault *fault)
{
        bool keep = identity_has(identity, field) || in_row_zero(session, field);
        sqlite3_stmt *drop = NULL;
        int error = 0;

        if (field == FIELD_AUTH_KEY && session->has_key && has_column(session, field))
                error = overwrite_key(session, fault);
        if (!error && field == FIELD_AUTH_KEY && session->seal.on)
                return store_sealed(session, identity, fault);
        if (field == FIELD_AUTH_KEY)
                session->has_key |= identity_has(identity, field);
        if (!error && has_column(session, field))
                error = store_column(session, field, identity, &keep, fault);
        if (error)
                return error;
        if (keep)
                return store_kept(session, field, identity, fault);
        if (!sqlite_has_extra(session, EXTRA_FIELDS))
                return 0;
        error = sqlite_keep(session, &drop, fault, "DELETE FROM gramd_fields WHERE field = %Q",
                            field_infos[field].name);
        return error ? error : sqlite_run(session, drop, fault);
}

/*
 * An address in gramd_fields has no column yet. The library's migration will fill that column with the
 * address of the session's data centre. `was` is set to that, so that gramd can tell this from an address
 * that the library has chosen.
 */
static int predict_migration(struct backend_session *session, struct fault *fault)
{
        const struct datacentre *dc;
        int64_t dc_id = 0;
        int64_t test = 0;
        int error;

        if (!sqlite_has_extra(session, EXTRA_FIELDS) || has_column(session, FIELD_SERVER_ADDRESS))
                return 0;
        error = sqlite_number(session, &dc_id, fault, "SELECT dc_id FROM sessions");
        if (!error)
                error = sqlite_number(session, &test, fault, "SELECT test_mode FROM sessions");
        if (error)
                return error;
        dc = datacentre_find(dc_id, test != 0);
        if (!dc)
                return 0;
        return sqlite_exec(session, fault,
                           "UPDATE gramd_fields SET was = %Q WHERE field = 'server_address';"
                           "UPDATE gramd_fields SET was = %d WHERE field = 'port'",
                           dc->address, dc->port);
}

/* Libraries keep one row. Its key is the data centre, so a changed one may have left a second row. */
static int one_row(struct backend_session *session, struct fault *fault)
{
        static const char drop_others[] =
                "DELETE FROM sessions WHERE dc_id <> (SELECT min(dc_id) FROM sessions)";
        static const char make_one[] =
                "INSERT INTO sessions (dc_id) SELECT 2 WHERE NOT EXISTS (SELECT 1 FROM sessions)";
        sqlite3_stmt *statement = NULL;
        int error = sqlite_keep(session, &statement, fault, drop_others);

        if (!error)
                error = sqlite_run(session, statement, fault);
        if (error || !session->dialect->may_lack_session)
                return error;
        error = sqlite_keep(session, &statement, fault, make_one);
        return error ? error : sqlite_run(session, statement, fault);
}

int sqlite_store_fields(struct backend_session *session, unsigned fields, const struct identity *identity,
                        struct fault *fault)
{
        const unsigned of_address = FIELD_BIT(FIELD_DC_ID) | FIELD_BIT(FIELD_TEST_MODE) |
                                    FIELD_BIT(FIELD_SERVER_ADDRESS) | FIELD_BIT(FIELD_PORT);
        int error = one_row(session, fault);

        assert(!sqlite3_get_autocommit(session->db) || error);
        for (int i = 0; !error && i < FIELD_COUNT; i++)
                if (fields & FIELD_BIT(i))
                        error = store_field(session, (enum field)i, identity, fault);
        return error || !(fields & of_address) ? error : predict_migration(session, fault);
}

int sqlite_migrate_fields(struct backend_session *session, const struct identity *identity,
                          struct fault *fault)
{
        unsigned kept = 0;
        int error = 0;

        if (!sqlite_has_extra(session, EXTRA_FIELDS))
                return 0;
        for (int i = 0; !error && i < FIELD_COUNT; i++) {
                int64_t there = 0;

                if (!has_column(session, (enum field)i))
                        continue;
                error = sqlite_number(session, &there, fault, "SELECT 1 FROM gramd_fields WHERE field = %Q",
                                      field_infos[i].name);
                if (there)
                        kept |= FIELD_BIT(i);
        }
        return error || !kept ? error : sqlite_store_fields(session, kept, identity, fault);
}
