/*
 * A batch of changes as one transaction. Most rows are either new, which costs one statement, or repeat what
 * is stored, which changes only their time.
 */

#include <assert.h>
#include <stdlib.h>

#include "kv.h"

/* ---- what a peer's columns cannot hold ---- */

/* A numeric column converts text that looks like a number. Only plain decimals read back as they were. */
static bool survives_as_number(struct slice text)
{
        size_t sign = text.len > 0 && text.data[0] == '-';
        size_t digits = text.len - sign;

        if (digits == 0 || digits > 18 || (text.data[sign] == '0' && text.len > 1))
                return false;
        for (size_t i = sign; i < text.len; i++)
                if (text.data[i] < '0' || text.data[i] > '9')
                        return false;
        return true;
}

static bool could_be_number(struct slice text)
{
        return memchr("+-. \t\n\v\f\r0123456789", text.len ? text.data[0] : 'x', 20);
}

static bool holds_text(const struct backend_session *session, enum peer_part part, const char *column,
                       struct slice text)
{
        const struct column_limits *limits = &session->limits[part];

        if (!text.data)
                return !limits->not_null;
        return column && (!limits->numeric || !could_be_number(text) || survives_as_number(text));
}

/* 1 << part for each part that has to be in gramd_peers, because the library's row cannot hold it. */
static unsigned parts_to_keep(const struct backend_session *session, const struct peer *peer)
{
        const struct peers_layout *peers = &session->peers;
        unsigned keep = 0;

        if (!peer->has_access_hash && session->limits[PART_HASH].not_null)
                keep |= 1u << PART_HASH;
        if (peers->type ? !holds_text(session, PART_TYPE, peers->type, peer->type)
                        : !slice_equal(peer->type, sqlite_default_type(peer->id)))
                keep |= 1u << PART_TYPE;
        if (!holds_text(session, PART_USERNAME, peers->username, peer->username))
                keep |= 1u << PART_USERNAME;
        if (!holds_text(session, PART_PHONE, peers->phone_number, peer->phone_number))
                keep |= 1u << PART_PHONE;
        return keep;
}

static void bind_part(const struct backend_session *session, sqlite3_stmt *statement, enum peer_part part,
                      const char *column, struct slice text)
{
        if (!column)
                return;
        if (!text.data && session->limits[part].not_null)
                text = slice_of("");
        sqlite_bind_slice(statement, (int)part + 2, text);
}

static void bind_peer(const struct backend_session *session, sqlite3_stmt *statement, const struct peer *peer)
{
        const struct peers_layout *peers = &session->peers;

        sqlite3_bind_int64(statement, 1, peer->id);
        if (peer->has_access_hash || session->limits[PART_HASH].not_null)
                sqlite3_bind_int64(statement, 2, peer->has_access_hash ? peer->access_hash : 0);
        bind_part(session, statement, PART_TYPE, peers->type, peer->type);
        bind_part(session, statement, PART_USERNAME, peers->username, peer->username);
        bind_part(session, statement, PART_PHONE, peers->phone_number, peer->phone_number);
        sqlite3_bind_int64(statement, 6, peer->last_update_on);
}

static void bind_kept(sqlite3_stmt *statement, const struct peer *peer, unsigned keep)
{
        sqlite3_bind_int64(statement, 1, peer->id);
        sqlite3_bind_int64(statement, 2, keep);
        if (keep & (1u << PART_TYPE))
                sqlite_bind_slice(statement, 4, peer->type);
        if (keep & (1u << PART_USERNAME))
                sqlite_bind_slice(statement, 5, peer->username);
        if (keep & (1u << PART_PHONE))
                sqlite_bind_slice(statement, 6, peer->phone_number);
}

static int keep_parts(struct backend_session *session, const struct peer *peer, unsigned keep,
                      struct fault *fault)
{
        sqlite3_stmt *statement;
        int error;

        if (!keep && !sqlite_has_extra(session, EXTRA_PEERS))
                return 0;
        error = sqlite_statement(session, keep ? STATEMENT_PEER_KEEP : STATEMENT_PEER_UNKEEP, &statement,
                                 fault);
        if (error)
                return error;
        if (keep)
                bind_kept(statement, peer, keep);
        else
                sqlite3_bind_int64(statement, 1, peer->id);
        return sqlite_run(session, statement, fault);
}

