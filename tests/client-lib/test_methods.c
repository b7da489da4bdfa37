/*
 * Every method of libgram with a puppet: the request in notation, and the result as the program gets it. The
 * blocking functions call the asynchronous ones, so both are tested.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../support/client.h"
#include "../support/program.h"
#include "../support/puppet.h"

struct line {
        const char *pattern;
        const char *result; /* starting with `!`: an error instead */
};

struct script {
        struct puppet *puppet;
        const struct line *lines; /* up to one without a pattern */
        pthread_t thread;
};

static void *script_run(void *arg)
{
        struct script *script = arg;

        puppet_greet(script->puppet);
        for (const struct line *line = script->lines; line->pattern; line++) {
                uint32_t id = puppet_expect(script->puppet, line->pattern);

                if (*line->result == '!')
                        puppet_refuse(script->puppet, id, line->result + 1);
                else
                        puppet_answer(script->puppet, id, line->result);
        }
        return NULL;
}

static struct gram_client *script_start(struct script *script, const struct line *lines)
{
        struct gram_client *client;

        script->puppet = puppet_new();
        script->lines = lines;
        client = test_client_new(
                &(struct gram_options){ .socket = script->puppet->socket, .client = "tester" });
        ck_assert_ptr_nonnull(client);
        ck_assert_int_eq(pthread_create(&script->thread, NULL, script_run, script), 0);
        return client;
}

static void script_end(struct script *script, struct gram_client *client)
{
        pthread_join(script->thread, NULL);
        gram_client_free(client);
        puppet_end(&script->puppet);
}

#define OPEN_LINE                                                                                            \
        {                                                                                                    \
                "open('anna', {create: true, mode: 'shared', wait: 0})",                                     \
                        "{session: 3, created: true, backend: 'file', dialect: 'pyrogram', version: 3, "     \
                        "fence: 0}"                                                                          \
        }
#define CLOSE_LINE                                                                                           \
        {                                                                                                    \
                "close(3)", "nil"                                                                            \
        }

static struct gram_session *opened(struct gram_client *client)
{
        struct gram_session *session = NULL;

        ck_assert_int_eq(gram_open(client, "anna", NULL, &session), 0);
        ck_assert_ptr_nonnull(session);
        return session;
}

/* ---- the daemon ---- */

