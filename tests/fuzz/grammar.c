/*
 * A method's parameters are a text, a letter each; so is what it results in. The letters of values are below
 * in value(), those of maps in maps[]; `*` before a letter makes a list of such values, `[…]` a tuple. A
 * method that is not here takes values as its shape in the contract says.
 */

#include "grammar.h"

#include <msgpack.h>
#include <string.h>

#include "../../proto/message.h"
#include "../../proto/records.h"
#include "../../proto/session_string.h"

enum {
        WRONG = 0xf0, /* from this byte on a value is of any type */
        DEEP = 9,     /* more levels than a message may have */
        ROWS_MAX = 5,
        LONG_BYTES = 300,
};

static const char *const params[METHOD_COUNT] = {
        [METHOD_HELLO] = "H",
        [METHOD_PING] = "x",
        [METHOD_OPEN] = "nO",
        [METHOD_DELETE] = "hD",
        [METHOD_GET] = "h*f",
        [METHOD_SET] = "hF",
        [METHOD_UPDATE_PEERS] = "h*P",
        [METHOD_UPDATE_USERNAMES] = "h*N",
        [METHOD_GET_PEER_BY_ID] = "hu",
        [METHOD_GET_PEER_BY_USERNAME] = "hsI",
        [METHOD_GET_PEER_BY_PHONE_NUMBER] = "hs",
        [METHOD_GET_PEERS] = "h*u",
        [METHOD_SCAN_PEERS] = "hIi",
        [METHOD_SCAN_USERNAMES] = "hQi",
        [METHOD_UPDATE_STATES] = "h*TB",
        [METHOD_GET_STATES] = "h*u",
        [METHOD_REMOVE_STATES] = "h*u",
        [METHOD_KV_GET] = "h*s",
        [METHOD_KV_SET] = "h*w",
        [METHOD_KV_SWAP] = "hskkI",
        [METHOD_KV_SCAN] = "hsSi",
        [METHOD_EXPORT_STRING] = "he",
        [METHOD_IMPORT_STRING] = "hyJ",
        [METHOD_SESSIONS] = "gL",
};

static const char *const results[METHOD_COUNT] = {
        [METHOD_HELLO] = "E",
        [METHOD_PING] = "i",
        [METHOD_OPEN] = "W",
        [METHOD_LEASE] = "I",
        [METHOD_INFO] = "G",
        [METHOD_GET] = "A",
        [METHOD_GET_PEER_BY_ID] = "R",
        [METHOD_GET_PEER_BY_USERNAME] = "R",
        [METHOD_GET_PEER_BY_PHONE_NUMBER] = "R",
        [METHOD_GET_PEERS] = "*R",
        [METHOD_SCAN_PEERS] = "*R",
        [METHOD_SCAN_USERNAMES] = "*Z",
        [METHOD_GET_STATES] = "*T",
        [METHOD_KV_GET] = "*k",
        [METHOD_KV_SWAP] = "q",
        [METHOD_KV_SCAN] = "*p",
        [METHOD_EXPORT_STRING] = "s",
        [METHOD_IMPORT_STRING] = "*f",
        [METHOD_SESSIONS] = "*X",
        [METHOD_CLIENTS] = "*Y",
        [METHOD_STATS] = "K",
};

static const struct {
        const char *name;
        const char *params;
} notifications[] = {
        { "changed", "hC" }, { "ended", "hrs" }, { "leave", "hs" }, { "request", "M" }, { "none", "x" },
};

