/* What changes the key-value area. All of this runs inside a transaction. */

#include <sodium.h>
#include <string.h>

#include "kv.h"

/* ---- how much there is ---- */

#define BYTES "SELECT coalesce(sum(" SQLITE_KV_BYTES " - %d), 0) FROM gramd_kv WHERE " SQLITE_KV_ROW

static int know_bytes(struct backend_session *session, struct fault *fault)
{
        int error = session->kv_is_counted ? 0
                                           : sqlite_number(session, &session->kv_bytes, fault, BYTES,
                                                           (int)sqlite_kv_overhead(session));

        session->kv_is_counted = !error;
        return error;
}

int sqlite_expire_kv(struct backend_session *session, int64_t now_ms, struct fault *fault)
{
        int64_t gone = 0;
        int error = 0;

        if (!sqlite_has_extra(session, EXTRA_KV))
                return 0;
        if (session->kv_is_counted)
                error = sqlite_number(session, &gone, fault, BYTES " AND " SQLITE_KV_DUE("%lld"),
                                      (int)sqlite_kv_overhead(session), (long long)now_ms);
        if (!error)
                error = sqlite_exec(session, fault,
                                    "DELETE FROM gramd_kv WHERE " SQLITE_KV_ROW " AND " SQLITE_KV_DUE("%lld"),
                                    (long long)now_ms);
        session->kv_bytes -= gone;
        return error;
}

/* By how much the rows make the area larger. */
static int growth(struct backend_session *session, const struct kv_row *rows, size_t n, int64_t *bytes,
                  struct fault *fault)
{
        *bytes = 0;
        for (size_t i = 0; i < n; i++) {
                sqlite3_stmt *row = NULL;
                int error = sqlite_statement(session, STATEMENT_KV_BYTES, &row, fault);
                int rc;

                if (error)
                        return error;
                sqlite_bind_bytes(row, 1, rows[i].key);
                rc = sqlite3_step(row);
                if (rc == SQLITE_ROW)
                        *bytes -= sqlite3_column_int64(row, 0) - (int64_t)sqlite_kv_overhead(session);
                if (rows[i].value.data)
                        *bytes += (int64_t)(rows[i].key.len + rows[i].value.len);
                error = sqlite_done(session, row, rc, fault);
                if (error)
                        return error;
        }
        return 0;
}

/* Counts the rows as stored, if they fit. */
static int make_room(struct backend_session *session, const struct kv_row *rows, size_t n, int64_t now_ms,
                     bool *fits, struct fault *fault)
{
        int64_t max = session->env->config->kv_max;
        int64_t grown = 0;
        int error = know_bytes(session, fault);

        if (!error)
                error = growth(session, rows, n, &grown, fault);
        if (!error && grown > 0 && session->kv_bytes + grown > max) {
                error = sqlite_expire_kv(session, now_ms, fault);
                if (!error)
                        error = growth(session, rows, n, &grown, fault);
        }
        *fits = grown <= 0 || session->kv_bytes + grown <= max;
        session->kv_bytes += *fits ? grown : 0;
        return error;
}

/* ---- writing ---- */

static int tell(const struct backend_session *session, const struct effects *effects, struct effect effect,
                struct fault *fault)
{
        effect.change = effects->change;
        return effects->tell(effects->arg, &effect) ? 0 : sqlite_fault_memory(session, fault);
}

static int refuse(const struct backend_session *session, const struct effects *effects, int refusal,
                  const char *why, struct fault *fault)
{
        return tell(session, effects,
                    (struct effect){ .kind = EFFECT_KV_REFUSED, .error = refusal, .text = slice_of(why) },
                    fault);
}

static int seal_value(struct backend_session *session, struct slice key, struct slice value, uint8_t *sealed,
                      struct slice *stored, struct fault *fault)
{
        const struct seal_terms terms = sqlite_kv_terms(session, fault);
        uint8_t by[KEY_ID_BYTES];
        int error = seal_close_kv(&terms, &session->seal, key, value, sealed, stored);

        if (!error && sealed_key_id(sealed, stored->len, by) &&
            memcmp(by, session->values_by, sizeof(by)) != 0)
                memset(session->values_by, 0, sizeof(session->values_by));
        return error;
}

static int put(struct backend_session *session, const struct kv_row *row, int64_t now_ms, uint8_t *scratch,
               struct fault *fault)
{
        struct slice stored = row->value;
        sqlite3_stmt *statement = NULL;
        int error = sqlite_statement(session, row->value.data ? STATEMENT_KV_PUT : STATEMENT_KV_DELETE,
                                     &statement, fault);

