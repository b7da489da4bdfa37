/*
 * Replacing the rows of a peer in the usernames table. Old and new names are compared: rows that stay are not
 * written again, and only names that were lost or gained are reported.
 */

#include <stdlib.h>

#include "sqlite.h"

/* The stored names of a peer: copies, sorted, without duplicates. */
struct old_names {
        struct slice *items;
        bool *kept;
        size_t n;
        bool odd; /* there are also rows that gramd cannot read */
};

static void free_old(struct old_names *old)
{
        for (size_t i = 0; i < old->n; i++)
                free((char *)old->items[i].data);
        free(old->items);
        free(old->kept);
}

static int compare(const void *a, const void *b)
{
        return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static bool append(struct old_names *old, struct slice name)
{
        struct slice *item;
        char *copy;

        if (!(old->n & (old->n - 1))) { /* full at every power of two */
                struct slice *items = realloc(old->items, (old->n ? old->n * 2 : 1) * sizeof(*items));

                if (!items)
                        return false;
                old->items = items;
        }
        copy = malloc(name.len + 1);
        if (!copy)
                return false;
        item = &old->items[old->n++];
        memcpy(copy, name.data, name.len);
        item->data = copy;
        item->len = name.len;
        return true;
}

/* Also removes duplicates: Kurigram's table may have some. */
static bool sort(struct old_names *old)
{
        size_t n = 0;

        if (old->n)
                qsort(old->items, old->n, sizeof(*old->items), compare);
        for (size_t i = 0; i < old->n; i++) {
                if (n == 0 || !slice_equal(old->items[n - 1], old->items[i]))
                        old->items[n++] = old->items[i];
                else
                        free((char *)old->items[i].data);
        }
        old->n = n;
        old->kept = calloc(n + 1, sizeof(*old->kept));
        return old->kept;
}

bool sqlite_effect(const struct effects *effects, enum effect_kind kind, struct slice text, int64_t peer_id)
{
        const struct effect effect = {
                .change = effects->change, .kind = kind, .text = text, .peer_id = peer_id
        };

        return !effects->tell || effects->tell(effects->arg, &effect);
}

static int read_old(struct backend_session *session, int64_t owner, struct old_names *old,
                    struct fault *fault)
{
        sqlite3_stmt *rows;
        bool room = true;
        int error = sqlite_statement(session, STATEMENT_NAMES_OF, &rows, fault);
        int rc = SQLITE_DONE;

        if (error)
                return error;
        sqlite3_bind_int64(rows, 1, owner);
        while (room && (rc = sqlite3_step(rows)) == SQLITE_ROW) {
                struct slice name = sqlite_text(rows, 0, TEXT_MAX_BYTES);

                if (name.data)
                        room = append(old, name);
                else
                        old->odd = true;
        }
        error = sqlite_done(session, rows, rc, fault);
        if (!error && (!room || !sort(old)))
                error = sqlite_fault_memory(session, fault);
        return error;
}

/* ---- one name ---- */

/* Takes the name from another peer, in a table where a name has one owner. */
static int take(struct backend_session *session, struct slice name, const struct peer_names *names,
                const struct effects *effects, struct fault *fault)
{
        sqlite3_stmt *statement;
        int64_t owner = 0;
        int error = sqlite_statement(session, STATEMENT_NAME_OWNER, &statement, fault);
        int rc;

        if (error)
                return error;
        sqlite_bind_slice(statement, 1, name);
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW)
                owner = sqlite3_column_int64(statement, 0);
        error = sqlite_done(session, statement, rc, fault);
        if (!error && !sqlite_effect(effects, EFFECT_OWNER, name, owner))
                error = sqlite_fault_memory(session, fault);
        if (!error)
                error = sqlite_statement(session, STATEMENT_NAME_TAKE, &statement, fault);
        if (error)
                return error;
        sqlite_bind_slice(statement, 1, name);
        sqlite3_bind_int64(statement, 2, names->peer_id);
        sqlite3_bind_int64(statement, 3, names->last_update_on);
        return sqlite_run(session, statement, fault);
}

