/*
 * The instance's thread inserts the document, renews it, and repeats that after a failure. After the first
 * success it creates the pool of connections.
 *
 * The loop reads two atomics, `end_ms` and then `epoch`. retire() clears `end_ms` and then `epoch`; a new
 * instance sets `epoch` and then `end_ms`. So the loop never takes the end of a new instance's term for that
 * of an old one.
 */

#include "instance.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "keys.h"
#include "release.h"
#include "thread.h"

enum { RETRY_MS = 250, FIRST_WAIT_MS = 5000 };
enum { PLACE_BYTES = 4400 };

/*
 *     UNNAMED ──► NAMED ──► REGISTERED
 *        ▲                      │
 *        └──────────────────────┘ another daemon has marked it dead
 */
enum instance_phase {
        INSTANCE_UNNAMED,
        INSTANCE_NAMED, /* its document may be stored: no answer has said so */
        INSTANCE_REGISTERED,
};

struct mongo_instance {
        struct backend_env *env;
        mongoc_uri_t *uri; /* with timeouts that fit the term */
        mongoc_client_t *client;
        int64_t term_ms;
        char host[256];
        char boot_id[64];
        char place[PLACE_BYTES]; /* the data directory: one daemon at a time holds its lock */

        /* Only the thread uses these. */
        enum instance_phase phase;
        char id[MONGO_ID_BYTES];
        int64_t counter;
        bool logged_away;

        _Atomic int64_t end_ms; /* of CLOCK_BOOTTIME */
        _Atomic uint64_t epoch; /* 0: no instance now */
        _Atomic bool away;
        _Atomic bool left; /* some session names it after its end */

        pthread_t thread;
        pthread_mutex_t lock; /* protects what follows; never held while anything blocks */
        pthread_cond_t wake;  /* wakes the thread */
        pthread_cond_t tried; /* the first attempt has ended */
        bool stopping;
        bool hurry; /* do not wait for the next renewal */
        bool tried_once;
        uint64_t last_epoch;
        char current[MONGO_ID_BYTES]; /* the id of `epoch` */
        char why[256];                /* the last failure */
};

/* ---- what the loop reads ---- */

int64_t mongo_instance_left(const struct mongo_instance *instance, uint64_t epoch)
{
        int64_t end = atomic_load(&instance->end_ms);
        int64_t now = mongo_boot_ms();

        if (atomic_load(&instance->epoch) != epoch)
                return -1;
        return end > now ? end - now : 0;
}

/* ---- the deployment is away, or back ---- */

static void log_away(struct mongo_instance *instance, const char *why)
{
        const struct backend_config *config = instance->env->config;
        char text[600];

        if (instance->logged_away)
                return;
        instance->logged_away = true;
        snprintf(text, sizeof(text), "MongoDB at %s cannot be used now: %s", instance->env->where, why);
        config->log(config->log_arg, LOG_ERROR, text);
}

static void log_back(struct mongo_instance *instance)
{
        const struct backend_config *config = instance->env->config;
        char text[600];

        if (!instance->logged_away)
                return;
        instance->logged_away = false;
        snprintf(text, sizeof(text), "MongoDB at %s can be used again", instance->env->where);
        config->log(config->log_arg, LOG_INFO, text);
}

void mongo_instance_failed(struct mongo_instance *instance, const char *why)
{
        pthread_mutex_lock(&instance->lock);
        if (!atomic_load(&instance->away))
                snprintf(instance->why, sizeof(instance->why), "%s", why);
        atomic_store(&instance->away, true);
        pthread_mutex_unlock(&instance->lock);
        mongo_instance_hurry(instance);
}

bool mongo_instance_is_away(struct mongo_instance *instance, struct fault *fault)
{
        if (!atomic_load(&instance->away))
                return false;
        pthread_mutex_lock(&instance->lock);
        fault_set(fault, BACKEND_E_UNAVAILABLE, "MongoDB at %s cannot be used now: %s", instance->env->where,
                  instance->why);
        pthread_mutex_unlock(&instance->lock);
        return true;
}