START_TEST(asks_about_the_daemon)
{
        static const struct line lines[] = {
                { "hello({client: 'tester'})", "{server: 'gramd', version: '9.1', protocol: 1, max_message: "
                                               "1000, max_depth: 8, max_in_flight: 5, "
                                               "max_sessions: 7, backends: ['file', 'memory'], "
                                               "default_backend: 'memory', new_key: [1, {a: 2}]}" },
                { "ping(...)", "!['storage', 'no', nil]" },
                { "sessions(nil, {limit: 10})",
                  "[{name: 'a', backend: 'file', bytes: 4096, modified: 1700000000, handles: 2, holder: nil},"
                  " {name: 'b', backend: 'mongo', bytes: nil, modified: nil, handles: 1, holder: {pid: 12, "
                  "uid: 1000, "
                  "client: 'bot', host: 'far', since: 1700000001}}]" },
                { "sessions('x*', {after: 'xa', limit: 2})", "[]" },
                { "clients()",
                  "[{id: 4, pid: 5, uid: 6, gid: 7, client: 'bot', since: 8, sessions: ['a', 'b'], "
                  "requests: 9, in_flight: 1}]" },
                { "disconnect(4)", "nil" },
                { "stats()", "{requests_total: 12, ratio: 0.5}" },
                { "monitor(true)", "nil" },
                { NULL, NULL },
        };
        struct script script;
        struct gram_client *client = script_start(&script, lines);
        struct gram_hello *hello;
        struct gram_stored_sessions *sessions;
        struct gram_connected_clients *clients;
        struct gram_stats *stats;

        ck_assert_int_eq(gram_hello(client, &hello), 0);
        ck_assert_str_eq(hello->server, "gramd");
        ck_assert_str_eq(hello->version, "9.1");
        ck_assert_int_eq(hello->protocol, 1);
        ck_assert_int_eq(hello->max_message_bytes, 1000);
        ck_assert_int_eq(hello->max_in_flight, 5);
        ck_assert_int_eq(hello->max_sessions, 7);
        ck_assert_uint_eq(hello->n_backends, 2);
        ck_assert_str_eq(hello->backends[1], "memory");
        ck_assert_str_eq(hello->default_backend, "memory");
        gram_free(hello);

        ck_assert_int_eq(gram_ping(client), GRAM_E_STORAGE);
        ck_assert_str_eq(gram_client_error(client)->name, "storage");
        ck_assert_str_eq(gram_client_error(client)->message, "no");

        ck_assert_int_eq(gram_sessions(client, NULL, NULL, 10, &sessions), 0);
        ck_assert_uint_eq(sessions->n, 2);
        ck_assert_str_eq(sessions->rows[0].name, "a");
        ck_assert_int_eq(sessions->rows[0].bytes, 4096);
        ck_assert_int_eq(sessions->rows[0].modified, 1700000000);
        ck_assert_int_eq(sessions->rows[0].handles, 2);
        ck_assert_ptr_null(sessions->rows[0].holder);
        ck_assert_str_eq(sessions->rows[1].backend, "mongo");
        ck_assert_int_eq(sessions->rows[1].holder->pid, 12);
        ck_assert_str_eq(sessions->rows[1].holder->host, "far");
        gram_free(sessions);
        ck_assert_int_eq(gram_sessions(client, "x*", "xa", 2, &sessions), 0);
        ck_assert_uint_eq(sessions->n, 0);
        gram_free(sessions);

        ck_assert_int_eq(gram_clients(client, &clients), 0);
        ck_assert_uint_eq(clients->n, 1);
        ck_assert_int_eq(clients->rows[0].gid, 7);
        ck_assert_str_eq(clients->rows[0].sessions[1], "b");
        ck_assert_int_eq(clients->rows[0].in_flight, 1);
        gram_free(clients);
        ck_assert_int_eq(gram_disconnect(client, 4), 0);

        ck_assert_int_eq(gram_stats(client, &stats), 0);
        ck_assert_uint_eq(stats->n, 2);
        for (size_t i = 0; i < 2; i++)
                ck_assert_double_eq(stats->rows[i].value, strcmp(stats->rows[i].name, "ratio") ? 12 : 0.5);
        gram_free(stats);
        ck_assert_int_eq(gram_monitor(client, true), 0);
        script_end(&script, client);
}
END_TEST

/* ---- sessions ---- */

START_TEST(opens_with_options)
{
        static const struct line lines[] = {
                { "open('b', {backend: 'memory', create: false, dialect: 'telethon', linger: 60, mode: "
                  "'exclusive', "
                  "wait: ...})",
                  "!['busy', 'session b is held', {holder: {pid: 77, uid: 0, client: 'bot', host: 'here', "
                  "since: 5}}]" },
                OPEN_LINE,
                { "info(3)",
                  "{name: 'anna', backend: 'file', dialect: 'pyrogram', version: 3, peers: 5, usernames: 6, "
                  "states: 7, bytes: 8, handles: 2, fence: 0}" },
                { "lease(3)", "nil" },
                { "lease(3)", "15000" },
                { "save(3)", "nil" },
                { "watch(3, true)", "nil" },
                { "delete(3, {remove_peers: false})", "nil" },
                { NULL, NULL },
        };
        struct script script;
        struct gram_client *client = script_start(&script, lines);
        struct gram_open_options options = { .backend = "memory",
                                             .dialect = "telethon",
                                             .mode = GRAM_EXCLUSIVE,
                                             .must_exist = true,
                                             .wait_ms = 2500,
                                             .linger_s = 60 };
        const struct gram_error *error = gram_client_error(client);
        struct gram_session *session;
        struct gram_info *info;
        int64_t lease_ms = 0;

        ck_assert_int_eq(gram_open(client, "b", &options, &session), GRAM_E_BUSY);
        ck_assert_str_eq(error->message, "session b is held");
        ck_assert_int_eq(error->holder->pid, 77);
        ck_assert_str_eq(error->holder->client, "bot");
        ck_assert_ptr_null(error->file);

        session = opened(client);
        ck_assert_str_eq(gram_session_name(session), "anna");
        ck_assert(gram_session_opened(session)->created);
        ck_assert_str_eq(gram_session_opened(session)->backend, "file");
        ck_assert_str_eq(gram_session_opened(session)->dialect, "pyrogram");
        ck_assert_int_eq(gram_session_opened(session)->version, 3);
        ck_assert_ptr_eq(gram_session_client(session), client);
        ck_assert_int_eq(gram_info(session, &info), 0);
        ck_assert_int_eq(info->peers, 5);
        ck_assert_int_eq(info->states, 7);
        ck_assert_str_eq(info->name, "anna");
        gram_free(info);
        ck_assert_int_eq(gram_lease(session, &lease_ms), 0);
        ck_assert_int_eq(lease_ms, -1);
        ck_assert_int_eq(gram_session_lease_ms(session), -1);
        ck_assert_int_eq(gram_lease(session, &lease_ms), 0);
        ck_assert_int_eq(lease_ms, 15000);
        ck_assert_int_gt(gram_session_lease_ms(session), 0);
        ck_assert_int_eq(gram_save(session), 0);
        ck_assert_int_eq(gram_watch(session, true), 0);
        ck_assert_ptr_null(gram_session_error(session));
        ck_assert_int_eq(gram_delete(session, false), 0);
        /* The handle is gone: further requests are not sent, and closing the session is no error. */
        ck_assert_int_eq(gram_save(session), GRAM_E_NOT_FOUND);
        ck_assert_int_eq(gram_session_error(session)->code, GRAM_E_NOT_FOUND);
        ck_assert_int_eq(gram_close(session), 0);
        script_end(&script, client);
}
END_TEST

