/* The fields of a session's identity: one by one, and together as a session string. */

#include <stdlib.h>

#include "../../proto/datacentre.h"
#include "../../proto/session_string.h"
#include "../base/hidden.h"
#include "../session/audit.h"
#include "methods.h"

enum {
        FIELD_BYTES = 264,  /* upper bound of one field in an answer */
        STRING_BYTES = 512, /* upper bound of a session string */
};

static const char *const must_be[FIELD_COUNT] = {
        [FIELD_DC_ID] = "an integer from 0 to 255",
        [FIELD_API_ID] = "an integer from 0 to 4294967295, or nil",
        [FIELD_TEST_MODE] = "a bool, or nil",
        [FIELD_AUTH_KEY] = "a bin of 256 bytes (or of none), or nil",
        [FIELD_DATE] = "an integer: unix seconds",
        [FIELD_USER_ID] = "an integer, or nil",
        [FIELD_IS_BOT] = "a bool, or nil",
        [FIELD_SERVER_ADDRESS] = "a str of at most 255 bytes, or nil",
        [FIELD_PORT] = "an integer from 0 to 65535, or nil",
        [FIELD_TAKEOUT_ID] = "an integer, or nil",
};

/* ---- get ---- */

/* Reads the name of a field. FIELD_COUNT: there is no such field, and the request is answered. */
static enum field take_field(struct call *call, struct cursor *cursor)
{
        struct slice name;
        enum field field;
        char text[QUOTE_BYTES];

        if (!cursor_str(cursor, SIZE_MAX, &name)) {
                answer_error(&call->request, WIRE_BAD_REQUEST, "%s: the names of fields must be str",
                             call->request.method->name);
                return FIELD_COUNT;
        }
        field = field_by_name(name);
        if (field == FIELD_COUNT)
                answer_error(&call->request, WIRE_BAD_REQUEST, "%s: there is no field `%s`",
                             call->request.method->name, quote_public(call, name, text));
        return field;
}

static bool check_fields(struct call *call, struct cursor cursor, uint32_t count)
{
        for (uint32_t i = 0; i < count; i++) {
                enum field field = take_field(call, &cursor);

                if (field == FIELD_COUNT)
                        return false;
                if (field == FIELD_AUTH_KEY)
                        call->request.audited.action = AUDIT_READ_KEY;
                if (field == FIELD_AUTH_KEY && !(call->handle->rights & RIGHT_WRITE)) {
                        answer_error(&call->request, WIRE_DENIED, "get: `auth_key` needs the right `write`");
                        return false;
                }
        }
        return true;
}

static void write_field(const struct identity *identity, enum field field, struct buffer *out)
{
        uint8_t key[AUTH_KEY_BYTES];

        if (field != FIELD_AUTH_KEY || !identity_has(identity, field)) {
                identity_write(identity, field, out);
                return;
        }
        hidden_show(identity, key);
        pack_bin(out, (struct slice){ (const char *)key, sizeof(key) });
        explicit_bzero(key, sizeof(key));
}

/* On a worker: the same for a list that names each field many times. */
static void look_at_fields(struct op *op)
{
        struct cursor *list = &op->look.list;

        op->look.error = WIRE_BAD_REQUEST;
        pack_array(&op->look.message, op->look.n);
        for (uint32_t i = 0; i < op->look.n && !op->look.wrong; i++) {
                struct slice name;
                enum field field = cursor_str(list, SIZE_MAX, &name) ? field_by_name(name) : FIELD_COUNT;

                if (field == FIELD_COUNT) {
                        op->look.wrong = "one of the names is no field's";
                        break;
                }
                if (field == FIELD_AUTH_KEY)
                        op->request.audited.action = AUDIT_READ_KEY;
                if (field == FIELD_AUTH_KEY && !(op->look.rights & RIGHT_WRITE)) {
                        op->look.error = WIRE_DENIED;
                        op->look.wrong = "`auth_key` needs the right `write`";
                } else {
                        write_field(&op->lane->session->identity, field, &op->look.message);
                }
        }
}

void method_get(struct call *call)
{
        struct param *names = &call->params[0];
        struct buffer *out;

        if (names->count > LIST_MAX) {
                if (call_is_next(call, names->count * FIELD_BYTES))
                        call_look_later(call, names, names->count * FIELD_BYTES, look_at_fields);
                return;
        }
        if (!check_fields(call, names->cursor, names->count) ||
            !call_is_next(call, names->count * FIELD_BYTES))
                return;
        out = answer_begin(&call->request);
        pack_array(out, names->count);
        for (uint32_t i = 0; i < names->count; i++)
                write_field(&call->session->identity, take_field(call, &names->cursor), out);
        answer_end(&call->request);
}

