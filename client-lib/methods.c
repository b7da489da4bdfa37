/*
 * How the result of each method is read. The daemon is not trusted: every byte has passed the frame scanner,
 * and the typed cursor checks and reads in one step. (msgpack-c only writes here: its unpacker would build a
 * tree first.)
 *
 * Maps are read by tables of their keys (map.h).
 */

#include "../proto/records.h"
#include "block.h"
#include "client.h"
#include "map.h"

static const struct key hello_keys[] = {
        { "server", KEY_TEXT, offsetof(struct gram_hello, server), 0 },
        { "version", KEY_TEXT, offsetof(struct gram_hello, version), 0 },
        { "protocol", KEY_INT, offsetof(struct gram_hello, protocol), 0 },
        { "max_message", KEY_INT, offsetof(struct gram_hello, max_message_bytes), 0 },
        { "max_depth", KEY_INT, offsetof(struct gram_hello, max_depth), 0 },
        { "max_in_flight", KEY_INT, offsetof(struct gram_hello, max_in_flight), 0 },
        { "max_sessions", KEY_INT, offsetof(struct gram_hello, max_sessions), 0 },
        { "backends", KEY_TEXTS, offsetof(struct gram_hello, backends),
          offsetof(struct gram_hello, n_backends) },
        { "default_backend", KEY_TEXT, offsetof(struct gram_hello, default_backend), 0 },
        { "features", KEY_TEXTS, offsetof(struct gram_hello, features),
          offsetof(struct gram_hello, n_features) },
        KEYS_END,
};

static const struct key open_keys[] = {
        { "session", KEY_INT, offsetof(struct open_result, handle), 0 },
        { "created", KEY_BOOL, offsetof(struct open_result, opened.created), 0 },
        { "backend", KEY_TEXT, offsetof(struct open_result, opened.backend), 0 },
        { "dialect", KEY_TEXT, offsetof(struct open_result, opened.dialect), 0 },
        { "version", KEY_INT, offsetof(struct open_result, opened.version), 0 },
        { "fence", KEY_INT, offsetof(struct open_result, opened.fence), 0 },
        KEYS_END,
};

static const struct key info_keys[] = {
        { "name", KEY_TEXT, offsetof(struct gram_info, name), 0 },
        { "backend", KEY_TEXT, offsetof(struct gram_info, backend), 0 },
        { "dialect", KEY_TEXT, offsetof(struct gram_info, dialect), 0 },
        { "version", KEY_INT, offsetof(struct gram_info, version), 0 },
        { "peers", KEY_INT, offsetof(struct gram_info, peers), 0 },
        { "usernames", KEY_INT, offsetof(struct gram_info, usernames), 0 },
        { "states", KEY_INT, offsetof(struct gram_info, states), 0 },
        { "bytes", KEY_INT, offsetof(struct gram_info, bytes), 0 },
        { "handles", KEY_INT, offsetof(struct gram_info, handles), 0 },
        { "fence", KEY_INT, offsetof(struct gram_info, fence), 0 },
        KEYS_END,
};

static const struct key stored_keys[] = {
        { "name", KEY_TEXT, offsetof(struct gram_stored_session, name), 0 },
        { "backend", KEY_TEXT, offsetof(struct gram_stored_session, backend), 0 },
        { "bytes", KEY_INT, offsetof(struct gram_stored_session, bytes), 0 },
        { "modified", KEY_INT, offsetof(struct gram_stored_session, modified), 0 },
        { "handles", KEY_INT, offsetof(struct gram_stored_session, handles), 0 },
        { "holder", KEY_HOLDER, offsetof(struct gram_stored_session, holder), 0 },
        KEYS_END,
};

