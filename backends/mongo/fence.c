#include "fence.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "instance.h"
#include "memo.h"

enum { LONGEST_WAIT_MS = 30000 };

struct entry {
        bool exists;
        int64_t fence;
        int64_t taken; /* 0: not noted */
};

/* An old document. It is another one if any of this changes. */
struct old {
        struct mongo_memo memo; /* used when it was seen */
        char owner[MONGO_ID_BYTES];
        int64_t fence;
        int64_t taken;
        int64_t since_ms; /* of CLOCK_BOOTTIME: when it was first seen; 0: it is new here */
};

struct mongo_fences {
        pthread_mutex_t lock;    /* never held while anything blocks */
        struct mongo_memos olds; /* by the session's key */
};

/* ---- old documents ---- */

/* For how long this daemon has seen this document. Negative: no memory. */
static int64_t seen_for_ms(struct mongo_fences *fences, const char *key, const struct mongo_seen *seen,
                           int64_t taken)
{
        int64_t now = mongo_boot_ms(), before_ms, result = -1;
        struct old *old;

        pthread_mutex_lock(&fences->lock);
        old = (struct old *)mongo_memo_find(&fences->olds, key);
        before_ms = old ? old->memo.used_ms : 0;
        old = (struct old *)mongo_memo_use(&fences->olds, key, sizeof(*old));
        /* One that was not seen for so long may have been replaced, and restored once more. */
        if (old && (now - before_ms > 3 * seen->term_ms || old->since_ms == 0 || old->fence != seen->fence ||
                    old->taken != taken || strcmp(old->owner, seen->owner) != 0)) {
                snprintf(old->owner, sizeof(old->owner), "%s", seen->owner);
                old->fence = seen->fence;
                old->taken = taken;
                old->since_ms = now;
        }
        if (old)
                result = now - old->since_ms;
        pthread_mutex_unlock(&fences->lock);
        return result;
}

struct mongo_fences *mongo_fences_new(void)
{
        struct mongo_fences *fences = calloc(1, sizeof(*fences));

        if (fences)
                pthread_mutex_init(&fences->lock, NULL);
        return fences;
}

void mongo_fences_free(struct mongo_fences *fences)
{
        if (!fences)
                return;
        mongo_memos_free(&fences->olds);
        pthread_mutex_destroy(&fences->lock);
        free(fences);
}

/* ---- the entry ---- */

static mongoc_collection_t *collection_of(mongoc_client_t *client)
{
        return mongoc_client_get_collection(client, MONGO_OWN_DATABASE, "fences");
}

static bson_t *filter_of(const struct backend_session *session)
{
        return BCON_NEW("_id", BCON_UTF8(session->place.key));
}

static int read_entry(struct backend_session *session, mongoc_client_t *client, struct entry *entry,
                      struct fault *fault)
{
        MONGO_COLLECTION collection = collection_of(client);
        MONGO_BSON filter = filter_of(session);
        mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, NULL, NULL);
        const bson_t *document;
        bson_error_t error;
        int result = 0;

        *entry = (struct entry){ 0 };
        if (mongoc_cursor_next(cursor, &document))
                *entry = (struct entry){ true, mongo_number_of(document, "fence", 0),
                                         mongo_number_of(document, "taken", 0) };
        else if (mongoc_cursor_error(cursor, &error))
                result = mongo_fault(session->env, session->name, &error, fault);
        mongoc_cursor_destroy(cursor);
        return result;
}

/* ---- fences ---- */

static int next_above(const struct backend_session *session, const struct entry *entry, int64_t above,
                      int64_t *fence, struct fault *fault)
{
        int64_t highest = entry->fence > entry->taken ? entry->fence : entry->taken;

        *fence = highest > above ? highest : above;
        if (*fence < MONGO_FENCE_MAX) {
                ++*fence;
                return 0;
        }
        return fault_session(fault, BACKEND_E_CORRUPT, session->name,
                             "its fence, or that in gramd.fences, is one that no daemon has written");
}

int mongo_fence_next(struct backend_session *session, mongoc_client_t *client, int64_t above, int64_t *fence,
                     struct fault *fault)
{
        struct entry entry;
        int result = read_entry(session, client, &entry, fault);

        return result ? result : next_above(session, &entry, above, fence, fault);
}

static bool is_old(const struct mongo_seen *seen, const struct entry *entry)
{
        return entry->exists ? seen->fence < entry->taken : seen->fence != 0;
}

