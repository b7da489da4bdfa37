/*
 * Where a session is: in either layout. Two daemons may create it in one each, at the same time. So a
 * document that nobody has taken (without a fence) is taken only if the other layout, looked at after it, has
 * none: of two such looks the later one finds both documents. It must still be the same document then, and
 * not one that was created since: MONGO_BORN. One that has been taken needs no second look. OWNERSHIP.md has
 * the proof.
 */

#include "sealed.h"
#include "session.h"

int mongo_session_create(struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, "session");
        MONGO_BSON document = bson_new();
        bson_error_t error;
        bson_oid_t born;
        char text[25];

        bson_oid_init(&born, NULL);
        bson_oid_to_string(&born, text);
        mongo_place_append_session(document, &session->place);
        mongo_identity_append_new(document);
        BSON_APPEND_UTF8(document, MONGO_BORN, text);
        if (session->options->owner.len)
                mongo_append_text(document, MONGO_USER, session->options->owner);
        mongo_seal_append_new(session->env, document);
        if (mongoc_collection_insert_one(collection, document, NULL, NULL, &error))
                return 0;
        return mongo_is_duplicate(&error) ? 1 : mongo_fault(session->env, session->name, &error, fault);
}

static int look_in(struct backend_session *session, mongoc_client_t *client, enum mongo_layout layout,
                   struct mongo_held *held, struct fault *fault)
{
        int result = 0;

        session->place.layout = layout;
        *held = (struct mongo_held){ 0 };
        if (mongo_place_can_be(session, layout))
                result = mongo_session_look(session, client, held, fault);
        /* A server may allow fewer names of databases than mongo_place_can_be() does. */
        return result == BACKEND_E_NAME ? 0 : result;
}

/* Deletes the session's document, if it is still as gramd creates it. */
static int remove_bare(struct backend_session *session, mongoc_client_t *client, struct fault *fault)
{
        MONGO_COLLECTION collection = mongo_place_collection(client, &session->place, "session");
        MONGO_BSON filter = bson_new();
        bson_error_t error;

        mongo_place_append_session(filter, &session->place);
        mongo_identity_append_new(filter);
        BCON_APPEND(filter, MONGO_OWNER, BCON_NULL, MONGO_FENCE, BCON_NULL);
        if (mongoc_collection_delete_one(collection, filter, NULL, NULL, &error))
                return 0;
        return mongo_fault(session->env, session->name, &error, fault);
}

/* Both layouts have the session. 1: one of them may have it no more. */
static int resolve(struct backend_session *session, mongoc_client_t *client, const struct mongo_held held[2],
                   struct fault *fault)
{
        char key[FAULT_NAME_BYTES];
        int result;

        if (!held[MONGO_OWN].bare && !held[MONGO_SHARED].bare)
                return fault_session(
                        fault, BACKEND_E_CORRUPT, session->name,
                        "it is stored twice: in the database '%s', and under this key in the database "
                        "'" MONGO_OWN_DATABASE "'. Delete one of them there",
                        utf8_quote(slice_of(session->place.key), '\'', key, sizeof(key)));
        session->place.layout = held[MONGO_SHARED].bare ? MONGO_SHARED : MONGO_OWN;
        result = remove_bare(session, client, fault);
        return result ? result : 1;
}

int mongo_session_locate(struct backend_session *session, mongoc_client_t *client, struct mongo_held *found,
                         struct fault *fault)
{
        enum mongo_layout first = session->env->layout;
        enum mongo_layout second = first == MONGO_OWN ? MONGO_SHARED : MONGO_OWN;
        enum mongo_layout at = first;
        struct mongo_held held[2];
        int result = look_in(session, client, first, &held[first], fault);

        if (!result && !held[first].fence) {
                result = look_in(session, client, second, &held[second], fault);
                if (!result && !held[first].exists && held[second].exists && !held[second].fence)
                        result = look_in(session, client, first, &held[first], fault);
                if (!result && held[first].exists && held[second].exists)
                        return resolve(session, client, held, fault);
                if (!result && held[second].exists)
                        at = second;
        }
        session->place.layout = at;
        if (!result)
                *found = held[at];
        return result;
}
