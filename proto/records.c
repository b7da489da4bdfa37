/*
 * The records of a session and how they are sent. The table of fields says what values a field can have;
 * `get` and `set`, the backends and the session strings use it.
 *
 * Reading a record checks all of it.
 */

#include "records.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "message.h"

bool session_name_valid(struct slice name)
{
        const uint8_t *at = (const uint8_t *)name.data;

        if (!at || !name.len || name.len > NAME_MAX_BYTES || at[0] == '.' || !slice_is_utf8(name))
                return false;
        for (size_t i = 0; i < name.len; i++) {
                if (at[i] < 0x20 || at[i] == 0x7f || at[i] == '/')
                        return false;
                if (at[i] == 0xc2 && at[i + 1] < 0xa0) /* U+0080 to U+009F */
                        return false;
        }
        return true;
}

/* ---- identity ---- */

const struct field_info field_infos[FIELD_COUNT] = {
        [FIELD_DC_ID] = { "dc_id", FIELD_NUMBER, true, 0, 255 },
        [FIELD_API_ID] = { "api_id", FIELD_NUMBER, false, 0, UINT32_MAX },
        [FIELD_TEST_MODE] = { "test_mode", FIELD_BOOL, false, 0, 1 },
        [FIELD_AUTH_KEY] = { "auth_key", FIELD_KEY, false, 0, AUTH_KEY_BYTES },
        [FIELD_DATE] = { "date", FIELD_NUMBER, true, INT64_MIN, INT64_MAX },
        [FIELD_USER_ID] = { "user_id", FIELD_NUMBER, false, INT64_MIN, INT64_MAX },
        [FIELD_IS_BOT] = { "is_bot", FIELD_BOOL, false, 0, 1 },
        [FIELD_SERVER_ADDRESS] = { "server_address", FIELD_TEXT, false, 0, TEXT_MAX_BYTES },
        [FIELD_PORT] = { "port", FIELD_NUMBER, false, 0, 65535 },
        [FIELD_TAKEOUT_ID] = { "takeout_id", FIELD_NUMBER, false, INT64_MIN, INT64_MAX },
};

enum field field_by_name(struct slice name)
{
        unsigned field = 0;

        while (field < FIELD_COUNT && !slice_is(name, field_infos[field].name))
                field++;
        return (enum field)field;
}

void identity_init(struct identity *identity)
{
        *identity = (struct identity){ .present = FIELD_BIT(FIELD_DC_ID) | FIELD_BIT(FIELD_DATE) };
        identity->number[FIELD_DC_ID] = 2;
}

void identity_wipe(struct identity *identity)
{
        free(identity->server_address);
        explicit_bzero(identity, sizeof(*identity));
        identity_init(identity);
}

bool identity_copy(struct identity *to, const struct identity *from)
{
        char *address = NULL;

        assert(to != from);
        if (from->server_address) {
                address = strdup(from->server_address);
                if (!address)
                        return false;
        }
        identity_wipe(to);
        *to = *from;
        to->server_address = address;
        return true;
}

void identity_set_nil(struct identity *identity, enum field field)
{
        assert(!field_infos[field].never_nil);
        identity->present &= ~FIELD_BIT(field);
        identity->number[field] = 0;
        if (field == FIELD_AUTH_KEY) {
                explicit_bzero(identity->auth_key, sizeof(identity->auth_key));
                identity->key_is_hidden = false;
        }
        if (field == FIELD_SERVER_ADDRESS) {
                free(identity->server_address);
                identity->server_address = NULL;
        }
}

void identity_set_number(struct identity *identity, enum field field, int64_t value)
{
        assert(field_infos[field].type == FIELD_NUMBER || field_infos[field].type == FIELD_BOOL);
        identity->number[field] = value;
        identity->present |= FIELD_BIT(field);
}

void identity_set_key(struct identity *identity, const uint8_t key[AUTH_KEY_BYTES])
{
        memmove(identity->auth_key, key, AUTH_KEY_BYTES);
        identity->key_is_hidden = false;
        identity->present |= FIELD_BIT(FIELD_AUTH_KEY);
}

void identity_copy_key(struct identity *to, const struct identity *from)
{
        assert(identity_has(from, FIELD_AUTH_KEY));
        identity_set_key(to, from->auth_key);
        memmove(to->key_nonce, from->key_nonce, sizeof(to->key_nonce));
        to->key_is_hidden = from->key_is_hidden;
}

bool identity_set_address(struct identity *identity, struct slice address)
{
        char *copy;

        assert(address.data && address.len <= TEXT_MAX_BYTES);
        copy = strndup(address.data, address.len);
        if (!copy)
                return false;
        free(identity->server_address);
        identity->server_address = copy;
        identity->present |= FIELD_BIT(FIELD_SERVER_ADDRESS);
        return true;
}