        if (!error && row->value.data && session->seal.on)
                error = seal_value(session, row->key, row->value, scratch, &stored, fault);
        if (error)
                return error;
        sqlite_bind_bytes(statement, 1, row->key);
        if (row->value.data)
                sqlite_bind_bytes(statement, 2, stored);
        if (row->value.data && row->ttl_s)
                sqlite3_bind_int64(statement, 3, now_ms + row->ttl_s * 1000);
        return sqlite_run(session, statement, fault);
}

static bool has_values(const struct kv_row *rows, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (rows[i].value.data)
                        return true;
        return false;
}

/* `*stored`: false if the change is refused, which has been told. */
static int put_all(struct backend_session *session, const struct kv_row *rows, size_t n, int64_t now_ms,
                   const struct effects *effects, bool *stored, struct fault *fault)
{
        SQLITE_SCRATCH scratch = NULL;
        struct fault why;
        int error = sqlite_need_extra(session, EXTRA_KV, fault);

        *stored = false;
        if (!error && session->seal.on && has_values(rows, n)) {
                const struct seal_terms terms = sqlite_kv_terms(session, &why);

                if (seal_check_current(&terms))
                        return refuse(session, effects, BACKEND_E_STORAGE, why.text, fault);
                error = sqlite_scratch_new(session, &scratch, fault);
        }
        if (!error)
                error = make_room(session, rows, n, now_ms, stored, fault);
        if (!error && !*stored) {
                fault_session(&why, BACKEND_E_TOO_LARGE, session->name,
                              "its key-value area has at most %lld bytes (kv-max)",
                              (long long)session->env->config->kv_max);
                return refuse(session, effects, BACKEND_E_TOO_LARGE, why.text, fault);
        }
        for (size_t i = 0; !error && i < n; i++)
                error = put(session, &rows[i], now_ms, scratch, fault);
        return error;
}

int sqlite_put_kv(struct backend_session *session, const struct change *change, const struct effects *effects,
                  struct fault *fault)
{
        bool needed = sqlite_has_extra(session, EXTRA_KV) || has_values(change->kv, change->n);
        bool stored;

        return needed ? put_all(session, change->kv, change->n, change->now_ms, effects, &stored, fault) : 0;
}

/* ---- comparing ---- */

struct comparison {
        const struct kv_swap *swap;
        int64_t now_ms;
        bool is_there;
        bool is_equal;
        bool told; /* what stands */
        const struct effects *effects;
};

static bool compare(void *arg, const struct kv_value *value)
{
        struct comparison *comparison = arg;
        struct effect stands = { .change = comparison->effects->change,
                                 .kind = EFFECT_KV_SWAP,
                                 .text = value->value };

        if (value->expires_ms <= comparison->now_ms)
                return true;
        comparison->is_there = true;
        comparison->is_equal = slice_equal(value->value, comparison->swap->expected);
        comparison->told =
                !comparison->is_equal && comparison->effects->tell(comparison->effects->arg, &stands);
        return true;
}

/* What the key has now, as far as `comparison` wants to know it. */
static int look_up(struct backend_session *session, struct comparison *comparison, bool *is_unreadable,
                   struct fault *fault)
{
        SQLITE_SCRATCH scratch = NULL;
        struct kv_search search = { .found = compare, .arg = comparison };
        int error = sqlite_scratch_new(session, &scratch, fault);

        search.scratch = scratch;
        if (!error && sqlite_has_extra(session, EXTRA_KV))
                error = sqlite_kv_find(session, comparison->swap->row.key, &search, fault);
        *is_unreadable = search.is_unreadable;
        if (!error && !comparison->is_there)
                comparison->is_equal = !comparison->swap->expected.data;
        if (!error && comparison->is_there && !comparison->is_equal && !comparison->told)
                error = sqlite_fault_memory(session, fault);
        return error;
}

int sqlite_swap_kv(struct backend_session *session, const struct change *change,
                   const struct effects *effects, struct fault *fault)
{
        const struct kv_row *row = &change->swap->row;
        struct comparison comparison = { .swap = change->swap, .now_ms = change->now_ms, .effects = effects };
        bool is_unreadable, stored = true;
        int error = look_up(session, &comparison, &is_unreadable, fault);

        if (error && is_unreadable) { /* that is no reason to refuse the other writes of the batch */
                const struct fault why = *fault;

                return refuse(session, effects, error, why.text, fault);
        }
        if (error || comparison.told)
                return error;
        if (comparison.is_equal && (row->value.data || comparison.is_there))
                error = put_all(session, row, 1, change->now_ms, effects, &stored, fault);
        return error || !stored
                       ? error
                       : tell(session, effects,
                              (struct effect){ .kind = EFFECT_KV_SWAP, .done = comparison.is_equal }, fault);
}

/* ---- sealing ---- */

struct stored_row {
        int64_t id;
        char key[KV_KEY_MAX_BYTES];
        size_t key_len;
        uint8_t *value;
        size_t value_len;
};

