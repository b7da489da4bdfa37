/* Results and errors become MessagePack-RPC responses in their connection's buffer. */

#include "answer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "turn.h"

/* ---- errors and quotes ---- */

/* Index: the BACKEND_E_… without its sign. */
static const enum wire_error wire_of_backend[] = {
        [-BACKEND_E_NOT_FOUND] = WIRE_NOT_FOUND,     [-BACKEND_E_BUSY] = WIRE_BUSY,
        [-BACKEND_E_STORAGE] = WIRE_STORAGE,         [-BACKEND_E_CORRUPT] = WIRE_CORRUPT,
        [-BACKEND_E_UNAVAILABLE] = WIRE_UNAVAILABLE, [-BACKEND_E_FENCED] = WIRE_FENCED,
        [-BACKEND_E_NAME] = WIRE_BAD_REQUEST,        [-BACKEND_E_TOO_LARGE] = WIRE_TOO_LARGE,
        [-BACKEND_E_OPTION] = WIRE_BAD_REQUEST,      [-BACKEND_E_UNSYNCED] = WIRE_UNAVAILABLE,
        [-BACKEND_E_DENIED] = WIRE_DENIED,
};

enum wire_error wire_error_of(int backend_error)
{
        assert(backend_error < 0 &&
               (size_t)-backend_error < sizeof(wire_of_backend) / sizeof(*wire_of_backend));
        return wire_of_backend[-backend_error];
}

const char *quote(struct slice sent, char text[QUOTE_BYTES])
{
        return sent.data ? utf8_quote(sent, '`', text, QUOTE_BYTES) : "(no text)";
}

const char *quote_value(struct cursor value, char text[QUOTE_BYTES])
{
        static const char *const types[] = {
                [CURSOR_END] = "nothing", [CURSOR_NIL] = "nil",
                [CURSOR_BOOL] = "a bool", [CURSOR_FLOAT] = "a float",
                [CURSOR_BIN] = "a bin",   [CURSOR_ARRAY] = "an array",
                [CURSOR_MAP] = "a map",   [CURSOR_EXT] = "an ext",
                [CURSOR_STR] = "a str",   [CURSOR_INT] = "an integer beyond 64 bits",
        };
        int64_t number;
        struct slice sent;

        if (cursor_int(&value, &number))
                snprintf(text, QUOTE_BYTES, "%lld", (long long)number);
        else if (cursor_str(&value, SIZE_MAX, &sent))
                return quote(sent, text);
        else
                return types[cursor_peek(&value)];
        return text;
}

const char *float_came(struct cursor value)
{
        return cursor_has_float(value) ? FLOAT_CAME : "";
}

/* ---- deferred requests ---- */

void request_defer(struct request *from, struct request *to, size_t bytes)
{
        struct connection *connection = from->connection;

        assert(from->is_open && connection);
        *to = *from;
        to->bytes = bytes;
        from->is_open = false;
        link_append(&connection->deferred, &to->link);
        connection->n_deferred++;
        connection->deferred_bytes += bytes;
}

static void forget_deferred(struct request *request)
{
        if (request->orphaned)
                account_remove_orphan(request->orphaned, request->bytes);
        request->orphaned = NULL;
        if (!request->connection || link_empty(&request->link))
                return;
        link_remove(&request->link);
        request->connection->n_deferred--;
        request->connection->deferred_bytes -= request->bytes;
        connection_out(request->connection); /* so that flush() may start reading again */
}

void request_take(struct request *from, struct request *to)
{
        assert(from->is_open);
        *to = *from;
        to->bytes = 0;
        to->orphaned = NULL;
        link_init(&to->link);
        forget_deferred(from);
        from->is_open = false;
}

void request_orphan(struct request *request)
{
        struct account *account = request->connection->account;

        forget_deferred(request);
        request->connection = NULL;
        request->orphaned = account;
        account_add_orphan(account, request->bytes);
}

/* ---- answers ---- */

static void finish(struct request *request, const char *error)
{
        request->is_open = false;
        forget_deferred(request);
        buffer_truncate(&request->wire->sink, 0);
        if (error)
                counters_add(request->wire->counters, COUNT_ERRORS, 1);
        if (request->method &&
            (request->started_ns || request->audited.action || request->outcome == WIRE_DENIED + 1))
                request->wire->events->answered(request, error);
}

/* Where the answer goes: the client, or nowhere. */
static struct buffer *out_of(struct request *request)
{
        assert(request->is_open);
        if (!request->connection || request->is_notification)
                return &request->wire->sink;
        /* Now: what was answered before may have been written, and wiped, since the request came. */
        if (request->method && request->method->traits & METHOD_SECRET)
                request->connection->secret_out = true;
        return connection_out(request->connection);
}

