#ifndef GRAM_H
#define GRAM_H

/*
 * libgram: the C client of gramd, the session-storage daemon.
 *
 * A `gram_client` is a connection to the daemon; when it is lost, the client connects again by itself. A
 * `gram_session` is an open session on it. Each method of the protocol has two functions: gram_NAME()
 * waits for the answer, gram_async_NAME() calls back with it.
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
 * In an event loop, wait until gram_fd() is readable and call gram_process(); nothing else is needed. See
 * examples/blocking.c and examples/uv.c.
 *
 * When the daemon goes away (a restart, an upgrade, a crash), the client connects again, opens its
 * sessions again and repeats the requests that were not answered, within the timeout of each: the program
 * sees a delay. The daemon executes a repeated write once. A session that cannot be opened again ends:
 * GRAM_EVENT_ENDED, and every request on it fails with the reason.
 *
 * Threads: a client and its sessions must be used by one thread at a time. Different clients share
 * nothing. Signals: SIGPIPE is never raised. Fork: the child must not use a client of its parent.
 *
 * Text is UTF-8 and ends with NUL. (A text that another client stored with a NUL inside is cut there.) A
 * NULL text is the protocol's nil. Names of times tell the unit: `_ms`, `_s`; `date`, `since`,
 * `last_update_on` are seconds since 1970.
 *
 * Functions return 0 or a negative GRAM_E_… code; gram_client_error() then has the message.
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

        /* Errors of the daemon; PROTOCOL.md says when. */
        GRAM_E_BAD_REQUEST = -1,
        GRAM_E_UNKNOWN_METHOD = -2,
        GRAM_E_BAD_SESSION = -3,
        GRAM_E_NOT_FOUND = -4,
        GRAM_E_EXPIRED = -5,
        GRAM_E_OVERLOADED = -6,
        GRAM_E_BUSY = -7,   /* `holder` or `file` says who holds the session */
        GRAM_E_FENCED = -8, /* another host owns the session: stop using its key */
        GRAM_E_EXISTS = -9,
        GRAM_E_DENIED = -10,
        GRAM_E_TOO_LARGE = -11,
        GRAM_E_UNAVAILABLE = -12,
        GRAM_E_STORAGE = -13,
        GRAM_E_CORRUPT = -14,
        GRAM_E_UNKNOWN = -15, /* an error that this library does not know: see `name` */
        /* further errors of the daemon: -16, -17, ... */

        /* Errors of this library. */
        GRAM_E_UNREACHABLE = -32, /* no daemon listened at the socket within the timeout */
        GRAM_E_TIMEOUT = -33,     /* no answer in time: a write may or may not have happened */
        GRAM_E_PROTOCOL = -34,    /* the daemon broke the protocol */
        GRAM_E_NOMEM = -35,
        GRAM_E_CANCELLED = -36, /* the client was freed before the answer came */
        GRAM_E_MISUSE = -37,    /* a blocking call inside a callback; a session that is being closed */
        GRAM_E_UNTRUSTED = -38, /* a user who is not trusted listens at the socket: nothing was sent */
};

/* Who holds a busy session. Unknown values are 0 or NULL. */
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
        const char *message;              /* for people; never contains key material */
        const struct gram_holder *holder; /* GRAM_E_BUSY because of a client; else NULL */
        const char *file; /* GRAM_E_BUSY because another program locked this file; else NULL */
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

GRAM_API const char *gram_field_name(unsigned field); /* of one bit; NULL: not a field */

/*
 * Some or all identity fields. `fields` has the bits of the values that are set below; `nil` the bits of
 * those that are nil (their values are 0). Call gram_identity_wipe() after a key was in it.
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
        bool has_last_update_on; /* to write: false means now. Always true in answers */
        const char *type;        /* "user", "bot", "group", "channel", ...; NULL in answers: no such peer */
        const char *username;
        const char *phone_number;
};

struct gram_peers {
        size_t n;
        struct gram_peer *rows;
};

/* All usernames of one peer in the usernames table. */
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

