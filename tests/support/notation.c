/*
 * A recursive-descent reader of the notation that packs with msgpack-c as it goes, and its inverse.
 */
#include "notation.h"

#include <check.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text to MessagePack ---- */

static const char *blank(const char *at)
{
        while (isspace((unsigned char)*at))
                at++;
        return at;
}

static void mistake(const char *at, const char *wanted)
{
        ck_abort_msg("test notation: %s expected at: %.60s", wanted, at);
}

static const char *word_end(const char *at)
{
        while (isalnum((unsigned char)*at) || *at == '_' || *at == '-')
                at++;
        return at;
}

static unsigned char hex_byte(const char *at)
{
        char digits[3] = { at[0], at[0] ? at[1] : '\0', '\0' };

        if (!isxdigit((unsigned char)digits[0]) || !isxdigit((unsigned char)digits[1]))
                mistake(at, "two hexadecimal digits");
        return (unsigned char)strtoul(digits, NULL, 16);
}

/* `at` is after the opening quote. Returns the place after the closing one. */
static const char *quoted(msgpack_sbuffer *bytes, const char *at, bool hex)
{
        while (*at != '\'') {
                unsigned char byte = (unsigned char)*at;

                if (!*at)
                        mistake(at, "closing quote");
                if (hex) {
                        byte = hex_byte(at++);
                } else if (*at == '\\') {
                        at++;
                        byte = (unsigned char)*at;
                        if (*at == 'n')
                                byte = '\n';
                        if (*at == 'x') {
                                byte = hex_byte(at + 1);
                                at += 2;
                        }
                }
                msgpack_sbuffer_write(bytes, (const char *)&byte, 1);
                at++;
        }
        return at + 1;
}

/* An empty text has no bytes to append: once.data may be NULL. */
static const char *pack_quoted(msgpack_packer *packer, const char *at, char kind)
{
        msgpack_sbuffer once;
        unsigned long times = 1;

        msgpack_sbuffer_init(&once);
        at = quoted(&once, at, kind != 's');
        if (*at == '*')
                times = strtoul(at + 1, (char **)&at, 10);
        if (kind == 's')
                msgpack_pack_str(packer, once.size * times);
        else if (kind == 'h')
                msgpack_pack_bin(packer, once.size * times);
        else
                msgpack_pack_ext(packer, once.size * times, 1);
        for (; once.size && times; times--)
                packer->callback(packer->data, once.data, once.size);
        msgpack_sbuffer_destroy(&once);
        return at;
}

static const char *pack_word(msgpack_packer *packer, const char *at, bool key)
{
        const char *end = word_end(at);
        size_t len = (size_t)(end - at);

        if (key)
                msgpack_pack_str_with_body(packer, at, len);
        else if (len == 3 && strncmp(at, "nil", len) == 0)
                msgpack_pack_nil(packer);
        else if (len == 4 && strncmp(at, "true", len) == 0)
                msgpack_pack_true(packer);
        else if (len == 5 && strncmp(at, "false", len) == 0)
                msgpack_pack_false(packer);
        else
                mistake(at, "a value");
        return end;
}

/* A number, or a range of them; `*count` gets how many values it made. */
static const char *pack_number(msgpack_packer *packer, const char *at, size_t *count)
{
        char *end;
        int64_t from = strtoll(at, &end, 10);
        int64_t to = from;

        if (*end == '.' && end[1] != '.') {
                msgpack_pack_double(packer, strtod(at, &end));
                return end;
        }
        if (*at != '-' && strtoull(at, &end, 10) > INT64_MAX) {
                msgpack_pack_uint64(packer, strtoull(at, &end, 10));
                return end;
        }
        if (end[0] == '.' && end[1] == '.')
                to = strtoll(end + 2, &end, 10);
        *count = (size_t)(to - from + 1);
        for (int64_t value = from; value < to; value++)
                msgpack_pack_int64(packer, value);
        msgpack_pack_int64(packer, to);
        return end;
}

static const char *pack_value(msgpack_sbuffer *out, const char *text, size_t *count, bool key);

/* The values up to `close`; in a map, with `:` between key and value. */
static const char *pack_many(msgpack_sbuffer *out, const char *at, char close)
{
        msgpack_sbuffer inside;
        msgpack_packer packer;
        size_t n = 0;

        msgpack_sbuffer_init(&inside);
        for (at = blank(at); *at != close;) {
                size_t count = 1;

                at = blank(pack_value(&inside, at, &count, close == '}'));
                if (close == '}') {
                        if (*at != ':')
                                mistake(at, "':'");
                        at = blank(pack_value(&inside, at + 1, &count, false));
                }
                n += count;
                if (*at == ',')
                        at = blank(at + 1);
                else if (*at != close)
                        mistake(at, "',' or the end of a list or map");
        }
        msgpack_packer_init(&packer, out, msgpack_sbuffer_write);
        if (close == '}')
                msgpack_pack_map(&packer, n);
        else
                msgpack_pack_array(&packer, n);
        if (inside.size)
                msgpack_sbuffer_write(out, inside.data, inside.size);
        msgpack_sbuffer_destroy(&inside);
        return at + 1;
}

