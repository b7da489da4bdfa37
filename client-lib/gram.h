#ifndef GRAM_H
#define GRAM_H

/*
 * libgram: the C client of gramd, the session-storage daemon.
 *
 * A `gram_client` is a connection to the daemon that mends itself. A `gram_session` is an open session
 * on it. Every method of the protocol is there twice: gram_NAME() waits for the answer,
 * gram_async_NAME() calls back with it.
 *
 *     struct gram_client *client = gram_client_new(NULL);
 *     struct gram_session *session;
 *     struct gram_peer *peer;
 *
 *     if (gram_open(client, "my_account", NULL, &session))
 *             errx(1, "%s", gram_client_error(client)->message);
 *     if (gram_get_peer_by_id(session, 42, &peer) == 0) {
 *             printf("%s\n", peer->username ? peer->username : "(no name)");
 *             gram_free(peer);
 *     }
 *     gram_close(session);
 *     gram_client_free(client);
 *
 * In an event loop, wait until gram_fd() is readable and call gram_process(): that is all. See
 * examples/blocking.c and examples/uv.c.
 *
 * When the daemon goes away (a restart, an upgrade, a crash) the client connects again, opens its
 * sessions again and repeats what was not answered, within each request's timeout: the program sees a
 * delay. A session that cannot be had again ends: GRAM_EVENT_ENDED, and every request on it fails with
 * the reason.
 *
 * Threads: a client, with its sessions, belongs to one thread at a time. Different clients share
 * nothing. Signals: SIGPIPE is never raised. Fork: the child must not touch a client of its parent.
 *
 * Text is UTF-8 and ends with NUL (what another client stored with a NUL inside is cut there). A NULL
 * text is the protocol's nil. Numbers are what the protocol says; units stand in the names: `_ms`,
 * `_s`, and `date`, `since`, `last_update_on` are seconds since 1970.
 *
 * Functions return 0, or a negative GRAM_E_… code; gram_client_error() then has the words.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GRAM_API __attribute__((visibility("default")))

struct gram_client;
struct gram_session;

GRAM_API const char *gram_version(void); /* of this library: "0.1.0" */

/* ---- errors ---- */

enum gram_code {
        GRAM_OK = 0,

        /* What the daemon answers; PROTOCOL.md says when. */
        GRAM_E_BAD_REQUEST = -1,
        GRAM_E_UNKNOWN_METHOD = -2,
        GRAM_E_BAD_SESSION = -3,
        GRAM_E_NOT_FOUND = -4,
        GRAM_E_EXPIRED = -5,
        GRAM_E_OVERLOADED = -6,
        GRAM_E_BUSY = -7,   /* `holder` or `file` says who has it */
        GRAM_E_FENCED = -8, /* another host owns the session: stop using its key */
        GRAM_E_EXISTS = -9,
        GRAM_E_DENIED = -10,
        GRAM_E_TOO_LARGE = -11,
        GRAM_E_UNAVAILABLE = -12,
        GRAM_E_STORAGE = -13,
        GRAM_E_CORRUPT = -14,
        GRAM_E_UNKNOWN = -15, /* a code that this library does not know: see `name` */

        /* What happens on this side. */
        GRAM_E_UNREACHABLE = -32, /* no daemon at the socket, for as long as the timeout */
        GRAM_E_TIMEOUT = -33,     /* no answer in time: a write may or may not have happened */
        GRAM_E_PROTOCOL = -34,    /* the other side does not speak the protocol */
        GRAM_E_NOMEM = -35,
        GRAM_E_CANCELLED = -36, /* the client was freed first */
        GRAM_E_MISUSE = -37,    /* a blocking call inside a callback; a session that is being closed */
};

/* Who has a session that is busy. What is not known is 0 or NULL. */
struct gram_holder {
        int64_t pid;
        int64_t uid;
        const char *client;
        const char *host;
        int64_t since;
};