/* A key and its value in the key-value area. */
struct gram_kv {
        const char *key;   /* 1 to 255 bytes of UTF-8 */
        size_t key_size;   /* to write: 0 means that of the text. Always set in answers */
        const void *value; /* NULL: there is none. Of one without bytes it is not NULL */
        size_t size;
        int64_t ttl_s; /* to write: seconds until it expires; 0: it does not. Always 0 in answers */
};

struct gram_kvs {
        size_t n;
        struct gram_kv *rows;
};

/* ---- about the daemon and its sessions ---- */

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
        const char *const *features; /* what the daemon understands beyond version 1 of the protocol */
        size_t n_features;           /* 0 also if the daemon is too old to tell */
};

/* Bytes that one value of a key-value area may have, and all its keys and values; 0: the daemon has no such
 * areas.
 */
GRAM_API int64_t gram_hello_kv_max_value(const struct gram_hello *hello);
GRAM_API int64_t gram_hello_kv_max(const struct gram_hello *hello);

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
        int64_t unsynced_since; /* seconds since 1970: its file cannot be brought to the disk; 0: it can */
        const char *sealed; /* the id of the daemon's key that seals its auth key; NULL: it is not sealed */
};

struct gram_stored_session {
        const char *name;
        const char *backend;
        int64_t bytes;
        int64_t modified; /* seconds since 1970 */
        int64_t handles;
        const struct gram_holder *holder; /* who holds it exclusively, or on another host; NULL: nobody */
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
        /* For each row: how many of its handles are on sessions with a lease. Not in the row, because older
         * programs know the size of that. */
        const int64_t *leased;
};

struct gram_stat {
        const char *name;
        double value; /* integers are exact up to 2^53 */
};

struct gram_stats {
        size_t n;
        struct gram_stat *rows;
};

/*
 * Frees a result: whatever a function returned through a pointer to a pointer, except the session of
 * gram_open(). A result is one block with all its rows and texts, and is wiped when it is freed. NULL is
 * allowed.
 */
GRAM_API void gram_free(void *result);

/* ---- events ---- */

enum gram_event_type {
        /* Another client, or another handle of this one, changed a watched session: `changed`. */
        GRAM_EVENT_CHANGED,
        /*
         * The session has ended for this program: `error` says why. It was deleted (GRAM_E_NOT_FOUND),
         * another host took it (GRAM_E_FENCED: stop using its key), an operator disconnected the client
         * (GRAM_E_DENIED: do not open it again automatically), or it could not be opened again after a
         * reconnection (GRAM_E_BUSY, GRAM_E_CORRUPT, ...). Requests on it fail with this error. Call
         * gram_close().
         */
        GRAM_EVENT_ENDED,
        /*
         * The lease of the session has run out and could not be renewed: another host may use its key
         * from now on. Stop using it. Only sessions in MongoDB have a lease.
         */
        GRAM_EVENT_LEASE_LOST,
        /* A client made a request: `request`. After gram_monitor(). */
        GRAM_EVENT_REQUEST,
        /* The connection is lost: `error` says how. The client is connecting again. */
        GRAM_EVENT_DISCONNECTED,
        /* The client is connected again and opens its sessions. */
        GRAM_EVENT_RECONNECTED,
        /*
         * This host hands the session over to another: `reason` says which host and why. Stop using its key,
         * save, then call gram_close(); until then requests on it work as before. Only after
         * gram_client_set_leaves(): other programs get GRAM_EVENT_ENDED with GRAM_E_FENCED instead. Only
         * sessions in MongoDB are handed over.
         */
        GRAM_EVENT_LEAVE,
};

/* What changed. `all`: anything may have changed (also sent after a reconnection). */
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

/*
 * The keys of the key-value area that were written, see gram_kv_set(); NULL: none, or this program may not
 * know: only who has the right to write is told. For what a GRAM_EVENT_CHANGED points to, and nothing else.
 */
GRAM_API const char *const *gram_changed_kv(const struct gram_changed *changed, size_t *n);

struct gram_monitored {
        double time; /* seconds since 1970 */
        const char *client;
        const char *method;
        const char *session; /* NULL: the request was on no session */
        double microseconds;
        const char *error; /* name of the code, or NULL */
};

struct gram_event {
        enum gram_event_type type;
        struct gram_session *session; /* NULL: the event is about no session */
        const struct gram_changed *changed;
        const struct gram_error *error;
        const struct gram_monitored *request;
        const char *reason; /* GRAM_EVENT_LEAVE: for people */
};

