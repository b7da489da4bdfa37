#include "release.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "instance.h"

struct pending_release {
        struct pending_release *next;
        struct mongo_place place;
        char owner[MONGO_ID_BYTES];
        int64_t fence;
        bool is_tried;          /* owner and fence of a swap that may have landed, or may still land */
        struct mongo_held from; /* what it was to find */
        int64_t lent_until_ms;  /* of CLOCK_BOOTTIME: until then, clients may rely on it */
        int64_t due_ms;         /* of CLOCK_BOOTTIME: not before */
};

struct mongo_releases {
        struct backend_env *env;
        pthread_mutex_t lock; /* never held while anything blocks */
        struct pending_release *pending;
        _Atomic size_t n_pending; /* in `pending`, or being released now */
        int64_t count;
        char names[RELEASES_KEPT][MONGO_KEY_MAX + 1]; /* release number n is at n % RELEASES_KEPT */
};

/* ---- releasing ---- */

void mongo_release_note(struct mongo_releases *releases, const struct mongo_place *place)
{
        pthread_mutex_lock(&releases->lock);
        snprintf(releases->names[releases->count++ % RELEASES_KEPT], sizeof(releases->names[0]), "%s",
                 place->key);
        pthread_mutex_unlock(&releases->lock);
        mongo_instance_hurry(releases->env->instance);
}

int mongo_release(struct mongo_releases *releases, mongoc_client_t *client, const struct mongo_place *place,
                  const char *owner, int64_t fence, bson_error_t *error)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, place, "session");
        MONGO_BSON filter = bson_new();
        MONGO_BSON update = BCON_NEW("$unset", "{", MONGO_OWNER, BCON_UTF8(""), "}");

        mongo_place_append_session(filter, place);
        mongo_append_owned(filter, owner, fence);
        if (!mongoc_collection_update_one(collection, filter, update, NULL, NULL, error))
                return -1;
        mongo_release_note(releases, place);
        return 0;
}

/* Releases what the swap has taken. If it has not landed, the document gets its fence, as if it had landed
 * and been released: so it cannot land any more. */
static int release_tried(mongoc_client_t *client, const struct pending_release *tried, bson_error_t *error)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &tried->place, "session");
        MONGO_BSON landed = bson_new();
        MONGO_BSON before = bson_new();
        MONGO_BSON update = BCON_NEW("$unset", "{", MONGO_OWNER, BCON_UTF8(""), "}", "$set", "{", MONGO_FENCE,
                                     BCON_INT64(tried->fence), "}");

        mongo_append_owned(landed, tried->owner, tried->fence);
        mongo_append_held(before, &tried->from);
        MONGO_BSON filter = BCON_NEW("$or", "[", BCON_DOCUMENT(landed), BCON_DOCUMENT(before), "]");
        mongo_place_append_session(filter, &tried->place);
        return mongoc_collection_update_one(collection, filter, update, NULL, NULL, error) ? 0 : -1;
}

/* ---- those that wait ---- */

static void put(struct mongo_releases *releases, struct pending_release *pending)
{
        pthread_mutex_lock(&releases->lock);
        pending->next = releases->pending;
        releases->pending = pending;
        pthread_mutex_unlock(&releases->lock);
}

/* The first that is due at this time, or NULL. */
static struct pending_release *take(struct mongo_releases *releases, int64_t now)
{
        struct pending_release **at, *pending;

        pthread_mutex_lock(&releases->lock);
        for (at = &releases->pending; *at && (*at)->due_ms > now;)
                at = &(*at)->next;
        pending = *at;
        if (pending)
                *at = pending->next;
        pthread_mutex_unlock(&releases->lock);
        return pending;
}

int64_t mongo_releases_due_ms(struct mongo_releases *releases)
{
        int64_t due_ms = INT64_MAX;

        pthread_mutex_lock(&releases->lock);
        for (const struct pending_release *at = releases->pending; at; at = at->next)
                if (at->due_ms < due_ms)
                        due_ms = at->due_ms;
        pthread_mutex_unlock(&releases->lock);
        return due_ms;
}