START_TEST(names_the_file_that_is_locked)
{
        static const struct line lines[] = {
                { "open(...)", "!['busy', 'locked', {file: '/data/b.session'}]" },
                { NULL, NULL },
        };
        struct script script;
        struct gram_client *client = script_start(&script, lines);
        struct gram_session *session;

        ck_assert_int_eq(gram_open(client, "b", NULL, &session), GRAM_E_BUSY);
        ck_assert_str_eq(gram_client_error(client)->file, "/data/b.session");
        ck_assert_ptr_null(gram_client_error(client)->holder);
        script_end(&script, client);
}
END_TEST

/* ---- identity ---- */

START_TEST(reads_and_writes_fields)
{
        static const struct line lines[] = {
                OPEN_LINE,
                { "get(3, ['dc_id', 'api_id', 'test_mode', 'auth_key', 'date', 'user_id', 'is_bot', "
                  "'server_address', "
                  "'port', 'takeout_id'])",
                  "[2, 17, true, h'ab'*256, 1700000000, -5, false, '149.154.167.51', 443, nil]" },
                { "get(3, ['auth_key', 'is_bot'])", "[nil, nil]" },
                { "get(3, [])", "[]" },
                { "set(3, {api_id: nil, auth_key: h'0707...', dc_id: 4, is_bot: true, server_address: "
                  "'1.2.3.4'})",
                  "nil" },
                { "get(3, ['dc_id'])", "[2, 3]" },
                { "get(3, ['auth_key'])", "[h'00']" },
                CLOSE_LINE,
                { NULL, NULL },
        };
        struct script script;
        struct gram_client *client = script_start(&script, lines);
        struct gram_session *session = opened(client);
        struct gram_identity identity;
        struct gram_identity change = { .fields = GRAM_DC_ID | GRAM_API_ID | GRAM_AUTH_KEY | GRAM_IS_BOT |
                                                  GRAM_SERVER_ADDRESS,
                                        .nil = GRAM_API_ID,
                                        .dc_id = 4,
                                        .api_id = 9,
                                        .is_bot = true,
                                        .server_address = "1.2.3.4" };

        ck_assert_int_eq(gram_get(session, GRAM_ALL_FIELDS, &identity), 0);
        ck_assert_uint_eq(identity.fields, GRAM_ALL_FIELDS);
        ck_assert_uint_eq(identity.nil, GRAM_TAKEOUT_ID);
        ck_assert_int_eq(identity.dc_id, 2);
        ck_assert_int_eq(identity.api_id, 17);
        ck_assert(identity.test_mode);
        ck_assert_uint_eq(identity.auth_key[255], 0xab);
        ck_assert_int_eq(identity.date, 1700000000);
        ck_assert_int_eq(identity.user_id, -5);
        ck_assert(!identity.is_bot);
        ck_assert_str_eq(identity.server_address, "149.154.167.51");
        ck_assert_int_eq(identity.port, 443);
        ck_assert_int_eq(gram_get(session, GRAM_AUTH_KEY | GRAM_IS_BOT, &identity), 0);
        ck_assert_uint_eq(identity.nil, GRAM_AUTH_KEY | GRAM_IS_BOT);
        ck_assert_uint_eq(identity.auth_key[255], 0);
        ck_assert_int_eq(gram_get(session, 0, &identity), 0);
        memset(change.auth_key, 7, sizeof(change.auth_key));
        ck_assert_int_eq(gram_set(session, &change), 0);
        gram_identity_wipe(&change);
        ck_assert_uint_eq(change.auth_key[0], 0);
        ck_assert_int_eq(gram_get(session, GRAM_DC_ID, &identity), GRAM_E_PROTOCOL);
        ck_assert_int_eq(gram_get(session, GRAM_AUTH_KEY, &identity), GRAM_E_PROTOCOL);
        ck_assert_int_eq(gram_get(session, GRAM_ALL_FIELDS + 1, &identity), GRAM_E_BAD_REQUEST);
        ck_assert_str_eq(gram_field_name(GRAM_AUTH_KEY), "auth_key");
        ck_assert_ptr_null(gram_field_name(3));
        ck_assert_int_eq(gram_close(session), 0);
        script_end(&script, client);
}
END_TEST

