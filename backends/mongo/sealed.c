#include "sealed.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "instance.h"

enum {
        SEALED_KEY_BYTES = AUTH_KEY_BYTES + SEALED_EXTRA_BYTES,
        HOSTS_MAX = 16,      /* that lack the key, and are watched */
        ASK_MS = 100,        /* between two looks at them */
        WATCH_MAX_MS = 8000, /* before the request's deadline */
        TRUSTED_MS = 30000,  /* hosts are not asked again so soon */
};

static const char field_name[] = "auth_key";

static struct keyring *keyring_of(const struct backend_session *session)
{
        return session->env->config->keyring;
}

static bool can_seal(const struct backend_env *env)
{
        uint8_t id[KEY_ID_BYTES];

        return keyring_id(env->config->keyring, 0, id);
}

/* ---- reading ---- */

static struct slice binary_of(const bson_t *document, const char *key)
{
        bson_subtype_t subtype;
        const uint8_t *bytes = NULL;
        uint32_t len = 0;
        bson_iter_t iter;

        if (!bson_iter_init_find(&iter, document, key) || bson_iter_type(&iter) != BSON_TYPE_BINARY)
                return SLICE_NONE;
        bson_iter_binary(&iter, &subtype, &len, &bytes);
        return (struct slice){ (const char *)bytes, len };
}

static bool is_absent(const bson_t *document, const char *key)
{
        bson_iter_t iter;

        return !bson_iter_init_find(&iter, document, key) || bson_iter_type(&iter) == BSON_TYPE_NULL;
}

struct mongo_seal mongo_seal_of(const bson_t *document)
{
        struct slice id = binary_of(document, MONGO_SESSION_ID);
        struct slice sealed = binary_of(document, MONGO_SEALED);
        struct mongo_seal seal = { 0 };

        seal.on = !is_absent(document, MONGO_SESSION_ID) || !is_absent(document, MONGO_SEALED);
        if (id.data && id.len == SESSION_ID_BYTES) {
                memcpy(seal.id, id.data, SESSION_ID_BYTES);
                seal.has_id = true;
        }
        seal.has_key = !is_absent(document, MONGO_SEALED);
        seal.is_due = binary_of(document, field_name).len == AUTH_KEY_BYTES;
        seal.is_whole = !seal.has_key ||
                        (sealed.data && sealed_key_id((const uint8_t *)sealed.data, sealed.len, seal.by) &&
                         sealed.len == SEALED_KEY_BYTES);
        return seal;
}

static int refuse(const struct backend_session *session, const char *why, struct fault *fault)
{
        return fault_set(fault, BACKEND_E_CORRUPT, "session '%s': %s", session->name, why);
}

int mongo_seal_check(const struct backend_session *session, const struct mongo_seal *seal, bool wanted,
                     struct fault *fault)
{
        bool is_sealed = seal->on && !seal->is_due;
        char text[KEY_ID_TEXT_BYTES];

        if (seal->on && !seal->has_id)
                return refuse(session, "its document has a sealed key, but no id", fault);
        if (is_sealed && !seal->is_whole)
                return refuse(session, "its sealed key is damaged", fault);
        if (is_sealed && seal->has_key && !keyring_has(keyring_of(session), seal->by)) {
                key_id_text(seal->by, text);
                return fault_set(fault, BACKEND_E_STORAGE,
                                 "session '%s': it is sealed with key %s, which this daemon does not have",
                                 session->name, text);
        }
        if (!session->env->config->require_sealed || is_sealed ||
            ((wanted || seal->on) && can_seal(session->env)))
                return 0;
        return fault_set(fault, BACKEND_E_STORAGE,
                         "session '%s': it is not sealed, and require-sealed is set: `gramctl seal '%s'`",
                         session->name, session->name);
}

int mongo_seal_read(struct backend_session *session, const bson_t *document, struct identity *identity,
                    struct fault *fault)
{
        struct slice sealed = binary_of(document, MONGO_SEALED);
        uint8_t key[AUTH_KEY_BYTES];
        int error = 0;

        session->seal = mongo_seal_of(document);
        if (session->seal.on)
                error = mongo_seal_check(session, &session->seal, true, fault);
        if (error || !session->seal.has_key || session->seal.is_due)
                return error;
        error = keyring_open(keyring_of(session), session->seal.id, field_name, (const uint8_t *)sealed.data,
                             sealed.len, key, sizeof(key));
        if (error)
                return refuse(session, "its sealed key was changed, or is another session's", fault);
        identity_set_key(identity, key);
        sodium_memzero(key, sizeof(key));
        return 0;
}