struct gram_error {
        int code;                         /* enum gram_code */
        const char *name;                 /* of the code, as in the protocol: "busy" */
        const char *message;              /* for people; never key material */
        const struct gram_holder *holder; /* GRAM_E_BUSY, held by a client; else NULL */
        const char *file;                 /* GRAM_E_BUSY, a file that another program has locked; else NULL */
};

GRAM_API const char *gram_code_name(int code);

/* ---- what is stored ---- */

enum { GRAM_AUTH_KEY_BYTES = 256, GRAM_ADDRESS_SIZE = 256 };

/* The identity fields, as bits. */
enum gram_field {
        GRAM_DC_ID = 1 << 0,
        GRAM_API_ID = 1 << 1,
        GRAM_TEST_MODE = 1 << 2,
        GRAM_AUTH_KEY = 1 << 3,
        GRAM_DATE = 1 << 4,
        GRAM_USER_ID = 1 << 5,
        GRAM_IS_BOT = 1 << 6,
        GRAM_SERVER_ADDRESS = 1 << 7,
        GRAM_PORT = 1 << 8,
        GRAM_TAKEOUT_ID = 1 << 9,
        GRAM_ALL_FIELDS = (1 << 10) - 1,
};

GRAM_API const char *gram_field_name(unsigned field); /* one bit; NULL where it is none */

/*
 * Some or all identity fields. `fields` says which of the values below are meant; `nil` which of those
 * are nil (their values are 0). Whoever has held a key here calls gram_identity_wipe().
 */
struct gram_identity {
        unsigned fields;
        unsigned nil;
        int64_t dc_id;
        int64_t api_id;
        int64_t date;
        int64_t user_id;
        int64_t port;
        int64_t takeout_id;
        bool test_mode;
        bool is_bot;
        uint8_t auth_key[GRAM_AUTH_KEY_BYTES];
        char server_address[GRAM_ADDRESS_SIZE];
};

GRAM_API void gram_identity_wipe(struct gram_identity *identity);

struct gram_peer {
        int64_t id;
        int64_t access_hash;
        int64_t last_update_on;
        bool has_access_hash;
        bool has_last_update_on; /* false when written: now. True when read */
        const char *type;        /* "user", "bot", "group", "channel", ...; NULL when read: no such peer */
        const char *username;
        const char *phone_number;
};

struct gram_peers {
        size_t n;
        struct gram_peer *rows;
};

/* All names of one peer in the usernames table. */
struct gram_names {
        int64_t peer_id;
        const char *const *names;
        size_t n_names;
        bool has_last_update_on; /* false: now */
        int64_t last_update_on;
};

/* One row of the usernames table. */
struct gram_username {
        const char *username;
        int64_t peer_id;
        bool has_last_update_on;
        int64_t last_update_on;
};

struct gram_usernames {
        size_t n;
        struct gram_username *rows;
};

enum gram_state_part {
        GRAM_STATE_PTS = 1 << 0,
        GRAM_STATE_QTS = 1 << 1,
        GRAM_STATE_DATE = 1 << 2,
        GRAM_STATE_SEQ = 1 << 3,
        GRAM_STATE_ALL = (1 << 4) - 1,
};

struct gram_state {
        int64_t id;
        unsigned has; /* GRAM_STATE_… bits of the parts that are not nil */
        int64_t pts;
        int64_t qts;
        int64_t date;
        int64_t seq;
};

struct gram_states {
        size_t n;
        struct gram_state *rows;
};

/* ---- what the daemon tells of itself ---- */

struct gram_hello {
        const char *server;
        const char *version;
        int64_t protocol;
        int64_t max_message_bytes;
        int64_t max_depth;
        int64_t max_in_flight;
        int64_t max_sessions;
        const char *const *backends;
        size_t n_backends;
        const char *default_backend;
        const char *const *features; /* what the daemon can beyond version 1 of the protocol */
        size_t n_features;           /* 0 also where the daemon is too old to say */
};