/*
 * Called inside gram_process() and blocking calls. The event and what it points to are valid until the
 * handler returns. The handler may call gram_async_… functions, gram_session_… accessors and
 * gram_client_free().
 */
typedef void gram_event_fn(void *arg, const struct gram_event *event);

/* ---- the client ---- */

struct gram_options {
        /* NULL: $GRAMD_SOCKET, else $XDG_RUNTIME_DIR/gramd.sock if it exists, else /run/gramd/gramd.sock */
        const char *socket;
        const char *client; /* this program's name in the daemon's lists and logs; NULL: from argv[0] */
        int64_t timeout_ms; /* of each request, with reconnecting and repeating; 0: 30 s; negative: none */
        gram_event_fn *on_event; /* NULL: events are dropped */
        void *event_arg;
};

/* Connects when first used. Copies `options`; NULL: all defaults. Returns NULL and sets errno on failure. */
GRAM_API struct gram_client *gram_client_new(const struct gram_options *options);

/*
 * Closes the connection, and closes and frees all its sessions. Requests without an answer are called back
 * with GRAM_E_CANCELLED first. NULL is allowed.
 */
GRAM_API void gram_client_free(struct gram_client *client);

/*
 * Who listens at the socket is looked at on each connection, before a byte is sent. Trusted are root, the
 * program's own effective uid, the user `gramd`, and one uid more: that of this call, else the one that
 * $GRAMD_SERVER_UID names. With any other, requests fail at once with GRAM_E_UNTRUSTED; the next request
 * tries again. Users of another user namespace all have the overflow uid, 65534: it is trusted only if it is
 * named.
 */
GRAM_API void gram_client_trust(struct gram_client *client, int64_t uid);

/*
 * Connects now. Fails at once with GRAM_E_UNREACHABLE if no daemon listens; every other call waits for one
 * until its timeout. Calling this is optional.
 */
GRAM_API int gram_connect(struct gram_client *client);

GRAM_API const char *gram_client_socket(struct gram_client *client); /* the path that it uses or tries next */
GRAM_API void gram_client_set_timeout(struct gram_client *client, int64_t timeout_ms); /* as in the options */

/*
 * `leaves` true: this program acts on GRAM_EVENT_LEAVE, and the daemon may send it. Call this before the
 * client is first used: it counts from the next connection. Without a handler of events it does nothing.
 */
GRAM_API void gram_client_set_leaves(struct gram_client *client, bool leaves);

/* The last failure on this client, valid until the next one. Code GRAM_OK: there was none. */
GRAM_API const struct gram_error *gram_client_error(struct gram_client *client);

/* ---- in an event loop ---- */

/*
 * The descriptor to wait on, the same for the client's whole life. It is readable when gram_process() has
 * something to do: an answer, room to send, a timeout, a reconnection. Wait for reading only. (It is an epoll
 * descriptor: level-triggered, usable with poll, select, epoll and loops built on them.)
 */
GRAM_API int gram_fd(struct gram_client *client);

/*
 * Milliseconds until gram_process() must be called even if nothing arrives; -1: no limit. Optional: gram_fd()
 * becomes readable then.
 */
GRAM_API int64_t gram_timeout_ms(struct gram_client *client);

/* Sends, reads, calls back. Never blocks. */
GRAM_API void gram_process(struct gram_client *client);

/* How many requests have not been called back yet. They are queued in memory without a bound. */
GRAM_API size_t gram_pending(struct gram_client *client);

/*
 * The answer to a gram_async_… call. The comment at each function names the member of the union that is its
 * result. The result is freed when the callback returns; gram_reply_take() hands it to the caller, who calls
 * gram_free().
 */
struct gram_reply {
        const struct gram_error *error; /* NULL: success */
        union {
                void *result;
                struct gram_session *session; /* always belongs to the caller: gram_close() */
                struct gram_hello *hello;
                struct gram_info *info;
                struct gram_identity *identity;
                struct gram_peer *peer;
                struct gram_peers *peers;
                struct gram_usernames *usernames;
                struct gram_states *states;
                struct gram_kv *kv;
                struct gram_kvs *kvs;
                struct gram_stored_sessions *sessions;
                struct gram_connected_clients *clients;
                struct gram_stats *stats;
                char *text;
        };
        int64_t number; /* a result that is a number */
};

