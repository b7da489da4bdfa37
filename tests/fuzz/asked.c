/* The requests that the model knows. */

#include <string.h>

#include "../../proto/message.h"
#include "model.h"

enum { SCAN_MAX = 1000 };

static const int64_t hashes[] = { 0, 1, -1, INT64_MAX, INT64_MIN };

static const enum method_number known[] = {
        METHOD_UPDATE_PEERS,
        METHOD_UPDATE_PEERS,
        METHOD_UPDATE_USERNAMES,
        METHOD_UPDATE_USERNAMES,
        METHOD_UPDATE_STATES,
        METHOD_REMOVE_STATES,
        METHOD_SET,
        METHOD_SAVE,
        METHOD_GET_PEER_BY_ID,
        METHOD_GET_PEER_BY_USERNAME,
        METHOD_GET_PEER_BY_PHONE_NUMBER,
        METHOD_GET_PEERS,
        METHOD_SCAN_PEERS,
        METHOD_SCAN_USERNAMES,
        METHOD_GET_STATES,
        METHOD_INFO,
        METHOD_IMPORT_STRING,
        METHOD_EXPORT_STRING,
        METHOD_SEAL,
        METHOD_UNSEAL,
        METHOD_ROTATE,
        METHOD_KV_SET,
        METHOD_KV_SET,
        METHOD_KV_SWAP,
        METHOD_KV_SWAP,
        METHOD_KV_GET,
        METHOD_KV_SCAN,
};

bool asked_writes(const struct asked *asked)
{
        return methods[asked->method].traits & METHOD_CHANGES;
}

static void choose_rows(struct choices *choices, struct asked *asked)
{
        for (unsigned i = 0; i < asked->n; i++) {
                const uint8_t what = choose_byte(choices), more = choose_byte(choices);
                struct model_peer *peer = &asked->peers[i];
                struct state *state = &asked->states[i];

                asked->places[i] = what % PEERS;
                switch (asked->method) {
                case METHOD_UPDATE_PEERS:
                        *peer = (struct model_peer){ .there = true,
                                                     .has_hash = what & 8,
                                                     .type = (uint8_t)(what / 16 % TYPES),
                                                     .name = (uint8_t)(more % (NAMES + 1)),
                                                     .phone = (uint8_t)(more / 8 % (PHONES + 1)),
                                                     .hash = hashes[what / 16 % 5] };
                        peer->hash = peer->has_hash ? peer->hash : 0;
                        break;
                case METHOD_UPDATE_USERNAMES:
                        asked->names[i].n = what / 8 % 3;
                        asked->names[i].names[0] = more % NAMES;
                        asked->names[i].names[1] = more / 16 % NAMES;
                        break;
                case METHOD_UPDATE_STATES:
                        *state = (struct state){ .id = model_state_ids[what % STATES],
                                                 .present = what / 4 % 16 };
                        for (int part = 0; part < STATE_PARTS; part++)
                                if (state->present >> part & 1)
                                        state->part[part] = (more >> part) % 4;
                        break;
                default: break;
                }
                if (asked->method == METHOD_UPDATE_STATES || asked->method == METHOD_REMOVE_STATES ||
                    asked->method == METHOD_GET_STATES)
                        asked->places[i] = what % STATES;
        }
}

static void choose_fields(struct choices *choices, struct asked *asked)
{
        const uint8_t set = choose_byte(choices), nil = choose_byte(choices), value = choose_byte(choices);

        for (unsigned i = 0; i < MODEL_FIELDS; i++) {
                const enum field field = model_fields[i];

                if (!(set >> i & 1))
                        continue;
                asked->fields |= FIELD_BIT(field);
                asked->number[field] = model_is_bool(field) ? value % 2 : value;
                if (nil >> i & 1 && !field_infos[field].never_nil)
                        asked->nil |= FIELD_BIT(field);
        }
        asked->key = value ? value : 1;
}

