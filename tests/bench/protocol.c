/* The table of operations, and the protocols of Redis, memcached and the echo. */

#include "protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

/* Any time: every peer has one, and it is not read. */
#define TIME "1700000000"

/* ---- Redis ---- */

static char *put_bulk(char *at, const char *text)
{
        size_t len = strlen(text);

        *at++ = '$';
        if (len >= 10)
                *at++ = (char)('0' + len / 10);
        *at++ = (char)('0' + len % 10);
        *at++ = '\r';
        *at++ = '\n';
        memcpy(at, text, len);
        at[len] = '\r';
        at[len + 1] = '\n';
        return at + len + 2;
}

static char *put_number(char *at, int64_t value)
{
        char text[24], *from = text + sizeof(text) - 1;
        uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

        *from = 0;
        do {
                *--from = (char)('0' + left % 10);
                left /= 10;
        } while (left);
        if (value < 0)
                *--from = '-';
        return stpcpy(at, from);
}

static char *put_bulk_number(char *at, int64_t value)
{
        char text[24];

        put_number(text, value);
        return put_bulk(at, text);
}

static char *put_key(char *at, uint64_t n)
{
        char text[32] = "p:";

        put_number(text + 2, sample_id(n));
        return put_bulk(at, text);
}

static size_t redis_write_get(const struct ask *ask, uint8_t *out)
{
        char *at = stpcpy((char *)out, "*7\r\n$5\r\nHMGET\r\n");

        at = put_key(at, ask->n);
        at = stpcpy(at, "$11\r\naccess_hash\r\n$4\r\ntype\r\n$8\r\nusername\r\n$12\r\nphone_number\r\n"
                        "$14\r\nlast_update_on\r\n");
        return (size_t)(at - (char *)out);
}

static char *put_hset(char *at, uint64_t n)
{
        struct sample sample;

        sample_init(&sample, n);
        at = put_key(stpcpy(at, "*12\r\n$4\r\nHSET\r\n"), n);
        at = put_bulk_number(stpcpy(at, "$11\r\naccess_hash\r\n"), sample.access_hash);
        at = put_bulk(stpcpy(at, "$4\r\ntype\r\n$4\r\nuser\r\n$8\r\nusername\r\n"), sample.username);
        at = put_bulk(stpcpy(at, "$12\r\nphone_number\r\n"), sample.phone_number);
        return stpcpy(at, "$14\r\nlast_update_on\r\n$10\r\n" TIME "\r\n");
}

static size_t redis_write_set(const struct ask *ask, uint8_t *out)
{
        char *at = (char *)out;

        for (uint32_t i = 0; i < ask->rows; i++)
                at = put_hset(at, ask->n + i);
        return (size_t)(at - (char *)out);
}

/* Keys that map usernames and phone numbers to ids. */
static size_t redis_write_names(const struct ask *ask, uint8_t *out)
{
        char *at = (char *)out;

        for (uint32_t i = 0; i < ask->rows; i++) {
                char key[2 + SAMPLE_TEXT_BYTES] = "u:";

                sample_username(ask->n + i, key + 2);
                at = put_bulk(stpcpy(at, "*3\r\n$3\r\nSET\r\n"), key);
                at = put_bulk_number(at, sample_id(ask->n + i));
        }
        return (size_t)(at - (char *)out);
}

static size_t redis_write_phones(const struct ask *ask, uint8_t *out)
{
        char *at = (char *)out;

        for (uint32_t i = 0; i < ask->rows; i++) {
                char key[2 + SAMPLE_TEXT_BYTES] = "t:";

                sample_phone_number(ask->n + i, key + 2);
                at = put_bulk(stpcpy(at, "*3\r\n$3\r\nSET\r\n"), key);
                at = put_bulk_number(at, sample_id(ask->n + i));
        }
        return (size_t)(at - (char *)out);
}

static size_t redis_write_get_value(const struct ask *ask, uint8_t *out)
{
        char key[SAMPLE_TEXT_BYTES];

        sample_username(ask->n, key);
        return (size_t)(put_bulk(stpcpy((char *)out, "*2\r\n$3\r\nGET\r\n"), key) - (char *)out);
}

static size_t redis_write_set_value(const struct ask *ask, uint8_t *out)
{
        char *at = (char *)out, value[VALUE_BYTES + 1] = "";

        memset(value, 'v', VALUE_BYTES);
        for (uint32_t i = 0; i < ask->rows; i++) {
                char key[SAMPLE_TEXT_BYTES];

                sample_username(ask->n + i, key);
                at = put_bulk(stpcpy(at, "*3\r\n$3\r\nSET\r\n"), key);
                at = put_bulk(at, value);
        }
        return (size_t)(at - (char *)out);
}

/* Reads a number up to the end of the line. False if the line is incomplete. */
static bool take_line(const uint8_t **at, const uint8_t *end, long *value)
{
        const uint8_t *newline = memchr(*at, '\n', (size_t)(end - *at));
        bool negative = false;

        if (!newline)
                return false;
        *value = 0;
        for (const uint8_t *digit = *at + 1; digit < newline - 1; digit++) {
                if (*digit == '-')
                        negative = true;
                else
                        *value = *value * 10 + (*digit - '0');
        }
        if (negative)
                *value = -1;
        *at = newline + 1;
        return true;
}

