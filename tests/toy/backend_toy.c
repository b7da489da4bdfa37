/*
 * A small backend that passes the contract suite, to show what a new backend has to write. A session is one
 * sorted array of rows in memory, and is kept until the environment stops. A transaction applies a batch to a
 * copy of the array, which then replaces it. Texts are freed with their session.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../backends/backend.h"

struct row {
        enum row_kind { ROW_PEER, ROW_NAME, ROW_STATE } kind;
        struct slice name; /* ROW_NAME; else empty */
        int64_t id;
        int64_t time; /* ROW_NAME */
        struct peer peer;
        struct state state;
};

struct table {
        struct identity identity;
        struct row *rows; /* ascending by kind, name, id */
        size_t n;
};

struct text {
        struct text *next;
        char bytes[];
};

struct backend_session {
        struct backend_env *env;
        struct backend_session *next; /* ascending by name */
        struct slice name;
        time_t modified;
        struct table table;
        struct text *texts;
};

struct backend_env {
        pthread_mutex_t lock; /* of the list; a session itself has one user at a time */
        struct backend_session *first;
        size_t rows_max; /* of a session */
};

static int out_of_memory(struct fault *fault)
{
        return fault_set(fault, BACKEND_E_STORAGE, "out of memory");
}

/* ---- rows ---- */

/* Copies the text into the session's memory. */
static bool keep(struct backend_session *session, struct slice *slice)
{
        struct text *text;

        if (!slice->data)
                return true;
        text = malloc(sizeof(*text) + slice->len + 1);
        if (!text)
                return false;
        text->next = session->texts;
        session->texts = text;
        slice->data = memcpy(text->bytes, slice->data, slice->len);
        return true;
}

static int order(const struct row *a, const struct row *b)
{
        int by_name;

        if (a->kind != b->kind)
                return a->kind < b->kind ? -1 : 1;
        by_name = slice_compare(a->name, b->name);
        return by_name ? by_name : (a->id > b->id) - (a->id < b->id);
}

static struct row key(enum row_kind kind, struct slice name, int64_t id)
{
        return (struct row){ .kind = kind, .name = name.data ? name : slice_of(""), .id = id };
}

static struct row *get(const struct table *table, enum row_kind kind, struct slice name, int64_t id)
{
        struct row wanted = key(kind, name, id);

        for (size_t i = 0; i < table->n; i++)
                if (order(&table->rows[i], &wanted) == 0)
                        return &table->rows[i];
        return NULL;
}

static bool put(struct table *table, const struct row *row)
{
        struct row *there = get(table, row->kind, row->name, row->id), *grown;
        size_t at = 0;

        if (there) {
                *there = *row;
                return true;
        }
        grown = realloc(table->rows, (table->n + 1) * sizeof(*grown));
        if (!grown)
                return false;
        table->rows = grown;
        while (at < table->n && order(&grown[at], row) < 0)
                at++;
        memmove(&grown[at + 1], &grown[at], (table->n++ - at) * sizeof(*grown));
        grown[at] = *row;
        return true;
}

static void drop(struct table *table, struct row *row)
{
        const struct row *end = table->rows + table->n--;

        memmove(row, row + 1, (size_t)(end - row - 1) * sizeof(*row));
}

static size_t count(const struct table *table, enum row_kind kind)
{
        size_t n = 0;

        for (size_t i = 0; i < table->n; i++)
                n += table->rows[i].kind == kind;
        return n;
}

static void table_deinit(struct table *table)
{
        identity_wipe(&table->identity);
        free(table->rows);
}

static bool table_copy(struct table *to, const struct table *from)
{
        *to = (struct table){ .n = from->n, .rows = malloc((from->n + 1) * sizeof(*to->rows)) };
        identity_init(&to->identity);
        if (!to->rows || !identity_copy(&to->identity, &from->identity)) {
                table_deinit(to);
                return false;
        }
        if (from->n)
                memcpy(to->rows, from->rows, from->n * sizeof(*to->rows));
        return true;
}

/* ---- changes ---- */

struct batch {
        struct backend_session *session;
        struct table table;
        effect_fn effect;
        void *arg;
        size_t at;
};

/* `before` is lost, `after` is gained. */
static bool tell(const struct batch *batch, enum effect_kind kind, struct slice before, struct slice after)
{
        struct effect lost = { .change = batch->at, .kind = kind, .text = before };
        struct effect gained = { .change = batch->at, .kind = kind, .text = after };

        if (slice_equal(before, after))
                return true;
        return (!before.data || batch->effect(batch->arg, &lost)) &&
               (!after.data || batch->effect(batch->arg, &gained));
}

