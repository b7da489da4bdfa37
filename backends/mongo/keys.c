/*
 * A host that crashed leaves its document. Only one whose counter rises is alive: it does so every third of a
 * term. Those that were found dead are remembered with their counter, so that a rotation of many sessions
 * waits for them once.
 */

#include "keys.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "instance.h"

enum {
        HOSTS_MAX = 1024,    /* that lack the key, and are watched: most have ended long ago */
        ASK_MS = 100,        /* between two looks at them */
        WATCH_MAX_MS = 8000, /* before the request's deadline */
};

struct host {
        char id[MONGO_ID_BYTES]; /* of the instance */
        char name[256];
        int64_t counter;
        int64_t term_ms;
};

struct hosts {
        size_t n;
        struct host all[HOSTS_MAX];
};

struct mongo_keys {
        pthread_mutex_t lock;
        struct hosts dead;
};

struct mongo_keys *mongo_keys_new(void)
{
        struct mongo_keys *keys = calloc(1, sizeof(*keys));

        if (keys)
                pthread_mutex_init(&keys->lock, NULL);
        return keys;
}

void mongo_keys_free(struct mongo_keys *keys)
{
        if (!keys)
                return;
        pthread_mutex_destroy(&keys->lock);
        free(keys);
}

void mongo_keys_append(const struct backend_env *env, bson_t *document)
{
        uint8_t id[KEY_ID_BYTES];
        char text[KEY_ID_TEXT_BYTES], at[16];
        bson_t array;

        BSON_APPEND_ARRAY_BEGIN(document, MONGO_KEYS, &array);
        for (size_t i = 0; keyring_id(env->config->keyring, i, id); i++) {
                snprintf(at, sizeof(at), "%zu", i);
                key_id_text(id, text);
                bson_append_utf8(&array, at, -1, text, -1);
        }
        bson_append_array_end(document, &array);
}

/* A live host may be behind them. */
static int too_many(const struct backend_session *session, const char *key, struct fault *fault)
{
        return fault_session(fault, BACKEND_E_STORAGE, session->name,
                             "more than %d instances do not have key %s, too many to watch: delete those of "
                             "the past from gramd.instances, if no session names them",
                             HOSTS_MAX, key);
}

/* Instances that are not marked dead, and do not tell of this key. */
static int find_lacking(struct backend_session *session, mongoc_client_t *client, const char *key,
                        struct hosts *hosts, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_instances(client);
        MONGO_BSON filter = BCON_NEW("dead", "{", "$ne", BCON_BOOL(true), "}", MONGO_KEYS, "{", "$ne",
                                     BCON_UTF8(key), "}", "_id", "{", "$ne", BCON_UTF8(session->owner), "}");
        MONGO_BSON options = BCON_NEW("limit", BCON_INT64(HOSTS_MAX + 1));
        mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
        const bson_t *document;
        bson_error_t error;
        int result = 0;

        hosts->n = 0;
        while (mongoc_cursor_next(cursor, &document)) {
                struct host *host = &hosts->all[hosts->n];

                if (hosts->n == HOSTS_MAX) {
                        result = too_many(session, key, fault);
                        break;
                }
                hosts->n++;
                mongo_copy_text(document, "_id", host->id, sizeof(host->id));
                mongo_copy_text(document, "host", host->name, sizeof(host->name));
                host->counter = mongo_number_of(document, "counter", 0);
                host->term_ms = mongo_number_of(document, "term_ms", session->env->term_ms);
        }
        if (!result && mongoc_cursor_error(cursor, &error))
                result = mongo_fault(session->env, session->name, &error, fault);
        mongoc_cursor_destroy(cursor);
        return result;
}

/* With the same counter, or with another one. */
static bool has(const struct hosts *hosts, const struct host *host, bool same)
{
        for (size_t i = 0; i < hosts->n; i++)
                if (strcmp(hosts->all[i].id, host->id) == 0 &&
                    (hosts->all[i].counter == host->counter) == same)
                        return true;
        return false;
}

