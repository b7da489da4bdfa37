#include "play.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clocks.h"

struct play play;
enum plant plant;

/* ---- what comes ---- */

static int read_error(struct cursor *cursor)
{
        struct slice code, text;
        uint32_t parts;

        if (cursor_nil(cursor))
                return NO_ERROR;
        require(cursor_array(cursor, &parts) && cursor_str(cursor, 64, &code));
        require(cursor_str(cursor, SIZE_MAX, &text));
        if (play.traced)
                fprintf(stderr, "error %.*s: %.*s\n", (int)code.len, code.data, (int)text.len, text.data);
        for (int i = 0; i < WIRE_ERROR_COUNT; i++)
                if (slice_is(code, wire_error_names[i]))
                        return i;
        require(false);
        return UNKNOWN;
}

static void take_result(const struct message *message, int *error, struct buffer *result)
{
        struct cursor cursor = message->params;

        buffer_truncate(result, 0);
        *error = read_error(&cursor);
        if (*error != NO_ERROR)
                return;
        buffer_append(result, cursor.at, (size_t)(cursor.end - cursor.at));
}

/* An answer of the same length, so that it is well-formed. */
static void plant_stale(struct buffer *result)
{
        static struct buffer last;
        struct buffer now = *result;

        *result = (struct buffer){ 0 };
        buffer_append(result, last.len == now.len ? last.data : now.data, now.len);
        buffer_deinit(&last);
        last = now;
}

static struct handle *handle_of(struct client *client, int64_t number)
{
        for (unsigned i = 0; i < HANDLES; i++)
                if (client->handles[i].number == number)
                        return &client->handles[i];
        return NULL;
}

static unsigned read_ids(struct cursor *cursor, const int64_t *ids, unsigned n_ids)
{
        unsigned bits = 0;
        uint32_t n;

        require(cursor_array(cursor, &n));
        while (n--) {
                int64_t id;

                require(cursor_int(cursor, &id));
                for (unsigned i = 0; i < n_ids; i++)
                        if (ids[i] == id)
                                bits |= 1u << i;
        }
        return bits;
}

static unsigned field_bit(struct slice name)
{
        return FIELD_BIT(field_by_name(name));
}

static unsigned key_bit(struct slice name)
{
        for (unsigned key = 0; key < AREA_KEYS; key++)
                if (slice_equal(name, model_key(key)))
                        return 1u << key;
        return 0;
}

static unsigned read_names(struct cursor *cursor, unsigned (*bit_of)(struct slice name))
{
        unsigned bits = 0;
        uint32_t n;

        require(cursor_array(cursor, &n));
        while (n--) {
                struct slice name;

                require(cursor_str(cursor, SIZE_MAX, &name));
                bits |= bit_of(name);
        }
        return bits;
}

static void hear_changed(struct changed *heard, struct cursor *cursor)
{
        uint32_t pairs;

        require(cursor_map(cursor, &pairs));
        while (pairs--) {
                struct slice key;
                bool all;

                require(cursor_str(cursor, 64, &key));
                if (slice_is(key, "peers"))
                        heard->peers |= read_ids(cursor, model_ids, PEERS);
                else if (slice_is(key, "states"))
                        heard->states |= read_ids(cursor, model_state_ids, STATES);
                else if (slice_is(key, "fields"))
                        heard->fields |= read_names(cursor, field_bit);
                else if (slice_is(key, "kv"))
                        heard->area |= read_names(cursor, key_bit);
                else if (!slice_is(key, "all"))
                        cursor_skip(cursor, NULL);
                else if (cursor_bool(cursor, &all))
                        heard->all |= all;
        }
}

static void take_notification(struct client *client, struct message *message)
{
        struct handle *handle;
        int64_t number;

        require(message->n_params > 1 && cursor_int(&message->params, &number));
        handle = handle_of(client, number);
        if (slice_is(message->method, "changed")) {
                if (handle && plant != UNHEARD)
                        hear_changed(&handle->heard, &message->params);
        } else {
                require(slice_is(message->method, "ended") && !handle); /* of a deleted session */
        }
}