static const struct key client_keys[] = {
        { "id", KEY_INT, offsetof(struct gram_connected_client, id), 0 },
        { "pid", KEY_INT, offsetof(struct gram_connected_client, pid), 0 },
        { "uid", KEY_INT, offsetof(struct gram_connected_client, uid), 0 },
        { "gid", KEY_INT, offsetof(struct gram_connected_client, gid), 0 },
        { "client", KEY_TEXT, offsetof(struct gram_connected_client, client), 0 },
        { "since", KEY_INT, offsetof(struct gram_connected_client, since), 0 },
        { "sessions", KEY_TEXTS, offsetof(struct gram_connected_client, sessions),
          offsetof(struct gram_connected_client, n_sessions) },
        { "requests", KEY_INT, offsetof(struct gram_connected_client, requests), 0 },
        { "in_flight", KEY_INT, offsetof(struct gram_connected_client, in_flight), 0 },
        KEYS_END,
};

static const struct key changed_keys[] = {
        { "peers", KEY_INTS, offsetof(struct gram_changed, peers), offsetof(struct gram_changed, n_peers) },
        { "usernames", KEY_TEXTS, offsetof(struct gram_changed, usernames),
          offsetof(struct gram_changed, n_usernames) },
        { "phones", KEY_TEXTS, offsetof(struct gram_changed, phones),
          offsetof(struct gram_changed, n_phones) },
        { "fields", KEY_FIELDS, offsetof(struct gram_changed, fields), 0 },
        { "states", KEY_INTS, offsetof(struct gram_changed, states),
          offsetof(struct gram_changed, n_states) },
        { "all", KEY_BOOL, offsetof(struct gram_changed, all), 0 },
        KEYS_END,
};

static const struct key monitored_keys[] = {
        { "time", KEY_NUMBER, offsetof(struct gram_monitored, time), 0 },
        { "client", KEY_TEXT, offsetof(struct gram_monitored, client), 0 },
        { "method", KEY_TEXT, offsetof(struct gram_monitored, method), 0 },
        { "session", KEY_TEXT, offsetof(struct gram_monitored, session), 0 },
        { "microseconds", KEY_NUMBER, offsetof(struct gram_monitored, microseconds), 0 },
        { "error", KEY_TEXT, offsetof(struct gram_monitored, error), 0 },
        KEYS_END,
};

/* ---- results ---- */

static size_t bytes_left(const struct cursor *cursor)
{
        return (size_t)(cursor->end - cursor->at);
}

static int read_map_result(struct cursor *cursor, struct gram_reply *reply, size_t size,
                           const struct key *keys)
{
        reply->result = block_new(size, bytes_left(cursor) + 64);
        return reply->result ? read_map(cursor, reply->result, reply->result, keys) : GRAM_E_NOMEM;
}

static int read_hello(struct cursor *cursor, struct gram_reply *reply)
{
        return read_map_result(cursor, reply, sizeof(struct gram_hello), hello_keys);
}

static int read_open(struct cursor *cursor, struct gram_reply *reply)
{
        return read_map_result(cursor, reply, sizeof(struct open_result), open_keys);
}

static int read_info(struct cursor *cursor, struct gram_reply *reply)
{
        return read_map_result(cursor, reply, sizeof(struct gram_info), info_keys);
}

/* The daemon must echo `expect`. */
static int read_ping(struct cursor *cursor, const struct call *call)
{
        int64_t echo;

        return cursor_int(cursor, &echo) && echo == call->expect ? 0 : GRAM_E_PROTOCOL;
}

static int read_lease(struct cursor *cursor, struct gram_reply *reply)
{
        reply->number = -1;
        if (cursor_nil(cursor))
                return 0;
        return cursor_int_in(cursor, 0, INT64_MAX, &reply->number) ? 0 : GRAM_E_PROTOCOL;
}

static int read_import(struct cursor *cursor, struct gram_reply *reply)
{
        unsigned fields = 0;
        int error = read_fields(cursor, &fields);

        reply->number = fields;
        return error;
}