struct gram_info {
        const char *name;
        const char *backend;
        const char *dialect;
        int64_t version;
        int64_t peers;
        int64_t usernames;
        int64_t states;
        int64_t bytes;
        int64_t handles;
        int64_t fence;
};

struct gram_stored_session {
        const char *name;
        const char *backend;
        int64_t bytes;
        int64_t modified; /* seconds since 1970 */
        int64_t handles;
        const struct gram_holder *holder; /* of an exclusive handle or another host's; NULL: none */
};

struct gram_stored_sessions {
        size_t n;
        struct gram_stored_session *rows;
};

struct gram_connected_client {
        int64_t id;
        int64_t pid;
        int64_t uid;
        int64_t gid;
        const char *client;
        int64_t since;
        const char *const *sessions;
        size_t n_sessions;
        int64_t requests;
        int64_t in_flight;
};

struct gram_connected_clients {
        size_t n;
        struct gram_connected_client *rows;
};

struct gram_stat {
        const char *name;
        double value; /* whole numbers are exact up to 2^53 */
};

struct gram_stats {
        size_t n;
        struct gram_stat *rows;
};

/*
 * Every result that a function gives through a pointer to a pointer, gram_open()'s session aside, is one
 * block of memory with all its rows and texts inside, freed by this (and wiped, if it held a key or a
 * session string). NULL is fine.
 */
GRAM_API void gram_free(void *result);

/* ---- events ---- */

enum gram_event_type {
        /* Somebody else changed a session that is watched: `changed`. */
        GRAM_EVENT_CHANGED,
        /*
         * The session is gone for this program: `error` says why. It was deleted (GRAM_E_NOT_FOUND),
         * taken by another host (GRAM_E_FENCED: stop using its key), taken away by an operator
         * (GRAM_E_DENIED: do not come back by yourself), or could not be had again after a reconnection
         * (GRAM_E_BUSY, GRAM_E_CORRUPT, ...). Requests on it fail with this error; gram_close() it.
         */
        GRAM_EVENT_ENDED,
        /*
         * The time for which this host owned the session is over, and could not be renewed: another host
         * may use its key from now on. Stop using it. Only sessions in MongoDB have such a term.
         */
        GRAM_EVENT_LEASE_LOST,
        /* Some client made a request (after gram_monitor()): `request`. */
        GRAM_EVENT_REQUEST,
        /* The connection is lost: `error` says how. The client is on its way back already. */
        GRAM_EVENT_DISCONNECTED,
        /* It is there again. What sessions became of follows. */
        GRAM_EVENT_RECONNECTED,
};

/* What changed. `all`: forget everything remembered of the session (also after a reconnection). */
struct gram_changed {
        bool all;
        unsigned fields; /* GRAM_… field bits */
        const int64_t *peers;
        size_t n_peers;
        const char *const *usernames; /* gained or lost */
        size_t n_usernames;
        const char *const *phones; /* gained or lost */
        size_t n_phones;
        const int64_t *states;
        size_t n_states;
};

struct gram_monitored {
        double time; /* seconds since 1970 */
        const char *client;
        const char *method;
        const char *session; /* NULL where the request was on none */
        double microseconds;
        const char *error; /* the code's name, or NULL */
};

struct gram_event {
        enum gram_event_type type;
        struct gram_session *session; /* NULL where it concerns none */
        const struct gram_changed *changed;
        const struct gram_error *error;
        const struct gram_monitored *request;
};

/*
 * Called from gram_process() and from every blocking call. The event, and all it points to, lives until
 * it returns. It may call gram_async_… functions, gram_session_… accessors and gram_client_free().
 */
typedef void gram_event_fn(void *arg, const struct gram_event *event);

/* ---- the client ---- */