static const struct map {
        char letter;
        struct pair {
                const char *key;
                const char *value;
        } pairs[13];
} maps[] = {
        { 'H', { { "client", "s" }, { "features", "*v" }, { "id", "c" } } },
        { 'O',
          { { "backend", "d" },
            { "create", "b" },
            { "mode", "m" },
            { "wait", "i" },
            { "dialect", "l" },
            { "linger", "i" },
            { "seal", "b" } } },
        { 'D', { { "remove_peers", "b" } } },
        { 'E',
          { { "server", "s" },
            { "version", "s" },
            { "protocol", "o" },
            { "max_message", "i" },
            { "max_depth", "i" },
            { "max_in_flight", "i" },
            { "max_sessions", "i" },
            { "kv_max_value", "i" },
            { "kv_max", "i" },
            { "backends", "*d" },
            { "default_backend", "d" },
            { "features", "*v" } } },
        { 'W',
          { { "session", "h" },
            { "created", "b" },
            { "backend", "d" },
            { "dialect", "l" },
            { "version", "i" },
            { "fence", "i" },
            { "lease", "I" } } },
        { 'G',
          { { "name", "s" },
            { "backend", "d" },
            { "dialect", "l" },
            { "version", "i" },
            { "peers", "i" },
            { "states", "i" },
            { "bytes", "i" },
            { "handles", "i" },
            { "unsynced_since", "i" },
            { "sealed", "s" },
            { "owner", "s" } } },
        { 'X',
          { { "name", "s" },
            { "backend", "d" },
            { "bytes", "i" },
            { "modified", "i" },
            { "handles", "i" },
            { "holder", "V" } } },
        { 'V', { { "pid", "i" }, { "uid", "i" }, { "client", "s" }, { "host", "s" }, { "since", "i" } } },
        { 'U', { { "holder", "V" }, { "file", "s" } } },
        { 'Y',
          { { "id", "i" },
            { "pid", "i" },
            { "uid", "i" },
            { "client", "S" },
            { "since", "i" },
            { "sessions", "*s" },
            { "requests", "i" },
            { "leased", "i" } } },
        { 'K', { { "connections", "i" }, { "a gauge", "x" }, { "errors_total", "i" } } },
        { 'C',
          { { "peers", "*u" },
            { "usernames", "*s" },
            { "phones", "*s" },
            { "fields", "*f" },
            { "states", "*u" },
            { "kv", "*s" },
            { "all", "b" } } },
        { 'M',
          { { "time", "x" },
            { "client", "S" },
            { "method", "s" },
            { "session", "S" },
            { "microseconds", "x" },
            { "error", "S" } } },
        { 'J', { { "format", "e" }, { "overwrite", "b" }, { "api_id", "I" } } },
        { 'L', { { "after", "s" }, { "limit", "i" } } },
        { 'F',
          { { "dc_id", "u" },
            { "api_id", "I" },
            { "test_mode", "B" },
            { "auth_key", "k" },
            { "date", "i" },
            { "user_id", "I" },
            { "is_bot", "B" },
            { "server_address", "S" },
            { "port", "I" },
            { "takeout_id", "I" } } },
};

static const char *const texts[] = { "",         "anna", "berta",        "Anna", "79001", "149.154.167.51",
                                     "\xc3\xa9", "\xff", "\xed\xa0\x80", "a\nb" };
static const char *const names[] = { "file", "memory", "new", "", ".x", "a/b", "x y" };
static const char *const types[] = {
        "user", "bot", "group", "channel", "", "a type that is longer than any"
};
static const char *const backends[] = { "file", "memory", "mongo", "none" };
static const char *const modes[] = { "shared", "exclusive", "none" };
static const char *const dialects[] = { "pyrogram", "hydrogram", "electrogram", "pyrofork",
                                        "kurigram", "irenogram", "telethon",    "none" };
static const char *const features[] = { "leave", "id", "lease", "owner", "kv", "none" };
static const char *const globs[] = { "*", "f*", "[a-m]*", "?emory", "**", "[", "%u-*" };
static const int64_t numbers[] = { 0,     1,          -1,        2,         7,          8,         255,
                                   256,   443,        1000,      1001,      65535,      65536,     INT32_MAX,
                                   28800, UINT32_MAX, INT64_MAX, INT64_MIN, 1700000000, 1699990000 };

static const double floats[] = { 0, 1, -1, 1000, 1.5, 0x1p32, 0x1p53, 0x1p54 };

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void one_of(struct choices *choices, struct buffer *out, const char *const *table, size_t n)
{
        pack_cstr(out, table[choose(choices, (unsigned)n)]);
}

/* Of the input's own bytes, or one of those that are of interest. */
static void text(struct choices *choices, struct buffer *out)
{
        char long_text[LONG_BYTES];
        unsigned kind = choose(choices, COUNT(texts) + 3);
        size_t len = 0;

        if (kind < COUNT(texts)) {
                pack_cstr(out, texts[kind]);
                return;
        }
        if (kind == COUNT(texts)) {
                len = choose(choices, 16);
                for (size_t i = 0; i < len; i++)
                        long_text[i] = (char)choose_byte(choices);
        } else {
                len = kind == COUNT(texts) + 1 ? TEXT_MAX_BYTES : TEXT_MAX_BYTES + 1;
                memset(long_text, 'l', len);
        }
        pack_str(out, (struct slice){ long_text, len });
}

static void number(struct choices *choices, struct buffer *out)
{
        uint8_t byte = choose_byte(choices);
        msgpack_packer packer = buffer_packer(out);

        if (byte < 56)
                pack_int(out, byte);
        else if (byte < 64)
                msgpack_pack_double(&packer, floats[byte % COUNT(floats)]);
        else if (byte == 64)
                msgpack_pack_uint64(&packer, UINT64_MAX);
        else
                pack_int(out, numbers[byte % COUNT(numbers)]);
}

