/*
 * A live instance raises its counter every third of its term. If the counter has not changed for 4/3 of the
 * term, the instance is marked dead by compare-and-swap on that counter. A dead instance cannot renew. Only
 * then may its sessions be taken.
 */

#include "rival.h"

#include <stdio.h>
#include <stdlib.h>

#include "instance.h"
#include "memo.h"
#include "release.h"
#include "thread.h"

enum {
        POLL_MS = 40,      /* between two readings while something waits */
        JITTER_MS = 10,    /* at most so much more: daemons are not to read in step */
        BACK_OFF_MS = 800, /* after failures */
        STALE_MS = 500,    /* older news is read again before it is believed */
        WANTED_MS = 3000,  /* so long, and two terms, after it was wanted an instance is read */
        NO_DOCUMENT = -1,  /* as a counter */
};

struct watched {
        struct mongo_memo memo; /* used when a session of it is wanted */
        int64_t counter;        /* once it is read */
        int64_t since_ms;       /* of CLOCK_BOOTTIME: the counter has not changed since */
        int64_t read_ms;        /* 0: not yet */
        int64_t term_ms;
        bool is_marked; /* its document says that it is dead; a majority may not have that yet */
        bool is_dead;   /* a majority has it */
        bool is_former; /* a former start of this daemon */
        struct fault_holder holder;
        int64_t released;
        size_t n_names;
        uint64_t names[RELEASES_KEPT]; /* hashes of the last released, the newest last */
};

struct mongo_rivals {
        struct backend_env *env;
        mongoc_uri_t *uri;       /* with timeouts that fit the term */
        mongoc_client_t *client; /* the thread's */

        pthread_t thread;
        pthread_cond_t wake;
        pthread_mutex_t lock; /* protects what follows; never held while anything blocks */
        bool stopping;
        bool sleeping;              /* nothing was wanted */
        struct mongo_memos watched; /* by the instance's id */
};

/* ---- the table; the lock is held ---- */

static struct watched *find(const struct mongo_rivals *rivals, const char *id)
{
        return (struct watched *)mongo_memo_find(&rivals->watched, id);
}

/* Somebody waits for a session of it. NULL: no memory. */
static struct watched *want(struct mongo_rivals *rivals, const char *id)
{
        struct watched *watched = (struct watched *)mongo_memo_use(&rivals->watched, id, sizeof(*watched));

        if (watched && rivals->sleeping)
                pthread_cond_signal(&rivals->wake);
        return watched;
}

static bool is_wanted(const struct watched *watched, int64_t now)
{
        return now - watched->memo.used_ms < 2 * watched->term_ms + WANTED_MS && !watched->is_dead &&
               !watched->is_former;
}

static bool is_released(const struct watched *watched, int64_t seen, uint64_t name)
{
        int64_t n_new = watched->released - seen;

        if (n_new < 0 || n_new > (int64_t)watched->n_names)
                return true; /* more than are named */
        for (int64_t i = 1; i <= n_new; i++)
                if (watched->names[watched->n_names - (size_t)i] == name)
                        return true;
        return false;
}

/* ---- reading ---- */

static void read_names(struct watched *watched, const bson_t *document)
{
        bson_iter_t iter, name;

        watched->n_names = 0;
        if (!bson_iter_init_find(&iter, document, MONGO_NAMES) || !bson_iter_recurse(&iter, &name))
                return;
        while (watched->n_names < RELEASES_KEPT && bson_iter_next(&name))
                watched->names[watched->n_names++] =
                        BSON_ITER_HOLDS_UTF8(&name) ? mongo_hash(bson_iter_utf8(&name, NULL)) : 0;
}

/*
 * A counter that differs from the last one begins the watch anew. So does a time in which nothing was read:
 * if the deployment was away, no instance could renew, and those that survive that are not to be ended.
 */
static void read_counter(struct watched *watched, int64_t counter, int64_t now)
{
        if (watched->read_ms == 0 || watched->counter != counter ||
            now - watched->read_ms > watched->term_ms / 2)
                watched->since_ms = now;
        watched->counter = counter;
        watched->read_ms = now;
}

