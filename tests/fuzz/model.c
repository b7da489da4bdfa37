/* The model. It has nothing of the daemon's code but the records' encoding. */

#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "../../proto/message.h"

const int64_t model_ids[PEERS] = { INT64_MIN, -1001234567890, -5, 0, 1, 2, 777000, INT64_MAX };
const int64_t model_state_ids[STATES] = { -7, 0, 1, INT64_MAX };
const enum field model_fields[MODEL_FIELDS] = {
        FIELD_API_ID, FIELD_AUTH_KEY,   FIELD_DATE,  FIELD_USER_ID,
        FIELD_IS_BOT, FIELD_TAKEOUT_ID, FIELD_DC_ID, FIELD_TEST_MODE
};

bool model_is_bool(enum field field)
{
        return field == FIELD_IS_BOT || field == FIELD_TEST_MODE;
}

const char *const model_phones[PHONES] = { "", "+1", "7", "79001" };
const char *const model_types[TYPES] = { "user", "bot", "channel" };

enum { LAST_NAME_BYTES = TEXT_MAX_BYTES };

struct slice model_name(unsigned number)
{
        static const char *const names[NAMES - 1] = { "", "Anna", "anna", "anna_b", "berta" };
        static char last[LAST_NAME_BYTES];

        if (number < NAMES - 1)
                return slice_of(names[number]);
        memset(last, 'x', sizeof(last));
        return (struct slice){ last, sizeof(last) };
}

/* ---- writes ---- */

static bool same_peer(const struct model_peer *a, const struct model_peer *b)
{
        return a->there == b->there && a->has_hash == b->has_hash && a->type == b->type &&
               a->name == b->name && a->phone == b->phone && a->hash == b->hash;
}

static void put_time(struct model_time *at, bool repeats, int64_t now)
{
        at->time = now;
        if (!repeats)
                at->floor = now;
}

static void put_peers(struct model *model, const struct asked *asked, struct changed *changed)
{
        for (unsigned i = 0; i < asked->n; i++) {
                const unsigned place = asked->places[i];
                struct model_peer *peer = &model->peers[place];
                const struct model_time at = peer->at;
                bool is_last = true, repeats;

                for (unsigned k = i + 1; k < asked->n; k++)
                        is_last &= asked->places[k] != place;
                if (!is_last)
                        continue;
                repeats = same_peer(peer, &asked->peers[i]);
                *peer = asked->peers[i];
                peer->at = at;
                put_time(&peer->at, repeats, asked->now);
                if (!repeats)
                        changed->peers |= 1u << place;
        }
}

static void put_names_of(struct model *model, const struct asked *asked, unsigned i)
{
        const unsigned place = asked->places[i];
        bool wanted[NAMES] = { false }, repeats = true;

        for (unsigned k = 0; k < asked->names[i].n; k++)
                wanted[asked->names[i].names[k]] = true;
        for (unsigned name = 0; name < NAMES; name++)
                repeats &= model->names[name][place].there == wanted[name];
        for (unsigned name = 0; name < NAMES; name++) {
                struct model_row *row = &model->names[name][place];

                if (wanted[name] && model->one_owner)
                        for (unsigned other = 0; other < PEERS; other++)
                                if (other != place)
                                        model->names[name][other].there = false;
                row->there = wanted[name];
                if (row->there)
                        put_time(&row->at, repeats, asked->now);
        }
}

static void put_names(struct model *model, const struct asked *asked)
{
        for (unsigned i = 0; i < asked->n; i++) {
                bool is_last = true;

                for (unsigned k = i + 1; k < asked->n; k++)
                        is_last &= asked->places[k] != asked->places[i];
                if (is_last)
                        put_names_of(model, asked, i);
        }
}

static void put_states(struct model *model, const struct asked *asked, struct changed *changed)
{
        for (unsigned i = 0; i < asked->n; i++) {
                const unsigned place = asked->places[i];
                struct state state = asked->states[i];

                if (asked->keep && model->has_state[place])
                        state_keep(&state, &model->states[place]);
                if (!model->has_state[place] || !state_equal(&state, &model->states[place]))
                        changed->states |= 1u << place;
                model->states[place] = state;
                model->has_state[place] = true;
        }
}

