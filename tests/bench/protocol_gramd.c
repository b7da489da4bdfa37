/*
 * gramd's MessagePack-RPC without a library: writes requests and finds the end of answers. Numbers are
 * written in their shortest form, as every client writes them.
 */

#include <string.h>

#include "protocol.h"
#include "sample.h"

/* ---- writing ---- */

static uint8_t *put_big(uint8_t *at, uint64_t value, int bytes)
{
        for (int i = bytes - 1; i >= 0; i--)
                *at++ = (uint8_t)(value >> (8 * i));
        return at;
}

static uint8_t *put_int(uint8_t *at, int64_t value)
{
        if (value >= 0 && value < 128)
                return put_big(at, (uint64_t)value, 1);
        if (value >= 0 && value < 256) {
                *at++ = 0xcc;
                return put_big(at, (uint64_t)value, 1);
        }
        if (value >= 0 && value < 65536) {
                *at++ = 0xcd;
                return put_big(at, (uint64_t)value, 2);
        }
        *at++ = value < 0 ? 0xd3 : 0xcf;
        return put_big(at, (uint64_t)value, 8);
}

static uint8_t *put_str(uint8_t *at, const char *text)
{
        size_t len = strlen(text);

        if (len < 32) {
                *at++ = (uint8_t)(0xa0 | len);
        } else {
                *at++ = 0xd9;
                *at++ = (uint8_t)len;
        }
        memcpy(at, text, len);
        return at + len;
}

static uint8_t *put_array(uint8_t *at, size_t n)
{
        if (n < 16)
                return put_big(at, 0x90 | n, 1);
        *at++ = 0xdc;
        return put_big(at, n, 2);
}

/* The start of a request, up to and including the handle, its first parameter. */
static uint8_t *put_call(uint8_t *at, const struct ask *ask, const char *method, size_t n_params)
{
        at = put_array(at, 4);
        *at++ = 0;
        at = put_int(at, ask->slot);
        at = put_str(at, method);
        at = put_array(at, n_params);
        return put_int(at, ask->session);
}

size_t gramd_write_hello(uint64_t number, uint8_t *out)
{
        uint8_t *at = put_array(out, 4);

        *at++ = 0;
        *at++ = 0;
        at = put_str(at, "hello");
        at = put_array(at, 1);
        *at++ = 0x83; /* a map of three */
        at = put_str(put_str(at, "client"), "bench");
        at = put_array(put_str(at, "features"), 1);
        at = put_str(put_str(at, "id"), "id");
        *at++ = 0xc4;
        *at++ = 16;
        at = put_big(put_big(at, number, 8), ~number, 8);
        return (size_t)(at - out);
}

size_t gramd_write_open(const char *name, uint8_t *out)
{
        uint8_t *at = put_array(out, 4);

        *at++ = 0;
        *at++ = 0;
        at = put_str(at, "open");
        at = put_array(at, 2);
        at = put_str(at, name);
        *at++ = 0x80;
        return (size_t)(at - out);
}

size_t gramd_write_get_id(const struct ask *ask, uint8_t *out)
{
        uint8_t *at = put_call(out, ask, "get_peer_by_id", 2);

        return (size_t)(put_int(at, sample_id(ask->n)) - out);
}

size_t gramd_write_get_username(const struct ask *ask, uint8_t *out)
{
        uint8_t *at = put_call(out, ask, "get_peer_by_username", 2);
        char text[SAMPLE_TEXT_BYTES];

        sample_username(ask->n, text);
        return (size_t)(put_str(at, text) - out);
}

size_t gramd_write_get_phone(const struct ask *ask, uint8_t *out)
{
        uint8_t *at = put_call(out, ask, "get_peer_by_phone_number", 2);
        char text[SAMPLE_TEXT_BYTES];

        sample_phone_number(ask->n, text);
        return (size_t)(put_str(at, text) - out);
}

size_t gramd_write_update(const struct ask *ask, uint8_t *out)
{
        uint8_t *at = put_array(put_call(out, ask, "update_peers", 2), ask->rows);

        for (uint32_t i = 0; i < ask->rows; i++) {
                struct sample sample;

                sample_init(&sample, ask->n + i);
                at = put_array(at, 5);
                at = put_int(at, sample.id);
                at = put_int(at, sample.access_hash);
                at = put_str(at, "user");
                at = put_str(at, sample.username);
                at = put_str(at, sample.phone_number);
        }
        return (size_t)(at - out);
}

