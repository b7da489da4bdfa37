/*
 * Turns a message into a call: finds the method by its name, checks the parameters against its shape, looks
 * up handle and rights. The handler then answers the request or defers it.
 */

#include "dispatch.h"

#include <assert.h>
#include <string.h>

#include "../session/audit.h"
#include "methods.h"

#define HANDLER(constant, name, shape, right, traits) [METHOD_##constant] = method_##name,
static void (*const handlers[METHOD_COUNT])(struct call *call) = { CONTRACT_METHODS(HANDLER) };

/* A cheap hash: most names have a slot of their own. */
static unsigned slot_of(struct slice name)
{
        const uint8_t *text = (const uint8_t *)name.data;

        return (unsigned)(name.len + 3u * text[0] + 5u * text[name.len / 2] + 11u * text[name.len - 1]) %
               METHOD_SLOTS;
}

void method_index_init(struct method_index *index)
{
        static_assert(METHOD_COUNT < METHOD_SLOTS / 2, "a search soon finds a free slot");
        static_assert(METHOD_COUNT < UINT8_MAX, "a slot holds a method's number plus one");

        memset(index, 0, sizeof(*index));
        for (size_t i = 0; i < METHOD_COUNT; i++) {
                bool optional = false;
                unsigned slot;

                index->names[i] = slice_of(methods[i].name);
                for (const char *at = methods[i].shape; *at; at++) {
                        if (*at == '|') {
                                optional = true;
                                continue;
                        }
                        index->most[i]++;
                        if (!optional)
                                index->least[i]++;
                }
                slot = slot_of(index->names[i]);
                while (index->slots[slot])
                        slot = (slot + 1) % METHOD_SLOTS;
                index->slots[slot] = (uint8_t)(i + 1);
        }
}

static const struct method *find_method(const struct method_index *index, struct slice name)
{
        if (name.len == 0)
                return NULL;
        for (unsigned slot = slot_of(name); index->slots[slot]; slot = (slot + 1) % METHOD_SLOTS)
                if (slice_equal(name, index->names[index->slots[slot] - 1]))
                        return &methods[index->slots[slot] - 1];
        return NULL;
}

/* ---- parameters ---- */

static struct slice slice_between(const struct cursor *cursor)
{
        return (struct slice){ (const char *)cursor->at, (size_t)(cursor->end - cursor->at) };
}

/*
 * Reads a parameter that `behind` others follow. The last one ends where the frame ends: it is not skipped to
 * find that out. Nor is a list in a long frame: the parameters after it stay unread.
 */
static bool take(struct call *call, struct cursor *params, char letter, struct param *param, uint32_t behind)
{
        bool optional = letter < 'a';

        if (optional && cursor_nil(params))
                return true;
        param->given = true;
        switch (letter | 0x20) {
        case 'i': return cursor_int(params, &param->integer);
        case 's': return cursor_str(params, SIZE_MAX, &param->text);
        case 'y': return cursor_bin(params, SIZE_MAX, &param->text);
        case 'b': return cursor_bool(params, &param->boolean);
        case 'x':
                param->text = slice_between(params);
                if (behind > 0)
                        cursor_skip(params, &param->text);
                return true;
        case 'a':
                param->cursor = *params;
                if (!cursor_array(&param->cursor, &param->count))
                        return false;
                break;
        case 'm':
                param->cursor = *params;
                if (!cursor_map(&param->cursor, &param->count))
                        return false;
                break;
        default: assert(false);
        }
        if (behind > 0 && call->frame.len <= LONG_FRAME_BYTES) {
                struct slice whole;

                cursor_skip(params, &whole);
                param->cursor.end = (const uint8_t *)whole.data + whole.len;
        } else {
                call->n_unread = behind;
        }
        return true;
}

/* What the parameters list costs of the connection's turn. */
static void use_turn(struct call *call)
{
        size_t rows = 0;

        for (int i = 0; i < CALL_PARAMS_MAX; i++)
                rows += call->params[i].count;
        if (rows > 0)
                request_use(&call->request, rows, 0);
}

static const char *letter_name(char letter)
{
        switch (letter | 0x20) {
        case 'i': return "an integer";
        case 's': return "a str";
        case 'y': return "a bin";
        case 'b': return "a bool";
        case 'a': return "an array";
        default: return "a map";
        }
}

/*
 * Reads the handle, the first parameter of most methods. False: this client has no such handle, and the
 * request is answered.
 */
static bool take_handle(struct call *call, struct cursor *params)
{
        int64_t number;

        if (!cursor_int(params, &number)) {
                answer_error(&call->request, WIRE_BAD_REQUEST, "%s: the session handle must be an integer%s",
                             call->request.method->name, float_came(*params));
                return false;
        }
        call->handle = handle_find(call->client, number);
        if (call->handle && !handle_is_permitted(call->handle))
                call->handle = NULL;
        if (!call->handle) {
                answer_error(&call->request, WIRE_BAD_SESSION,
                             "%s: %lld is no session handle that is open on this connection",
                             call->request.method->name, (long long)number);
                return false;
        }
        call->session = call->handle->session;
        call->request.session = call->session->name;
        call->request.backend = call->session->storage->backend->name;
        call->lane = call->handle->lane;
        return true;
}