void mongo_seal_describe(const struct backend_session *session, char text[KEY_ID_TEXT_BYTES])
{
        uint8_t id[KEY_ID_BYTES];

        *text = '\0';
        if (!session->seal.on || session->seal.is_due)
                return;
        memcpy(id, session->seal.by, sizeof(id));
        if (!session->seal.has_key)
                keyring_id(keyring_of(session), 0, id);
        key_id_text(id, text);
}

/* ---- writing ---- */

static void append_binary(bson_t *document, const char *key, const uint8_t *bytes, size_t len)
{
        bson_append_binary(document, key, -1, BSON_SUBTYPE_BINARY, bytes, (uint32_t)len);
}

void mongo_seal_append_new(const struct backend_env *env, bson_t *document)
{
        uint8_t id[SESSION_ID_BYTES];

        if (!can_seal(env))
                return;
        session_id_new(id);
        append_binary(document, MONGO_SESSION_ID, id, sizeof(id));
}

int mongo_seal_append(const struct backend_session *session, struct mongo_seal *seal,
                      const struct identity *identity, bson_t *set, struct fault *fault)
{
        uint8_t sealed[SEALED_KEY_BYTES];
        bool has_key = identity_has(identity, FIELD_AUTH_KEY);

        if (seal->on && has_key &&
            keyring_seal(keyring_of(session), seal->id, field_name, identity->auth_key, AUTH_KEY_BYTES,
                         sealed))
                return fault_set(fault, BACKEND_E_STORAGE,
                                 "session '%s': it is sealed, and this daemon has no key to seal with",
                                 session->name);
        append_binary(set, field_name, identity->auth_key, has_key && !seal->on ? AUTH_KEY_BYTES : 0);
        if (seal->on)
                append_binary(set, MONGO_SESSION_ID, seal->id, sizeof(seal->id));
        else if (session->seal.on)
                BSON_APPEND_NULL(set, MONGO_SESSION_ID);
        if (seal->on && has_key)
                append_binary(set, MONGO_SEALED, sealed, sizeof(sealed));
        else if (session->seal.on)
                BSON_APPEND_NULL(set, MONGO_SEALED);
        seal->is_due = false;
        seal->has_key = seal->on && has_key;
        if (seal->has_key)
                sealed_key_id(sealed, sizeof(sealed), seal->by);
        return 0;
}

bool mongo_seal_is_due(const struct backend_session *session, bool wanted, enum sealing *sealing)
{
        const struct mongo_seal *seal = &session->seal;

        *sealing = seal->on ? SEALING_ANEW : SEALING_ON;
        return seal->on ? seal->is_due && can_seal(session->env) : wanted;
}

/* ---- the other hosts ---- */

void mongo_seal_append_keys(const struct backend_env *env, bson_t *document)
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

struct lacking {
        char id[MONGO_ID_BYTES];
        char host[256];
        int64_t counter;
        int64_t term_ms;
};

/* Instances that are not marked dead, and do not tell of this key. */
static int find_lacking(struct backend_session *session, mongoc_client_t *client, const char *key,
                        struct lacking hosts[HOSTS_MAX], size_t *n, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_instances(client);
        MONGO_BSON filter = BCON_NEW("dead", "{", "$ne", BCON_BOOL(true), "}", MONGO_KEYS, "{", "$ne",
                                     BCON_UTF8(key), "}", "_id", "{", "$ne", BCON_UTF8(session->owner), "}");
        MONGO_BSON options = BCON_NEW("limit", BCON_INT64(HOSTS_MAX));
        mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, options, NULL);
        const bson_t *document;
        bson_error_t error;
        int result = 0;

        *n = 0;
        while (*n < HOSTS_MAX && mongoc_cursor_next(cursor, &document)) {
                struct lacking *host = &hosts[(*n)++];

                mongo_copy_text(document, "_id", host->id, sizeof(host->id));
                mongo_copy_text(document, "host", host->host, sizeof(host->host));
                host->counter = mongo_number_of(document, "counter", 0);
                host->term_ms = mongo_number_of(document, "term_ms", session->env->term_ms);
        }
        if (mongoc_cursor_error(cursor, &error))
                result = mongo_fault(session->env, session->name, &error, fault);
        mongoc_cursor_destroy(cursor);
        return result;
}

