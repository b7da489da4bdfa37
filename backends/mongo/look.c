/*
 * The sessions are in a queue, the one whose look is longest ago first. A looker takes the first; in the
 * shared layout it takes many, for one query. The pause between two queries is such that each session is
 * looked at three times a term, as long as that is no more than 50 documents a second; if there are more
 * sessions, once a term. If that is not kept up (a slow network), further lookers help.
 *
 * An answer counts only if the session still has the owner and fence that the looker had copied: a
 * confirmation may have changed them meanwhile.
 */

#include "look.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../proto/link.h"
#include "instance.h"
#include "release.h"
#include "stray.h"
#include "thread.h"

enum {
        LOOKERS = 4,
        LOOKS_A_SECOND = 50,
        RETRY_MS = 100,
        SIGHT = 4 * MONGO_BATCH_MAX, /* so far into the queue a batch is searched for */
        BUCKETS = 1024,
};

struct mongo_looked {
        struct link queued; /* looks->queue; in no list while a looker has it, or before it is ours */
        struct link bucket; /* looks->buckets: by key */
        unsigned refs;      /* the session's, and that of a looker */
        bool ended;         /* the session has gone */
        bool counted[2];    /* in looks->n, by layout */
        struct mongo_place place;
        char owner[MONGO_ID_BYTES];
        int64_t fence;
        _Atomic int64_t since_ms; /* of CLOCK_BOOTTIME: the start of the last look that found it ours */
        _Atomic bool is_lost;     /* a look has found that it is not */
};

/* One query. */
struct batch {
        size_t n;
        struct item {
                struct mongo_looked *looked;
                struct mongo_place place;
                char owner[MONGO_ID_BYTES];
                int64_t fence;
                bool is_ours;
        } items[MONGO_BATCH_MAX];
};

struct looker {
        struct mongo_looks *looks;
        unsigned rank; /* 0: the steady one; the others help when it is late */
        mongoc_client_t *client;
        struct batch batch;
        pthread_t thread;
};

struct mongo_looks {
        struct backend_env *env;
        mongoc_uri_t *uri; /* with timeouts that fit the term */
        struct mongo_strays *strays;
        struct looker lookers[LOOKERS];
        size_t n_lookers;

        pthread_mutex_t lock; /* protects what follows; never held while anything blocks */
        pthread_cond_t wake;
        bool stopping;
        bool leaving; /* documents are to go on naming this daemon's instance: none of them is a stray */
        struct link queue;
        struct link buckets[BUCKETS];
        size_t n[2];       /* sessions of each layout */
        int64_t next_us;   /* of CLOCK_MONOTONIC: the next query of the steady looker */
        size_t behind;     /* so many looks are made without a pause: the database was away */
        int64_t strays_us; /* when strays are searched for next */
};

/* ANSWERED_WRONG: the server refuses this query. It may answer others. */
enum answer { ANSWERED, ANSWERED_WRONG, NOT_ANSWERED };