int mongo_instance_term(struct mongo_instance *instance, struct mongo_term *term, struct fault *fault)
{
        const struct timespec until = mongo_time_in_us(FIRST_WAIT_MS * 1000);
        uint64_t epoch;

        pthread_mutex_lock(&instance->lock);
        while (!instance->tried_once && mongo_cond_wait(&instance->tried, &instance->lock, &until))
                continue;
        epoch = atomic_load(&instance->epoch);
        memcpy(term->id, instance->current, sizeof(term->id));
        pthread_mutex_unlock(&instance->lock);
        term->epoch = epoch;
        term->term_ms = instance->term_ms;
        if (epoch != 0 && mongo_instance_left(instance, epoch) > 0)
                return 0;
        if (mongo_instance_is_away(instance, fault))
                return BACKEND_E_UNAVAILABLE;
        return fault_set(fault, BACKEND_E_UNAVAILABLE,
                         "MongoDB at %s: ownership of this daemon's sessions is being confirmed",
                         instance->env->where);
}

/* ---- the document ---- */

static void new_id(char id[MONGO_ID_BYTES])
{
        bson_oid_t oid;
        char text[25];
        unsigned salt = 0;

        bson_oid_init(&oid, NULL);
        bson_oid_to_string(&oid, text);
        if (getentropy(&salt, sizeof(salt)) < 0)
                salt = (unsigned)getpid();
        snprintf(id, MONGO_ID_BYTES, "%s%08x", text, salt);
}

/* 1: the document exists already, from an attempt whose answer was lost. */
static int insert(struct mongo_instance *instance, bson_error_t *error)
{
        MONGO_COLLECTION collection = mongo_instances(instance->client);
        MONGO_BSON document = BCON_NEW(
                "_id", BCON_UTF8(instance->id), "host", BCON_UTF8(instance->host), "boot_id",
                BCON_UTF8(instance->boot_id), "data", BCON_UTF8(instance->place), "pid", BCON_INT64(getpid()),
                "uid", BCON_INT64(getuid()), "started", BCON_INT64((int64_t)time(NULL)), "term_ms",
                BCON_INT64(instance->term_ms), "counter", BCON_INT64(instance->counter));

        mongo_keys_append(instance->env, document);

        if (mongoc_collection_insert_one(collection, document, NULL, NULL, error))
                return 0;
        return mongo_is_duplicate(error) ? 1 : -1;
}

/* 1: the document is gone, or another daemon has marked it dead. */
static int renew(struct mongo_instance *instance, bson_error_t *error)
{
        MONGO_COLLECTION collection = mongo_instances(instance->client);
        MONGO_BSON filter = BCON_NEW("_id", BCON_UTF8(instance->id), "dead", "{", "$ne", BCON_BOOL(true), "}",
                                     "counter", "{", "$lt", BCON_INT64(++instance->counter), "}");
        MONGO_BSON update = bson_new();
        bson_t reply, set;
        int result = -1;

        BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
        BSON_APPEND_INT64(&set, "counter", instance->counter);
        mongo_releases_append(instance->env->releases, &set);
        mongo_keys_append(instance->env, &set);
        bson_append_document_end(update, &set);
        if (mongoc_collection_update_one(collection, filter, update, NULL, &reply, error))
                result = mongo_number_of(&reply, "matchedCount", 0) == 1 ? 0 : 1;
        bson_destroy(&reply);
        return result;
}

/* ---- the thread ---- */

static void enter_phase(struct mongo_instance *instance, enum instance_phase phase)
{
        static const enum instance_phase next[] = {
                [INSTANCE_UNNAMED] = INSTANCE_NAMED,
                [INSTANCE_NAMED] = INSTANCE_REGISTERED,
                [INSTANCE_REGISTERED] = INSTANCE_UNNAMED,
        };

        assert(phase == next[instance->phase]);
        instance->phase = phase;
}

/* This instance owns nothing any more. The next attempt makes a new one. */
static void retire(struct mongo_instance *instance)
{
        atomic_store(&instance->end_ms, 0);
        atomic_store(&instance->epoch, 0);
        enter_phase(instance, INSTANCE_UNNAMED);
}

static void register_as(struct mongo_instance *instance)
{
        pthread_mutex_lock(&instance->lock);
        memcpy(instance->current, instance->id, sizeof(instance->current));
        atomic_store(&instance->epoch, ++instance->last_epoch);
        pthread_mutex_unlock(&instance->lock);
        enter_phase(instance, INSTANCE_REGISTERED);
}