GRAM_API void *gram_reply_take(struct gram_reply *reply);

/*
 * Called exactly once for each gram_async_… function that returned 0: inside gram_process(), a blocking call
 * or gram_client_free(), never inside that function itself. It may call what a gram_event_fn may call. NULL:
 * the answer is dropped.
 */
typedef void gram_callback(void *arg, struct gram_reply *reply);

/*
 * gram_async_… functions return 0, or a negative code if the request is refused at once: it is malformed or
 * too large, its session has ended, or there is no memory. Then the callback is not called. Parameters are
 * copied. Requests on one session take effect in the order of the calls, also across reconnections.
 */

/* ---- sessions ---- */

enum gram_mode {
        GRAM_SHARED = 0,    /* any number of handles may be open */
        GRAM_EXCLUSIVE = 1, /* the only handle: GRAM_E_BUSY if another is open, and for others later */
        GRAM_SEAL = 2,      /* added to one of the above: seal it if nobody has it open; see gram_seal() */
};

struct gram_open_options {
        const char *backend; /* "file", "memory", "mongo"; NULL: the daemon's default */
        const char *dialect; /* of a new session: "pyrogram", "telethon", ...; NULL: the default */
        enum gram_mode mode;
        bool must_exist;  /* do not create it: GRAM_E_NOT_FOUND */
        int64_t wait_ms;  /* for a busy session, added to the timeout */
        int64_t linger_s; /* memory sessions: how long they live after their last handle is closed */
        void *data;       /* for gram_session_data() */
};

/* The daemon's answer when the session was last opened. */
struct gram_opened {
        bool created; /* false also if an earlier try of the same call, which was not answered, created it */
        const char *backend;
        const char *dialect;
        int64_t version;
        int64_t fence;
};

/* `options` NULL: all defaults. The session belongs to the caller: gram_close(). */
GRAM_API int gram_open(struct gram_client *client, const char *name, const struct gram_open_options *options,
                       struct gram_session **session);
GRAM_API int gram_async_open(struct gram_client *client, const char *name,
                             const struct gram_open_options *options, gram_callback *callback, void *arg);

/*
 * Requests submitted before are still executed. The session is freed: do not use it after this call, whatever
 * the call returns. Closing a session that has ended is no error.
 */
GRAM_API int gram_close(struct gram_session *session);
GRAM_API int gram_async_close(struct gram_session *session, gram_callback *callback, void *arg);

GRAM_API const char *gram_session_name(const struct gram_session *session);
GRAM_API const struct gram_opened *gram_session_opened(const struct gram_session *session);
GRAM_API void *gram_session_data(const struct gram_session *session);
GRAM_API struct gram_client *gram_session_client(const struct gram_session *session);
/* Why the session has ended; NULL: it has not. */
GRAM_API const struct gram_error *gram_session_error(const struct gram_session *session);

/*
 * Milliseconds for which this host still owns the session; -1: no limit (file, memory). The client renews the
 * lease automatically. gram_session_lease_ms() does not ask the daemon; 0: the lease is over. A lease that
 * the daemon has not told yet is over with the connection, or after a few seconds. A program that makes only
 * blocking calls needs gram_session_lease_ms(), because GRAM_EVENT_LEASE_LOST reaches it only inside a call.
 */
GRAM_API int gram_lease(struct gram_session *session, int64_t *lease_ms);
GRAM_API int gram_async_lease(struct gram_session *session, gram_callback *callback, void *arg); /* number */
GRAM_API int64_t gram_session_lease_ms(const struct gram_session *session);

/* Sets `date` to now and writes everything to stable storage. */
GRAM_API int gram_save(struct gram_session *session);
GRAM_API int gram_async_save(struct gram_session *session, gram_callback *callback, void *arg);

/*
 * Seals the stored auth key and the values of the key-value area with the daemon's current key; stores them
 * in the clear again; seals with the current key what a former one sealed. Where nothing is to be done, they
 * do nothing.
 */