/* The first row from `row->id` on. `*there`: there is one. */
static int next_row(struct backend_session *session, sqlite3_stmt *rows, struct stored_row *row, bool *there,
                    struct fault *fault)
{
        struct slice key, value;
        int wrong = 0;
        int rc;

        sqlite3_bind_int64(rows, 1, row->id);
        rc = sqlite3_step(rows);
        *there = rc == SQLITE_ROW;
        if (!*there)
                return sqlite_kv_done(session, rows, rc, 0, fault);
        row->id = sqlite3_column_int64(rows, 0);
        key = sqlite_blob(rows, 1, 1, KV_KEY_MAX_BYTES);
        value = sqlite_blob(rows, 2, 0, SQLITE_SCRATCH_BYTES);
        if (sqlite3_errcode(session->db) == SQLITE_NOMEM) {
                wrong = sqlite_fault_memory(session, fault);
        } else if (!value.data) {
                wrong = fault_set_value(fault, BACKEND_E_CORRUPT, session->name, key, "is damaged");
        } else {
                memcpy(row->key, key.data, key.len);
                row->key_len = key.len;
                memcpy(row->value, value.data, value.len);
                row->value_len = value.len;
        }
        return sqlite_kv_done(session, rows, rc, wrong, fault);
}

/* Opens or seals one stored value. `*as`: what is to be stored; absent: it stays. */
static int convert(struct backend_session *session, enum sealing sealing, struct slice key,
                   struct slice stored, uint8_t *opened, uint8_t *sealed, struct slice *as,
                   struct fault *fault)
{
        const struct seal_terms terms = sqlite_kv_terms(session, fault);
        uint8_t by[KEY_ID_BYTES];
        struct slice value = stored;
        int error = 0;

        *as = SLICE_NONE;
        if (sealing == SEALING_ANEW && sealed_key_id((const uint8_t *)stored.data, stored.len, by) &&
            keyring_is_current(terms.keyring, by))
                return 0;
        if (sealing != SEALING_ON)
                error = seal_open_kv(&terms, &session->seal, key, stored, opened, &value);
        if (!error && sealing != SEALING_OFF)
                return seal_value(session, key, value, sealed, as, fault);
        *as = value;
        return error;
}

static int prepare(struct backend_session *session, enum sealing sealing, sqlite3_stmt **rows,
                   sqlite3_stmt **update, struct fault *fault)
{
        int error = sqlite_prepare(session, rows, fault,
                                   "SELECT rowid, key, iif(" SQLITE_KV_VALUE(
                                           "%d") ", value, NULL)"
                                                 " FROM gramd_kv WHERE rowid >= ?1 AND " SQLITE_KV_ROW
                                                 " ORDER BY rowid LIMIT 1",
                                   KV_VALUE_MAX_BYTES + (sealing == SEALING_ON ? 0 : SEALED_EXTRA_BYTES));

        return error ? error
                     : sqlite_prepare(session, update, fault,
                                      "UPDATE gramd_kv SET value = ?2 WHERE rowid = ?1");
}

/*
 * One row after the other, in the order in which they are stored: that of keys would read and write a page
 * for each row. What is in memory does not depend on how many there are.
 */
int sqlite_convert_kv(struct backend_session *session, enum sealing sealing, struct fault *fault)
{
        SQLITE_SCRATCH value = NULL;
        SQLITE_SCRATCH opened = NULL;
        SQLITE_SCRATCH sealed = NULL;
        SQLITE_STATEMENT rows = NULL;
        SQLITE_STATEMENT update = NULL;
        struct stored_row row = { .id = INT64_MIN };
        bool there = true;
        int error;

        if (!sqlite_has_extra(session, EXTRA_KV))
                return 0;
        error = prepare(session, sealing, &rows, &update, fault);
        if (!error)
                error = sqlite_scratch_new(session, &value, fault);
        if (!error)
                error = sqlite_scratch_new(session, &opened, fault);
        if (!error)
                error = sqlite_scratch_new(session, &sealed, fault);
        row.value = value;
        while (!error && there) {
                struct slice key, as = SLICE_NONE;

                error = next_row(session, rows, &row, &there, fault);
                key = (struct slice){ row.key, row.key_len };
                if (!error && there)
                        error = convert(session, sealing, key,
                                        (struct slice){ (const char *)value, row.value_len }, opened, sealed,
                                        &as, fault);
                if (!error && as.data) {
                        sqlite3_bind_int64(update, 1, row.id);
                        sqlite_bind_bytes(update, 2, as);
                        error = sqlite_run(session, update, fault);
                }
                there &= row.id < INT64_MAX;
                row.id += there;
        }
        return error;
}