/* ---- writes of fields ---- */

/* The values that a write sets. They wait in the op until its job is made. */
struct values {
        struct identity identity;
        unsigned fields;
        bool is_import;
        bool overwrite;
};

static struct values *values_new(struct call *call)
{
        struct values *values = calloc(1, sizeof(*values));

        if (values)
                identity_init(&values->identity);
        else
                answer_no_memory(&call->request);
        return values;
}

static void values_free(void *arg)
{
        struct values *values = arg;

        identity_wipe(&values->identity);
        free(values);
}

static bool copy_field(struct identity *to, const struct identity *from, enum field field)
{
        if (!identity_has(from, field))
                identity_set_nil(to, field);
        else if (field == FIELD_AUTH_KEY)
                identity_copy_key(to, from);
        else if (field == FIELD_SERVER_ADDRESS)
                return identity_set_address(to, slice_of(from->server_address));
        else
                identity_set_number(to, field, from->number[field]);
        return true;
}

/*
 * Sets the fields in `next`. Address and port follow the data centre, unless one of them is set too. Returns
 * the fields that have changed.
 */
static unsigned merge(struct values *values, const struct session *session, struct identity *next,
                      bool *failed)
{
        const unsigned place = FIELD_BIT(FIELD_DC_ID) | FIELD_BIT(FIELD_TEST_MODE);
        const unsigned address = FIELD_BIT(FIELD_SERVER_ADDRESS) | FIELD_BIT(FIELD_PORT);
        struct identity before;
        unsigned fields = values->fields;

        identity_init(&before);
        *failed = !identity_copy(&before, next);
        if (*failed)
                return 0;
        for (enum field field = 0; field < FIELD_COUNT && !*failed; field++)
                if (fields & FIELD_BIT(field))
                        *failed = !copy_field(next, &values->identity, field);
        if (!*failed && (fields & place) && !(fields & address) && session->keeps_address)
                *failed = !datacentre_follow(next, &before, &fields);
        if (*failed) { /* all or nothing */
                struct identity half = *next;

                *next = before;
                before = half;
        }
        identity_wipe(&before);
        return fields;
}

static unsigned prepare_values(struct op *op, struct identity *next)
{
        struct values *values = op->write.values;
        const struct session *session = op->lane->session;
        bool has_key = identity_has(next, FIELD_AUTH_KEY);
        bool same_key = has_key && identity_has(&values->identity, FIELD_AUTH_KEY) &&
                        hidden_equal(next, &values->identity);
        const unsigned of_the_account =
                FIELD_BIT(FIELD_USER_ID) | FIELD_BIT(FIELD_IS_BOT) | FIELD_BIT(FIELD_TAKEOUT_ID);
        bool failed;
        unsigned fields;

        if (values->is_import && has_key && !same_key && !values->overwrite) {
                answer_error(&op->request, WIRE_EXISTS,
                             "the session holds another auth key; `overwrite` replaces it");
                return OP_ANSWERED;
        }
        if (values->is_import && has_key && !same_key)
                values->fields |= of_the_account; /* what the string does not carry was the other account's:
                                                     it becomes nil */
        fields = merge(values, session, next, &failed);
        if (failed) {
                answer_no_memory(&op->request);
                return OP_ANSWERED;
        }
        return fields;
}

static void start_values(struct call *call, struct values *values, op_answer_fn answer)
{
        struct op *op = call_defer(call, OP_WRITE, 0, 0);

        hidden_put(&values->identity);
        if (!op) {
                values_free(values);
                return;
        }
        op->write.prepare = prepare_values;
        op->write.to_disk = true;
        op->write.values = values;
        op->write.free_values = values_free;
        op->answer = answer;
        op_start(op);
}

void method_set(struct call *call)
{
        struct param *map = &call->params[0];
        struct values *values = values_new(call);

        if (!values)
                return;
        for (uint32_t i = 0; i < map->count; i++) {
                enum field field = take_field(call, &map->cursor);
                int error = field == FIELD_COUNT ? 0 : identity_read(&values->identity, field, &map->cursor);

                if (error == IDENTITY_E_VALUE && field == FIELD_AUTH_KEY) /* a key is never shown */
                        answer_error(&call->request, WIRE_BAD_REQUEST, "set: `auth_key` must be %s",
                                     must_be[field]);
                else if (error == IDENTITY_E_VALUE)
                        option_wrong(call, slice_of(field_infos[field].name), map->cursor, must_be[field]);
                else if (error)
                        answer_no_memory(&call->request);
                if (error || field == FIELD_COUNT) {
                        values_free(values);
                        return;
                }
                values->fields |= FIELD_BIT(field);
        }
        if (values->fields & FIELD_BIT(FIELD_AUTH_KEY))
                call->request.audited.action = AUDIT_WRITE_KEY;
        start_values(call, values, NULL);
}