static bool set_identity(struct identity *identity, const struct change *change)
{
        for (enum field field = 0; field < FIELD_COUNT; field++) {
                if (!(change->fields & FIELD_BIT(field)))
                        continue;
                if (!identity_has(change->identity, field))
                        identity_set_nil(identity, field);
                else if (field_infos[field].type == FIELD_KEY)
                        identity_set_key(identity, change->identity->auth_key);
                else if (field_infos[field].type != FIELD_TEXT)
                        identity_set_number(identity, field, change->identity->number[field]);
                else if (!identity_set_address(identity, slice_of(change->identity->server_address)))
                        return false;
        }
        return true;
}

static bool put_peer(struct batch *batch, const struct peer *peer)
{
        const struct row *there = get(&batch->table, ROW_PEER, SLICE_NONE, peer->id);
        struct peer before = there ? there->peer : (struct peer){ 0 };
        struct row row = key(ROW_PEER, SLICE_NONE, peer->id);

        row.peer = *peer;
        return keep(batch->session, &row.peer.type) && keep(batch->session, &row.peer.username) &&
               keep(batch->session, &row.peer.phone_number) &&
               tell(batch, EFFECT_USERNAME, before.username, peer->username) &&
               tell(batch, EFFECT_PHONE, before.phone_number, peer->phone_number) && put(&batch->table, &row);
}

static bool put_name(struct batch *batch, struct slice name, int64_t peer_id, int64_t time)
{
        struct row row = key(ROW_NAME, name, peer_id);

        row.time = time;
        if (!get(&batch->table, ROW_NAME, name, peer_id) && !tell(batch, EFFECT_USERNAME, SLICE_NONE, name))
                return false;
        return keep(batch->session, &row.name) && put(&batch->table, &row);
}

static bool is_among(const struct peer_names *names, struct slice name)
{
        for (size_t i = 0; i < names->n_names; i++)
                if (slice_equal(names->names[i], name))
                        return true;
        return false;
}

static bool replace_names(struct batch *batch, const struct peer_names *names)
{
        struct table *table = &batch->table;

        for (size_t i = table->n; i-- > 0;) {
                struct row *row = &table->rows[i];

                if (row->kind != ROW_NAME || row->id != names->peer_id || is_among(names, row->name))
                        continue;
                if (!tell(batch, EFFECT_USERNAME, row->name, SLICE_NONE))
                        return false;
                drop(table, row);
        }
        for (size_t i = 0; i < names->n_names; i++)
                if (!put_name(batch, names->names[i], names->peer_id, names->last_update_on))
                        return false;
        return true;
}

static bool put_state(struct table *table, const struct state *state)
{
        struct row row = key(ROW_STATE, SLICE_NONE, state->id);

        row.state = *state;
        return put(table, &row);
}

static void set_time(struct table *table, enum row_kind kind, const struct row_time *time)
{
        for (size_t i = 0; i < table->n; i++) {
                struct row *row = &table->rows[i];
                int64_t stored = kind == ROW_PEER ? row->peer.last_update_on : row->time;

                if (row->kind != kind || row->id != time->id || stored >= time->last_update_on)
                        continue;
                row->time = time->last_update_on;
                row->peer.last_update_on = time->last_update_on;
        }
}

static bool change_row(struct batch *batch, const struct change *change, size_t i)
{
        struct row *gone;

        switch (change->kind) {
        case CHANGE_PEERS: return put_peer(batch, &change->peers[i]);
        case CHANGE_NAMES: return replace_names(batch, &change->names[i]);
        case CHANGE_STATES: return put_state(&batch->table, &change->states[i]);
        case CHANGE_STATES_GONE:
                gone = get(&batch->table, ROW_STATE, SLICE_NONE, change->ids[i]);
                if (gone)
                        drop(&batch->table, gone);
                return true;
        case CHANGE_PEER_TIMES: set_time(&batch->table, ROW_PEER, &change->times[i]); return true;
        case CHANGE_NAME_TIMES: set_time(&batch->table, ROW_NAME, &change->times[i]); return true;
        case CHANGE_IDENTITY:
        case CHANGE_REMEMBERED:
        case CHANGE_OWNER:
        case CHANGE_KV:
        case CHANGE_KV_SWAP:
        case CHANGE_KV_EXPIRED:
        case CHANGE_SEALING: break;
        }
        return true;
}

