/* What a batch writes into the session's document: identity fields, their sealing, whose the session is. */

#include "keys.h"
#include "kv.h"
#include "sealed.h"

/* Writes these fields of the session's document. */
static int write_set(const struct mongo_batch *batch, const bson_t *set)
{
        struct backend_session *session = batch->session;
        MONGO_WRITES writes = { .batch = batch, .collection = "session" };
        MONGO_BSON filter = bson_new();
        MONGO_BSON update = bson_new();
        int result;

        mongo_place_append_session(filter, &session->place);
        mongo_append_owned(filter, session->owner, session->fence);
        BSON_APPEND_DOCUMENT(update, "$set", set);
        result = mongo_writes_update(&writes, filter, update, true);
        return result ? result : mongo_writes_flush(&writes);
}

/* ---- identity ---- */

static int write_identity(const struct mongo_batch *batch, unsigned fields, const struct identity *identity,
                          struct seal seal)
{
        struct backend_session *session = batch->session;
        unsigned zeroes = FIELD_BIT(FIELD_USER_ID) | FIELD_BIT(FIELD_IS_BOT);
        bool ends_fresh = session->fresh && (fields & zeroes);
        MONGO_BSON set = bson_new();
        int result = 0;

        mongo_identity_append(set, identity, ends_fresh ? fields | zeroes : fields);
        if (ends_fresh)
                BSON_APPEND_BOOL(set, MONGO_FRESH, false);
        if (fields & FIELD_BIT(FIELD_AUTH_KEY))
                result = mongo_seal_append(session, &seal, identity, set, batch->fault);
        if (!result)
                result = write_set(batch, set);
        if (!result && ends_fresh)
                session->fresh = false;
        if (!result)
                session->seal = seal;
        return result;
}

/* From now on values of the key-value area may be sealed or not, or all are alike again. */
static int write_mixed(const struct mongo_batch *batch, bool mixed)
{
        MONGO_BSON field = BCON_NEW(MONGO_KV_MIXED, BCON_BOOL(mixed));
        int result = batch->session->kv.is_mixed == mixed ? 0 : write_set(batch, field);

        if (!result)
                batch->session->kv.is_mixed = mixed;
        return result;
}

/* Values are opened while the session's document still has the id, and sealed when it has it. */
static int change_with_values(const struct mongo_batch *batch, enum sealing sealing,
                              const struct identity *identity, struct seal seal, bool key_too)
{
        struct mongo_kv *kv = &batch->session->kv;
        int result = mongo_kv_know(batch->session, batch->client, batch->fault);
        bool has_values = kv->bytes > 0 || kv->is_mixed;

        if (!result && kv->is_mixed) /* a change was interrupted; its last command may still land */
                result = mongo_kv_take(batch);
        if (!result && has_values && sealing != SEALING_ANEW)
                result = write_mixed(batch, true);
        if (!result && has_values && sealing == SEALING_OFF)
                result = mongo_kv_convert(batch, sealing);
        if (!result && key_too)
                result = write_identity(batch, FIELD_BIT(FIELD_AUTH_KEY), identity, seal);
        if (!result && has_values && sealing != SEALING_OFF)
                result = mongo_kv_convert(batch, sealing);
        return result || sealing == SEALING_ANEW ? result : write_mixed(batch, false);
}

static int change_sealing(const struct mongo_batch *batch, enum sealing sealing,
                          const struct identity *identity)
{
        struct seal seal = batch->session->seal;
        int result = mongo_seal_change(batch->session, batch->client, sealing, &seal, batch->fault);
        bool key_too = result == 0;

        if (result == 1 && seal.on) /* the auth key needs no change; values may */
                result = mongo_keys_check(batch->session, batch->client, batch->fault);
        if (result)
                return result == 1 ? 0 : result;
        return change_with_values(batch, sealing, identity, seal, key_too);
}

int mongo_seal_at_open(struct backend_session *session, mongoc_client_t *client,
                       const struct identity *identity, struct fault *fault)
{
        const struct mongo_batch batch = { .session = session, .client = client, .fault = fault };
        const struct backend_config *config = session->env->config;
        enum sealing sealing;
        int result = 0;

        if (session->kv.is_mixed && mongo_seal_can_seal(session)) /* a change was interrupted */
                result = change_with_values(&batch, SEALING_ON, identity, session->seal, false);
        /* Of one document, which can be mended when the session is open. Each open finds it again. */
        if (result == BACKEND_E_CORRUPT) {
                if (config->log)
                        config->log(config->log_arg, LOG_DEBUG, fault->text);
                result = 0;
        }
        if (result)
                return result;
        if (!mongo_seal_is_due(session, session->seal_wanted, &sealing))
                return 0;
        if (sealing == SEALING_ANEW) /* a new login: the hosts are not asked, or nobody could use it */
                return write_identity(&batch, FIELD_BIT(FIELD_AUTH_KEY), identity, session->seal);
        return change_sealing(&batch, sealing, identity);
}

/* `null` is as good as a field that is missing. */
static int write_user(const struct mongo_batch *batch, struct slice user)
{
        MONGO_BSON field = bson_new();

        mongo_append_text(field, MONGO_USER, user);
        return write_set(batch, field);
}

int mongo_write_fields(const struct mongo_batch *batch, const struct change *change)
{
        if (change->kind == CHANGE_OWNER)
                return write_user(batch, change->owner);
        if (change->kind == CHANGE_SEALING)
                return change_sealing(batch, change->sealing, change->identity);
        if (change->kind != CHANGE_IDENTITY || !change->fields)
                return 0;
        return write_identity(batch, change->fields, change->identity, batch->session->seal);
}
