#ifndef GRAMD_PROTO_CONTRACT_H
#define GRAMD_PROTO_CONTRACT_H

/*
 * The contract of PROTOCOL.md as tables: its methods, errors and limits. Daemon and libgram take theirs from
 * here; a test holds the document and the Python package against it.
 */

#include <stddef.h>
#include <stdint.h>

/* The rights that a method can need; combined as a mask. */
enum right {
        RIGHT_NONE = 0,
        RIGHT_READ = 1,
        RIGHT_WRITE = 2,
        RIGHT_ADMIN = 4,
};

enum method_trait {
        METHOD_SECRET = 1,      /* key material among the parameters or in the answer */
        METHOD_CHANGES = 2,     /* changes the session */
        METHOD_ONCE = 4,        /* must not be repeated on another connection */
        METHOD_UNCONFIRMED = 8, /* answered also while ownership of the session is being confirmed */
        METHOD_BY_PEER_ID = 16, /* the parameter after the handle is the id of the peer to look up */
};

/*
 * X(CONSTANT, name, shape, right, traits)
 *
 * Each letter of the shape is a parameter: h handle, i integer, s str, y bin, b bool, a array, m map, x
 * anything. A capital letter also takes nil. Parameters after | may be left out.
 */
#define CONTRACT_METHODS(X)                                                                                  \
        X(HELLO, hello, "m", RIGHT_NONE, 0)                                                                  \
        X(PING, ping, "x", RIGHT_NONE, 0)                                                                    \
        X(OPEN, open, "sM", RIGHT_NONE, 0)                                                                   \
        X(CLOSE, close, "h", RIGHT_NONE, METHOD_UNCONFIRMED)                                                 \
        X(LEASE, lease, "h", RIGHT_READ, METHOD_UNCONFIRMED)                                                 \
        X(SAVE, save, "h", RIGHT_WRITE, METHOD_CHANGES)                                                      \
        X(DELETE, delete, "h|M", RIGHT_WRITE, METHOD_CHANGES)                                                \
        X(INFO, info, "h", RIGHT_READ, 0)                                                                    \
        X(SEAL, seal, "h", RIGHT_WRITE, METHOD_CHANGES)                                                      \
        X(UNSEAL, unseal, "h", RIGHT_WRITE, METHOD_CHANGES)                                                  \
        X(ROTATE, rotate, "h", RIGHT_WRITE, METHOD_CHANGES)                                                  \
        X(CHOWN, chown, "hS", RIGHT_READ, METHOD_CHANGES)                                                    \
        X(GET, get, "ha", RIGHT_READ, METHOD_SECRET)                                                         \
        X(SET, set, "hm", RIGHT_WRITE, METHOD_SECRET | METHOD_CHANGES)                                       \
        X(UPDATE_PEERS, update_peers, "ha", RIGHT_WRITE, METHOD_CHANGES)                                     \
        X(UPDATE_USERNAMES, update_usernames, "ha", RIGHT_WRITE, METHOD_CHANGES)                             \
        X(GET_PEER_BY_ID, get_peer_by_id, "hi", RIGHT_READ, METHOD_BY_PEER_ID)                               \
        X(GET_PEER_BY_USERNAME, get_peer_by_username, "hs|I", RIGHT_READ, 0)                                 \
        X(GET_PEER_BY_PHONE_NUMBER, get_peer_by_phone_number, "hs", RIGHT_READ, 0)                           \
        X(GET_PEERS, get_peers, "ha", RIGHT_READ, 0)                                                         \
        X(SCAN_PEERS, scan_peers, "hIi", RIGHT_READ, 0)                                                      \
        X(SCAN_USERNAMES, scan_usernames, "hAi", RIGHT_READ, 0)                                              \
        X(UPDATE_STATES, update_states, "ha|B", RIGHT_WRITE, METHOD_CHANGES)                                 \
        X(GET_STATES, get_states, "h|A", RIGHT_READ, 0)                                                      \
        X(REMOVE_STATES, remove_states, "ha", RIGHT_WRITE, METHOD_CHANGES)                                   \
        X(KV_GET, kv_get, "ha", RIGHT_WRITE, METHOD_SECRET)                                                  \
        X(KV_SET, kv_set, "ha", RIGHT_WRITE, METHOD_SECRET | METHOD_CHANGES)                                 \
        X(KV_SWAP, kv_swap, "hsYY|I", RIGHT_WRITE, METHOD_SECRET | METHOD_CHANGES)                           \
        X(KV_SCAN, kv_scan, "hsSi", RIGHT_WRITE, METHOD_SECRET)                                              \
        X(EXPORT_STRING, export_string, "hs", RIGHT_WRITE, METHOD_SECRET)                                    \
        X(IMPORT_STRING, import_string, "hs|M", RIGHT_WRITE, METHOD_SECRET | METHOD_CHANGES)                 \
        X(WATCH, watch, "hb", RIGHT_READ, 0)                                                                 \
        X(SESSIONS, sessions, "S|M", RIGHT_ADMIN, 0)                                                         \
        X(CLIENTS, clients, "", RIGHT_ADMIN, 0)                                                              \
        X(DISCONNECT, disconnect, "i", RIGHT_ADMIN, METHOD_ONCE)                                             \
        X(DRAIN, drain, "|B", RIGHT_ADMIN, 0)                                                                \
        X(STATS, stats, "", RIGHT_ADMIN, 0)                                                                  \
        X(MONITOR, monitor, "b", RIGHT_ADMIN, 0)

