/*
 * Reading the key-value area: the table gramd_kv. Keys are blobs, so that they compare by bytes. The values
 * of a sealed session are sealed, each bound to the session and to its key. A row whose key gramd would not
 * have written is skipped; a value is damaged then.
 */

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "kv.h"

_Static_assert(KV_KEY_MAX_BYTES == 255, "SQLITE_KV_ROW says so");

struct seal_terms sqlite_kv_terms(const struct backend_session *session, struct fault *fault)
{
        return (struct seal_terms){
                .keyring = session->env->keyring,
                .session = session->name,
                .fault = fault,
        };
}

void sqlite_scratch_free(uint8_t **scratch)
{
        if (*scratch)
                sodium_memzero(*scratch, SQLITE_SCRATCH_BYTES);
        free(*scratch);
}

int sqlite_scratch_new(const struct backend_session *session, uint8_t **scratch, struct fault *fault)
{
        *scratch = malloc(SQLITE_SCRATCH_BYTES);
        return *scratch ? 0 : sqlite_fault_memory(session, fault);
}

void sqlite_bind_bytes(sqlite3_stmt *statement, int at, struct slice bytes)
{
        sqlite3_bind_blob64(statement, at, bytes.data, bytes.len, SQLITE_STATIC);
}

struct slice sqlite_blob(sqlite3_stmt *row, int at, size_t least, size_t most)
{
        struct slice bytes = SLICE_NONE;

        if (sqlite3_column_type(row, at) != SQLITE_BLOB)
                return SLICE_NONE;
        bytes.len = (size_t)sqlite3_column_bytes(row, at);
        if (bytes.len < least || bytes.len > most)
                return SLICE_NONE;
        bytes.data = sqlite3_column_blob(row, at);
        return bytes.len > 0 ? bytes : slice_of("");
}

static bool begins_with(struct slice key, struct slice prefix)
{
        return prefix.len == 0 || (key.len >= prefix.len && memcmp(key.data, prefix.data, prefix.len) == 0);
}

enum { ROW_NONE = 1, ROW_BEYOND = 2 }; /* it has no key; its key does not begin with the prefix */

/* Reads the columns key, value, expires. A sealed value is opened into `scratch`. */
static int read_row(struct backend_session *session, sqlite3_stmt *row, struct slice prefix, uint8_t *scratch,
                    struct kv_value *value, struct fault *fault)
{
        const struct seal_terms terms = sqlite_kv_terms(session, fault);
        struct slice stored = sqlite_blob(row, 1, 0, SQLITE_SCRATCH_BYTES);
        struct slice key = sqlite_blob(row, 0, 1, KV_KEY_MAX_BYTES);

        if (sqlite3_errcode(session->db) == SQLITE_NOMEM)
                return sqlite_fault_memory(session, fault);
        if (!begins_with(key, prefix))
                return ROW_BEYOND;
        if (!key.data || !slice_is_utf8(key))
                return ROW_NONE;
        if (!stored.data)
                return fault_set_value(fault, BACKEND_E_CORRUPT, session->name, key, "is damaged");
        value->key = key;
        value->value = stored;
        value->expires_ms =
                sqlite3_column_type(row, 2) == SQLITE_INTEGER ? sqlite3_column_int64(row, 2) : INT64_MAX;
        return session->seal.on ? seal_open_kv(&terms, &session->seal, key, stored, scratch, &value->value)
                                : 0;
}

int sqlite_kv_done(struct backend_session *session, sqlite3_stmt *rows, int rc, int wrong,
                   struct fault *fault)
{
        struct fault ignored;
        int error = sqlite_done(session, rows, rc, wrong < 0 ? &ignored : fault);

        return wrong < 0 ? wrong : error;
}

static void bind_search(const struct backend_session *session, sqlite3_stmt *statement, struct slice key)
{
        sqlite_bind_bytes(statement, 1, key);
        sqlite3_bind_int64(statement, 2, KV_VALUE_MAX_BYTES + (int64_t)sqlite_kv_overhead(session));
}

/* ---- one key ---- */