struct buffer *answer_begin(struct request *request)
{
        struct buffer *out = out_of(request);

        request->answer_at = out->len;
        out->limit = out->len + request->wire->config->max_message_bytes;
        message_begin_result(out, request->id);
        return out;
}

static void answer_too_large(struct request *request)
{
        answer_error(request, WIRE_TOO_LARGE, "the answer would be larger than max-message");
}

void answer_end(struct request *request)
{
        bool lost = !request->connection || request->is_notification;
        struct buffer *out = lost ? &request->wire->sink : &request->connection->out;

        assert(request->is_open);
        out->limit = 0;
        request_use(request, 0, out->len - request->answer_at); /* a dropped answer costs as much */
        if (out->full && !lost) {
                buffer_truncate(out, request->answer_at);
                answer_too_large(request);
        } else {
                finish(request, NULL); /* flush() in connection.c drops the connection if memory was short */
        }
}

void answer_cancel(struct request *request)
{
        struct buffer *out = out_of(request);

        out->limit = 0;
        if (out != &request->wire->sink && (out->full || !out->failed))
                buffer_truncate(out, request->answer_at);
}

void answer_whole(struct request *request, struct buffer *message)
{
        struct buffer *out = out_of(request), former = *out;
        bool lost = out == &request->wire->sink;

        request_use(request, 0, message->len); /* a dropped answer costs as much */
        if (message->full && !lost) {
                answer_too_large(request);
                return;
        }
        if (message->failed && !message->full) {
                answer_no_memory(request);
                return;
        }
        if (!lost && out->len == 0 && !out->failed) {
                message->limit = 0;
                *out = *message;
                *message = former;
        } else if (!lost) {
                buffer_append(out, message->data, message->len);
        }
        finish(request, NULL);
}

void request_use(struct request *request, size_t rows, size_t bytes)
{
        if (request->connection)
                turn_use(request->connection, rows, bytes);
}

bool answer_has_room(const struct request *request, const struct buffer *out, size_t n, size_t row)
{
        return n == 0 || out->len - request->answer_at + row <= request->wire->config->max_message_bytes;
}

void answer_nil(struct request *request)
{
        pack_nil(answer_begin(request));
        answer_end(request);
}

void answer_detail(struct request *request, enum wire_error error, struct slice detail, const char *text)
{
        struct buffer *out = out_of(request);
        size_t before = out->len;

        request->outcome = (uint8_t)(error + 1);
        message_write_error(out, request->id, wire_error_names[error], slice_of(text), detail);
        request_use(request, 0, out->len - before);
        finish(request, wire_error_names[error]);
}

void answer_error(struct request *request, enum wire_error error, const char *format, ...)
{
        char shown[512], text[sizeof(shown) + 1]; /* one that is cut ends with an ellipsis */
        va_list list;

        va_start(list, format);
        vsnprintf(text, sizeof(text), format, list);
        va_end(list);
        answer_detail(request, error, SLICE_NONE, utf8_quote(slice_of(text), '\0', shown, sizeof(shown)));
}

void answer_no_memory(struct request *request)
{
        answer_error(request, WIRE_STORAGE, "the daemon is out of memory for this request");
}

/* A holder on another host. Its clients are unknown here: the daemon itself is named as the client. */
static void pack_remote_holder(struct buffer *out, const struct fault_holder *holder)
{
        pack_map(out, 1);
        pack_cstr(out, "holder");
        pack_map(out, 5);
        pack_cstr(out, "pid");
        pack_int(out, holder->pid);
        pack_cstr(out, "uid");
        pack_int(out, holder->uid);
        pack_cstr(out, "client");
        pack_cstr(out, "gramd");
        pack_cstr(out, "host");
        pack_cstr(out, holder->host);
        pack_cstr(out, "since");
        pack_int(out, holder->since);
}

void answer_fault(struct request *request, int backend_error, const struct fault *fault)
{
        struct buffer detail = { 0 };

        if (fault->holder.host[0]) {
                pack_remote_holder(&detail, &fault->holder);
        } else if (fault->file[0]) {
                pack_map(&detail, 1);
                pack_cstr(&detail, "file");
                pack_cstr(&detail, fault->file);
        }
        answer_detail(request, wire_error_of(backend_error),
                      (struct slice){ (const char *)detail.data, detail.len }, fault->text);
        buffer_deinit(&detail);
}
