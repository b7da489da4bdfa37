/* The list of sessions, stored and open ones, in pages. */

#include <stdlib.h>

#include "../base/arena.h"
#include "../config/glob.h"
#include "../session/opening.h"
#include "methods.h"

struct row {
        struct slice name;
        struct storage *storage;
        int64_t bytes;
        int64_t modified;
        struct slice owner; /* empty: none; or it is not known, or not asked for */
};

/* One page. Stored sessions are collected on a worker, open ones are added on the loop. */
struct listing {
        struct job job;
        struct request request;
        struct context *context;
        struct arena arena;
        struct slice glob;
        struct slice after;
        bool owners; /* the client takes them */
        size_t limit;
        struct row *rows;
        size_t n_rows, rows_cap;
        struct storage *storage; /* whose sessions are being collected */
        size_t n_of_storage;
        bool no_memory;
        int error;
        struct fault fault;
};

static bool add_row(struct listing *listing, struct slice name, int64_t bytes, int64_t modified,
                    struct slice owner)
{
        struct row *rows = array_grow(listing->rows, listing->n_rows, &listing->rows_cap, sizeof(*rows));

        if (!rows) {
                listing->no_memory = true;
                return false;
        }
        listing->rows = rows;
        rows[listing->n_rows] =
                (struct row){ arena_copy(&listing->arena, name, &listing->no_memory), listing->storage, bytes,
                              modified, arena_copy(&listing->arena, owner, &listing->no_memory) };
        listing->n_rows += !listing->no_memory;
        return !listing->no_memory;
}

static bool wanted(const struct listing *listing, struct slice name)
{
        return (!listing->after.data || slice_compare(name, listing->after) > 0) &&
               (!listing->glob.data || glob_match(listing->glob, name));
}

/* Collects one row more than asked for: it shows whether there are further rows of the page's last name. */
static bool on_stored(void *arg, const struct stored_session *stored)
{
        struct listing *listing = arg;
        char owner[OWNER_TEXT_BYTES] = "";

        if (!wanted(listing, stored->name))
                return true;
        if (listing->owners && !storage_owner(listing->storage, stored, owner))
                owner[0] = '\0';
        return add_row(listing, stored->name, stored->bytes, stored->modified, slice_of(owner)) &&
               ++listing->n_of_storage <= listing->limit;
}

static void collect(struct listing *listing, struct storage *storage)
{
        const struct backend *backend = storage->backend;

        listing->storage = storage;
        listing->n_of_storage = 0;
        listing->error = backend->list(storage->env, listing->after, on_stored, listing, &listing->fault);
        if (listing->error == BACKEND_E_UNAVAILABLE && backend->max_jobs) {
                log_write_for(listing->context->log, listing->request.audited.uid, LOG_WARNING,
                              "the list of sessions lacks those on %s: %s", backend->name,
                              listing->fault.text);
                listing->error = 0;
        }
}

static void listing_run(struct job *job)
{
        struct listing *listing = (struct listing *)job;
        const struct storages *storages = listing->context->storages;

        for (size_t i = 0; i < storages->n && !listing->error && !listing->no_memory; i++)
                if (storages->all[i].env)
                        collect(listing, &storages->all[i]);
}

/*
 * The job asks every backend. If one of them may be slow, the job goes through that backend's gate, so that
 * it takes no thread of the others.
 */
static struct gate *slow_gate(const struct storages *storages)
{
        for (size_t i = 0; i < storages->n; i++)
                if (storages->all[i].env && storages->all[i].jobs.max)
                        return &storages->all[i].jobs;
        return NULL;
}

static int compare_rows(const void *a, const void *b)
{
        const struct row *left = a, *right = b;
        int order = slice_compare(left->name, right->name);

        return order ? order : (left->storage > right->storage) - (left->storage < right->storage);
}

static void sort(struct listing *listing)
{
        if (listing->n_rows > 1)
                qsort(listing->rows, listing->n_rows, sizeof(struct row), compare_rows);
}

/* Sorts the rows, and drops those of names after the first one that is not on the page. Returns that name. */
static struct slice cut(struct listing *listing)
{
        size_t n = listing->limit + 1;

        sort(listing);
        if (listing->n_rows < n)
                return SLICE_NONE;
        while (n < listing->n_rows && slice_equal(listing->rows[n].name, listing->rows[listing->limit].name))
                n++;
        listing->n_rows = n;
        return listing->rows[listing->limit].name;
}

/*
 * Adds the open sessions that no backend has listed: those in memory, and those just created. The loop waits
 * meanwhile: there may be very many, of which few are on the page.
 */
static void add_open(struct listing *listing)
{
        const struct sessions *sessions = listing->context->sessions;
        struct slice last = cut(listing);
        size_t n_sorted = listing->n_rows;
        for (struct link *at = sessions->list.next; at != &sessions->list; at = at->next) {
                const struct session *session = LINK_OF(at, struct session, link);
                const struct row key = { .name = session->name, .storage = session->storage };

                if (session->state != SESSION_OPEN || (last.data && slice_compare(session->name, last) > 0) ||
                    !wanted(listing, session->name))
                        continue;
                if (n_sorted && bsearch(&key, listing->rows, n_sorted, sizeof(struct row), compare_rows))
                        continue;
                listing->storage = session->storage;
                if (!add_row(listing, session->name, 0, 0, SLICE_NONE))
                        return;
                if (listing->n_rows >= n_sorted + listing->limit + 1) {
                        last = cut(listing);
                        n_sorted = listing->n_rows;
                }
        }
        sort(listing);
}

