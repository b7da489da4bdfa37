/*
 * The names of error codes, and the error of an answer turned into what the program sees. Everything is
 * copied into buffers of fixed size, and cut where it is longer: an error must not need memory.
 */

#include "failure.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../proto/contract.h"

/*
 * gram.h's code of an error of the contract: -1 for the first, and so on. GRAM_E_UNKNOWN took -15, so the
 * fifteenth error is -16, the sixteenth -17. A new error goes to the end of CONTRACT_ERRORS and gets the next
 * code in gram.h; codes that programs were compiled with stay.
 */
#define CODE_OF(error) (-1 - (int)(error) - ((int)(error) >= -1 - (int)GRAM_E_UNKNOWN ? 1 : 0))

#define HAS_CODE(constant, name)                                                                             \
        _Static_assert((int)GRAM_E_##constant == CODE_OF(WIRE_##constant), name " has another code");
CONTRACT_ERRORS(HAS_CODE)
#undef HAS_CODE
_Static_assert(CODE_OF(WIRE_ERROR_COUNT - 1) > (int)GRAM_E_UNREACHABLE,
               "the daemon's errors have grown into this library's");

/* The codes that a daemon does not send. */
static const struct {
        int code;
        const char *name;
} own_codes[] = {
        { GRAM_OK, "ok" },
        { GRAM_E_UNREACHABLE, "unreachable" },
        { GRAM_E_TIMEOUT, "timeout" },
        { GRAM_E_PROTOCOL, "protocol" },
        { GRAM_E_NOMEM, "no_memory" },
        { GRAM_E_CANCELLED, "cancelled" },
        { GRAM_E_MISUSE, "misuse" },
        { GRAM_E_UNTRUSTED, "untrusted" },
};

GRAM_API const char *gram_code_name(int code)
{
        for (int i = 0; i < (int)WIRE_ERROR_COUNT; i++) {
                if (CODE_OF(i) == code)
                        return wire_error_names[i];
        }
        for (size_t i = 0; i < sizeof(own_codes) / sizeof(*own_codes); i++) {
                if (own_codes[i].code == code)
                        return own_codes[i].name;
        }
        return "unknown";
}

static int code_by_name(struct slice name)
{
        for (int i = 0; i < (int)WIRE_ERROR_COUNT; i++) {
                if (slice_is(name, wire_error_names[i]))
                        return CODE_OF(i);
        }
        return GRAM_E_UNKNOWN;
}

/* Cut between characters, never inside one. */
static void text_fit(char *to, size_t size, struct slice text)
{
        size_t len = text.len;

        assert(size);
        if (len >= size) {
                len = size - 1;
                while (len && ((unsigned char)text.data[len] & 0xc0) == 0x80)
                        len--;
        }
        if (len)
                memcpy(to, text.data, len);
        to[len] = '\0';
}

static void failure_init(struct failure *failure, int code, struct slice name)
{
        memset(failure, 0, sizeof(*failure));
        text_fit(failure->name, sizeof(failure->name), name);
        failure->error.code = code;
        failure->error.name = failure->name;
        failure->error.message = failure->message;
}

int failure_set(struct failure *failure, int code, const char *format, ...)
{
        va_list args;

        failure_init(failure, code, slice_of(gram_code_name(code)));
        va_start(args, format);
        vsnprintf(failure->message, sizeof(failure->message), format, args);
        va_end(args);
        return code;
}

static void holder_set(struct failure *failure, const struct gram_holder *holder, struct slice client,
                       struct slice host)
{
        failure->holder = *holder;
        text_fit(failure->client, sizeof(failure->client), client);
        text_fit(failure->host, sizeof(failure->host), host);
        failure->holder.client = client.data ? failure->client : NULL;
        failure->holder.host = host.data ? failure->host : NULL;
        failure->error.holder = &failure->holder;
}

void failure_copy(struct failure *to, const struct gram_error *from)
{
        failure_init(to, from->code, slice_of(from->name));
        text_fit(to->message, sizeof(to->message), slice_of(from->message));
        if (from->holder)
                holder_set(to, from->holder, slice_of(from->holder->client), slice_of(from->holder->host));
        if (from->file) {
                text_fit(to->file, sizeof(to->file), slice_of(from->file));
                to->error.file = to->file;
        }
}

static bool holder_read(struct failure *failure, struct cursor *cursor)
{
        struct gram_holder holder = { 0 };
        struct slice client = SLICE_NONE, host = SLICE_NONE, key;
        uint32_t pairs;

        if (cursor_nil(cursor))
                return true;
        if (!cursor_map(cursor, &pairs))
                return false;
        while (pairs--) {
                if (!cursor_str(cursor, SIZE_MAX, &key))
                        return false;
                if (!(slice_is(key, "pid") && cursor_int(cursor, &holder.pid)) &&
                    !(slice_is(key, "uid") && cursor_int(cursor, &holder.uid)) &&
                    !(slice_is(key, "since") && cursor_int(cursor, &holder.since)) &&
                    !(slice_is(key, "client") && cursor_str(cursor, SIZE_MAX, &client)) &&
                    !(slice_is(key, "host") && cursor_str(cursor, SIZE_MAX, &host)))
                        cursor_skip(cursor, NULL);
        }
        holder_set(failure, &holder, client, host);
        return true;
}

/* Unknown parts of a detail are skipped: a newer daemon may send more. */
static bool detail_read(struct failure *failure, struct cursor *cursor)
{
        struct slice key, file;
        uint32_t pairs;

        if (!cursor_map(cursor, &pairs)) {
                cursor_skip(cursor, NULL);
                return true;
        }
        while (pairs--) {
                if (!cursor_str(cursor, SIZE_MAX, &key))
                        return false;
                if (slice_is(key, "holder")) {
                        if (!holder_read(failure, cursor))
                                return false;
                } else if (slice_is(key, "file") && cursor_str(cursor, SIZE_MAX, &file)) {
                        text_fit(failure->file, sizeof(failure->file), file);
                        failure->error.file = failure->file;
                } else {
                        cursor_skip(cursor, NULL);
                }
        }
        return true;
}

bool failure_read_parts(struct failure *failure, struct cursor *cursor, uint32_t parts)
{
        struct slice name, message;

        if (parts < 2 || !cursor_str(cursor, SIZE_MAX, &name) || !cursor_str(cursor, SIZE_MAX, &message))
                return false;
        failure_init(failure, code_by_name(name), name);
        text_fit(failure->message, sizeof(failure->message), message);
        if (parts > 2 && !detail_read(failure, cursor))
                return false;
        for (uint32_t i = 3; i < parts; i++)
                cursor_skip(cursor, NULL);
        return true;
}

bool failure_read(struct failure *failure, struct cursor *cursor)
{
        uint32_t parts;

        return cursor_array(cursor, &parts) && failure_read_parts(failure, cursor, parts);
}
