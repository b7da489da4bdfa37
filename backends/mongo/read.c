/* Reading: lookups with `$in`, and scans in the order of `_id`. */

#include "mongo.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- by $in ---- */

int mongo_read_cursor(struct backend_session *session, mongoc_cursor_t *cursor, mongo_found_fn found,
                      void *arg, struct fault *fault)
{
        const bson_t *document;
        bson_error_t error;
        int result = 0;

        while (!result && mongoc_cursor_next(cursor, &document))
                if (!found(arg, document))
                        result = mongo_no_memory(fault);
        if (!result && mongoc_cursor_error(cursor, &error))
                result = mongo_fault(session->env, session->name, &error, fault);
        mongoc_cursor_destroy(cursor);
        return result;
}

int mongo_find_in(struct backend_session *session, mongoc_client_t *client, const char *collection,
                  const char *key, mongo_append_fn append, const void *values, size_t n, mongo_found_fn found,
                  void *arg, struct fault *fault)
{
        MONGO_COLLECTION all = mongo_place_collection(client, &session->place, collection);
        MONGO_BSON options = BCON_NEW("batchSize", BCON_INT32(MONGO_BATCH_MAX + 1));
        int result = 0;

        for (size_t start = 0; !result && start < n; start += MONGO_BATCH_MAX) {
                size_t end = n - start < MONGO_BATCH_MAX ? n : start + MONGO_BATCH_MAX;
                MONGO_BSON filter = bson_new();
                bson_t condition, array;

                if (strcmp(key, "_id") != 0)
                        mongo_place_append_common(filter, &session->place);
                bson_append_document_begin(filter, key, -1, &condition);
                bson_append_array_begin(&condition, "$in", -1, &array);
                for (size_t i = start; i < end; i++) {
                        char number[24];

                        snprintf(number, sizeof(number), "%zu", i - start);
                        append(&array, number, &session->place, values, i);
                }
                bson_append_array_end(&condition, &array);
                bson_append_document_end(filter, &condition);
                result = mongo_read_cursor(session,
                                           mongoc_collection_find_with_opts(all, filter, options, NULL),
                                           found, arg, fault);
        }
        return result;
}

/* ---- lookups ---- */

/* A lookup's key: sorted, so that a document that was found leads to its lookups. */
struct asked {
        enum lookup_kind kind;
        int64_t id;
        struct slice text;
        size_t lookup;
        bool has_time; /* it is a row of the usernames table that has a time */
        bool from_table;
        int64_t row_time;
};

struct finding {
        const struct mongo_place *place;
        struct asked *asked; /* ascending */
        size_t n;
        struct asked *named; /* ascending by id: peers that rows of the usernames table lead to */
        size_t n_named, cap_named;
        bool *met;     /* for each of `named`: its peer is stored */
        int64_t fence; /* this owner's */
        match_fn found;
        void *arg;
};

static int by_key(const void *a, const void *b)
{
        const struct asked *left = a, *right = b;

        if (left->kind != right->kind)
                return left->kind < right->kind ? -1 : 1;
        if (left->kind == LOOKUP_ID)
                return (left->id > right->id) - (left->id < right->id);
        return slice_compare(left->text, right->text);
}

/* The first with this key. */
static struct asked *first_of(struct asked *all, size_t n, const struct asked *key)
{
        struct asked *at = n ? bsearch(key, all, n, sizeof(*key), by_key) : NULL;

        while (at && at > all && by_key(at - 1, key) == 0)
                at--;
        return at;
}

/* A stored peer, and whether a former owner wrote it. */
struct stored {
        struct peer peer;
        bool is_former;
};

static bool read_stored(const struct finding *finding, const bson_t *document, struct stored *stored)
{
        stored->is_former = mongo_number_of(document, MONGO_FENCE, 0) != finding->fence;
        return mongo_peer_of(document, finding->place, &stored->peer);
}

static bool answer(struct finding *finding, const struct asked *asked, const struct stored *stored)
{
        const struct match match = { asked->lookup,   stored->peer,    asked->from_table,
                                     asked->has_time, asked->row_time, stored->is_former };

        return finding->found(finding->arg, &match);
}

static bool answer_all(struct finding *finding, struct asked *all, size_t n, const struct asked *key,
                       const struct stored *stored)
{
        for (struct asked *at = first_of(all, n, key); at && at < all + n && by_key(at, key) == 0; at++) {
                if (all == finding->named)
                        finding->met[at - all] = true;
                if (!answer(finding, at, stored))
                        return false;
        }
        return true;
}

static bool on_by_id(void *arg, const bson_t *document)
{
        struct finding *finding = arg;
        struct stored stored;
        struct asked key = { .kind = LOOKUP_ID };

        if (!read_stored(finding, document, &stored))
                return true;
        key.id = stored.peer.id;
        return answer_all(finding, finding->asked, finding->n, &key, &stored);
}