static void take_answer(unsigned number, const struct message *message)
{
        struct client *client = &play.clients[number];

        if (message->id < FIRST_ID || (number == play.waiting && message->id == play.control_id)) {
                struct answer *answer = &play.answers[message->id < FIRST_ID ? message->id : ID_OF_CONTROL];

                require(number == play.waiting && !answer->came);
                answer->came = true;
                take_result(message, &answer->error, &answer->result);
                return;
        }
        if (client->waiting.id && client->waiting.id == message->id) {
                struct buffer result = { 0 };
                int error;

                take_result(message, &error, &result);
                take_open(number, error, &result);
                buffer_deinit(&result);
                return;
        }
        for (unsigned s = 0; s < SESSIONS; s++) {
                struct history *history = &play.sessions[s].history;

                for (size_t i = 0; i < history->n; i++) {
                        struct event *event = &history->events[i];

                        if (event->kind != EVENT_REQUEST || play.sessions[s].sent[i].client != number ||
                            play.sessions[s].sent[i].id != message->id)
                                continue;
                        require(!event->answered);
                        event->answered = ++history->now;
                        take_result(message, &event->error, &event->result);
                        if (plant == STALE && event->result.len > 1)
                                plant_stale(&event->result);
                        return;
                }
        }
        abort(); /* an answer that nobody waits for */
}

void take_all(void)
{
        for (unsigned i = 0; i <= READER; i++) {
                struct message message;

                while (play.clients[i].end && end_next(play.clients[i].end, &message))
                        if (message.kind == MESSAGE_RESPONSE)
                                take_answer(i, &message);
                        else
                                take_notification(&play.clients[i], &message);
        }
}

void settle(void)
{
        inside_settle();
        take_all();
}

/* ---- requests that are waited for ---- */

static void expect(unsigned client)
{
        play.waiting = client;
        play.control_id = 0;
        for (unsigned i = 0; i < ANSWERS; i++)
                play.answers[i].came = false;
}

void send_request(unsigned client, uint32_t id, enum method_number method, const struct buffer *params)
{
        struct buffer out = { 0 };

        pack_array(&out, 4);
        pack_int(&out, MESSAGE_REQUEST);
        pack_int(&out, id);
        pack_cstr(&out, methods[method].name);
        buffer_append(&out, params->data, params->len);
        end_send(play.clients[client].end, out.data, out.len);
        buffer_deinit(&out);
}

/* Returns the error, or NO_ERROR; or KILLED. */
static int ask(unsigned client, enum method_number method, const struct buffer *params)
{
        struct answer *answer = &play.answers[ID_OF_CONTROL];

        expect(client);
        play.control_id = play.clients[client].next_id++; /* of its own: it is no repetition */
        send_request(client, play.control_id, method, params);
        settle();
        require(answer->came || inside_is_killed());
        return answer->came ? answer->error : KILLED;
}

int ask_handle(unsigned client, enum method_number method, int64_t handle)
{
        struct buffer params = { 0 };
        int error;

        pack_array(&params, method == METHOD_WATCH ? 2 : 1);
        pack_int(&params, handle);
        if (method == METHOD_WATCH)
                pack_bool(&params, true);
        error = ask(client, method, &params);
        buffer_deinit(&params);
        return error;
}

int ask_request(unsigned client, int64_t handle, const struct asked *asked)
{
        struct buffer params = { 0 };
        int error;

        asked_pack(asked, handle, &params);
        error = ask(client, asked->method, &params);
        buffer_deinit(&params);
        return error;
}

int ask_chown(unsigned client, int64_t handle, uid_t owner)
{
        struct buffer params = { 0 };
        char text[32];
        int error;

        snprintf(text, sizeof(text), "#%u", (unsigned)owner);
        pack_array(&params, 2);
        pack_int(&params, handle);
        if (owner == NOBODY)
                pack_nil(&params);
        else
                pack_cstr(&params, text);
        error = ask(client, METHOD_CHOWN, &params);
        buffer_deinit(&params);
        return error;
}

void connect_client(unsigned number)
{
        struct client *client = &play.clients[number];
        struct buffer params = { 0 };

        inside_connect_as(client->uid);
        client->end = inside_connect();
        require(client->end);
        pack_array(&params, 1);
        pack_map(&params, 1);
        pack_cstr(&params, "id");
        pack_bin(&params, (struct slice){ (char *)client->id, sizeof(client->id) });
        require(ask(number, METHOD_HELLO, &params) == NO_ERROR);
        buffer_deinit(&params);
}