/* One reply: a line, a text, or an array of texts. */
static bool pass_reply(const uint8_t **at, const uint8_t *end, bool *is_error)
{
        long left = 1;

        while (left-- > 0) {
                uint8_t kind = *at < end ? **at : 0;
                long value;

                if (!take_line(at, end, &value))
                        return false;
                if (kind == '*') {
                        left += value;
                } else if (kind == '$' && value >= 0) {
                        if (end - *at < value + 2)
                                return false;
                        *at += value + 2;
                }
                /* Every requested key exists. */
                *is_error |= kind == '-' || (kind == '$' && value < 0);
        }
        return true;
}

static bool redis_read(const struct ask *ask, const uint8_t *in, size_t len, struct answer *answer)
{
        const uint8_t *at = in;

        answer->is_error = false;
        for (uint32_t i = 0; i < (ask->rows ? ask->rows : 1); i++)
                if (!pass_reply(&at, in + len, &answer->is_error))
                        return false;
        answer->bytes = (size_t)(at - in);
        return true;
}

/* ---- memcached: a value holds the same as gramd's answer ---- */

static size_t memcached_write_get(const struct ask *ask, uint8_t *out)
{
        char *at = put_number(stpcpy((char *)out, "get p:"), sample_id(ask->n));

        return (size_t)(stpcpy(at, "\r\n") - (char *)out);
}

static size_t memcached_write_set(const struct ask *ask, uint8_t *out)
{
        char *at = (char *)out;

        for (uint32_t i = 0; i < ask->rows; i++) {
                at = put_number(stpcpy(at, "set p:"), sample_id(ask->n + i));
                at = put_number(stpcpy(at, " 0 0 "), VALUE_BYTES);
                at = stpcpy(at, "\r\n");
                memset(at, 'v', VALUE_BYTES);
                at = stpcpy(at + VALUE_BYTES, "\r\n");
        }
        return (size_t)(at - (char *)out);
}

static bool memcached_read_get(const struct ask *ask, const uint8_t *in, size_t len, struct answer *answer)
{
        const uint8_t *newline = memchr(in, '\n', len);
        size_t rest = VALUE_BYTES + sizeof("\r\nEND\r\n") - 1;

        (void)ask;
        if (!newline)
                return false;
        answer->is_error = *in != 'V';
        answer->bytes = (size_t)(newline + 1 - in) + (answer->is_error ? 0 : rest);
        return answer->bytes <= len;
}

static bool memcached_read_set(const struct ask *ask, const uint8_t *in, size_t len, struct answer *answer)
{
        size_t bytes = ask->rows * (sizeof("STORED\r\n") - 1);

        answer->is_error = *in != 'S';
        answer->bytes = bytes;
        return bytes <= len;
}

/* ---- the echo: requests and answers have the length of gramd's ---- */

static bool echo_read(const struct ask *ask, const uint8_t *in, size_t len, struct answer *answer)
{
        (void)in;
        answer->is_error = false;
        answer->bytes = ask->answers;
        return len >= ask->answers;
}

static size_t echo_write(const struct ask *ask, uint8_t *out)
{
        struct ask same = *ask;

        /* The length must not depend on the slot. */
        same.slot = 0;
        same.session = 1;
        return gramd_write_get_id(&same, out);
}

/* ---- the table ---- */

static const struct operation operations[] = {
        { "gramd", "get_id", false, true, true, gramd_write_get_id, gramd_read },
        { "gramd", "get_username", false, true, true, gramd_write_get_username, gramd_read },
        { "gramd", "get_phone", false, true, true, gramd_write_get_phone, gramd_read },
        { "gramd", "put", true, true, true, gramd_write_update, gramd_read },
        { "gramd", "repeat", false, true, true, gramd_write_update, gramd_read },
        { "gramd", "get_value", false, true, true, gramd_write_kv_get, gramd_read },
        { "gramd", "set_value", false, true, true, gramd_write_kv_set, gramd_read },
        { "redis", "get_value", false, false, false, redis_write_get_value, redis_read },
        { "redis", "set_value", false, false, false, redis_write_set_value, redis_read },
        { "redis", "get_id", false, false, false, redis_write_get, redis_read },
        { "redis", "put", true, false, false, redis_write_set, redis_read },
        { "redis", "repeat", false, false, false, redis_write_set, redis_read },
        { "redis", "put_usernames", true, false, false, redis_write_names, redis_read },
        { "redis", "put_phones", true, false, false, redis_write_phones, redis_read },
        { "memcached", "get_id", false, false, false, memcached_write_get, memcached_read_get },
        { "memcached", "put", true, false, false, memcached_write_set, memcached_read_set },
        { "echo", "get_id", false, false, false, echo_write, echo_read },
};

const struct operation *operation_find(const char *protocol, const char *name)
{
        for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
                if (strcmp(operations[i].protocol, protocol) == 0 && strcmp(operations[i].name, name) == 0)
                        return &operations[i];
        return NULL;
}