bool identity_equal(const struct identity *a, const struct identity *b, enum field field)
{
        assert(field < FIELD_COUNT);
        if (!identity_has(a, field) || !identity_has(b, field))
                return identity_has(a, field) == identity_has(b, field);
        if (field_infos[field].type == FIELD_KEY) {
                assert(!a->key_is_hidden && !b->key_is_hidden);
                return memcmp(a->auth_key, b->auth_key, AUTH_KEY_BYTES) == 0;
        }
        if (field_infos[field].type == FIELD_TEXT)
                return strcmp(a->server_address, b->server_address) == 0;
        return a->number[field] == b->number[field];
}

static int identity_read_key(struct identity *identity, struct cursor *cursor)
{
        struct slice key;

        if (!cursor_bin(cursor, AUTH_KEY_BYTES, &key) || (key.len && key.len != AUTH_KEY_BYTES))
                return IDENTITY_E_VALUE;
        if (key.len)
                identity_set_key(identity, (const uint8_t *)key.data);
        else
                identity_set_nil(identity, FIELD_AUTH_KEY);
        return 0;
}

/* The address is stored as a C string, so it must not contain a NUL. */
static int identity_read_address(struct identity *identity, struct cursor *cursor)
{
        struct slice address;

        if (!cursor_str(cursor, TEXT_MAX_BYTES, &address) || memchr(address.data, '\0', address.len))
                return IDENTITY_E_VALUE;
        return identity_set_address(identity, address) ? 0 : IDENTITY_E_NOMEM;
}

static int identity_read_number(struct identity *identity, enum field field, struct cursor *cursor)
{
        const struct field_info *info = &field_infos[field];
        int64_t value;

        if (!cursor_int_in(cursor, info->min, info->max, &value))
                return IDENTITY_E_VALUE;
        identity_set_number(identity, field, value);
        return 0;
}

static int identity_read_bool(struct identity *identity, enum field field, struct cursor *cursor)
{
        bool value;

        if (!cursor_bool(cursor, &value))
                return IDENTITY_E_VALUE;
        identity_set_number(identity, field, value);
        return 0;
}

static int identity_read_value(struct identity *identity, enum field field, struct cursor *cursor)
{
        if (!field_infos[field].never_nil && cursor_nil(cursor)) {
                identity_set_nil(identity, field);
                return 0;
        }
        switch (field_infos[field].type) {
        case FIELD_KEY: return identity_read_key(identity, cursor);
        case FIELD_TEXT: return identity_read_address(identity, cursor);
        case FIELD_NUMBER: return identity_read_number(identity, field, cursor);
        case FIELD_BOOL: return identity_read_bool(identity, field, cursor);
        }
        return IDENTITY_E_VALUE;
}

int identity_read(struct identity *identity, enum field field, struct cursor *cursor)
{
        const uint8_t *start = cursor->at;
        int result = identity_read_value(identity, field, cursor);

        if (result != 0)
                cursor->at = start;
        return result;
}

void identity_write(const struct identity *identity, enum field field, struct buffer *out)
{
        if (!identity_has(identity, field)) {
                pack_nil(out);
                return;
        }
        switch (field_infos[field].type) {
        case FIELD_NUMBER: pack_int(out, identity->number[field]); break;
        case FIELD_BOOL: pack_bool(out, identity->number[field]); break;
        case FIELD_KEY:
                assert(!identity->key_is_hidden);
                pack_bin(out, (struct slice){ (const char *)identity->auth_key, AUTH_KEY_BYTES });
                break;
        case FIELD_TEXT: pack_cstr(out, identity->server_address); break;
        }
}

/* ---- peers ---- */

static bool read_int_or_nil(struct cursor *cursor, bool *has, int64_t *value)
{
        *value = 0;
        *has = !cursor_nil(cursor);
        return !*has || cursor_int(cursor, value);
}

static bool read_text_or_nil(struct cursor *cursor, struct slice *text)
{
        *text = SLICE_NONE;
        return cursor_nil(cursor) || cursor_str(cursor, TEXT_MAX_BYTES, text);
}

static bool peer_read_parts(struct cursor *cursor, struct peer *peer)
{
        uint32_t parts;

        if (!cursor_array(cursor, &parts) || parts < 4 || parts > 6)
                return false;
        if (!cursor_int(cursor, &peer->id) ||
            !read_int_or_nil(cursor, &peer->has_access_hash, &peer->access_hash))
                return false;
        if (!cursor_str(cursor, PEER_TYPE_MAX_BYTES, &peer->type) || !peer->type.len)
                return false;
        if (parts > 4 && !read_text_or_nil(cursor, &peer->username))
                return false;
        if (!read_text_or_nil(cursor, &peer->phone_number))
                return false;
        /* A time that is nil is the default, like an absent one. */
        return parts < 6 || cursor_nil(cursor) || cursor_int(cursor, &peer->last_update_on);
}