#define CONTRACT_METHOD(constant, name, shape, right, traits) METHOD_##constant,
enum method_number { CONTRACT_METHODS(CONTRACT_METHOD) METHOD_COUNT };
#undef CONTRACT_METHOD

struct method {
        const char *name;
        const char *shape;
        enum right right; /* on the handle's session, or `admin`. The handler checks what depends on
                             parameters */
        unsigned traits;
};

extern const struct method methods[METHOD_COUNT];

/* X(CONSTANT, name) */
#define CONTRACT_ERRORS(X)                                                                                   \
        X(BAD_REQUEST, "bad_request")                                                                        \
        X(UNKNOWN_METHOD, "unknown_method")                                                                  \
        X(BAD_SESSION, "bad_session")                                                                        \
        X(NOT_FOUND, "not_found")                                                                            \
        X(EXPIRED, "expired")                                                                                \
        X(OVERLOADED, "overloaded")                                                                          \
        X(BUSY, "busy")                                                                                      \
        X(FENCED, "fenced")                                                                                  \
        X(EXISTS, "exists")                                                                                  \
        X(DENIED, "denied")                                                                                  \
        X(TOO_LARGE, "too_large")                                                                            \
        X(UNAVAILABLE, "unavailable")                                                                        \
        X(STORAGE, "storage")                                                                                \
        X(CORRUPT, "corrupt")

#define CONTRACT_ERROR(constant, name) WIRE_##constant,
enum wire_error { CONTRACT_ERRORS(CONTRACT_ERROR) WIRE_ERROR_COUNT };
#undef CONTRACT_ERROR

extern const char *const wire_error_names[WIRE_ERROR_COUNT];

/* Limits. The answer to `hello` has a daemon's own: the first three are its defaults, the depth is fixed. */
enum {
        LIMIT_MESSAGE_BYTES = 4 * 1024 * 1024,
        LIMIT_IN_FLIGHT = 256,    /* unanswered requests of one connection on one session */
        LIMIT_SESSIONS = 1024,    /* open sessions of one connection */
        LIMIT_DEPTH = 8,          /* nested arrays and maps of a message */
        LIMIT_HANDLE = 1 << 20,   /* a handle is 1 to LIMIT_HANDLE - 1 */
        LIMIT_CLIENT_BYTES = 255, /* of the name in `hello` */
        LIMIT_ID_BYTES = 16,      /* of the id in `hello`; exactly */
        LIMIT_REMEMBERED = 256,   /* writes of one id that a session remembers */
        LIMIT_ROWS = 1000,        /* of one answer of a scan; keys of one kv_get */
};

#endif