static int change(struct batch *batch, const struct change *change, struct fault *fault)
{
        if (change->kind == CHANGE_IDENTITY && !set_identity(&batch->table.identity, change))
                return out_of_memory(fault);
        for (size_t i = 0; change->kind != CHANGE_IDENTITY && i < change->n; i++)
                if (!change_row(batch, change, i))
                        return out_of_memory(fault);
        if (batch->table.n > batch->session->env->rows_max)
                return fault_set(fault, BACKEND_E_TOO_LARGE, "more than %zu rows: option `toy-rows`",
                                 batch->session->env->rows_max);
        if (count(&batch->table, ROW_STATE) > BACKEND_STATES_MAX)
                return fault_set(fault, BACKEND_E_TOO_LARGE, "more than %d update states",
                                 BACKEND_STATES_MAX);
        return 0;
}

static int toy_apply(struct backend_session *session, const struct change *changes, size_t n,
                     enum durability durability, effect_fn effect, void *arg, struct fault *fault)
{
        struct batch batch = { .session = session, .effect = effect, .arg = arg };
        int result = 0;

        (void)durability; /* nothing of it survives the process */
        if (!table_copy(&batch.table, &session->table))
                return out_of_memory(fault);
        for (; !result && batch.at < n; batch.at++)
                result = change(&batch, &changes[batch.at], fault);
        table_deinit(result ? &batch.table : &session->table);
        if (!result) {
                session->table = batch.table;
                session->modified = time(NULL);
        }
        return result;
}

/* ---- reading ---- */

static bool answer(const struct table *table, size_t lookup, const struct lookup *wanted,
                   const struct row *row, match_fn found, void *arg)
{
        struct match match = { .lookup = lookup, .peer = row->peer };
        const struct row *peer;

        switch (wanted->kind) {
        case LOOKUP_ID: return row->kind != ROW_PEER || row->id != wanted->id || found(arg, &match);
        case LOOKUP_PHONE: return !slice_equal(row->peer.phone_number, wanted->text) || found(arg, &match);
        case LOOKUP_USERNAME: break;
        }
        if (row->kind != ROW_NAME)
                return !slice_equal(row->peer.username, wanted->text) || found(arg, &match);
        peer = get(table, ROW_PEER, SLICE_NONE, row->id);
        if (!slice_equal(row->name, wanted->text))
                return true;
        if (!peer) {
                match = (struct match){ .lookup = lookup, .from_table = true };
                return found(arg, &match);
        }
        match = (struct match){ .lookup = lookup,
                                .peer = peer->peer,
                                .from_table = true,
                                .has_row_time = true,
                                .row_time = row->time };
        return found(arg, &match);
}

static int toy_find(struct backend_session *session, const struct lookup *lookups, size_t n, match_fn found,
                    void *arg, struct fault *fault)
{
        const struct table *table = &session->table;

        for (size_t i = 0; i < n; i++)
                for (size_t at = 0; at < table->n; at++)
                        if (!answer(table, i, &lookups[i], &table->rows[at], found, arg))
                                return out_of_memory(fault);
        return 0;
}

static int toy_scan_peers(struct backend_session *session, const int64_t *after, size_t limit, peer_fn found,
                          void *arg, struct fault *fault)
{
        for (size_t i = 0; i < session->table.n && limit; i++) {
                const struct row *row = &session->table.rows[i];

                if (row->kind != ROW_PEER || (after && row->id <= *after))
                        continue;
                if (!found(arg, &row->peer))
                        return out_of_memory(fault);
                limit--;
        }
        return 0;
}

static int toy_scan_usernames(struct backend_session *session, struct slice after, int64_t after_id,
                              size_t limit, username_fn found, void *arg, struct fault *fault)
{
        struct row last = key(ROW_NAME, after, after_id);

        for (size_t i = 0; i < session->table.n && limit; i++) {
                const struct row *row = &session->table.rows[i];

                if (row->kind != ROW_NAME || (after.data && order(row, &last) <= 0))
                        continue;
                if (!found(arg, row->name, row->id, &row->time))
                        return out_of_memory(fault);
                limit--;
        }
        return 0;
}

static int toy_count(struct backend_session *session, struct counts *counts, struct fault *fault)
{
        (void)fault;
        counts->peers = (int64_t)count(&session->table, ROW_PEER);
        counts->usernames = (int64_t)count(&session->table, ROW_NAME);
        counts->bytes = (int64_t)(session->table.n * sizeof(struct row));
        return 0;
}

/* ---- sessions ---- */

static void session_free(struct backend_session *session)
{
        struct text *next;

        for (struct text *text = session->texts; text; text = next) {
                next = text->next;
                free(text);
        }
        table_deinit(&session->table);
        free(session);
}