static bool attempt(struct mongo_instance *instance, bson_error_t *error)
{
        int64_t start = mongo_boot_ms();
        int result;

        if (!mongo_connection(&instance->client, instance->uri)) {
                snprintf(error->message, sizeof(error->message), "no connection can be made");
                return false;
        }
        if (instance->phase != INSTANCE_REGISTERED) {
                if (instance->phase == INSTANCE_UNNAMED) {
                        new_id(instance->id);
                        instance->counter = 1;
                        enter_phase(instance, INSTANCE_NAMED);
                }
                result = insert(instance, error);
                if (result < 0)
                        return false;
                if (result == 0) {
                        register_as(instance);
                        atomic_store(&instance->end_ms, start + instance->term_ms);
                        return true;
                }
                register_as(instance); /* its term begins with the renewal below */
        }
        result = renew(instance, error);
        if (result == 0)
                atomic_store(&instance->end_ms, start + instance->term_ms);
        if (result <= 0)
                return result == 0;
        retire(instance);
        snprintf(error->message, sizeof(error->message),
                 "another daemon has marked this one dead; it takes its sessions again");
        return false;
}

static void make_pool(struct mongo_instance *instance)
{
        struct backend_env *env = instance->env;
        mongoc_client_pool_t *pool;

        if (atomic_load(&env->pool))
                return;
        pool = mongoc_client_pool_new(env->uri);
        if (pool)
                mongoc_client_pool_set_error_api(pool, MONGOC_ERROR_API_VERSION_2);
        atomic_store(&env->pool, pool);
}

/* One attempt and its consequences. True: it succeeded, the next is due in a third of the term. */
static bool step(struct mongo_instance *instance)
{
        bson_error_t error = { 0 };
        bool good = attempt(instance, &error);

        if (good) {
                make_pool(instance);
                atomic_store(&instance->away, false);
                log_back(instance);
                /* However many there are, the next renewal is in time, and tells of them. */
                mongo_releases_write(instance->env->releases, instance->client,
                                     mongo_boot_ms() + instance->term_ms / 6, instance->term_ms / 3);
        } else {
                log_away(instance, error.message);
                mongo_connection_end(&instance->client);
        }
        pthread_mutex_lock(&instance->lock);
        if (!good && !atomic_load(&instance->away)) {
                snprintf(instance->why, sizeof(instance->why), "%.*s", (int)sizeof(instance->why) - 1,
                         error.message);
                atomic_store(&instance->away, true);
        }
        instance->tried_once = true;
        pthread_cond_broadcast(&instance->tried);
        pthread_mutex_unlock(&instance->lock);
        return good;
}

/* The time of the next renewal, or before that of the next release. */
static int64_t wait_ms(struct mongo_instance *instance, int64_t start_ms, bool good)
{
        int64_t now = mongo_boot_ms(), next = start_ms + instance->term_ms / 3;
        int64_t due = mongo_releases_due_ms(instance->env->releases);

        if (!good)
                return RETRY_MS;
        if (due < next)
                next = due;
        return next > now ? next - now : 0;
}

/* Until that time, or until there is something to do. The lock is held. */
static void sleep_ms(struct mongo_instance *instance, int64_t ms)
{
        const struct timespec until = mongo_time_in_us(ms * 1000);

        while (!instance->stopping && !instance->hurry &&
               mongo_cond_wait(&instance->wake, &instance->lock, &until))
                continue;
}

static void *run(void *arg)
{
        struct mongo_instance *instance = arg;

        pthread_mutex_lock(&instance->lock);
        while (!instance->stopping) {
                int64_t start_ms = mongo_boot_ms();
                bool good;

                instance->hurry = false;
                pthread_mutex_unlock(&instance->lock);
                good = step(instance);
                pthread_mutex_lock(&instance->lock);
                sleep_ms(instance, wait_ms(instance, start_ms, good));
        }
        pthread_mutex_unlock(&instance->lock);
        return NULL;
}