bool peer_read(struct cursor *cursor, int64_t now, struct peer *peer)
{
        const uint8_t *start = cursor->at;

        peer->username = SLICE_NONE;
        peer->last_update_on = now;
        if (peer_read_parts(cursor, peer))
                return true;
        cursor->at = start;
        return false;
}

void peer_write(struct buffer *out, const struct peer *peer)
{
        msgpack_packer packer = buffer_packer(out);

        assert(peer->type.data);
        pack_array(out, 6);
        pack_int(out, peer->id);
        if (peer->has_access_hash)
                pack_int(out, peer->access_hash);
        else
                pack_nil(out);
        pack_str(out, peer->type);
        pack_str(out, peer->username);
        pack_str(out, peer->phone_number);
        if (peer->last_update_on >= 0 && peer->last_update_on <= UINT32_MAX)
                msgpack_pack_fix_uint32(&packer, (uint32_t)peer->last_update_on);
        else
                msgpack_pack_fix_int64(&packer, peer->last_update_on);
}

void peer_unpack(struct slice packed, struct peer *peer)
{
        const uint8_t *data = (const uint8_t *)packed.data;
        struct cursor cursor = { data, data + packed.len };
        bool whole = peer_read(&cursor, 0, peer);

        assert(whole);
        (void)whole;
}

bool peer_set_time(uint8_t *packed, size_t len, int64_t last_update_on)
{
        struct cursor cursor = { packed + 1, packed + len };
        uint8_t *time;

        assert(len > PEER_TIME_BYTES);
        for (int part = 0; part < 5; part++)
                cursor_skip(&cursor, NULL);
        if (cursor.end - cursor.at != PEER_TIME_BYTES || last_update_on < 0 || last_update_on > UINT32_MAX)
                return false;
        time = packed + len - PEER_TIME_BYTES;
        for (int i = 0; i < 4; i++)
                time[1 + i] = (uint8_t)(last_update_on >> (24 - 8 * i));
        return true;
}

bool peer_same(const struct peer *a, const struct peer *b)
{
        return a->id == b->id && a->has_access_hash == b->has_access_hash &&
               a->access_hash == b->access_hash && slice_equal(a->type, b->type) &&
               slice_equal(a->username, b->username) && slice_equal(a->phone_number, b->phone_number);
}

/* ---- update states ---- */

static bool state_read_parts(struct cursor *cursor, struct state *state)
{
        uint32_t parts;

        if (!cursor_array(cursor, &parts) || parts != 1 + STATE_PARTS || !cursor_int(cursor, &state->id))
                return false;
        for (unsigned part = 0; part < STATE_PARTS; part++) {
                bool has;

                if (!read_int_or_nil(cursor, &has, &state->part[part]))
                        return false;
                state->present |= (unsigned)has << part;
        }
        return true;
}

bool state_read(struct cursor *cursor, struct state *state)
{
        const uint8_t *start = cursor->at;

        state->present = 0;
        if (state_read_parts(cursor, state))
                return true;
        cursor->at = start;
        return false;
}

void state_write(struct buffer *out, const struct state *state)
{
        pack_array(out, 1 + STATE_PARTS);
        pack_int(out, state->id);
        for (unsigned part = 0; part < STATE_PARTS; part++) {
                if (state->present & 1u << part)
                        pack_int(out, state->part[part]);
                else
                        pack_nil(out);
        }
}

void state_keep(struct state *state, const struct state *stored)
{
        assert(state->id == stored->id);
        for (unsigned part = 0; part < STATE_PARTS; part++) {
                if (!(state->present & 1u << part))
                        state->part[part] = stored->part[part];
        }
        state->present |= stored->present;
}

bool state_equal(const struct state *a, const struct state *b)
{
        if (a->id != b->id || a->present != b->present)
                return false;
        for (unsigned part = 0; part < STATE_PARTS; part++) {
                if (a->present & 1u << part && a->part[part] != b->part[part])
                        return false;
        }
        return true;
}

int state_by_date(const void *a, const void *b)
{
        const struct state *left = a, *right = b;
        bool left_has = left->present & 1u << STATE_DATE, right_has = right->present & 1u << STATE_DATE;

        if (left_has != right_has)
                return left_has - right_has;
        if (left_has && left->part[STATE_DATE] != right->part[STATE_DATE])
                return left->part[STATE_DATE] < right->part[STATE_DATE] ? -1 : 1;
        return (left->id > right->id) - (left->id < right->id);
}
