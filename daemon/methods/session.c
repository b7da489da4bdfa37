/* A session as a whole: open, close, lease, save, delete, info, watch. */

#include "../base/clock.h"
#include "../session/granting.h"
#include "../session/watch.h"
#include "methods.h"

enum { LINGER_MAX_S = 24 * 60 * 60, INFO_BYTES = 1024 };
#define WAIT_MAX_MS INT64_C(86400000)

/* ---- open ---- */

struct open_call {
        struct opening_options options;
        struct slice backend;
};

/*
 * Each reads its value and returns NULL, or what the value must be. An option that is nil counts as left out.
 */
static const char *take_backend(struct cursor *value, struct open_call *open)
{
        return cursor_str(value, SIZE_MAX, &open->backend) ? NULL : "a str";
}

static const char *take_create(struct cursor *value, struct open_call *open)
{
        return cursor_bool(value, &open->options.create) ? NULL : "a bool";
}

static const char *take_mode(struct cursor *value, struct open_call *open)
{
        struct slice mode;

        if (!cursor_str(value, SIZE_MAX, &mode) ||
            (!slice_is(mode, "shared") && !slice_is(mode, "exclusive")))
                return "\"shared\" or \"exclusive\"";
        open->options.exclusive = slice_is(mode, "exclusive");
        return NULL;
}

static const char *take_wait(struct cursor *value, struct open_call *open)
{
        int64_t wait;

        if (!cursor_int_in(value, 0, WAIT_MAX_MS, &wait))
                return "milliseconds, 0 to 86400000";
        open->options.wait_ms = (uint64_t)wait;
        return NULL;
}

static const char *take_dialect(struct cursor *value, struct open_call *open)
{
        return cursor_str(value, PEER_TYPE_MAX_BYTES, &open->options.dialect) ? NULL : "a dialect's name";
}

static const char *take_linger(struct cursor *value, struct open_call *open)
{
        int64_t linger;

        if (!cursor_int_in(value, 0, LINGER_MAX_S, &linger))
                return "seconds, 0 to 86400";
        open->options.linger_ms = (uint64_t)linger * 1000;
        return NULL;
}

static const char *take_seal(struct cursor *value, struct open_call *open)
{
        return cursor_bool(value, &open->options.seal) ? NULL : "a bool";
}

static const struct {
        const char *key;
        const char *(*take)(struct cursor *value, struct open_call *open);
} open_options_table[] = {
        { "backend", take_backend }, { "create", take_create }, { "mode", take_mode }, { "wait", take_wait },
        { "dialect", take_dialect }, { "linger", take_linger }, { "seal", take_seal },
};

static bool take_open_option(struct call *call, struct cursor *cursor, struct open_call *open)
{
        struct slice key;
        struct cursor value;

        if (!option_key(call, cursor, &key))
                return false;
        value = *cursor;
        for (size_t i = 0; i < sizeof(open_options_table) / sizeof(open_options_table[0]); i++) {
                const char *must_be;

                if (!slice_is(key, open_options_table[i].key))
                        continue;
                if (cursor_nil(cursor))
                        return true;
                must_be = open_options_table[i].take(cursor, open);
                if (must_be)
                        option_wrong(call, key, value, must_be);
                return !must_be;
        }
        option_unknown(call, key);
        return false;
}

void method_open(struct call *call)
{
        struct open_call open = { .options = { .create = true } };
        struct slice name = call->params[0].text;
        struct param *options = &call->params[1];
        const struct config *config = call->context->config;
        struct storage *storage;
        char text[QUOTE_BYTES];

        for (uint32_t i = 0; i < options->count; i++)
                if (!take_open_option(call, &options->cursor, &open))
                        return;
        if (name.len > NAME_MAX_BYTES) { /* it may be a session string in the wrong place: it is not shown */
                answer_error(&call->request, WIRE_TOO_LARGE,
                             "open: a session name has at most 200 bytes, not %zu", name.len);
                return;
        }
        if (!session_name_valid(name)) {
                answer_error(&call->request, WIRE_BAD_REQUEST,
                             "open: `%s` is no session name: 1 to 200 bytes, no `/`, no control characters, "
                             "no leading `.`",
                             quote(name, text));
                return;
        }
        if (!open.backend.data)
                open.backend = slice_of(config->backend);
        storage = storages_find(call->context->storages, open.backend);
        if (!storage) {
                answer_error(&call->request, WIRE_BAD_REQUEST, "open: this daemon has no backend `%s`",
                             quote(open.backend, text));
                return;
        }
        client_take_names(call->client);
        if (call->client->handles.n + call->client->n_openings >= config->max_sessions) {
                answer_error(&call->request, WIRE_TOO_LARGE,
                             "this connection has as many sessions open as max-sessions allows");
                return;
        }
        granting_start(call->client, &call->request, call->context->sessions, storage, name, &open.options);
}