/* ---- session strings ---- */

static const struct session_string_format *take_format(struct call *call, struct slice name)
{
        const struct session_string_format *format = session_string_format_by_name(name);
        char text[QUOTE_BYTES];

        if (!format)
                answer_error(&call->request, WIRE_BAD_REQUEST, "%s: there is no session-string format `%s`",
                             call->request.method->name, quote_public(call, name, text));
        return format;
}

void method_export_string(struct call *call)
{
        const struct session_string_format *format = take_format(call, call->params[0].text);
        struct buffer text = { 0 };
        struct identity shown;
        const char *missing;

        if (!format || !call_is_next(call, STRING_BYTES))
                return;
        shown = call->session->identity; /* borrows the address */
        hidden_take(&shown);
        if (!session_string_write(&shown, format, &text, &missing)) {
                answer_error(&call->request, WIRE_BAD_REQUEST,
                             "export_string: a %s string needs %s, which this session does not hold",
                             format->name, missing);
        } else if (text.failed) {
                answer_no_memory(&call->request);
        } else {
                pack_str(answer_begin(&call->request), (struct slice){ (const char *)text.data, text.len });
                answer_end(&call->request);
        }
        explicit_bzero(&shown, sizeof(shown));
        if (text.data)
                explicit_bzero(text.data, text.cap);
        buffer_deinit(&text);
}

static void answer_import(struct op *op, const struct found *found)
{
        struct buffer *out = answer_begin(&op->request);

        (void)found;
        pack_array(out, (uint32_t)__builtin_popcount(op->write.fields));
        for (enum field field = 0; field < FIELD_COUNT; field++)
                if (op->write.fields & FIELD_BIT(field))
                        pack_cstr(out, field_infos[field].name);
        answer_end(&op->request);
}

struct import_options {
        const struct session_string_format *format;
        bool overwrite;
        bool has_api_id;
        struct cursor api_id;
};

static bool take_import_option(struct call *call, struct cursor *cursor, struct import_options *options)
{
        struct slice key, text;

        if (!option_key(call, cursor, &key))
                return false;
        if (slice_is(key, "format")) {
                if (cursor_nil(cursor))
                        return true;
                if (cursor_str(cursor, SIZE_MAX, &text))
                        return (options->format = take_format(call, text));
                option_wrong(call, key, *cursor, "a str");
        } else if (slice_is(key, "overwrite")) {
                if (cursor_nil(cursor) || cursor_bool(cursor, &options->overwrite))
                        return true;
                option_wrong(call, key, *cursor, "a bool");
        } else if (slice_is(key, "api_id")) {
                options->has_api_id = cursor_peek(cursor) != CURSOR_NIL;
                options->api_id = *cursor;
                cursor_skip(cursor, NULL);
                return true;
        } else {
                option_unknown(call, key);
        }
        return false;
}

/* Reads the string and the option api_id. False: one is wrong, and the request is answered. */
static bool read_import(struct call *call, struct values *values, struct import_options *options)
{
        const char *why;

        if (!session_string_read(call->params[0].text, options->format, &values->identity, &values->fields,
                                 &why)) {
                if (why)
                        answer_error(&call->request, WIRE_BAD_REQUEST, "import_string: %s", why);
                else
                        answer_no_memory(&call->request);
                return false;
        }
        if (!options->has_api_id)
                return true;
        if (identity_read(&values->identity, FIELD_API_ID, &options->api_id)) {
                option_wrong(call, slice_of("api_id"), options->api_id, must_be[FIELD_API_ID]);
                return false;
        }
        values->fields |= FIELD_BIT(FIELD_API_ID);
        return true;
}

void method_import_string(struct call *call)
{
        struct param *map = &call->params[1];
        struct import_options options = { 0 };
        struct values *values;

        for (uint32_t i = 0; i < map->count; i++)
                if (!take_import_option(call, &map->cursor, &options))
                        return;
        values = values_new(call);
        if (!values)
                return;
        values->is_import = true;
        values->overwrite = options.overwrite;
        if (read_import(call, values, &options))
                start_values(call, values, answer_import);
        else
                values_free(values);
}