/* ---- peers ---- */

static int tell_change(const struct backend_session *session, enum effect_kind kind, struct slice before,
                       struct slice after, const struct effects *effects, struct fault *fault)
{
        if (slice_equal(before, after))
                return 0;
        if (before.data && !sqlite_effect(effects, kind, before, 0))
                return sqlite_fault_memory(session, fault);
        if (after.data && !sqlite_effect(effects, kind, after, 0))
                return sqlite_fault_memory(session, fault);
        return 0;
}

static int tell_changes(const struct backend_session *session, const struct peer *before,
                        const struct peer *after, const struct effects *effects, struct fault *fault)
{
        int error = tell_change(session, EFFECT_USERNAME, before->username, after->username, effects, fault);

        if (error)
                return error;
        return tell_change(session, EFFECT_PHONE, before->phone_number, after->phone_number, effects, fault);
}

/* Compares with what is stored, and reports the difference. `*same`: at most the time differs. */
static int compare_stored(struct backend_session *session, const struct peer *peer,
                          const struct effects *effects, bool *same, struct fault *fault)
{
        struct peer stored = { .id = peer->id };
        sqlite3_stmt *row;
        int error = sqlite_statement(session, STATEMENT_PEER_BY_ID, &row, fault);
        int told = 0;
        int rc;

        *same = false;
        if (error)
                return error;
        sqlite3_bind_int64(row, 1, peer->id);
        rc = sqlite3_step(row);
        if (rc == SQLITE_ROW)
                *same = sqlite_read_peer(session, row, &stored) && peer_same(&stored, peer);
        if ((rc == SQLITE_ROW || rc == SQLITE_DONE) && !*same)
                told = tell_changes(session, &stored, peer, effects, fault);
        error = sqlite_done(session, row, rc, fault);
        return error ? error : told;
}

/* `forward`: only if the stored time is older. */
static int set_time(struct backend_session *session, enum statement which, int64_t id, int64_t time,
                    bool forward, struct fault *fault)
{
        sqlite3_stmt *statement;
        int error = sqlite_statement(session, which, &statement, fault);

        if (error)
                return error;
        sqlite3_bind_int64(statement, 1, id);
        sqlite3_bind_int64(statement, 2, time);
        if (forward)
                sqlite3_bind_int64(statement, 3, time);
        return sqlite_run(session, statement, fault);
}

static int put(struct backend_session *session, enum statement which, const struct peer *peer,
               struct fault *fault)
{
        sqlite3_stmt *statement;
        int error = sqlite_statement(session, which, &statement, fault);

        if (error)
                return error;
        bind_peer(session, statement, peer);
        return sqlite_run(session, statement, fault);
}

static int set_peer_time(struct backend_session *session, int64_t id, int64_t time, bool forward,
                         struct fault *fault)
{
        if (id != 0 || !session->peers.own_row_zero)
                return set_time(session, STATEMENT_PEER_TIME, id, time, forward, fault);
        if (!sqlite_has_extra(session, EXTRA_ZERO))
                return 0;
        return set_time(session, STATEMENT_ZERO_TIME, id, time, forward, fault);
}

/* The row exists. */
static int replace_peer(struct backend_session *session, enum statement how, const struct peer *peer,
                        unsigned keep, const struct effects *effects, struct fault *fault)
{
        bool same;
        int error = compare_stored(session, peer, effects, &same, fault);

        if (error)
                return error;
        if (same)
                return set_peer_time(session, peer->id, peer->last_update_on, false, fault);
        error = put(session, how, peer, fault);
        return error ? error : keep_parts(session, peer, keep, fault);
}

static int put_peer(struct backend_session *session, const struct peer *peer, const struct effects *effects,
                    struct fault *fault)
{
        static const struct peer nobody = { 0 };
        bool zero = peer->id == 0 && session->peers.own_row_zero;
        unsigned keep = parts_to_keep(session, peer);
        int error = keep ? sqlite_need_extra(session, EXTRA_PEERS, fault) : 0;

