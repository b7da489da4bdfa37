/*
 * Reading: lookups, scans, counts, update states. A cell may hold what gramd itself would not write. It is
 * read if it can be served at all; rows that cannot be served are skipped.
 */

#include <assert.h>
#include <stdlib.h>

#include "sqlite.h"

/* ---- peers ---- */

struct slice sqlite_default_type(int64_t id)
{
        static const int64_t channels_below = -1000000000000;

        if (id > 0)
                return slice_of("user");
        return slice_of(id > channels_below ? "group" : "channel");
}

bool sqlite_read_peer(const struct backend_session *session, sqlite3_stmt *statement, struct peer *peer)
{
        *peer = (struct peer){ .id = sqlite3_column_int64(statement, 0) };
        peer->has_access_hash = sqlite_integer(statement, 1, &peer->access_hash);
        peer->type = sqlite_text(statement, 2, PEER_TYPE_MAX_BYTES);
        if (!session->peers.type && !peer->type.data)
                peer->type = sqlite_default_type(peer->id);
        peer->username = sqlite_text(statement, 3, TEXT_MAX_BYTES);
        peer->phone_number = sqlite_text(statement, 4, TEXT_MAX_BYTES);
        if (!sqlite_integer(statement, 5, &peer->last_update_on))
                peer->last_update_on = 0;
        return peer->type.data && peer->type.len > 0;
}

/* The index compares by the column's affinity: it may find a row whose text is not the one looked up. */
static bool answers(const struct lookup *lookup, const struct match *match)
{
        switch (lookup->kind) {
        case LOOKUP_ID: return true;
        case LOOKUP_USERNAME: return match->from_table || slice_equal(match->peer.username, lookup->text);
        case LOOKUP_PHONE: return slice_equal(match->peer.phone_number, lookup->text);
        }
        return false;
}

static int find_by(struct backend_session *session, enum statement which, const struct lookup *lookup,
                   struct match *match, match_fn found, void *arg, struct fault *fault)
{
        sqlite3_stmt *rows;
        int error = sqlite_statement(session, which, &rows, fault);
        int rc;

        if (error)
                return error;
        if (lookup->kind == LOOKUP_ID)
                sqlite3_bind_int64(rows, 1, lookup->id);
        else
                sqlite_bind_slice(rows, 1, lookup->text);
        while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
                if (!sqlite_read_peer(session, rows, &match->peer))
                        continue;
                if (match->from_table)
                        match->has_row_time = sqlite_integer(rows, 6, &match->row_time);
                if (answers(lookup, match) && !found(arg, match)) {
                        sqlite_done(session, rows, SQLITE_ROW, fault);
                        return sqlite_fault_memory(session, fault);
                }
        }
        return sqlite_done(session, rows, rc, fault);
}

/* A row of the usernames table whose peer is not stored. */
static int find_orphan(struct backend_session *session, const struct lookup *lookup, size_t number,
                       match_fn found, void *arg, struct fault *fault)
{
        const struct match match = { .lookup = number, .from_table = true };
        sqlite3_stmt *rows;
        int error = sqlite_statement(session, STATEMENT_ORPHAN_NAME, &rows, fault);
        int rc;

        if (error)
                return error;
        sqlite_bind_slice(rows, 1, lookup->text);
        rc = sqlite3_step(rows);
        error = sqlite_done(session, rows, rc, fault);
        if (rc != SQLITE_ROW)
                return error;
        return found(arg, &match) ? 0 : sqlite_fault_memory(session, fault);
}

static int find_username(struct backend_session *session, const struct lookup *lookup, struct match *match,
                         match_fn found, void *arg, struct fault *fault)
{
        int error = find_by(session, STATEMENT_PEER_BY_USERNAME, lookup, match, found, arg, fault);

        if (error || (!session->dialect->names && !sqlite_has_extra(session, EXTRA_NAMES)))
                return error;
        match->from_table = true;
        error = find_by(session, STATEMENT_PEER_BY_NAME_ROW, lookup, match, found, arg, fault);
        return error ? error : find_orphan(session, lookup, match->lookup, found, arg, fault);
}

int sqlite_find(struct backend_session *session, const struct lookup *lookups, size_t n, match_fn found,
                void *arg, struct fault *fault)
{
        int error = sqlite_enter(session, fault);

        sqlite_budget_refresh(session);
        for (size_t i = 0; !error && i < n; i++) {
                struct match match = { .lookup = i };

                switch (lookups[i].kind) {
                case LOOKUP_ID:
                        error = find_by(session, STATEMENT_PEER_BY_ID, &lookups[i], &match, found, arg,
                                        fault);
                        break;
                case LOOKUP_PHONE:
                        error = find_by(session, STATEMENT_PEER_BY_PHONE, &lookups[i], &match, found, arg,
                                        fault);
                        break;
                case LOOKUP_USERNAME:
                        error = find_username(session, &lookups[i], &match, found, arg, fault);
                        break;
                }
        }
        return error;
}

int sqlite_scan_peers(struct backend_session *session, const int64_t *after, size_t limit, peer_fn found,
                      void *arg, struct fault *fault)
{
        sqlite3_stmt *rows;
        int error;
        int rc = SQLITE_DONE;

        if (after && *after == INT64_MAX)
                return 0;
        error = sqlite_enter(session, fault);
        sqlite_budget_refresh(session);
        if (!error)
                error = sqlite_statement(session, STATEMENT_PEER_SCAN, &rows, fault);
        if (error)
                return error;
        sqlite3_bind_int64(rows, 1, after ? *after + 1 : INT64_MIN);
        while (limit > 0 && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
                struct peer peer;

                if (!sqlite_read_peer(session, rows, &peer))
                        continue;
                if (!found(arg, &peer)) {
                        sqlite_done(session, rows, rc, fault);
                        return sqlite_fault_memory(session, fault);
                }
                limit--;
        }
        return sqlite_done(session, rows, rc, fault);
}