static void bytes(struct choices *choices, struct buffer *out, size_t len)
{
        uint8_t key[AUTH_KEY_BYTES + 1];
        unsigned kind = choose(choices, 8);

        memset(key, choose_byte(choices), sizeof(key));
        if (kind == 0)
                pack_nil(out);
        else
                pack_bin(out, (struct slice){ (char *)key, kind == 1 ? 0 : kind == 2 ? len + 1 : len });
}

/* A session string of a format, with an edit. */
static void session_string(struct choices *choices, struct buffer *out)
{
        const struct session_string_format *format = session_string_formats;
        unsigned n = choose(choices, 8);
        struct buffer line = { 0 };
        struct identity identity;
        uint8_t key[AUTH_KEY_BYTES];
        const char *missing;

        while (n-- && format->name)
                format++;
        identity_init(&identity);
        memset(key, 'a' + (int)choose(choices, 4), sizeof(key));
        identity_set_key(&identity, key);
        identity_set_number(&identity, FIELD_API_ID, 12345);
        identity_set_number(&identity, FIELD_USER_ID, 42);
        identity_set_number(&identity, FIELD_DC_ID, 1 + choose(choices, 6));
        if (format->name && session_string_write(&identity, format, &line, &missing)) {
                uint8_t place = choose_byte(choices), value = choose_byte(choices);

                if (place)
                        line.data[place % line.len] = value;
        }
        pack_str(out, (struct slice){ line.data ? (char *)line.data : "", line.len });
        identity_wipe(&identity);
        buffer_deinit(&line);
}

static void format_name(struct choices *choices, struct buffer *out)
{
        const struct session_string_format *format = session_string_formats;
        unsigned n = choose(choices, 8);

        while (n-- && format->name)
                format++;
        if (format->name)
                pack_cstr(out, format->name);
        else
                pack_nil(out);
}

static void anything(struct choices *choices, struct buffer *out, unsigned depth)
{
        unsigned n = choose(choices, 4);

        switch (depth < DEEP ? choose(choices, 9) : 0) {
        case 0: number(choices, out); break;
        case 1: text(choices, out); break;
        case 2: pack_nil(out); break;
        case 3: pack_bool(out, true); break;
        case 4: bytes(choices, out, AUTH_KEY_BYTES); break;
        case 5: buffer_append(out, "\xcb\x40\x09\x21\xfb\x54\x44\x2d\x18", 9); break; /* a float */
        case 6: buffer_append(out, "\xd6\xff\x65\x53\xf1\x00", 6); break;             /* an ext */
        case 7:
                pack_array(out, n);
                while (n--)
                        anything(choices, out, depth + 1);
                break;
        default:
                pack_map(out, n);
                while (n--) {
                        anything(choices, out, depth + 1);
                        anything(choices, out, depth + 1);
                }
        }
}

static const char *value(struct choices *choices, const char *letter, struct buffer *out);

static void map(struct choices *choices, const struct map *map, struct buffer *out)
{
        uint32_t n = 0, chosen = choose_byte(choices) | (uint32_t)choose_byte(choices) << 8;
        struct buffer pairs = { 0 };

        for (size_t i = 0; map->pairs[i].key; i++) {
                if (!(chosen >> i & 1))
                        continue;
                pack_cstr(&pairs, map->pairs[i].key);
                value(choices, map->pairs[i].value, &pairs);
                n++;
        }
        if (chosen >> 15 & 1) {
                anything(choices, &pairs, 0);
                anything(choices, &pairs, 0);
                n++;
        }
        if (n == 0 && chosen >> 14 & 1)
                pack_array(out, 0);
        else
                pack_map(out, n);
        buffer_append(out, pairs.data, pairs.len);
        buffer_deinit(&pairs);
}

/* `letters` up to `]` or the end; now and then one fewer or one more. Returns what comes after it. */
static const char *tuple(struct choices *choices, const char *letters, struct buffer *out)
{
        const unsigned odd = choose(choices, 16);
        struct buffer parts = { 0 };
        uint32_t n = 0;

        while (*letters && *letters != ']') {
                size_t before = parts.len;

                letters = value(choices, letters, &parts);
                n++;
                if (odd == 1 && (!*letters || *letters == ']')) {
                        buffer_truncate(&parts, before);
                        n--;
                }
        }
        if (odd == 2) {
                anything(choices, &parts, 0);
                n++;
        }
        pack_array(out, n);
        buffer_append(out, parts.data, parts.len);
        buffer_deinit(&parts);
        return *letters ? letters + 1 : letters;
}