static int read_string(struct cursor *cursor, struct gram_reply *reply)
{
        struct slice text;

        if (!cursor_str(cursor, SIZE_MAX, &text))
                return GRAM_E_PROTOCOL;
        reply->text = block_new(text.len + 1, 0);
        if (!reply->text)
                return GRAM_E_NOMEM;
        memcpy(reply->text, text.data, text.len);
        return 0;
}

static int read_identity_value(struct cursor *cursor, unsigned bit, struct gram_identity *identity)
{
        struct slice bytes;

        switch ((enum gram_field)bit) {
        case GRAM_DC_ID: return cursor_int(cursor, &identity->dc_id) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_API_ID: return cursor_int(cursor, &identity->api_id) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_DATE: return cursor_int(cursor, &identity->date) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_USER_ID: return cursor_int(cursor, &identity->user_id) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_PORT: return cursor_int(cursor, &identity->port) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_TAKEOUT_ID: return cursor_int(cursor, &identity->takeout_id) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_TEST_MODE: return cursor_bool(cursor, &identity->test_mode) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_IS_BOT: return cursor_bool(cursor, &identity->is_bot) ? 0 : GRAM_E_PROTOCOL;
        case GRAM_AUTH_KEY:
                if (!cursor_bin(cursor, GRAM_AUTH_KEY_BYTES, &bytes) || bytes.len != GRAM_AUTH_KEY_BYTES)
                        return GRAM_E_PROTOCOL;
                memcpy(identity->auth_key, bytes.data, bytes.len);
                return 0;
        case GRAM_SERVER_ADDRESS:
                if (!cursor_str(cursor, GRAM_ADDRESS_SIZE - 1, &bytes))
                        return GRAM_E_PROTOCOL;
                memcpy(identity->server_address, bytes.data, bytes.len);
                return 0;
        case GRAM_ALL_FIELDS: break;
        }
        return GRAM_E_PROTOCOL;
}

/* `expect` has the bits of the fields that were asked for; the values come in the order of these bits. */
static int read_get(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        unsigned fields = (unsigned)call->expect;
        struct gram_identity *identity = block_new(sizeof(*identity), 0);
        uint32_t count;
        int error = 0;

        reply->identity = identity;
        if (!identity)
                return GRAM_E_NOMEM;
        if (!cursor_array(cursor, &count) || count != (uint32_t)__builtin_popcount(fields))
                return GRAM_E_PROTOCOL;
        identity->fields = fields;
        for (unsigned bit = 1; bit < GRAM_ALL_FIELDS && !error; bit <<= 1) {
                if (!(fields & bit))
                        continue;
                if (cursor_nil(cursor))
                        identity->nil |= bit;
                else
                        error = read_identity_value(cursor, bit, identity);
        }
        return error;
}

static int copy_peer(const struct peer *from, void *result, struct gram_peer *to)
{
        *to = (struct gram_peer){
                .id = from->id,
                .access_hash = from->has_access_hash ? from->access_hash : 0,
                .has_access_hash = from->has_access_hash,
                .last_update_on = from->last_update_on,
                .has_last_update_on = true,
                .type = block_text(result, from->type),
                .username = from->username.data ? block_text(result, from->username) : NULL,
                .phone_number = from->phone_number.data ? block_text(result, from->phone_number) : NULL,
        };
        return to->type && (to->username || !from->username.data) &&
                               (to->phone_number || !from->phone_number.data)
                       ? 0
                       : GRAM_E_NOMEM;
}

static int read_peer(struct cursor *cursor, struct gram_reply *reply)
{
        struct peer peer;

        reply->peer = block_new(sizeof(*reply->peer), bytes_left(cursor) + 32);
        if (!reply->peer)
                return GRAM_E_NOMEM;
        if (!peer_read(cursor, 0, &peer))
                return GRAM_E_PROTOCOL;
        return copy_peer(&peer, reply->peer, reply->peer);
}

