/*
 * Bounds for the whole daemon.
 *
 * Files: the page caches of all open sessions share one budget. A session's share is the budget
 * divided by the number of open sessions, and a quarter at most. Whenever a session is used, its cache is set
 * to that share. A few pages do not count, so that every session works.
 *
 * Memory sessions: the budget bounds everything that they hold. A batch fails if its session
 * would need more than is left of it.
 */

#include <assert.h>

#include "sqlite.h"

enum {
        PAGE_BYTES = 4096,
        PAGE_COST = 4400,             /* a page in memory, with what SQLite keeps about it */
        FLOOR_BYTES = 8 * PAGE_BYTES, /* page cache that every session has, whatever the budget */
        SHARES_MIN = 4,               /* one session alone takes no more than a quarter */
        EMPTY_BYTES = 32 * PAGE_COST, /* a new memory session, with its dialect's tables and indexes */
        ROW_COST = 512,               /* of a row and its index entries, beside its texts */
        TEXT_COPIES = 4,              /* a text is in a table and an index, on pages that may be half full */
};

/* Takes at most `wanted` bytes of what is spare; returns how many. */
static int64_t take(struct backend_env *env, int64_t wanted)
{
        int_fast64_t spare = atomic_load(&env->spare);
        int64_t taken;

        do {
                taken = wanted < spare ? wanted : (int64_t)spare;
                if (taken <= 0)
                        return 0;
        } while (!atomic_compare_exchange_weak(&env->spare, &spare, spare - taken));
        return taken;
}

static void give(struct backend_env *env, int64_t bytes)
{
        atomic_fetch_add(&env->spare, bytes);
}

/* ---- page caches ---- */

static void set_cache(struct backend_session *session)
{
        struct fault ignored;

        sqlite_exec(session, &ignored, "PRAGMA cache_size = -%lld",
                    (long long)(FLOOR_BYTES + session->granted) / 1024);
}

void sqlite_budget_refresh(struct backend_session *session)
{
        size_t sessions = atomic_load(&session->env->sessions);
        int64_t share = session->env->budget / (int64_t)(sessions > SHARES_MIN ? sessions : SHARES_MIN);
        int64_t grown;

        if (!session->path)
                return;
        /* A difference of less than an eighth is not worth a statement. */
        if (session->granted > share + share / 8) {
                give(session->env, session->granted - share);
                session->granted = share;
                set_cache(session);
        } else if (session->granted < share - share / 8) {
                grown = take(session->env, share - session->granted);
                session->granted += grown;
                if (grown)
                        set_cache(session);
        }
}

/* ---- memory sessions ---- */

static int64_t texts(const struct slice *names, size_t n)
{
        int64_t bytes = 0;

        for (size_t i = 0; i < n; i++)
                bytes += ROW_COST + (int64_t)names[i].len * TEXT_COPIES;
        return bytes;
}

static int64_t kv_bytes(const struct kv_row *row)
{
        return ROW_COST + (int64_t)(row->key.len * TEXT_COPIES + row->value.len) + 2 * PAGE_COST;
}

/* Errs on the large side: what is not used is given back after the batch. */
static int64_t estimate(const struct change *changes, size_t n)
{
        int64_t bytes = EMPTY_BYTES;

        for (size_t i = 0; i < n; i++) {
                bytes += (int64_t)changes[i].n * ROW_COST;
                for (size_t j = 0; j < changes[i].n; j++) {
                        if (changes[i].kind == CHANGE_PEERS)
                                bytes += texts(&changes[i].peers[j].type, 1) +
                                         texts(&changes[i].peers[j].username, 1) +
                                         texts(&changes[i].peers[j].phone_number, 1);
                        if (changes[i].kind == CHANGE_NAMES)
                                bytes += texts(changes[i].names[j].names, changes[i].names[j].n_names);
                        if (changes[i].kind == CHANGE_KV)
                                bytes += kv_bytes(&changes[i].kv[j]);
                        if (changes[i].kind == CHANGE_KV_SWAP)
                                bytes += kv_bytes(&changes[i].swap[j].row);
                }
        }
        return bytes;
}

static void set_limit(struct backend_session *session)
{
        struct fault ignored;

        sqlite_exec(session, &ignored, "PRAGMA max_page_count = %lld",
                    (long long)(session->granted / PAGE_COST));
}

void sqlite_budget_reserve(struct backend_session *session, const struct change *changes, size_t n)
{
        if (session->path) {
                sqlite_budget_refresh(session);
                return;
        }
        session->granted += take(session->env, estimate(changes, n));
        set_limit(session);
}

void sqlite_budget_trim(struct backend_session *session)
{
        struct fault ignored;
        int64_t pages = 0;

        if (session->path)
                return;
        sqlite_number(session, &pages, &ignored, "PRAGMA page_count");
        give(session->env, session->granted - pages * PAGE_COST);
        session->granted = pages * PAGE_COST;
}

/* ---- sessions ---- */

int sqlite_budget_join(struct backend_session *session, struct fault *fault)
{
        assert(!session->joined && session->phase == PHASE_CONNECTED);
        atomic_fetch_add(&session->env->sessions, 1);
        session->joined = true;
        if (session->path) {
                set_cache(session);
                return 0;
        }
        session->granted = take(session->env, EMPTY_BYTES);
        if (session->granted < EMPTY_BYTES)
                return fault_session(fault, BACKEND_E_STORAGE, session->name,
                                     "memory sessions have used up their memory-max");
        set_limit(session);
        return 0;
}

void sqlite_budget_leave(struct backend_session *session)
{
        if (!session->joined)
                return;
        assert(session->granted >= 0);
        atomic_fetch_sub(&session->env->sessions, 1);
        give(session->env, session->granted);
        session->granted = 0;
        session->joined = false;
}
