#include "stray.h"

#include <stdio.h>
#include <stdlib.h>

#include "instance.h"
#include "release.h"

struct stray {
        char key[MONGO_KEY_MAX + 1];
        int64_t fence;
};

struct found {
        struct stray *items; /* ascending by key */
        size_t n, cap;
};

struct mongo_strays {
        struct backend_env *env;
        mongo_known_fn is_known;
        void *arg;
        struct found before; /* in the last search */
};

static int by_key(const void *a, const void *b)
{
        return strcmp(((const struct stray *)a)->key, ((const struct stray *)b)->key);
}

/* No memory: it is found the next time. */
static void add(struct found *found, const struct stray *stray)
{
        if (found->n == found->cap) {
                size_t cap = found->cap ? found->cap * 2 : 16;
                struct stray *grown = reallocarray(found->items, cap, sizeof(*grown));

                if (!grown)
                        return;
                found->items = grown;
                found->cap = cap;
        }
        found->items[found->n++] = *stray;
}

static bool was_found(const struct found *before, const struct stray *stray)
{
        const struct stray *same =
                before->n ? bsearch(stray, before->items, before->n, sizeof(*stray), by_key) : NULL;

        return same && same->fence == stray->fence;
}

/* By compare-and-swap, as any release. */
static void release(struct mongo_strays *strays, mongoc_client_t *client, const char *owner,
                    const struct stray *stray)
{
        const struct backend_config *config = strays->env->config;
        struct mongo_place place = { .layout = MONGO_SHARED };
        char text[MONGO_KEY_MAX + 200];
        bson_error_t error;

        memcpy(place.key, stray->key, sizeof(place.key));
        if (mongo_release(strays->env->releases, client, &place, owner, stray->fence, &error))
                return;
        snprintf(text, sizeof(text), "the document `%s` named this daemon, which does not have it: released",
                 stray->key);
        config->log(config->log_arg, LOG_WARNING, text);
}

/* False: no answer. */
static bool find(struct mongo_strays *strays, mongoc_client_t *client, const char *owner, struct found *found)
{
        struct mongo_place place = { .layout = MONGO_SHARED };
        MONGO_COLLECTION collection = mongo_place_collection(client, &place, "session");
        MONGO_BSON filter = BCON_NEW(MONGO_OWNER, BCON_UTF8(owner));
        MONGO_BSON options = BCON_NEW("projection", "{", MONGO_FENCE, BCON_INT32(1), "}", "batchSize",
                                      BCON_INT32(1000), MONGO_READ_MAJORITY);
        mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
        const bson_t *document;
        bson_error_t error;
        bson_iter_t iter;
        bool answered;

        while (mongoc_cursor_next(cursor, &document)) {
                struct stray stray = { .fence = mongo_number_of(document, MONGO_FENCE, 0) };
                struct slice key = SLICE_NONE;

                if (bson_iter_init_find(&iter, document, "_id"))
                        key = mongo_read_text(&iter, MONGO_KEY_MAX);
                if (!key.data)
                        continue;
                memcpy(stray.key, key.data, key.len);
                if (!strays->is_known(strays->arg, stray.key) &&
                    !mongo_releases_has(strays->env->releases, stray.key))
                        add(found, &stray);
        }
        answered = !mongoc_cursor_error(cursor, &error);
        mongoc_cursor_destroy(cursor);
        return answered;
}

bool mongo_strays_release(struct mongo_strays *strays, mongoc_client_t *client)
{
        struct mongo_term term;
        struct fault fault;
        struct found found = { 0 };
        bool answered;

        if (mongo_instance_term(strays->env->instance, &term, &fault))
                return true;
        answered = find(strays, client, term.id, &found);
        for (size_t i = 0; answered && i < found.n; i++)
                if (was_found(&strays->before, &found.items[i]))
                        release(strays, client, term.id, &found.items[i]);
        if (found.n > 1)
                qsort(found.items, found.n, sizeof(*found.items), by_key);
        free(strays->before.items);
        strays->before = found;
        return answered;
}

struct mongo_strays *mongo_strays_new(struct backend_env *env, mongo_known_fn is_known, void *arg)
{
        struct mongo_strays *strays = calloc(1, sizeof(*strays));

        if (strays)
                *strays = (struct mongo_strays){ .env = env, .is_known = is_known, .arg = arg };
        return strays;
}

void mongo_strays_free(struct mongo_strays *strays)
{
        if (strays)
                free(strays->before.items);
        free(strays);
}