static const char *pack_value(msgpack_sbuffer *out, const char *text, size_t *count, bool key)
{
        const char *at = blank(text);
        msgpack_packer packer;

        msgpack_packer_init(&packer, out, msgpack_sbuffer_write);
        if (*at == '[' || *at == '(')
                return pack_many(out, at + 1, *at == '[' ? ']' : ')');
        if (*at == '{')
                return pack_many(out, at + 1, '}');
        if (*at == '\'')
                return pack_quoted(&packer, at + 1, 's');
        if ((*at == 'h' || *at == 'e') && at[1] == '\'')
                return pack_quoted(&packer, at + 2, *at);
        if (isdigit((unsigned char)*at) || *at == '-')
                return pack_number(&packer, at, count);
        return pack_word(&packer, at, key);
}

const char *notation_pack(msgpack_sbuffer *out, const char *text)
{
        size_t count = 1;

        return pack_value(out, text, &count, false);
}

/* ---- MessagePack to text ---- */

static void print_quoted(FILE *out, const char *text, size_t len)
{
        fputc('\'', out);
        for (size_t i = 0; i < len; i++) {
                unsigned char c = (unsigned char)text[i];

                if (c == '\'' || c == '\\')
                        fprintf(out, "\\%c", c);
                else if (c == '\n')
                        fputs("\\n", out);
                else if (c < ' ')
                        fprintf(out, "\\x%02x", c);
                else
                        fputc(c, out);
        }
        fputc('\'', out);
}

static void print_hex(FILE *out, char kind, const char *bytes, size_t len)
{
        fprintf(out, "%c'", kind);
        for (size_t i = 0; i < len; i++)
                fprintf(out, "%02x", (unsigned char)bytes[i]);
        fputc('\'', out);
}

static void print_key(FILE *out, const msgpack_object *key);
static void print_map(FILE *out, const msgpack_object_map *map);

static void print(FILE *out, const msgpack_object *object)
{
        switch (object->type) {
        case MSGPACK_OBJECT_NIL: fputs("nil", out); break;
        case MSGPACK_OBJECT_BOOLEAN: fputs(object->via.boolean ? "true" : "false", out); break;
        case MSGPACK_OBJECT_POSITIVE_INTEGER: fprintf(out, "%" PRIu64, object->via.u64); break;
        case MSGPACK_OBJECT_NEGATIVE_INTEGER: fprintf(out, "%" PRId64, object->via.i64); break;
        case MSGPACK_OBJECT_STR: print_quoted(out, object->via.str.ptr, object->via.str.size); break;
        case MSGPACK_OBJECT_BIN: print_hex(out, 'h', object->via.bin.ptr, object->via.bin.size); break;
        case MSGPACK_OBJECT_EXT: print_hex(out, 'e', object->via.ext.ptr, object->via.ext.size); break;
        case MSGPACK_OBJECT_ARRAY:
                fputc('[', out);
                for (uint32_t i = 0; i < object->via.array.size; i++) {
                        fputs(i ? ", " : "", out);
                        print(out, &object->via.array.ptr[i]);
                }
                fputc(']', out);
                break;
        case MSGPACK_OBJECT_MAP: print_map(out, &object->via.map); break;
        default: fprintf(out, "%g", object->via.f64); break;
        }
}

static void print_key(FILE *out, const msgpack_object *key)
{
        bool word = key->type == MSGPACK_OBJECT_STR && key->via.str.size;

        for (uint32_t i = 0; word && i < key->via.str.size; i++)
                word = isalnum((unsigned char)key->via.str.ptr[i]) || strchr("_-", key->via.str.ptr[i]);
        if (word)
                fprintf(out, "%.*s", (int)key->via.str.size, key->via.str.ptr);
        else
                print(out, key);
}

static int by_text(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, because the order of a map's pairs has no meaning. */
static void print_map(FILE *out, const msgpack_object_map *map)
{
        char **pairs = calloc(map->size + 1, sizeof(*pairs));
        size_t len;

        for (uint32_t i = 0; i < map->size; i++) {
                FILE *pair = open_memstream(&pairs[i], &len);

                print_key(pair, &map->ptr[i].key);
                fputs(": ", pair);
                print(pair, &map->ptr[i].val);
                fclose(pair);
        }
        qsort(pairs, map->size, sizeof(*pairs), by_text);
        fputc('{', out);
        for (uint32_t i = 0; i < map->size; i++) {
                fprintf(out, "%s%s", i ? ", " : "", pairs[i]);
                free(pairs[i]);
        }
        fputc('}', out);
        free(pairs);
}

char *notation_print(const msgpack_object *object)
{
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);

        ck_assert_ptr_nonnull(out);
        print(out, object);
        fclose(out);
        return text;
}

/* The first `len` bytes of `pattern`, one alternative. */
static bool match_one(const char *pattern, size_t len, const char *text)
{
        const char *any = memmem(pattern, len, "...", 3);
        size_t before = any ? (size_t)(any - pattern) : len;

        if (strncmp(pattern, text, before) != 0)
                return false;
        if (!any)
                return text[before] == '\0';
        for (text += before; *text; text++)
                if (match_one(any + 3, len - before - 3, text))
                        return true;
        return match_one(any + 3, len - before - 3, text);
}

bool notation_match(const char *pattern, const char *text)
{
        for (;;) {
                const char *other = strstr(pattern, " or ");

                if (match_one(pattern, other ? (size_t)(other - pattern) : strlen(pattern), text))
                        return true;
                if (!other)
                        return false;
                pattern = other + 4;
        }
}