int mongo_fence_take(struct backend_session *session, mongoc_client_t *client, const struct mongo_seen *seen,
                     int64_t *fence, struct fault *fault)
{
        int64_t watch_ms = seen->term_ms + (seen->term_ms + 2) / 3, left_ms = 0;
        struct entry entry;
        int result = read_entry(session, client, &entry, fault);

        if (!result)
                result = next_above(session, &entry, seen->fence, fence, fault);
        if (!result && is_old(seen, &entry))
                left_ms = watch_ms - seen_for_ms(session->env->fences, session->place.key, seen, entry.taken);
        if (left_ms > watch_ms)
                return mongo_no_memory(fault);
        if (left_ms > 0) {
                result = fault_session(
                        fault, BACKEND_E_BUSY, session->name,
                        "its document is older than what gramd.fences knows of it: "
                        "was a backup restored? It is opened in %lld s, when no host can be using "
                        "it: give the `open` a `wait`",
                        (long long)(left_ms + 999) / 1000);
                fault->wait.in_ms = left_ms < LONGEST_WAIT_MS ? left_ms : LONGEST_WAIT_MS;
        }
        return result;
}

void mongo_fence_watch(struct backend_session *session, mongoc_client_t *client,
                       const struct mongo_seen *seen)
{
        struct entry entry;
        struct fault fault;

        if (read_entry(session, client, &entry, &fault) == 0 && is_old(seen, &entry))
                seen_for_ms(session->env->fences, session->place.key, seen, entry.taken);
}

/* Of one collection. */
static int64_t highest(struct backend_session *session, mongoc_client_t *client, const char *name)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, name);
        MONGO_BSON filter = BCON_NEW(MONGO_FENCE, "{", "$gt", BCON_INT64(session->fence), "}");
        MONGO_BSON options = BCON_NEW("sort", "{", MONGO_FENCE, BCON_INT32(-1), "}", "limit", BCON_INT64(1),
                                      "projection", "{", MONGO_FENCE, BCON_INT32(1), "}");
        mongoc_cursor_t *cursor;
        const bson_t *document;
        int64_t fence = 0;

        mongo_place_append_common(filter, &session->place);
        cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
        if (mongoc_cursor_next(cursor, &document))
                fence = mongo_number_of(document, MONGO_FENCE, 0);
        mongoc_cursor_destroy(cursor);
        return fence;
}

/*
 * If gramd.fences was lost, and with it how far the counter was, rows may have fences that no writer of today
 * has. This reads all rows: there is no index on fences. That is rare.
 */
int64_t mongo_fence_of_rows(struct backend_session *session, mongoc_client_t *client)
{
        static const char *const names[] = { "peers", "usernames", "update_state", MONGO_KV };
        int64_t fence = 0;

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                int64_t of_one = highest(session, client, names[i]);

                if (of_one > fence)
                        fence = of_one;
        }
        return fence;
}

/* ---- taken ---- */

int mongo_fence_note_taken(struct backend_session *session, mongoc_client_t *client, int64_t fence,
                           struct fault *fault)
{
        MONGO_COLLECTION collection = collection_of(client);
        MONGO_BSON filter = filter_of(session);
        MONGO_BSON update = BCON_NEW("$set", "{", "fence", BCON_INT64(fence), "}", "$max", "{", "taken",
                                     BCON_INT64(fence), "}");
        MONGO_BSON upsert = BCON_NEW("upsert", BCON_BOOL(true));
        bson_error_t error;

        BCON_APPEND(filter, "fence", "{", "$not", "{", "$gte", BCON_INT64(fence), "}", "}");
        if (mongoc_collection_update_one(collection, filter, update, upsert, NULL, &error))
                return 0;
        /* The entry has this fence or a higher one: it does not match, and cannot be inserted. */
        return mongo_is_duplicate(&error) ? 1 : mongo_fault(session->env, session->name, &error, fault);
}

int mongo_fence_forget_taken(struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        MONGO_COLLECTION collection = collection_of(client);
        MONGO_BSON filter = BCON_NEW("_id", BCON_UTF8(session->place.key), "taken", "{", "$lte",
                                     BCON_INT64(session->fence), "}");
        MONGO_BSON update = BCON_NEW("$unset", "{", "taken", BCON_UTF8(""), "}");
        bson_error_t error;

        if (mongoc_collection_update_one(collection, filter, update, NULL, NULL, &error))
                return 0;
        return mongo_fault(session->env, session->name, &error, fault);
}