/* Those of the format `pyrogram`. */
static void choose_import(struct choices *choices, struct asked *asked)
{
        const uint8_t value = choose_byte(choices);

        asked->fields = FIELD_BIT(FIELD_DC_ID) | FIELD_BIT(FIELD_API_ID) | FIELD_BIT(FIELD_TEST_MODE) |
                        FIELD_BIT(FIELD_AUTH_KEY) | FIELD_BIT(FIELD_USER_ID) | FIELD_BIT(FIELD_IS_BOT);
        asked->number[FIELD_DC_ID] = 1 + value % 5;
        asked->number[FIELD_API_ID] = value;
        asked->number[FIELD_TEST_MODE] = value & 1;
        asked->number[FIELD_USER_ID] = 3 * value;
        asked->number[FIELD_IS_BOT] = value >> 1 & 1;
        asked->key = value ? value : 1;
}

void asked_choose(struct choices *choices, int64_t now_ms, struct asked *asked)
{
        uint8_t what;

        *asked = (struct asked){ .now = now_ms / 1000, .now_ms = now_ms };
        asked->method = known[choose(choices, sizeof(known) / sizeof(known[0]))];
        what = choose_byte(choices);
        asked->n = what % (ROWS_MAX + 1);
        asked->keep = what & 16;
        asked->all = asked->from_start = what & 32;
        asked->limit = what & 64 ? 2 : SCAN_MAX;
        asked->max_age = what & 128 ? 60 : 0;
        asked->name = what % NAMES;
        asked->name_place = what / 8 % PEERS;
        if (asked->method == METHOD_GET_PEER_BY_PHONE_NUMBER)
                asked->name = what % PHONES;
        switch (asked->method) {
        case METHOD_SET: choose_fields(choices, asked); break;
        case METHOD_IMPORT_STRING: choose_import(choices, asked); break;
        case METHOD_SAVE:
        case METHOD_INFO:
        case METHOD_EXPORT_STRING:
        case METHOD_SEAL:
        case METHOD_UNSEAL:
        case METHOD_ROTATE: break;
        case METHOD_KV_GET:
        case METHOD_KV_SET:
        case METHOD_KV_SWAP:
        case METHOD_KV_SCAN: asked_choose_kv(choices, asked); break;
        default: choose_rows(choices, asked);
        }
        if (asked->n == 0 && (asked->method == METHOD_SCAN_PEERS || asked->method == METHOD_GET_PEER_BY_ID))
                asked->places[0] = what / 8 % PEERS;
}

static void pack_name(struct buffer *out, uint8_t name)
{
        pack_str(out, name ? model_name(name - 1u) : SLICE_NONE);
}

static void pack_row(const struct asked *asked, unsigned i, struct buffer *out)
{
        const struct model_peer *peer = &asked->peers[i];

        switch (asked->method) {
        case METHOD_UPDATE_PEERS:
                pack_array(out, 5);
                pack_int(out, model_ids[asked->places[i]]);
                if (peer->has_hash)
                        pack_int(out, peer->hash);
                else
                        pack_nil(out);
                pack_cstr(out, model_types[peer->type]);
                pack_name(out, peer->name);
                if (peer->phone)
                        pack_cstr(out, model_phones[peer->phone - 1]);
                else
                        pack_nil(out);
                break;
        case METHOD_UPDATE_USERNAMES:
                pack_array(out, 2);
                pack_int(out, model_ids[asked->places[i]]);
                pack_array(out, asked->names[i].n);
                for (unsigned k = 0; k < asked->names[i].n; k++)
                        pack_str(out, model_name(asked->names[i].names[k]));
                break;
        case METHOD_UPDATE_STATES: state_write(out, &asked->states[i]); break;
        case METHOD_GET_PEERS: pack_int(out, model_ids[asked->places[i]]); break;
        default: pack_int(out, model_state_ids[asked->places[i]]);
        }
}