GRAM_API int gram_seal(struct gram_session *session);
GRAM_API int gram_async_seal(struct gram_session *session, gram_callback *callback, void *arg);
GRAM_API int gram_unseal(struct gram_session *session);
GRAM_API int gram_async_unseal(struct gram_session *session, gram_callback *callback, void *arg);
GRAM_API int gram_rotate(struct gram_session *session);
GRAM_API int gram_async_rotate(struct gram_session *session, gram_callback *callback, void *arg);

/*
 * Gives the session to `user` or `user:group`, names of this host, or `#` and a number; NULL: it has no owner
 * any more. The owner and the members of the group may read and write it whatever the access rules say. Root,
 * the daemon's user and users with the right `admin` may do that; the owner may change the group to another
 * one of his. GRAM_E_UNKNOWN_METHOD: the daemon is too old.
 */
GRAM_API int gram_chown(struct gram_session *session, const char *owner);
GRAM_API int gram_async_chown(struct gram_session *session, const char *owner, gram_callback *callback,
                              void *arg);

/*
 * Deletes the stored session and ends every handle on it, also this one (without an event): call
 * gram_close(). `remove_peers` false keeps peers and usernames if they are stored separately (mongo).
 */
GRAM_API int gram_delete(struct gram_session *session, bool remove_peers);
GRAM_API int gram_async_delete(struct gram_session *session, bool remove_peers, gram_callback *callback,
                               void *arg);

GRAM_API int gram_info(struct gram_session *session, struct gram_info **info);
GRAM_API int gram_async_info(struct gram_session *session, gram_callback *callback, void *arg); /* info */
/* The owner in what gram_info() has returned, see gram_chown(); NULL: it has none, or the daemon is too old.
 */
GRAM_API const char *gram_info_owner(const struct gram_info *info);

/* From now on GRAM_EVENT_CHANGED tells what others change. Stays on after a reconnection. */
GRAM_API int gram_watch(struct gram_session *session, bool on);
GRAM_API int gram_async_watch(struct gram_session *session, bool on, gram_callback *callback, void *arg);

/*
 * Caches answers in this process: gram_get() of all fields but the key, and gram_get_peer_by_…(). The session
 * is watched (as by gram_watch(), with its events), so that changes by others count at once; after a
 * reconnection the cache starts empty. The daemon is asked if a peer is not in the cache or may have expired.
 * A cached peer's `last_update_on` may be older than the stored one; of several peers with one name, the
 * cached one may not be the one whose row was repeated last. `max_bytes` bounds the cache, 0: 4 MiB; the
 * least recently used entries go first. gram_watch(session, false) turns it off.
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

/* `format`: "pyrogram", "telethon", ...; PROTOCOL.md lists them. */
GRAM_API int gram_export_string(struct gram_session *session, const char *format, char **text);
GRAM_API int gram_async_export_string(struct gram_session *session, const char *format,
                                      gram_callback *callback, void *arg); /* text */

struct gram_import_options {
        const char *format; /* NULL: recognised from the text */
        bool overwrite;     /* replace another key; false: GRAM_E_EXISTS */
        bool has_api_id;    /* for formats that contain none */
        int64_t api_id;
};

/* `options` and `fields` may be NULL. `*fields`: the GRAM_… bits of the fields that were set. */
GRAM_API int gram_import_string(struct gram_session *session, const char *text,
                                const struct gram_import_options *options, unsigned *fields);
GRAM_API int gram_async_import_string(struct gram_session *session, const char *text,
                                      const struct gram_import_options *options, gram_callback *callback,
                                      void *arg); /* number */

/* ---- peers and usernames ---- */

enum {
        /* of one gram_get_peers(), gram_scan_…(), gram_sessions(), gram_kv_get(), gram_kv_scan() */
        GRAM_MAX_ROWS = 1000,
        GRAM_MAX_AGE_DEFAULT_S = -1, /* the daemon's: 28800 */
};

/* Upsert by id, all or nothing. `n` may be 0: then nothing is sent. */
GRAM_API int gram_update_peers(struct gram_session *session, const struct gram_peer *rows, size_t n);
GRAM_API int gram_async_update_peers(struct gram_session *session, const struct gram_peer *rows, size_t n,
                                     gram_callback *callback, void *arg);