static void pack_row(struct buffer *out, struct sessions *sessions, const struct row *row, bool owners)
{
        const struct session *session = sessions_find(sessions, row->storage, row->name);
        const struct handle *holder = session ? session_holder(session) : NULL;
        const bool is_open = session && session->state == SESSION_OPEN;
        const struct slice owner = is_open ? slice_of(session->owner.text) : row->owner;
        const bool owned = owners && owner.len;

        pack_map(out, owned ? 7 : 6);
        pack_cstr(out, "name");
        pack_str(out, row->name);
        pack_cstr(out, "backend");
        pack_cstr(out, row->storage->backend->name);
        pack_cstr(out, "bytes");
        pack_int(out, row->bytes);
        pack_cstr(out, "modified");
        pack_int(out, row->modified);
        pack_cstr(out, "handles");
        pack_int(out, session ? (int64_t)session->n_handles : 0);
        pack_cstr(out, "holder");
        if (holder)
                pack_holder(out, holder);
        else
                pack_nil(out);
        if (owned) {
                pack_cstr(out, "owner");
                pack_str(out, owner);
        }
}

/* Rows of one name are all on one page, because the next page begins after that name. */
static size_t page_size(const struct listing *listing)
{
        size_t most = listing->context->config->max_message_bytes / ROW_BYTES;
        size_t limit = listing->limit < most ? listing->limit : most;
        size_t n = listing->n_rows < limit ? listing->n_rows : limit;

        while (n > 0 && n < listing->n_rows && slice_equal(listing->rows[n - 1].name, listing->rows[n].name))
                n--;
        if (n == 0 && listing->n_rows > 0) /* one name has more rows than fit: all of them */
                for (n = 1; n < listing->n_rows && slice_equal(listing->rows[0].name, listing->rows[n].name);)
                        n++;
        return n;
}

static void listing_done(struct job *job)
{
        struct listing *listing = (struct listing *)job;

        if (!listing->error)
                add_open(listing);
        if (listing->error) {
                answer_fault(&listing->request, listing->error, &listing->fault);
        } else if (listing->no_memory) {
                answer_no_memory(&listing->request);
        } else {
                size_t n = page_size(listing);
                struct buffer *out = answer_begin(&listing->request);

                pack_array(out, (uint32_t)n);
                for (size_t i = 0; i < n; i++)
                        pack_row(out, listing->context->sessions, &listing->rows[i], listing->owners);
                answer_end(&listing->request);
        }
        free(listing->rows);
        arena_deinit(&listing->arena);
        free(listing);
}

static bool take_page(struct call *call, struct slice *after, int64_t *limit)
{
        struct param *map = &call->params[1];

        *after = SLICE_NONE;
        *limit = LIST_MAX;
        for (uint32_t i = 0; i < map->count; i++) {
                struct slice key;

                if (!option_key(call, &map->cursor, &key))
                        return false;
                if (slice_is(key, "after")) {
                        if (!cursor_nil(&map->cursor) && !cursor_str(&map->cursor, NAME_MAX_BYTES, after)) {
                                option_wrong(call, key, map->cursor, "a session's name");
                                return false;
                        }
                } else if (slice_is(key, "limit")) {
                        if (!cursor_nil(&map->cursor) && !cursor_int_in(&map->cursor, 1, LIST_MAX, limit)) {
                                option_wrong(call, key, map->cursor, "1 to 1000");
                                return false;
                        }
                } else {
                        option_unknown(call, key);
                        return false;
                }
        }
        return true;
}

void method_sessions(struct call *call)
{
        struct slice after, glob = call->params[0].text;
        struct listing *listing;
        int64_t limit;

        if (!take_page(call, &after, &limit))
                return;
        if (glob.len > NAME_MAX_BYTES) {
                answer_error(&call->request, WIRE_TOO_LARGE, "sessions: a glob is at most 200 bytes");
                return;
        }
        listing = calloc(1, sizeof(*listing));
        if (listing) {
                listing->context = call->context;
                listing->limit = (size_t)limit;
                listing->owners = call->client->takes_owner;
                listing->glob = arena_copy(&listing->arena, glob, &listing->no_memory);
                listing->after = arena_copy(&listing->arena, after, &listing->no_memory);
        }
        if (!listing || listing->no_memory) {
                if (listing)
                        arena_deinit(&listing->arena);
                free(listing);
                answer_no_memory(&call->request);
                return;
        }
        request_defer(&call->request, &listing->request, sizeof(*listing) + listing->limit * ROW_BYTES);
        store_submit(call->context->store, slow_gate(call->context->storages), call->client->credentials.uid,
                     &listing->job, listing_run, listing_done);
}
