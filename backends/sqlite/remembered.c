/*
 * What the daemon remembers of the last batches: a row of gramd_remembered for each, in the same transaction.
 *
 * A daemon that closes the file has answered all that is in it, so it removes its rows. Those that it found
 * when it opened the file are from a daemon that was killed. They stay for ten minutes, also if the file is
 * closed and opened meanwhile: that is how long clients have to come back.
 */

#include <time.h>

#include "sqlite.h"

enum {
        STAYS_S = 600,
        WRITES_MAX_BYTES = 512 << 10, /* of a row; the daemon stores less */
};
#define NUMBER_MAX (INT64_C(1) << 62)

int sqlite_store_remembered(struct backend_session *session, struct slice remembered, struct fault *fault)
{
        sqlite3_stmt *put;
        int error = sqlite_need_extra(session, EXTRA_REMEMBERED, fault);

        if (!error)
                error = sqlite_statement(session, STATEMENT_REMEMBER, &put, fault);
        if (error)
                return error;
        session->n_remembered++;
        sqlite3_bind_int64(put, 1, session->n_remembered % BACKEND_REMEMBERED);
        sqlite3_bind_int64(put, 2, session->n_remembered);
        sqlite3_bind_int64(put, 3, time(NULL));
        sqlite3_bind_blob64(put, 4, remembered.data, remembered.len, SQLITE_STATIC);
        return sqlite_run(session, put, fault);
}

int sqlite_load_remembered(struct backend_session *session, struct buffer *remembered, struct fault *fault)
{
        SQLITE_STATEMENT rows = NULL;
        int error;
        int rc;

        if (!sqlite_has_extra(session, EXTRA_REMEMBERED))
                return 0;
        error = sqlite_prepare(session, &rows, fault,
                               "SELECT number, writes FROM gramd_remembered"
                               " WHERE typeof(number) = 'integer' AND typeof(writes) = 'blob'"
                               " AND number BETWEEN 0 AND %lld AND length(writes) <= %d"
                               " ORDER BY number LIMIT %d",
                               (long long)NUMBER_MAX, WRITES_MAX_BYTES, BACKEND_REMEMBERED);
        if (error)
                return error;
        while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
                const void *writes = sqlite3_column_blob(rows, 1);

                session->n_remembered = sqlite3_column_int64(rows, 0);
                buffer_append(remembered, writes, (size_t)sqlite3_column_bytes(rows, 1));
        }
        session->found_remembered = session->n_remembered;
        if (rc == SQLITE_DONE && remembered->failed)
                return sqlite_fault_memory(session, fault);
        return rc == SQLITE_DONE ? 0 : sqlite_fault(session, rc, NULL, fault);
}

int sqlite_forget_remembered(struct backend_session *session, struct fault *fault)
{
        long long now = time(NULL);

        if (!sqlite_has_extra(session, EXTRA_REMEMBERED))
                return 0;
        return sqlite_exec(session, fault,
                           "DELETE FROM gramd_remembered"
                           " WHERE NOT coalesce(number <= %lld AND at BETWEEN %lld AND %lld, false)",
                           (long long)session->found_remembered, now - STAYS_S, now + STAYS_S);
}