static void put_fields(struct model *model, const struct asked *asked, struct changed *changed)
{
        for (unsigned i = 0; i < MODEL_FIELDS; i++) {
                const enum field field = model_fields[i];

                if (!(asked->fields & FIELD_BIT(field)))
                        continue;
                changed->fields |= FIELD_BIT(field);
                model->fields &= ~FIELD_BIT(field);
                if (!(asked->nil & FIELD_BIT(field)))
                        model->fields |= FIELD_BIT(field);
                model->number[field] =
                        asked->nil & FIELD_BIT(field) || field == FIELD_AUTH_KEY ? 0 : asked->number[field];
                if (field == FIELD_AUTH_KEY)
                        model->key = asked->nil & FIELD_BIT(field) ? 0 : asked->key;
                if (field == FIELD_AUTH_KEY && model->sealed)
                        model->sealed_by = model->key ? model->current : 0;
        }
}

static void put_nil(struct model *model, enum field field, struct changed *changed)
{
        model->fields &= ~FIELD_BIT(field);
        model->number[field] = 0;
        changed->fields |= FIELD_BIT(field);
}

static int import(struct model *model, const struct asked *asked, struct changed *changed)
{
        const bool replaces = model->key && model->key != asked->key;

        if (replaces && !asked->keep)
                return WIRE_EXISTS;
        if (replaces)
                put_nil(model, FIELD_TAKEOUT_ID, changed); /* it was the other account's */
        put_fields(model, asked, changed);
        model->number[FIELD_DATE] = 0;
        changed->fields |= FIELD_BIT(FIELD_DATE);
        return NO_ERROR;
}

static int export(const struct model *model, struct buffer *out)
{
        const unsigned needed =
                FIELD_BIT(FIELD_AUTH_KEY) | FIELD_BIT(FIELD_USER_ID) | FIELD_BIT(FIELD_API_ID);
        struct buffer text = { 0 };

        if ((model->fields & needed) != needed)
                return WIRE_BAD_REQUEST;
        model_text(model, &text);
        pack_str(out, (struct slice){ (char *)text.data, text.len });
        buffer_deinit(&text);
        return NO_ERROR;
}

static int seal(struct model *model, enum method_number method)
{
        const bool begins = method == METHOD_SEAL && !model->sealed;

        if (model->in_memory)
                return WIRE_BAD_REQUEST;
        if (method == METHOD_UNSEAL)
                model->sealed = false;
        model->sealed |= begins;
        if (!model->sealed)
                model->sealed_by = 0;
        else if (model->key && (begins || method == METHOD_ROTATE))
                model->sealed_by = model->current;
        if (!model->sealed || begins || method == METHOD_ROTATE)
                model_seal_area(model, model->sealed ? model->current : 0);
        return NO_ERROR;
}

/* ---- reads ---- */

static void pack_peer(const struct model *model, unsigned place, struct buffer *out)
{
        const struct model_peer *peer = &model->peers[place];
        const struct peer row = { .id = model_ids[place],
                                  .has_access_hash = peer->has_hash,
                                  .access_hash = peer->hash,
                                  .type = slice_of(model_types[peer->type]),
                                  .username = peer->name ? model_name(peer->name - 1u) : SLICE_NONE,
                                  .phone_number =
                                          peer->phone ? slice_of(model_phones[peer->phone - 1]) : SLICE_NONE,
                                  .last_update_on = peer->at.time };

        peer_write(out, &row);
}

static bool is_old(int64_t time, const struct asked *asked)
{
        return asked->max_age && asked->now - time > asked->max_age;
}

/* The newest; of equals one whose own name it is, then the lowest id. */
static int find_name(const struct model *model, const struct asked *asked, struct buffer *out)
{
        int found = -1;
        bool own = false;

        for (int place = 0; place < PEERS; place++) {
                const struct model_peer *peer = &model->peers[place];
                bool is_own = peer->name == asked->name + 1, is_better;

                if (!peer->there || (!is_own && !model->names[asked->name][place].there))
                        continue;
                is_better = found < 0 || peer->at.time > model->peers[found].at.time ||
                            (peer->at.time == model->peers[found].at.time && is_own && !own);
                if (!is_better)
                        continue;
                found = place;
                own = is_own;
        }
        if (found < 0)
                return WIRE_NOT_FOUND;
        if (is_old(model->peers[found].at.time, asked) ||
            (!own && model->names_timed && is_old(model->names[asked->name][found].at.time, asked)))
                return WIRE_EXPIRED;
        pack_peer(model, (unsigned)found, out);
        return NO_ERROR;
}

static int find_phone(const struct model *model, const struct asked *asked, struct buffer *out)
{
        int found = -1;

        for (int place = 0; place < PEERS; place++)
                if (model->peers[place].there && model->peers[place].phone == asked->name + 1 &&
                    (found < 0 || model->peers[place].at.time > model->peers[found].at.time))
                        found = place;
        if (found < 0)
                return WIRE_NOT_FOUND;
        pack_peer(model, (unsigned)found, out);
        return NO_ERROR;
}