/* True: sessions of it may be free now. */
static bool read_document(struct mongo_rivals *rivals, struct watched *watched, const bson_t *document,
                          int64_t now)
{
        int64_t before = watched->released;
        bool is_first = watched->read_ms == 0;

        read_counter(watched, mongo_number_of(document, "counter", 0), now);
        watched->is_marked = mongo_number_of(document, "dead", 0) != 0;
        watched->term_ms = mongo_number_of(document, "term_ms", watched->term_ms);
        if (is_first) {
                watched->holder.pid = mongo_number_of(document, "pid", 0);
                watched->holder.uid = mongo_number_of(document, "uid", 0);
                mongo_copy_text(document, "host", watched->holder.host, sizeof(watched->holder.host));
                watched->is_former = mongo_instance_is_former(rivals->env->instance, document);
        }
        watched->released = mongo_number_of(document, MONGO_RELEASED, 0);
        read_names(watched, document);
        return watched->released != before;
}

/* Sessions of an instance that ended in order are free. */
static bool read_nothing(struct watched *watched, int64_t now)
{
        bool has_gone = watched->counter != NO_DOCUMENT && watched->read_ms > 0;

        read_counter(watched, NO_DOCUMENT, now);
        if (has_gone) {
                watched->released++;
                watched->n_names = 0;
        }
        return has_gone;
}

struct reading {
        char id[MONGO_ID_BYTES];
        bool is_met;
};

static int by_id(const void *a, const void *b)
{
        return strcmp(((const struct reading *)a)->id, ((const struct reading *)b)->id);
}

static bson_t *filter_of(const struct reading *readings, size_t n)
{
        bson_t *filter = bson_new(), condition, array;

        BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &condition);
        BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &array);
        for (size_t i = 0; i < n; i++) {
                char key[24];

                snprintf(key, sizeof(key), "%zu", i);
                BSON_APPEND_UTF8(&array, key, readings[i].id);
        }
        bson_append_array_end(&condition, &array);
        bson_append_document_end(filter, &condition);
        return filter;
}

/* One instance of a reply. `document` NULL: it has none. */
static bool take_in(struct mongo_rivals *rivals, const char *id, const bson_t *document)
{
        struct watched *watched;
        bool news = false;

        pthread_mutex_lock(&rivals->lock);
        watched = find(rivals, id);
        if (watched)
                news = document ? read_document(rivals, watched, document, mongo_boot_ms())
                                : read_nothing(watched, mongo_boot_ms());
        pthread_mutex_unlock(&rivals->lock);
        return news;
}

/* `readings` ascend by id. */
static int read_all(struct mongo_rivals *rivals, mongoc_client_t *client, struct reading *readings, size_t n,
                    bool *news, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_instances(client);
        MONGO_BSON filter = filter_of(readings, n);
        mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, NULL, NULL);
        const bson_t *document;
        bson_error_t error;
        int result = 0;

        while (mongoc_cursor_next(cursor, &document)) {
                struct reading key = { .is_met = false }, *reading;

                mongo_copy_text(document, "_id", key.id, sizeof(key.id));
                reading = bsearch(&key, readings, n, sizeof(key), by_id);
                if (!reading)
                        continue;
                reading->is_met = true;
                *news |= take_in(rivals, key.id, document);
        }
        if (mongoc_cursor_error(cursor, &error))
                result = mongo_fault(rivals->env, NULL, &error, fault);
        mongoc_cursor_destroy(cursor);
        for (size_t i = 0; !result && i < n; i++)
                if (!readings[i].is_met)
                        *news |= take_in(rivals, readings[i].id, NULL);
        return result;
}

/* ---- marking ---- */

static bool is_due(const struct watched *watched, int64_t now)
{
        if (watched->is_dead || watched->read_ms == 0)
                return false;
        if (watched->is_marked || watched->is_former)
                return watched->is_marked;
        return now - watched->since_ms >= watched->term_ms + (watched->term_ms + 2) / 3;
}