static bool wrong_count(struct call *call, unsigned least, unsigned most, unsigned count)
{
        const char *name = call->request.method->name;

        if (count >= least && count <= most)
                return false;
        if (least == most)
                answer_error(&call->request, WIRE_BAD_REQUEST, "%s takes %u parameters, not %u", name, least,
                             count);
        else
                answer_error(&call->request, WIRE_BAD_REQUEST, "%s takes %u to %u parameters, not %u", name,
                             least, most, count);
        return true;
}

static bool take_params(struct call *call, const struct message *message)
{
        const struct method *method = call->request.method;
        const struct method_index *index = &call->context->method_index;
        const char *letter = method->shape;
        struct cursor params = message->params;
        struct param *param = call->params;

        if (wrong_count(call, index->least[method - methods], index->most[method - methods],
                        message->n_params))
                return false;
        for (uint32_t taken = 1; taken <= message->n_params && call->n_unread == 0; letter++) {
                if (*letter == '|')
                        continue;
                if (*letter == 'h') {
                        if (!take_handle(call, &params))
                                return false;
                } else if (!take(call, &params, *letter, param++, message->n_params - taken)) {
                        answer_error(&call->request, WIRE_BAD_REQUEST, "%s: parameter %u must be %s%s%s",
                                     method->name, taken, letter_name(*letter),
                                     *letter < 'a' ? " or nil" : "",
                                     (*letter | 0x20) == 'i' ? float_came(params) : "");
                        return false;
                }
                taken++;
        }
        return true;
}

static bool permitted(struct call *call)
{
        const struct method *method = call->request.method;
        unsigned rights;

        if (method->right == RIGHT_NONE)
                return true;
        rights = call->handle ? call->handle->rights
                              : access_rights(&call->context->config->access, &call->client->credentials,
                                              SLICE_NONE, NULL);
        if (rights & method->right)
                return true;
        answer_error(&call->request, WIRE_DENIED, "%s needs the right `%s`, which uid %u does not have here",
                     method->name,
                     method->right == RIGHT_ADMIN   ? "admin"
                     : method->right == RIGHT_WRITE ? "write"
                                                    : "read",
                     (unsigned)call->client->credentials.uid);
        return false;
}

/* ---- dispatching ---- */

static void run_method(struct call *call, const struct message *message)
{
        if (!take_params(call, message) || !permitted(call))
                return;
        if (call->session && !(call->request.method->traits & METHOD_UNCONFIRMED) &&
            !session_is_ours(call->session)) {
                answer_error(&call->request, WIRE_UNAVAILABLE, "ownership of the session is being confirmed");
                return;
        }
        if (call->lane && !call->lane->at_front &&
            call->lane->n_ops >= call->context->config->max_in_flight) {
                answer_error(&call->request, WIRE_OVERLOADED,
                             "%llu requests on this session are unanswered: read answers before sending more",
                             (unsigned long long)call->context->config->max_in_flight);
                return;
        }
        use_turn(call);
        handlers[call->request.method - methods](call);
}

static void call_init(struct call *call, struct context *context, struct client *client, struct slice frame)
{
        memset(call, 0, sizeof(*call));
        call->context = context;
        call->client = client;
        call->frame = frame;
}

/*
 * Clients that send many requests at once look up peer after peer. If `next` calls the same method, it is
 * read here and the peer is prefetched; its own dispatch() finds it in context->ahead.
 */
static void look_ahead(const struct call *call, struct slice next)
{
        const struct method *method = call->request.method;
        struct ahead *ahead = &call->context->ahead;
        struct cursor params;
        struct handle *handle;
        int64_t number, id;

        if (!next.data || !(method->traits & METHOD_BY_PEER_ID) || !message_read(next, &ahead->message) ||
            !slice_equal(ahead->message.method, call->context->method_index.names[method - methods]))
                return;
        ahead->method = method;
        params = ahead->message.params;
        if (!cursor_int(&params, &number) || !cursor_int(&params, &id))
                return;
        handle = handle_find(call->client, number);
        if (handle)
                cache_prefetch_id(handle->session->cache, id);
}

/* False: the frame is no request and no notification. */
static bool read_frame(struct context *context, struct slice frame, struct message *message,
                       const struct method **method)
{
        struct ahead *ahead = &context->ahead;

        if (ahead->method && ahead->message.frame.data == frame.data) {
                *message = ahead->message;
                *method = ahead->method;
        } else if (message_read(frame, message) && message->kind != MESSAGE_RESPONSE) {
                *method = find_method(&context->method_index, message->method);
        } else {
                return false;
        }
        ahead->method = NULL;
        return true;
}

