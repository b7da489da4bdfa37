#ifndef GRAMD_BACKENDS_MONGO_SESSION_H
#define GRAMD_BACKENDS_MONGO_SESSION_H

/* What session.c (a session's owner) and locate.c (its place) share. */

#include "mongo.h"

/* Reads the document in session->place. */
int mongo_session_look(struct backend_session *session, mongoc_client_t *client, struct mongo_held *held,
                       struct fault *fault);

/* Finds the session in either layout, and sets session->place. 1: another round is needed. */
int mongo_session_locate(struct backend_session *session, mongoc_client_t *client, struct mongo_held *found,
                         struct fault *fault);
/* Creates its document in session->place. 1: another daemon has created it meanwhile. */
int mongo_session_create(struct backend_session *session, mongoc_client_t *client, struct fault *fault);

#endif
