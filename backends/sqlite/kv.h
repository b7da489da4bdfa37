#ifndef GRAMD_BACKENDS_SQLITE_KV_H
#define GRAMD_BACKENDS_SQLITE_KV_H

/* The key-value area: the table gramd_kv. Used by the thread that uses the session. */

#include "sqlite.h"

/* ---- kv.c: reading ---- */

/*
 * What gramd writes, in SQL: a row, a value, a time that has come. Other cells are not read: they may be too
 * large for SQLite's limit. A row with another key is none.
 */
#define SQLITE_KV_ROW "typeof(key) = 'blob' AND length(key) BETWEEN 1 AND 255"
#define SQLITE_KV_VALUE(most) "typeof(value) = 'blob' AND length(value) <= " most
#define SQLITE_KV_DUE(now) "typeof(expires) = 'integer' AND expires <= " now
/* Bytes of key and value as they are stored. */
#define SQLITE_KV_BYTES "length(key) + iif(typeof(value) = 'blob', length(value), 0)"

/* Where a value is sealed or opened. It is wiped when its scope ends. */
enum { SQLITE_SCRATCH_BYTES = KV_VALUE_MAX_BYTES + SEALED_EXTRA_BYTES };
int sqlite_scratch_new(const struct backend_session *session, uint8_t **scratch, struct fault *fault);
void sqlite_scratch_free(uint8_t **scratch);
#define SQLITE_SCRATCH __attribute__((cleanup(sqlite_scratch_free))) uint8_t *

struct kv_search {
        kv_fn found;
        void *arg;
        size_t number;
        uint8_t *scratch;
        bool enough;        /* `found` has said so */
        bool is_unreadable; /* the value is there, but is damaged or does not open */
};

/* One key, also inside a transaction; the table exists. */
int sqlite_kv_find(struct backend_session *session, struct slice key, struct kv_search *search,
                   struct fault *fault);
int sqlite_kv_get(struct backend_session *session, const struct slice *keys, size_t n, kv_fn found, void *arg,
                  struct fault *fault);
int sqlite_kv_scan(struct backend_session *session, struct slice prefix, struct slice after, kv_fn found,
                   void *arg, struct fault *fault);
int sqlite_kv_due(struct backend_session *session, int64_t *due_ms, struct fault *fault);

struct seal_terms sqlite_kv_terms(const struct backend_session *session, struct fault *fault);
/* By how much a stored value is longer than what it stands for. */
static inline size_t sqlite_kv_overhead(const struct backend_session *session)
{
        return session->seal.on ? SEALED_EXTRA_BYTES : 0;
}
/* As sqlite_done(). `wrong`: what reading the last row returned; if that is an error, its fault stays. */
int sqlite_kv_done(struct backend_session *session, sqlite3_stmt *rows, int rc, int wrong,
                   struct fault *fault);
void sqlite_bind_bytes(sqlite3_stmt *statement, int at, struct slice bytes);
/* A blob of `least` to `most` bytes. Any other value reads as absent. */
struct slice sqlite_blob(sqlite3_stmt *row, int at, size_t least, size_t most);

/* ---- kv_write.c: inside a transaction ---- */

int sqlite_put_kv(struct backend_session *session, const struct change *change, const struct effects *effects,
                  struct fault *fault);
int sqlite_swap_kv(struct backend_session *session, const struct change *change,
                   const struct effects *effects, struct fault *fault);
/* Deletes what has expired. */
int sqlite_expire_kv(struct backend_session *session, int64_t now_ms, struct fault *fault);
/* Seals all values, opens them, or seals those anew that a former key has sealed. */
int sqlite_convert_kv(struct backend_session *session, enum sealing sealing, struct fault *fault);

#endif
