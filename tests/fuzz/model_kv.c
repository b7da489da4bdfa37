/* The key-value area: requests with a few keys and values, and what they do to the model. */

#include <string.h>

#include "../../proto/message.h"
#include "inside.h"
#include "model.h"

enum { KEY_MAX_BYTES = 255, VALUE_MAX_BYTES = 65536, LONGER_BYTES = 40 };

/* Numbers of values. */
enum { NO_VALUE, EMPTY, SHORT, LONGER, LARGEST, TOO_LARGE, VALUES };

/* In seconds; negative: none. The last two are wrong. */
static const int64_t ttls[] = { -1, 1, 60, INT32_MAX, 0, (int64_t)INT32_MAX + 1 };
enum { RIGHT_TTLS = 4 };

struct slice model_key(unsigned number)
{
        static const struct slice keys[AREA_KEYS] = { { "a", 1 }, { "a\0", 2 }, { "ab", 2 },
                                                      { "b", 1 }, { NULL, 0 },  { "\xc3\xa9", 2 } };
        static char longest[KEY_MAX_BYTES];

        if (keys[number].data)
                return keys[number];
        memset(longest, 'b', sizeof(longest));
        return (struct slice){ longest, sizeof(longest) };
}

static struct slice value_of(unsigned number)
{
        static const size_t lengths[VALUES] = { [SHORT] = 1,
                                                [LONGER] = LONGER_BYTES,
                                                [LARGEST] = VALUE_MAX_BYTES,
                                                [TOO_LARGE] = VALUE_MAX_BYTES + 1 };
        static char bytes[VALUE_MAX_BYTES + 1 + VALUES];

        if (!*bytes)
                for (unsigned i = 0; i < sizeof(bytes); i++)
                        bytes[i] = (char)('a' + i % 23);
        return number == NO_VALUE ? SLICE_NONE : (struct slice){ bytes + number, lengths[number] };
}

/* ---- requests ---- */

/*
 * `*once`: the request has what it may have once: a large value, because with two it would be larger than a
 * message may be; or what is wrong, because then it is not said which error is answered.
 */
static uint8_t choose_value(struct choices *choices, bool *once)
{
        static const uint8_t values[] = {
                NO_VALUE, EMPTY, SHORT, LONGER, SHORT, NO_VALUE, LARGEST, TOO_LARGE
        };
        uint8_t value = values[choose(choices, 8)];

        if (value >= LARGEST && *once)
                value = SHORT;
        *once |= value >= LARGEST;
        return value;
}

void asked_choose_kv(struct choices *choices, struct asked *asked)
{
        static const uint8_t usual_ttls[] = { 0, 1, 2, 0, 1, 3, 4, 5 };
        bool once = false;

        if (asked->method == METHOD_KV_SWAP || asked->method == METHOD_KV_SCAN)
                asked->n = 1;
        if (asked->method == METHOD_KV_SWAP)
                asked->expected = choose_value(choices, &once);
        for (unsigned i = 0; i < asked->n; i++) {
                const uint8_t which = choose_byte(choices);
                const uint8_t ttl = usual_ttls[which / 32];

                asked->places[i] = which % AREA_KEYS;
                asked->name = which / 32 % (AREA_KEYS + 1); /* the prefix of a scan */
                if (!asked_writes(asked))
                        continue;
                asked->values[i].value = choose_value(choices, &once);
                asked->values[i].ttl = ttl < RIGHT_TTLS || !once ? ttl : 0;
                once |= asked->values[i].ttl >= RIGHT_TTLS;
        }
}

static void pack_value(struct buffer *out, unsigned number)
{
        pack_bin(out, value_of(number));
}

static void pack_ttl(struct buffer *out, unsigned number)
{
        if (ttls[number] < 0)
                pack_nil(out);
        else
                pack_int(out, ttls[number]);
}

static struct slice prefix_of(const struct asked *asked)
{
        return asked->name ? model_key(asked->name - 1u) : slice_of("");
}

static void pack_keys(const struct asked *asked, struct buffer *out)
{
        pack_array(out, asked->n);
        for (unsigned i = 0; i < asked->n; i++) {
                if (asked->method == METHOD_KV_SET)
                        pack_array(out, 3);
                pack_str(out, model_key(asked->places[i]));
                if (asked->method == METHOD_KV_SET) {
                        pack_value(out, asked->values[i].value);
                        pack_ttl(out, asked->values[i].ttl);
                }
        }
}

void asked_pack_kv(const struct asked *asked, int64_t handle, struct buffer *out)
{
        pack_array(out, asked->method == METHOD_KV_SWAP ? 5 : asked->method == METHOD_KV_SCAN ? 4 : 2);
        pack_int(out, handle);
        switch (asked->method) {
        case METHOD_KV_SWAP:
                pack_str(out, model_key(asked->places[0]));
                pack_value(out, asked->expected);
                pack_value(out, asked->values[0].value);
                pack_ttl(out, asked->values[0].ttl);
                break;
        case METHOD_KV_SCAN:
                pack_str(out, prefix_of(asked));
                pack_str(out, asked->from_start ? SLICE_NONE : model_key(asked->places[0]));
                pack_int(out, asked->limit);
                break;
        default: pack_keys(asked, out);
        }
}

/* ---- writes ---- */

void model_expire(struct model *model, int64_t now_ms)
{
        for (unsigned key = 0; key < AREA_KEYS; key++)
                if (model->area[key].value && model->area[key].expires_ms <= now_ms)
                        model->area[key].value = NO_VALUE;
}