START_TEST(moves_session_strings)
{
        static const struct line lines[] = {
                OPEN_LINE,
                { "export_string(3, 'pyrogram')", "'AbCd'" },
                { "import_string(3, 'AbCd', {api_id: nil, format: nil, overwrite: false})",
                  "['dc_id', 'auth_key', 'date', 'new_field']" },
                { "import_string(3, 'AbCd', {api_id: 6, format: 'telethon', overwrite: true})",
                  "!['exists', 'another key', nil]" },
                CLOSE_LINE,
                { NULL, NULL },
        };
        struct script script;
        struct gram_client *client = script_start(&script, lines);
        struct gram_session *session = opened(client);
        unsigned fields = 0;
        char *text;

        ck_assert_int_eq(gram_export_string(session, "pyrogram", &text), 0);
        ck_assert_str_eq(text, "AbCd");
        ck_assert_int_eq(gram_import_string(session, text, NULL, &fields), 0);
        ck_assert_uint_eq(fields, GRAM_DC_ID | GRAM_AUTH_KEY | GRAM_DATE);
        ck_assert_int_eq(gram_import_string(session, text,
                                            &(struct gram_import_options){ .format = "telethon",
                                                                           .overwrite = true,
                                                                           .has_api_id = true,
                                                                           .api_id = 6 },
                                            NULL),
                         GRAM_E_EXISTS);
        gram_free(text);
        ck_assert_int_eq(gram_close(session), 0);
        script_end(&script, client);
}
END_TEST

/* ---- peers, usernames, states ---- */