bool mongo_releases_has(struct mongo_releases *releases, const char *key)
{
        bool has = false;

        pthread_mutex_lock(&releases->lock);
        for (const struct pending_release *at = releases->pending; at && !has; at = at->next)
                has = strcmp(at->place.key, key) == 0;
        pthread_mutex_unlock(&releases->lock);
        return has;
}

int64_t mongo_releases_lent_until_ms(struct mongo_releases *releases, const struct mongo_place *place)
{
        int64_t until_ms = 0;

        pthread_mutex_lock(&releases->lock);
        for (const struct pending_release *at = releases->pending; at; at = at->next)
                if (at->lent_until_ms > until_ms && strcmp(at->place.key, place->key) == 0)
                        until_ms = at->lent_until_ms;
        pthread_mutex_unlock(&releases->lock);
        return until_ms;
}

static int write_one(struct mongo_releases *releases, mongoc_client_t *client,
                     const struct pending_release *pending, bson_error_t *error)
{
        if (!pending->is_tried)
                return mongo_release(releases, client, &pending->place, pending->owner, pending->fence,
                                     error);
        if (release_tried(client, pending, error))
                return -1;
        mongo_release_note(releases, &pending->place);
        return 0;
}

void mongo_releases_write(struct mongo_releases *releases, mongoc_client_t *client, int64_t until_ms,
                          int64_t retry_ms)
{
        struct pending_release *pending;
        bson_error_t error;

        while (mongo_boot_ms() < until_ms && (pending = take(releases, mongo_boot_ms()))) {
                if (write_one(releases, client, pending, &error)) {
                        pending->due_ms = mongo_boot_ms() + retry_ms;
                        put(releases, pending);
                        return;
                }
                atomic_fetch_sub(&releases->n_pending, 1);
                free(pending);
        }
}

void mongo_release_later(struct mongo_releases *releases, const struct backend_session *session)
{
        const char *owners[] = { session->owner, session->tried_owner };
        const int64_t fences[] = { session->fence, session->tried_fence };

        for (int i = 0; i < 2; i++) {
                struct pending_release *pending = owners[i][0] ? calloc(1, sizeof(*pending)) : NULL;

                if (!pending)
                        continue;
                pending->place = session->place;
                memcpy(pending->owner, owners[i], sizeof(pending->owner));
                pending->fence = fences[i];
                pending->is_tried = i == 1;
                pending->from = session->tried_from;
                pending->due_ms = pending->lent_until_ms = session->lent_until_ms;
                atomic_fetch_add(&releases->n_pending, 1);
                put(releases, pending);
        }
        mongo_instance_hurry(releases->env->instance);
}

size_t mongo_releases_left(const struct mongo_releases *releases)
{
        return atomic_load(&releases->n_pending);
}

/* ---- the news ---- */

void mongo_releases_append(struct mongo_releases *releases, bson_t *set)
{
        bson_t names;

        pthread_mutex_lock(&releases->lock);
        BSON_APPEND_INT64(set, MONGO_RELEASED, releases->count);
        BSON_APPEND_ARRAY_BEGIN(set, MONGO_NAMES, &names);
        for (int64_t n = releases->count > RELEASES_KEPT ? releases->count - RELEASES_KEPT : 0, i = 0;
             n < releases->count; n++, i++) {
                char key[24];

                snprintf(key, sizeof(key), "%lld", (long long)i);
                BSON_APPEND_UTF8(&names, key, releases->names[n % RELEASES_KEPT]);
        }
        bson_append_array_end(set, &names);
        pthread_mutex_unlock(&releases->lock);
}

/* ---- start and stop ---- */

struct mongo_releases *mongo_releases_new(struct backend_env *env)
{
        struct mongo_releases *releases = calloc(1, sizeof(*releases));

        if (!releases)
                return NULL;
        releases->env = env;
        pthread_mutex_init(&releases->lock, NULL);
        return releases;
}

void mongo_releases_free(struct mongo_releases *releases)
{
        struct pending_release *pending;

        while (releases && (pending = take(releases, INT64_MAX)))
                free(pending);
        if (releases)
                pthread_mutex_destroy(&releases->lock);
        free(releases);
}