struct gram_options {
        const char *
                socket; /* NULL: $GRAMD_SOCKET, $XDG_RUNTIME_DIR/gramd.sock if there, /run/gramd/gramd.sock */
        const char *client; /* this program's name in the daemon's lists and logs; NULL: argv[0]'s */
        int64_t timeout_ms; /* of every request, reconnecting and repeating included; 0: 30 s; negative: none
                             */
        gram_event_fn *on_event; /* NULL: events are dropped */
        void *event_arg;
};

/* Connects when first used. `options` is copied; NULL is all defaults. NULL: no memory or descriptors, in
 * errno. */
GRAM_API struct gram_client *gram_client_new(const struct gram_options *options);

/*
 * Closes the connection and with it all sessions, which are freed too; callbacks that are owed get
 * GRAM_E_CANCELLED first. NULL is fine.
 */
GRAM_API void gram_client_free(struct gram_client *client);

/*
 * Connects now, and fails at once where no daemon listens (GRAM_E_UNREACHABLE) rather than wait for one
 * until the timeout, as any other call does. Need not be called.
 */
GRAM_API int gram_connect(struct gram_client *client);

GRAM_API const char *gram_client_socket(struct gram_client *client); /* the path it uses, or will try next */
GRAM_API void gram_client_set_timeout(struct gram_client *client, int64_t timeout_ms); /* as in the options */

/* What went wrong last on this client, valid until its next failure; code GRAM_OK where nothing has. */
GRAM_API const struct gram_error *gram_client_error(struct gram_client *client);

/* ---- in an event loop ---- */

/*
 * One descriptor for the client's whole life, whatever becomes of its connection. It is readable when
 * gram_process() has something to do: an answer, room to send, a timeout, a reconnection. It is never
 * waited on for writing. (It is an epoll descriptor: level-triggered, and poll, select, epoll and all
 * loops built on them take it.)
 */
GRAM_API int gram_fd(struct gram_client *client);

/*
 * Milliseconds until gram_process() is due though nothing arrives; -1: not at all. For loops that keep
 * time themselves; gram_fd() becomes readable by then in any case.
 */
GRAM_API int64_t gram_timeout_ms(struct gram_client *client);

/* Sends, reads, calls back. Never blocks. */
GRAM_API void gram_process(struct gram_client *client);

/* Requests whose callbacks have not been called yet. They queue in memory: whoever feeds many looks here. */
GRAM_API size_t gram_pending(struct gram_client *client);

/*
 * The answer to a gram_async_… call. Which member of the union is the result stands at each function.
 * It lives until the callback returns, unless gram_reply_take() makes it the caller's to gram_free().
 */
struct gram_reply {
        const struct gram_error *error; /* NULL: it worked */
        union {
                void *result;
                struct gram_session *session; /* the caller's in any case, to gram_close() */
                struct gram_hello *hello;
                struct gram_info *info;
                struct gram_identity *identity;
                struct gram_peer *peer;
                struct gram_peers *peers;
                struct gram_usernames *usernames;
                struct gram_states *states;
                struct gram_stored_sessions *sessions;
                struct gram_connected_clients *clients;
                struct gram_stats *stats;
                char *text;
        };
        int64_t number; /* results that are one number */
};

GRAM_API void *gram_reply_take(struct gram_reply *reply);

/*
 * Called exactly once for each request that a gram_async_… function took (it returned 0), from
 * gram_process(), a blocking call or gram_client_free(), never from within that function. It may do what a
 * gram_event_fn may. NULL: the answer is not wanted.
 */
typedef void gram_callback(void *arg, struct gram_reply *reply);

/*
 * gram_async_… functions return 0, or a negative code when the request is refused on the spot: it is
 * malformed, too large, its session has ended, or memory ran out. Then there is no callback. Parameters
 * are copied. Requests on one session take effect in the order of the calls, across reconnections too.
 */

/* ---- sessions ---- */

enum gram_mode {
        GRAM_SHARED = 0,    /* any number of handles */
        GRAM_EXCLUSIVE = 1, /* this handle alone: GRAM_E_BUSY while another is open, and for all others */
};