        if (!error && zero)
                error = sqlite_need_extra(session, EXTRA_ZERO, fault);
        if (!error && zero)
                return replace_peer(session, STATEMENT_ZERO_PUT, peer, keep, effects, fault);
        if (!error)
                error = put(session, STATEMENT_PEER_INSERT, peer, fault);
        if (error)
                return error;
        if (sqlite3_changes(session->db) == 0)
                return replace_peer(session, STATEMENT_PEER_UPDATE, peer, keep, effects, fault);
        error = tell_changes(session, &nobody, peer, effects, fault);
        return error ? error : keep_parts(session, peer, keep, fault);
}

/* ---- states ---- */

static void bind_state(const struct backend_session *session, sqlite3_stmt *statement,
                       const struct state *state)
{
        sqlite3_bind_int64(statement, 1, state->id);
        for (int part = 0; part < STATE_PARTS; part++) {
                if (state->present & (1u << part))
                        sqlite3_bind_int64(statement, part + 2, state->part[part]);
                else if (session->dialect->nil_state_is_zero)
                        sqlite3_bind_int64(statement, part + 2, 0);
        }
}

static int keep_nils(struct backend_session *session, const struct state *state, struct fault *fault)
{
        unsigned nils = ~state->present & ((1u << STATE_PARTS) - 1);
        sqlite3_stmt *statement;
        int error = 0;

        if (!session->dialect->nil_state_is_zero || (!nils && !sqlite_has_extra(session, EXTRA_NILS)))
                return 0;
        if (nils)
                error = sqlite_need_extra(session, EXTRA_NILS, fault);
        if (!error)
                error = sqlite_statement(session, nils ? STATEMENT_NILS_PUT : STATEMENT_NILS_DELETE,
                                         &statement, fault);
        if (error)
                return error;
        sqlite3_bind_int64(statement, 1, state->id);
        if (nils)
                sqlite3_bind_int64(statement, 2, nils);
        return sqlite_run(session, statement, fault);
}

static int run_state(struct backend_session *session, enum statement which, const struct state *state,
                     struct fault *fault)
{
        sqlite3_stmt *statement;
        int error = sqlite_statement(session, which, &statement, fault);

        if (error)
                return error;
        bind_state(session, statement, state);
        return sqlite_run(session, statement, fault);
}

static int put_state(struct backend_session *session, const struct state *state, struct fault *fault)
{
        int error = session->dialect->states ? 0 : sqlite_need_extra(session, EXTRA_STATES, fault);

        if (!error)
                error = run_state(session, STATEMENT_STATE_INSERT, state, fault);
        if (!error && sqlite3_changes(session->db) == 0)
                error = run_state(session, STATEMENT_STATE_UPDATE, state, fault);
        else if (!error && session->n_states++ >= BACKEND_STATES_MAX)
                error = fault_session(fault, BACKEND_E_TOO_LARGE, session->name, "more than %d update states",
                                      BACKEND_STATES_MAX);
        return error ? error : keep_nils(session, state, fault);
}

static int remove_state(struct backend_session *session, int64_t id, struct fault *fault)
{
        const struct state gone = { .id = id, .present = (1u << STATE_PARTS) - 1 };
        sqlite3_stmt *statement;
        int error;

        if (!session->dialect->states && !sqlite_has_extra(session, EXTRA_STATES))
                return 0;
        error = sqlite_statement(session, STATEMENT_STATE_DELETE, &statement, fault);
        if (error)
                return error;
        sqlite3_bind_int64(statement, 1, id);
        error = sqlite_run(session, statement, fault);
        if (!error)
                session->n_states -= (size_t)sqlite3_changes(session->db);
        return error ? error : keep_nils(session, &gone, fault);
}

/* ---- times ---- */

static int set_names_time(struct backend_session *session, const struct row_time *time, struct fault *fault)
{
        bool there = session->dialect->names || sqlite_has_extra(session, EXTRA_NAMES);

        if (!there || !session->names.last_update_on)
                return 0;
        return set_time(session, STATEMENT_NAMES_TIME, time->id, time->last_update_on, true, fault);
}

/* ---- batches ---- */

