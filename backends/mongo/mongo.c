/*
 * Sessions in a MongoDB deployment. This file has the environment: the URI, the pool of connections, and what
 * an error of the driver means. The daemon starts without the deployment and serves its other backends;
 * instance.c notices when it can be reached.
 */

#include "mongo.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../wiping.h"
#include "fence.h"
#include "instance.h"
#include "keys.h"
#include "kv.h"
#include "look.h"
#include "release.h"
#include "rival.h"

enum {
        TIMEOUT_MS = 5000,
        JOBS_MAX = 8,
        OPENS_MAX = 1, /* of three hosts at once: with 2 the writes of open sessions took 3.7 times as long:
                          herd.py */
        DEADLINE_MS = 10000,
        URI_MAX_BYTES = 4095,
};

int mongo_no_memory(struct fault *fault)
{
        return fault_set(fault, BACKEND_E_STORAGE, "out of memory");
}

/* ---- errors ---- */

/* Error codes of the server that pass: another server, or the same one later, may succeed. */
static bool is_temporary(uint32_t code)
{
        static const uint32_t codes[] = { 6,   7,   18,  50,   64,    89,    91,    100,   112,   133,  189,
                                          202, 234, 262, 9001, 10107, 11600, 11602, 13388, 13435, 13436 };

        for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
                if (codes[i] == code)
                        return true;
        return false;
}

static int error_of(const bson_error_t *error)
{
        enum { INVALID_NAMESPACE = 73, DIFFERS_IN_CASE = 13297 };

        switch (error->domain) {
        case MONGOC_ERROR_CLIENT:
        case MONGOC_ERROR_STREAM:
        case MONGOC_ERROR_PROTOCOL:
        case MONGOC_ERROR_SERVER_SELECTION:
        case MONGOC_ERROR_WRITE_CONCERN: return BACKEND_E_UNAVAILABLE;
        default: break;
        }
        if (error->code == INVALID_NAMESPACE || error->code == DIFFERS_IN_CASE)
                return BACKEND_E_NAME;
        return is_temporary(error->code) ? BACKEND_E_UNAVAILABLE : BACKEND_E_STORAGE;
}

int mongo_fault(struct backend_env *env, const char *name, const bson_error_t *error, struct fault *fault)
{
        int result = error_of(error);

        if (name)
                fault_session(fault, result, name, "MongoDB at %s: %s", env->where, error->message);
        else
                fault_set(fault, result, "MongoDB at %s: %s", env->where, error->message);
        if (result == BACKEND_E_UNAVAILABLE)
                mongo_instance_failed(env->instance, error->message);
        return result;
}

bool mongo_is_duplicate(const bson_error_t *error)
{
        return error->code == MONGOC_ERROR_DUPLICATE_KEY;
}

uint64_t mongo_hash(const char *text)
{
        uint64_t hash = 14695981039346656037u; /* FNV-1a */

        for (; *text; text++)
                hash = (hash ^ (uint8_t)*text) * 1099511628211u;
        return hash;
}

/* ---- connections ---- */

mongoc_client_t *mongo_client_take(struct backend_env *env, struct fault *fault)
{
        mongoc_client_pool_t *pool = atomic_load(&env->pool);

        if (mongo_instance_is_away(env->instance, fault))
                return NULL;
        if (!pool) {
                fault_set(fault, BACKEND_E_UNAVAILABLE, "MongoDB at %s has not been reached yet", env->where);
                return NULL;
        }
        return mongoc_client_pool_pop(pool);
}

void mongo_client_give(struct backend_env *env, mongoc_client_t *client)
{
        mongoc_client_pool_push(atomic_load(&env->pool), client);
}

struct mongo_use mongo_use_begin(struct backend_env *env, struct fault *fault)
{
        return (struct mongo_use){ env, mongo_client_take(env, fault) };
}

void mongo_use_end(struct mongo_use *use)
{
        if (use->client)
                mongo_client_give(use->env, use->client);
}

/* ---- documents ---- */

void mongo_append_fence(bson_t *filter, int64_t fence)
{
        assert(fence > 0);
        BCON_APPEND(filter, MONGO_FENCE, "{", "$not", "{", "$gt", BCON_INT64(fence), "}", "}");
}