/* Replaces all rows of each given peer in the usernames table. */
GRAM_API int gram_update_usernames(struct gram_session *session, const struct gram_names *rows, size_t n);
GRAM_API int gram_async_update_usernames(struct gram_session *session, const struct gram_names *rows,
                                         size_t n, gram_callback *callback, void *arg);

GRAM_API int gram_get_peer_by_id(struct gram_session *session, int64_t id, struct gram_peer **peer);
GRAM_API int gram_async_get_peer_by_id(struct gram_session *session, int64_t id, gram_callback *callback,
                                       void *arg); /* peer */

/* GRAM_E_EXPIRED if the record is older than `max_age_s`; 0: any age. */
GRAM_API int gram_get_peer_by_username(struct gram_session *session, const char *username, int64_t max_age_s,
                                       struct gram_peer **peer);
GRAM_API int gram_async_get_peer_by_username(struct gram_session *session, const char *username,
                                             int64_t max_age_s, gram_callback *callback,
                                             void *arg); /* peer */

GRAM_API int gram_get_peer_by_phone_number(struct gram_session *session, const char *phone_number,
                                           struct gram_peer **peer);
GRAM_API int gram_async_get_peer_by_phone_number(struct gram_session *session, const char *phone_number,
                                                 gram_callback *callback, void *arg); /* peer */

/* One row for each id, in the same order; `type` NULL: no such peer. */
GRAM_API int gram_get_peers(struct gram_session *session, const int64_t *ids, size_t n,
                            struct gram_peers **peers);
GRAM_API int gram_async_get_peers(struct gram_session *session, const int64_t *ids, size_t n,
                                  gram_callback *callback, void *arg); /* peers */

/* Peers by ascending id, after `*after` (NULL: from the start). No rows: the end. */
GRAM_API int gram_scan_peers(struct gram_session *session, const int64_t *after, size_t limit,
                             struct gram_peers **peers);
GRAM_API int gram_async_scan_peers(struct gram_session *session, const int64_t *after, size_t limit,
                                   gram_callback *callback, void *arg); /* peers */

/* Rows by ascending name and id, after this pair (`after` NULL: from the start). */
GRAM_API int gram_scan_usernames(struct gram_session *session, const char *after, int64_t after_id,
                                 size_t limit, struct gram_usernames **usernames);
GRAM_API int gram_async_scan_usernames(struct gram_session *session, const char *after, int64_t after_id,
                                       size_t limit, gram_callback *callback, void *arg); /* usernames */

/* ---- update states ---- */

/* Upsert. A nil part overwrites the stored one, or with `keep` leaves it. */
GRAM_API int gram_update_states(struct gram_session *session, const struct gram_state *rows, size_t n,
                                bool keep);
GRAM_API int gram_async_update_states(struct gram_session *session, const struct gram_state *rows, size_t n,
                                      bool keep, gram_callback *callback, void *arg);

/* `ids` NULL: all. Rows by ascending date, nil first. */
GRAM_API int gram_get_states(struct gram_session *session, const int64_t *ids, size_t n,
                             struct gram_states **states);
GRAM_API int gram_async_get_states(struct gram_session *session, const int64_t *ids, size_t n,
                                   gram_callback *callback, void *arg); /* states */

GRAM_API int gram_remove_states(struct gram_session *session, const int64_t *ids, size_t n);
GRAM_API int gram_async_remove_states(struct gram_session *session, const int64_t *ids, size_t n,
                                      gram_callback *callback, void *arg);

/* ---- the key-value area: what else the session's clients keep ---- */

/*
 * It needs the right to write, also to read. GRAM_E_UNKNOWN_METHOD: the daemon is too old;
 * GRAM_E_BAD_REQUEST: the backend has no such area. GRAM_E_TOO_LARGE: see gram_hello_kv_max_value().
 * GRAM_E_CORRUPT: the message names a key whose value is damaged; gram_kv_set() replaces or deletes it. Keys
 * are ordered by their bytes.
 */

/*
 * One row for each key, in the same order; `value` NULL: there is none. A key with a NUL inside cannot be
 * given: gram_kv_scan() finds it.
 */
GRAM_API int gram_kv_get(struct gram_session *session, const char *const *keys, size_t n,
                         struct gram_kvs **kvs);
