/*
 * Other instances, whose sessions this daemon wants to take. A live one raises its counter every third of its
 * term. If the counter has not changed for 4/3 of the term, the instance is marked dead by compare-and-swap
 * on that counter. A dead instance cannot renew. Only then may its sessions be taken: OWNERSHIP.md.
 */

#include "instance_parts.h"

#include <stdio.h>
#include <stdlib.h>

struct seen {
        bool exists;
        bool dead;
        int64_t counter; /* -1: there is no document */
        int64_t term_ms;
        struct fault_holder holder;
        char boot_id[64];
        char place[PLACE_BYTES];
};

static void copy_text(const bson_t *document, const char *key, char *text, size_t size)
{
        bson_iter_t iter;
        struct slice found = SLICE_NONE;

        if (bson_iter_init_find(&iter, document, key))
                found = mongo_read_text(&iter, size - 1);
        if (found.data)
                memcpy(text, found.data, found.len);
        text[found.data ? found.len : 0] = '\0';
}

static int look(struct mongo_instance *instance, mongoc_client_t *client, const char *owner,
                struct seen *seen, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_instances(client);
        MONGO_BSON filter = BCON_NEW("_id", BCON_UTF8(owner));
        mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, NULL, NULL);
        const bson_t *document;
        bson_error_t error;
        int result = 0;

        seen->counter = -1;
        if (mongoc_cursor_next(cursor, &document)) {
                seen->exists = true;
                seen->dead = mongo_number_of(document, "dead", 0) != 0;
                seen->counter = mongo_number_of(document, "counter", 0);
                seen->term_ms = mongo_number_of(document, "term_ms", seen->term_ms);
                seen->holder.pid = mongo_number_of(document, "pid", 0);
                seen->holder.uid = mongo_number_of(document, "uid", 0);
                copy_text(document, "host", seen->holder.host, sizeof(seen->holder.host));
                copy_text(document, "boot_id", seen->boot_id, sizeof(seen->boot_id));
                copy_text(document, "data", seen->place, sizeof(seen->place));
        } else if (mongoc_cursor_error(cursor, &error)) {
                result = mongo_fault(instance->env, NULL, &error, fault);
        }
        mongoc_cursor_destroy(cursor);
        return result;
}

enum { FORGET_MS = 3600000, PRUNE_MS = 60000 };

/* Forgets instances of which no session has been wanted for an hour. */
static void prune(struct mongo_instance *instance, int64_t now)
{
        size_t kept = 0;

        if (now - instance->pruned_ms < PRUNE_MS)
                return;
        instance->pruned_ms = now;
        for (size_t i = 0; i < instance->n_watched; i++)
                if (now - instance->watched[i].used_ms < FORGET_MS)
                        instance->watched[kept++] = instance->watched[i];
        instance->n_watched = kept;
}

/* The first whose id is not less. */
static size_t place_of(const struct mongo_instance *instance, const char *id)
{
        size_t low = 0, high = instance->n_watched;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (strcmp(instance->watched[middle].id, id) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* The watch of this instance, begun where there is none. NULL: no memory. */
static struct watched *watch_of(struct mongo_instance *instance, const char *id, int64_t now)
{
        size_t place;
        struct watched *at;

        prune(instance, now);
        place = place_of(instance, id);
        if (place < instance->n_watched && strcmp(instance->watched[place].id, id) == 0)
                return &instance->watched[place];
        if (instance->n_watched == instance->watched_cap) {
                size_t cap = instance->watched_cap ? instance->watched_cap * 2 : 16;
                struct watched *grown = reallocarray(instance->watched, cap, sizeof(*grown));

                if (!grown)
                        return NULL;
                instance->watched = grown;
                instance->watched_cap = cap;
        }
        at = &instance->watched[place];
        memmove(at + 1, at, (instance->n_watched++ - place) * sizeof(*at));
        *at = (struct watched){ .counter = -2 }; /* like no counter that is read */
        snprintf(at->id, sizeof(at->id), "%s", id);
        return at;
}

/* Has its counter not changed for 4/3 of its term? The time counts from when the counter was first seen. */
static bool unchanged_long_enough(struct mongo_instance *instance, const char *owner, const struct seen *seen)
{
        int64_t now = mongo_boot_ms();
        struct watched *watched;
        bool result = false;

        pthread_mutex_lock(&instance->lock);
        watched = watch_of(instance, owner, now);
        if (watched && watched->counter == seen->counter) {
                result = now - watched->since_ms >= seen->term_ms + (seen->term_ms + 2) / 3;
        } else if (watched) {
                watched->counter = seen->counter;
                watched->since_ms = now;
        }
        if (watched)
                watched->used_ms = now;
        pthread_mutex_unlock(&instance->lock);
        return result;
}

/* By compare-and-swap on the counter, acknowledged by a majority. 1: the counter has changed. */
static int mark_dead(mongoc_client_t *client, const char *owner, const struct seen *seen, bson_error_t *error)
{
        MONGO_COLLECTION collection = mongo_instances(client);
        MONGO_BSON filter = BCON_NEW("_id", BCON_UTF8(owner), "counter", BCON_INT64(seen->counter));
        MONGO_BSON update = BCON_NEW("$set", "{", "dead", BCON_BOOL(true), "}");
        MONGO_BSON missing = BCON_NEW("_id", BCON_UTF8(owner), "dead", BCON_BOOL(true), "counter",
                                      BCON_INT64(0), "term_ms", BCON_INT64(seen->term_ms));
        bson_t reply;
        int result = -1;

        if (!seen->exists) {
                if (mongoc_collection_insert_one(collection, missing, NULL, NULL, error))
                        return 0;
                return mongo_is_duplicate(error) ? 1 : -1;
        }
        if (mongoc_collection_update_one(collection, filter, update, NULL, &reply, error))
                result = mongo_number_of(&reply, "matchedCount", 0) == 1 ? 0 : 1;
        bson_destroy(&reply);
        return result;
}

int mongo_instance_contend(struct mongo_instance *instance, mongoc_client_t *client, const char *owner,
                           int64_t term_ms, int64_t since, struct fault *fault)
{
        struct seen seen = { .term_ms = term_ms, .holder.since = since };
        bson_error_t error;
        int result;
        bool here;

        result = look(instance, client, owner, &seen, fault);
        if (result)
                return result;
        /*
         * This daemon holds the lock of its data directory: another instance of that directory has ended. It
         * is not marked dead: clients on this host may still hold leases on its other sessions, which no
         * other host may take before it has watched long enough.
         */
        here = seen.exists && !seen.dead && strcmp(seen.boot_id, instance->boot_id) == 0 &&
               strcmp(seen.place, instance->place) == 0;
        if (here)
                return 1;
        result = 1;
        if (seen.dead || unchanged_long_enough(instance, owner, &seen))
                result = mark_dead(client, owner, &seen, &error);
        if (result < 0)
                return mongo_fault(instance->env, NULL, &error, fault);
        if (result == 0)
                return 0;
        fault_set(fault, BACKEND_E_BUSY, "the session is held by gramd on host %s",
                  seen.holder.host[0] ? seen.holder.host : "(unknown)");
        fault->holder = seen.holder;
        return BACKEND_E_BUSY;
}