/* ---- usernames ---- */

int sqlite_scan_usernames(struct backend_session *session, struct slice after, int64_t after_id, size_t limit,
                          username_fn found, void *arg, struct fault *fault)
{
        sqlite3_stmt *rows;
        int error;
        int rc = SQLITE_DONE;

        if (!session->dialect->names && !sqlite_has_extra(session, EXTRA_NAMES))
                return 0;
        error = sqlite_enter(session, fault);
        sqlite_budget_refresh(session);
        if (!error)
                error = sqlite_statement(session, STATEMENT_NAME_SCAN, &rows, fault);
        if (error)
                return error;
        sqlite_bind_slice(rows, 1, after.data ? after : slice_of(""));
        sqlite3_bind_int64(rows, 2, after.data ? after_id : INT64_MIN);
        while (limit > 0 && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
                struct slice name = sqlite_text(rows, 0, TEXT_MAX_BYTES);
                int64_t owner;
                int64_t time;

                if (!name.data || !sqlite_integer(rows, 1, &owner) ||
                    (owner == after_id && slice_equal(name, after)))
                        continue;
                if (!found(arg, name, owner, sqlite_integer(rows, 2, &time) ? &time : NULL)) {
                        sqlite_done(session, rows, rc, fault);
                        return sqlite_fault_memory(session, fault);
                }
                limit--;
        }
        return sqlite_done(session, rows, rc, fault);
}

/* ---- update states ---- */

static void read_state(const struct backend_session *session, sqlite3_stmt *rows, struct state *state)
{
        unsigned nils = (unsigned)sqlite3_column_int(rows, 5);

        *state = (struct state){ .id = sqlite3_column_int64(rows, 0) };
        for (int part = 0; part < STATE_PARTS; part++) {
                if (!sqlite_integer(rows, part + 1, &state->part[part]))
                        continue;
                /* It is nil as long as the library's column has the 0 that stands for nil. */
                if (session->dialect->nil_state_is_zero && nils & (1u << part) && state->part[part] == 0)
                        continue;
                state->present |= 1u << part;
        }
        for (int part = 0; part < STATE_PARTS; part++)
                if (!(state->present & (1u << part)))
                        state->part[part] = 0;
}

static int prepare_states(struct backend_session *session, sqlite3_stmt **rows, struct fault *fault)
{
        if (sqlite_has_extra(session, EXTRA_NILS))
                return sqlite_prepare(session, rows, fault,
                                      "SELECT s.id, s.pts, s.qts, s.date, s.seq, n.parts FROM %w s"
                                      " LEFT JOIN gramd_update_state_nil n ON n.id = s.id ORDER BY s.id",
                                      session->states);
        return sqlite_prepare(session, rows, fault, "SELECT id, pts, qts, date, seq, 0 FROM %w ORDER BY id",
                              session->states);
}

/* Makes room for one more state; the array doubles. */
static bool grow(struct state **states, size_t n)
{
        struct state *grown;

        if (n & (n - 1) || (n > 0 && n < 16))
                return true;
        grown = realloc(*states, (n ? n * 2 : 16) * sizeof(**states));
        if (grown)
                *states = grown;
        return grown;
}

int sqlite_load_states(struct backend_session *session, struct state **states, size_t *n, struct fault *fault)
{
        SQLITE_STATEMENT rows = NULL;
        int error;
        int rc;

        assert(!*states);
        *n = 0;
        if (!session->dialect->states && !sqlite_has_extra(session, EXTRA_STATES))
                return 0;
        error = prepare_states(session, &rows, fault);
        if (error)
                return error;
        while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
                if (*n == BACKEND_STATES_MAX)
                        return fault_session(fault, BACKEND_E_TOO_LARGE, session->name,
                                             "more than %d update states", BACKEND_STATES_MAX);
                if (!grow(states, *n))
                        return sqlite_fault_memory(session, fault);
                read_state(session, rows, &(*states)[(*n)++]);
        }
        session->n_states = *n;
        return rc == SQLITE_DONE ? 0 : sqlite_fault(session, rc, NULL, fault);
}

/* ---- counts ---- */

static int count_bytes(struct backend_session *session, int64_t *bytes, struct fault *fault)
{
        int64_t pages = 0;
        int64_t page_size = 0;
        int error;

        if (session->path) {
                *bytes = sqlite_file_bytes(session->env, session->name, NULL);
                return 0;
        }
        error = sqlite_number(session, &pages, fault, "PRAGMA page_count");
        if (!error)
                error = sqlite_number(session, &page_size, fault, "PRAGMA page_size");
        *bytes = pages * page_size;
        return error;
}

int sqlite_count(struct backend_session *session, struct counts *counts, struct fault *fault)
{
        int error;

        *counts = (struct counts){ 0 };
        error = sqlite_enter(session, fault);
        sqlite_budget_refresh(session);
        if (!error)
                error = sqlite_describe_seal(session, counts->sealed, fault);
        if (error)
                return error;
        error = sqlite_number(
                session, &counts->peers, fault, "SELECT count(*)%s FROM %w%s",
                sqlite_has_extra(session, EXTRA_ZERO) ? " + (SELECT count(*) FROM gramd_entity_0)" : "",
                session->peers.table, session->peers.own_row_zero ? " WHERE id <> 0" : "");
        if (!error && (session->dialect->names || sqlite_has_extra(session, EXTRA_NAMES)))
                error = sqlite_number(session, &counts->usernames, fault, "SELECT count(%w) FROM %w",
                                      session->names.name, session->names.table);
        return error ? error : count_bytes(session, &counts->bytes, fault);
}