void mongo_instance_hurry(struct mongo_instance *instance)
{
        pthread_mutex_lock(&instance->lock);
        instance->hurry = true;
        pthread_cond_signal(&instance->wake);
        pthread_mutex_unlock(&instance->lock);
}

/* ---- start and stop ---- */

static void read_boot_id(char *text, size_t size)
{
        FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

        if (!file || !fgets(text, (int)size, file))
                new_id(text); /* no other daemon has it */
        text[strcspn(text, "\n")] = '\0';
        if (file)
                fclose(file);
}

/*
 * In containers of one kernel the same path may name several directories, and a lock that was removed does
 * not keep a second daemon out. So the lock's file tells which directory this is.
 */
static void describe_place(struct mongo_instance *instance)
{
        const char *path = instance->env->config->data_dir;
        struct stat stat = { 0 };

        fstat(instance->env->config->data_lock, &stat);
        snprintf(instance->place, sizeof(instance->place), "%s %llx:%llx", path,
                 (unsigned long long)stat.st_dev, (unsigned long long)stat.st_ino);
}

static void instance_free(struct mongo_instance *instance)
{
        pthread_mutex_destroy(&instance->lock);
        pthread_cond_destroy(&instance->wake);
        pthread_cond_destroy(&instance->tried);
        mongoc_uri_destroy(instance->uri);
        mongo_connection_end(&instance->client);
        free(instance);
}

struct mongo_instance *mongo_instance_start(struct backend_env *env)
{
        struct mongo_instance *instance = calloc(1, sizeof(*instance));

        if (!instance)
                return NULL;
        instance->env = env;
        instance->term_ms = env->term_ms;
        instance->uri = mongo_uri_within_term(env);
        gethostname(instance->host, sizeof(instance->host) - 1);
        read_boot_id(instance->boot_id, sizeof(instance->boot_id));
        describe_place(instance);
        pthread_mutex_init(&instance->lock, NULL);
        mongo_cond_init(&instance->wake);
        mongo_cond_init(&instance->tried);
        if (pthread_create(&instance->thread, NULL, run, instance) == 0)
                return instance;
        instance_free(instance);
        return NULL;
}

bool mongo_instance_is_former(const struct mongo_instance *instance, const bson_t *document)
{
        bson_iter_t boot_id, place;

        return bson_iter_init_find(&boot_id, document, "boot_id") && BSON_ITER_HOLDS_UTF8(&boot_id) &&
               bson_iter_init_find(&place, document, "data") && BSON_ITER_HOLDS_UTF8(&place) &&
               strcmp(bson_iter_utf8(&boot_id, NULL), instance->boot_id) == 0 &&
               strcmp(bson_iter_utf8(&place, NULL), instance->place) == 0;
}

void mongo_instance_leave(struct mongo_instance *instance)
{
        atomic_store(&instance->left, true);
}

/*
 * The document is deleted if every session is released. Else it stays, with its counter: clients may hold
 * leases, and other daemons take the sessions only when they have watched it long enough.
 */
static void end_instance(struct mongo_instance *instance)
{
        struct mongo_releases *releases = instance->env->releases;
        MONGO_COLLECTION collection = NULL;
        MONGO_BSON filter = BCON_NEW("_id", BCON_UTF8(instance->id));
        MONGO_BSON update = bson_new();
        bson_t set;

        if (!instance->client || instance->phase != INSTANCE_REGISTERED || atomic_load(&instance->away))
                return;
        mongo_releases_write(releases, instance->client, INT64_MAX, INT64_MAX / 2);
        collection = mongo_instances(instance->client);
        if (mongo_releases_due_ms(releases) == INT64_MAX && !atomic_load(&instance->left)) {
                mongoc_collection_delete_one(collection, filter, NULL, NULL, NULL);
                return;
        }
        BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
        mongo_releases_append(releases, &set);
        bson_append_document_end(update, &set);
        mongoc_collection_update_one(collection, filter, update, NULL, NULL, NULL);
}

void mongo_instance_stop(struct mongo_instance *instance)
{
        pthread_mutex_lock(&instance->lock);
        instance->stopping = true;
        pthread_cond_signal(&instance->wake);
        pthread_mutex_unlock(&instance->lock);
        pthread_join(instance->thread, NULL);
        end_instance(instance);
        instance_free(instance);
}