static int apply_row(struct backend_session *session, const struct change *change, size_t i,
                     const struct effects *effects, struct fault *fault)
{
        switch (change->kind) {
        case CHANGE_IDENTITY:
        case CHANGE_OWNER:
        case CHANGE_KV:
        case CHANGE_KV_SWAP:
        case CHANGE_KV_EXPIRED:
        case CHANGE_SEALING: return 0;
        case CHANGE_PEERS: return put_peer(session, &change->peers[i], effects, fault);
        case CHANGE_NAMES: return sqlite_replace_names(session, &change->names[i], effects, fault);
        case CHANGE_STATES: return put_state(session, &change->states[i], fault);
        case CHANGE_STATES_GONE: return remove_state(session, change->ids[i], fault);
        case CHANGE_PEER_TIMES:
                return set_peer_time(session, change->times[i].id, change->times[i].last_update_on, true,
                                     fault);
        case CHANGE_NAME_TIMES: return set_names_time(session, &change->times[i], fault);
        case CHANGE_REMEMBERED: return sqlite_store_remembered(session, change->remembered, fault);
        }
        return 0;
}

static int apply_change(struct backend_session *session, const struct change *change,
                        const struct effects *effects, struct fault *fault)
{
        int error = 0;

        if (change->kind == CHANGE_IDENTITY)
                return sqlite_store_fields(session, change->fields, change->identity, fault);
        if (change->kind == CHANGE_SEALING)
                return sqlite_change_sealing(session, change->sealing, change->identity, fault);
        if (change->kind == CHANGE_OWNER)
                return sqlite_store_owner(session, change->owner, fault);
        if (change->kind == CHANGE_KV)
                return sqlite_put_kv(session, change, effects, fault);
        if (change->kind == CHANGE_KV_SWAP)
                return sqlite_swap_kv(session, change, effects, fault);
        if (change->kind == CHANGE_KV_EXPIRED)
                return sqlite_expire_kv(session, change->now_ms, fault);
        for (size_t i = 0; !error && i < change->n; i++)
                error = apply_row(session, change, i, effects, fault);
        return error;
}

static int apply_once(struct backend_session *session, const struct change *changes, size_t n,
                      struct effects effects, struct fault *fault)
{
        size_t n_states = session->n_states;
        int error = sqlite_begin(session, fault);

        if (error)
                return error;
        for (; !error && effects.change < n; effects.change++)
                error = apply_change(session, &changes[effects.change], &effects, fault);
        error = sqlite_end(session, error, fault);
        if (error)
                session->n_states = n_states;
        return error;
}

/* The pages and statements that have the auth key in memory. */
static void release_keys(struct backend_session *session, const struct change *changes, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (changes[i].kind != CHANGE_IDENTITY)
                        continue;
                sqlite_forget_statements(session);
                sqlite3_db_release_memory(session->db);
                return;
        }
}

/* Other writes of the batch are committed: only a request to seal is told that the rest of it has failed. */
static bool only_seals(const struct change *changes, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (changes[i].kind != CHANGE_SEALING && changes[i].kind != CHANGE_REMEMBERED)
                        return false;
        return true;
}

int sqlite_apply(struct backend_session *session, const struct change *changes, size_t n,
                 enum durability durability, effect_fn effect, void *arg, struct fault *fault)
{
        const struct effects effects = { .tell = effect, .arg = arg };
        int purge_error;
        int error;

        assert(session->phase == PHASE_TAKEN);
        sqlite_expect_room(session);
        sqlite_budget_reserve(session, changes, n);
        error = apply_once(session, changes, n, effects, fault);
        /* First the session's own log gives room, then the reserve. Effects are reported again, unchanged. */
        for (int i = 0; error && i < 3 && sqlite_await_room(session); i++)
                error = apply_once(session, changes, n, effects, fault);
        sqlite_budget_trim(session);
        if (session->has_key)
                release_keys(session, changes, n);
        purge_error = error ? 0 : sqlite_purge(session, fault);
        if (!error && durability == DURABLE_DISK)
                error = sqlite_sync(session, fault);
        else if (error == BACKEND_E_STORAGE && session->path && sqlite_log_failed(session->db))
                error = fault_session(fault, BACKEND_E_UNAVAILABLE, session->name,
                                      "its earlier writes cannot be written to disk, so this one "
                                      "was not stored");
        sqlite_checkpoint_if_due(session);
        return !error && only_seals(changes, n) ? purge_error : error;
}