static uint8_t *put_key(uint8_t *at, uint64_t n)
{
        char text[SAMPLE_TEXT_BYTES];

        sample_username(n, text);
        return put_str(at, text);
}

size_t gramd_write_kv_get(const struct ask *ask, uint8_t *out)
{
        uint8_t *at = put_array(put_call(out, ask, "kv_get", 2), 1);

        return (size_t)(put_key(at, ask->n) - out);
}

size_t gramd_write_kv_set(const struct ask *ask, uint8_t *out)
{
        uint8_t *at = put_array(put_call(out, ask, "kv_set", 2), ask->rows);

        for (uint32_t i = 0; i < ask->rows; i++) {
                at = put_key(put_array(at, 2), ask->n + i);
                *at++ = 0xc4; /* bin */
                *at++ = VALUE_BYTES;
                memset(at, 'v', VALUE_BYTES);
                at += VALUE_BYTES;
        }
        return (size_t)(at - out);
}

/* ---- reading ---- */

struct reader {
        const uint8_t *at;
        const uint8_t *end;
        bool broken_off;
};

static uint64_t get_big(struct reader *reader, size_t bytes)
{
        uint64_t value = 0;

        if ((size_t)(reader->end - reader->at) < bytes) {
                reader->broken_off = true;
                return 0;
        }
        while (bytes-- > 0)
                value = value << 8 | *reader->at++;
        return value;
}

static void leap(struct reader *reader, uint64_t bytes)
{
        if ((uint64_t)(reader->end - reader->at) < bytes)
                reader->broken_off = true;
        else
                reader->at += bytes;
}

/* Skips one value, but not the values inside of it; returns their number. */
static uint64_t pass_head(struct reader *reader)
{
        uint8_t head = (uint8_t)get_big(reader, 1);

        if (head < 0x80 || head >= 0xe0)
                return 0;
        if (head < 0x90)
                return 2 * (uint64_t)(head & 15);
        if (head < 0xa0)
                return head & 15;
        if (head < 0xc0) {
                leap(reader, head & 31);
                return 0;
        }
        switch (head) {
        case 0xc4:
        case 0xd9: leap(reader, get_big(reader, 1)); break;
        case 0xc5:
        case 0xda: leap(reader, get_big(reader, 2)); break;
        case 0xc6:
        case 0xdb: leap(reader, get_big(reader, 4)); break;
        case 0xcc:
        case 0xd0: leap(reader, 1); break;
        case 0xcd:
        case 0xd1: leap(reader, 2); break;
        case 0xce:
        case 0xd2:
        case 0xca: leap(reader, 4); break;
        case 0xcf:
        case 0xd3:
        case 0xcb: leap(reader, 8); break;
        case 0xdc: return get_big(reader, 2);
        case 0xdd: return get_big(reader, 4);
        case 0xde: return 2 * get_big(reader, 2);
        case 0xdf: return 2 * get_big(reader, 4);
        default: break; /* nil, false, true */
        }
        return 0;
}

static void pass(struct reader *reader)
{
        for (uint64_t owed = 1; owed > 0 && !reader->broken_off; owed--)
                owed += pass_head(reader);
}

static uint64_t get_uint(struct reader *reader)
{
        uint8_t head = (uint8_t)get_big(reader, 1);

        return head < 0x80 ? head : get_big(reader, (size_t)1 << (head & 3));
}

/* [1, msgid, error, result] */
bool gramd_read(const struct ask *ask, const uint8_t *in, size_t len, struct answer *answer)
{
        struct reader reader = { in + 2, in + len, len < 4 };

        (void)ask;
        if (reader.broken_off)
                return false;
        answer->slot = (uint32_t)get_uint(&reader);
        answer->is_error = reader.at < reader.end && *reader.at != 0xc0;
        pass(&reader);
        pass(&reader);
        answer->bytes = (size_t)(reader.at - in);
        return !reader.broken_off;
}

int64_t gramd_read_open(const uint8_t *in, size_t len)
{
        static const char key[] = "\xa7session";
        const uint8_t *at = memmem(in, len, key, sizeof(key) - 1);
        struct reader reader = { at + sizeof(key) - 1, in + len, false };

        return at ? (int64_t)get_uint(&reader) : -1;
}