START_TEST(reads_and_writes_peers)
{
        static const struct line lines[] = {
                OPEN_LINE,
                { "update_peers(3, [[7, 70, 'user', 'anna', '4912'], [-1000000000001, nil, 'channel', nil, "
                  "nil, 99]])",
                  "nil" },
                { "get_peer_by_id(3, 7)", "[7, 70, 'user', 'anna', nil, 1700000000]" },
                { "get_peer_by_username(3, 'anna')", "[7, nil, 'user', 'anna', '4912', 1700000000]" },
                { "get_peer_by_username(3, 'anna', 0)", "!['expired', 'old', nil]" },
                { "get_peer_by_phone_number(3, '4912')", "!['not_found', 'none', nil]" },
                { "get_peers(3, [7, 8])", "[[7, 70, 'user', 'anna', nil, 5], nil]" },
                { "get_peers(3, [7])", "[nil, nil]" },
                { "scan_peers(3, nil, 2)", "[[7, 70, 'user', nil, nil, 5]]" },
                { "scan_peers(3, 7, 2)", "[]" },
                { "get_peer_by_id(3, 9)", "[9, 'text', 'user', nil, nil, 5]" },
                CLOSE_LINE,
                { NULL, NULL },
        };
        static const struct gram_peer rows[] = {
                { .id = 7,
                  .has_access_hash = true,
                  .access_hash = 70,
                  .type = "user",
                  .username = "anna",
                  .phone_number = "4912" },
                { .id = -1000000000001, .type = "channel", .has_last_update_on = true, .last_update_on = 99 },
        };
        struct script script;
        struct gram_client *client = script_start(&script, lines);
        struct gram_session *session = opened(client);
        struct gram_peers *peers;
        struct gram_peer *peer;
        int64_t after;

        ck_assert_int_eq(gram_update_peers(session, rows, 2), 0);
        ck_assert_int_eq(gram_update_peers(session, NULL, 0), 0); /* sends nothing */
        ck_assert_int_eq(gram_get_peer_by_id(session, 7, &peer), 0);
        ck_assert_int_eq(peer->id, 7);
        ck_assert(peer->has_access_hash && peer->access_hash == 70);
        ck_assert_str_eq(peer->type, "user");
        ck_assert_str_eq(peer->username, "anna");
        ck_assert_ptr_null(peer->phone_number);
        ck_assert(peer->has_last_update_on && peer->last_update_on == 1700000000);
        gram_free(peer);
        ck_assert_int_eq(gram_get_peer_by_username(session, "anna", GRAM_MAX_AGE_DEFAULT_S, &peer), 0);
        ck_assert(!peer->has_access_hash);
        ck_assert_str_eq(peer->phone_number, "4912");
        gram_free(peer);
        ck_assert_int_eq(gram_get_peer_by_username(session, "anna", 0, &peer), GRAM_E_EXPIRED);
        ck_assert_int_eq(gram_get_peer_by_phone_number(session, "4912", &peer), GRAM_E_NOT_FOUND);
        ck_assert_int_eq(gram_get_peers(session, (const int64_t[]){ 7, 8 }, 2, &peers), 0);
        ck_assert_uint_eq(peers->n, 2);
        ck_assert_str_eq(peers->rows[0].username, "anna");
        ck_assert_ptr_null(peers->rows[1].type);
        gram_free(peers);
        ck_assert_int_eq(gram_get_peers(session, (const int64_t[]){ 7 }, 1, &peers), GRAM_E_PROTOCOL);
        ck_assert_int_eq(gram_scan_peers(session, NULL, 2, &peers), 0);
        ck_assert_uint_eq(peers->n, 1);
        after = peers->rows[0].id;
        gram_free(peers);
        ck_assert_int_eq(gram_scan_peers(session, &after, 2, &peers), 0);
        ck_assert_uint_eq(peers->n, 0);
        gram_free(peers);
        ck_assert_int_eq(gram_get_peer_by_id(session, 9, &peer), GRAM_E_PROTOCOL);
        ck_assert_int_eq(gram_close(session), 0);
        script_end(&script, client);
}
END_TEST

START_TEST(reads_and_writes_usernames)
{
        static const struct line lines[] = {
                OPEN_LINE,
                { "update_usernames(3, [[7, ['a', 'b']], [8, [], 5]])", "nil" },
                { "scan_usernames(3, nil, 10)", "[['a', 7, 5], ['b', 7, nil]]" },
                { "scan_usernames(3, ['b', 7], 10)", "[]" },
                CLOSE_LINE,
                { NULL, NULL },
        };
        static const char *const names[] = { "a", "b" };
        static const struct gram_names rows[] = {
                { .peer_id = 7, .names = names, .n_names = 2 },
                { .peer_id = 8, .has_last_update_on = true, .last_update_on = 5 },
        };
        struct script script;
        struct gram_client *client = script_start(&script, lines);
        struct gram_session *session = opened(client);
        struct gram_usernames *usernames;

        ck_assert_int_eq(gram_update_usernames(session, rows, 2), 0);
        ck_assert_int_eq(gram_update_usernames(session, NULL, 0), 0);
        ck_assert_int_eq(gram_scan_usernames(session, NULL, 0, 10, &usernames), 0);
        ck_assert_uint_eq(usernames->n, 2);
        ck_assert_str_eq(usernames->rows[0].username, "a");
        ck_assert(usernames->rows[0].has_last_update_on && usernames->rows[0].last_update_on == 5);
        ck_assert_int_eq(usernames->rows[1].peer_id, 7);
        ck_assert(!usernames->rows[1].has_last_update_on);
        gram_free(usernames);
        ck_assert_int_eq(gram_scan_usernames(session, "b", 7, 10, &usernames), 0);
        gram_free(usernames);
        ck_assert_int_eq(gram_close(session), 0);
        script_end(&script, client);
}
END_TEST