static struct backend_session *session_new(struct backend_env *env, struct slice name)
{
        struct backend_session *session = calloc(1, sizeof(*session));

        if (!session)
                return NULL;
        identity_init(&session->table.identity);
        *session = (struct backend_session){ env, .name = name, .modified = time(NULL),
                                             .table = session->table };
        if (keep(session, &session->name))
                return session;
        session_free(session);
        return NULL;
}

/* Fills `opened`: what the daemon keeps in memory. */
static int load(const struct table *table, struct opened *opened, struct fault *fault)
{
        opened->dialect = "toy";
        opened->version = 1;
        opened->states = malloc((table->n + 1) * sizeof(*opened->states));
        if (!opened->states || !identity_copy(&opened->identity, &table->identity))
                return out_of_memory(fault);
        for (size_t i = 0; i < table->n; i++)
                if (table->rows[i].kind == ROW_STATE)
                        opened->states[opened->n_states++] = table->rows[i].state;
        return 0;
}

static int toy_open(struct backend_env *env, const struct open_options *options,
                    struct backend_session **session, struct opened *opened, struct fault *fault)
{
        struct backend_session **at = &env->first;
        char name[256];

        if (options->dialect.data)
                return fault_set_dialect(fault, options->dialect); /* it knows none */
        pthread_mutex_lock(&env->lock);
        while (*at && slice_compare((*at)->name, options->name) < 0)
                at = &(*at)->next;
        *session = *at && slice_equal((*at)->name, options->name) ? *at : NULL;
        if (!*session && options->create) {
                *session = session_new(env, options->name);
                opened->created = *session;
                if (*session) {
                        (*session)->next = *at;
                        *at = *session;
                }
        }
        pthread_mutex_unlock(&env->lock);
        if (*session)
                return load(&(*session)->table, opened, fault);
        if (options->create)
                return out_of_memory(fault);
        snprintf(name, sizeof(name), "%.*s", (int)options->name.len, options->name.data);
        return fault_session(fault, BACKEND_E_NOT_FOUND, name, "there is none");
}

static int toy_close(struct backend_session *session, struct fault *fault)
{
        (void)session;
        (void)fault;
        return 0;
}

static int toy_remove(struct backend_session *session, bool remove_peers, struct fault *fault)
{
        struct backend_env *env = session->env;
        struct backend_session **at = &env->first;

        (void)remove_peers;
        (void)fault;
        pthread_mutex_lock(&env->lock);
        while (*at != session)
                at = &(*at)->next;
        *at = session->next;
        pthread_mutex_unlock(&env->lock);
        session_free(session);
        return 0;
}

static int toy_list(struct backend_env *env, struct slice after, stored_fn found, void *arg,
                    struct fault *fault)
{
        bool more = true;

        (void)fault;
        pthread_mutex_lock(&env->lock);
        for (const struct backend_session *session = env->first; session && more; session = session->next) {
                struct stored_session stored = { .name = session->name, .modified = session->modified };

                if (!after.data || slice_compare(session->name, after) > 0)
                        more = found(arg, &stored);
        }
        pthread_mutex_unlock(&env->lock);
        return 0;
}

static int toy_sync(struct backend_session *session, struct fault *fault)
{
        (void)session;
        (void)fault;
        return 0;
}

static const struct option toy_options[] = {
        OPTION("toy-rows", OPTION_COUNT, { .number = 100000 }, 1, 1000000, "Rows of one session.", NULL),
        { .name = NULL },
};

static int toy_start(const struct backend_config *config, const union option_value *values,
                     struct backend_env **env, struct fault *fault)
{
        (void)config;
        *env = calloc(1, sizeof(**env));
        if (!*env)
                return out_of_memory(fault);
        (*env)->rows_max = (size_t)values[0].number;
        pthread_mutex_init(&(*env)->lock, NULL);
        return 0;
}

static void toy_stop(struct backend_env *env)
{
        struct backend_session *next;

        for (struct backend_session *session = env->first; session; session = next) {
                next = session->next;
                session_free(session);
        }
        pthread_mutex_destroy(&env->lock);
        free(env);
}

const struct backend backend_toy = {
        .name = "toy",
        .options = toy_options,
        .start = toy_start,
        .stop = toy_stop,
        .open = toy_open,
        .close = toy_close,
        .remove = toy_remove,
        .find = toy_find,
        .scan_peers = toy_scan_peers,
        .scan_usernames = toy_scan_usernames,
        .count = toy_count,
        .apply = toy_apply,
        .sync = toy_sync,
        .list = toy_list,
};
