#ifndef GRAMD_TESTS_SUPPORT_STORAGE_H
#define GRAMD_TESTS_SUPPORT_STORAGE_H

/*
 * A backend in a folder of its own, used through backend.h. What it holds is shown as text:
 *
 *     peer      id hash|nil type username|nil phone|nil time
 *     match     the peer, then `by name` if it was found in the usernames table
 *     username  name owner
 *     state     id pts|nil qts|nil date|nil seq|nil
 *     effect    username TEXT, phone TEXT, owner TEXT ID; swapped, stands VALUE|nil, refused ERROR
 *
 * Rows are joined with "; ". Matches and effects are sorted, because backends may give them in any order.
 * Returned texts are malloc'ed. Unless a function returns an error, a failed call fails the test.
 */

#include <pthread.h>

#include "../../backends/backend.h"

enum {
        STORAGE_NIL = -77777, /* an access hash, or part of a state, that is nil */
        STORAGE_OPTIONS_MAX = 8,
        STORAGE_KV_MAX = 1 << 20, /* bytes of a session's key-value area */
};

struct storage {
        const struct backend *backend;
        struct backend_config config;
        bool seal;                                      /* what is opened is to be sealed */
        union option_value values[STORAGE_OPTIONS_MAX]; /* of the backend's options */
        struct backend_env *env;
        struct backend_session *session;
        const char *dialect; /* of new sessions for which none is named; NULL: the backend's default */
        struct opened opened;
        struct fault fault; /* of the last call */
        char *effects;      /* of the last batch; malloc'ed */
        char *log;          /* all that was logged, a line each; malloc'ed */
        pthread_mutex_t log_lock;
        char *prefix; /* of databases: each storage has its own */
};

const struct backend *storage_backend(const char *name);

/*
 * Makes the folder `path` if it is missing. A backend that needs a server finds its address in
 * $STORAGE_MONGO_URI, and the layout of new sessions, a number, in $STORAGE_MONGO_LAYOUT.
 */
void storage_start(struct storage *storage, const struct backend *backend, const char *path);
void storage_stop(struct storage *storage); /* closes a session that is open */

/* Stops the backend and starts it again with another value of this option. */
void storage_restart_with(struct storage *storage, const char *option, uint64_t value);

/* 0 or the error; `dialect` NULL: storage->dialect. */
int storage_try(struct storage *storage, const char *name, const char *dialect, bool create);
void storage_open(struct storage *storage, const char *name, const char *dialect);
void storage_close(struct storage *storage);

struct peer storage_peer(int64_t id, int64_t hash, const char *type, const char *username, const char *phone,
                         int64_t time);
struct state storage_state(int64_t id, int64_t pts, int64_t qts, int64_t date, int64_t seq);

/* 0 or the error. */
int storage_apply(struct storage *storage, const struct change *changes, size_t n);
int storage_put_peers(struct storage *storage, const struct peer *peers, size_t n);
void storage_put_peer(struct storage *storage, struct peer peer);
void storage_put_state(struct storage *storage, struct state state);
/* `names` separated by spaces; "" for none. */
void storage_put_names(struct storage *storage, int64_t peer_id, const char *names, int64_t time);
void storage_put_fields(struct storage *storage, unsigned fields, const struct identity *identity);
void storage_put_number(struct storage *storage, enum field field, int64_t number);
void storage_put_nil(struct storage *storage, enum field field);

char *storage_by_id(struct storage *storage, int64_t id);
char *storage_by_username(struct storage *storage, const char *username);
char *storage_by_phone(struct storage *storage, const char *phone);
char *storage_peers(struct storage *storage, const int64_t *after, size_t limit);
char *storage_names(struct storage *storage, const char *after, int64_t after_id, size_t limit);
char *storage_states(const struct storage *storage); /* as they were when it was opened */
char *storage_list(struct storage *storage, const char *after, size_t limit);
struct counts storage_count(struct storage *storage);

/* Compares and frees. */
void storage_expect_text(char *text, const char *expected, const char *file, int line);
#define storage_expect(text, expected) storage_expect_text((text), (expected), __FILE__, __LINE__)

#endif
