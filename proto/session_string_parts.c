/*
 * Numbers, keys and addresses in session strings. Reading checks that the bytes exist and that the value is
 * in its field's range. Writing checks that the value fits the format.
 */

#include "session_string_parts.h"

#include <arpa/inet.h>
#include <assert.h>

const uint8_t *reading_take(struct reading *reading, size_t n)
{
        const uint8_t *at = reading->at;

        if (n > reading->left)
                return NULL;
        reading->at += n;
        reading->left -= n;
        return at;
}

bool reading_number(struct reading *reading, enum field field, uint64_t value)
{
        if (value > (uint64_t)field_infos[field].max)
                return false;
        identity_set_number(reading->identity, field, (int64_t)value);
        reading->set |= FIELD_BIT(field);
        return true;
}

bool reading_key(struct reading *reading, const uint8_t *key)
{
        if (!key)
                return false;
        identity_set_key(reading->identity, key);
        reading->set |= FIELD_BIT(FIELD_AUTH_KEY);
        return true;
}

/* Host names and addresses are visible ASCII. */
static bool is_address(struct slice text)
{
        for (size_t i = 0; i < text.len; i++) {
                if (text.data[i] <= ' ' || text.data[i] > '~')
                        return false;
        }
        return text.len && text.len <= TEXT_MAX_BYTES;
}

bool reading_address(struct reading *reading, struct slice address)
{
        if (!is_address(address))
                return false;
        if (!identity_set_address(reading->identity, address)) {
                reading->no_memory = true;
                return false;
        }
        reading->set |= FIELD_BIT(FIELD_SERVER_ADDRESS);
        return true;
}

bool writing_lacks(struct writing *writing, enum field field)
{
        writing->missing = field;
        return false;
}

bool writing_number(struct writing *writing, enum field field, uint64_t max, uint64_t *value)
{
        int64_t number = writing->identity->number[field];

        if (!identity_has(writing->identity, field)) {
                if (field == FIELD_PORT && writing->home)
                        number = writing->home->port;
                else if (field_infos[field].type != FIELD_BOOL)
                        return writing_lacks(writing, field);
        }
        if (number < 0 || (uint64_t)number > max)
                return writing_lacks(writing, field);
        *value = (uint64_t)number;
        return true;
}

const char *writing_address(struct writing *writing)
{
        const char *address = writing->identity->server_address;

        if (!address && writing->home)
                address = writing->home->address;
        if (!address || !is_address(slice_of(address))) {
                writing_lacks(writing, FIELD_SERVER_ADDRESS);
                return NULL;
        }
        return address;
}

static bool take_big_endian(struct reading *reading, unsigned width, uint64_t *value)
{
        const uint8_t *at = reading_take(reading, width);

        if (!at)
                return false;
        for (*value = 0; width--; at++)
                *value = *value << 8 | *at;
        return true;
}

static void put_big_endian(struct writing *writing, unsigned width, uint64_t value)
{
        while (width--) {
                uint8_t byte = (uint8_t)(value >> (8 * width));

                buffer_append(writing->out, &byte, 1);
        }
}

bool part_number_read(struct reading *reading, const struct part *part)
{
        uint64_t value;

        return take_big_endian(reading, part->width, &value) && reading_number(reading, part->field, value);
}

bool part_number_write(struct writing *writing, const struct part *part)
{
        uint64_t value;

        assert(part->width > 0 && part->width <= 8);
        if (!writing_number(writing, part->field, UINT64_MAX >> (64 - 8 * part->width), &value))
                return false;
        put_big_endian(writing, part->width, value);
        return true;
}

bool part_key_read(struct reading *reading, const struct part *part)
{
        (void)part;
        return reading_key(reading, reading_take(reading, AUTH_KEY_BYTES));
}

bool part_key_write(struct writing *writing, const struct part *part)
{
        (void)part;
        buffer_append(writing->out, writing->identity->auth_key, AUTH_KEY_BYTES);
        return true;
}

bool part_key_or_none_read(struct reading *reading, const struct part *part)
{
        static const uint8_t none[AUTH_KEY_BYTES];

        if (!part_key_read(reading, part))
                return false;
        if (memcmp(reading->identity->auth_key, none, AUTH_KEY_BYTES) == 0)
                identity_set_nil(reading->identity, FIELD_AUTH_KEY);
        return true;
}

bool part_ip_read(struct reading *reading, const struct part *part)
{
        char text[INET6_ADDRSTRLEN];
        size_t len;

        if (reading->left < part->width)
                return false;
        len = reading->left - part->width;
        if (len != 4 && len != 16)
                return false;
        inet_ntop(len == 4 ? AF_INET : AF_INET6, reading_take(reading, len), text, sizeof(text));
        return reading_address(reading, slice_of(text));
}

bool part_ip_write(struct writing *writing, const struct part *part)
{
        const char *address = writing_address(writing);
        uint8_t bytes[16];

        (void)part;
        if (!address)
                return false;
        if (inet_pton(AF_INET, address, bytes) == 1)
                buffer_append(writing->out, bytes, 4);
        else if (inet_pton(AF_INET6, address, bytes) == 1)
                buffer_append(writing->out, bytes, 16);
        else
                return writing_lacks(writing, FIELD_SERVER_ADDRESS);
        return true;
}

bool part_text_read(struct reading *reading, const struct part *part)
{
        const uint8_t *at;
        uint64_t len;

        (void)part;
        if (!take_big_endian(reading, 2, &len))
                return false;
        at = reading_take(reading, len);
        return at && reading_address(reading, (struct slice){ (const char *)at, len });
}

bool part_text_write(struct writing *writing, const struct part *part)
{
        const char *address = writing_address(writing);

        if (!address)
                return false;
        if (strlen(address) > part->width)
                return writing_lacks(writing, FIELD_SERVER_ADDRESS);
        put_big_endian(writing, 2, strlen(address));
        buffer_append(writing->out, address, strlen(address));
        return true;
}