static void pack_set(const struct asked *asked, struct buffer *out)
{
        uint8_t key[AUTH_KEY_BYTES];
        unsigned n = 0;

        memset(key, asked->key, sizeof(key));
        for (enum field field = 0; field < FIELD_COUNT; field++)
                n += asked->fields >> field & 1;
        pack_map(out, n);
        for (enum field field = 0; field < FIELD_COUNT; field++) {
                if (!(asked->fields & FIELD_BIT(field)))
                        continue;
                pack_cstr(out, field_infos[field].name);
                if (asked->nil & FIELD_BIT(field))
                        pack_nil(out);
                else if (field == FIELD_AUTH_KEY)
                        pack_bin(out, (struct slice){ (char *)key, sizeof(key) });
                else if (model_is_bool(field))
                        pack_bool(out, asked->number[field]);
                else
                        pack_int(out, asked->number[field]);
        }
}

static void pack_import(const struct asked *asked, struct buffer *out)
{
        struct buffer text = { 0 };

        asked_text(asked, &text);
        pack_str(out, (struct slice){ (char *)text.data, text.len });
        buffer_deinit(&text);
        pack_map(out, 1);
        pack_cstr(out, "overwrite");
        pack_bool(out, asked->keep);
}

void asked_pack(const struct asked *asked, int64_t handle, struct buffer *out)
{
        switch (asked->method) {
        case METHOD_KV_GET:
        case METHOD_KV_SET:
        case METHOD_KV_SWAP:
        case METHOD_KV_SCAN: asked_pack_kv(asked, handle, out); return;
        case METHOD_SAVE:
        case METHOD_INFO:
        case METHOD_SEAL:
        case METHOD_UNSEAL:
        case METHOD_ROTATE:
                pack_array(out, 1);
                pack_int(out, handle);
                return;
        case METHOD_IMPORT_STRING:
                pack_array(out, 3);
                pack_int(out, handle);
                pack_import(asked, out);
                return;
        case METHOD_EXPORT_STRING:
                pack_array(out, 2);
                pack_int(out, handle);
                pack_cstr(out, "pyrogram");
                return;
        case METHOD_SET:
                pack_array(out, 2);
                pack_int(out, handle);
                pack_set(asked, out);
                return;
        case METHOD_GET_PEER_BY_ID:
                pack_array(out, 2);
                pack_int(out, handle);
                pack_int(out, model_ids[asked->places[0]]);
                return;
        case METHOD_GET_PEER_BY_USERNAME:
                pack_array(out, 3);
                pack_int(out, handle);
                pack_str(out, model_name(asked->name));
                pack_int(out, asked->max_age);
                return;
        case METHOD_GET_PEER_BY_PHONE_NUMBER:
                pack_array(out, 2);
                pack_int(out, handle);
                pack_cstr(out, model_phones[asked->name]);
                return;
        case METHOD_SCAN_PEERS:
        case METHOD_SCAN_USERNAMES:
                pack_array(out, 3);
                pack_int(out, handle);
                if (asked->from_start) {
                        pack_nil(out);
                } else if (asked->method == METHOD_SCAN_PEERS) {
                        pack_int(out, model_ids[asked->places[0]]);
                } else {
                        pack_array(out, 2);
                        pack_str(out, model_name(asked->name));
                        pack_int(out, model_ids[asked->name_place]);
                }
                pack_int(out, asked->limit);
                return;
        default: break;
        }
        pack_array(out, asked->method == METHOD_UPDATE_STATES ? 3 : 2);
        pack_int(out, handle);
        if (asked->method == METHOD_GET_STATES && asked->all) {
                pack_nil(out);
                return;
        }
        pack_array(out, asked->n);
        for (unsigned i = 0; i < asked->n; i++)
                pack_row(asked, i, out);
        if (asked->method == METHOD_UPDATE_STATES)
                pack_bool(out, asked->keep);
}