void model_seal_area(struct model *model, unsigned by)
{
        for (unsigned key = 0; key < AREA_KEYS; key++)
                model->area[key].sealed_by = by;
}

static size_t area_bytes(const struct model *model)
{
        size_t bytes = 0;

        for (unsigned key = 0; key < AREA_KEYS; key++)
                if (model->area[key].value)
                        bytes += model_key(key).len + value_of(model->area[key].value).len;
        return bytes;
}

int asked_error(const struct asked *asked)
{
        if (asked->method != METHOD_KV_SET && asked->method != METHOD_KV_SWAP)
                return NO_ERROR;
        if (asked->expected == TOO_LARGE)
                return WIRE_TOO_LARGE;
        for (unsigned i = 0; i < asked->n; i++) {
                if (asked->values[i].value == TOO_LARGE)
                        return WIRE_TOO_LARGE;
                if (asked->values[i].ttl >= RIGHT_TTLS)
                        return WIRE_BAD_REQUEST;
        }
        return NO_ERROR;
}

/* Of rows with the same key the last one counts. */
static int put(struct model *model, const struct asked *asked, struct changed *changed)
{
        const struct model before = *model;

        for (unsigned i = 0; i < asked->n; i++) {
                const int64_t ttl = ttls[asked->values[i].ttl];

                model->area[asked->places[i]] = (struct model_value){
                        .value = asked->values[i].value,
                        .sealed_by = model->sealed ? model->current : 0,
                        .expires_ms = ttl < 0 ? INT64_MAX : asked->now_ms + ttl * 1000,
                };
        }
        if (area_bytes(model) > INSIDE_KV_MAX && area_bytes(model) > area_bytes(&before)) {
                *model = before;
                return WIRE_TOO_LARGE;
        }
        for (unsigned i = 0; i < asked->n; i++) {
                const unsigned key = asked->places[i];

                if (model->area[key].value || before.area[key].value)
                        changed->area |= 1u << key;
        }
        return NO_ERROR;
}

void model_swap_not_done(const struct model *model, const struct asked *asked, struct buffer *result)
{
        pack_array(result, 2);
        pack_bool(result, false);
        pack_value(result, model->area[asked->places[0]].value);
}

static int swap(struct model *model, const struct asked *asked, struct buffer *result,
                struct changed *changed)
{
        int error;

        if (model->area[asked->places[0]].value != asked->expected) {
                model_swap_not_done(model, asked, result);
                return NO_ERROR;
        }
        error = put(model, asked, changed);
        if (error == NO_ERROR) {
                pack_array(result, 2);
                pack_bool(result, true);
                pack_value(result, asked->values[0].value);
        }
        return error;
}

/* ---- reads ---- */

static int get(const struct model *model, const struct asked *asked, struct buffer *result)
{
        size_t bytes = 0;

        pack_array(result, asked->n);
        for (unsigned i = 0; i < asked->n; i++) {
                pack_value(result, model->area[asked->places[i]].value);
                bytes += value_of(model->area[asked->places[i]].value).len;
        }
        /* Only one key can have a large value. It fits into an answer once, and not twice. */
        return bytes >= INSIDE_MESSAGE_MAX ? WIRE_TOO_LARGE : NO_ERROR;
}

static bool is_scanned(const struct model *model, const struct asked *asked, unsigned key)
{
        const struct slice prefix = prefix_of(asked), name = model_key(key);

        return model->area[key].value && (asked->from_start || key > asked->places[0]) &&
               name.len >= prefix.len && memcmp(name.data, prefix.data, prefix.len) == 0;
}

static void scan(const struct model *model, const struct asked *asked, struct buffer *result)
{
        uint32_t n = 0;

        for (unsigned key = 0; key < AREA_KEYS; key++)
                n += is_scanned(model, asked, key);
        n = n < (unsigned)asked->limit ? n : (uint32_t)asked->limit;
        pack_array(result, n);
        for (unsigned key = 0; n > 0; key++) {
                if (!is_scanned(model, asked, key))
                        continue;
                n--;
                pack_array(result, 2);
                pack_str(result, model_key(key));
                pack_value(result, model->area[key].value);
        }
}

int model_step_kv(struct model *model, const struct asked *asked, struct buffer *result,
                  struct changed *changed)
{
        int error = asked_error(asked);

        if (error != NO_ERROR)
                return error;
        if (asked->method != METHOD_KV_SET || asked->n > 0)
                model_expire(model, asked->now_ms);
        switch (asked->method) {
        case METHOD_KV_GET: return get(model, asked, result);
        case METHOD_KV_SCAN: scan(model, asked, result); return NO_ERROR;
        case METHOD_KV_SWAP: return swap(model, asked, result, changed);
        default: error = put(model, asked, changed);
        }
        if (error == NO_ERROR)
                pack_nil(result);
        return error;
}

static uint8_t number_of(struct slice value)
{
        for (unsigned i = EMPTY; i < VALUES; i++)
                if (slice_equal(value, value_of(i)))
                        return (uint8_t)i;
        require(false);
        return NO_VALUE;
}

void model_read_area(struct model *model, struct cursor cursor)
{
        struct slice name, value;
        uint32_t n, parts;
        unsigned key = 0;

        require(cursor_array(&cursor, &n));
        while (n--) {
                require(cursor_array(&cursor, &parts) && parts == 2);
                require(cursor_str(&cursor, SIZE_MAX, &name) && cursor_bin(&cursor, SIZE_MAX, &value));
                while (key < AREA_KEYS && !slice_equal(name, model_key(key)))
                        key++;
                require(key < AREA_KEYS);
                model->area[key++].value = number_of(value);
        }
}