void mongo_append_text(bson_t *document, const char *key, struct slice text)
{
        if (text.data)
                bson_append_utf8(document, key, -1, text.data, (int)text.len);
        else
                bson_append_null(document, key, -1);
}

bool mongo_read_number(const bson_iter_t *iter, int64_t *number)
{
        switch (bson_iter_type(iter)) {
        case BSON_TYPE_INT32:
        case BSON_TYPE_INT64:
        case BSON_TYPE_BOOL: *number = bson_iter_as_int64(iter); return true;
        case BSON_TYPE_DOUBLE: {
                double value = bson_iter_double(iter);

                if (!(value >= -9.2e18 && value <= 9.2e18))
                        return false;
                *number = (int64_t)value;
                return true;
        }
        default: return false;
        }
}

struct slice mongo_read_text(const bson_iter_t *iter, size_t max)
{
        uint32_t len;
        const char *text;
        struct slice slice;

        if (bson_iter_type(iter) != BSON_TYPE_UTF8)
                return SLICE_NONE;
        text = bson_iter_utf8(iter, &len);
        slice = (struct slice){ text, len };
        return len <= max && slice_is_utf8(slice) ? slice : SLICE_NONE;
}

void mongo_copy_text(const bson_t *document, const char *key, char *to, size_t size)
{
        bson_iter_t iter;
        struct slice text = SLICE_NONE;

        if (bson_iter_init_find(&iter, document, key))
                text = mongo_read_text(&iter, size - 1);
        if (text.data)
                memcpy(to, text.data, text.len);
        to[text.data ? text.len : 0] = '\0';
}

int64_t mongo_number_of(const bson_t *document, const char *key, int64_t fallback)
{
        bson_iter_t iter;
        int64_t number;

        return bson_iter_init_find(&iter, document, key) && mongo_read_number(&iter, &number) ? number
                                                                                              : fallback;
}

bool mongo_peer_of(const bson_t *document, const struct mongo_place *place, struct peer *peer)
{
        bson_iter_t iter;
        bool has_id = false;

        *peer = (struct peer){ 0 };
        if (!bson_iter_init(&iter, document))
                return false;
        while (bson_iter_next(&iter)) {
                const char *key = bson_iter_key(&iter);

                if (strcmp(key, "_id") == 0)
                        has_id = mongo_place_read_number(&iter, place, &peer->id);
                else if (strcmp(key, "access_hash") == 0)
                        peer->has_access_hash = mongo_read_number(&iter, &peer->access_hash);
                else if (strcmp(key, "type") == 0)
                        peer->type = mongo_read_text(&iter, PEER_TYPE_MAX_BYTES);
                else if (strcmp(key, "username") == 0)
                        peer->username = mongo_read_text(&iter, TEXT_MAX_BYTES);
                else if (strcmp(key, "phone_number") == 0)
                        peer->phone_number = mongo_read_text(&iter, TEXT_MAX_BYTES);
                else if (strcmp(key, "last_update_on") == 0)
                        mongo_read_number(&iter, &peer->last_update_on);
        }
        return has_id && peer->type.data && peer->type.len > 0;
}

/* ---- the environment ---- */

static void set_default_timeout(mongoc_uri_t *uri, const char *option)
{
        if (!mongoc_uri_has_option(uri, option))
                mongoc_uri_set_option_as_int32(uri, option, TIMEOUT_MS);
}

/* The URI's settings are kept, except those that durability and ownership depend on. */
static void prepare_uri(mongoc_uri_t *uri)
{
        mongoc_write_concern_t *write = mongoc_write_concern_new();
        mongoc_read_prefs_t *read = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);

        mongoc_write_concern_set_w(write, MONGOC_WRITE_CONCERN_W_MAJORITY);
        mongoc_write_concern_set_journal(write, true);
        mongoc_uri_set_write_concern(uri, write);
        mongoc_uri_set_read_prefs_t(uri, read);
        mongoc_write_concern_destroy(write);
        mongoc_read_prefs_destroy(read);
        set_default_timeout(uri, MONGOC_URI_SOCKETTIMEOUTMS);
        set_default_timeout(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS);
        set_default_timeout(uri, MONGOC_URI_CONNECTTIMEOUTMS);
        if (!mongoc_uri_has_option(uri, MONGOC_URI_MAXPOOLSIZE))
                mongoc_uri_set_option_as_int32(uri, MONGOC_URI_MAXPOOLSIZE, JOBS_MAX + OPENS_MAX);
        if (!mongoc_uri_get_appname(uri))
                mongoc_uri_set_appname(uri, "gramd");
}