/* At most `expect` rows: as many as the program asked for. */
static int read_peers(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        struct gram_peers *peers;
        uint32_t count;
        struct peer peer;
        int error = 0;

        if (!cursor_array(cursor, &count) || count > call->expect)
                return GRAM_E_PROTOCOL;
        reply->peers = peers = block_new(sizeof(*peers), count * sizeof(*peers->rows) + bytes_left(cursor));
        if (!peers)
                return GRAM_E_NOMEM;
        peers->n = count;
        peers->rows = block_array(peers, count, sizeof(*peers->rows));
        if (!peers->rows)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++) {
                if (cursor_nil(cursor))
                        continue;
                error = peer_read(cursor, 0, &peer) ? copy_peer(&peer, peers, &peers->rows[i])
                                                    : GRAM_E_PROTOCOL;
        }
        return error;
}

static int read_username(struct cursor *cursor, void *result, struct gram_username *row)
{
        uint32_t parts;
        int error;

        if (!cursor_array(cursor, &parts) || parts != 3)
                return GRAM_E_PROTOCOL;
        error = read_text(cursor, result, &row->username);
        if (error)
                return error;
        if (!cursor_int(cursor, &row->peer_id))
                return GRAM_E_PROTOCOL;
        row->has_last_update_on = !cursor_nil(cursor);
        return !row->has_last_update_on || cursor_int(cursor, &row->last_update_on) ? 0 : GRAM_E_PROTOCOL;
}

static int read_usernames(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        struct gram_usernames *usernames;
        uint32_t count;
        int error = 0;

        if (!cursor_array(cursor, &count) || count > call->expect)
                return GRAM_E_PROTOCOL;
        usernames = block_new(sizeof(*usernames), count * sizeof(*usernames->rows) + 2 * bytes_left(cursor));
        reply->usernames = usernames;
        if (!usernames)
                return GRAM_E_NOMEM;
        usernames->n = count;
        usernames->rows = block_array(usernames, count, sizeof(*usernames->rows));
        if (!usernames->rows)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++)
                error = read_username(cursor, usernames, &usernames->rows[i]);
        return error;
}

/* A row has at least six bytes: bounds the memory that a false count can claim. */
static int read_states(struct cursor *cursor, struct gram_reply *reply)
{
        struct gram_states *states;
        struct state state;
        uint32_t count;

        if (!cursor_array(cursor, &count) || count > bytes_left(cursor) / 6)
                return GRAM_E_PROTOCOL;
        reply->states = states = block_new(sizeof(*states), count * sizeof(*states->rows));
        if (!states)
                return GRAM_E_NOMEM;
        states->n = count;
        states->rows = block_array(states, count, sizeof(*states->rows));
        if (!states->rows)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count; i++) {
                if (!state_read(cursor, &state))
                        return GRAM_E_PROTOCOL;
                states->rows[i] = (struct gram_state){
                        .id = state.id,
                        .has = state.present, /* parts and bits are in the same order */
                        .pts = state.part[STATE_PTS],
                        .qts = state.part[STATE_QTS],
                        .date = state.part[STATE_DATE],
                        .seq = state.part[STATE_SEQ],
                };
        }
        return 0;
}

static int read_sessions(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        struct gram_stored_sessions *sessions;
        uint32_t count;
        int error = 0;

        if (!cursor_array(cursor, &count) || count > call->expect)
                return GRAM_E_PROTOCOL;
        sessions = block_new(sizeof(*sessions), count * sizeof(*sessions->rows) + bytes_left(cursor));
        reply->sessions = sessions;
        if (!sessions)
                return GRAM_E_NOMEM;
        sessions->n = count;
        sessions->rows = block_array(sessions, count, sizeof(*sessions->rows));
        if (!sessions->rows)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++)
                error = read_map(cursor, sessions, &sessions->rows[i], stored_keys);
        return error;
}