static int64_t now_us(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- sessions ---- */

static struct link *bucket_of(struct mongo_looks *looks, const char *key)
{
        return &looks->buckets[mongo_hash(key) % BUCKETS];
}

struct mongo_looked *mongo_looked_new(struct mongo_looks *looks, const char *key)
{
        struct mongo_looked *looked = calloc(1, sizeof(*looked));

        if (!looked)
                return NULL;
        looked->refs = 1;
        snprintf(looked->place.key, sizeof(looked->place.key), "%s", key);
        link_init(&looked->queued);
        pthread_mutex_lock(&looks->lock);
        link_append(bucket_of(looks, key), &looked->bucket);
        pthread_mutex_unlock(&looks->lock);
        return looked;
}

/* The lock is held. */
static void unref(struct mongo_looked *looked)
{
        if (--looked->refs == 0)
                free(looked);
}

/* The lock is held. */
static void count(struct mongo_looks *looks, struct mongo_looked *looked, enum mongo_layout layout, bool in)
{
        looks->n[layout] += in;
        looks->n[layout] -= looked->counted[layout];
        looked->counted[layout] = in;
}

void mongo_looked_end(struct mongo_looks *looks, struct mongo_looked *looked)
{
        if (!looked)
                return;
        pthread_mutex_lock(&looks->lock);
        looked->ended = true;
        count(looks, looked, MONGO_OWN, false);
        count(looks, looked, MONGO_SHARED, false);
        link_remove(&looked->queued);
        link_remove(&looked->bucket);
        unref(looked);
        pthread_mutex_unlock(&looks->lock);
}

void mongo_looked_is_ours(struct mongo_looks *looks, const struct backend_session *session, int64_t since_ms)
{
        struct mongo_looked *looked = session->looked;

        pthread_mutex_lock(&looks->lock);
        looked->place = session->place;
        memcpy(looked->owner, session->owner, sizeof(looked->owner));
        looked->fence = session->fence;
        count(looks, looked, looked->place.layout, true);
        atomic_store(&looked->since_ms, since_ms);
        atomic_store(&looked->is_lost, false);
        if (link_empty(&looks->queue))
                pthread_cond_broadcast(&looks->wake);
        if (looked->refs == 1) { /* else its looker puts it back */
                link_remove(&looked->queued);
                link_append(&looks->queue, &looked->queued);
        }
        pthread_mutex_unlock(&looks->lock);
}

int64_t mongo_looked_left(const struct mongo_looks *looks, const struct mongo_looked *looked)
{
        int64_t end = atomic_load(&looked->since_ms) + 2 * looks->env->term_ms, now = mongo_boot_ms();

        if (atomic_load(&looked->is_lost))
                return -1;
        return end > now ? end - now : 0;
}

static bool is_known(void *arg, const char *key)
{
        struct mongo_looks *looks = arg;
        bool known = false;
        struct link *bucket, *at;

        pthread_mutex_lock(&looks->lock);
        bucket = bucket_of(looks, key);
        for (at = bucket->next; at != bucket && !known; at = at->next)
                known = strcmp(LINK_OF(at, struct mongo_looked, bucket)->place.key, key) == 0;
        pthread_mutex_unlock(&looks->lock);
        return known;
}

void mongo_looks_leave(struct mongo_looks *looks)
{
        pthread_mutex_lock(&looks->lock);
        looks->leaving = true;
        pthread_mutex_unlock(&looks->lock);
}

/* ---- batches; the lock is held ---- */

static void add_item(struct batch *batch, struct mongo_looked *looked)
{
        struct item *item = &batch->items[batch->n++];

        link_remove(&looked->queued);
        looked->refs++;
        *item = (struct item){ .looked = looked, .place = looked->place, .fence = looked->fence };
        memcpy(item->owner, looked->owner, sizeof(item->owner));
}

static void take_batch(struct mongo_looks *looks, struct batch *batch)
{
        struct mongo_looked *first = LINK_OF(looks->queue.next, struct mongo_looked, queued);
        struct link *at = first->queued.next;

        batch->n = 0;
        add_item(batch, first);
        if (first->place.layout == MONGO_OWN)
                return;
        for (size_t i = 0; i < SIGHT && at != &looks->queue && batch->n < MONGO_BATCH_MAX; i++) {
                struct mongo_looked *looked = LINK_OF(at, struct mongo_looked, queued);

                at = at->next;
                if (looked->place.layout == MONGO_SHARED)
                        add_item(batch, looked);
        }
}

static void give_back(struct mongo_looks *looks, struct batch *batch, enum answer answer, int64_t start_ms)
{
        for (size_t i = 0; i < batch->n; i++) {
                struct item *item = &batch->items[i];
                struct mongo_looked *looked = item->looked;
                bool counts = answer == ANSWERED && !looked->ended && looked->fence == item->fence &&
                              strcmp(looked->owner, item->owner) == 0;

                if (counts && item->is_ours) {
                        atomic_store(&looked->since_ms, start_ms);
                        atomic_store(&looked->is_lost, false);
                } else if (counts) {
                        atomic_store(&looked->is_lost, true);
                }
                if (!looked->ended)
                        link_append(&looks->queue, &looked->queued);
                unref(looked);
        }
        if (answer == NOT_ANSWERED)
                looks->behind = looks->n[MONGO_OWN] + looks->n[MONGO_SHARED];
        else
                looks->behind -= looks->behind < batch->n ? looks->behind : batch->n;
}

/* ---- the query ---- */

static bson_t *filter_of(const struct batch *batch)
{
        const struct mongo_place *first = &batch->items[0].place;
        bson_t *filter = bson_new(), condition, array;

        if (first->layout == MONGO_OWN) {
                mongo_place_append_session(filter, first);
                return filter;
        }
        BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &condition);
        BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &array);
        for (size_t i = 0; i < batch->n; i++) {
                char key[24];

                snprintf(key, sizeof(key), "%zu", i);
                BSON_APPEND_UTF8(&array, key, batch->items[i].place.key);
        }
        bson_append_array_end(&condition, &array);
        bson_append_document_end(filter, &condition);
        return filter;
}