bool dispatch(struct context *context, struct client *client, struct slice frame, struct slice next)
{
        const struct method *method;
        struct message message;
        struct call call;

        if (!read_frame(context, frame, &message, &method)) {
                dispatch_violation(context, client, message_peek_id((const uint8_t *)frame.data, frame.len),
                                   FRAME_E_INVALID);
                return false;
        }
        call_init(&call, context, client, frame);
        call.request.wire = client->connection.wire;
        call.request.connection = &client->connection;
        call.request.method = method;
        call.request.started_ns = client->connection.wire->monitored ? uv_hrtime() : 0;
        call.request.id = message.id;
        call.request.params_at = (size_t)(message.params.at - (const uint8_t *)frame.data);
        call.request.is_notification = message.kind == MESSAGE_NOTIFICATION;
        call.request.is_open = true;
        audit_begin(&call.request, client);
        link_init(&call.request.link);
        client->n_requests++;
        counters_add(context->counters, COUNT_REQUESTS, 1);
        if (!method) {
                char text[QUOTE_BYTES];

                client->connection.secret_in = true; /* for all that is known of it */
                answer_error(&call.request, WIRE_UNKNOWN_METHOD, "there is no method `%s`",
                             quote_public(&call, message.method, text));
        } else {
                if (method->traits & METHOD_SECRET)
                        client->connection.secret_in = true;
                look_ahead(&call, next);
                run_method(&call, &message);
        }
        assert(!call.request.is_open);
        return true;
}

void dispatch_read_end(struct context *context)
{
        context->ahead.method = NULL;
}

void dispatch_violation(struct context *context, struct client *client, uint32_t id, int frame_error)
{
        char who[CLIENT_TEXT_BYTES];
        const char *text = frame_error == FRAME_E_TOO_LARGE ? "a message larger than max-message"
                           : frame_error == FRAME_E_TOO_DEEP
                                   ? "a message nested deeper than 8 levels"
                                   : "bytes that are no MessagePack-RPC request or notification";

        counters_add(context->counters, COUNT_VIOLATIONS, 1);
        log_write_for(context->log, client->credentials.uid, LOG_WARNING,
                      "%s sent %s: closing its connection", client_describe(client, who), text);
        message_write_error(
                connection_out(&client->connection), id,
                wire_error_names[frame_error == FRAME_E_INVALID ? WIRE_BAD_REQUEST : WIRE_TOO_LARGE],
                slice_of(text), SLICE_NONE);
}

/* ---- deferred calls ---- */

struct op *call_defer(struct call *call, enum op_kind kind, size_t extra, size_t answer)
{
        return op_new(call->lane, call->handle->number, &call->request, call->frame, kind, extra, answer);
}

struct cursor call_list(struct op *op, const struct call *call, const struct param *param)
{
        const char *begin = op->bytes + ((const char *)param->cursor.at - call->frame.data);

        return (struct cursor){ (const uint8_t *)begin, (const uint8_t *)op->bytes + op->n_bytes };
}

void call_read_later(struct call *call, const struct param *param, size_t memory,
                     bool (*read)(struct op_reading *reading))
{
        struct op *op = call_defer(call, OP_WRITE, 0, memory);

        if (op)
                reading_start(op, &call->context->sessions->reads, call_list(op, call, param), param->count,
                              read);
}

void call_look_later(struct call *call, const struct param *param, size_t answer, op_look_fn run)
{
        struct op *op = call_defer(call, OP_LOOK, 0, answer);

        if (!op)
                return;
        op->look.run = run;
        op->look.all = !param->given;
        if (param->given)
                op->look.list = call_list(op, call, param);
        op->look.n = param->count;
        op->look.rights = call->handle->rights;
        op->look.message.limit = call->context->config->max_message_bytes;
        op->answer = op_answer_look;
        op_start(op);
}

/* No write is before the op any more: its method runs again on the op's copy of the frame. */
static void run_again(void *arg, struct request *request, struct slice frame)
{
        struct message message;
        struct call call;
        bool read = message_read(frame, &message);

        assert(read);
        (void)read;
        call_init(&call, arg, request->connection ? client_of(request->connection) : NULL, frame);
        request_take(request, &call.request);
        if (call.client) {
                run_method(&call, &message);
        } else { /* the client has gone: nobody is answered, and nothing was shown */
                call.request.audited.action = AUDIT_NONE;
                answer_nil(&call.request);
        }
        assert(!call.request.is_open);
}

bool call_is_next(struct call *call, size_t answer)
{
        struct op *op;

        if ((call->lane->n_writes == 0 && !call->session->in_doubt && !call->session->settling) ||
            call->lane->at_front)
                return true;
        op = call_defer(call, OP_AGAIN, 0, answer);
        if (!op)
                return false;
        op->again.run = run_again;
        op->again.arg = call->context;
        op_start(op);
        return false;
}