static void limit(mongoc_uri_t *uri, const char *option, int64_t most)
{
        if (mongoc_uri_get_option_as_int32(uri, option, INT32_MAX) > most)
                mongoc_uri_set_option_as_int32(uri, option, (int32_t)most);
}

mongoc_uri_t *mongo_uri_within_term(const struct backend_env *env)
{
        mongoc_uri_t *uri = mongoc_uri_copy(env->uri);

        limit(uri, MONGOC_URI_SOCKETTIMEOUTMS, env->term_ms / 3);
        limit(uri, MONGOC_URI_CONNECTTIMEOUTMS, env->term_ms / 3);
        limit(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, env->term_ms / 3);
        return uri;
}

static char *hosts_of(const mongoc_uri_t *uri)
{
        const mongoc_host_list_t *host = mongoc_uri_get_hosts(uri);
        const char *service = mongoc_uri_get_srv_hostname(uri);
        char text[512] = "";

        if (service)
                return strdup(service);
        for (size_t len = 0; host && len < sizeof(text) - 1; host = host->next)
                len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len ? "," : "",
                                        host->host_and_port);
        return strdup(text);
}

/* The driver's message may quote the URI: it is shown only if the URI has no password. */
static int refuse_uri(const char *uri, const bson_error_t *error, struct fault *fault)
{
        bool secret = strchr(uri, '@') != NULL;

        return fault_set(fault, BACKEND_E_STORAGE, "option `mongo`: not a usable MongoDB URI%s%s",
                         secret ? "" : ": ", secret ? "" : error->message);
}

static void on_driver_log(mongoc_log_level_t level, const char *domain, const char *text, void *arg)
{
        const struct backend_config *config = arg;

        (void)domain;
        if (level <= MONGOC_LOG_LEVEL_WARNING)
                config->log(config->log_arg, LOG_DEBUG, text);
}

static const char *const layout_names[] = { [MONGO_OWN] = "own", [MONGO_SHARED] = "shared", NULL };
static const struct option_choices layouts = { "LAYOUT", layout_names };

/* In the order of enum mongo_option. */
static const struct option mongo_options[] = {
        OPTION("mongo", OPTION_URI, { NULL }, 1, URI_MAX_BYTES,
               "The MongoDB deployment, as a mongodb:// or mongodb+srv:// URI.", NULL),
        OPTION("mongo-prefix", OPTION_TEXT, { NULL }, 1, MONGO_PREFIX_MAX,
               "The prefix of a session's database, or of its key in the shared layout. The session's name "
               "follows it.",
               NULL),
        OPTION("mongo-layout", OPTION_CHOICE, { .number = MONGO_OWN }, 0, 0,
               "Where a new session is stored: own (a database for each, as Pyrofork has it) or shared (one "
               "set of collections in the database gramd, for thousands of sessions). Stored sessions are "
               "found in either.",
               &layouts),
        OPTION("mongo-term", OPTION_SECONDS, { .number = 15000 }, 300, 3600000,
               "How long this daemon owns a session on MongoDB without renewing that. Another daemon can "
               "take it 4/3 of that after the last renewal.",
               NULL),
        { .name = NULL },
};

static void env_free(struct backend_env *env)
{
        if (env->looks)
                mongo_looks_stop(env->looks);
        if (env->rivals)
                mongo_rivals_stop(env->rivals);
        if (env->instance)
                mongo_instance_stop(env->instance);
        mongo_releases_free(env->releases);
        mongo_fences_free(env->fences);
        mongo_keys_free(env->keys);
        if (atomic_load(&env->pool))
                mongoc_client_pool_destroy(atomic_load(&env->pool));
        mongoc_uri_destroy(env->uri);
        free(env->where);
        free(env);
}