static bool on_by_username(void *arg, const bson_t *document)
{
        struct finding *finding = arg;
        struct stored stored;
        struct asked key = { .kind = LOOKUP_USERNAME };

        if (!read_stored(finding, document, &stored) || !stored.peer.username.data)
                return true;
        key.text = stored.peer.username;
        return answer_all(finding, finding->asked, finding->n, &key, &stored);
}

static bool on_by_phone(void *arg, const bson_t *document)
{
        struct finding *finding = arg;
        struct stored stored;
        struct asked key = { .kind = LOOKUP_PHONE };

        if (!read_stored(finding, document, &stored) || !stored.peer.phone_number.data)
                return true;
        key.text = stored.peer.phone_number;
        return answer_all(finding, finding->asked, finding->n, &key, &stored);
}

static bool on_named_peer(void *arg, const bson_t *document)
{
        struct finding *finding = arg;
        struct stored stored;
        struct asked key = { .kind = LOOKUP_ID };

        if (!read_stored(finding, document, &stored))
                return true;
        key.id = stored.peer.id;
        return answer_all(finding, finding->named, finding->n_named, &key, &stored);
}

/* A row of the usernames table. Its peer is looked up afterwards. */
static bool on_name(void *arg, const bson_t *document)
{
        struct finding *finding = arg;
        struct asked key = { .kind = LOOKUP_USERNAME };
        bson_iter_t iter;
        int64_t owner = 0;

        if (bson_iter_init_find(&iter, document, "_id"))
                key.text = mongo_place_read_text(&iter, finding->place);
        if (!key.text.data || !bson_iter_init_find(&iter, document, "peer_id") ||
            !mongo_read_number(&iter, &owner))
                return true;
        for (struct asked *at = first_of(finding->asked, finding->n, &key);
             at && at < finding->asked + finding->n && by_key(at, &key) == 0; at++) {
                struct asked *named;

                if (finding->n_named == finding->cap_named) {
                        size_t cap = finding->cap_named ? finding->cap_named * 2 : 16;
                        struct asked *grown = reallocarray(finding->named, cap, sizeof(*grown));

                        if (!grown)
                                return false;
                        finding->named = grown;
                        finding->cap_named = cap;
                }
                named = &finding->named[finding->n_named++];
                *named = (struct asked){ .kind = LOOKUP_ID, .id = owner, .lookup = at->lookup };
                named->from_table = true;
                named->has_time = bson_iter_init_find(&iter, document, "last_update_on") &&
                                  mongo_read_number(&iter, &named->row_time);
        }
        return true;
}

static void append_id(bson_t *array, const char *key, const struct mongo_place *place, const void *values,
                      size_t i)
{
        mongo_place_append_number(array, key, place, ((const struct asked *)values)[i].id);
}

static void append_name(bson_t *array, const char *key, const struct mongo_place *place, const void *values,
                        size_t i)
{
        mongo_place_append_text(array, key, place, ((const struct asked *)values)[i].text);
}

static void append_text(bson_t *array, const char *key, const struct mongo_place *place, const void *values,
                        size_t i)
{
        (void)place;
        mongo_append_text(array, key, ((const struct asked *)values)[i].text);
}

/* Reports names whose peer is not stored. */
static bool report_unmet(struct finding *finding)
{
        const struct stored nobody = { 0 };

        for (size_t i = 0; i < finding->n_named; i++)
                if (!finding->met[i] && !answer(finding, &finding->named[i], &nobody))
                        return false;
        return true;
}

static int find_named(struct backend_session *session, mongoc_client_t *client, struct finding *finding,
                      struct fault *fault)
{
        int result;

        if (finding->n_named == 0)
                return 0;
        qsort(finding->named, finding->n_named, sizeof(*finding->named), by_key);
        finding->met = calloc(finding->n_named, sizeof(*finding->met));
        if (!finding->met)
                return mongo_no_memory(fault);
        result = mongo_find_in(session, client, "peers", "_id", append_id, finding->named, finding->n_named,
                               on_named_peer, finding, fault);
        if (!result && !report_unmet(finding))
                result = mongo_no_memory(fault);
        return result;
}

/* The part of `asked` that has this kind. */
static const struct asked *stretch(const struct finding *finding, enum lookup_kind kind, size_t *n)
{
        const struct asked *from = finding->asked, *end = finding->asked + finding->n;

        while (from < end && from->kind < kind)
                from++;
        *n = 0;
        while (from + *n < end && from[*n].kind == kind)
                ++*n;
        return from;
}

static int find_all(struct backend_session *session, mongoc_client_t *client, struct finding *finding,
                    struct fault *fault)
{
        static const struct {
                enum lookup_kind kind;
                const char *collection;
                const char *key;
                mongo_append_fn append;
                mongo_found_fn found;
        } steps[] = {
                { LOOKUP_ID, "peers", "_id", append_id, on_by_id },
                { LOOKUP_USERNAME, "peers", "username", append_text, on_by_username },
                { LOOKUP_USERNAME, "usernames", "_id", append_name, on_name },
                { LOOKUP_PHONE, "peers", "phone_number", append_text, on_by_phone },
        };
        int result = 0;