GRAM_API int gram_async_kv_get(struct gram_session *session, const char *const *keys, size_t n,
                               gram_callback *callback, void *arg); /* kvs */

/* `value` NULL deletes. All or nothing (on MongoDB each key by itself). `n` may be 0: nothing is sent. */
GRAM_API int gram_kv_set(struct gram_session *session, const struct gram_kv *rows, size_t n);
GRAM_API int gram_async_kv_set(struct gram_session *session, const struct gram_kv *rows, size_t n,
                               gram_callback *callback, void *arg);

/*
 * Writes `row` if the value of its key is these bytes; `expected` NULL: if there is none. `*done`: whether it
 * did. `now` may be NULL; `*now`: the row that stands now. A swap whose answer was lost is repeated, but done
 * once.
 */
GRAM_API int gram_kv_swap(struct gram_session *session, const struct gram_kv *row, const void *expected,
                          size_t expected_size, bool *done, struct gram_kv **now);
GRAM_API int gram_async_kv_swap(struct gram_session *session, const struct gram_kv *row, const void *expected,
                                size_t expected_size, gram_callback *callback,
                                void *arg); /* kv; number 1: done */

/*
 * The keys that begin with `prefix` (NULL: all), ascending, after that of `after` (NULL: from the start): the
 * last row of the page before. No rows: the end.
 */
GRAM_API int gram_kv_scan(struct gram_session *session, const char *prefix, const struct gram_kv *after,
                          size_t limit, struct gram_kvs **kvs);
GRAM_API int gram_async_kv_scan(struct gram_session *session, const char *prefix, const struct gram_kv *after,
                                size_t limit, gram_callback *callback, void *arg); /* kvs */

/* ---- the daemon; all but the first two are for administrators ---- */

GRAM_API int gram_hello(struct gram_client *client, struct gram_hello **hello);
GRAM_API int gram_async_hello(struct gram_client *client, gram_callback *callback, void *arg); /* hello */

GRAM_API int gram_ping(struct gram_client *client);
GRAM_API int gram_async_ping(struct gram_client *client, gram_callback *callback, void *arg);

/* Stored and open sessions by ascending name: matching `glob` (NULL: all), after `after` (or NULL). */
GRAM_API int gram_sessions(struct gram_client *client, const char *glob, const char *after, size_t limit,
                           struct gram_stored_sessions **sessions);
GRAM_API int gram_async_sessions(struct gram_client *client, const char *glob, const char *after,
                                 size_t limit, gram_callback *callback, void *arg); /* sessions */
/* The owner of row `i`, see gram_chown(); NULL: it has none, or its file or the daemon cannot tell. */
GRAM_API const char *gram_stored_session_owner(const struct gram_stored_sessions *sessions, size_t i);

GRAM_API int gram_clients(struct gram_client *client, struct gram_connected_clients **clients);
GRAM_API int gram_async_clients(struct gram_client *client, gram_callback *callback, void *arg); /* clients */

/* Not repeated on another connection: a restarted daemon may give the id to another client. */
GRAM_API int gram_disconnect(struct gram_client *client, int64_t id);
GRAM_API int gram_async_disconnect(struct gram_client *client, int64_t id, gram_callback *callback,
                                   void *arg);

/*
 * `on`: the daemon hands its sessions on MongoDB over to other hosts, and opens none of them meanwhile. This
 * returns at once; `sessions_owned` of gram_stats() says how many are left. `on` false: it ends that.
 */
GRAM_API int gram_drain(struct gram_client *client, bool on);
GRAM_API int gram_async_drain(struct gram_client *client, bool on, gram_callback *callback, void *arg);

GRAM_API int gram_stats(struct gram_client *client, struct gram_stats **stats);
GRAM_API int gram_async_stats(struct gram_client *client, gram_callback *callback, void *arg); /* stats */

/* From now on GRAM_EVENT_REQUEST tells of every client's requests. Stays on after a reconnection. */
GRAM_API int gram_monitor(struct gram_client *client, bool on);
GRAM_API int gram_async_monitor(struct gram_client *client, bool on, gram_callback *callback, void *arg);

#ifdef __cplusplus
}
#endif

#endif