/* Documents and messages with auth keys are in the driver's memory, and the driver does not wipe them. */
static void wipe_memory(void)
{
        static const bson_mem_vtable_t vtable = {
                .malloc = wiping_malloc,
                .calloc = wiping_calloc,
                .realloc = wiping_realloc,
                .free = wiping_free,
                .aligned_alloc = wiping_aligned_alloc,
        };

        bson_mem_set_vtable(&vtable);
}

static int mongo_start(const struct backend_config *config, const union option_value *values,
                       struct backend_env **env, struct fault *fault)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        const char *uri = values[MONGO_OPTION_URI].text, *prefix = values[MONGO_OPTION_PREFIX].text;
        struct backend_env *fresh;
        bson_error_t error;

        if (!uri)
                return 0;
        if (prefix && strchr(prefix, '/'))
                return fault_set(fault, BACKEND_E_STORAGE, "option `mongo-prefix`: a prefix has no `/`");
        pthread_once(&once, wipe_memory);
        mongoc_init();
        mongoc_log_set_handler(on_driver_log, (void *)(uintptr_t)config);
        fresh = calloc(1, sizeof(*fresh));
        if (!fresh)
                return mongo_no_memory(fault);
        fresh->config = config;
        fresh->prefix = prefix ? prefix : "";
        fresh->layout = (enum mongo_layout)values[MONGO_OPTION_LAYOUT].number;
        fresh->term_ms = (int64_t)values[MONGO_OPTION_TERM].number;
        fresh->uri = mongoc_uri_new_with_error(uri, &error);
        if (!fresh->uri) {
                free(fresh);
                return refuse_uri(uri, &error, fault);
        }
        prepare_uri(fresh->uri);
        fresh->where = hosts_of(fresh->uri);
        fresh->keys = fresh->where ? mongo_keys_new() : NULL;
        fresh->releases = fresh->keys ? mongo_releases_new(fresh) : NULL;
        fresh->instance = fresh->releases ? mongo_instance_start(fresh) : NULL;
        fresh->rivals = fresh->instance ? mongo_rivals_start(fresh) : NULL;
        fresh->fences = fresh->rivals ? mongo_fences_new() : NULL;
        fresh->looks = fresh->fences ? mongo_looks_start(fresh) : NULL;
        if (!fresh->looks) {
                env_free(fresh);
                return mongo_no_memory(fault);
        }
        *env = fresh;
        return 0;
}

static void mongo_stop(struct backend_env *env)
{
        env_free(env);
        mongoc_log_set_handler(NULL, NULL);
}

static int64_t mongo_lease(const struct backend_session *session)
{
        int64_t left_ms = mongo_instance_left(session->env->instance, atomic_load(&session->epoch));
        int64_t looked_ms = mongo_looked_left(session->env->looks, session->looked);

        return looked_ms < left_ms ? looked_ms : left_ms;
}

static size_t mongo_unreleased(const struct backend_env *env)
{
        return mongo_releases_left(env->releases);
}

/* Every write is on the disks of a majority before it is answered. */
static int mongo_sync(struct backend_session *session, struct fault *fault)
{
        (void)session;
        (void)fault;
        return 0;
}

const struct backend backend_mongo = {
        .name = "mongo",
        .owns = true,
        .options = mongo_options,
        .max_jobs = JOBS_MAX,
        .max_opens = OPENS_MAX,
        .deadline_ms = DEADLINE_MS,
        .start = mongo_start,
        .stop = mongo_stop,
        .open = mongo_open,
        .may_open = mongo_may_open,
        .confirm = mongo_confirm,
        .lease = mongo_lease,
        .close = mongo_close,
        .leave = mongo_leave,
        .unreleased = mongo_unreleased,
        .remove = mongo_remove,
        .find = mongo_find,
        .scan_peers = mongo_scan_peers,
        .scan_usernames = mongo_scan_usernames,
        .count = mongo_count,
        .kv_get = mongo_kv_get,
        .kv_scan = mongo_kv_scan,
        .kv_due = mongo_kv_due,
        .apply = mongo_apply,
        .sync = mongo_sync,
        .list = mongo_list,
};