static void scan_peers(const struct model *model, const struct asked *asked, struct buffer *out)
{
        unsigned first = asked->from_start ? 0 : asked->places[0] + 1u;
        uint32_t n = 0;
        size_t at = pack_array_begin(out);

        for (unsigned place = first; place < PEERS && n < (unsigned)asked->limit; place++)
                if (model->peers[place].there) {
                        pack_peer(model, place, out);
                        n++;
                }
        pack_array_end(out, at, n);
}

static void scan_names(const struct model *model, const struct asked *asked, struct buffer *out)
{
        unsigned first = asked->from_start ? 0 : 1u + asked->name * PEERS + asked->name_place;
        uint32_t n = 0;
        size_t at = pack_array_begin(out);

        for (unsigned i = first; i < NAMES * PEERS && n < (unsigned)asked->limit; i++) {
                const struct model_row *row = &model->names[i / PEERS][i % PEERS];

                if (!row->there)
                        continue;
                n++;
                pack_array(out, 3);
                pack_str(out, model_name(i / PEERS));
                pack_int(out, model_ids[i % PEERS]);
                if (model->names_timed)
                        pack_int(out, row->at.time);
                else
                        pack_nil(out);
        }
        pack_array_end(out, at, n);
}

static void get_states(const struct model *model, const struct asked *asked, struct buffer *out)
{
        struct state rows[STATES];
        uint32_t n = 0;

        for (unsigned place = 0; place < STATES; place++) {
                bool wanted = asked->all;

                for (unsigned i = 0; i < asked->n; i++)
                        wanted |= asked->places[i] == place;
                if (wanted && model->has_state[place])
                        rows[n++] = model->states[place];
        }
        qsort(rows, n, sizeof(rows[0]), state_by_date);
        pack_array(out, n);
        for (uint32_t i = 0; i < n; i++)
                state_write(out, &rows[i]);
}

static void get_peers(const struct model *model, const struct asked *asked, struct buffer *out)
{
        pack_array(out, asked->n);
        for (unsigned i = 0; i < asked->n; i++)
                if (model->peers[asked->places[i]].there)
                        pack_peer(model, asked->places[i], out);
                else
                        pack_nil(out);
}

int model_step(struct model *model, const struct asked *asked, struct buffer *result, struct changed *changed)
{
        int error = NO_ERROR;

        switch (asked->method) {
        case METHOD_UPDATE_PEERS: put_peers(model, asked, changed); break;
        case METHOD_UPDATE_USERNAMES: put_names(model, asked); break;
        case METHOD_UPDATE_STATES: put_states(model, asked, changed); break;
        case METHOD_REMOVE_STATES:
                for (unsigned i = 0; i < asked->n; i++) {
                        changed->states |= (unsigned)model->has_state[asked->places[i]] << asked->places[i];
                        model->has_state[asked->places[i]] = false;
                }
                break;
        case METHOD_SET: put_fields(model, asked, changed); break;
        case METHOD_SAVE:
                changed->fields |= FIELD_BIT(FIELD_DATE);
                model->fields |= FIELD_BIT(FIELD_DATE);
                model->number[FIELD_DATE] = asked->now;
                break;
        case METHOD_GET_PEER_BY_ID:
                if (!model->peers[asked->places[0]].there)
                        return WIRE_NOT_FOUND;
                pack_peer(model, asked->places[0], result);
                return NO_ERROR;
        case METHOD_GET_PEER_BY_USERNAME: return find_name(model, asked, result);
        case METHOD_GET_PEER_BY_PHONE_NUMBER: return find_phone(model, asked, result);
        case METHOD_GET_PEERS: get_peers(model, asked, result); return NO_ERROR;
        case METHOD_SCAN_PEERS: scan_peers(model, asked, result); return NO_ERROR;
        case METHOD_SCAN_USERNAMES: scan_names(model, asked, result); return NO_ERROR;
        case METHOD_GET_STATES: get_states(model, asked, result); return NO_ERROR;
        case METHOD_EXPORT_STRING: return export(model, result);
        case METHOD_IMPORT_STRING: return import(model, asked, changed); /* model_is_imported() */
        case METHOD_SEAL:
        case METHOD_UNSEAL:
        case METHOD_ROTATE: error = seal(model, asked->method); break;
        case METHOD_KV_GET:
        case METHOD_KV_SET:
        case METHOD_KV_SWAP:
        case METHOD_KV_SCAN: return model_step_kv(model, asked, result, changed);
        default: return NO_ERROR; /* info: model_is_info() */
        }
        if (error == NO_ERROR)
                pack_nil(result);
        return error;
}