/* By compare-and-swap on the counter, acknowledged by a majority. 1: the counter has changed. */
static int mark_dead(mongoc_client_t *client, const char *id, const struct watched *seen, bson_error_t *error)
{
        MONGO_COLLECTION collection = mongo_instances(client);
        MONGO_BSON filter = BCON_NEW("_id", BCON_UTF8(id), "counter", BCON_INT64(seen->counter));
        MONGO_BSON update = BCON_NEW("$set", "{", "dead", BCON_BOOL(true), "}");
        MONGO_BSON missing = BCON_NEW("_id", BCON_UTF8(id), "dead", BCON_BOOL(true), "counter", BCON_INT64(0),
                                      "term_ms", BCON_INT64(seen->term_ms));
        bson_t reply;
        int result = -1;

        if (seen->counter == NO_DOCUMENT) {
                if (mongoc_collection_insert_one(collection, missing, NULL, NULL, error))
                        return 0;
                return mongo_is_duplicate(error) ? 1 : -1;
        }
        if (mongoc_collection_update_one(collection, filter, update, NULL, &reply, error))
                result = mongo_number_of(&reply, "matchedCount", 0) == 1 ? 0 : 1;
        bson_destroy(&reply);
        return result;
}

/* Marks it, if that is due. Its sessions may then be taken. */
static int mark_if_due(struct mongo_rivals *rivals, mongoc_client_t *client, const char *id, bool *news,
                       struct fault *fault)
{
        struct watched *watched, seen;
        bson_error_t error;
        bool due;
        int result;

        pthread_mutex_lock(&rivals->lock);
        watched = find(rivals, id);
        due = watched && is_due(watched, mongo_boot_ms());
        if (due)
                seen = *watched;
        pthread_mutex_unlock(&rivals->lock);
        if (!due)
                return 0;
        result = mark_dead(client, id, &seen, &error);
        if (result < 0)
                return mongo_fault(rivals->env, NULL, &error, fault);
        pthread_mutex_lock(&rivals->lock);
        watched = find(rivals, id);
        if (watched && result == 0)
                *news = watched->is_dead = true;
        pthread_mutex_unlock(&rivals->lock);
        return 0;
}

/* ---- the thread ---- */

/* The wanted ones, ascending by id. malloc'ed; NULL: none, or no memory. The lock is held. */
static struct reading *wanted(const struct mongo_rivals *rivals, size_t *n)
{
        int64_t now = mongo_boot_ms();
        struct reading *readings;

        *n = 0;
        for (size_t i = 0; i < rivals->watched.n; i++)
                *n += is_wanted((struct watched *)rivals->watched.all[i], now);
        readings = *n ? calloc(*n, sizeof(*readings)) : NULL;
        for (size_t i = 0, at = 0; readings && i < rivals->watched.n; i++)
                if (is_wanted((struct watched *)rivals->watched.all[i], now))
                        strcpy(readings[at++].id, rivals->watched.all[i]->key);
        return readings;
}

static bool step(struct mongo_rivals *rivals, struct reading *readings, size_t n)
{
        const struct backend_config *config = rivals->env->config;
        struct fault fault;
        bool news = false;
        int result = mongo_instance_is_away(rivals->env->instance, &fault) ? BACKEND_E_UNAVAILABLE : 0;

        if (!result && !mongo_connection(&rivals->client, rivals->uri))
                result = mongo_no_memory(&fault);
        if (!result)
                result = read_all(rivals, rivals->client, readings, n, &news, &fault);
        for (size_t i = 0; !result && i < n; i++)
                result = mark_if_due(rivals, rivals->client, readings[i].id, &news, &fault);
        if (result)
                mongo_connection_end(&rivals->client);
        if (news)
                config->news(config->news_arg);
        return !result;
}

static void sleep_ms(struct mongo_rivals *rivals, int64_t wait_ms)
{
        const struct timespec until = mongo_time_in_us(wait_ms * 1000);

        while (!rivals->stopping && mongo_cond_wait(&rivals->wake, &rivals->lock, &until))
                continue;
}

static void *run(void *arg)
{
        struct mongo_rivals *rivals = arg;
        int64_t pause_ms = POLL_MS;
        unsigned seed = (unsigned)mongo_boot_ms();

        pthread_mutex_lock(&rivals->lock);
        while (!rivals->stopping) {
                size_t n;
                struct reading *readings = wanted(rivals, &n);
                bool good;

                if (n == 0) {
                        rivals->sleeping = true;
                        pthread_cond_wait(&rivals->wake, &rivals->lock);
                        rivals->sleeping = false;
                        continue;
                }
                pthread_mutex_unlock(&rivals->lock);
                good = readings && step(rivals, readings, n);
                free(readings);
                pthread_mutex_lock(&rivals->lock);
                pause_ms = good ? POLL_MS : pause_ms * 2 < BACK_OFF_MS ? pause_ms * 2 : BACK_OFF_MS;
                sleep_ms(rivals, pause_ms + rand_r(&seed) % (pause_ms * JITTER_MS / POLL_MS));
        }
        pthread_mutex_unlock(&rivals->lock);
        return NULL;
}