struct gram_open_options {
        const char *backend; /* "file", "memory", "mongo"; NULL: the daemon's default */
        const char *dialect; /* of a new session: "pyrogram", "telethon", ...; NULL: the default */
        enum gram_mode mode;
        bool must_exist;  /* GRAM_E_NOT_FOUND rather than create it */
        int64_t wait_ms;  /* for a busy session, on top of the timeout */
        int64_t linger_s; /* memory sessions: how long they outlive their last handle */
        void *data;       /* for gram_session_data() */
};

/* What the daemon said when the session was opened last. */
struct gram_opened {
        bool created; /* false too where an earlier, unanswered try of the same call created it */
        const char *backend;
        const char *dialect;
        int64_t version;
        int64_t fence;
};

/* `options` NULL: all defaults. The session is the caller's to gram_close(). */
GRAM_API int gram_open(struct gram_client *client, const char *name, const struct gram_open_options *options,
                       struct gram_session **session);
GRAM_API int gram_async_open(struct gram_client *client, const char *name,
                             const struct gram_open_options *options, gram_callback *callback, void *arg);

/*
 * What was asked before it is still done. The session must not be used after this call, whatever it returns:
 * it is freed. A session that has ended is closed without error.
 */
GRAM_API int gram_close(struct gram_session *session);
GRAM_API int gram_async_close(struct gram_session *session, gram_callback *callback, void *arg);

GRAM_API const char *gram_session_name(const struct gram_session *session);
GRAM_API const struct gram_opened *gram_session_opened(const struct gram_session *session);
GRAM_API void *gram_session_data(const struct gram_session *session);
GRAM_API struct gram_client *gram_session_client(const struct gram_session *session);
/* Why the session ended; NULL: it has not. */
GRAM_API const struct gram_error *gram_session_error(const struct gram_session *session);

/*
 * Milliseconds for which this host still owns the session; -1: no limit (file, memory). The client renews it
 * by itself; a program on the blocking calls alone, which is told of its loss only while it waits in one,
 * looks at gram_session_lease_ms(), which asks nobody: 0 is over.
 */
GRAM_API int gram_lease(struct gram_session *session, int64_t *lease_ms);
GRAM_API int gram_async_lease(struct gram_session *session, gram_callback *callback, void *arg); /* number */
GRAM_API int64_t gram_session_lease_ms(const struct gram_session *session);

/* `date` becomes now, and everything is on stable storage. */
GRAM_API int gram_save(struct gram_session *session);
GRAM_API int gram_async_save(struct gram_session *session, gram_callback *callback, void *arg);

/*
 * Removes what is stored, and ends every handle on it, this one too (without an event): gram_close() it.
 * `remove_peers` false keeps the peers and usernames where they are kept apart (mongo).
 */
GRAM_API int gram_delete(struct gram_session *session, bool remove_peers);
GRAM_API int gram_async_delete(struct gram_session *session, bool remove_peers, gram_callback *callback,
                               void *arg);

GRAM_API int gram_info(struct gram_session *session, struct gram_info **info);
GRAM_API int gram_async_info(struct gram_session *session, gram_callback *callback, void *arg); /* info */

/* GRAM_EVENT_CHANGED from now on, for what others change. Survives reconnections. */
GRAM_API int gram_watch(struct gram_session *session, bool on);
GRAM_API int gram_async_watch(struct gram_session *session, bool on, gram_callback *callback, void *arg);

/*
 * Answers what has been read before without asking the daemon: gram_get() of all but the key, and
 * gram_get_peer_by_…(). Watches the session (as gram_watch() does, with its events) so that changes by others
 * count at once; after a reconnection it starts empty. Only hits are answered: what is missing or may have
 * expired is asked for. `last_update_on` of such a peer may be older than the stored one, and of several
 * peers with one name the one remembered may not be the one that was repeated last. `max_bytes` bounds it, 0:
 * 4 MiB; the longest unused go first. gram_watch(session, false) ends it.
 */