static int insert(struct backend_session *session, struct slice name, const struct peer_names *names,
                  const struct effects *effects, struct fault *fault)
{
        sqlite3_stmt *statement;
        int error = sqlite_statement(session, STATEMENT_NAME_INSERT, &statement, fault);

        if (error)
                return error;
        sqlite_bind_slice(statement, 1, name);
        sqlite3_bind_int64(statement, 2, names->peer_id);
        if (session->names.last_update_on)
                sqlite3_bind_int64(statement, 3, names->last_update_on);
        error = sqlite_run(session, statement, fault);
        if (!error && sqlite3_changes(session->db) == 0)
                error = take(session, name, names, effects, fault);
        return error;
}

static int delete_name(struct backend_session *session, struct slice name, int64_t owner, struct fault *fault)
{
        sqlite3_stmt *statement;
        int error = sqlite_statement(session, STATEMENT_NAME_DELETE, &statement, fault);

        if (error)
                return error;
        sqlite_bind_slice(statement, 1, name);
        sqlite3_bind_int64(statement, 2, owner);
        return sqlite_run(session, statement, fault);
}

static int delete_all(struct backend_session *session, int64_t owner, struct fault *fault)
{
        sqlite3_stmt *statement;
        int error = sqlite_statement(session, STATEMENT_NAMES_DELETE, &statement, fault);

        if (error)
                return error;
        sqlite3_bind_int64(statement, 1, owner);
        return sqlite_run(session, statement, fault);
}

static int set_times(struct backend_session *session, const struct peer_names *names, struct fault *fault)
{
        sqlite3_stmt *statement;
        int error;

        if (!session->names.last_update_on)
                return 0;
        error = sqlite_statement(session, STATEMENT_NAMES_TIME, &statement, fault);
        if (error)
                return error;
        sqlite3_bind_int64(statement, 1, names->peer_id);
        sqlite3_bind_int64(statement, 2, names->last_update_on);
        return sqlite_run(session, statement, fault);
}

/* ---- all names of a peer ---- */

static const struct slice *find(const struct old_names *old, struct slice name)
{
        return old->n ? bsearch(&name, old->items, old->n, sizeof(*old->items), compare) : NULL;
}

static int add_new(struct backend_session *session, const struct peer_names *names, struct old_names *old,
                   const struct effects *effects, struct fault *fault)
{
        for (size_t i = 0; i < names->n_names; i++) {
                const struct slice *same = find(old, names->names[i]);
                int error = 0;

                if (same)
                        old->kept[same - old->items] = true;
                else if (!sqlite_effect(effects, EFFECT_USERNAME, names->names[i], 0))
                        error = sqlite_fault_memory(session, fault);
                if (!error && (!same || old->odd))
                        error = insert(session, names->names[i], names, effects, fault);
                if (error)
                        return error;
        }
        return 0;
}

static int drop_lost(struct backend_session *session, const struct peer_names *names,
                     const struct old_names *old, const struct effects *effects, struct fault *fault)
{
        for (size_t i = 0; i < old->n; i++) {
                int error = 0;

                if (old->kept[i])
                        continue;
                if (!sqlite_effect(effects, EFFECT_USERNAME, old->items[i], 0))
                        error = sqlite_fault_memory(session, fault);
                else if (!old->odd)
                        error = delete_name(session, old->items[i], names->peer_id, fault);
                if (error)
                        return error;
        }
        return 0;
}

int sqlite_replace_names(struct backend_session *session, const struct peer_names *names,
                         const struct effects *effects, struct fault *fault)
{
        __attribute__((cleanup(free_old))) struct old_names old = { 0 };
        int error = 0;

        if (!session->dialect->names) {
                if (!sqlite_has_extra(session, EXTRA_NAMES) && names->n_names == 0)
                        return 0;
                error = sqlite_need_extra(session, EXTRA_NAMES, fault);
        }
        if (!error)
                error = read_old(session, names->peer_id, &old, fault);
        if (!error && old.odd)
                error = delete_all(session, names->peer_id, fault);
        if (!error)
                error = add_new(session, names, &old, effects, fault);
        if (!error)
                error = drop_lost(session, names, &old, effects, fault);
        if (!error && old.n)
                error = set_times(session, names, fault);
        return error;
}
