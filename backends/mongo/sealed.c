#include "sealed.h"

#include <string.h>

#include "keys.h"

static const char field_name[] = "auth_key";

struct seal_terms mongo_seal_terms(const struct backend_session *session, struct fault *fault)
{
        return (struct seal_terms){
                .keyring = session->env->config->keyring,
                .required = session->env->config->require_sealed,
                .session = session->name,
                .fault = fault,
        };
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
        struct mongo_seal held = { 0 };
        struct seal *seal = &held.seal;

        seal->on = !is_absent(document, MONGO_SESSION_ID) || !is_absent(document, MONGO_SEALED);
        if (id.data && id.len == SESSION_ID_BYTES) {
                memcpy(seal->id, id.data, SESSION_ID_BYTES);
                held.has_id = true;
        }
        seal->has_key = !is_absent(document, MONGO_SEALED);
        seal->is_due = seal->on && binary_of(document, field_name).len == AUTH_KEY_BYTES;
        held.is_whole = !seal->has_key ||
                        (sealed.data && sealed_key_id((const uint8_t *)sealed.data, sealed.len, seal->by) &&
                         sealed.len == SEALED_KEY_BYTES);
        return held;
}

static int refuse(const struct backend_session *session, const char *why, struct fault *fault)
{
        return fault_session(fault, BACKEND_E_CORRUPT, session->name, "%s", why);
}

int mongo_seal_check(const struct backend_session *session, const struct mongo_seal *held, bool wanted,
                     struct fault *fault)
{
        const struct seal_terms terms = mongo_seal_terms(session, fault);
        const struct seal *seal = &held->seal;
        int error = 0;

        if (seal->on && !held->has_id)
                return refuse(session, "its document has a sealed key, but no id", fault);
        if (seal->on && !seal->is_due && !held->is_whole)
                return refuse(session, "its sealed key is damaged", fault);
        if (seal->has_key && !seal->is_due)
                error = seal_check_key(&terms, seal->by);
        return error ? error : seal_check(&terms, seal, wanted);
}

int mongo_seal_read(struct backend_session *session, const bson_t *document, struct identity *identity,
                    struct fault *fault)
{
        const struct seal_terms terms = mongo_seal_terms(session, fault);
        struct mongo_seal held = mongo_seal_of(document);
        int error = 0;

        session->seal = held.seal;
        if (held.seal.on)
                error = mongo_seal_check(session, &held, true, fault);
        if (error || !held.seal.has_key || held.seal.is_due)
                return error;
        return seal_open(&terms, &session->seal, binary_of(document, MONGO_SEALED), identity);
}

void mongo_seal_describe(const struct backend_session *session, char text[KEY_ID_TEXT_BYTES])
{
        const struct seal_terms terms = mongo_seal_terms(session, NULL);

        seal_describe(&terms, &session->seal, text);
}

/* ---- writing ---- */

static void append_binary(bson_t *document, const char *key, const uint8_t *bytes, size_t len)
{
        bson_append_binary(document, key, -1, BSON_SUBTYPE_BINARY, bytes, (uint32_t)len);
}

void mongo_seal_append_new(const struct backend_env *env, bson_t *document)
{
        uint8_t id[SESSION_ID_BYTES], key[KEY_ID_BYTES];

        if (!keyring_id(env->config->keyring, 0, key))
                return;
        session_id_new(id);
        append_binary(document, MONGO_SESSION_ID, id, sizeof(id));
}

int mongo_seal_append(const struct backend_session *session, struct seal *seal,
                      const struct identity *identity, bson_t *set, struct fault *fault)
{
        const struct seal_terms terms = mongo_seal_terms(session, fault);
        uint8_t sealed[SEALED_KEY_BYTES];
        bool has_key = identity_has(identity, FIELD_AUTH_KEY);
        int error = seal->on ? seal_close(&terms, seal, identity, sealed) : 0;

        if (error)
                return error;
        append_binary(set, field_name, identity->auth_key, has_key && !seal->on ? AUTH_KEY_BYTES : 0);
        if (seal->on)
                append_binary(set, MONGO_SESSION_ID, seal->id, sizeof(seal->id));
        else if (session->seal.on)
                BSON_APPEND_NULL(set, MONGO_SESSION_ID);
        if (seal->on && has_key)
                append_binary(set, MONGO_SEALED, sealed, sizeof(sealed));
        else if (session->seal.on)
                BSON_APPEND_NULL(set, MONGO_SEALED);
        return 0;
}

bool mongo_seal_is_due(const struct backend_session *session, bool wanted, enum sealing *sealing)
{
        const struct seal_terms terms = mongo_seal_terms(session, NULL);

        *sealing = session->seal.on ? SEALING_ANEW : SEALING_ON;
        return seal_is_to_begin(&terms, &session->seal, wanted);
}

int mongo_seal_change(struct backend_session *session, mongoc_client_t *client, enum sealing sealing,
                      struct seal *seal, struct fault *fault)
{
        const struct seal_terms terms = mongo_seal_terms(session, fault);
        int error = seal_check_change(&terms, seal, sealing);

        if (error)
                return error;
        if (sealing == SEALING_OFF) {
                *seal = (struct seal){ 0 };
                return 0;
        }
        if (!seal->on) {
                *seal = (struct seal){ .on = true };
                session_id_new(seal->id);
        }
        return mongo_keys_check(session, client, fault);
}

bool mongo_seal_can_seal(const struct backend_session *session)
{
        struct fault ignored;
        const struct seal_terms terms = mongo_seal_terms(session, &ignored);

        return session->seal.on && seal_check_current(&terms) == 0;
}
