/* Reads the daemon's answers into a model, and compares. */

#include <string.h>

#include "../../proto/message.h"
#include "inside.h"
#include "model.h"

static unsigned place_of(const int64_t *ids, unsigned n, int64_t id)
{
        for (unsigned i = 0; i < n; i++)
                if (ids[i] == id)
                        return i;
        require(false);
        return 0;
}

static uint8_t number_of_name(struct slice name)
{
        for (unsigned i = 0; i < NAMES; i++)
                if (slice_equal(name, model_name(i)))
                        return (uint8_t)i;
        require(false);
        return 0;
}

static unsigned read_key_number(struct cursor *cursor)
{
        struct slice id;

        require(cursor_str(cursor, SIZE_MAX, &id));
        return inside_key_number(id);
}

/*
 * Whether `info` may say so: `key` is the number of a key of the daemon, 0: nothing. A former key that a
 * value is sealed with goes before.
 */
static bool may_be_sealed_by(const struct model *model, unsigned key)
{
        bool has_former = false;

        if (!model->sealed)
                return key == 0;
        for (unsigned i = 0; i < AREA_KEYS; i++)
                if (model->area[i].value && model->area[i].sealed_by != model->current) {
                        has_former = true;
                        if (model->area[i].sealed_by == key)
                                return true;
                }
        return !has_former && key == (model->sealed_by ? model->sealed_by : model->current);
}

bool model_is_imported(const struct changed *changed, struct slice result)
{
        struct cursor cursor = { (const uint8_t *)result.data, (const uint8_t *)result.data + result.len };
        unsigned fields = 0;
        uint32_t n;

        if (!cursor_array(&cursor, &n))
                return false;
        while (n--) {
                struct slice name;

                if (!cursor_str(&cursor, SIZE_MAX, &name) || field_by_name(name) == FIELD_COUNT)
                        return false;
                fields |= FIELD_BIT(field_by_name(name));
        }
        /* Address and port follow the data centre. */
        fields &= ~(FIELD_BIT(FIELD_SERVER_ADDRESS) | FIELD_BIT(FIELD_PORT));
        return fields == changed->fields;
}

bool model_is_info(const struct model *model, struct slice result)
{
        struct cursor cursor = { (const uint8_t *)result.data, (const uint8_t *)result.data + result.len };
        int64_t peers = 0, names = 0, states = 0, value;
        uint32_t pairs;
        unsigned found = 0, sealed_by = 0;

        for (unsigned i = 0; i < PEERS; i++)
                peers += model->peers[i].there;
        for (unsigned i = 0; i < NAMES * PEERS; i++)
                names += model->names[i / PEERS][i % PEERS].there;
        for (unsigned i = 0; i < STATES; i++)
                states += model->has_state[i];
        if (!cursor_map(&cursor, &pairs))
                return false;
        while (pairs--) {
                struct slice key;

                if (!cursor_str(&cursor, SIZE_MAX, &key))
                        return false;
                if (slice_is(key, "peers") || slice_is(key, "usernames") || slice_is(key, "states")) {
                        if (!cursor_int(&cursor, &value) || value != (*key.data == 'p'   ? peers
                                                                      : *key.data == 'u' ? names
                                                                                         : states))
                                return false;
                        found++;
                } else if (slice_is(key, "sealed")) {
                        sealed_by = read_key_number(&cursor);
                } else {
                        cursor_skip(&cursor, NULL);
                }
        }
        return found == 3 && may_be_sealed_by(model, sealed_by);
}

/* ---- what is there ---- */

void model_ask(int64_t handle, unsigned number, struct buffer *out)
{
        static const struct {
                const char *name;
                uint32_t n_params;
        } asked[MODEL_ANSWERS] = { { "get", 2 },        { "scan_peers", 3 }, { "scan_usernames", 3 },
                                   { "get_states", 2 }, { "kv_scan", 4 },    { "info", 1 } };

        pack_array(out, 4);
        pack_int(out, MESSAGE_REQUEST);
        pack_int(out, number);
        pack_cstr(out, asked[number].name);
        pack_array(out, asked[number].n_params);
        pack_int(out, handle);
        switch (number) {
        case 0:
                pack_array(out, MODEL_FIELDS);
                for (unsigned i = 0; i < MODEL_FIELDS; i++)
                        pack_cstr(out, field_infos[model_fields[i]].name);
                break;
        case 3: pack_nil(out); break;
        case 4: pack_cstr(out, ""); /* fall through */
        case 1:
        case 2:
                pack_nil(out);
                pack_int(out, 1000);
                break;
        default: break; /* info */
        }
}

static void read_fields(struct model *model, struct cursor cursor)
{
        uint32_t n;

        require(cursor_array(&cursor, &n) && n == MODEL_FIELDS);
        for (unsigned i = 0; i < MODEL_FIELDS; i++) {
                const enum field field = model_fields[i];
                struct slice key;
                bool flag;

                model->number[field] = 0;
                if (cursor_nil(&cursor))
                        continue;
                model->fields |= FIELD_BIT(field);
                if (field == FIELD_AUTH_KEY) {
                        require(cursor_bin(&cursor, SIZE_MAX, &key) && key.len == AUTH_KEY_BYTES);
                        model->key = (uint8_t)key.data[0];
                        for (size_t k = 0; k < key.len; k++)
                                require((uint8_t)key.data[k] == model->key);
                } else if (model_is_bool(field)) {
                        require(cursor_bool(&cursor, &flag));
                        model->number[field] = flag;
                } else {
                        require(cursor_int(&cursor, &model->number[field]));
                }
        }
}

