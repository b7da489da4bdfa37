/*
 * Reads values of an answer into the structures that the program gets. The bytes have passed the frame
 * scanner; a value of an unexpected type is refused here.
 */

#include "map.h"

#include "../proto/records.h"
#include "block.h"

static const struct key holder_keys[] = {
        { "pid", KEY_INT, offsetof(struct gram_holder, pid), 0 },
        { "uid", KEY_INT, offsetof(struct gram_holder, uid), 0 },
        { "client", KEY_TEXT, offsetof(struct gram_holder, client), 0 },
        { "host", KEY_TEXT, offsetof(struct gram_holder, host), 0 },
        { "since", KEY_INT, offsetof(struct gram_holder, since), 0 },
        KEYS_END,
};

int read_number(struct cursor *cursor, double *number)
{
        return cursor_number(cursor, number) ? 0 : GRAM_E_PROTOCOL;
}

int read_text(struct cursor *cursor, void *result, const char **text)
{
        struct slice slice;

        if (!cursor_str(cursor, SIZE_MAX, &slice))
                return GRAM_E_PROTOCOL;
        *text = block_text(result, slice);
        return *text ? 0 : GRAM_E_NOMEM;
}

static int read_texts(struct cursor *cursor, void *result, const char *const **texts, size_t *n)
{
        const char **array;
        uint32_t count;
        int error = 0;

        if (!cursor_array(cursor, &count))
                return GRAM_E_PROTOCOL;
        array = block_array(result, count, sizeof(*array));
        if (!array)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count && !error; i++)
                error = read_text(cursor, result, &array[i]);
        *texts = array;
        *n = count;
        return error;
}

static int read_ints(struct cursor *cursor, void *result, const int64_t **ints, size_t *n)
{
        int64_t *array;
        uint32_t count;

        if (!cursor_array(cursor, &count))
                return GRAM_E_PROTOCOL;
        array = block_array(result, count, sizeof(*array));
        if (!array)
                return GRAM_E_NOMEM;
        for (uint32_t i = 0; i < count; i++) {
                if (!cursor_int(cursor, &array[i]))
                        return GRAM_E_PROTOCOL;
        }
        *ints = array;
        *n = count;
        return 0;
}

/* The protocol's fields and the bits of gram.h have the same order. */
int read_fields(struct cursor *cursor, unsigned *fields)
{
        struct slice name;
        uint32_t count;

        if (!cursor_array(cursor, &count))
                return GRAM_E_PROTOCOL;
        while (count--) {
                if (!cursor_str(cursor, SIZE_MAX, &name))
                        return GRAM_E_PROTOCOL;
                if (field_by_name(name) != FIELD_COUNT)
                        *fields |= FIELD_BIT(field_by_name(name));
        }
        return 0;
}

static int read_holder(struct cursor *cursor, void *result, const struct gram_holder **at)
{
        struct gram_holder *holder = block_alloc(result, sizeof(*holder));

        *at = holder;
        return holder ? read_map(cursor, result, holder, holder_keys) : GRAM_E_NOMEM;
}

static int read_value(struct cursor *cursor, void *result, void *into, const struct key *key)
{
        void *at = (char *)into + key->at;
        size_t *count = (void *)((char *)into + key->count_at);

        switch (key->type) {
        case KEY_INT: return cursor_int(cursor, at) ? 0 : GRAM_E_PROTOCOL;
        case KEY_BOOL: return cursor_bool(cursor, at) ? 0 : GRAM_E_PROTOCOL;
        case KEY_NUMBER: return read_number(cursor, at);
        case KEY_TEXT: return read_text(cursor, result, at);
        case KEY_TEXTS: return read_texts(cursor, result, at, count);
        case KEY_INTS: return read_ints(cursor, result, at, count);
        case KEY_FIELDS: return read_fields(cursor, at);
        case KEY_HOLDER: return read_holder(cursor, result, at);
        }
        return GRAM_E_PROTOCOL;
}

/* `into` is in the block of `result`, and zeroed. */
int read_map(struct cursor *cursor, void *result, void *into, const struct key *keys)
{
        struct slice name;
        uint32_t pairs;
        int error = 0;

        if (!cursor_map(cursor, &pairs))
                return GRAM_E_PROTOCOL;
        while (pairs-- && !error) {
                const struct key *key = keys;

                if (!cursor_str(cursor, SIZE_MAX, &name))
                        return GRAM_E_PROTOCOL;
                while (key->name && !slice_is(name, key->name))
                        key++;
                if (cursor_peek(cursor) == CURSOR_NIL || !key->name)
                        cursor_skip(cursor, NULL);
                else
                        error = read_value(cursor, result, into, key);
        }
        return error;
}
