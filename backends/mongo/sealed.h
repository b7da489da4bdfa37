#ifndef GRAMD_BACKENDS_MONGO_SEALED_H
#define GRAMD_BACKENDS_MONGO_SEALED_H

/*
 * Sealed auth keys, as in ../sqlite/sealed.c: MONGO_SESSION_ID makes the session a sealed one, MONGO_SEALED
 * is the sealed key, and the library's field is empty. A key in the library's field is a new login.
 */

#include "mongo.h"

/* What ../seal.h needs to know of a session. */
struct seal_terms mongo_seal_terms(const struct backend_session *session, struct fault *fault);

/* What the document says, without opening anything. */
struct mongo_seal mongo_seal_of(const bson_t *document);

/* Before the session is taken: may it be opened with this daemon's keys? */
int mongo_seal_check(const struct backend_session *session, const struct mongo_seal *held, bool wanted,
                     struct fault *fault);

/* After the other fields have been read. */
int mongo_seal_read(struct backend_session *session, const bson_t *document, struct identity *identity,
                    struct fault *fault);

/* A new session's document: it is sealed, if there is a key. */
void mongo_seal_append_new(const struct backend_env *env, bson_t *document);

/* `seal` is the session's; it becomes what the change makes of it. 1: nothing is to be written. */
int mongo_seal_change(struct backend_session *session, mongoc_client_t *client, enum sealing sealing,
                      struct seal *seal, struct fault *fault);

/* Appends what the document gets when the auth key is stored; sets `has_key` and `by`. */
int mongo_seal_append(const struct backend_session *session, struct seal *seal,
                      const struct identity *identity, bson_t *set, struct fault *fault);

/* Does something have to be sealed when the session is opened? Then `sealing` says how. */
bool mongo_seal_is_due(const struct backend_session *session, bool wanted, enum sealing *sealing);

/* Of a sealed session: is there a key to seal with? */
bool mongo_seal_can_seal(const struct backend_session *session);

/* As `counts` has it. */
void mongo_seal_describe(const struct backend_session *session, char text[KEY_ID_TEXT_BYTES]);

#endif