GRAM_API int gram_cache_enable(struct gram_session *session, size_t max_bytes);
GRAM_API int gram_async_cache_enable(struct gram_session *session, size_t max_bytes, gram_callback *callback,
                                     void *arg);

/* ---- identity ---- */

/* `fields`: GRAM_… bits. */
GRAM_API int gram_get(struct gram_session *session, unsigned fields, struct gram_identity *identity);
GRAM_API int gram_async_get(struct gram_session *session, unsigned fields, gram_callback *callback,
                            void *arg); /* identity */

/* All or nothing. */
GRAM_API int gram_set(struct gram_session *session, const struct gram_identity *identity);
GRAM_API int gram_async_set(struct gram_session *session, const struct gram_identity *identity,
                            gram_callback *callback, void *arg);

/* `format`: "pyrogram", "pyrogram-old32", "pyrogram-old64", "telethon". */
GRAM_API int gram_export_string(struct gram_session *session, const char *format, char **text);
GRAM_API int gram_async_export_string(struct gram_session *session, const char *format,
                                      gram_callback *callback, void *arg); /* text */

struct gram_import_options {
        const char *format; /* NULL: recognised */
        bool overwrite;     /* else GRAM_E_EXISTS where there is another key */
        bool has_api_id;    /* for formats that carry none */
        int64_t api_id;
};

/* `options` and `fields` may be NULL; `*fields`: GRAM_… bits of what was set. */
GRAM_API int gram_import_string(struct gram_session *session, const char *text,
                                const struct gram_import_options *options, unsigned *fields);
GRAM_API int gram_async_import_string(struct gram_session *session, const char *text,
                                      const struct gram_import_options *options, gram_callback *callback,
                                      void *arg); /* number */

/* ---- peers and usernames ---- */

enum {
        GRAM_MAX_ROWS = 1000,        /* of one gram_get_peers(), gram_scan_…(), gram_sessions() */
        GRAM_MAX_AGE_DEFAULT_S = -1, /* the daemon's: 28800 */
};

/* Upsert by id, all or nothing; no rows are fine and cost nothing. */
GRAM_API int gram_update_peers(struct gram_session *session, const struct gram_peer *rows, size_t n);
GRAM_API int gram_async_update_peers(struct gram_session *session, const struct gram_peer *rows, size_t n,
                                     gram_callback *callback, void *arg);

/* Replaces all names of each peer named. */
GRAM_API int gram_update_usernames(struct gram_session *session, const struct gram_names *rows, size_t n);
GRAM_API int gram_async_update_usernames(struct gram_session *session, const struct gram_names *rows,
                                         size_t n, gram_callback *callback, void *arg);

GRAM_API int gram_get_peer_by_id(struct gram_session *session, int64_t id, struct gram_peer **peer);
GRAM_API int gram_async_get_peer_by_id(struct gram_session *session, int64_t id, gram_callback *callback,
                                       void *arg); /* peer */

/* GRAM_E_EXPIRED where the record is older than `max_age_s`; 0: any age. */
GRAM_API int gram_get_peer_by_username(struct gram_session *session, const char *username, int64_t max_age_s,
                                       struct gram_peer **peer);
GRAM_API int gram_async_get_peer_by_username(struct gram_session *session, const char *username,
                                             int64_t max_age_s, gram_callback *callback,
                                             void *arg); /* peer */

GRAM_API int gram_get_peer_by_phone_number(struct gram_session *session, const char *phone_number,
                                           struct gram_peer **peer);
GRAM_API int gram_async_get_peer_by_phone_number(struct gram_session *session, const char *phone_number,
                                                 gram_callback *callback, void *arg); /* peer */

/* A row for each id, in that order; `type` NULL: no such peer. */
GRAM_API int gram_get_peers(struct gram_session *session, const int64_t *ids, size_t n,
                            struct gram_peers **peers);
