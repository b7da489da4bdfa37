#ifndef GRAMD_TESTS_SUPPORT_BOT_H
#define GRAMD_TESTS_SUPPORT_BOT_H

/*
 * A program that uses libgram's asynchronous calls, and the puppet that it is connected to. One thread runs
 * both sides. The program's log has all that libgram tells it, one word each, in order.
 */

#include "puppet.h"

#define BOT_OPENED "{session: 3, created: true, backend: 'file', dialect: 'pyrogram', version: 3, fence: 0}"
#define BOT_REOPENED                                                                                         \
        "{session: 9, created: false, backend: 'file', dialect: 'pyrogram', version: 3, fence: 0}"
#define BOT_OPEN_AGAIN "open('anna', {create: false, mode: 'shared', wait: ...})"

struct bot {
        struct puppet *puppet;
        struct gram_client *client;
        struct gram_session *session;
        bool told; /* it was told something since this was last cleared */
        char log[8192];
};

struct bot *bot_new(int64_t timeout_ms);
/* Opens the session `anna`; its handle is 3. */
struct bot *bot_open(void);
void bot_end(struct bot *bot);

/* Callbacks; `arg` is the bot. */
void bot_replied(void *arg, struct gram_reply *reply);
void bot_opened(void *arg, struct gram_reply *reply);

void bot_note(struct bot *bot, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Runs both sides until the log is as long as `log`; fails if it is another text. */
void bot_expect(struct bot *bot, const char *log);

/* Kills the puppet daemon, and starts it again. */
void bot_restart(struct bot *bot);
void bot_write_peer(struct bot *bot, int64_t id);

#endif