START_TEST(reads_and_writes_states)
{
        static const struct line lines[] = {
                OPEN_LINE,
                { "update_states(3, [[1, 10, nil, 30, nil]])", "nil" },
                { "update_states(3, [[1, 10, nil, 30, nil]], true)", "nil" },
                { "get_states(3)", "[[1, 10, nil, 30, nil], [2, nil, nil, nil, 4]]" },
                { "get_states(3, [])", "[]" },
                { "get_states(3, [2])", "[[2, nil, nil, nil, 4]]" },
                { "remove_states(3, [1, 2])", "nil" },
                CLOSE_LINE,
                { NULL, NULL },
        };
        static const struct gram_state row = {
                .id = 1, .has = GRAM_STATE_PTS | GRAM_STATE_DATE, .pts = 10, .date = 30
        };
        static const int64_t ids[] = { 1, 2 };
        struct script script;
        struct gram_client *client = script_start(&script, lines);
        struct gram_session *session = opened(client);
        struct gram_states *states;

        ck_assert_int_eq(gram_update_states(session, &row, 1, false), 0);
        ck_assert_int_eq(gram_update_states(session, &row, 1, true), 0);
        ck_assert_int_eq(gram_update_states(session, NULL, 0, true), 0);
        ck_assert_int_eq(gram_get_states(session, NULL, 0, &states), 0);
        ck_assert_uint_eq(states->n, 2);
        ck_assert_uint_eq(states->rows[0].has, GRAM_STATE_PTS | GRAM_STATE_DATE);
        ck_assert_int_eq(states->rows[0].date, 30);
        ck_assert_uint_eq(states->rows[1].has, GRAM_STATE_SEQ);
        ck_assert_int_eq(states->rows[1].seq, 4);
        gram_free(states);
        ck_assert_int_eq(gram_get_states(session, ids, 0, &states), 0);
        gram_free(states);
        ck_assert_int_eq(gram_get_states(session, &ids[1], 1, &states), 0);
        gram_free(states);
        ck_assert_int_eq(gram_remove_states(session, ids, 2), 0);
        ck_assert_int_eq(gram_remove_states(session, NULL, 0), 0);
        ck_assert_int_eq(gram_close(session), 0);
        script_end(&script, client);
}
END_TEST

/* ---- errors on the way ---- */

START_TEST(refuses_what_cannot_be_sent)
{
        static const struct line lines[] = { OPEN_LINE, CLOSE_LINE, { NULL, NULL } };
        struct script script;
        struct gram_client *client = script_start(&script, lines);
        struct gram_session *session;
        struct gram_peer *peer;
        char *text;

        ck_assert_int_eq(gram_open(client, NULL, NULL, &session), GRAM_E_BAD_REQUEST);
        ck_assert_int_eq(gram_async_open(client, "anna", NULL, NULL, NULL), GRAM_E_BAD_REQUEST);
        ck_assert_int_eq(gram_open(client, "anna", &(struct gram_open_options){ .wait_ms = -1 }, &session),
                         GRAM_E_BAD_REQUEST);
        session = opened(client);
        text = malloc(5 << 20);
        memset(text, 'x', 5 << 20);
        text[(5 << 20) - 1] = '\0';
        ck_assert_int_eq(gram_get_peer_by_phone_number(session, text, &peer), GRAM_E_TOO_LARGE);
        free(text);
        ck_assert_int_eq(gram_close(session), 0);
        script_end(&script, client);
}
END_TEST

START_TEST(shows_errors_it_does_not_know)
{
        static const struct line lines[] = {
                { "ping(...)", "!['sunspots', 'too many \xc3\xa9', {more: 1}, 'a fourth part']" },
                { "ping(...)", "!['busy']" },
                { NULL, NULL },
        };
        struct script script;
        struct gram_client *client = script_start(&script, lines);

        ck_assert_int_eq(gram_ping(client), GRAM_E_UNKNOWN);
        ck_assert_str_eq(gram_client_error(client)->name, "sunspots");
        ck_assert_str_eq(gram_client_error(client)->message, "too many \xc3\xa9");
        ck_assert_int_eq(gram_ping(client), GRAM_E_PROTOCOL);
        script_end(&script, client);
}
END_TEST

int main(void)
{
        return test_program("client-lib/methods",
                            (const TTest *const[]){
                                    asks_about_the_daemon, opens_with_options, names_the_file_that_is_locked,
                                    reads_and_writes_fields, moves_session_strings, reads_and_writes_peers,
                                    reads_and_writes_usernames, reads_and_writes_states,
                                    refuses_what_cannot_be_sent, shows_errors_it_does_not_know, NULL });
}