static struct item *item_of(struct batch *batch, const bson_t *document)
{
        bson_iter_t iter;
        struct slice key;

        if (batch->items[0].place.layout == MONGO_OWN)
                return &batch->items[0];
        if (!bson_iter_init_find(&iter, document, "_id"))
                return NULL;
        key = mongo_read_text(&iter, MONGO_KEY_MAX);
        for (size_t i = 0; key.data && i < batch->n; i++)
                if (slice_is(key, batch->items[i].place.key))
                        return &batch->items[i];
        return NULL;
}

static bool is_owner(const bson_t *document, const struct item *item)
{
        bson_iter_t iter;

        return mongo_number_of(document, MONGO_FENCE, 0) == item->fence &&
               bson_iter_init_find(&iter, document, MONGO_OWNER) &&
               slice_is(mongo_read_text(&iter, MONGO_ID_BYTES - 1), item->owner);
}

static enum answer ask(mongoc_client_t *client, struct batch *batch)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &batch->items[0].place, "session");
        MONGO_BSON filter = filter_of(batch);
        MONGO_BSON options =
                BCON_NEW("projection", "{", MONGO_OWNER, BCON_INT32(1), MONGO_FENCE, BCON_INT32(1), "}",
                         "batchSize", BCON_INT32(MONGO_BATCH_MAX + 1), MONGO_READ_MAJORITY);
        mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
        const bson_t *document;
        bson_error_t error;
        enum answer answer = ANSWERED;

        while (mongoc_cursor_next(cursor, &document)) {
                struct item *item = item_of(batch, document);

                if (item)
                        item->is_ours = is_owner(document, item);
        }
        if (mongoc_cursor_error(cursor, &error))
                answer = error.domain == MONGOC_ERROR_SERVER ? ANSWERED_WRONG : NOT_ANSWERED;
        mongoc_cursor_destroy(cursor);
        return answer;
}

/* ---- the threads ---- */

static int64_t pause_us(const struct mongo_looks *looks)
{
        int64_t term_ms = looks->env->term_ms;
        size_t sessions = looks->n[MONGO_OWN] + looks->n[MONGO_SHARED];
        size_t queries =
                looks->n[MONGO_OWN] + (looks->n[MONGO_SHARED] + MONGO_BATCH_MAX - 1) / MONGO_BATCH_MAX;
        int64_t rounds = 3 * (int64_t)sessions * 1000 <= LOOKS_A_SECOND * term_ms ? 3 : 1; /* in a term */

        return term_ms * 1000 / rounds / (int64_t)(queries ? queries : 1);
}

/* Until the next query of this looker. The lock is held. */
static int64_t wait_us(const struct looker *looker)
{
        const struct mongo_looks *looks = looker->looks;
        int64_t term_ms = looks->env->term_ms, late_ms;

        if (link_empty(&looks->queue))
                return looker->rank ? term_ms * 1000 : looks->strays_us - now_us();
        if (looks->behind)
                return 0;
        late_ms = mongo_boot_ms() -
                  atomic_load(&LINK_OF(looks->queue.next, struct mongo_looked, queued)->since_ms);
        if (looker->rank)
                return (term_ms * 5 / 4 - late_ms) * 1000;
        return late_ms > term_ms ? 0 : looks->next_us - now_us();
}

/* The lock is held. A new session wakes it. */
static void sleep_us(struct mongo_looks *looks, int64_t us)
{
        const struct timespec until = mongo_time_in_us(us);

        mongo_cond_wait(&looks->wake, &looks->lock, &until);
}