static const struct lacking *find_alive(const struct lacking *before, size_t n_before,
                                        const struct lacking *now, size_t n)
{
        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n_before; j++)
                        if (strcmp(now[i].id, before[j].id) == 0 && now[i].counter != before[j].counter)
                                return &now[i];
        return NULL;
}

static int64_t longest_ms(const struct lacking *hosts, size_t n)
{
        int64_t longest = 0;

        for (size_t i = 0; i < n; i++)
                if (hosts[i].term_ms > longest)
                        longest = hosts[i].term_ms;
        return longest;
}

static int lacks_key(const struct backend_session *session, const char *host, const char *key,
                     struct fault *fault)
{
        return fault_set(
                fault, BACKEND_E_STORAGE,
                "session '%s': host %s does not have key %s, and could not open it: give it the key, "
                "and reload its daemon",
                session->name, host, key);
}

/*
 * A host that crashed leaves its document. Only one whose counter rises is alive: it does so every third of a
 * term. Several documents may be of one host.
 */
static int ask_hosts(struct backend_session *session, mongoc_client_t *client, const char *key,
                     struct fault *fault)
{
        struct lacking before[HOSTS_MAX], now[HOSTS_MAX];
        const struct timespec pause = { .tv_nsec = ASK_MS * 1000000L };
        size_t n_before, n;
        int64_t start = mongo_boot_ms(), half_term, wait;
        const struct lacking *alive;
        int result = find_lacking(session, client, key, before, &n_before, fault);

        half_term = longest_ms(before, n_before) / 2;
        wait = half_term < WATCH_MAX_MS ? half_term : WATCH_MAX_MS;
        while (!result && n_before > 0 && mongo_boot_ms() - start < wait) {
                nanosleep(&pause, NULL);
                result = find_lacking(session, client, key, now, &n, fault);
                alive = result ? NULL : find_alive(before, n_before, now, n);
                if (alive)
                        return lacks_key(session, alive->host, key, fault);
        }
        if (!result && n_before > 0 && wait < half_term) /* its term is too long to see whether it lives */
                return lacks_key(session, before[0].host, key, fault);
        return result;
}

static int check_hosts(struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        struct backend_env *env = session->env;
        uint8_t id[KEY_ID_BYTES];
        char key[KEY_ID_TEXT_BYTES];
        int64_t now = mongo_boot_ms();
        int result;

        keyring_id(env->config->keyring, 0, id);
        key_id_text(id, key);
        if (atomic_load(&env->keys_asked_ms) + TRUSTED_MS > now &&
            atomic_load(&env->keys_asked) == mongo_hash(key))
                return 0;
        result = ask_hosts(session, client, key, fault);
        if (!result) {
                atomic_store(&env->keys_asked, mongo_hash(key));
                atomic_store(&env->keys_asked_ms, mongo_boot_ms());
        }
        return result;
}

int mongo_seal_change(struct backend_session *session, mongoc_client_t *client, enum sealing sealing,
                      struct mongo_seal *seal, struct fault *fault)
{
        bool is_plain = !seal->on || seal->is_due;
        bool is_current = seal->has_key && keyring_is_current(keyring_of(session), seal->by);

        if (sealing != SEALING_OFF && !can_seal(session->env))
                return fault_set(fault, BACKEND_E_OPTION,
                                 "session '%s': this daemon has no key to seal with; see the option key-file",
                                 session->name);
        if (sealing == SEALING_OFF && session->env->config->require_sealed)
                return fault_set(fault, BACKEND_E_OPTION,
                                 "session '%s': require-sealed is set, so it stays sealed", session->name);
        if (sealing == SEALING_OFF  ? !seal->on
            : sealing == SEALING_ON ? !is_plain
                                    : !seal->on || (is_current && !seal->is_due))
                return 1;
        if (sealing == SEALING_OFF) {
                *seal = (struct mongo_seal){ 0 };
                return 0;
        }
        if (!seal->on) {
                *seal = (struct mongo_seal){ .on = true, .has_id = true };
                session_id_new(seal->id);
        }
        return check_hosts(session, client, fault);
}