static void list(struct choices *choices, const char *letter, struct buffer *out)
{
        unsigned n = choose(choices, ROWS_MAX + 1);

        pack_array(out, n);
        while (n--)
                value(choices, letter, out);
}

static void row(struct choices *choices, char letter, struct buffer *out)
{
        static const char *const peers[] = { "uItSS]", "uItSSI]", "uItS]" };
        static const char *const usernames[] = { "u*s]", "u*si]" };

        switch (letter) {
        case 'P': tuple(choices, peers[choose(choices, 3)], out); break;
        case 'N': tuple(choices, usernames[choose(choices, 2)], out); break;
        case 'T': tuple(choices, "uIIII]", out); break;
        case 'A': tuple(choices, "uIBkiIBSII]", out); break;
        case 'R': tuple(choices, "uItSSi]", out); break;
        case 'Z': tuple(choices, "suI]", out); break;
        case 'w': tuple(choices, choose(choices, 2) ? "sk]" : "skI]", out); break;
        case 'q': tuple(choices, "bk]", out); break;
        case 'p': tuple(choices, "sk]", out); break;
        default: tuple(choices, "su]", out);
        }
}

static void simple(struct choices *choices, char letter, struct buffer *out)
{
        switch (letter) {
        case 'h': pack_int(out, choose(choices, 4)); break;
        case 'o': pack_int(out, 1); break;
        case 'r': one_of(choices, out, wire_error_names, WIRE_ERROR_COUNT); break;
        case 'u': pack_int(out, choose(choices, 12)); break;
        case 'b': pack_bool(out, choose(choices, 2)); break;
        case 'i': number(choices, out); break;
        case 's': text(choices, out); break;
        case 'k': bytes(choices, out, AUTH_KEY_BYTES); break;
        case 'c': bytes(choices, out, LIMIT_ID_BYTES); break;
        case 'y': session_string(choices, out); break;
        case 'e': format_name(choices, out); break;
        case 'n': one_of(choices, out, names, COUNT(names)); break;
        case 't': one_of(choices, out, types, COUNT(types)); break;
        case 'd': one_of(choices, out, backends, COUNT(backends)); break;
        case 'm': one_of(choices, out, modes, COUNT(modes)); break;
        case 'l': one_of(choices, out, dialects, COUNT(dialects)); break;
        case 'v': one_of(choices, out, features, COUNT(features)); break;
        case 'g': one_of(choices, out, globs, COUNT(globs)); break;
        case 'f': {
                unsigned field = choose(choices, FIELD_COUNT + 1);

                pack_cstr(out, field < FIELD_COUNT ? field_infos[field].name : "none");
                break;
        }
        default: anything(choices, out, 0);
        }
}

/* Returns what comes after the value's letters. */
static const char *value(struct choices *choices, const char *letter, struct buffer *out)
{
        const char *after = letter + (*letter == '*' ? 2 : 1);

        if (choose_byte(choices) >= WRONG) {
                anything(choices, out, 0);
                return after;
        }
        if (*letter == '*') {
                list(choices, letter + 1, out);
                return after;
        }
        for (size_t i = 0; i < COUNT(maps); i++) {
                if (maps[i].letter == *letter) {
                        map(choices, &maps[i], out);
                        return after;
                }
        }
        if (strchr("PNTARZQwqp", *letter))
                row(choices, *letter, out);
        else if (strchr("ISB", *letter) && choose(choices, 4) == 0)
                pack_nil(out);
        else
                simple(choices, strchr("ISB", *letter) ? (char)(*letter | 0x20) : *letter, out);
        return after;
}

/* A shape of the contract without its `|`. */
static void plain_shape(const char *shape, char letters[16])
{
        size_t n = 0;

        for (; *shape; shape++)
                if (*shape != '|')
                        letters[n++] = *shape;
        letters[n] = '\0';
}

void grammar_params(struct choices *choices, enum method_number method, struct buffer *out)
{
        char letters[16];

        plain_shape(methods[method].shape, letters);
        tuple(choices, params[method] ? params[method] : letters, out);
}

void grammar_result(struct choices *choices, enum method_number method, struct buffer *out)
{
        if (results[method])
                value(choices, results[method], out);
        else
                pack_nil(out);
}

void grammar_error(struct choices *choices, struct buffer *out)
{
        tuple(choices, choose(choices, 4) ? "rsU" : "ssx", out);
}

void grammar_notification(struct choices *choices, struct buffer *out)
{
        const unsigned number = choose(choices, COUNT(notifications));

        pack_cstr(out, notifications[number].name);
        tuple(choices, notifications[number].params, out);
}
