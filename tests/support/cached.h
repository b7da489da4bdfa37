#ifndef GRAMD_TESTS_SUPPORT_CACHED_H
#define GRAMD_TESTS_SUPPORT_CACHED_H

/*
 * A program that has the session `anna` (handle 3) open and cached, and the puppet that it is connected to. A
 * lookup reaches the puppet, or libgram's cache answers it.
 */

#include "puppet.h"

#define CACHED_OPENED                                                                                        \
        "{session: 3, created: true, backend: 'file', dialect: 'pyrogram', version: 3, fence: 0}"

/* A peer as the puppet answers it (NOW is the time), as a struct, and as a result below. */
#define CACHED_ANNA_ROW "[7, 70, 'user', 'anna', '49', NOW]"
#define CACHED_ANNA "7 70 user anna 49"
extern const struct gram_peer cached_anna;

struct cached {
        struct puppet *puppet;
        struct gram_client *client;
        struct gram_session *session;
        bool done; /* a callback has been called */
        int code;
        char result[512]; /* of the last lookup */
        long long now;    /* a fresh last_update_on */
};

struct cached *cached_new(size_t max_bytes);
void cached_end(struct cached *cached);

/* A callback; `arg` is the struct cached. */
void cached_replied(void *arg, struct gram_reply *reply);
/* Lets the client run until a callback. */
void cached_done(struct cached *cached);

enum by { BY_ID, BY_NAME, BY_PHONE };

void cached_ask(struct cached *cached, enum by by, const char *what);
/* The lookup reaches the daemon, which answers with this row. */
void cached_expect_asked(struct cached *cached, enum by by, const char *what, const char *row);
/* The cache answers. */
void cached_expect_hit(struct cached *cached, enum by by, const char *what, const char *result);

/* The daemon sends the notification, and the client has processed it. */
void cached_tell(struct cached *cached, const char *notification);
/* The program writes a peer. */
void cached_write_peer(struct cached *cached, const struct gram_peer *peer);

#endif