/* ---- what an `open` asks ---- */

static void tell_holder(const struct watched *watched, const struct mongo_owner *owner, struct fault *fault)
{
        fault_set(fault, BACKEND_E_BUSY, "the session is held by gramd on host %s",
                  watched->holder.host[0] ? watched->holder.host : "(unknown)");
        fault->holder = watched->holder;
        fault->holder.since = owner->since;
        snprintf(fault->wait.owner, sizeof(fault->wait.owner), "%s", owner->id);
        fault->wait.seen = watched->released;
}

/* False: what is known of it is more than `stale_ms` old. */
static bool answer_of(struct mongo_rivals *rivals, const struct mongo_owner *owner, int64_t stale_ms,
                      int *answer, struct fault *fault)
{
        struct watched *watched;
        bool is_new = true;

        pthread_mutex_lock(&rivals->lock);
        watched = want(rivals, owner->id);
        if (watched && watched->term_ms == 0)
                watched->term_ms = owner->term_ms;
        if (!watched) {
                *answer = mongo_no_memory(fault);
        } else if (watched->is_dead) {
                *answer = 0;
        } else if (mongo_boot_ms() - watched->read_ms > stale_ms) {
                is_new = false;
        } else if (watched->is_former) {
                *answer = 1;
        } else {
                tell_holder(watched, owner, fault);
                *answer = BACKEND_E_BUSY;
        }
        pthread_mutex_unlock(&rivals->lock);
        return is_new;
}

int mongo_rivals_contend(struct mongo_rivals *rivals, mongoc_client_t *client,
                         const struct mongo_owner *owner, struct fault *fault)
{
        const struct backend_config *config = rivals->env->config;
        struct reading reading = { .is_met = false };
        bool news = false;
        int result, answer = 0;

        if (answer_of(rivals, owner, STALE_MS, &answer, fault))
                return answer;
        snprintf(reading.id, sizeof(reading.id), "%s", owner->id);
        result = read_all(rivals, client, &reading, 1, &news, fault);
        if (!result)
                result = mark_if_due(rivals, client, owner->id, &news, fault);
        if (news)
                config->news(config->news_arg);
        if (!result)
                answer_of(rivals, owner, INT64_MAX, &answer, fault);
        return result ? result : answer;
}

bool mongo_rivals_may_open(struct mongo_rivals *rivals, const struct backend_wait *wait, const char *key)
{
        struct watched *watched;
        bool may;

        pthread_mutex_lock(&rivals->lock);
        watched = find(rivals, wait->owner);
        may = !watched || watched->is_dead || is_released(watched, wait->seen, mongo_hash(key));
        if (watched)
                want(rivals, wait->owner);
        pthread_mutex_unlock(&rivals->lock);
        return may;
}

/* ---- start and stop ---- */

static void rivals_free(struct mongo_rivals *rivals)
{
        pthread_mutex_destroy(&rivals->lock);
        pthread_cond_destroy(&rivals->wake);
        mongoc_uri_destroy(rivals->uri);
        mongo_connection_end(&rivals->client);
        mongo_memos_free(&rivals->watched);
        free(rivals);
}

struct mongo_rivals *mongo_rivals_start(struct backend_env *env)
{
        struct mongo_rivals *rivals = calloc(1, sizeof(*rivals));

        if (!rivals)
                return NULL;
        rivals->env = env;
        rivals->uri = mongo_uri_within_term(env);
        pthread_mutex_init(&rivals->lock, NULL);
        mongo_cond_init(&rivals->wake);
        if (pthread_create(&rivals->thread, NULL, run, rivals) == 0)
                return rivals;
        rivals_free(rivals);
        return NULL;
}

void mongo_rivals_stop(struct mongo_rivals *rivals)
{
        pthread_mutex_lock(&rivals->lock);
        rivals->stopping = true;
        pthread_cond_signal(&rivals->wake);
        pthread_mutex_unlock(&rivals->lock);
        pthread_join(rivals->thread, NULL);
        rivals_free(rivals);
}