/* A row has some 80 bytes. Counting 16 bounds the memory that a false count can claim. */
static int read_clients(struct cursor *cursor, struct gram_reply *reply)
{
        struct gram_connected_clients *clients;
        uint32_t count;
        int error = 0;

        if (!cursor_array(cursor, &count) || count > bytes_left(cursor) / 16)
                return GRAM_E_PROTOCOL;
        clients = block_new(sizeof(*clients), count * sizeof(*clients->rows) + bytes_left(cursor));
        reply->clients = clients;
        if (!clients)
                return GRAM_E_NOMEM;
        clients->n = count;
        clients->rows = block_array(clients, count, sizeof(*clients->rows));
        if (!clients->rows)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++)
                error = read_map(cursor, clients, &clients->rows[i], client_keys);
        return error;
}

static int read_stats(struct cursor *cursor, struct gram_reply *reply)
{
        struct gram_stats *stats;
        uint32_t count;
        int error = 0;

        if (!cursor_map(cursor, &count) || count > bytes_left(cursor) / 2)
                return GRAM_E_PROTOCOL;
        reply->stats = stats = block_new(sizeof(*stats), count * sizeof(*stats->rows) + bytes_left(cursor));
        if (!stats)
                return GRAM_E_NOMEM;
        stats->n = count;
        stats->rows = block_array(stats, count, sizeof(*stats->rows));
        if (!stats->rows)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++) {
                error = read_text(cursor, stats, &stats->rows[i].name);
                if (!error)
                        error = read_number(cursor, &stats->rows[i].value);
        }
        return error;
}

/* ---- notifications ---- */

static void *notification_read(struct cursor *cursor, size_t size, const struct key *keys)
{
        void *result = block_new(size, bytes_left(cursor));

        if (result && read_map(cursor, result, result, keys)) {
                gram_free(result);
                return NULL;
        }
        return result;
}

struct gram_changed *changed_read(struct cursor *cursor)
{
        return notification_read(cursor, sizeof(struct gram_changed), changed_keys);
}

struct gram_monitored *monitored_read(struct cursor *cursor)
{
        return notification_read(cursor, sizeof(struct gram_monitored), monitored_keys);
}

/* ---- by method ---- */

/* No default: a method without a reader does not compile. */
int result_read(struct cursor *cursor, const struct call *call, struct gram_reply *reply)
{
        switch (call->method) {
        case METHOD_HELLO: return read_hello(cursor, reply);
        case METHOD_PING: return read_ping(cursor, call);
        case METHOD_OPEN: return read_open(cursor, reply);
        case METHOD_LEASE: return read_lease(cursor, reply);
        case METHOD_INFO: return read_info(cursor, reply);
        case METHOD_GET: return read_get(cursor, call, reply);
        case METHOD_GET_PEER_BY_ID:
        case METHOD_GET_PEER_BY_USERNAME:
        case METHOD_GET_PEER_BY_PHONE_NUMBER: return read_peer(cursor, reply);
        case METHOD_GET_PEERS:
        case METHOD_SCAN_PEERS: return read_peers(cursor, call, reply);
        case METHOD_SCAN_USERNAMES: return read_usernames(cursor, call, reply);
        case METHOD_GET_STATES: return read_states(cursor, reply);
        case METHOD_EXPORT_STRING: return read_string(cursor, reply);
        case METHOD_IMPORT_STRING: return read_import(cursor, reply);
        case METHOD_SESSIONS: return read_sessions(cursor, call, reply);
        case METHOD_CLIENTS: return read_clients(cursor, reply);
        case METHOD_STATS: return read_stats(cursor, reply);
        case METHOD_CLOSE:
        case METHOD_SAVE:
        case METHOD_DELETE:
        case METHOD_SET:
        case METHOD_UPDATE_PEERS:
        case METHOD_UPDATE_USERNAMES:
        case METHOD_UPDATE_STATES:
        case METHOD_REMOVE_STATES:
        case METHOD_WATCH:
        case METHOD_DISCONNECT:
        case METHOD_MONITOR: return 0; /* their result is nil */
        case METHOD_COUNT: break;
        }
        return GRAM_E_PROTOCOL;
}
