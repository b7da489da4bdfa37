#ifndef GRAMD_BACKENDS_MONGO_SESSION_H
#define GRAMD_BACKENDS_MONGO_SESSION_H

/* What session.c (a session's owner) and locate.c (its place) share. */

#include "mongo.h"

/* What the document says about its owner. */
struct mongo_held {
        bool exists;
        char owner[MONGO_ID_BYTES]; /* empty: no owner */
        int64_t fence;              /* 0: never owned */
        int64_t term_ms;
        int64_t since;
        bool indexed;
        bool bare;     /* as gramd creates it: nobody has taken it */
        char born[25]; /* its MONGO_BORN; empty: it has none */
};

/* Reads the document in session->place. */
int mongo_session_look(struct backend_session *session, mongoc_client_t *client, struct mongo_held *held,
                       struct fault *fault);

/* Finds the session in either layout, and sets session->place. 1: another round is needed. */
int mongo_session_locate(struct backend_session *session, mongoc_client_t *client, struct mongo_held *found,
                         struct fault *fault);
/* Creates its document in session->place. 1: another daemon has created it meanwhile. */
int mongo_session_create(struct backend_session *session, mongoc_client_t *client, struct fault *fault);

#endif