/* The lock is held, except while it asks. False: no answer. */
static bool look(struct looker *looker)
{
        struct mongo_looks *looks = looker->looks;
        struct batch *batch = &looker->batch;
        int64_t start_ms = mongo_boot_ms(), start_us = now_us();
        enum answer answer;

        take_batch(looks, batch);
        if (looker->rank == 0) {
                looks->next_us += pause_us(looks);
                if (looks->next_us < start_us)
                        looks->next_us = start_us;
        }
        pthread_mutex_unlock(&looks->lock);
        answer = mongo_connection(&looker->client, looks->uri) ? ask(looker->client, batch) : NOT_ANSWERED;
        if (answer == NOT_ANSWERED)
                mongo_connection_end(&looker->client);
        pthread_mutex_lock(&looks->lock);
        give_back(looks, batch, answer, start_ms);
        return answer == ANSWERED;
}

/* The lock is held, except while it asks. */
static void look_for_strays(struct looker *looker)
{
        struct mongo_looks *looks = looker->looks;
        bool shared = !looks->leaving && (looks->env->layout == MONGO_SHARED || looks->n[MONGO_SHARED]);

        looks->strays_us = now_us() + looks->env->term_ms * 1000;
        pthread_mutex_unlock(&looks->lock);
        if (shared && mongo_connection(&looker->client, looks->uri) &&
            !mongo_strays_release(looks->strays, looker->client))
                mongo_connection_end(&looker->client);
        pthread_mutex_lock(&looks->lock);
}

/* What is due, or a pause. The lock is held, except while it asks. */
static void step(struct looker *looker)
{
        struct mongo_looks *looks = looker->looks;
        int64_t wait = wait_us(looker);
        struct fault fault;

        if (mongo_instance_is_away(looks->env->instance, &fault))
                sleep_us(looks, RETRY_MS * 1000);
        else if (looker->rank == 0 && looks->strays_us <= now_us())
                look_for_strays(looker);
        else if (wait > 0)
                sleep_us(looks, wait);
        else if (!link_empty(&looks->queue) && !look(looker) && !looks->stopping)
                sleep_us(looks, RETRY_MS * 1000);
}

static void *run(void *arg)
{
        struct looker *looker = arg;

        pthread_mutex_lock(&looker->looks->lock);
        while (!looker->looks->stopping)
                step(looker);
        pthread_mutex_unlock(&looker->looks->lock);
        return NULL;
}

/* ---- start and stop ---- */

void mongo_looks_stop(struct mongo_looks *looks)
{
        pthread_mutex_lock(&looks->lock);
        looks->stopping = true;
        pthread_cond_broadcast(&looks->wake);
        pthread_mutex_unlock(&looks->lock);
        for (size_t i = 0; i < looks->n_lookers; i++) {
                pthread_join(looks->lookers[i].thread, NULL);
                mongo_connection_end(&looks->lookers[i].client);
        }
        pthread_mutex_destroy(&looks->lock);
        pthread_cond_destroy(&looks->wake);
        mongo_strays_free(looks->strays);
        mongoc_uri_destroy(looks->uri);
        free(looks);
}

struct mongo_looks *mongo_looks_start(struct backend_env *env)
{
        struct mongo_looks *looks = calloc(1, sizeof(*looks));

        if (!looks)
                return NULL;
        looks->env = env;
        looks->uri = mongo_uri_within_term(env);
        looks->strays = mongo_strays_new(env, is_known, looks);
        link_init(&looks->queue);
        for (size_t i = 0; i < BUCKETS; i++)
                link_init(&looks->buckets[i]);
        looks->strays_us = now_us() + env->term_ms * 1000;
        pthread_mutex_init(&looks->lock, NULL);
        mongo_cond_init(&looks->wake);
        for (unsigned i = 0; looks->strays && i < LOOKERS; i++) {
                looks->lookers[i].looks = looks;
                looks->lookers[i].rank = i;
                if (pthread_create(&looks->lookers[i].thread, NULL, run, &looks->lookers[i]) != 0)
                        break;
                looks->n_lookers++;
        }
        if (looks->n_lookers == LOOKERS)
                return looks;
        mongo_looks_stop(looks);
        return NULL;
}