/* Those that were found dead, and have not moved since. */
static void drop_dead(struct mongo_keys *keys, struct hosts *hosts)
{
        size_t kept = 0;

        pthread_mutex_lock(&keys->lock);
        for (size_t i = 0; i < hosts->n; i++)
                if (!has(&keys->dead, &hosts->all[i], true))
                        hosts->all[kept++] = hosts->all[i];
        pthread_mutex_unlock(&keys->lock);
        hosts->n = kept;
}

/* Where there are too many, the first ones are forgotten: they are watched again. */
static void remember_dead(struct mongo_keys *keys, const struct hosts *hosts)
{
        struct hosts *dead = &keys->dead;

        pthread_mutex_lock(&keys->lock);
        for (size_t i = 0; i < hosts->n; i++) {
                if (dead->n == HOSTS_MAX)
                        memmove(dead->all, dead->all + 1, --dead->n * sizeof(*dead->all));
                dead->all[dead->n++] = hosts->all[i];
        }
        pthread_mutex_unlock(&keys->lock);
}

static int64_t longest_ms(const struct hosts *hosts)
{
        int64_t longest = 0;

        for (size_t i = 0; i < hosts->n; i++)
                if (hosts->all[i].term_ms > longest)
                        longest = hosts->all[i].term_ms;
        return longest;
}

static int lacks_key(const struct backend_session *session, const struct host *host, const char *key,
                     struct fault *fault)
{
        return fault_session(fault, BACKEND_E_STORAGE, session->name,
                             "host %s does not have key %s, and could not open it: give it the key, "
                             "and reload its daemon",
                             host->name, key);
}

/* Several documents may be of one host. `now` is room for what is found. */
static int watch(struct backend_session *session, mongoc_client_t *client, const char *key,
                 const struct hosts *before, struct hosts *now, struct fault *fault)
{
        const struct timespec pause = { .tv_nsec = ASK_MS * 1000000L };
        int64_t start = mongo_boot_ms(), half_term = longest_ms(before) / 2;
        int64_t wait = half_term < WATCH_MAX_MS ? half_term : WATCH_MAX_MS;
        int result = 0;

        while (!result && mongo_boot_ms() - start < wait) {
                nanosleep(&pause, NULL);
                result = find_lacking(session, client, key, now, fault);
                for (size_t i = 0; !result && i < now->n; i++)
                        if (has(before, &now->all[i], false))
                                result = lacks_key(session, &now->all[i], key, fault);
        }
        if (!result && wait < half_term) /* its term is too long to see whether it lives */
                return lacks_key(session, &before->all[0], key, fault);
        return result;
}

int mongo_keys_same(struct backend_session *session, const uint8_t asked[KEY_ID_BYTES], struct fault *fault)
{
        uint8_t current[KEY_ID_BYTES] = { 0 };

        keyring_id(session->env->config->keyring, 0, current);
        if (memcmp(current, asked, sizeof(current)) == 0)
                return 0;
        return fault_session(fault, BACKEND_E_STORAGE, session->name,
                             "the keys were reloaded while it was being sealed: repeat the request");
}

int mongo_keys_check(struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        struct mongo_keys *keys = session->env->keys;
        uint8_t id[KEY_ID_BYTES] = { 0 };
        char key[KEY_ID_TEXT_BYTES];
        struct hosts *lacking = calloc(2, sizeof(*lacking));
        int result;

        if (!lacking)
                return mongo_no_memory(fault);
        keyring_id(session->env->config->keyring, 0, id);
        key_id_text(id, key);
        result = find_lacking(session, client, key, lacking, fault);
        if (!result)
                drop_dead(keys, lacking);
        if (!result && lacking->n > 0) {
                result = watch(session, client, key, lacking, lacking + 1, fault);
                if (!result)
                        remember_dead(keys, lacking);
        }
        free(lacking);
        return result ? result : mongo_keys_same(session, id, fault);
}