void lose_connection(unsigned number)
{
        end_close(play.clients[number].end);
        play.clients[number].end = NULL;
        settle();
}

static void pack_open(const struct session *session, bool create, bool exclusive, int64_t wait_ms,
                      struct buffer *params)
{
        pack_array(params, 2);
        pack_cstr(params, session->name);
        pack_map(params, 5);
        pack_cstr(params, "backend");
        pack_cstr(params, session->backend);
        pack_cstr(params, "create");
        pack_bool(params, create);
        pack_cstr(params, "mode");
        pack_cstr(params, exclusive ? "exclusive" : "shared");
        pack_cstr(params, "dialect");
        pack_cstr(params, session->dialect);
        pack_cstr(params, "wait");
        pack_int(params, wait_ms);
}

void read_open(const struct buffer *result, int64_t *handle, bool *created)
{
        struct cursor cursor = { result->data, result->data + result->len };
        struct slice key;
        uint32_t pairs;

        require(cursor_map(&cursor, &pairs));
        while (pairs--) {
                require(cursor_str(&cursor, SIZE_MAX, &key));
                if (slice_is(key, "session"))
                        require(cursor_int(&cursor, handle));
                else if (slice_is(key, "created"))
                        require(cursor_bool(&cursor, created));
                else
                        cursor_skip(&cursor, NULL);
        }
}

void send_open(unsigned client, uint32_t id, const struct session *session, bool create, bool exclusive,
               int64_t wait_ms)
{
        struct buffer params = { 0 };

        pack_open(session, create, exclusive, wait_ms, &params);
        send_request(client, id, METHOD_OPEN, &params);
        buffer_deinit(&params);
}

/* Returns the error, or NO_ERROR and the handle's number. */
int ask_open(unsigned client, const struct session *session, bool create, bool exclusive, int64_t *handle,
             bool *created)
{
        struct buffer params = { 0 };
        int error;

        pack_open(session, create, exclusive, 0, &params);
        error = ask(client, METHOD_OPEN, &params);
        buffer_deinit(&params);
        if (error == NO_ERROR)
                read_open(&play.answers[ID_OF_CONTROL].result, handle, created);
        return error;
}

/* ---- what the sessions have ---- */

/* Any handle on the session. NULL: there is none. */
static struct handle *any_handle(unsigned session, unsigned *client)
{
        for (*client = 0; *client < CLIENTS; ++*client)
                for (unsigned i = 0; i < HANDLES; i++) {
                        struct handle *handle = &play.clients[*client].handles[i];

                        if (handle->number && handle->session == session)
                                return handle;
                }
        *client = OBSERVER;
        return NULL;
}

static void see(unsigned client, int64_t handle, struct model *seen)
{
        struct buffer out = { 0 };
        struct slice answers[MODEL_ANSWERS];

        expect(client);
        for (unsigned i = 0; i < MODEL_ANSWERS; i++)
                model_ask(handle, i, &out);
        end_send(play.clients[client].end, out.data, out.len);
        buffer_deinit(&out);
        settle();
        for (unsigned i = 0; i < MODEL_ANSWERS; i++) {
                require(play.answers[i].came && play.answers[i].error == NO_ERROR);
                answers[i] =
                        (struct slice){ (char *)play.answers[i].result.data, play.answers[i].result.len };
        }
        model_read(seen, answers);
}

void observe(unsigned number, bool killed)
{
        struct session *session = &play.sessions[number];
        struct event *event = history_add(&session->history);
        int64_t opened = 0;
        unsigned client;
        struct handle *handle = any_handle(number, &client);
        bool created;

        event->kind = EVENT_SEEN;
        event->killed = killed;
        event->asked.now_ms = clock_unix_ms();
        event->lane = ++play.lanes;
        event->seen.current = play.keys;
        if (!handle) {
                int error = ask_open(OBSERVER, session, false, false, &opened, &created);

                require(error == NO_ERROR || error == WIRE_NOT_FOUND);
        }
        if (handle || opened)
                see(client, handle ? handle->number : opened, &event->seen);
        if (opened)
                require(ask_handle(OBSERVER, METHOD_CLOSE, opened) == NO_ERROR);
        event->answered = ++session->history.now;
}