        for (size_t i = 0; !result && i < sizeof(steps) / sizeof(steps[0]); i++) {
                size_t n;
                const struct asked *from = stretch(finding, steps[i].kind, &n);

                result = mongo_find_in(session, client, steps[i].collection, steps[i].key, steps[i].append,
                                       from, n, steps[i].found, finding, fault);
        }
        return result ? result : find_named(session, client, finding, fault);
}

int mongo_find(struct backend_session *session, const struct lookup *lookups, size_t n, match_fn found,
               void *arg, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(session->env, fault);
        struct finding finding = {
                .n = n, .found = found, .arg = arg, .fence = session->fence, .place = &session->place
        };
        int result;

        assert(session->phase == MONGO_OWNED);
        if (!use.client)
                return BACKEND_E_UNAVAILABLE;
        finding.asked = calloc(n + 1, sizeof(*finding.asked));
        if (!finding.asked)
                return mongo_no_memory(fault);
        for (size_t i = 0; i < n; i++)
                finding.asked[i] = (struct asked){
                        .kind = lookups[i].kind, .id = lookups[i].id, .text = lookups[i].text, .lookup = i
                };
        if (n > 1)
                qsort(finding.asked, n, sizeof(*finding.asked), by_key);
        result = find_all(session, use.client, &finding, fault);
        free(finding.asked);
        free(finding.named);
        free(finding.met);
        return result;
}

/* ---- scans ---- */

/* Takes the filter. */
static mongoc_cursor_t *scan(mongoc_client_t *client, const struct mongo_place *place, const char *name,
                             bson_t *filter, size_t limit)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, place, name);
        MONGO_BSON options = BCON_NEW("sort", "{", "_id", BCON_INT32(1), "}", "limit",
                                      BCON_INT64((int64_t)limit), "batchSize", BCON_INT32(1001));
        mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);

        bson_destroy(filter);
        return cursor;
}

struct peer_scan {
        const struct mongo_place *place;
        peer_fn found;
        void *arg;
};

static bool on_scanned(void *arg, const bson_t *document)
{
        const struct peer_scan *scanned = arg;
        struct peer peer;

        return !mongo_peer_of(document, scanned->place, &peer) || scanned->found(scanned->arg, &peer);
}

int mongo_scan_peers(struct backend_session *session, const int64_t *after, size_t limit, peer_fn found,
                     void *arg, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(session->env, fault);
        struct peer_scan scanned = { &session->place, found, arg };
        bson_t *filter;

        if (!use.client)
                return BACKEND_E_UNAVAILABLE;
        if (limit == 0)
                return 0;
        filter = bson_new();
        mongo_place_append_after(filter, &session->place, after);
        return mongo_read_cursor(session, scan(use.client, &session->place, "peers", filter, limit),
                                 on_scanned, &scanned, fault);
}

struct name_scan {
        const struct mongo_place *place;
        username_fn found;
        void *arg;
        struct slice after;
        int64_t after_id;
        size_t left;
};

static bool on_scanned_name(void *arg, const bson_t *document)
{
        struct name_scan *scanned = arg;
        struct slice text = SLICE_NONE;
        bson_iter_t iter;
        int64_t owner, time;
        bool has_time;

        if (bson_iter_init_find(&iter, document, "_id"))
                text = mongo_place_read_text(&iter, scanned->place);
        if (!text.data || scanned->left == 0 || !bson_iter_init_find(&iter, document, "peer_id") ||
            !mongo_read_number(&iter, &owner))
                return true;
        if (scanned->after.data && slice_equal(text, scanned->after) && owner <= scanned->after_id)
                return true;
        has_time = bson_iter_init_find(&iter, document, "last_update_on") && mongo_read_number(&iter, &time);
        scanned->left--;
        return scanned->found(scanned->arg, text, owner, has_time ? &time : NULL);
}

int mongo_scan_usernames(struct backend_session *session, struct slice after, int64_t after_id, size_t limit,
                         username_fn found, void *arg, struct fault *fault)
{
        MONGO_USE use = mongo_use_begin(session->env, fault);
        struct name_scan scanned = { &session->place, found, arg, after, after_id, limit };
        bson_t *filter;

        if (!use.client)
                return BACKEND_E_UNAVAILABLE;
        if (limit == 0)
                return 0;
        filter = bson_new();
        mongo_place_append_from(filter, &session->place, after);
        /* One more: the first may be `after` itself, which is skipped. */
        return mongo_read_cursor(session, scan(use.client, &session->place, "usernames", filter, limit + 1),
                                 on_scanned_name, &scanned, fault);
}