GRAM_API int gram_async_get_peers(struct gram_session *session, const int64_t *ids, size_t n,
                                  gram_callback *callback, void *arg); /* peers */

/* By ascending id, those behind `*after` (NULL: from the start). No rows: the end. */
GRAM_API int gram_scan_peers(struct gram_session *session, const int64_t *after, size_t limit,
                             struct gram_peers **peers);
GRAM_API int gram_async_scan_peers(struct gram_session *session, const int64_t *after, size_t limit,
                                   gram_callback *callback, void *arg); /* peers */

/* Ascending by name and id, those behind the pair (`after` NULL: from the start). */
GRAM_API int gram_scan_usernames(struct gram_session *session, const char *after, int64_t after_id,
                                 size_t limit, struct gram_usernames **usernames);
GRAM_API int gram_async_scan_usernames(struct gram_session *session, const char *after, int64_t after_id,
                                       size_t limit, gram_callback *callback, void *arg); /* usernames */

/* ---- update states ---- */

/* Upsert; a nil part overwrites, or with `keep` leaves what is stored. */
GRAM_API int gram_update_states(struct gram_session *session, const struct gram_state *rows, size_t n,
                                bool keep);
GRAM_API int gram_async_update_states(struct gram_session *session, const struct gram_state *rows, size_t n,
                                      bool keep, gram_callback *callback, void *arg);

/* `ids` NULL: all. By ascending date, nil first. */
GRAM_API int gram_get_states(struct gram_session *session, const int64_t *ids, size_t n,
                             struct gram_states **states);
GRAM_API int gram_async_get_states(struct gram_session *session, const int64_t *ids, size_t n,
                                   gram_callback *callback, void *arg); /* states */

GRAM_API int gram_remove_states(struct gram_session *session, const int64_t *ids, size_t n);
GRAM_API int gram_async_remove_states(struct gram_session *session, const int64_t *ids, size_t n,
                                      gram_callback *callback, void *arg);

/* ---- the daemon; all but the first two are for administrators ---- */

GRAM_API int gram_hello(struct gram_client *client, struct gram_hello **hello);
GRAM_API int gram_async_hello(struct gram_client *client, gram_callback *callback, void *arg); /* hello */

GRAM_API int gram_ping(struct gram_client *client);
GRAM_API int gram_async_ping(struct gram_client *client, gram_callback *callback, void *arg);

/* Stored and open sessions by ascending name: those that match `glob` (NULL: all), behind `after` (NULL:
 * all). */
GRAM_API int gram_sessions(struct gram_client *client, const char *glob, const char *after, size_t limit,
                           struct gram_stored_sessions **sessions);
GRAM_API int gram_async_sessions(struct gram_client *client, const char *glob, const char *after,
                                 size_t limit, gram_callback *callback, void *arg); /* sessions */

GRAM_API int gram_clients(struct gram_client *client, struct gram_connected_clients **clients);
GRAM_API int gram_async_clients(struct gram_client *client, gram_callback *callback, void *arg); /* clients */

/* Not repeated when the daemon goes away: its next run gives the number to another client. */
GRAM_API int gram_disconnect(struct gram_client *client, int64_t id);
GRAM_API int gram_async_disconnect(struct gram_client *client, int64_t id, gram_callback *callback,
                                   void *arg);

GRAM_API int gram_stats(struct gram_client *client, struct gram_stats **stats);
GRAM_API int gram_async_stats(struct gram_client *client, gram_callback *callback, void *arg); /* stats */

/* GRAM_EVENT_REQUEST from now on. Survives reconnections. */
GRAM_API int gram_monitor(struct gram_client *client, bool on);
GRAM_API int gram_async_monitor(struct gram_client *client, bool on, gram_callback *callback, void *arg);

#ifdef __cplusplus
}
#endif

#endif