void method_close(struct call *call)
{
        if (call->lane->n_writes > 0 && !call_is_next(call, 0))
                return;
        handle_close(call->handle);
        answer_nil(&call->request);
}

void method_lease(struct call *call)
{
        int64_t left_ms;

        if (!call->session->storage->backend->lease) {
                answer_nil(&call->request); /* the session belongs to this host alone */
                return;
        }
        left_ms = session_lease_ms(call->session);
        handle_lend(call->handle, left_ms);
        pack_int(answer_begin(&call->request), left_ms);
        answer_end(&call->request);
}

/* ---- save, delete, info ---- */

static unsigned prepare_save(struct op *op, struct identity *next)
{
        (void)op;
        identity_set_number(next, FIELD_DATE, unix_now());
        return FIELD_BIT(FIELD_DATE);
}

void method_save(struct call *call)
{
        struct op *op = call_defer(call, OP_WRITE, 0, 0);

        if (!op)
                return;
        op->write.prepare = prepare_save;
        op->write.to_disk = true;
        op_start(op);
}

void method_delete(struct call *call)
{
        struct param *options = &call->params[0];
        bool remove_peers = true;
        struct op *op;

        for (uint32_t i = 0; i < options->count; i++) {
                struct slice key;

                if (!option_key(call, &options->cursor, &key))
                        return;
                if (!slice_is(key, "remove_peers")) {
                        option_unknown(call, key);
                        return;
                }
                if (!cursor_nil(&options->cursor) && !cursor_bool(&options->cursor, &remove_peers)) {
                        option_wrong(call, key, options->cursor, "a bool");
                        return;
                }
        }
        op = call_defer(call, OP_DELETE, 0, 0);
        if (!op)
                return;
        op->remove_peers = remove_peers;
        op_start(op);
}

static void start_sealing(struct call *call, enum sealing sealing)
{
        struct op *op = call_defer(call, OP_WRITE, 0, 0);

        if (!op)
                return;
        op->write.change = (struct change){ .kind = CHANGE_SEALING, .sealing = sealing, .n = 1 };
        op->write.has_change = true;
        op->write.to_disk = true;
        op_start(op);
}

void method_seal(struct call *call)
{
        start_sealing(call, SEALING_ON);
}

void method_unseal(struct call *call)
{
        start_sealing(call, SEALING_OFF);
}

void method_rotate(struct call *call)
{
        start_sealing(call, SEALING_ANEW);
}

static void answer_info(struct op *op, const struct found *found)
{
        const struct session *session = op->lane->session;
        const struct connection *connection = op->request.connection;
        const bool owner = *session->owner.text && connection &&
                           LINK_OF(connection, const struct client, connection)->takes_owner;
        struct buffer *out = answer_begin(&op->request);

        pack_map(out,
                 10u + (session->outage_since ? 1 : 0) + (*found->counts.sealed ? 1 : 0) + (owner ? 1 : 0));
        pack_cstr(out, "name");
        pack_str(out, session->name);
        pack_cstr(out, "backend");
        pack_cstr(out, session->storage->backend->name);
        pack_cstr(out, "dialect");
        pack_cstr(out, session->dialect);
        pack_cstr(out, "version");
        pack_int(out, session->version);
        pack_cstr(out, "peers");
        pack_int(out, found->counts.peers);
        pack_cstr(out, "usernames");
        pack_int(out, found->counts.usernames);
        pack_cstr(out, "states");
        pack_int(out, (int64_t)session->states.n);
        pack_cstr(out, "bytes");
        pack_int(out, found->counts.bytes);
        pack_cstr(out, "handles");
        pack_int(out, (int64_t)session->n_handles);
        pack_cstr(out, "fence");
        pack_int(out, session->fence);
        if (session->outage_since) {
                pack_cstr(out, "unsynced_since");
                pack_int(out, session->outage_since);
        }
        if (*found->counts.sealed) {
                pack_cstr(out, "sealed");
                pack_cstr(out, found->counts.sealed);
        }
        if (owner) {
                pack_cstr(out, "owner");
                pack_cstr(out, session->owner.text);
        }
        answer_end(&op->request);
}

void method_info(struct call *call)
{
        struct op *op;

        if (!call_is_next(call, INFO_BYTES))
                return;
        op = call_defer(call, OP_COUNT, 0, INFO_BYTES);
        if (!op)
                return;
        op->answer = answer_info;
        op_start(op);
}

void method_watch(struct call *call)
{
        if (!call_is_next(call, 0))
                return;
        handle_set_watching(call->handle, call->params[0].boolean);
        answer_nil(&call->request);
}