int sqlite_kv_find(struct backend_session *session, struct slice key, struct kv_search *search,
                   struct fault *fault)
{
        struct kv_value value = { .number = search->number };
        sqlite3_stmt *row = NULL;
        int error = sqlite_statement(session, STATEMENT_KV_GET, &row, fault);
        int wrong = 0;
        int rc;

        if (error)
                return error;
        bind_search(session, row, key);
        rc = sqlite3_step(row);
        if (rc == SQLITE_ROW) {
                wrong = read_row(session, row, key, search->scratch, &value, fault);
                search->is_unreadable = wrong < 0;
                if (!wrong)
                        search->enough = !search->found(search->arg, &value);
        }
        return sqlite_kv_done(session, row, rc, wrong, fault);
}

int sqlite_kv_get(struct backend_session *session, const struct slice *keys, size_t n, kv_fn found, void *arg,
                  struct fault *fault)
{
        SQLITE_SCRATCH scratch = NULL;
        struct kv_search search = { .found = found, .arg = arg };
        int error = sqlite_enter(session, fault);

        sqlite_budget_refresh(session);
        if (error || !sqlite_has_extra(session, EXTRA_KV))
                return error;
        error = sqlite_scratch_new(session, &scratch, fault);
        search.scratch = scratch;
        for (; !error && !search.enough && search.number < n; search.number++)
                error = sqlite_kv_find(session, keys[search.number], &search, fault);
        return error;
}

/* ---- many ---- */

/* The first key that may be reported: `prefix` itself, or the one that comes next after `after`. */
static struct slice first_key(struct slice prefix, struct slice after, char bytes[KV_KEY_MAX_BYTES + 1])
{
        bool is_after = after.data && slice_compare(after, prefix) >= 0;
        struct slice from = is_after ? after : prefix;

        memcpy(bytes, from.data, from.len);
        bytes[from.len] = '\0';
        return (struct slice){ bytes, from.len + is_after };
}

static int report(struct backend_session *session, sqlite3_stmt *rows, struct slice prefix,
                  const struct kv_search *search, struct fault *fault)
{
        int rc;

        while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
                struct kv_value value = { 0 };
                int wrong = read_row(session, rows, prefix, search->scratch, &value, fault);

                if (wrong < 0)
                        return sqlite_kv_done(session, rows, rc, wrong, fault);
                if (wrong == ROW_BEYOND || (!wrong && !search->found(search->arg, &value)))
                        break;
        }
        return sqlite_kv_done(session, rows, rc, 0, fault);
}

int sqlite_kv_scan(struct backend_session *session, struct slice prefix, struct slice after, kv_fn found,
                   void *arg, struct fault *fault)
{
        struct kv_search search = { .found = found, .arg = arg };
        char first[KV_KEY_MAX_BYTES + 1];
        SQLITE_SCRATCH scratch = NULL;
        sqlite3_stmt *rows = NULL;
        int error = sqlite_enter(session, fault);

        sqlite_budget_refresh(session);
        if (error || !sqlite_has_extra(session, EXTRA_KV))
                return error;
        error = sqlite_scratch_new(session, &scratch, fault);
        if (!error)
                error = sqlite_statement(session, STATEMENT_KV_SCAN, &rows, fault);
        if (error)
                return error;
        search.scratch = scratch;
        bind_search(session, rows, first_key(prefix, after, first));
        return report(session, rows, prefix, &search, fault);
}

int sqlite_kv_due(struct backend_session *session, int64_t *due_ms, struct fault *fault)
{
        sqlite3_stmt *row = NULL;
        int error = sqlite_enter(session, fault);
        int rc;

        *due_ms = INT64_MAX;
        if (!error && sqlite_has_extra(session, EXTRA_KV))
                error = sqlite_statement(session, STATEMENT_KV_DUE, &row, fault);
        if (error || !row)
                return error;
        rc = sqlite3_step(row);
        if (rc == SQLITE_ROW)
                *due_ms = sqlite3_column_int64(row, 0);
        return sqlite_done(session, row, rc, fault);
}