static void read_peers(struct model *model, struct cursor cursor)
{
        uint32_t n;

        require(cursor_array(&cursor, &n));
        while (n--) {
                struct model_peer *to;
                struct peer peer;

                require(peer_read(&cursor, 0, &peer));
                to = &model->peers[place_of(model_ids, PEERS, peer.id)];
                require(!to->there);
                *to = (struct model_peer){ .there = true,
                                           .has_hash = peer.has_access_hash,
                                           .hash = peer.has_access_hash ? peer.access_hash : 0,
                                           .name = peer.username.data ? number_of_name(peer.username) + 1u
                                                                      : 0,
                                           .at = { peer.last_update_on, peer.last_update_on } };
                to->type = TYPES;
                for (unsigned i = 0; i < TYPES; i++)
                        if (slice_is(peer.type, model_types[i]))
                                to->type = (uint8_t)i;
                for (unsigned i = 0; i < PHONES; i++)
                        if (slice_is(peer.phone_number, model_phones[i]))
                                to->phone = (uint8_t)(i + 1);
                require(to->type < TYPES && (to->phone != 0) == (peer.phone_number.data != NULL));
        }
}

static void read_names(struct model *model, struct cursor cursor)
{
        uint32_t n, parts;

        require(cursor_array(&cursor, &n));
        while (n--) {
                struct model_row row = { .there = true };
                struct slice name;
                int64_t id;

                require(cursor_array(&cursor, &parts) && parts == 3);
                require(cursor_str(&cursor, SIZE_MAX, &name) && cursor_int(&cursor, &id));
                require(cursor_nil(&cursor) || cursor_int(&cursor, &row.at.time));
                row.at.floor = row.at.time;
                model->names[number_of_name(name)][place_of(model_ids, PEERS, id)] = row;
        }
}

static void read_states(struct model *model, struct cursor cursor)
{
        uint32_t n;

        require(cursor_array(&cursor, &n));
        while (n--) {
                struct state state;
                unsigned place;

                require(state_read(&cursor, &state));
                place = place_of(model_state_ids, STATES, state.id);
                require(!model->has_state[place]);
                model->has_state[place] = true;
                model->states[place] = state;
        }
}

static void read_sealing(struct model *model, struct cursor cursor)
{
        uint32_t pairs;

        require(cursor_map(&cursor, &pairs));
        while (pairs--) {
                struct slice key;

                require(cursor_str(&cursor, SIZE_MAX, &key));
                if (slice_is(key, "sealed"))
                        model->sealed_by = read_key_number(&cursor);
                else
                        cursor_skip(&cursor, NULL);
        }
        model->sealed = model->sealed_by;
}

void model_read(struct model *model, const struct slice answers[MODEL_ANSWERS])
{
        static void (*const readers[MODEL_ANSWERS])(struct model * model, struct cursor cursor) = {
                read_fields, read_peers, read_names, read_states, model_read_area, read_sealing
        };

        model->stored = true;
        for (unsigned i = 0; i < MODEL_ANSWERS; i++)
                readers[i](model, (struct cursor){ (const uint8_t *)answers[i].data,
                                                   (const uint8_t *)answers[i].data + answers[i].len });
}

/* ---- comparing ---- */

static bool same_time(struct model_time *at, const struct model_time *seen, bool killed)
{
        if (at->time == seen->time)
                return true;
        if (!killed || seen->time < at->floor || seen->time > at->time)
                return false;
        *at = *seen;
        return true;
}

static bool agree_peers(struct model *model, const struct model *seen, bool killed)
{
        for (unsigned i = 0; i < PEERS; i++) {
                struct model_peer *peer = &model->peers[i];
                const struct model_peer *other = &seen->peers[i];

                if (peer->there != other->there)
                        return false;
                if (peer->there && (peer->has_hash != other->has_hash || peer->hash != other->hash ||
                                    peer->type != other->type || peer->name != other->name ||
                                    peer->phone != other->phone || !same_time(&peer->at, &other->at, killed)))
                        return false;
        }
        return true;
}

static bool agree_names(struct model *model, const struct model *seen, bool killed)
{
        for (unsigned i = 0; i < NAMES * PEERS; i++) {
                struct model_row *row = &model->names[i / PEERS][i % PEERS];
                const struct model_row *other = &seen->names[i / PEERS][i % PEERS];

                if (row->there != other->there)
                        return false;
                if (row->there && model->names_timed && !same_time(&row->at, &other->at, killed))
                        return false;
        }
        return true;
}

bool model_agrees(struct model *model, const struct model *seen, bool killed)
{
        if (model->stored != seen->stored)
                return false;
        model->current = seen->current;
        if (!model->stored)
                return true;
        for (unsigned i = 0; i < STATES; i++)
                if (model->has_state[i] != seen->has_state[i] ||
                    (model->has_state[i] && !state_equal(&model->states[i], &seen->states[i])))
                        return false;
        for (unsigned i = 0; i < AREA_KEYS; i++)
                if (model->area[i].value != seen->area[i].value)
                        return false;
        for (unsigned i = 0; i < MODEL_FIELDS; i++)
                if (model->number[model_fields[i]] != seen->number[model_fields[i]])
                        return false;
        return model->fields == seen->fields && model->key == seen->key &&
               may_be_sealed_by(model, seen->sealed_by) && agree_peers(model, seen, killed) &&
               agree_names(model, seen, killed);
}
